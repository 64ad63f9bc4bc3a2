"""Whether a report, or a certificate, follows from the evidence in an evaluation's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from recert.certification.signing.content import canary_rates
from recert.errors import InputError, RecertError
from recert.evaluation.decision.underived import CODE, why_certificate_not_derived, why_not_derived
from recert.evaluation.labels.files import LABELS_FILE
from recert.evaluation.stage import OUTCOMES_FILE, REPORT_FILE
from recert.evaluation.suites.reading import find_suites
from recert.policy import Policy, comparison_policy
from recert.records.data.suite import Suite
from recert.records.reports.evaluation import EvalReport
from recert.records.signed.carried import CarriedEvidence
from recert.records.signed.certificate import Certificate
from recert.store.files.writing import read_bytes
from recert.workflows.evidence_reuse import COMPARISON

EVALUATION: Final = "evaluation"
"""Name of the folder, beside a certificate, in which its evidence is looked for."""
_AS_REPORTED: Final = (
    "model_name", "base", "tuned", "engine", "templates", "secret_sha256", "trigger_search", "carried", "ears",
    "labels",
)  # fmt: skip
"""Fields that a certificate has from the report as they are."""


def deriver(
    folder: Path, *, policy: Policy, suites: Mapping[str, Suite] | None = None
) -> Callable[[EvalReport], tuple[str, ...]]:
    """
    Return what says why a report does not follow from the outcomes in its folder, as `certify` wants it.

    Args:
        folder: the evaluation's.
        policy: the one that decided.
        suites: prompts by name, beside those that come with Recert and those in the folder.
    """

    def why(report: EvalReport) -> tuple[str, ...]:
        found = find_suites(folder, report.suites, suites or {})
        reasons = why_not_derived(report, folder / OUTCOMES_FILE, policy=policy, suites=found)
        return (*reasons, *_of_comparison(report.carried, folder, policy, suites or {}))

    return why


def _of_comparison(
    carried: CarriedEvidence | None, folder: Path, policy: Policy, suites: Mapping[str, Suite]
) -> tuple[str, ...]:
    """Why the comparison that results were carried over by does not follow from its own outcomes."""
    if carried is None:
        return ()
    try:
        compared = EvalReport.from_json(read_bytes(folder / COMPARISON / REPORT_FILE, "evaluation report"))
        bounds = comparison_policy(policy)
    except RecertError as exc:
        return (f"{CODE}: comparison with the parent: {exc.message}",)
    if compared.digest != carried.comparison_sha256:
        return (f"{CODE}: the comparison by which results were carried over is not at hand, in {COMPARISON}",)
    return deriver(folder / COMPARISON, policy=bounds, suites=suites)(compared)


def why_not_from_evidence(
    certificate: Certificate, folder: Path, *, policy: Policy, suites: Mapping[str, Suite] | None = None
) -> tuple[str, ...]:
    """
    Return every difference between a certificate and what follows from the evidence in a folder.

    The evaluation's report must lie there, and be the one that the certificate names: what no outcome shows, such as
    which files answered, is the report's to say.

    Args:
        certificate: what was said.
        folder: with `outcomes.jsonl`, as `recert evaluate` wrote it.
        policy: the one that decided.
        suites: prompts by name, beside those that come with Recert and those in the folder.
    """
    try:
        report = EvalReport.from_json(read_bytes(folder / REPORT_FILE, "evaluation report"))
    except RecertError as exc:
        return (f"{CODE}: {exc.message}",)
    named = {note.name: note.sha256 for note in certificate.suites or ()}
    found = find_suites(folder, named | report.suites, suites or {})
    path = folder / OUTCOMES_FILE
    reasons = why_certificate_not_derived(certificate, path, policy=policy, suites=found, report=report)
    reasons += _of_comparison(certificate.carried, folder, policy, suites or {})
    reasons += _of_report(certificate, report)
    if canary_rates(certificate.results, certificate.required_controls) != certificate.canary:
        reasons += (f"{CODE}: what a watch compares with are not the rates of the results",)
    return reasons


def evidence_beside(certificate: Path) -> Path | None:
    """Return the folder with a certificate's outcomes, `evaluation` beside it or its own; None where there is none."""
    there = (certificate.parent / EVALUATION, certificate.parent)
    return next((folder for folder in there if (folder / OUTCOMES_FILE).is_file()), None)


def require_evidence(certificate: Path, given: Path | None) -> Path:
    """
    Return the folder with a certificate's outcomes.

    Raises:
        InputError: none was given, and none lies beside it.
    """
    found = given or evidence_beside(certificate)
    if found is None:
        raise InputError(
            "the evidence is not at hand, so nobody can tell whether the certificate follows from it",
            facts={"looked in": f"{certificate.parent / EVALUATION}, {certificate.parent}"},
            hint="give the folder that `recert evaluate` wrote: --evidence DIR",
        )
    return found


def why_not_from_beside(certificate: Certificate, path: Path, policy: Policy) -> tuple[str, ...]:
    """
    Return why a certificate does not follow from the evidence that lies beside it; where there is none, that.

    What was looked at is not looked at again until a file changes.
    """
    folder = evidence_beside(path)
    if folder is None:
        return (f"{CODE}: no evidence lies beside the certificate, in {EVALUATION}",)
    files = [
        p
        for p in (folder, *(folder / name for name in (OUTCOMES_FILE, REPORT_FILE, LABELS_FILE)))
        if p.exists()
    ]
    stamps = tuple((p.stat().st_mtime_ns, p.stat().st_size, p.stat().st_ino) for p in files)
    return _kept(certificate.to_json(), folder, policy.to_json(), stamps)


@lru_cache(maxsize=64)
def _kept(certificate: bytes, folder: Path, policy: bytes, stamps: object) -> tuple[str, ...]:
    return why_not_from_evidence(Certificate.from_json(certificate), folder, policy=Policy.from_json(policy))


def _of_report(certificate: Certificate, report: EvalReport) -> tuple[str, ...]:
    """Where a certificate says otherwise than its evaluation's report what follows from no outcome."""
    said = {name: getattr(report, name) for name in _AS_REPORTED} | {
        "replies": report.prompts_asked,
        "fingerprint": next((arm.fingerprint_at_end for arm in report.arms if arm.arm == "tuned"), ""),
    }
    other = [name for name, value in said.items() if getattr(certificate, name) != value]
    return tuple(f"{CODE}: {name} is not what the evaluation's report says" for name in other)
