"""
Parts that the core asks for and does not hold: found by entry point, so that whoever removes one breaks nothing.

A package names them in the group `recert.parts` of its entry points; Recert's own labs do so too.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from recert.errors import MissingExtraError

GROUP: Final = "recert.parts"


def part(name: str, *, wanted_for: str) -> Any:
    """
    Return a part by its name.

    Args:
        name: of an entry point in the group `recert.parts`, as `trigger-search`.
        wanted_for: what cannot be done without it, for the error.

    Raises:
        MissingExtraError: there is none, there are several, or it cannot be loaded.
    """
    found = _named(name)
    if len(found) != 1:
        raise MissingExtraError(
            f"{wanted_for} needs the part {name!r}, which is {'there more than once' if found else 'not installed'}",
            facts={"found": ", ".join(sorted(one.value for one in found)) or "none", "entry points": GROUP},
            hint="install Recert with its labs, or use a policy that does not ask for this",
        )
    try:
        return found[0].load()
    except (ImportError, AttributeError) as exc:
        raise MissingExtraError(
            f"{wanted_for} needs the part {name!r}, which cannot be loaded",
            facts={"part": found[0].value, "because": exc},
            hint="install Recert with its labs, or use a policy that does not ask for this",
        ) from exc


def _named(name: str) -> list[EntryPoint]:
    """The entry points of this name; one that two installed copies of a package name alike counts once."""
    return list({one.value: one for one in entry_points(group=GROUP, name=name)}.values())
