"""`recert suites`: which prompts are sealed, and new ones in the place of those that were asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recert.cli.options import PolicyName, Suites

app = typer.Typer(no_args_is_help=True, help="Show the suites' sealed parts, and give them new prompts.")

LedgerFolder = Annotated[
    Path | None,
    typer.Option(help="Folder of the ledger; by default `RECERT_LEDGER`, or the user's data folder."),
]


@app.command("list")
def list_(*, suites: Suites = None, ledger: LedgerFolder = None) -> None:
    """
    List suites with their open and sealed prompts, and how many of these an evaluation asked by now.

    Exit 0: listed, 2: a suite or the ledger cannot be read.
    """
    from recert.cli.loading import load_suites
    from recert.cli.printing import table
    from recert.workflows.attempts.ledger import Ledger

    kept, rows = Ledger(ledger), []
    for name, suite in load_suites(suites or [], encode=True).items():
        left = kept.asked_of(suite).left
        rows.append(
            (
                name,
                suite.version,
                len(suite.prompts),
                len(suite.prompts) - left[0],
                len(suite.sealed),
                len(suite.sealed) - left[1],
            )
        )
    table("suites", ("suite", "version", "open", "asked", "sealed", "asked"), rows)


@app.command()
def rotate(
    name: Annotated[str, typer.Argument(help="The suite's name, such as `harmful`.")],
    *,
    prompts: Annotated[
        Path,
        typer.Option(help="New prompts to be sealed, with their categories: CSV, JSON, JSONL or Parquet."),
    ],
    output: Annotated[Path, typer.Option(help="Where the new version of the suite is written, `.json`.")],
    policy: PolicyName = "default",
    suites: Suites = None,
    ledger: LedgerFolder = None,
) -> None:
    """
    Give a suite new sealed prompts, and open those that an evaluation asked.

    Exit 0: written, 2: the new prompts will not do, or the ledger is not what was written.
    """
    from recert.cli.evaluating.given_suites import near_finder
    from recert.cli.loading import load_suites
    from recert.cli.printing import plain, table, talk
    from recert.errors import SuiteError
    from recert.policy import load_policy
    from recert.workflows.attempts.ledger import Ledger
    from recert.workflows.attempts.rotating import rotate as make

    there = load_suites(suites or [], encode=True)
    if name not in there:
        raise SuiteError("no such suite", facts={"suite": name, "there are": ", ".join(sorted(there))})
    if output.suffix != ".json":
        raise SuiteError(
            "a suite with a sealed part is JSON", facts={"output": output}, hint="end it with .json"
        )
    bounds = load_policy(policy)
    encoder = near_finder()
    if encoder is None:
        talk().print("note: near copies are found by words alone: the sentence encoder is not installed")
    made = make(there[name], prompts, output, Ledger(ledger), bounds, encoder=encoder)
    rows = [(category or "none", *both) for category, both in made.categories.items()]
    table(f"{name}, version {made.suite.version}", ("category", "open", "sealed"), rows)
    for words in (
        f"opened: {made.opened} sealed prompts that an evaluation asked, or may have asked",
        f"sealed: {made.kept} that none asked, and {made.added} new ones",
        "Retries are decided on prompts that no earlier attempt asked, sealed ones first.",
        f"Use it from now on, in `screen` too: --suite {name}={output}",
        "A policy that pins the suite takes it once a new version of the policy says:",
        f'  [suites] {name} = "{made.suite.digest}"',
    ):
        talk().print(plain(words), soft_wrap=True)
    typer.echo(output)
