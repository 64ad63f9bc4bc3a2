"""Long lists, page by page: which part is shown, and the links to its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from urllib.parse import urlencode

from recert.console.visiting import Visit

Item = TypeVar("Item")
_MOST: Final = 10**6


@dataclass(frozen=True)
class Paged(Generic[Item]):
    """One page of a list. `number` counts from 1; `before` and `after` are links, empty at the ends."""

    items: tuple[Item, ...]
    number: int
    pages: int
    of: int
    before: str = ""
    after: str = ""


def paged(visit: Visit, items: Sequence[Item], *, each: int, named: str = "page") -> Paged[Item]:
    """Return the page of a list that the query asks for; one that is beyond the end is the last."""
    pages = max(1, -(-len(items) // each))
    number = max(1, visit.number(named, 1, most=min(pages, _MOST)))

    def link(to: int) -> str:
        others = {name: value for name, value in visit.query.items() if name not in (named, "said")}
        return f"?{urlencode(others | {named: str(to)})}"

    return Paged(
        tuple(items[(number - 1) * each : number * each]),
        number,
        pages,
        len(items),
        link(number - 1) if number > 1 else "",
        link(number + 1) if number < pages else "",
    )
