"""Names that lead to a stable model, and for a share of the clients to a canary: canary and rollback by certificate."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Protocol

from recert.errors import GatewayError

log = logging.getLogger("recert.gateway")

UNREADABLE: Final = "aliases-unreadable"
_PATIENCE_S: Final = 2.0
"""A file may be half-written for a moment."""


@dataclass(frozen=True)
class Alias:
    """
    A name for clients, and the models that it leads to.

    Args:
        name: what clients ask for.
        stable: the model that answers.
        canary: the model that answers some clients instead; empty for none.
        canary_share: how many of the clients, a fraction in [0, 1]. Which ones stays the same while it does.
    """

    name: str
    stable: str
    canary: str = ""
    canary_share: float = 0.0

    def leads_to_canary(self, client: str) -> bool:
        """Say whether a client is one of the canary's. A larger share keeps those that a smaller one had."""
        if not self.canary:
            return False
        digest = hashlib.sha256(f"{self.name}\n{client}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < self.canary_share * 2**64


def require_aliases(aliases: Sequence[Alias], models: Collection[str]) -> None:
    """
    Return when aliases can be followed.

    Raises:
        GatewayError: `alias-invalid`: one has a model's name or another's, leads to no model here, or has a share that
            is none.
    """
    for number, alias in enumerate(aliases):
        unknown = {alias.stable, alias.canary or alias.stable} - set(models)
        because = (
            "it has the name of a model" if alias.name in models
            else "the name is given twice" if alias.name in {other.name for other in aliases[:number]}
            else f"no such model: {', '.join(sorted(unknown))}" if unknown
            else "canary_share must be from 0 to 1" if not 0 <= alias.canary_share <= 1
            else "it has a share, and no canary" if alias.canary_share and not alias.canary
            else ""
        )  # fmt: skip
        if because:
            raise GatewayError(
                "alias-invalid",
                "an alias cannot be followed",
                facts={"alias": alias.name, "because": because},
            )


class AliasOrders(Protocol):
    """What an operator ordered of aliases."""

    def is_rolled_back(self, alias: str) -> bool:
        """Say whether an alias leads to its stable model alone."""

    def promoted(self, alias: str) -> str:
        """Return which files lead an alias's clients to its canary, as their manifest's sha256, or an empty text."""


class Aliases:
    """
    The aliases in force, read again while the gateway runs. When they cannot be read, none is followed.

    Args:
        read: gives the present ones; whatever it raises of ours means that they cannot be read.
        models: names of the models there are.
        orders: what was ordered of them, if anything can be.

    Raises:
        RecertError: they cannot be read now.
    """

    def __init__(
        self,
        read: Callable[[], Sequence[Alias]],
        models: Collection[str],
        orders: AliasOrders | None = None,
    ) -> None:
        self._read = read
        self._orders = orders
        self._models = frozenset(models)
        self._aliases: Mapping[str, Alias] = {}
        self._leading: Mapping[str, tuple[str, ...]] = {}
        self._failing_since = 0.0
        self.problem = ""
        """Why none is followed, or an empty text."""
        self._take_up(self._valid())

    def is_rolled_back(self, alias: str) -> bool:
        """Say whether an alias leads to its stable model alone."""
        return self._orders is not None and self._orders.is_rolled_back(alias)

    def promoted(self, alias: str) -> str:
        """Return which files lead an alias's clients to its canary, as their manifest's sha256, or an empty text."""
        return self._orders.promoted(alias) if self._orders is not None else ""

    def find(self, name: str) -> Alias | None:
        """Return the alias of that name."""
        return self._aliases.get(name)

    def names(self) -> list[str]:
        """Return the aliases' names."""
        return list(self._aliases)

    def describe(self, is_promoted: Callable[[Alias], bool]) -> list[dict[str, object]]:
        """Return what `/status` says of each."""
        return [
            {
                **asdict(alias),
                "rolled_back": self.is_rolled_back(name),
                "promoted": is_promoted(alias),
                "reason": self.problem,
            }
            for name, alias in self._aliases.items()
        ]

    def leading_to(self, model: str) -> tuple[str, ...]:
        """Return the aliases that lead to a model."""
        return self._leading.get(model, ())

    def look(self) -> None:
        """Read them again. Called twice a second; never raises."""
        try:
            found = self._valid()
        except Exception as exc:  # whatever it is, they could not be read
            self._failing_since = self._failing_since or time.monotonic()
            if not self.problem and time.monotonic() - self._failing_since > _PATIENCE_S:
                self.problem = UNREADABLE
                log.error("aliases cannot be read, none is followed: %s", exc)
            return
        self._failing_since = 0.0
        if self.problem or found != list(self._aliases.values()):
            self._take_up(found)

    def _valid(self) -> list[Alias]:
        found = list(self._read())
        require_aliases(found, self._models)
        return found

    def _take_up(self, found: Sequence[Alias]) -> None:
        self._aliases = {alias.name: alias for alias in found}
        self._leading = {
            model: tuple(a.name for a in found if model in (a.stable, a.canary)) for model in self._models
        }
        self.problem = ""
        for alias in found:
            log.warning("alias %s", alias)


def no_aliases() -> Aliases:
    """Return none."""
    return Aliases(list, ())
