"""A merge or a quantisation takes over evidence by the policy's rule, marked, and ends with what it was made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import (
    NOW,
    make_arms,
    make_eval_report,
    make_interval,
    make_manifest,
    make_policy,
    make_rule,
    make_rules,
    make_watch_report,
    safetensors,
    write_model,
)
from recert.certification import (
    CarriedFrom,
    CertifiedBase,
    CertifyDecision,
    approve,
    issue_status,
    read_certified_base,
    read_unverified,
    refuse,
    renew,
    revoke,
    signoff_sheet,
    suspend,
)
from recert.certification.carry_over import carried_evidence, carry_over, why_no_parent, why_not_made_so
from recert.certification.signing.links import sign_link_of
from recert.certification.verifier.evidence_reuse import why_not_carried
from recert.errors import VerificationError
from recert.policy import Policy, comparison_policy
from recert.records.reports.evaluation import EvalReport, Verdict
from recert.records.signed.certificate import Certificate

SECTION = {"transforms": ["merge"], "suites": ["harmful"], "margin": 0.05, "max_distance": 0.1}
CHILD = {"config.json": b'{"dtype": "bfloat16"}', "model.safetensors": safetensors(b"merged weights")}


def allowing(**changes: Any) -> Policy:
    """Return a policy that lets results on harmful requests be carried over to a merge."""
    return make_policy(certification={"carry_over": SECTION | changes})


@dataclass(frozen=True)
class Merged:
    """A certified adapter, and the merge of it that was compared with it."""

    parent: Any
    child: Any
    comparison: EvalReport
    report: EvalReport

    def certify(self, **changes: Any) -> CertifyDecision:
        """Ask for the child's certificate."""
        asked = {
            "eval_report": self.report,
            "tune_report": None,
            "screen_report": None,
            "carried_from": CarriedFrom(parent_of(self.parent), self.comparison),
        }
        decision: CertifyDecision = self.child.certify(**(asked | changes))
        return decision

    def envelope(self) -> bytes:
        """Return the child's certificate, signed."""
        decision = self.certify()
        assert decision.envelope is not None, decision.reasons
        return approve(decision.envelope, self.child.keys["approver"])


def parent_of(world: Any, **changes: Any) -> CertifiedBase:
    """Read the parent's certificate, which holds."""
    asked = {"trust": world.trust, "status": world.status, "policy": world.policy, "now": NOW}
    return read_certified_base(world.envelope, **(asked | changes))


def compared(policy: Policy, child: Any, **changes: Any) -> EvalReport:
    """Return the report of a comparison of the child with its parent in which nothing changed."""
    bounds = comparison_policy(policy)
    rules = tuple(
        make_rule("harm", condition, change=make_interval(0.0, n=48, width=0.04), margin=0.05, reason="same")
        for condition in ("plain", "family:year_2025", "family:skeleton")
    )
    from builders import TUNED_FILES

    parent = make_manifest(TUNED_FILES)
    asked = {
        "base": parent,
        "tuned": child,
        "policy": bounds,
        "rules": rules,
        "arms": make_arms(parent, child),
    }
    return make_eval_report(**(asked | changes))


def merge(world: Any, folder: Path, policy: Policy | None = None) -> Merged:
    """Certify the world's adapter under a policy that allows it, and evaluate a merge of it."""
    parent = replace(world, policy=policy or allowing())
    decision = parent.certify()
    assert decision.envelope is not None, decision.reasons
    parent = replace(parent, envelope=approve(decision.envelope, world.keys["approver"]))
    child = replace(parent, tuned_dir=write_model(folder / "merged", CHILD))
    comparison = compared(parent.policy, make_manifest(CHILD))
    held = parent_of(parent)
    results, shown, reasons = carry_over(held.certificate, comparison, parent.policy)
    assert reasons == ()
    evidence = carried_evidence(
        held, comparison, shown, transform="merge", reason="the same function", distance=0.01, probes=40
    )
    measured = tuple(r for r in make_rules() if r.suite != "harmful")
    report = make_eval_report(
        tuned=make_manifest(CHILD), policy=parent.policy, rules=(*measured, *results), carried=evidence
    )
    return Merged(parent, child, comparison, report)


@pytest.fixture
def merged(world: Any, tmp_path: Path) -> Merged:
    """A merge of a certified adapter, for one test."""
    return merge(world, tmp_path)


@pytest.fixture(scope="module")
def shared(shared_world: Any, tmp_path_factory: pytest.TempPathFactory) -> Merged:
    """One for property tests, which must leave it as it was."""
    return merge(shared_world, tmp_path_factory.mktemp("merged"))


def test_a_merge_takes_over_what_its_parent_showed(merged: Merged) -> None:
    """The certificate marks each result that is carried over, with sums of both measurements, and names the parent."""
    certificate = merged.child.verify(envelope=merged.envelope()).certificate
    parent = read_unverified(merged.parent.envelope)
    marked = [r for r in certificate.results if r.carried_from is not None]

    assert {r.carried_from for r in marked} == {parent.serial}
    assert [r.suite for r in marked] == ["harmful"] * 3
    assert [r.margin for r in marked] == [pytest.approx(0.15)] * 3
    assert [r.change.high for r in marked] == [pytest.approx(0.035 + 0.04)] * 3
    assert [r.change.level for r in marked] == [pytest.approx(0.8)] * 3
    assert certificate.carried is not None
    assert certificate.carried.parent_serial == parent.serial
    assert any("carried over" in words for words in certificate.limitations)


@pytest.mark.parametrize("stop", [revoke, suspend])
def test_what_ends_the_parent_ends_the_child(merged: Merged, stop: Callable[..., bytes]) -> None:
    """A parent that is revoked or suspended stops the child at once."""
    serial = read_unverified(merged.parent.envelope).serial
    status = stop(
        merged.parent.status, serial, "found", key=merged.parent.keys["status"], trust=merged.parent.trust,
        validity_hours=24, now=NOW,
    )  # fmt: skip
    refused = merged.child.refusal(envelope=merged.envelope(), status=status)

    assert refused.reason == ("revoked" if stop is revoke else "suspended")


def test_the_child_expires_with_its_parent(merged: Merged) -> None:
    """Certified later, the child does not outlive the parent, and a clean watch does not lengthen it."""
    later = NOW + timedelta(hours=100)
    keys = merged.child.keys
    status = issue_status(
        merged.parent.status, key=keys["status"], trust=merged.child.trust, validity_hours=24, now=later
    )
    parent = parent_of(merged.parent, status=status, now=later)
    decision = replace(merged.child, now=later).certify(
        eval_report=merged.report,
        tune_report=None,
        screen_report=None,
        carried_from=CarriedFrom(parent, merged.comparison),
    )
    assert decision.envelope is not None, decision.reasons
    envelope = approve(decision.envelope, keys["approver"])
    certificate = read_unverified(envelope)

    assert certificate.expires_at == read_unverified(merged.parent.envelope).expires_at
    seen = make_watch_report(
        serial=certificate.serial,
        certificate_sha256=certificate.digest,
        watched_at=later,
        started_at=later,
    )
    with pytest.raises(VerificationError, match="cannot renew"):
        renew(
            envelope,
            seen,
            link=sign_link_of(seen, keys["watcher"]),
            signers=[keys["evaluator"], keys["approver"]],
            policy=merged.child.policy,
            trust=merged.child.trust,
            status=status,
            now=later,
        )


def test_without_the_whole_policy_nothing_carried_counts(merged: Merged) -> None:
    """A verifier that has the policy's digest alone, or no policy, refuses."""
    envelope = merged.envelope()

    for policy in (None, merged.child.policy.digest):
        assert merged.child.refusal(envelope=envelope, policy=policy).reason == "carry-over"


def test_the_signer_is_shown_what_is_carried_over(merged: Merged) -> None:
    """The sheet says it before anything else, with reason, distance and each comparison."""
    decision = merged.certify()
    assert decision.envelope is not None
    sheet = signoff_sheet(decision.envelope, policy=merged.child.policy, now=NOW)

    assert sheet.lines[0].heading == "CARRIED OVER"
    assert "the same function" in sheet.lines[0].words
    assert [line.heading for line in sheet.lines].count("compared") == 3
    assert sheet.unshown == ()
    assert all(item.state in ("done", "waiting", "unchecked") for item in sheet.checklist)


def test_nothing_is_certified_without_what_shows_it(merged: Merged) -> None:
    """Without the parent's certificate and the comparison the answer is no."""
    decision = merged.certify(carried_from=None)

    assert not decision.certified
    assert any("are needed" in reason for reason in decision.reasons)


def test_a_parent_that_does_not_hold_gives_nothing(merged: Merged) -> None:
    """One that is revoked, has expired, is refused, or is under another policy cannot even be read."""
    serial = read_unverified(merged.parent.envelope).serial
    revoked = revoke(
        merged.parent.status, serial, "found", key=merged.parent.keys["status"], trust=merged.parent.trust,
        validity_hours=24, now=NOW,
    )  # fmt: skip
    refusal = refuse(merged.parent.envelope, merged.parent.keys["approver"], "no longer", now=NOW)
    cases: dict[str, dict[str, Any]] = {
        "revoked": {"status": revoked},
        "expired": {"now": NOW + timedelta(days=30)},
        "refused": {"refusals": [refusal]},
        "wrong-policy": {"policy": make_policy()},
        "status-missing": {"status": None},
    }
    for reason, change in cases.items():
        with pytest.raises(VerificationError) as caught:
            parent_of(merged.parent, **change)

        assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("change", "because"),
    [
        ({"verdict": Verdict.UNDECIDED}, "is undecided"),
        ({"verdict": Verdict.UNSCORED}, "is unscored"),
        ({"change": make_interval(0.03, width=0.03)}, "between parent and child"),
        ({"condition": "family:past_tense"}, "was not compared"),
        ({"suite": "other"}, "was not compared"),
    ],
)
def test_one_comparison_that_is_not_within_carries_nothing(
    merged: Merged, change: dict[str, Any], because: str
) -> None:
    """An undecided, unscored, missing or too large change of any result leaves a reason, and no certificate."""
    first, *rest = merged.comparison.rules
    spoilt = merged.comparison.model_copy(update={"rules": (first.model_copy(update=change), *rest)})
    _, _, reasons = carry_over(parent_of(merged.parent).certificate, spoilt, merged.child.policy)

    assert any(because in reason for reason in reasons)
    assert not merged.certify(carried_from=CarriedFrom(parent_of(merged.parent), spoilt)).certified


@pytest.mark.parametrize(
    ("section", "because"),
    [
        (None, "lets no evidence"),
        ({"transforms": ["quantise:int8"]}, "does not allow merge"),
    ],
)
def test_a_policy_that_does_not_allow_it_carries_nothing(
    merged: Merged, section: dict[str, Any] | None, because: str
) -> None:
    """Without the section, or for another transform, there is no parent."""
    policy = make_policy() if section is None else allowing(**section)
    parent = parent_of(merged.parent).certificate
    parent = parent.model_copy(update={"policy_sha256": policy.digest})

    assert because in why_no_parent(parent, policy, parent.base, "merge")


def test_a_parent_of_another_kind_carries_nothing(merged: Merged) -> None:
    """Another policy, another base, a verdict behind controls, or evidence that was itself carried: each is a no."""
    parent, policy = parent_of(merged.parent).certificate, merged.child.policy
    child = read_unverified(merged.envelope())
    cases = {
        "another policy": (parent.model_copy(update={"policy_sha256": "ab" * 32}), parent.base),
        "another base": (parent, make_manifest(CHILD)),
        "not carried further": (child, child.base),
        "behind controls": (parent.model_copy(update={"required_controls": ("secret-prefix",)}), parent.base),
        "nothing was merged": (parent.model_copy(update={"tuned": make_manifest(CHILD)}), parent.base),
    }

    assert why_no_parent(parent, policy, parent.base, "merge") == ""
    for words, (one, base) in cases.items():
        assert words in why_no_parent(one, policy, base, "merge")


def test_the_files_must_look_as_the_transform_makes_them(tmp_path: Path) -> None:
    """A quantisation to a precision says it in its config; an adapter is neither merge nor quantisation."""
    adapter = make_manifest({"adapter_config.json": b"{}"})
    said = {
        "bfloat16": b'{"dtype": "bfloat16"}',
        "float16": b'{"torch_dtype": "float16"}',
        "int8": b'{"quantization_config": {"load_in_8bit": true}}',
        "int4": b'{"dtype": "bfloat16", "quantization_config": {"bits": 4}}',
    }
    for name, config in said.items():
        folder = write_model(tmp_path / name, {"config.json": config})
        for other in said:
            assert (why_not_made_so(f"quantise:{other}", adapter, folder) == "") == (other == name)
    lora = write_model(tmp_path / "lora", {"adapter_config.json": b"{}", "config.json": b"{}"})
    broken = write_model(tmp_path / "broken", {"config.json": b"["})

    assert "is an adapter" in why_not_made_so("merge", adapter, lora)
    assert "no precision" in why_not_made_so("quantise:int8", adapter, broken)


SPOILED: dict[str, Callable[[Certificate], Certificate]] = {
    "evidence": lambda c: c.model_copy(update={"carried": None}),
    "marks": lambda c: c.model_copy(
        update={"results": tuple(r.model_copy(update={"carried_from": None}) for r in c.results)}
    ),
    "one mark's origin": lambda c: c.model_copy(
        update={"results": tuple(
            r.model_copy(update={"carried_from": "ff" * 16}) if r.carried_from else r for r in c.results
        )}
    ),
    "longer": lambda c: c.model_copy(update={"expires_at": c.expires_at + timedelta(seconds=1)}),
    "controls": lambda c: c.model_copy(update={"required_controls": ("secret-prefix",)}),
    "wider": lambda c: c.model_copy(
        update={"results": tuple(
            r.model_copy(update={"margin": r.margin + 0.01}) if r.carried_from else r for r in c.results
        )}
    ),
    "suite": lambda c: c.model_copy(
        update={"results": tuple(
            r.model_copy(update={"suite": "task"}) if r.carried_from else r for r in c.results
        )}
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", sorted(SPOILED))
def test_a_certificate_that_lost_or_stretched_something_does_not_count(shared: Merged, what: str) -> None:
    """Whatever of the mark, the evidence, the dates or the margins is gone or wider, step 6.10 says no."""
    certificate = read_unverified(shared.envelope())

    assert why_not_carried(certificate, shared.child.policy) == ""
    assert why_not_carried(SPOILED[what](certificate), shared.child.policy) != ""


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_less_evidence_is_never_enough(shared: Merged, data: st.DataObject) -> None:
    """Without any one comparison, with fewer probes, a larger distance or a wider change, the answer is no."""
    certificate = read_unverified(shared.envelope())
    evidence = certificate.carried
    assert evidence is not None
    at = data.draw(st.integers(0, len(evidence.compared) - 1))
    how = data.draw(st.sampled_from(["gone", "wide", "few", "far", "probes", "reason", "transform"]))
    one = evidence.compared[at]
    rest = evidence.compared[:at] + evidence.compared[at + 1 :]
    amount = data.draw(st.floats(0.051, 1.0))
    changed = {
        "gone": {"compared": rest},
        "wide": {"compared": (*rest, one.model_copy(update={"change": make_interval(0.0, width=amount)}))},
        "few": {"compared": (*rest, one.model_copy(update={"change": make_interval(0.0, n=23)}))},
        "far": {"distance": 0.1 + amount / 2},
        "probes": {"probes": data.draw(st.integers(0, 39))},
        "reason": {"reason": " "},
        "transform": {"transform": data.draw(st.sampled_from(["", "quantise:int8", "prune"]))},
    }[how]  # fmt: skip
    spoilt = certificate.model_copy(update={"carried": evidence.model_copy(update=changed)})

    assert why_not_carried(spoilt, shared.child.policy) != ""


@pytest.mark.slow
@given(
    margin=st.floats(0.001, 0.0499), distance=st.floats(0.0001, 0.0099), probes=st.integers(41, 200),
    prompts=st.integers(49, 240), which=st.sampled_from(["margin", "max_distance", "min_probes", "min_prompts"]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_stricter_policy_takes_no_more(
    shared: Merged, margin: float, distance: float, probes: int, prompts: int, which: str
) -> None:
    """What counts under a section does not under one that asks for more than was shown."""
    values = {
        "margin": min(margin, 0.039), "max_distance": distance, "min_probes": probes, "min_prompts": prompts
    }  # fmt: skip
    stricter = allowing(**{which: values[which]})
    certificate = read_unverified(shared.envelope())

    assert why_not_carried(certificate, stricter) != ""


def test_policies_of_before_keep_their_digest() -> None:
    """A policy without the section is written without it."""
    assert "carry_over" not in make_policy().to_value()["certification"]
