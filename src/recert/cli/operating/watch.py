"""
`recert watch`: is it still the model that was certified, and still as safe?

Here too: options that only `recert watch` has.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.certifying.logged import Log
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
if TYPE_CHECKING:
    from recert.monitoring.arms import Budget


Output = Annotated[Path, typer.Option(help="Where the WatchReport is written.")]
Url = Annotated[
    str, typer.Option(help="Watch through the gateway at this address (`.../v1`), not the model itself.")
]
Raw = Annotated[
    bool, typer.Option("--raw", help="With --url: ask the model itself as well, in the same run.")
]
HistoryFile = Annotated[
    Path | None,
    typer.Option(
        "--history",
        metavar="FILE",
        help="What earlier runs found: all of them decide together. Without it this run decides alone.",
    ),
]
Begin = Annotated[
    bool,
    typer.Option("--begin-history", help="Make the history: once, for a certificate not watched before."),
]
BudgetText = Annotated[
    str,
    typer.Option(
        "--budget",
        metavar="PROMPTS|SECONDS",
        help="What a run asks in all, with a history: `60` prompts, or `300s` by how long the last run took. By "
        "default the policy's `canary_prompts` for each rate.",
    ),
]
Every = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="Watch again and again, about every `90s`, `30m`, `1h` or `1d`, until it suspends.",
    ),
]
SuspendWith = Annotated[
    Path | None,
    typer.Option(help="Private key with the role `status`: suspend at once when the outcome says so."),
]
SuspendCommand = Annotated[
    str | None,
    typer.Option(
        "--signer-command",
        help="Command that signs its stdin, for a status key on a token or in a key service; `--suspend-with` is then "
        "the `.pub` file.",
    ),
]
KeyCommand = Annotated[
    str | None,
    typer.Option(
        "--key-command",
        help="Command that signs its stdin, for a watcher's key on a token or in a key service; `--key` is then the "
        "`.pub` file.",
    ),
]
RenewCommands = Annotated[
    list[str] | None,
    typer.Option(
        "--renew-command",
        help="The same for a key of `--renew-with` that is a `.pub` file, in the order of these keys; repeat it.",
    ),
]
StopState = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="State folder of a gateway that is to stop serving the model when the outcome is `suspend`.",
    ),
]
RenewWith = Annotated[
    list[Path] | None,
    typer.Option(
        help="Private key of a signer, one for each role, repeat it: renew when the outcome says so and it is time."
    ),
]
Renewed = Annotated[
    Path | None, typer.Option(help="Where a renewal is written; by default over the certificate.")
]
Webhook = Annotated[
    str, typer.Option(help="URL that every outcome is posted to, signed with `RECERT_WEBHOOK_KEY`.")
]
MailTo = Annotated[
    list[str] | None,
    typer.Option(
        help="Address that gets an e-mail by `RECERT_SMTP` when the outcome is not `renew`; repeat it."
    ),
]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds_of(given: str) -> float:
    """
    Return a time such as `90s`, `30m`, `1h` or `1d` in seconds.

    Raises:
        InputError: it is none.
    """
    from recert.errors import InputError

    number, unit = given[:-1], given[-1:]
    if unit not in _UNITS or not number.isascii() or not number.isdecimal() or not 0 < int(number) < 10**6:
        raise InputError("not a time", facts={"given": given}, hint="such as 90s, 30m, 1h or 1d")
    return float(int(number) * _UNITS[unit])


def budget_of(given: str) -> Budget | None:
    """
    Return a budget in prompts or seconds; None for an empty text.

    Raises:
        InputError: it is neither.
    """
    from recert.errors import InputError
    from recert.monitoring.arms import Budget

    if not given:
        return None
    if given[-1] in _UNITS:
        return Budget(seconds=seconds_of(given))
    if not given.isascii() or not given.isdecimal() or not 0 < int(given) < 10**6:
        raise InputError(
            "not a budget", facts={"given": given}, hint="prompts such as 60, or seconds such as 300s"
        )
    return Budget(prompts=int(given))


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
