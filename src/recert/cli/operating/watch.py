"""`recert watch`: is it still the model that was certified, and still as safe?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from recert.cli.certifying.logged import Log
from recert.cli.operating.watch_options import (
    Begin,
    BudgetText,
    Every,
    HistoryFile,
    KeyCommand,
    MailTo,
    Output,
    Raw,
    RenewCommands,
    Renewed,
    RenewWith,
    StopState,
    SuspendCommand,
    SuspendWith,
    Url,
    Webhook,
    budget_of,
    seconds_of,
)
from recert.cli.options import (
    DEFAULT_BASE,
    AsJson,
    Base,
    Certificate,
    PolicyName,
    Refusals,
    Secret,
    Status,
    StepKey,
    Suites,
    Trust,
    Tuned,
)

if TYPE_CHECKING:
    from recert.errors import RecertError
    from recert.records.live.watching import CanaryResult
    from recert.workflows.watching.stage import Watched, WatchPlan


def watch(
    *,
    certificate: Certificate,
    model: Tuned,
    trust: Trust,
    output: Output,
    base: Base = DEFAULT_BASE,
    status: Status = None,
    policy: PolicyName = "default",
    suites: Suites = None,
    secret: Secret = None,
    url: Url = "",
    raw: Raw = False,
    history: HistoryFile = None,
    begin_history: Begin = False,
    budget: BudgetText = "",
    every: Every = "",
    suspend_with: SuspendWith = None,
    signer_command: SuspendCommand = None,
    stop_state: StopState = None,
    key: StepKey = None,
    key_command: KeyCommand = None,
    renew_with: RenewWith = None,
    renew_command: RenewCommands = None,
    renewed: Renewed = None,
    webhook: Webhook = "",
    mail_to: MailTo = None,
    refusals: Refusals = None,
    log: Log = None,
    as_json: AsJson = False,
) -> None:
    """
    Ask a random canary sample again and compare.

    Exit 0: can be renewed, 1: warn or suspend, 2: no answer.
    """
    from recert.certification import TrustStore
    from recert.cli.certifying.signing import load_signer, load_signers, load_step_key, tell_unsigned
    from recert.cli.loading import load_base, load_secret, load_status, load_suites, status_path
    from recert.cli.printing import NO, YES
    from recert.policy import load_policy
    from recert.records.live.watching import WatchOutcome
    from recert.workflows.watching.notices import Notices
    from recert.workflows.watching.stage import WatchPlan, watch_once

    plan = WatchPlan(
        certificate=certificate,
        status=status_path(certificate, status),
        read_status=lambda: load_status(certificate, status),
        base_dir=load_base(base),
        tuned_dir=model,
        trust=TrustStore.load(trust),
        policy=load_policy(policy),
        suites=load_suites(suites or []),
        output=output,
        url=url,
        raw=raw or not url,
        secret=load_secret(secret),
        history=history,
        begin=begin_history,
        budget=budget_of(budget),
        status_key=load_signer(suspend_with, signer_command) if suspend_with else None,
        stop_state=stop_state,
        key=load_step_key("watch", key, key_command),
        renew_with=load_signers(renew_with or [], renew_command or []),
        renewed=renewed,
        notices=Notices(webhook, tuple(mail_to or ())),
        refusals=refusals,
        log=log,
    )
    tell_unsigned(output, plan.key)
    if every:
        ended = _again_and_again(plan, seconds_of(every), as_json=as_json)
        raise typer.Exit(YES if ended is None else NO)
    watched = watch_once(plan)
    if watched.failed:
        _show(watched)
        raise watched.failed[0]
    _told(watched, plan, as_json=as_json)
    raise typer.Exit(YES if watched.report.outcome is WatchOutcome.RENEW else NO)


def _again_and_again(plan: WatchPlan, every_s: float, *, as_json: bool) -> Watched | None:
    from recert.cli.printing import talk
    from recert.workflows.watching.service import keep_watching

    def trouble(error: RecertError) -> None:
        talk().print(f"no answer: {error}", soft_wrap=True)

    return keep_watching(
        plan, every_s, tell=lambda watched: _told(watched, plan, as_json=as_json), trouble=trouble
    )


def _told(watched: Watched, plan: WatchPlan, *, as_json: bool) -> None:
    from recert.cli.printing import data

    report = watched.report
    _show(watched)
    if as_json:
        data(report)
    else:
        typer.echo(f"{report.outcome} {plan.output}")


def _show(watched: Watched) -> None:
    from recert.cli.printing import table, talk

    report = watched.report
    rows = [
        (
            f"{c.estimand}, {c.through}" if report.through == "both" else c.estimand,
            f"{c.certified.point:.2f}", f"{c.seen.point:.2f}", c.margin, c.seen.n, *_evidence(c), c.outcome,
        )
        for c in report.canaries
    ]  # fmt: skip
    over_time = ("in all runs", "risen", "within") if any(c.over_time for c in report.canaries) else ()
    columns = ("rate", "certified", "seen", "margin", "n", *over_time, "outcome")
    table(f"{report.serial}: {report.outcome}", columns, rows)
    failed = (f"could not be done: {error.message}" for error in watched.failed)
    untold = (f"could not tell: {one}" for one in watched.untold)
    for words in (*report.reasons, *watched.did, *failed, *untold):
        talk().print(f"  {words}", soft_wrap=True)


def _evidence(canary: CanaryResult) -> tuple[str, ...]:
    found = canary.over_time
    if found is None:
        return ()
    return (
        f"{found.bad} of {found.prompts}",
        f"{found.rise:.3g} of {found.suspend_at:.3g}",
        f"{found.within:.3g} of {found.renew_at:.3g}",
    )
