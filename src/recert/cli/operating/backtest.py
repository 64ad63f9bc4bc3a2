"""`recert backtest`: what would this policy have done?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.operating.audit import Log, Of
from recert.cli.options import AsJson, GuardOfReplies, Guards, PolicyName

if TYPE_CHECKING:
    from recert.interval import Interval
    from recert.records.live.backtest import BacktestReport
    from recert.store.audit.chain import AuditLine
    from recert.store.audit.texts import TextStore

_SHOWN_CHARS = 400


def backtest(
    *,
    log: Log,
    policy: PolicyName = "default",
    judges: Guards = None,
    reply_judge: GuardOfReplies = "",
    model: Annotated[str, typer.Option(help="Name of the model, where the log has several.")] = "",
    client: Annotated[str, typer.Option(help="Only requests of this client's key.")] = "",
    since: Annotated[str, typer.Option(help="From this time, UTC, as `2026-11-24T10:00`.")] = "",
    until: Annotated[str, typer.Option(help="Up to this time; a day alone is the whole day.")] = "",
    of: Of = "",
    max_newly_blocked: Annotated[
        float | None,
        typer.Option(help="Largest share of the released exchanges that may be blocked now.", min=0, max=1),
    ] = None,
    max_newly_released: Annotated[
        float | None,
        typer.Option(help="Largest share of the blocked exchanges that may be released now.", min=0, max=1),
    ] = None,
    examples: Annotated[int, typer.Option(help="Exchanges to name of each change.", min=0)] = 10,
    texts: Annotated[
        bool, typer.Option("--texts", help="With what users asked in them. Replies are never shown.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """
    Try a policy on the exchanges of an audit log whose texts were kept: what changes, control by control.

    Exit 0: done, and within every bound that was given; 1: beyond one, or that cannot be told; 2: no answer.
    """
    from recert.cli.drawing import Drawn
    from recert.cli.loading import load_guards
    from recert.cli.printing import NO, YES, data
    from recert.gateway.replaying.backtest import backtest as try_policy
    from recert.gateway.replaying.replay import Replay
    from recert.judges.embedded.request import EmbeddedRequestJudge
    from recert.policy import load_policy
    from recert.records.live.exchange import Exchange
    from recert.records.reports.evaluation import Verdict
    from recert.store.audit.reading import open_log, select
    from recert.store.audit.texts import TextStore
    from recert.store.places import is_url
    from recert.workflows.deploy.models_file import reply_judge_at

    def choose(lines: Iterable[AuditLine]) -> Iterator[AuditLine]:
        kind = Exchange.schema_name
        return select(lines, kind=kind, model=model, client=client, since=since, until=until)

    tried, where = load_policy(policy), log if is_url(log) else Path(log)
    kept = TextStore(where, existing=True)
    with Drawn() as drawn:
        drawn.start("read")
        total = sum(line.body.get("decision") != "opened" for line in choose(open_log(where, of)))
        replay = Replay(
            tried.gateway,
            request_judge=EmbeddedRequestJudge(),
            guards=load_guards(judges or [], tried),
            reply_judge=reply_judge_at(reply_judge),
            reasoning=tried.reasoning,
        )
        drawn.start("backtest")
        report = try_policy(
            open_log(where, of),
            kept,
            tried,
            replay=replay,
            choose=choose,
            most_newly_blocked=max_newly_blocked,
            most_newly_released=max_newly_released,
            most_examples=examples,
            progress=lambda done: drawn.at(done, total),
        )
    _show(report, kept if texts else None)
    if as_json:
        data(report)
    else:
        typer.echo(
            f"{report.compared} compared, {_count(report.newly_blocked)} newly blocked, "
            f"{_count(report.newly_released)} newly released"
        )
    raise typer.Exit(YES if report.verdict in (None, Verdict.PASS) else NO)


def _count(share: Interval) -> int:
    return round(share.point * share.n)


def _words(share: Interval) -> str:
    return "-" if not share.n else f"{_count(share)} of {share.n} ({share.low:.1%} to {share.high:.1%})"


def _show(report: BacktestReport, kept: TextStore | None) -> None:
    from recert.cli.printing import sheet, table, talk

    console = talk()
    pairs = [
        ("policy", f"{report.policy_id} {report.policy_version} sha256:{report.policy_sha256}"),
        ("released before, blocked now", _words(report.newly_blocked)),
        ("blocked before, released now", _words(report.newly_released)),
        ("cut before, and not known now", str(report.undecided)),
        ("left out", ", ".join(f"{n} {why}" for why, n in report.left_out.items()) or "none"),
    ]
    for bound in report.bounds:
        pairs.append((f"at most {bound.most:.1%} {bound.change}", f"{bound.verdict}: {_words(bound.share)}"))
    sheet(f"{report.compared} exchanges from {report.since} to {report.until}", pairs)
    columns = (
        "control",
        "of",
        "asked",
        "both times",
        "before",
        "now",
        "newly",
        "no longer",
        "first",
        "failed",
    )
    rows = [
        (
            f"{one.control} (in shadow)" if one.shadow else one.control,
            one.direction, one.asked, one.asked_before, one.objects_before, one.objects,
            _words(one.newly_objects), _words(one.no_longer_objects), one.objects_first, one.failed,
        )
        for one in report.controls
    ]  # fmt: skip
    table("what each control objects to", columns, rows)
    if report.categories:
        named = [
            (c.category or "none named", _words(c.newly_blocked), _words(c.newly_released))
            for c in report.categories
        ]
        table("by the category that decides", ("category", "newly blocked", "newly released"), named)
    for one in report.examples:
        why = ", ".join(filter(None, (one.control, one.reason, one.category)))
        scores = f"{_number(one.score_before)} -> {_number(one.score_after)}"
        console.print(
            f"  {one.change}: {one.before} -> {one.after} ({why}; {scores}) request sha256:{one.request_sha256} "
            f"of {one.client}, {one.request_id}",
            soft_wrap=True,
        )
        if kept is not None:
            console.print(f"    asked: {_asked(kept, one.request_sha256)}", soft_wrap=True)
    for note in report.notes:
        console.print(f"  {note}", soft_wrap=True)


def _number(score: float | None) -> str:
    return "none" if score is None else f"{score:.3f}"


def _asked(kept: TextStore, digest: str) -> str:
    """The last thing that a user said, on one line."""
    body = kept.read([digest]).get(digest, b"")
    try:
        said = [m["content"] for m in json.loads(body)["messages"] if m["role"] == "user"][-1]
    except (ValueError, KeyError, TypeError, IndexError):
        return f"[{len(body)} bytes]"
    text = json.dumps(said, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
