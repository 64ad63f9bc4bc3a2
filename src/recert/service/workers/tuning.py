"""The tuning of a job: what was asked for in the trainer's terms, each step told, a finished tune used again."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recert.errors import GraderError, RecordError, RowsError, StoreError
from recert.records.data.manifest import Manifest
from recert.records.data.rows import ChatRow, PreferenceRow, PromptRow, rows_digest
from recert.records.reports.grader import GraderReport, GraderVerdict
from recert.records.reports.screening import ScreenReport
from recert.records.reports.tuning import USUAL_LEARNING_RATES, Hyperparameters, TuneReport
from recert.screening.stage import ACCEPTED_FILE
from recert.service.api.requests import JobRequest
from recert.service.storage.uploads import StoredFile
from recert.service.workers.claim import Claim
from recert.service.workers.resources import Work
from recert.store.files.writing import read_bytes, write_atomic
from recert.tuning.adapter_layers import settled
from recert.tuning.defences import USUAL, defend
from recert.tuning.stage import answers, finished_tune, tune
from recert.workflows.signers import sign_tune, signed_tune

if TYPE_CHECKING:
    from recert.labs.graders import Grader

OBJECTIVES: Final = {"supervised": "sft", "dpo": "dpo", "reinforcement": "rft"}
METRICS_FILE: Final = "metrics.csv"
_MOST_EVENTS: Final = 200
_EVENT_EVERY_S: Final = 0.2

Rows = Sequence[ChatRow] | Sequence[PromptRow]


@dataclass
class Steps:
    """What the trainer tells of its steps: an event now and then, and a table in the end."""

    work: Work
    claim: Claim
    told: str
    """What the figure is: `train_loss` or `train_mean_reward`."""
    values: dict[int, float] = field(default_factory=dict)
    _said: float = 0.0

    def at(self, step: int, steps: int, value: float) -> None:
        """Hear of a step. Raises Lost where the job is not ours any more."""
        self.claim.check()
        self.values[step] = value
        every = max(1, math.ceil(steps / _MOST_EVENTS))
        due = step in (1, steps) or (step % every == 0 and time.monotonic() - self._said > _EVENT_EVERY_S)
        if due:
            self._said = time.monotonic()
            self.work.events.add(
                self.claim.job.id,
                f"Step {step}/{steps}: {self.told.replace('_', ' ')}={value:.4f}",
                kind="metrics",
                data={"step": step, "total_steps": steps, self.told: round(value, 6)},
            )

    def table(self) -> bytes:
        """Return the figures of every step, as CSV."""
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(["step", self.told])
        lines.writerows([step, round(value, 6)] for step, value in sorted(self.values.items()))
        return text.getvalue().encode()


def require_rows(asked: JobRequest, rows: Rows, param: str) -> None:
    """
    Return when rows are of the kind that a method learns from.

    Raises:
        RowsError: they are not.
    """
    kind = asked.how.type
    wanted = {
        "supervised": "messages that end with the assistant's",
        "dpo": "a preferred and another reply",
        "reinforcement": "messages that end with the user's",
    }[kind]
    wrong = sum(_method_of(row) != kind for row in rows)
    if wrong:
        raise RowsError(
            f"rows of a {kind} job have {wanted}", facts={"param": param, "others": f"{wrong} of {len(rows)}"}
        )


def _method_of(row: ChatRow | PromptRow) -> str:
    if isinstance(row, PromptRow):
        return "reinforcement"
    return "dpo" if isinstance(row, PreferenceRow) else "supervised"


def hyperparameters(work: Work, asked: JobRequest, rows: Rows) -> Hyperparameters:
    """Return how to train: what was asked for, what is usual for the rest, a checkpoint about once an epoch."""
    told, objective = asked.how.hyperparameters, OBJECTIVES[asked.how.type]
    given = {k: v for k, v in told.model_dump().items() if v not in (None, "auto")}
    fields: dict[str, Any] = {
        "method": f"lora-{objective}",
        "learning_rate": USUAL_LEARNING_RATES[f"adapter-{objective}"]
        * given.get("learning_rate_multiplier", 1),
        "seed": asked.seed or 0,
    }
    if work.settings.lora_targets:
        fields["lora_targets"] = work.settings.lora_targets
    if "n_epochs" in given:
        fields["epochs"] = float(given["n_epochs"])
    if "batch_size" in given:
        fields["batch_size"] = given["batch_size"]
    if "beta" in given:
        fields["dpo_beta"] = given["beta"]
    how = Hyperparameters(**fields)
    if how.epochs <= 1:
        return how
    chats = [row for row in rows if isinstance(row, ChatRow)]
    learned = defend(defence_of(work, asked), chats, seed=how.seed).rows if chats else rows
    replies = len(learned or rows) * (how.rft_samples if objective == "rft" else 1)
    return how.model_copy(update={"checkpoint_every": math.ceil(replies / how.batch_size)})


def defence_of(work: Work, asked: JobRequest) -> str:
    """Return the name of the defence of a job; reinforcement has none."""
    usual = USUAL[OBJECTIVES[asked.how.type]]
    return usual if asked.how.type == "reinforcement" else work.settings.defence or usual


@contextlib.contextmanager
def open_grader(work: Work, asked: JobRequest) -> Iterator[Grader | None]:
    """Give the grader of a reinforcement job, None of another. Raises GraderError, ModelError."""
    if asked.how.reinforcement is None:
        yield None
        return
    from recert.labs.graders import make_grader
    from recert.labs.graders.sandbox import SandboxLimits

    bounds = work.policy.grader_audit
    limits = SandboxLimits(wall_s=bounds.python_timeout_s, memory_bytes=bounds.python_memory_mib * 2**20)
    grader = make_grader(asked.how.reinforcement.grader, limits=limits)
    if grader.asks_model:
        from recert.models.engines.engines import open_model

        model = open_model(work.settings.grader_judge)
        grader = make_grader(asked.how.reinforcement.grader, model, limits=limits)
    with grader:
        yield grader


def audited(work: Work, claim: Claim, file: StoredFile, grader: Grader) -> GraderReport:
    """
    Return the audit of a job's grader on the job's rows.

    Raises:
        GraderError: it may not be learned from.
    """
    from recert.labs.graders.audit.stage import REPORT_FILE, audit_grader

    path = work.settings.job_folder(claim.job.id) / REPORT_FILE
    report: GraderReport | None = None
    known = False
    try:
        report = GraderReport.from_json(read_bytes(path))
        known = report.grader_sha256 == grader.sha256 and report.policy_sha256 == work.policy.digest
    except (RecordError, StoreError):
        known = False
    if report is None or not known:
        prompts = [p for suite in work.suites.values() for p in suite.prompts]
        report = audit_grader(
            grader,
            policy=work.policy,
            prompts=prompts,
            source_name="the job's grader",
            rows=work.files.screened(file.id) / ACCEPTED_FILE,
            model=work.settings.grader_judge if grader.asks_model else "",
            progress=claim.check,
        )
        write_atomic(path, report.to_json())
        work.files.storage.keep(path, claimed=claim.job)
    if report.verdict is not GraderVerdict.ACCEPTED:
        raise GraderError(
            "this grader may not be learned from", facts={"because": "; ".join(report.reasons)[:400]}
        )
    return report


def tuned(
    work: Work,
    claim: Claim,
    asked: JobRequest,
    rows: Rows,
    screened: ScreenReport,
    *,
    grader: Grader | None = None,
    grader_report: GraderReport | None = None,
) -> TuneReport:
    """
    Return the report of a job's tune; one that was finished before on the same rows and settings is used again.

    Raises:
        Lost: the job is not ours any more.
        RecertError: as `tune`.
    """
    folder = work.settings.job_folder(claim.job.id)
    how, defence = hyperparameters(work, asked, rows), defence_of(work, asked)
    before = finished_tune(folder / "tune")
    signed = before is not None and signed_tune(folder / "tune", before, work.signers.trainer)
    if before is not None and signed and _same(before, work, rows, how, defence, screened, grader):
        work.events.add(claim.job.id, "The model was trained before; going on from there")
        work.files.storage.keep(folder, claimed=claim.job)  # whoever trained it may have failed at just that
        return before
    steps = Steps(work, claim, "train_mean_reward" if grader else "train_loss")
    report = tune(
        work.settings.base_dir,
        rows,
        folder / "tune",
        defence=defence,
        hyperparameters=how,
        screen_report=screened,
        grader=grader,
        grader_report=grader_report,
        progress=steps.at,
    )
    write_atomic(folder / METRICS_FILE, steps.table())
    sign_tune(folder / "tune", report, work.signers.trainer)
    work.files.storage.keep(folder, claimed=claim.job)
    return report


def _same(
    before: TuneReport,
    work: Work,
    rows: Rows,
    how: Hyperparameters,
    defence: str,
    screened: ScreenReport,
    grader: Grader | None,
) -> bool:
    if before.screen_report_sha256 != screened.digest or before.screening_overridden:
        return False
    base_dir = work.settings.base_dir
    if grader is not None:
        paid = before.rewarded.grader_sha256 if before.rewarded else ""
        same = (before.base, before.accepted_sha256, before.hyperparameters, paid)
        wanted = (Manifest.of_folder(base_dir), rows_digest(rows), settled(base_dir, how), grader.sha256)
        return same == wanted
    chats = [row for row in rows if isinstance(row, ChatRow)]
    return answers(before, base_dir=base_dir, rows=chats, defence=defence, hyperparameters=how)


def losses(folder: Path) -> dict[int, float]:
    """Return the figure of each step that a tune's table holds; none where there is no table."""
    try:
        lines = list(csv.reader(read_bytes(folder / METRICS_FILE).decode().splitlines()))[1:]
        return {int(step): float(value) for step, value in lines}
    except (StoreError, ValueError):
        return {}
