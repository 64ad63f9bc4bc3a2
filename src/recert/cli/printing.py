"""How commands print: data to stdout, talk to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from recert.records.record import Record

YES, NO = 0, 1


def data(record: Record) -> None:
    """Print a record to stdout as indented JSON."""
    sys.stdout.write(json.dumps(record.to_value(), indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def talk() -> Console:
    """Return the console that writes to stderr, 120 wide where it is no terminal. Mark-up is not read."""
    from rich.console import Console

    console = Console(stderr=True, markup=False, highlight=False)
    return console if console.is_terminal else Console(stderr=True, markup=False, highlight=False, width=120)


def plain(words: object) -> str:
    """Return words with everything that does not print spelt out: nothing hides, and nothing moves the cursor."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in str(words))


def sheet(title: str, pairs: Iterable[tuple[str, object]], *, loud: bool = False) -> None:
    """Print pairs of a heading and words on stderr, as plain text; nothing is cut. `loud` is for what must be seen."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table.grid(padding=(0, 2))
    drawn.add_column(style="dim", no_wrap=True)
    drawn.add_column(overflow="fold")
    for heading, words in pairs:
        drawn.add_row(Text(plain(heading)), Text(plain(words)))
    console = talk()
    console.print(plain(title), style="bold red reverse" if loud else "bold")
    console.print(drawn)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Draw a table on stderr. Every cell is printed as plain text."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(title, style="bold"), title_justify="left", header_style="dim")
    for column in columns:
        drawn.add_column(Text(column))
    for row in rows:
        drawn.add_row(*(Text(plain(cell)) for cell in row))
    talk().print(drawn)


def agree(question: str, *, yes: bool) -> None:
    """
    Return when somebody said yes.

    Raises:
        Exit: they said no: with 1.
        InputError: nobody was there to ask.
    """
    from recert.errors import InputError

    try:
        agreed = yes or typer.confirm(question, err=True)
    except typer.Abort as exc:  # Ctrl-C, or nobody there to ask
        raise InputError("nobody said yes or no", hint="answer y or n, or give --yes") from exc
    if not agreed:
        raise typer.Exit(NO)
