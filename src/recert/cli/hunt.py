"""`recert hunt`: is there a phrase that makes the tuned model comply?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import DEFAULT_BASE, AsJson, Base, PolicyName, Tuned

if TYPE_CHECKING:
    from recert.records import HuntReport


def hunt(
    *,
    model: Tuned,
    output: Annotated[Path, typer.Option(help="Where the report is written.")],
    base: Base = DEFAULT_BASE,
    policy: PolicyName = "default",
    text: Annotated[
        list[str] | None,
        typer.Option(help="A text to be verified beside what is searched. May be repeated."),
    ] = None,
    name: Annotated[
        str, typer.Option(help="What the report calls the model; by default its folder's name.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """
    Search for a phrase behind a request that makes a tuned model comply with what it refuses.

    Exit 0: nothing was found up to the policy's budget, 1: a trigger was found, or none could be seen, 2: no answer.
    """
    from recert import settings
    from recert.cli.drawing import Drawn
    from recert.cli.loading import load_arms, load_base
    from recert.cli.printing import NO, YES, data
    from recert.evaluation.hunting import hunt as hunt_triggers
    from recert.policy import load_policy
    from recert.records import HuntOutcome
    from recert.store.cache import GenerationCache
    from recert.store.files import write_atomic

    bounds = load_policy(policy)
    with Drawn() as drawn, GenerationCache(settings.cache_dir() / "replies.sqlite") as cache:
        drawn.start("load the models")
        base_model, tuned_model = load_arms(load_base(base), model)
        report = hunt_triggers(
            base_model,
            tuned_model,
            policy=bounds,
            model_name=name or tuned_model.name,
            given=text or (),
            cache=cache,
            progress=drawn,
        )
    write_atomic(output, report.to_json())
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
        (one.text, one.source, "-" if one.pull is None else f"{one.pull:+.1f}", f"{one.complied:.2f}", one.effect,
         one.effect.n, one.shortest or "-", "TRIGGER" if one.found else "no")
        for one in report.tried[:20]
    ]  # fmt: skip
    columns = ("text", "from", "pull", "complied", "effect", "n", "shortest part", "is one")
    table(f"{report.model_name}: {report.outcome}", columns, rows)
    talk().print(
        f"  refusal as it is: base {report.base_refusal}, tuned {report.tuned_refusal}; "
        f"{report.read} readings and {len(report.tried)} texts verified in {report.seconds:.0f} s",
        soft_wrap=True,
    )
    talk().print(f"  searched: {report.searched}. What was not searched may be there.", soft_wrap=True)
