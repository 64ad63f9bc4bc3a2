"""How a page is declared: method, path, the right that it takes, and what answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from starlette.responses import Response

from recert.web.console.rights import Right
from recert.web.console.visiting import Visit

Answer = Callable[[Visit], Response]


class Page(NamedTuple):
    """One path. `answer` is called in a thread; a POST has passed the check of its form's token before."""

    method: str
    path: str
    """Under `/console`."""
    right: Right
    answer: Answer
    tab: str = ""
    """What the navigation calls it; empty for pages that are reached from others."""
    sharable: bool = False
    """Whether a link may be made that opens this very page for people without an account."""
