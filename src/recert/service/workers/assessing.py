"""After training: a model is evaluated against its base, shown in 13 categories, and certified or blocked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from recert.certification.signing.links import read_links, write_link
from recert.certification.stage import certify
from recert.certification.status.reading import status_list_id
from recert.digest import sha256_file
from recert.evaluation.stage import OUTCOMES_FILE, REPORT_FILE
from recert.models.chat.secret import SecretPrefix
from recert.models.engines.engines import folder_arms
from recert.models.protocol import Model
from recert.policy import Policy, moderation_checks
from recert.progress import Silent
from recert.records.data.hazards import CategoryCheck
from recert.records.data.rows import ChatRow, PromptRow
from recert.records.data.suite import Chat
from recert.records.reports.evaluation import EvalReport
from recert.records.reports.screening import ScreenReport
from recert.records.reports.tuning import TuneReport
from recert.records.signed.certificate import Step
from recert.service.workers.claim import Claim
from recert.service.workers.resources import Work
from recert.store.cache import GenerationCache
from recert.store.files.writing import read_bytes, write_atomic
from recert.workflows.attempts.counted import evaluate_counted
from recert.workflows.attempts.ledger import Ledger
from recert.workflows.deriving import deriver
from recert.workflows.progress_file import ProgressFile

CERTIFICATE_FILE: Final = "certificate.json"
SECRET_FILE: Final = "secret.txt"  # noqa: S105 - the name of the file
_MOST_VALIDATED: Final = 256


@dataclass(frozen=True)
class Candidate:
    """A set of weights that a job made, before anything is known of it."""

    name: str
    folder: Path
    """Of its weights."""
    place: Path
    """Where its evaluation and certificate go."""
    tune_report: TuneReport | None = None
    """How it was trained; None where that was elsewhere."""
    made_by: Mapping[Step, Path] = field(default_factory=dict)
    """Reports of the steps that made it, each with the link of who ran it beside."""
    elsewhere_sha256: str = ""
    """Of one that was trained elsewhere: the digest of its files, or of the vendor's record of it."""

    @property
    def steps(self) -> int:
        """Steps that it was trained for; 0 where nobody knows."""
        return self.tune_report.steps if self.tune_report else 0

    @property
    def sha256(self) -> str:
        """Digest of what it is."""
        return self.tune_report.tuned.digest if self.tune_report else self.elsewhere_sha256

    @property
    def last_loss(self) -> float | None:
        """The loss of its last step, where that is known."""
        return self.tune_report.last_loss if self.tune_report else None


@dataclass(frozen=True)
class Assessed:
    """What became of a candidate: a certificate that waits for its signatures, or reasons why there is none."""

    report: EvalReport
    checks: tuple[CategoryCheck, ...]
    reasons: tuple[str, ...]
    valid_loss: float | None = None
    data: dict[str, Any] = field(default_factory=dict)
    """Of the `moderation_checks` event."""

    @property
    def blocked(self) -> bool:
        """Whether it may not be served, whoever would sign."""
        return bool(self.reasons)


class Checked(Silent):
    """Progress that asks, at each step, whether the job is still ours. Raises Lost where it is not."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim

    def at(self, done: int, total: int, note: str = "") -> None:
        """Ask."""
        self._claim.check(done, total, note)


def assess(
    work: Work,
    claim: Claim,
    candidate: Candidate,
    *,
    screened: ScreenReport | None,
    rows: Sequence[ChatRow] | Sequence[PromptRow],
    validation: Sequence[ChatRow] = (),
) -> Assessed:
    """
    Evaluate a candidate, and certify it or say why not. Writes into its place; an earlier certificate goes first.

    The policy's rules decide, as everywhere. Where it has a section on the 13 categories, one that failed blocks too,
    unless it is only reported; one that was not measured has not passed, as the event says, and is left to the rules.

    Raises:
        Lost: the job is not ours any more.
        RecertError: a stage could not answer.
    """
    work.files.storage.delete(candidate.place / CERTIFICATE_FILE)
    secret_path = work.settings.job_folder(claim.job.id) / "tune" / SECRET_FILE
    tuned_with = candidate.tune_report.secret_sha256 if candidate.tune_report else None
    secret = SecretPrefix.read(secret_path) if tuned_with else None
    base, model = folder_arms(work.settings.base_dir, candidate.folder)
    claim.check()
    with (
        GenerationCache(work.settings.replies) as cache,
        ProgressFile(candidate.place, candidate.name, "service", Checked(claim)) as tell,
    ):
        tell.start("evaluate against the base")
        report = evaluate_counted(
            base,
            model,
            candidate.place,
            Ledger(work.settings.ledger, work.signers.evaluator),
            suites=work.suites,
            policy=work.policy,
            model_name=candidate.name,
            training_context=screened.system_prompts[:1] if screened else None,
            rows=[row for row in rows if isinstance(row, ChatRow)] or None,
            secret=secret,
            cache=cache,
            progress=tell,
        )
        write_link(candidate.place / REPORT_FILE, report, work.signers.evaluator)
    checks = moderation_checks(report, work.policy)
    reasons = _certified(work, claim, candidate, report, checks, screened)
    return Assessed(
        report=report,
        checks=checks,
        reasons=reasons,
        valid_loss=_loss(model, validation[:_MOST_VALIDATED]) if validation else None,
        data=checks_data(candidate.name, report, checks, reasons, work.policy),
    )


def _certified(
    work: Work,
    claim: Claim,
    candidate: Candidate,
    report: EvalReport,
    checks: Sequence[CategoryCheck],
    screened: ScreenReport | None,
) -> tuple[str, ...]:
    """Write a certificate that waits for its signatures; or return every reason why there is none."""
    decision = certify(
        eval_report=report,
        policy=work.policy,
        base_dir=work.settings.base_dir,
        tuned_dir=candidate.folder,
        evidence_sha256=sha256_file(candidate.place / OUTCOMES_FILE),
        signer=work.signers.evaluator,
        approvers=work.signers.approvers,
        **signed_for(work, candidate),
        tune_report=candidate.tune_report,
        screen_report=screened,
    )
    reasons = (*decision.reasons, *blocking(checks, work.policy))
    claim.check()
    if decision.envelope is not None and not reasons:
        write_atomic(candidate.place / CERTIFICATE_FILE, decision.envelope)
    return reasons


def signed_for(work: Work, candidate: Candidate) -> dict[str, Any]:
    """
    Return what a certificate is asked with beside the reports: who signed for them, who is trusted, which status list.

    Raises:
        VerificationError: there is no status list that somebody trusted signed.
        StoreError: a link cannot be read.
    """
    listed = work.settings.status
    status = read_bytes(listed, "status list") if listed.exists() else None
    return {
        "trainer_key_id": work.signers.trainer.key_id,
        "links": read_links({**candidate.made_by, "evaluate": candidate.place / REPORT_FILE}),
        "trust": work.signers.trust,
        "derive": deriver(candidate.place, policy=work.policy, suites=work.suites),
        "status_list_id": status_list_id(status, trust=work.signers.trust),
    }


def blocking(checks: Sequence[CategoryCheck], policy: Policy) -> tuple[str, ...]:
    """Return why categories block: those that failed, where the policy has them block."""
    return tuple(
        f"moderation check {one.category}: {one.reason}"
        for one in checks
        if one.measured and not one.passed and enforcement(one, policy) == "block"
    )


def enforcement(check: CategoryCheck, policy: Policy) -> str:
    """Return `block` or `report`: categories block where the policy has a section on them, else its rules alone do."""
    return check.enforcement if "moderation_checks" in policy.model_fields_set else "report"


def checks_data(
    name: str,
    report: EvalReport,
    checks: Sequence[CategoryCheck],
    reasons: Sequence[str],
    policy: Policy,
) -> dict[str, Any]:
    """Return what the event of a model's moderation checks holds."""
    verdict = report.verdict_safeguarded if report.required_controls else report.verdict_raw
    return {
        "finetuned_model_checkpoint_id": name,
        "blocked": bool(reasons),
        "verdict": str(verdict),
        "reasons": list(reasons),
        "results": [
            {
                "category": one.category,
                "n": one.n,
                "failures": one.failures,
                "threshold": one.threshold,
                "passed": one.passed,
                "flagged": one.measured and not one.passed,
                "measured": one.measured,
                "enforcement": enforcement(one, policy),
                "condition": one.condition,
                "reason": one.reason,
            }
            for one in checks
        ],
    }


def _loss(model: Model, rows: Sequence[ChatRow]) -> float | None:
    """Mean negative log likelihood of a token of the replies; None where the engine cannot count tokens."""
    count = getattr(model, "count_tokens", None)
    pairs = [(Chat(messages=row.messages[:-1]), row.reply) for row in rows if row.reply]
    if count is None or not pairs:
        return None
    tokens = sum(int(count(reply)) for _, reply in pairs)
    return -sum(model.log_probs(pairs)) / max(tokens, 1)


def report_path(place: Path) -> Path:
    """Return where a candidate's evaluation report lies."""
    return place / REPORT_FILE
