"""
What the core asks for and does not hold: parts of Recert's own labs, and plug-ins of others, found by entry point.

A package names what it brings in its entry points, in one of the groups below. So whoever removes it removes a
feature and breaks nothing: what asked for it says what is missing, and never goes on without.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Literal

from recert.errors import InputError, MissingExtraError

PARTS: Final = "recert.parts"
"""Group of what Recert's own policies ask for, as `trigger-search`."""
PLUGIN: Final = "plugin:"
"""Begins the name of a plug-in wherever a judge, suite, control or engine is named."""
Kind = Literal["judge", "suite", "control", "engine", "page"]
"""Kinds of plug-ins; those of a kind are in the group `recert.judges`, `recert.suites` and so on."""


def part(name: str, *, wanted_for: str) -> Any:
    """
    Return a part by its name.

    Args:
        name: of an entry point in the group `recert.parts`.
        wanted_for: what cannot be done without it, for the error.

    Raises:
        MissingExtraError: there is none, there are several, or it cannot be loaded.
    """
    found = _found(PARTS, name)
    if len(found) != 1:
        raise MissingExtraError(
            f"{wanted_for} needs the part {name!r}, which is {'there more than once' if found else 'not installed'}",
            facts={"group": PARTS, "found": ", ".join(sorted(one.value for one in found)) or "none"},
            hint="install Recert with its labs, or use a policy that does not ask for this",
        )
    return _load(found[0])


def plugin(kind: Kind, name: str) -> Any:
    """
    Return a plug-in by its name.

    Args:
        kind: what it is.
        name: of its entry point, with or without `plugin:` before it.

    Raises:
        InputError: no installed package brings one of this name, or several do.
        MissingExtraError: it cannot be loaded.
    """
    name = name.removeprefix(PLUGIN)
    found = _found(f"recert.{kind}s", name)
    if len(found) != 1:
        there = sorted({one.name for one in entry_points(group=f"recert.{kind}s")})
        raise InputError(
            f"{'several plug-ins have' if found else 'no plug-in has'} this name",
            facts={"kind": kind, "given": name, "there are": ", ".join(there) or "none"},
            hint=f"a package brings one by an entry point in the group recert.{kind}s",
        )
    return _load(found[0])


def plugins(kind: Kind) -> dict[str, Any]:
    """
    Return every plug-in of a kind by its name, in the order of names.

    Raises:
        InputError: two have one name.
        MissingExtraError: one cannot be loaded.
    """
    names = sorted({one.name for one in entry_points(group=f"recert.{kind}s")})
    return {name: plugin(kind, name) for name in names}


def _found(group: str, name: str) -> list[EntryPoint]:
    """The entry points of this name; one that two installed copies of a package bring alike counts once."""
    return list({one.value: one for one in entry_points(group=group, name=name)}.values())


def _load(one: EntryPoint) -> Any:
    try:
        return one.load()
    except (ImportError, AttributeError) as exc:
        raise MissingExtraError(
            "an entry point cannot be loaded",
            facts={"group": one.group, "name": one.name, "leads to": one.value, "because": exc},
            hint="install its package again, or remove it",
        ) from exc
