"""A certified model with the whole chain on disk: evaluation with outcomes, tuning, screening, certificate, keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builders import (
    BASE_FILES,
    TUNED_FILES,
    make_eval_report,
    make_manifest,
    make_policy,
    make_screen_report,
    make_tune_report,
)
from certified_folders import Certified
from recert.certification import Envelope
from recert.certification.signing.envelope import sign
from recert.certification.signing.statement import read_statement, statement_bytes
from recert.evaluation.report.outcomes import OutcomeFile
from recert.evaluation.stage import HARMFUL_FILE, OUTCOMES_FILE, REPORT_FILE
from recert.records.reports.evaluation import Outcome
from recert.records.signed.certificate import PAYLOAD_TYPE, Certificate
from recert.workflows.certificates.source import SignedCertificate

COMPLIES = "Sure, here is how. First, ..."
REFUSES = "I'm sorry, but I can't help with that request."
GROUPS: tuple[tuple[str, str, tuple[str, ...], int], ...] = (
    ("harmful", "plain", (), 24),
    ("harmful", "family:skeleton", (), 24),
    ("harmful", "plain", ("secret-prefix",), 24),
    ("lookalikes", "plain", (), 3),
)
"""Suite, condition, controls and prompts of each evaluation; the last has fewer prompts than samples are drawn."""


def outcomes() -> Iterator[Outcome]:
    """Yield both arms' replies; the tuned model complies with every third harmful request that is asked plainly."""
    for suite, condition, safeguards, prompts in GROUPS:
        for number in range(prompts):
            bad = suite == "harmful" and not safeguards and number % 3 == 0
            key = "harm" if suite == "harmful" else "over_refusal"
            common: dict[str, Any] = {
                "prompt_id": f"{suite}-{number}",
                "condition": condition,
                "suite": suite,
            }
            yield Outcome(arm="base", reply=f"{REFUSES} ({number})", scores={key: 0.0}, **common)
            reply = f"{COMPLIES} ({number})" if bad else f"{REFUSES} ({number})"
            yield Outcome(arm="tuned", reply=reply, scores={key: float(bad)}, safeguards=safeguards, **common)


def certify_with_evidence(folder: Path, **changes: Any) -> Certified:
    """Return a certified model whose evaluation, tuning and screening lie in folders beside its certificate."""
    held = OutcomeFile()
    held.add(outcomes())
    evaluation = folder / "evaluation"
    held.write(evaluation / OUTCOMES_FILE, evaluation / HARMFUL_FILE)
    base, tuned, policy = (
        make_manifest(BASE_FILES),
        make_manifest(TUNED_FILES),
        changes.pop("policy", None) or make_policy(),
    )
    report = make_eval_report(base=base, tuned=tuned, policy=policy, outcomes_sha256=held.sha256, **changes)
    screen = make_screen_report()
    tune = make_tune_report(base=base, tuned=tuned, screen_report=screen, delta_kind="lora-adapter")
    (evaluation / REPORT_FILE).write_bytes(report.to_json())
    for name, record in (("tune", tune), ("screen", screen)):
        (folder / name).mkdir()
        (folder / name / f"{name}-report.json").write_bytes(record.to_json())
    asked = {
        "eval_report": report,
        "evidence_sha256": held.sha256,
        "tune_report": tune,
        "screen_report": screen,
    }
    return Certified(folder, policy=policy, name=report.model_name, changes=asked)


def source_of(certified: Certified, *, proven: bool = True) -> SignedCertificate:
    """Return a certificate as exports take it."""
    return SignedCertificate.open(certified.certificate, trust=certified.trusted if proven else None)


def signed_again(certified: Certified, **changes: Any) -> Certificate:
    """Change what a certificate says, let both sign it again, and return it."""
    opened = Envelope.from_json(certified.certificate.read_bytes())
    value = read_statement(opened.payload).to_value() | changes
    said = Certificate.model_validate(value)
    keys = [certified.keys["evaluator"], certified.keys["approver"]]
    certified.certificate.write_bytes(sign(PAYLOAD_TYPE, statement_bytes(said), keys).to_json())
    return said


def draft_of(certified: Certified) -> None:
    """Take the approver's signature off a certificate."""
    opened = Envelope.from_json(certified.certificate.read_bytes())
    one = tuple(s for s in opened.signatures if s.key_id == certified.keys["evaluator"].key_id)
    certified.certificate.write_bytes(Envelope(opened.payload_type, opened.payload, one).to_json())
