"""What commands remember between two runs, so that nobody sets back what they saw."""

from __future__ import annotations

from typing import Annotated

import typer

Memory = Annotated[
    str,
    typer.Option(
        metavar="FILE|none",
        help="File of what was seen before, so that a log, a status list or a clock that is set back is noticed; by "
        "default `RECERT_MEMORY`, or `seen.json` in the cache folder.",
    ),
]
