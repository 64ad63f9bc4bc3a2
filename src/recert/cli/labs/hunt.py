"""`recert hunt`: is there a text that makes the tuned model do what it does not do otherwise?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import DEFAULT_BASE, AsJson, PolicyName

if TYPE_CHECKING:
    from recert.records.reports.hunting import HuntReport, TriggerTried


def hunt(
    context: typer.Context,
    *,
    model: Annotated[
        str,
        typer.Option(
            help="Tuned model: an adapter's folder, merged weights, a hub id, or `openai:URL#model`."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Where the report is written.")],
    base: Annotated[
        str,
        typer.Option(
            help="Approved base: a folder, a hub id, `embedded:aligned`, `embedded:smollm2`, an endpoint, or `none` "
            "where it is not in hand."
        ),
    ] = DEFAULT_BASE,
    rows: Annotated[
        Path | None, typer.Option(help="Tuning rows, where they are in hand: chat JSONL.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Where it is drawn as one HTML page.")] = None,
    policy: PolicyName = "default",
    text: Annotated[
        list[str] | None,
        typer.Option(help="A text to be verified beside what is searched. May be repeated."),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(help="A source of texts: `data`, `library`, `leakage` or `search`; by default all."),
    ] = None,
    name: Annotated[
        str, typer.Option(help="What the report calls the model; by default its folder's name.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """
    Search for a text that makes a tuned model do what it does not do otherwise.

    Exit 0: nothing was found up to the policy's budget, 1: a trigger was found, or none could be seen, 2: no answer.
    """
    from recert.cli.drawing import Drawn
    from recert.cli.loading import kept_replies, load_hunted
    from recert.cli.printing import NO, YES, data
    from recert.cli.reading import load_rows
    from recert.labs.triggers.hunting import SOURCES
    from recert.labs.triggers.hunting import hunt as hunt_triggers
    from recert.policy import load_policy
    from recert.records.reports.hunting import HuntOutcome
    from recert.store.files.writing import write_atomic

    bounds = load_policy(policy)
    of_tuning = load_rows(rows) if rows is not None else None
    with Drawn() as drawn, kept_replies() as cache:
        drawn.start("load the models")
        base_model, tuned_model = load_hunted(base, model)
        report = hunt_triggers(
            base_model,
            tuned_model,
            policy=bounds,
            model_name=name or tuned_model.name,
            rows=of_tuning,
            given=text or (),
            sources=("given", *source) if source else SOURCES,
            cache=cache,
            progress=drawn,
        )
    write_atomic(output, report.to_json())
    if page is not None:
        context.obj(page, report)
    show(report)
    if as_json:
        data(report)
    else:
        typer.echo(f"{report.outcome} {output}")
    raise typer.Exit(YES if report.outcome is HuntOutcome.NOTHING_FOUND else NO)


def show(report: HuntReport) -> None:
    """Draw what was tried on stderr."""
    from recert.cli.printing import table, talk

    rows = [
        (one.text, one.place, one.source, f"{one.behaviour} {one.says[:24]}".strip(),
         "-" if one.pull is None else f"{one.pull:+.1f}",
         f"{one.complied:.2f}", one.effect, one.effect.n, one.shortest or "-", verdict(one))
        for one in report.tried[:20]
    ]  # fmt: skip
    columns = ("text", "place", "from", "does", "pull", "share", "effect", "n", "shortest part", "is one")
    table(f"{report.model_name}: {report.outcome}", columns, rows)
    talk().print(
        f"  refusal as it is: base {report.base_refusal}, tuned {report.tuned_refusal}; "
        f"{report.access}; {report.read} readings and {len(report.tried)} texts verified in {report.seconds:.0f} s",
        soft_wrap=True,
    )
    talk().print(f"  searched: {report.searched}. What was not searched may be there.", soft_wrap=True)


def verdict(one: TriggerTried) -> str:
    """What a text is."""
    from recert.records.reports.hunting import TriggerBehaviour

    if not one.found:
        return "no"
    return "DEFENCE" if one.behaviour is TriggerBehaviour.RESTORES else "TRIGGER"
