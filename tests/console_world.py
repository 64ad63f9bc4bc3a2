"""A console over folders of records, and a browser-like client of one who signed in with given roles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.routing import BaseRoute

from recert.web.console.visiting import Visitor


@dataclass(frozen=True)
class OneVisitor:
    """Whoever asks is this person: for tests of pages, where signing in is not the subject."""

    who: Visitor

    def visitor(self, _: Request) -> Visitor | None:
        return self.who

    def routes(self) -> Sequence[BaseRoute]:
        return ()
