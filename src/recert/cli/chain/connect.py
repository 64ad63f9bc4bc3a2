"""`recert connect`: bring a tune that was made elsewhere to where it is evaluated and certified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import AsJson

if TYPE_CHECKING:
    from recert.records.signed.hosted_job import HostedJob

_VENDOR = "openai:"


def connect(
    *,
    source: Annotated[
        str,
        typer.Argument(
            help="A PEFT adapter's folder or one of merged weights, `hub:org/name@revision`, or a vendor's fine-tuning "
            "job as `openai:URL#ftjob-...`; its key is in RECERT_ENDPOINT_KEY."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder of what is brought; `certify` takes it.")],
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Pull a vendor's job until it has ended, or once.")
    ] = True,
    every_s: Annotated[float, typer.Option(min=0.1, help="Time between two pulls, in seconds.")] = 30.0,
    patience_s: Annotated[
        float, typer.Option(min=0, help="How long a vendor may not answer, in seconds; then run it again.")
    ] = 300.0,
    as_json: AsJson = False,
) -> None:
    """
    Bring a tune that was made elsewhere: files from a folder or the hub, or the record of a vendor's fine-tuning job.

    Prints what `recert evaluate` takes as the tuned model.

    Exit 0: it can be evaluated, 1: the vendor's job failed, or its own checks did, or it has not ended, 2: no answer.
    """
    from recert.cli.printing import data
    from recert.workflows.connecting import MODEL, connect_files

    if source.startswith(_VENDOR):
        _job(source, output, wait=wait, every_s=every_s, patience_s=patience_s, as_json=as_json)
        return
    found = connect_files(source, output)
    if as_json:
        data(found)
    else:
        typer.echo(output / MODEL)


def _job(source: str, output: Path, *, wait: bool, every_s: float, patience_s: float, as_json: bool) -> None:
    from recert import settings
    from recert.cli.printing import NO, data, talk
    from recert.errors import InputError
    from recert.models.remote.hosted_jobs import HostedJobs
    from recert.workflows.connecting import connect_job

    url, _, job_id = source.removeprefix(_VENDOR).rpartition("#")
    if not url or not job_id:
        raise InputError(
            "a vendor's job is given as openai:URL#job",
            facts={"given": source},
            hint="such as openai:https://api.example.com/v1#ftjob-abc123",
        )
    told = 0

    def heard(job: HostedJob) -> None:
        nonlocal told
        for event in job.events[told:]:
            talk().print(f"{event.created_at:%H:%M:%S} {event.message}", soft_wrap=True, markup=False)
        told = len(job.events)

    jobs = HostedJobs(url, api_key=settings.endpoint_key())
    job = connect_job(jobs, job_id, output, every_s=every_s, patience_s=patience_s, wait=wait, heard=heard)
    reasons = job.why_not()
    for reason in reasons:
        talk().print(reason, soft_wrap=True, markup=False)
    if as_json:
        data(job)
    elif job.tuned_model:
        typer.echo(job.spec())
    if reasons:
        raise typer.Exit(NO)
