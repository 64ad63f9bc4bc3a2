"""How a page is declared: method, path, the right that it takes, and what answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from starlette.responses import Response
from starlette.routing import compile_path

from recert.console.accounts.rights import Right
from recert.console.visiting import Visit

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


Sharable = Callable[[str], bool]
"""Says whether a path is one of a page that a link may open."""


def sharable_in(pages: Sequence[Page], root: str) -> Sharable:
    """Return what says whether a path is one of a page that a link may open."""
    patterns = [compile_path(root + page.path)[0] for page in pages if page.sharable and page.method == "GET"]

    def sharable(path: str) -> bool:
        return any(pattern.match(path) for pattern in patterns)

    return sharable
