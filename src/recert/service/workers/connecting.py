"""
A job whose model was tuned elsewhere: its files are brought, or its vendor's job pulled until it ends.

Then it goes the way of every other: evaluated against its base, shown in 13 categories, certified or blocked. Of a
vendor's model there are no files here: it is asked at the vendor, beside its base there, and the certificate binds
behaviour.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from recert import settings as environment
from recert.certification.hosted import certify_hosted
from recert.certification.signing.links import write_link
from recert.digest import sha256_file
from recert.errors import EndpointError, InputError
from recert.evaluation.stage import OUTCOMES_FILE, REPORT_FILE
from recert.models.engines.engines import open_arms
from recert.models.remote.hosted_jobs import HostedJobs
from recert.policy import moderation_checks
from recert.records.signed.hosted_job import JOB_FILE, HostedJob
from recert.service.api.requests import ConnectRequest
from recert.service.workers.assessing import (
    CERTIFICATE_FILE,
    Assessed,
    Candidate,
    assess,
    blocking,
    checks_data,
    signed_for,
)
from recert.service.workers.claim import Claim, Lost
from recert.service.workers.jobs import assess_one, end_job, fail_job, model_name, taken_up, wait_for_space
from recert.service.workers.resources import Work
from recert.store.cache import GenerationCache
from recert.store.files.writing import write_atomic
from recert.workflows.attempts.counted import evaluate_counted
from recert.workflows.attempts.ledger import Ledger
from recert.workflows.connecting import MODEL, connect_files, connect_job, read_job

log = logging.getLogger("recert.service")

HOSTED: Final = "hosted"
"""The folder of the vendor's record, in a job's folder."""
_POLL_MS: Final = 10_000
_SILENT: Final = "The vendor does not answer; the job waits for it, and nothing is lost"


def connect(work: Work, claim: Claim) -> None:
    """
    Do a job whose model was tuned elsewhere, or one look at a vendor's job that has not ended.

    Raises:
        Lost: the job is not ours any more, or waits for its vendor.
        RecertError: a step could not answer.
    """
    job = claim.job
    if not taken_up(work, job):
        return
    asked = ConnectRequest.model_validate(job.request["connect"])
    wait_for_space(work, claim)
    if asked.kind == "openai":
        _vendors(work, claim, asked)
        return
    folder = work.settings.job_folder(job.id)
    _move(work, claim, f"Fetching {asked.source}")
    found = connect_files(_source(work, asked), folder / "tune")
    work.files.storage.keep(folder, claimed=job)
    named = f"; it says that its base is {found.named_base}" if found.named_base else ""
    work.events.add(job.id, f"{found.delta_kind} with {len(found.tuned.files)} files{named}")
    last = Candidate(
        model_name(work, job, asked.suffix),
        folder / "tune" / MODEL,
        folder / "systems" / "final",
        elsewhere_sha256=found.tuned.digest,
    )
    end_job(work, claim, last, assess_one(work, claim, last, None, [], [], assess))


def _source(work: Work, asked: ConnectRequest) -> str:
    if asked.kind == "hub":
        return asked.source
    if work.settings.connect_folder is None:
        raise InputError("tunes of folders cannot be connected here", facts={"param": "source"})
    return str(work.settings.connect_folder / asked.name)


def _vendors(work: Work, claim: Claim, asked: ConnectRequest) -> None:
    job, folder = claim.job, work.settings.job_folder(claim.job.id)
    hosted = _pulled(work, claim, asked, folder / HOSTED)
    if not hosted.ended:
        work.queue.give_back(job, wait_ms=_POLL_MS, counted=False)
        raise Lost
    reasons = hosted.why_not()
    if reasons:
        fail_job(work, job, "model_blocked", f"the vendor's job is no yes: {'; '.join(reasons)}"[:1000])
        return
    _move(work, claim, f"The vendor's job has ended: {hosted.tuned_model}")
    last = Candidate(
        model_name(work, job, asked.suffix),
        folder / HOSTED,
        folder / "systems" / "final",
        elsewhere_sha256=hosted.digest,
    )
    done = assess_one(work, claim, last, None, [], [], _assess_hosted)
    end_job(work, claim, last, done, trained_tokens=hosted.trained_tokens)


def _pulled(work: Work, claim: Claim, asked: ConnectRequest, folder: Path) -> HostedJob:
    """What the vendor's job says now; its new events are told as ours."""
    job = claim.job
    told = {e.event_id for e in read_job(folder).events} if (folder / JOB_FILE).exists() else set()
    jobs = HostedJobs(work.settings.vendor, api_key=environment.endpoint_key())
    try:
        found = connect_job(jobs, asked.name, folder, wait=False)
    except EndpointError as exc:
        if not exc.facts.get("silent"):
            raise
        log.warning("%s: %s", job.id, exc.message)
        last, _ = work.events.page(job.id, after=None, limit=1)
        if not last or last[0].message != _SILENT:
            work.events.add(job.id, _SILENT, level="warn")
        work.queue.give_back(job, wait_ms=_POLL_MS, counted=False)
        raise Lost from exc
    work.files.storage.keep(folder, claimed=job)
    for event in found.events:
        if event.event_id not in told:
            work.events.add(job.id, f"Vendor: {event.message}", data={"vendor_event": event.event_id})
    return found


def _assess_hosted(work: Work, claim: Claim, candidate: Candidate, **_: Any) -> Assessed:
    """Evaluate a vendor's model at the vendor, against its base there, and certify it or say why not."""
    job = read_job(candidate.folder)
    work.files.storage.delete(candidate.place / CERTIFICATE_FILE)
    base, tuned = open_arms(job.spec(base=True), job.spec())
    with GenerationCache(work.settings.replies) as cache:
        report = evaluate_counted(
            base,
            tuned,
            candidate.place,
            Ledger(work.settings.ledger, work.signers.evaluator),
            suites=work.suites,
            policy=work.policy,
            model_name=candidate.name,
            cache=cache,
            progress=claim.check,
        )
    write_link(candidate.place / REPORT_FILE, report, work.signers.evaluator)
    checks = moderation_checks(report, work.policy)
    decision = certify_hosted(
        eval_report=report,
        job=job,
        policy=work.policy,
        evidence_sha256=sha256_file(candidate.place / OUTCOMES_FILE),
        signer=work.signers.evaluator,
        approvers=work.signers.approvers,
        **signed_for(work, candidate),
    )
    reasons = (*decision.reasons, *blocking(checks, work.policy))
    claim.check()
    if decision.envelope is not None and not reasons:
        write_atomic(candidate.place / CERTIFICATE_FILE, decision.envelope)
    data = checks_data(candidate.name, report, checks, reasons, work.policy)
    return Assessed(report, checks, reasons, data=data | {"vendor": _vendor_said(job.checks_of_model())})


def _vendor_said(checks: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"category": one.category, "passed": one.passed, "measured": one.measured} for one in checks]


def _move(work: Work, claim: Claim, message: str) -> None:
    if not work.queue.change(claim.job, status="running"):
        raise Lost
    work.events.add(claim.job.id, message)
