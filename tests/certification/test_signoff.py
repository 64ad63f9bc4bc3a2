"""The sign-off sheet: all of what is signed, and what the policy asks for."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from attack_conversations import make_attack
from builders import (
    NOW,
    SOME_SHA,
    make_ears,
    make_eval_report,
    make_interval,
    make_manifest,
    make_policy,
    make_rule,
    make_search,
)
from recert.certification import Envelope, TrustStore, generate_key, refuse, signoff_sheet
from recert.certification.signing.envelope import sign
from recert.certification.signing.signoff import own_refusals
from recert.certification.signing.statement import read_statement, statement_bytes
from recert.digest import canonical_json
from recert.labs.attackers.report.summary import attack_report
from recert.records.live.exchange import ControlScore
from recert.records.reports.attack_report import AttackSearch
from recert.records.reports.evaluation import CategoryCount, JudgeNote, Verdict
from recert.records.reports.labels import ArmLabels, Labeller, LabelNote
from recert.records.reports.stress import BaseStress
from recert.records.reports.tuning import Hyperparameters
from recert.records.signed.attempt import Attempt
from recert.records.signed.carried import CarriedEvidence
from recert.records.signed.certificate import (
    PAYLOAD_TYPE,
    Approval,
    BaseCertificate,
    Certificate,
    RootChange,
    RuleException,
    StepEvidence,
    SuiteNote,
)
from recert.records.signed.input_distribution import InputDistribution
from recert.records.signed.signoff import SignoffSheet
from stress_reports import make_stress_report

OTHER_SHA = "ab" * 32


def sheet_of(world: Any, **changes: Any) -> SignoffSheet:
    """Return the sheet of the world's certificate as it would read with other content."""
    certificate = read_statement(Envelope.from_json(world.envelope).payload).model_copy(update=changes)
    payload = statement_bytes(certificate)
    envelope = sign(PAYLOAD_TYPE, payload, [world.keys["evaluator"]]).to_json()
    return signoff_sheet(envelope, policy=world.policy, now=NOW)


CHANGED: dict[str, Any] = {
    "serial": "0" * 32,
    "model_name": "another",
    "base": make_manifest({"x": b"x"}),
    "tuned": make_manifest({"x": b"x"}),
    "delta_kind": "merged-weights",
    "policy_id": "another",
    "policy_version": "9",
    "policy_sha256": OTHER_SHA,
    "required_roles": {"approver": 3},
    "screen_report_sha256": OTHER_SHA,
    "tune_report_sha256": OTHER_SHA,
    "eval_report_sha256": OTHER_SHA,
    "rows_sha256": OTHER_SHA,
    "screening": {"rows": 77},
    "method": "dpo",
    "hyperparameters": Hyperparameters(epochs=77),
    "defence": "lisa",
    "compute_flop": 7e7,
    "compute_ratio_to_base": 0.77,
    "results": (make_rule(tuned=make_interval(0.5)),),
    "verdict_raw": Verdict.FAIL,
    "verdict_safeguarded": Verdict.PASS,
    "required_controls": ("secret-prefix",),
    "secret_sha256": OTHER_SHA,
    "trigger_search": make_search("found", "a phrase"),
    "base_stress": BaseStress.of(make_stress_report()),
    "attacker": AttackSearch.of(attack_report(make_attack(), policy=make_policy())),
    "judges": (JudgeNote(id="other", version="7"),),
    "evidence_sha256": OTHER_SHA,
    "canary": {"harmful/harm": make_interval(0.7)},
    "fingerprint": "another",
    "binds": "behaviour",
    "limitations": ("it was not tried in the rain",),
    "invalid_when": ("it rains",),
    "approvals": (Approval(role="approver", key_id=OTHER_SHA, name="Zoe"),),
    "trainer_key_id": OTHER_SHA,
    "not_before": NOW + timedelta(hours=1),
    "certified_at": NOW + timedelta(hours=1),
    "expires_at": NOW + timedelta(hours=1),
    "supersedes": "1" * 32,
    "lineage": ("2" * 32,),
    "watch_report_sha256": OTHER_SHA,
    "base_certificate": BaseCertificate(serial="3" * 32, certificate_sha256=OTHER_SHA),
    "from_root": (RootChange(rule_id="harm", condition="plain", high=0.12, links=2),),
    "exceptions": (
        RuleException(
            rule_id="harm",
            condition="plain",
            verdict=Verdict.FAIL,
            reason="it is raining",
            expires_at=NOW,
            owner_key_id=OTHER_SHA,
        ),
    ),
    "carried": CarriedEvidence(
        parent_serial="4" * 32,
        parent_certificate_sha256=OTHER_SHA,
        parent_tuned_sha256=OTHER_SHA,
        parent_expires_at=NOW,
        transform="merge",
        reason="it is the same",
        distance=0.01,
        probes=40,
        compared=(),
        comparison_sha256=OTHER_SHA,
    ),
    "ears": make_ears(),
    "suites": (SuiteNote(name="harmful", sha256=OTHER_SHA, prompts=7),),
    "engine": "another/1",
    "sampling": {"max_new_tokens": 99},
    "templates": {"base": OTHER_SHA},
    "replies": {"tuned_made": 0, "tuned_cached": 99},
    "steps": (
        StepEvidence(step="evaluate", key_id=OTHER_SHA, record_sha256=OTHER_SHA, link_sha256=OTHER_SHA),
    ),
    "status_list_id": "5" * 32,
    "inputs": InputDistribution.of(
        [[ControlScore(control="input-judge", direction="input", score=0.2, blocked=False)]], ["input-judge"]
    ),
    "labels": LabelNote(
        labels_sha256=SOME_SHA,
        labellers=(Labeller(name="ada", kind="person", labelled_at=NOW),),
        base=ArmLabels(labelled=9, complied=3, complied_found=3, not_complied=6, not_complied_found=6),
        tuned=ArmLabels(labelled=9, complied=4, complied_found=3, not_complied=5, not_complied_found=5),
    ),
    "attempt": Attempt(
        number=2,
        nonce="ab" * 32,
        ledger="l",
        entry=0,
        leaf="{}",
        size=1,
        root_sha256="cd" * 32,
        alpha_share=0.1,
    ),
}


def test_every_field_of_a_certificate_is_tried_here():
    """
    A new field cannot be forgotten on the sheet: it must be among those that the next test changes.
    """
    assert set(Certificate.model_fields) - {"schema_version"} == set(CHANGED)


@pytest.mark.parametrize("field", CHANGED)
def test_whatever_a_certificate_says_is_on_the_sheet(shared_world, field):
    """
    Another value of any field reads otherwise: nothing is signed that was not shown.
    """
    before, after = sheet_of(shared_world), sheet_of(shared_world, **{field: CHANGED[field]})
    said = [(line.heading, line.words) for line in (*before.lines, *before.results)]

    assert said != [(line.heading, line.words) for line in (*after.lines, *after.results)]


def test_the_worst_result_and_category_come_with_interval_and_margin(world):
    """
    What has the least room below its margin leads, and of the categories the one that rose most.
    """
    counts = (
        CategoryCount(category="hate", n=10, base=0.1, tuned=0.1),
        CategoryCount(category="privacy", n=10, base=0.0, tuned=0.3),
    )
    worst = make_rule("harm", "family:skeleton", change=make_interval(0.05), categories=counts)
    said = {line.heading: line.words for line in sheet_of(world, results=(make_rule(), worst)).lines}

    assert said["worst result"].startswith("harm on harmful under family:skeleton: pass: harm 0.025 to 0.030")
    assert "change +0.050 [+0.020, +0.080] at 0.900, margin 0.100, n=48" in said["worst result"]
    assert said["worst category"].startswith(
        "privacy on harmful under family:skeleton: base 0.000, tuned 0.300 [0.087,"
    )


def test_a_signer_who_also_labelled_is_named_as_one(world):
    """
    A person of a signer's name, however it is written, labelled replies: the line of the signature says so.
    """
    note = CHANGED["labels"].model_copy(
        update={"labellers": (Labeller(name="sso:approver", kind="person", labelled_at=NOW),)}
    )
    judge = note.model_copy(update={"labellers": (Labeller(name="approver", kind="judge", labelled_at=NOW),)})
    said, by_judge = (
        {line.heading: line.words for line in sheet_of(world, labels=one).lines} for one in (note, judge)
    )

    assert said["signs as approver"].endswith("(also labelled replies of the evaluation)")
    assert "labelled" not in said["signs as evaluator"]
    assert "labelled" not in by_judge["signs as approver"]


def test_a_field_that_nobody_knows_cannot_be_shown(world):
    """
    A later version's field, at any depth, makes the sheet say that it is not whole.
    """
    value = json.loads(Envelope.from_json(world.envelope).payload)
    value["predicate"]["waives"] = "everything"
    value["predicate"]["results"][0]["change"]["unless"] = 1
    payload = canonical_json(value)
    envelope = sign(PAYLOAD_TYPE, payload, [world.keys["evaluator"]]).to_json()
    sheet = signoff_sheet(envelope, policy=world.policy, now=NOW)

    assert sorted(words.rpartition(" ")[2] for words in sheet.unshown) == [
        "results.0.change.unless",
        "waives",
    ]


def test_without_the_policy_the_sheet_is_not_whole(world):
    """
    What the policy asks for cannot be listed without it.
    """
    sheet = signoff_sheet(world.envelope, policy=None, now=NOW)

    assert sheet.unshown == (f"the policy is not at hand: test-policy sha256:{world.policy.digest}",)


def test_a_good_certificate_lacks_nothing(world):
    """
    Every demand of the policy is done; signatures are verified where there is a trust store.
    """
    unchecked = signoff_sheet(world.envelope, policy=world.policy, now=NOW)
    checked = signoff_sheet(world.envelope, policy=world.policy, trust=world.trust, now=NOW)
    draft = signoff_sheet(world.certify().envelope, policy=world.policy, trust=world.trust, now=NOW)

    assert unchecked.missing == checked.missing == draft.missing == ()
    assert [i.state for i in unchecked.checklist][-2:] == ["unchecked"] * 2
    assert {i.state for i in checked.checklist} == {"done"}
    assert [i.state for i in draft.checklist][-2:] == ["done", "waiting"]


def test_a_signature_by_nobody_who_is_trusted_is_missing(world, tmp_path):
    """
    With a trust store a signature that does not count is not called one.
    """
    trust = TrustStore([generate_key(tmp_path / "x.pem", "approver", "Mallory").public])
    sheet = signoff_sheet(world.envelope, policy=world.policy, trust=trust, now=NOW)

    assert [i.state for i in sheet.checklist][-2:] == ["missing"] * 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict_raw": Verdict.FAIL}, "the verdict is fail"),
        ({"results": ()}, "no results to decide by"),
        ({"trainer_key_id": None}, "names no trainer"),
        ({"approvals": ()}, "too few signers"),
        ({"expires_at": NOW}, "until 2026-03-01 12:00 UTC"),
        ({"policy_sha256": SOME_SHA}, "under another policy"),
    ],
)
def test_what_the_policy_refuses_is_missing(world, changes, words):
    """
    Each demand that is not met is named in words, by the check that verification makes.
    """
    assert words in " ".join(i.words for i in sheet_of(world, **changes).missing)


def test_a_search_and_a_stress_test_that_the_policy_requires_are_listed(world):
    """
    The checklist says what is asked for besides the rules.
    """
    policy = make_policy(hunt={"required": True}, stress={"required": True})
    sheet = signoff_sheet(world.envelope, policy=policy, now=NOW)
    asked = [i.asked for i in sheet.missing]

    assert "2 rules measured and passed, triggers searched for and none found, its base stressed" in asked


def test_refusals_are_on_the_sheet(world):
    """
    Those of this evaluation and of earlier ones of the same files; one's own are known as such.
    """
    earlier = world.certify(eval_report=make_eval_report(policy=world.policy, seconds=99.0)).envelope
    key = world.keys["approver"]
    known = [refuse(world.envelope, key, "now", now=NOW), refuse(earlier, key, "then", now=NOW)]
    sheet = signoff_sheet(world.envelope, policy=world.policy, refusals=known, now=NOW)
    certificate = world.verify().certificate

    assert [(s.refusal.reason, s.withdrawn) for s in sheet.refusals] == [("now", False), ("then", False)]
    assert [r.reason for r in own_refusals(sheet, certificate, key.key_id)] == ["now", "then"]
    assert own_refusals(sheet, certificate, world.keys["evaluator"].key_id) == ()
