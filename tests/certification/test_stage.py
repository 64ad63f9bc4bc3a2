"""Who gets a certificate, and every reason why not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import (
    BASE_FILES,
    NOW,
    SOME_SHA,
    TUNED_FILES,
    make_arms,
    make_eval_report,
    make_manifest,
    make_policy,
    make_rule,
    make_rules,
    make_screen_report,
    make_search,
    make_tune_report,
)
from recert.certification import SigningKey, TrustStore, approve, read_unverified
from recert.digest import canonical_json
from recert.errors import InputError, RecordError, SigningKeyError
from recert.records import EvalReport, Verdict

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
    assert f"harm under plain was measured without {control}" in reasons(
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
    before = read_unverified(world.certify(eval_report=make_eval_report()).envelope)

    assert [(note.name, note.sha256, note.prompts) for note in said.suites] == [
        ("harmful", SOME_SHA, 48),
        ("lookalikes", SOME_SHA, 50),
    ]
    assert (said.engine, said.sampling) == (report.engine, report.sampling)
    assert (said.templates, said.replies) == (report.templates, report.prompts_asked)
    assert before.suites is None, "a report that does not count its prompts names none"
