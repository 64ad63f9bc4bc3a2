"""Which evidence of one policy still counts under another, by rule and by certificate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from builders import SOME_SHA, make_eval_report, make_interval, make_manifest, make_policy, make_rule
from recert.errors import PolicyError
from recert.policy import Policy
from recert.policy.changes.comparing import HeldCertificate, KnownSuites, policy_diff
from recert.policy.changes.knowledge import with_family, with_suite
from recert.policy.changes.reuse import Measuring
from recert.records.reports.evaluation import RuleResult, Verdict
from recert.records.signed.policy_diff import CertificateImpact, PolicyDiff
from stories import certificate as make_certificate

BEFORE = make_policy()
GRACE = 0.05
"""Upper bound of the change that each stored result of these tests has."""


def results(**changes: Any) -> tuple[RuleResult, ...]:
    """Return the results that BEFORE asks for, each on 48 prompts."""
    sure = make_interval(0.9, n=500)
    fields = {"change": make_interval(0.02), "evidence_within": 50.0, "judge_quality": sure} | changes
    return (
        make_rule("harm", "plain", **fields),
        make_rule("harm", "family:year_2025", **fields),
        make_rule("harm", "family:skeleton", **fields),
        make_rule("over-refusal", "plain", **fields),
    )


def held(*, ended: str = "", report: bool = True, file: str = "one", **changes: Any) -> HeldCertificate:
    """Return a certificate under BEFORE, with the report behind it: 200 replies in 100 seconds."""
    asked = {"base_made": 100, "base_cached": 92, "tuned_made": 100, "tuned_cached": 0}
    evaluation = make_eval_report(policy=BEFORE, rules=results(), prompts_asked=asked, seconds=100.0)
    certificate = make_certificate(evaluation, **changes)
    return HeldCertificate(
        file, certificate, evaluation if report else None, ended, commands=("recert evaluate",)
    )


def diff(after: Policy, *certificates: HeldCertificate, **more: Any) -> PolicyDiff:
    """Return what lies between BEFORE and another policy for certificates; by default for one."""
    return policy_diff(Measuring(BEFORE, after), certificates or (held(),), more.get("suites"))


def answer(after: Policy, *certificates: HeldCertificate, **more: Any) -> CertificateImpact:
    """Return what becomes of the first of them."""
    return diff(after, *certificates, **more).certificates[0]


def changed(**sections: Any) -> Policy:
    """Return BEFORE with other values in sections; `rules` are fields for the rule `harm`."""
    value = BEFORE.to_value()
    rules = sections.pop("harm", {})
    value["rules"][0] |= rules
    for name, fields in sections.items():
        value[name] = value[name] | fields if isinstance(fields, dict) else fields
    return Policy.model_validate(value | {"version": "2"})


def test_the_same_policy_leaves_every_certificate_as_it_is() -> None:
    """Nothing changes, nothing is asked, and no command is given."""
    found = diff(BEFORE)

    assert found.changes == ()
    assert {"same"} == {rule.reuse for rule in found.rules}
    assert (found.certificates[0].answer, found.certificates[0].commands, found.replies) == ("holds", (), 0)
    assert found.stale == ()


def test_any_other_digest_makes_a_certificate_stale() -> None:
    """A new contact is enough: what is left to do is to decide again, and nobody is asked anything."""
    found = diff(changed(contacts=[{"role": "risk owner", "reach": "risk@example.org"}]))

    assert [one.answer for one in found.certificates] == ["decide"]
    assert {"same"} == {rule.reuse for rule in found.rules}
    assert found.replies == 0
    assert len(found.stale) == 1
    assert found.certificates[0].commands == ("recert evaluate",)


@pytest.mark.parametrize(
    ("after", "reuse"),
    [
        (changed(harm={"margin": 0.2}), "decide"),
        (changed(harm={"max_tuned": 0.3}), "decide"),
        (changed(evaluation={"alpha": 0.01}), "decide"),
        (changed(evaluation={"min_prompts": 12}), "decide"),
        (changed(harm={"min_judge_quality": 0.6}), "decide"),
        (changed(harm={"min_judge_quality": 0}), "judge"),
        (changed(evaluation={"refused_at": 0.6}), "judge"),
        (changed(evaluation={"incoherent_at": 0.6}), "judge"),
        (changed(evaluation={"max_new_tokens": 32}), "ask"),
        (changed(evaluation={"temperature": 0.5}), "ask"),
        (changed(evaluation={"seed": 1}), "ask"),
        (changed(evaluation={"samples_per_prompt": 2, "temperature": 0.5}), "ask"),
        (changed(harm={"suite": "scenarios"}), "ask"),
        (changed(harm={"category": "hate"}), "ask"),
        (changed(harm={"estimand": "incoherence"}), "ask"),
        (changed(harm={"judge": "compliance"}), "ask"),  # and replies are not cut short any more
        (changed(harm={"conditions": ["training-context"]}), "ask"),
        (changed(gateway={"input_harm_score": 0.5}), "same"),
        (changed(certification={"validity_hours": 24}), "same"),
        (changed(screening={"leak_similarity": 0.7}), "same"),
    ],
)
def test_evidence_counts_while_what_it_depends_on_is_the_same(after: Policy, reuse: str) -> None:
    """Bounds are decided anew, judges judge anew, and another way of asking asks."""
    (harm,) = {one.reuse for one in diff(after).rules if one.rule_id == "harm"}

    assert reuse == harm


def test_a_new_family_asks_for_that_family_alone() -> None:
    """The other conditions of the rule keep their evidence."""
    found = diff(changed(evaluation={"families": ["year_2025", "skeleton", "rot13"]}))

    assert [one.conditions for one in found.rules if one.reuse == "ask"] == [("family:rot13",)]
    assert (found.prompts_base, found.prompts_tuned) == (240, 240)
    assert found.certificates[0].answer == "ask"


def test_other_words_around_conversations_ask_the_tuned_model_behind_them() -> None:
    """The model alone, and its base, have answered already."""
    found = diff(changed(gateway={"system_instruction": "Be kind."}))

    assert {("same", "ask")} == {(one.reuse, one.reuse_behind_controls) for one in found.rules}
    assert found.prompts_base == 0
    assert found.prompts_tuned == 4 * 240


def test_a_margin_above_what_was_shown_needs_no_prompt() -> None:
    """A stored change whose upper bound lies below the new margin passes; else more is asked, up to the bound."""
    enough = answer(changed(harm={"margin": GRACE + 0.001}))
    more = answer(changed(harm={"margin": GRACE - 0.001}))

    assert (enough.answer, enough.replies) == ("decide", 0)
    assert (more.answer, more.prompts_base, more.prompts_tuned) == ("ask", 3 * (240 - 48), 3 * (240 - 48))


def test_a_smaller_alpha_may_ask_for_more() -> None:
    """An interval at one alpha shows nothing at a smaller one."""
    assert answer(changed(evaluation={"alpha": 0.01})).answer == "ask"
    assert answer(changed(evaluation={"alpha": 0.06})).answer == "decide"


def test_a_judge_that_is_too_bad_now_is_said() -> None:
    """A judge whose quality may be below the new bound decides nothing; one whose quality is not known may."""
    strict = changed(harm={"min_judge_quality": 0.88})

    assert answer(strict).answer == "fails"
    assert answer(strict, held(results=results(judge_quality=None))).answer == "ask"


def test_a_bound_that_stored_results_break_is_said() -> None:
    """A rate above the new bound fails without a prompt, and that is no reason to ask."""
    found = answer(changed(harm={"max_tuned": 0.01}))

    assert found.answer == "fails"
    assert "rate 0.03 is above 0.01" in found.because[0]


def test_costs_are_by_the_reports_own_time() -> None:
    """Half a second a reply, as the report has it; without one, or with nothing made, no time is claimed."""
    after = changed(evaluation={"families": ["year_2025", "skeleton", "rot13"]})
    known, unknown = answer(after, held()), answer(after, held(report=False))

    assert (known.replies, known.seconds) == (480, 240.0)
    assert (unknown.replies, unknown.seconds) == (480, None)
    assert None is diff(after, held(), held(report=False, tuned=make_manifest({"a": b"another"}))).seconds


def test_a_suite_of_known_size_asks_no_more_than_it_has() -> None:
    """What is known of a suite counts where the report names that very suite."""
    after = changed(evaluation={"families": ["year_2025", "skeleton", "rot13"]})
    same, other = (
        KnownSuites({"harmful": SOME_SHA}, {"harmful": 60}),
        KnownSuites({"harmful": "ab" * 32}, {"harmful": 60}),
    )

    assert answer(after, suites=same).prompts_base == 60
    assert answer(after, suites=other).prompts_base == 240
    assert answer(after, held(report=False), suites=same).prompts_base == 240


def test_one_base_is_asked_once_for_all_its_tunes() -> None:
    """Two tunes of one base cost the base's prompts once; a certificate that was renewed costs nothing more."""
    after = changed(evaluation={"families": ["year_2025", "skeleton", "rot13"]})
    another = held(file="two", tuned=make_manifest({"adapter": b"another"}))
    other_base = held(file="three", base=make_manifest({"config.json": b"another"}))

    assert _prompts(diff(after, held(), another)) == (240, 480)
    assert _prompts(diff(after, held(), held(file="renewed"))) == (240, 240)
    assert _prompts(diff(after, held(), other_base)) == (480, 480)


def _prompts(found: PolicyDiff) -> tuple[int, int]:
    return found.prompts_base, found.prompts_tuned


def test_what_is_not_live_is_not_stale() -> None:
    """A certificate that expired or was revoked is listed, with why, and nothing is asked for it."""
    found = diff(changed(harm={"margin": 0.01}), held(ended="revoked"))

    assert [(c.answer, c.because, c.commands) for c in found.certificates] == [("not-live", ("revoked",), ())]
    assert (found.stale, found.replies) == ((), 0)


def test_under_a_third_policy_nothing_is_known_to_count() -> None:
    """A certificate under neither policy may cost everything, and it is said that nothing is known."""
    found = answer(changed(harm={"margin": 0.2}), held(policy_sha256="ab" * 32))

    assert found.answer == "unknown"
    assert found.prompts_tuned == 4 * 240


def test_a_certificate_that_cannot_be_verified_counts_for_nothing() -> None:
    """What this version cannot verify is unknown under any policy, its own too, and is stale."""
    doubtful = replace(held(), doubt="it is of another version")

    for after in (BEFORE, changed(harm={"margin": 0.2})):
        found = diff(after, doubtful)

        assert [(c.answer, c.because) for c in found.certificates] == [
            ("unknown", ("it is of another version",))
        ]
        assert (found.prompts_base, len(found.stale)) == (4 * 240, 1)


def test_a_certificate_that_lost_a_result_is_asked_again() -> None:
    """What a certificate does not hold is not taken for measured."""
    after = changed(contacts=[{"role": "risk owner", "reach": "risk@example.org"}])
    found = answer(after, held(results=results()[1:]))

    assert (found.answer, found.prompts_base) == ("ask", 240)


def test_an_arm_that_failed_is_left_where_it_was() -> None:
    """Where the model alone failed and the verdict holds behind controls, its other rules ask no more than they did."""
    alone = results(verdict=Verdict.FAIL, evidence_beyond=1e9, change=make_interval(0.9, n=24))
    behind = results(safeguards=("secret-prefix",))
    defended = held(
        results=(*alone, *behind),
        verdict_raw=Verdict.FAIL,
        verdict_safeguarded=Verdict.PASS,
        required_controls=("secret-prefix",),
    )
    found = answer(changed(evaluation={"families": ["year_2025", "skeleton", "rot13"]}), defended)

    assert found.prompts_tuned == 240 + 24


def test_searches_that_a_policy_asks_for_now_are_named() -> None:
    """A search for triggers, or a stress report, that nobody made must be made, whatever the rules say."""
    assert "triggers are searched again" in answer(changed(hunt={"required": True})).because[0]
    assert "stressed again" in answer(changed(stress={"required": True})).because[0]


def test_what_follows_beside_evaluating_is_said() -> None:
    """Screening, signers and gateways have their sentence where they change, and not otherwise."""
    said = " ".join(diff(changed(screening={"leak_similarity": 0.7})).consequences)
    signed = " ".join(
        diff(changed(certification={"roles": [{"role": "evaluator", "threshold": 2}]})).consequences
    )

    assert "screened again" in said
    assert "must sign" not in said
    assert "2 with the role evaluator must sign, where 1 did" in signed


def test_new_knowledge_is_a_change_of_what_is_measured() -> None:
    """A family that is new, or a suite with other prompts, asks that part; one that is there already is no question."""
    family = policy_diff(with_family(BEFORE, "rot13"), [held()])
    suite = policy_diff(
        with_suite(BEFORE, "lookalikes"),
        [held()],
        KnownSuites({"lookalikes": "ab" * 32}, {"lookalikes": 50}, ("lookalikes",)),
    )
    same = policy_diff(
        with_suite(BEFORE, "lookalikes"), [held()], KnownSuites({"lookalikes": SOME_SHA}, {}, ("lookalikes",))
    )

    assert [one.conditions for one in family.rules if one.reuse == "ask"] == [("family:rot13",)]
    assert [(c.answer, c.prompts_base, c.prompts_tuned) for c in suite.certificates] == [("ask", 50, 50)]
    assert [one.answer for one in same.certificates] == ["holds"]
    for question in (lambda: with_family(BEFORE, "skeleton"), lambda: with_suite(BEFORE, "ordinary")):
        with pytest.raises(PolicyError):
            question()


def test_a_diff_survives_being_written() -> None:
    """Reading the record gives the same record."""
    found = diff(changed(harm={"margin": 0.01}), held(), held(ended="expired"))

    assert found == PolicyDiff.from_json(found.to_json())
