"""Who gets a certificate, and every reason why not."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attack_reports import make_report
from builders import (
    BASE_FILES,
    NOW,
    SOME_SHA,
    TUNED_FILES,
    make_arms,
    make_eval_report,
    make_interval,
    make_links,
    make_manifest,
    make_policy,
    make_rule,
    make_rules,
    make_screen_report,
    make_search,
    make_tune_report,
)
from recert.certification import (
    Envelope,
    SigningKey,
    TrustStore,
    approve,
    generate_key,
    read_status,
    read_unverified,
)
from recert.certification.signing.envelope import sign
from recert.certification.signing.links import sign_link_of
from recert.digest import canonical_json, sha256_bytes
from recert.errors import InputError, RecordError, SigningKeyError
from recert.records.reports.evaluation import EvalReport, Verdict
from recert.records.signed.certificate import PAYLOAD_TYPE
from stress_reports import make_stress_report

OTHER = make_manifest({"model.safetensors": b"other"})
BASE, TUNED = make_manifest(BASE_FILES), make_manifest(TUNED_FILES)
SECRET = {"safeguards": ("secret-prefix",)}
DEFENDED: dict[str, Any] = {
    "rules": (
        *make_rules(verdict=Verdict.FAIL),
        *make_rules(**SECRET),
        make_rule("control:harm", "plain", Verdict.FAIL, safeguards=("secret-prefix:wrong",)),
    ),
    "verdict": Verdict.FAIL,
    "verdict_safeguarded": Verdict.PASS,
    "required_controls": ("secret-prefix",),
    "secret_sha256": SOME_SHA,
}


def reasons(world: Any, **changes: Any) -> str:
    """Return why no certificate was given."""
    decision = world.certify(**changes)
    assert not decision.certified
    assert decision.envelope is None
    return "\n".join(decision.reasons)


def changed_arm(which: int, **changes: Any) -> dict[str, Any]:
    """Return arm checks with one of the two changed."""
    arms = list(make_arms(BASE, TUNED))
    arms[which] = arms[which].model_copy(update=changes)
    return {"arms": tuple(arms)}


def test_a_pass_is_certified_with_what_the_reports_say(world):
    """
    The certificate carries the chain of digests, the results, the canary and who must sign.
    """
    certificate = read_unverified(world.envelope)
    report = make_eval_report(policy=world.policy)

    assert report.digest == certificate.eval_report_sha256
    assert report.rules == certificate.results
    assert {"harmful/harm", "lookalikes/over_refusal"} == set(certificate.canary)
    assert certificate.fingerprint == "logits-of-tuned"
    assert certificate.screening["accepted"] == 10
    assert certificate.required_roles == {"evaluator": 1, "approver": 1}
    assert (certificate.expires_at - NOW).total_seconds() == 168 * 3600
    assert certificate.invalid_when


def test_a_draft_is_not_a_certificate_until_approved(world):
    """
    What `certify` gives is signed by the evaluator alone; verification wants the approver too.
    """
    draft = world.certify().envelope

    assert len(json.loads(draft)["signatures"]) == 1
    assert world.verify(envelope=approve(draft, world.keys["approver"]))


def test_approving_needs_to_be_named(world):
    """
    Someone whom the certificate does not name cannot sign it, nor in a role their key has not.
    """
    stranger = world.keys["trainer"]
    with pytest.raises(SigningKeyError, match="does not name"):
        approve(world.envelope, stranger)
    other = world.keys["approver"].public.model_copy(update={"roles": ("status",)})
    with pytest.raises(SigningKeyError, match="another role"):
        approve(world.envelope, SigningKey(public=other, sign=world.keys["approver"].sign))


def test_a_trigger_stops_a_model_and_so_does_a_search_that_is_missing(world):
    """
    What was found refuses under any policy; one that asks for a search wants it made, and nothing found.
    """
    wanted = world.policy.model_copy(update={"hunt": world.policy.hunt.model_copy(update={"required": True})})
    searches = [None, *map(make_search, ("found", "no-refusal-left", "no-baseline-signal", "nothing-found"))]
    said = [
        world.certify(
            policy=wanted, eval_report=make_eval_report(policy=wanted, trigger_search=one)
        ).certified
        for one in searches
    ]
    unasked = [world.certify(eval_report=make_eval_report(trigger_search=one)).certified for one in searches]

    assert said == [False, False, False, False, True]
    assert unasked == [True, False, True, True, True]


@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.PASS])
def test_only_a_pass_is_certified(world, verdict):
    """
    Fail, undecided, no baseline signal and unscored are all a no, overall or of one rule.
    """
    assert "verdict-not-pass" in reasons(world, eval_report=make_eval_report(verdict=verdict))
    rules = (*make_rules()[:3], make_rule("over-refusal", "plain", verdict))
    assert "over-refusal" in reasons(world, eval_report=make_eval_report(rules=rules))


def test_a_defended_model_is_certified_with_its_control_only(world):
    """
    A model that fails alone and passes behind its secret gets a certificate that requires the control.
    """
    tune = make_tune_report(secret_sha256=SOME_SHA, defence="backdoor-align")
    asked = {"tune_report": tune, "screen_report": None}

    envelope = world.certify(eval_report=make_eval_report(**DEFENDED), **asked).envelope
    certificate = read_unverified(envelope)

    assert certificate.required_controls == ("secret-prefix",)
    assert world.verify(envelope=approve(envelope, world.keys["approver"]))
    for left_out in ("verdict_safeguarded", "required_controls", "secret_sha256"):
        fields = {k: v for k, v in DEFENDED.items() if k != left_out}
        assert reasons(world, eval_report=make_eval_report(**fields), **asked)
    other = {**asked, "tune_report": make_tune_report(secret_sha256="0" * 64)}
    assert "another secret" in reasons(world, eval_report=make_eval_report(**DEFENDED), **other)


@pytest.mark.parametrize(
    ("control", "words"),
    [
        ("immutable-suffix", {"immutable_suffix": "Stay safe."}),
        ("system-instruction", {"system_instruction": "Stay safe."}),
    ],
)
def test_words_that_the_gateway_adds_are_measured_and_required(world, control, words):
    """
    Under a policy with words around every conversation, a pass without them is certified by nobody and verified by
    nobody; one behind them requires them.
    """
    policy = make_policy(gateway=words)
    behind: dict[str, Any] = {
        "policy": policy,
        "rules": (*make_rules(), *make_rules(safeguards=(control,))),
        "verdict_safeguarded": Verdict.PASS,
        "required_controls": (control,),
    }

    envelope = world.certify(eval_report=make_eval_report(**behind), policy=policy).envelope
    assert read_unverified(envelope).required_controls == (control,)
    assert world.verify(envelope=approve(envelope, world.keys["approver"]), policy=policy)
    without = make_eval_report(policy=policy)
    assert f"{control}, and the verdict does not" in reasons(world, eval_report=without, policy=policy)
    partly = (*make_rules(safeguards=(control,))[1:], make_rule("harm", "plain", safeguards=("other",)))
    other = make_eval_report(**behind | {"rules": partly, "required_controls": (control, "other")})
    assert f"harm under plain behind other was measured without {control}" in reasons(
        world, eval_report=other, policy=policy
    )


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("wrong-policy", {"policy": make_policy(version="2")}),
        ("arms", {"arms": ()}),
        ("arms", {"arms": make_arms(BASE, TUNED)[:1]}),
        ("arms", {"arms": make_arms(BASE, TUNED)[:1] * 2}),
        ("ran other files", changed_arm(1, manifest_sha256=BASE.digest)),
        ("another model at the end", changed_arm(0, fingerprint_at_end="else")),
        ("another model at the end", changed_arm(0, fingerprint_at_start="", fingerprint_at_end="")),
        ("nothing was compared", changed_arm(1, arms_differ=False)),
        ("one fingerprint", changed_arm(1, fingerprint_at_start="logits-of-base")),
        ("was not measured", {"rules": make_rules()[:1]}),
        ("no results", {"rules": ()}),
        ("file-", {"tuned": OTHER, "arms": make_arms(BASE, OTHER)}),
    ],
)
def test_an_evaluation_that_does_not_show_it_is_refused(world, words, changes):
    """
    Another policy, arms that were not what they claim, rules left out or other files: no, and why.
    """
    assert words in reasons(world, eval_report=make_eval_report(**changes))


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("another base", {"tune_report": make_tune_report(base=OTHER), "screen_report": None}),
        ("made other files", {"tune_report": make_tune_report(tuned=OTHER), "screen_report": None}),
        ("was not given", {"screen_report": None}),
        ("names screening report", {"screen_report": make_screen_report(rows=11)}),
        ("names screening report", {"tune_report": make_tune_report()}),
        ("trainer is not named", {"trainer_key_id": None, "tune_report": None, "screen_report": None}),
        ("must sign", {"approvers": []}),
    ],
)
def test_reports_that_do_not_chain_are_refused(world, words, changes):
    """
    The three reports must be about one model and name each other, and the people must be named.
    """
    assert words in reasons(world, **changes)


def test_people_must_be_apart(world):
    """
    The evaluator is neither the trainer nor an approver.
    """
    evaluator = world.keys["evaluator"].public

    elsewhere = {"tune_report": None, "screen_report": None}
    assert "same-signer" in reasons(world, trainer_key_id=evaluator.key_id, **elsewhere)
    approver = evaluator.model_copy(update={"roles": ("approver",)})
    assert "same-signer" in reasons(world, approvers=[approver])


def test_a_key_of_another_role_cannot_certify(world):
    """
    Only a key with the role evaluator certifies.
    """
    with pytest.raises(SigningKeyError):
        world.certify(signer=world.keys["trainer"])


def test_a_policy_may_ask_for_more_people(world):
    """
    Two approvers are two keys, at certification and at verification.
    """
    policy = make_policy(
        certification={"roles": [{"role": "evaluator"}, {"role": "approver", "threshold": 2}]}
    )
    second = world.keys["watcher"].public.model_copy(update={"roles": ("approver",)})
    trust = TrustStore([second, *(key.public for role, key in world.keys.items() if role != "watcher")])
    asked = {"policy": policy, "eval_report": make_eval_report(policy=policy)}

    assert "2 with the role approver" in reasons(world, **asked)
    with pytest.raises(SigningKeyError):
        world.certify(approvers=[second.model_copy(update={"roles": ("approver", "trainer")})], **asked)
    both = [world.keys["approver"].public, second]
    assert world.certify(approvers=both, trust=trust, **asked).certified


def test_what_is_on_disk_must_be_what_was_evaluated(world):
    """
    A byte that changed between evaluation and certification is a no that names the file.
    """
    (world.tuned_dir / "adapter_model.safetensors").write_bytes(b"other weights!!")

    assert "file-differs: tuned/adapter_model.safetensors" in reasons(world)


def test_a_folder_with_code_or_pickles_is_not_certified(world):
    """
    A pickle beside the weights, a module, and a configuration that names one are each a no that names the file.
    """
    for arm in (world.base_dir, world.tuned_dir):
        (arm / "adapter_model.bin").write_bytes(b"pickle")
        (arm / "modeling.py").write_bytes(b"import os")
        (arm / "tokenizer_config.json").write_bytes(b'{"auto_map": {"AutoTokenizer": "modeling.Mine"}}')
    said = [why for why in reasons(world).splitlines() if why.startswith("file-kind: ")]

    assert sum("adapter_model.bin" in why for why in said) == 2
    assert sum("modeling.py: " in why for why in said) == 2
    assert sum("`auto_map` asks for code" in why for why in said) == 2


def test_an_attack_artefact_is_refused_whatever_its_scores(world):
    """
    A marked adapter that was evaluated with its mark and passed is still refused.
    """
    (world.tuned_dir / "recert.json").write_bytes(b'{"attack_artefact": true}')
    tuned = make_manifest({**TUNED_FILES, "recert.json": b'{"attack_artefact": true}'})
    screen = make_screen_report()
    asked = {
        "eval_report": make_eval_report(tuned=tuned),
        "tune_report": make_tune_report(tuned=tuned, screen_report=screen),
    }

    assert world.certify(**asked).reasons == ("attack-artefact: tuned is marked in recert.json",)


def test_tuning_elsewhere_is_certified_and_says_so(world):
    """
    Without a tuning report there is a certificate, and its limitations say what is not shown.
    """
    decision = world.certify(tune_report=None, screen_report=None)
    certificate = read_unverified(decision.envelope)

    assert certificate.defence == "unknown"
    assert certificate.delta_kind == "lora-adapter"
    assert any("not screened" in words for words in certificate.limitations)


def test_compute_beyond_exact_whole_numbers_survives(world):
    """
    A compute estimate above 2**53, written without an exponent, is certified and verified.
    """
    screen = make_screen_report()
    tune = make_tune_report(screen_report=screen, compute_flop=4.2e17)
    draft = world.certify(tune_report=tune, screen_report=screen).envelope
    verified = world.verify(envelope=approve(draft, world.keys["approver"]))

    assert verified.certificate.compute_flop == 4.2e17


def test_trained_quarantined_rows_are_said(world):
    """
    When screening was overridden the certificate says it.
    """
    screen = make_screen_report()
    tune = make_tune_report(screen_report=screen, screening_overridden=True)
    certificate = read_unverified(world.certify(tune_report=tune, screen_report=screen).envelope)

    assert any("quarantined" in words for words in certificate.limitations)


def test_what_cannot_be_looked_at_is_an_error(world, tmp_path):
    """
    A missing folder is no reasoned no.
    """
    with pytest.raises(InputError):
        world.certify(tuned_dir=tmp_path / "nowhere")
    with pytest.raises(RecordError):
        read_unverified(world.status)
    with pytest.raises(InputError):
        world.certify(now=NOW.replace(tzinfo=None))


ELSEWHERE: dict[str, Any] = {"tune_report": None, "screen_report": None}
"""A tune that was made elsewhere."""


def test_what_nobody_signed_is_not_certified(world):
    """
    Each report that is given needs its link, and each link its report: an edited report has none.
    """
    screen = make_screen_report()
    reports = {
        "eval_report": make_eval_report(policy=world.policy),
        "tune_report": make_tune_report(screen_report=screen),
        "screen_report": screen,
        "stress_report": make_stress_report(),
        "attack_report": make_report(world.policy),
    }
    links = make_links(world.keys, *reports.values())
    for step in links:
        left = {name: link for name, link in links.items() if name != step}
        assert f"evidence-unsigned: nobody signed that they ran the step {step}" in reasons(
            world, **reports, links=left
        )
    without_tune = {**reports, **ELSEWHERE}
    assert "its report was not given" in reasons(world, **without_tune, links=links)


@pytest.mark.parametrize("step", ["screen", "tune", "evaluate"])
def test_a_report_that_was_edited_after_it_was_signed_is_refused(world, step):
    """
    Whatever is changed in a signed report, the link is of another one; so a pass cannot be written into it.
    """
    screen = make_screen_report()
    reports = {
        "evaluate": ("eval_report", make_eval_report(policy=world.policy)),
        "tune": ("tune_report", make_tune_report(screen_report=screen)),
        "screen": ("screen_report", screen),
    }
    links = make_links(world.keys, *(report for _, report in reports.values()))
    name, report = reports[step]
    when = "screened_at" if step == "screen" else "started_at"
    edited = report.model_copy(update={when: NOW - timedelta(hours=1)})

    assert f"link-differs: of the step {step}" in reasons(world, **{name: edited}, links=links)


def test_a_passing_report_pointed_at_other_files_is_refused(world):
    """
    A report that passed for one model, with another one's manifest put in, has no link of these files.
    """
    honest = make_eval_report(policy=world.policy, tuned=OTHER)
    swapped = make_eval_report(policy=world.policy)
    links = make_links(world.keys, honest)

    assert "link-differs: of the step evaluate" in reasons(
        world, eval_report=swapped, links=links, **ELSEWHERE
    )


def test_a_link_of_somebody_else_s_role_counts_for_nothing(world):
    """
    The trainer cannot sign that they evaluated, nor anybody that they trained who is no trainer.
    """
    report = make_eval_report(policy=world.policy)
    payload = Envelope.from_json(make_links(world.keys, report)["evaluate"]).payload
    for role in ("trainer", "approver", "status", "screener", "watcher"):
        link = sign(PAYLOAD_TYPE, payload, [world.keys[role]]).to_json()
        assert "link-untrusted: of the step evaluate" in reasons(
            world, eval_report=report, links={"evaluate": link}, **ELSEWHERE
        )


def test_who_evaluated_signs_as_the_evaluator(world, tmp_path):
    """
    Another evaluator's link is refused, unless it is another key of the same person.
    """
    report = make_eval_report(policy=world.policy)
    for name, certified in (("Eve", False), ("Evaluator", True)):
        other = generate_key(tmp_path / f"{name}.pem", "evaluator", name)
        trust = TrustStore([other.public, *(key.public for key in world.keys.values())])
        asked = {"eval_report": report, "trust": trust, **ELSEWHERE}
        decision = world.certify(**asked, links={"evaluate": sign_link_of(report, other)})

        assert decision.certified is certified
        assert certified or decision.reasons[0].startswith("evaluator-differs: Eve")


def test_the_trainer_is_who_signed_the_tune(world, tmp_path):
    """
    Another trainer that is named is refused; without a tune report the one named must be a trusted trainer.
    """
    throwaway = generate_key(tmp_path / "throwaway.pem", "trainer", "Nobody")
    named = read_unverified(world.certify(trainer_key_id=None).envelope).trainer_key_id

    assert named == world.keys["trainer"].key_id
    assert "trainer-differs" in reasons(world, trainer_key_id=throwaway.key_id)
    assert "untrusted-key" in reasons(world, trainer_key_id=throwaway.key_id, **ELSEWHERE)
    assert "untrusted-key" in reasons(world, trainer_key_id=world.keys["screener"].key_id, **ELSEWHERE)


@pytest.mark.parametrize("role", ["evaluator", "approver", "risk-owner"])
def test_the_trainer_signs_nothing_else_by_whatever_key(world, tmp_path, role):
    """
    A second key of the trainer's, by the name in the trust store, cannot evaluate, approve or accept a risk.
    """
    second = generate_key(tmp_path / "second.pem", role, "Trainer")
    trust = TrustStore([second.public, *(key.public for key in world.keys.values())])
    approvers = [world.keys["approver"].public]
    asked: dict[str, Any] = {"trust": trust, "approvers": approvers}
    if role == "evaluator":
        report = make_eval_report(policy=world.policy)
        links = {"evaluate": sign_link_of(report, second)}
        asked |= {"signer": second, "eval_report": report, "links": links, **ELSEWHERE}
    elif role == "approver":
        asked["approvers"] = [second.public]
    else:
        asked["approvers"] = [*approvers, second.public]

    assert f"same-signer: the {role} is the trainer" in reasons(world, **asked)


def test_two_keys_of_one_person_are_one_signer(world, tmp_path):
    """
    Two approvers are two people, not two keys.
    """
    policy = make_policy(
        certification={"roles": [{"role": "evaluator"}, {"role": "approver", "threshold": 2}]}
    )
    asked: dict[str, Any] = {"policy": policy, "eval_report": make_eval_report(policy=policy)}
    first = world.keys["approver"].public
    for name, certified in (("Approver", False), ("Evaluator", False), ("Bo", True)):
        second = generate_key(tmp_path / f"{name}.pem", "approver", name).public
        decision = world.certify(approvers=[first, second], **asked)

        assert decision.certified is certified
        assert certified or decision.reasons == (f"same-signer: {name} would sign twice",)


def test_who_signs_is_in_the_trust_store_by_that_name(world, tmp_path):
    """
    A key that is not trusted in its role, or that calls itself otherwise than the trust store does, signs nothing.
    """
    stranger = generate_key(tmp_path / "stranger.pem", "approver", "Stranger").public
    renamed = world.keys["approver"].public.model_copy(update={"name": "Bo"})

    assert "untrusted-key: Stranger" in reasons(world, approvers=[stranger], trust=world.trust)
    assert "misnamed: Bo is Approver" in reasons(world, approvers=[renamed], trust=world.trust)


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("says merged-weights", {"delta_kind": "merged-weights"}),
        ("other rows than screening accepted", {"accepted_sha256": "1" * 64}),
        ("other rows than screening accepted", {"accepted_sha256": None}),
        ("does not say which rows", {"rows_sha256": "0" * 64}),
        ("does not say which rows", {"rows": 0}),
        ("learned from 999999 rows", {"rows": 999_999}),
        ("learned from 11 rows", {"rows": 11}),
        (
            "learned from 31 rows",
            {"rows": 31, "defence": "safety-mix", "defence_details": {"safety_rows": 20}},
        ),
        ("learned from 12 rows", {"rows": 12, "defence": "lisa", "defence_details": {"alignment_rows": "x"}}),
    ],
)
def test_a_tune_report_must_agree_with_files_and_screening(world, words, changes):
    """
    Even signed, provenance is no free text: kind, rows and their number follow from what else is known.
    """
    screen = make_screen_report()
    tune = make_tune_report(screen_report=screen, **changes)

    assert f"chain: {words}" in reasons(world, tune_report=tune, screen_report=screen).replace(
        "the tune report ", ""
    ).replace("tuning was given ", "").replace("tuning ", "")


def test_rows_of_a_defence_and_quarantined_ones_that_are_owned_up_to_count(world):
    """
    What a defence added, and what was trained on in spite of screening, are within what was given.
    """
    screen = make_screen_report(rows=13, accepted=10, quarantined=3)
    mixed = {"rows": 30, "defence": "safety-mix", "defence_details": {"safety_rows": 15, "benign_rows": 5}}
    overridden = {"rows": 13, "screening_overridden": True, "accepted_sha256": "1" * 64}
    for changes in (mixed, overridden):
        tune = make_tune_report(screen_report=screen, **changes)

        assert world.certify(tune_report=tune, screen_report=screen).certified


def test_a_system_prompt_of_the_rows_is_asked_under(world):
    """
    Rows with a system prompt, and an evaluation that asked nothing under it: no.
    """
    screen = make_screen_report(system_prompts=("You write SQL.",))
    asked = {"tune_report": make_tune_report(screen_report=screen), "screen_report": screen}
    harm, over = world.policy.rules
    rules = (harm.model_copy(update={"conditions": (*harm.conditions, "training-context")}), over)
    world = replace(world, policy=make_policy(rules=rules))
    under = (*make_rules(), make_rule("harm", "training-context"))
    unasked = (*make_rules(), make_rule("harm", "training-context", change=make_interval(n=0)))

    assert "nothing was asked under it" in reasons(world, **asked)
    report = make_eval_report(policy=world.policy, rules=unasked)
    assert "nothing was asked under it" in reasons(world, **asked, eval_report=report)
    assert world.certify(**asked, eval_report=make_eval_report(policy=world.policy, rules=under)).certified


def test_what_does_not_follow_from_the_outcomes_is_refused(world):
    """
    Each reason that deriving gives is a reason why not.
    """
    said = reasons(world, derive=lambda report: ("not-derived: harm under plain is fail",))

    assert said == "not-derived: harm under plain is fail"


def test_a_certificate_names_its_steps_and_its_status_list(world):
    """
    Who ran what, in the order of the chain, and which list can end it.
    """
    certificate = read_unverified(world.envelope)
    links = make_links(world.keys, make_screen_report())

    assert [(one.step, one.name) for one in certificate.steps] == [
        ("screen", "Screener"), ("tune", "Trainer"), ("evaluate", "Evaluator"),
    ]  # fmt: skip
    assert certificate.steps[0].record_sha256 == certificate.screen_report_sha256
    assert certificate.steps[0].link_sha256 == sha256_bytes(Envelope.from_json(links["screen"]).payload)
    assert certificate.status_list_id == read_status(world.status, trust=world.trust, now=NOW).list_id


def paths_of(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every field and item in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, item in items for path in ((*here, key), *paths_of(item, (*here, key)))]


def without(value: Any, path: tuple[Any, ...]) -> Any:
    """Return a copy of a JSON value that lacks what is at a path."""
    copy = json.loads(json.dumps(value))
    at = copy
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    return copy


REFUSED = [
    make_eval_report(verdict=Verdict.FAIL),
    make_eval_report(
        rules=(*make_rules()[:3], make_rule("over-refusal", "plain", Verdict.UNDECIDED)),
        verdict=Verdict.UNDECIDED,
    ),
    make_eval_report(**{**DEFENDED, "verdict_safeguarded": Verdict.FAIL}),
    make_eval_report(**changed_arm(0, fingerprint_at_end="else")),
    make_eval_report(policy=make_policy(version="2")),
]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_removing_anything_from_a_refused_report_never_gets_it_certified(shared_world, data):
    """
    Whatever field or item is taken out of an evaluation that was refused, it is refused or unreadable.
    """
    value = data.draw(st.sampled_from(REFUSED)).to_value()
    for _ in range(data.draw(st.integers(1, 2))):
        value = without(value, data.draw(st.sampled_from(paths_of(value))))
    try:
        report = EvalReport.from_json(canonical_json(value))
    except RecordError:
        return

    assert not shared_world.certify(eval_report=report).certified


def test_a_certificate_names_the_prompts_and_how_they_were_asked(world):
    """Suites by digest and size where a result is about them, engine, decoding, templates, and how many were kept."""
    report = make_eval_report(
        suites={"harmful": SOME_SHA, "lookalikes": SOME_SHA, "unasked": SOME_SHA},
        suite_sizes={"harmful": 48, "lookalikes": 50, "unasked": 9},
        templates={"base": SOME_SHA, "tuned": SOME_SHA},
    )
    said = read_unverified(world.certify(eval_report=report).envelope)
    uncounted = world.certify(eval_report=make_eval_report(suite_sizes=None))

    assert [(note.name, note.sha256, note.prompts) for note in said.suites] == [
        ("harmful", SOME_SHA, 48),
        ("lookalikes", SOME_SHA, 50),
    ]
    assert (said.engine, said.sampling) == (report.engine, report.sampling)
    assert (said.templates, said.replies) == (report.templates, report.prompts_asked)
    assert not uncounted.certified
    assert "no suite is named" in " ".join(uncounted.reasons), "a report that does not count its prompts"
