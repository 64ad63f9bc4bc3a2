"""Readings of a search through the cache: a stopped search goes on, and a base is read once for all of its tunes."""

from __future__ import annotations

import json
from collections.abc import Sequence

from recert.digest import sha256_json
from recert.evaluation.measuring.arms import Arm
from recert.labs.triggers.search import Estimable, Searchable
from recert.records.data.suite import Chat


class KeptReadings:
    """
    A searchable model of which what was read before is not read again.

    Args:
        arm: the model and its cache.
        model: the model itself.
    """

    def __init__(self, arm: Arm, model: Searchable) -> None:
        self._arm, self._model = arm, model

    def opening_odds(
        self, chats: Sequence[Chat], *, agreeing: Sequence[str], refusing: Sequence[str]
    ) -> list[float]:
        """Return the log odds of opening in one way against the other, in order."""
        what = sha256_json(["odds of ways", list(agreeing), list(refusing)])
        return self._arm.readings(
            what,
            chats,
            lambda some: self._model.opening_odds(some, agreeing=agreeing, refusing=refusing),
        )

    def opening_estimates(
        self,
        one: Chat,
        mark: str,
        words: Sequence[str],
        *,
        beside: Sequence[str],
        agreeing: Sequence[str],
        refusing: Sequence[str],
    ) -> list[list[float]] | None:
        """Return estimated log odds for each text behind a word and each word; None where that cannot be done."""
        if not isinstance(self._model, Estimable):
            return None
        model = self._model

        def estimate() -> str:
            found = model.opening_estimates(
                one, mark, words, beside=beside, agreeing=agreeing, refusing=refusing
            )
            return json.dumps(found and [[round(value, 4) for value in row] for row in found])

        what = ["estimates of ways", mark, list(words), list(beside), list(agreeing), list(refusing)]
        said: list[list[float]] | None = json.loads(
            self._arm.kept([sha256_json(what), one.model_dump(mode="json")], estimate)
        )
        return said

    def opening_divergence(self, chats: Sequence[Chat], other: Searchable) -> list[float]:
        """Return how far a reply's first token is from another model's, in nats, in order."""
        base = other._model if isinstance(other, KeptReadings) else other
        of = other._arm.fingerprint_at_start if isinstance(other, KeptReadings) else ""
        return self._arm.readings(
            ["divergence", of], chats, lambda some: self._model.opening_divergence(some, base)
        )

    def words(self, most: int) -> list[str]:
        """Return words that it knows, most usual first."""
        return self._model.words(most)
