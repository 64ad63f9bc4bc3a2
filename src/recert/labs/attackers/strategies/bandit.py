"""Which of several choices to try next, from how well each did before: Thompson sampling with repeatable draws."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence


class Bandit:
    """
    Counts how well choices did, each with a Beta distribution that begins flat.

    Args:
        seen: pairs of a choice and its reward in [0, 1].

    Source:
        Thompson 1933; for rewards between 0 and 1, Agrawal and Goyal 2012, arXiv:1111.1797.
    """

    def __init__(self, seen: Iterable[tuple[str, float]] = ()) -> None:
        self._won: dict[str, float] = {}
        self._lost: dict[str, float] = {}
        for choice, reward in seen:
            self._won[choice] = self._won.get(choice, 0.0) + reward
            self._lost[choice] = self._lost.get(choice, 0.0) + 1 - reward

    def choose(self, choices: Sequence[str], draw_key: str) -> str:
        """Return one of the choices; the same key and the same counts give the same one on every machine."""
        draw = random.Random(f"recert:bandit:{draw_key}")  # noqa: S311 - a repeatable draw, not a secret
        drawn = {
            one: draw.betavariate(1 + self._won.get(one, 0.0), 1 + self._lost.get(one, 0.0))
            for one in choices
        }
        return max(drawn, key=lambda one: (drawn[one], one))
