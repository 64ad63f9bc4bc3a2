"""
One job, from its files to a certificate or a reason. Read this first of what workers do: the steps in order.

Every step can be taken again: screening is kept with the file, a finished tune with the job, replies in a cache. So a
job whose worker was killed goes on from the last step that was finished.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recert.errors import GraderError, InputError, RecertError, RowsError, StoreError
from recert.records.data.rows import ChatRow, PromptRow
from recert.records.reports.grader import GraderReport
from recert.records.reports.screening import ScreenReport
from recert.records.reports.tuning import TuneReport
from recert.records.signed.certificate import Step
from recert.screening.stage import REPORT_FILE as SCREEN_REPORT
from recert.service.api.requests import JobRequest
from recert.service.storage.choosing import ObjectDamaged, StorageUnreachable
from recert.service.storage.systems import BLOCKED, CERTIFIED, UNASSESSED
from recert.service.storage.uploads import StoredFile
from recert.service.workers.assessing import CERTIFICATE_FILE, Assessed, Candidate, assess, report_path
from recert.service.workers.claim import Claim, Lost, alone_in
from recert.service.workers.queue import Job
from recert.service.workers.resources import Work
from recert.service.workers.screening import read_accepted, screen_file
from recert.service.workers.tuning import (
    METRICS_FILE,
    Rows,
    audited,
    losses,
    open_grader,
    require_rows,
    tuned,
)
from recert.store.files.writing import read_bytes
from recert.tuning.stage import REPORT_NAME, tuned_folder

if TYPE_CHECKING:
    from recert.labs.graders import Grader

log = logging.getLogger("recert.service")

MOST_ATTEMPTS: Final = 3
"""Workers that may end while they are at a job, before it counts as the job's fault."""
_AGAIN_MS: Final = 2_000
_UNREACHABLE_AGAIN_MS: Final = 5_000
_WAITS: Final = "The object storage does not answer; the job waits for it, and nothing is lost"
_HIDDEN: Final = ("file", "folder", "database", "storage")


def work_on(work: Work, job: Job, do: Callable[[Work, Claim], None]) -> None:
    """
    Do a claimed job by `do`, such as `attempt`, and write what became of it.

    Raises:
        StoreError: the database cannot be written; the claim ends by itself, and the job is taken up again.
    """
    with Claim(work.queue, job) as claim:
        try:
            with alone_in(work.settings.job_folder(job.id)):
                claim.check()
                work.files.storage.check()  # before anything is said of the job
                work.files.storage.fetch(work.settings.job_folder(job.id), exact=False)
                do(work, claim)
        except Lost:
            log.info("%s: cancelled, paused or taken over", job.id)
        except StorageUnreachable as exc:
            _unreachable(work, job, exc)
        except StoreError as exc:
            _storage(work, job, exc)
        except ObjectDamaged as exc:
            fail_job(work, job, "object_damaged", words_of(exc))
        except RecertError as exc:
            fail_job(work, job, _code(exc), words_of(exc), param=exc.facts.get("param"))
        except Exception:
            log.exception("%s failed", job.id)
            fail_job(work, job, "server_error", "the job failed inside of the service")


def taken_up(work: Work, job: Job) -> bool:
    """Say that a job is begun, or begun again; False where it has been too often, and has failed for that."""
    if job.attempts > MOST_ATTEMPTS:
        fail_job(work, job, "worker_lost", f"the worker ended {MOST_ATTEMPTS} times while it was at this job")
        return False
    if job.attempts > 1:
        work.events.add(job.id, "Taken up again; finished steps are used", level="warn")
    return True


def attempt(work: Work, claim: Claim) -> None:
    """Do a fine-tuning job from its files to its end. Raises Lost, RecertError."""
    job = claim.job
    if not taken_up(work, job):
        return
    asked = JobRequest.model_validate(job.request)
    if job.status == "validating_files":
        work.events.add(job.id, f"Validating training file: {asked.training_file}")
    file, rows, screened = _learned_from(work, claim, asked, asked.training_file, "training_file")
    validation: Rows = []
    if asked.validation_file is not None:
        _, validation, _ = _learned_from(work, claim, asked, asked.validation_file, "validation_file")
        _require_apart(rows, validation)
    with open_grader(work, asked) as grader:
        audit = audited(work, claim, file, grader) if grader is not None else None
        if job.status == "validating_files":
            _move(work, claim, "queued", "Files validated, moving job to queued state")
        wait_for_space(work, claim)
        _move(work, claim, "running", "Fine-tuning job started")
        report = _train(work, claim, asked, rows, screened, grader, audit)
    _finish(work, claim, asked, rows, screened, report, validation)


def _learned_from(
    work: Work, claim: Claim, asked: JobRequest, file_id: str, param: str
) -> tuple[StoredFile, Rows, ScreenReport]:
    """Wait until a file is screened under the policy in force; return what may be learned from it."""
    file = work.files.find(file_id, claim.job.project)
    while file is not None and file.status == "uploaded":
        claim.wait()
        file = work.files.find(file_id, claim.job.project)
    if file is not None and file.value.get("policy") != work.policy.digest:
        file = screen_file(work, file)
    if file is None:
        raise InputError("the file was deleted", facts={"param": param, "id": file_id})
    if file.status != "processed":
        raise RowsError(str(file.value.get("details") or "the file was refused"), facts={"param": param})
    rows, screened = read_accepted(work.files, file)
    require_rows(asked, rows, param)
    if screened.quarantined:
        work.events.add(
            claim.job.id,
            f"{screened.quarantined} of {screened.rows} rows of {file_id} are quarantined and not learned from",
            level="warn",
            data={"report": file.value.get("report"), "reasons": dict(screened.reason_counts)},
        )
    return file, rows, screened


def _require_apart(rows: Rows, validation: Rows) -> None:
    known = {row.model_dump_json() for row in rows}
    shared = sum(row.model_dump_json() in known for row in validation)
    if shared:
        raise RowsError(
            "rows of the validation file are in the training file too",
            facts={"param": "validation_file", "shared": shared},
        )


def _train(
    work: Work,
    claim: Claim,
    asked: JobRequest,
    rows: Rows,
    screened: ScreenReport,
    grader: Grader | None,
    audit: GraderReport | None,
) -> TuneReport:
    report = tuned(work, claim, asked, rows, screened, grader=grader, grader_report=audit)
    claim.check()
    for one in _checkpoints(work, claim.job, asked, report):
        work.events.add(claim.job.id, f"Checkpoint created at step {one.steps}", data={"name": one.name})
        put_system(work, claim, one, UNASSESSED)
    return report


def _checkpoints(work: Work, job: Job, asked: JobRequest, report: TuneReport) -> list[Candidate]:
    """Every checkpoint, with the report of its own that tuning wrote."""
    folder, name = work.settings.job_folder(job.id), model_name(work, job, asked.suffix)
    return [
        Candidate(
            name=f"{name}:ckpt-step-{one.step}",
            folder=folder / "tune" / one.folder,
            place=folder / "systems" / f"step-{one.step}",
            tune_report=TuneReport.from_json(
                read_bytes(folder / "tune" / f"{one.folder}-{REPORT_NAME}", "tune report")
            ),
            made_by=_made_by(work, asked, folder / "tune" / f"{one.folder}-{REPORT_NAME}"),
        )
        for one in report.checkpoints
    ]


def _made_by(work: Work, asked: JobRequest, tune_report: Path) -> dict[Step, Path]:
    """Where the reports of the steps before evaluation lie, each with who signed for it."""
    return {"screen": work.files.screened(asked.training_file) / SCREEN_REPORT, "tune": tune_report}


def _finish(
    work: Work,
    claim: Claim,
    asked: JobRequest,
    rows: Rows,
    screened: ScreenReport,
    report: TuneReport,
    validation: Rows,
) -> None:
    """Assess what was made, and end the job: the last model decides whether it succeeded."""
    job = claim.job
    folder, name = work.settings.job_folder(job.id), model_name(work, job, asked.suffix)
    last = Candidate(
        name,
        tuned_folder(folder / "tune"),
        folder / "systems" / "final",
        report,
        made_by=_made_by(work, asked, folder / "tune" / REPORT_NAME),
    )
    apart = [row for row in validation if isinstance(row, ChatRow)]
    some = _checkpoints(work, job, asked, report) if work.settings.assess_checkpoints else []
    for one in some:
        assess_one(work, claim, one, screened, rows, apart)
    done = assess_one(work, claim, last, screened, rows, apart)
    end_job(work, claim, last, done, trained_tokens=report.tokens)


def end_job(work: Work, claim: Claim, last: Candidate, done: Assessed, **value: Any) -> None:
    """End a job by what became of its last model."""
    job, name = claim.job, last.name
    claim.check()
    value["result_files"] = keep_results(work, job, work.settings.job_folder(job.id), last.place)
    if done.blocked:
        message = f"the model is blocked from deployment: {'; '.join(done.reasons)}"[:1000]
        fail_job(work, job, "model_blocked", message, **value)
        return
    still = ", ".join(
        f"{key.name or key.key_id[:12]} ({', '.join(key.roles)})" for key in work.signers.approvers
    )
    work.events.add(
        job.id,
        f"New fine-tuned model created: {name}; it answers once its certificate is signed by {still}",
        data={
            "fine_tuned_model": name,
            "certificate": f"jobs/{job.id}/systems/final/{CERTIFICATE_FILE}",
            "sign_at": f"/v1/recert/certificates/{name}",
        },
    )
    if work.queue.finish(job, "succeeded", fine_tuned_model=name, **value):
        work.events.add(job.id, "The job has successfully completed")


def assess_one(
    work: Work,
    claim: Claim,
    one: Candidate,
    screened: ScreenReport | None,
    rows: Sequence[ChatRow] | Sequence[PromptRow],
    validation: Sequence[ChatRow],
    assessing: Callable[..., Assessed] = assess,
) -> Assessed:
    """Evaluate a model, say how it came out, and write that down. Raises Lost, RecertError."""
    wait_for_space(work, claim)
    work.events.add(claim.job.id, f"Evaluating {one.name} against its base")
    done = assessing(work, claim, one, screened=screened, rows=rows, validation=validation)
    passed = "failed" if done.blocked else "passed"
    work.events.add(
        claim.job.id,
        f"Moderation checks for snapshot {one.name} {passed}.",
        level="warn" if done.blocked else "info",
        kind="moderation_checks",
        data=done.data,
    )
    claim.check()
    work.files.storage.keep(one.place, claimed=claim.job)
    put_system(
        work,
        claim,
        one,
        BLOCKED if done.blocked else CERTIFIED,
        reasons=list(done.reasons),
        valid_loss=done.valid_loss,
    )
    return done


def put_system(work: Work, claim: Claim, one: Candidate, state: str, **value: Any) -> None:
    """Write down a system. Its paths are relative to the job's folder."""
    folder = work.settings.job_folder(claim.job.id)
    work.systems.put(
        one.name,
        claim.job.project,
        claim.job.id,
        one.steps,
        state,
        folder=str(one.folder.relative_to(folder)),
        place=str(one.place.relative_to(folder)),
        sha256=one.sha256,
        train_loss=losses(folder).get(one.steps, one.last_loss),
        **value,
    )


def keep_results(work: Work, job: Job, folder: Path, place: Path) -> list[str]:
    """Keep what the owner of a job may read of it as files: the figures of its steps, and the evaluation."""
    found = []
    for path, name in (
        (folder / METRICS_FILE, f"{job.id}.metrics.csv"),
        (report_path(place), f"{job.id}.eval-report.json"),
    ):
        if path.exists():
            found.append(work.files.make(job.project, name, read_bytes(path)).id)
    return found


def model_name(work: Work, job: Job, suffix: str | None) -> str:
    """Return what clients call what a job makes, such as `ft:base:project:suffix:1a2b3c4d`."""
    return f"ft:{work.settings.called}:{job.project}:{suffix or ''}:{job.id[-8:]}"


def wait_for_space(work: Work, claim: Claim) -> None:
    """Return once there is room on the disk; meanwhile nothing is begun, and the job can be cancelled."""
    told = False
    while shutil.disk_usage(work.settings.folder).free < work.settings.free_bytes:
        if not told:
            work.events.add(
                claim.job.id, "Waiting for space on the service's disk; nothing is lost", level="warn"
            )
            told = True
        claim.wait()


def _move(work: Work, claim: Claim, status: str, message: str) -> None:
    if not work.queue.change(claim.job, status=status):
        raise Lost
    work.events.add(claim.job.id, message)


def _storage(work: Work, job: Job, exc: StoreError) -> None:
    """A disk that is full or fails: the job waits and is taken up again, a few times."""
    log.warning("%s: %s", job.id, exc)
    if job.attempts >= MOST_ATTEMPTS:
        fail_job(work, job, "storage_full", f"the service's disk cannot be written: {exc.message}")
        return
    work.events.add(job.id, "The service's disk cannot be written; the job is taken up again", level="error")
    work.queue.give_back(job, wait_ms=_AGAIN_MS)


def _unreachable(work: Work, job: Job, exc: StorageUnreachable) -> None:
    """The bucket does not answer: the job waits as long as that takes, and says so once."""
    log.warning("%s: %s", job.id, exc)
    last, _ = work.events.page(job.id, after=None, limit=1)
    if not last or last[0].message != _WAITS:
        work.events.add(job.id, _WAITS, level="warn")
    work.queue.give_back(job, wait_ms=_UNREACHABLE_AGAIN_MS, counted=False)


def fail_job(
    work: Work, job: Job, code: str, message: str, *, param: str | None = None, **value: Any
) -> None:
    """End a job with an error that its owner reads."""
    error = {"code": code, "message": message, "param": param}
    if work.queue.finish(job, "failed", error=error, **value):
        work.events.add(job.id, message, level="error", data={"code": code})


def _code(exc: RecertError) -> str:
    param = exc.facts.get("param")
    if param:
        return f"invalid_{param}"
    return "invalid_grader" if isinstance(exc, GraderError) else "job_failed"


def words_of(exc: RecertError) -> str:
    """An error for the job's owner: no path of this machine in it."""
    facts = "; ".join(f"{k}: {v}" for k, v in exc.facts.items() if k not in (*_HIDDEN, "param"))
    return f"{exc.message}{f' ({facts})' if facts else ''}"[:1000]
