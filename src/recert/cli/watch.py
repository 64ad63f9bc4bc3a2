"""`recert watch`: is it still the model that was certified, and still as safe?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import (
    DEFAULT_BASE,
    AsJson,
    Base,
    Certificate,
    PolicyName,
    Secret,
    Status,
    Suites,
    Trust,
    Tuned,
)

if TYPE_CHECKING:
    from recert.records import WatchReport


def watch(
    *,
    certificate: Certificate,
    model: Tuned,
    trust: Trust,
    output: Annotated[Path, typer.Option(help="Where the WatchReport is written.")],
    base: Base = DEFAULT_BASE,
    status: Status = None,
    policy: PolicyName = "default",
    suites: Suites = None,
    secret: Secret = None,
    url: Annotated[
        str, typer.Option(help="Watch through the gateway at this address (`.../v1`), not the model itself.")
    ] = "",
    suspend_with: Annotated[
        Path | None,
        typer.Option(help="Private key with the role `status`: suspend at once when the outcome says so."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """
    Ask a random canary sample again and compare.

    Exit 0: can be renewed, 1: warn or suspend, 2: no answer.
    """
    from recert import settings
    from recert.certification import TrustStore
    from recert.certification import suspend as suspend_serial
    from recert.certification import verify as verify_certificate
    from recert.certification.keys import load_key
    from recert.cli.loading import load_arms, load_base, load_secret, load_status, load_suites, status_path
    from recert.cli.printing import NO, YES, data
    from recert.models.endpoint import EndpointModel
    from recert.monitoring import watch as watch_model
    from recert.policy import load_policy
    from recert.records import WatchOutcome
    from recert.store.files import read_bytes, write_atomic

    bounds, base_dir, trusted = load_policy(policy), load_base(base), TrustStore.load(trust)
    prompts, hidden = load_suites(suites or []), load_secret(secret)
    signer = load_key(suspend_with) if suspend_with else None
    if signer:
        signer.require_role("status")
    verified = verify_certificate(
        read_bytes(certificate, "certificate"),
        base_dir=base_dir,
        tuned_dir=model,
        trust=trusted,
        status=load_status(certificate, status),
        policy=bounds,
    )
    name = verified.certificate.model_name
    report = watch_model(
        verified,
        model=EndpointModel(url, name, api_key=settings.endpoint_key())
        if url
        else load_arms(base_dir, model)[1],
        suites=prompts,
        policy=bounds,
        through="served" if url else "raw",
        secret=None if url else hidden,
    )
    if report.outcome is WatchOutcome.SUSPEND and signer:  # first of all: a full disk must not keep it up
        reason = "; ".join(report.reasons) or "watching found it changed"
        hours = bounds.certification.status_validity_hours
        listed = load_status(certificate, status)  # as it is now: watching takes its time
        issued = suspend_serial(
            listed, report.serial, reason, key=signer, trust=trusted, validity_hours=hours
        )
        write_atomic(status_path(certificate, status), issued)
    write_atomic(output, report.to_json())
    _show(report)
    if as_json:
        data(report)
    else:
        typer.echo(f"{report.outcome} {output}")
    raise typer.Exit(YES if report.outcome is WatchOutcome.RENEW else NO)


def _show(report: WatchReport) -> None:
    from recert.cli.printing import table, talk

    rows = [
        (c.estimand, f"{c.certified.point:.2f}", f"{c.seen.point:.2f}", c.margin, c.seen.n, c.outcome)
        for c in report.canaries
    ]
    table(f"{report.serial}: {report.outcome}", ("rate", "certified", "seen", "margin", "n", "outcome"), rows)
    for reason in report.reasons:
        talk().print(f"  {reason}", soft_wrap=True)
