"""Defences against the loss of safety in tuning: one file each, with its paper, cost and known breaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recert.errors import InputError
from recert.records import ChatRow
from recert.tuning.defences import backdoor_align, none, safety_mix
from recert.tuning.defences.defended import Defended

DEFENCES: dict[str, Callable[..., Defended]] = {
    "none": none.defend,
    "safety-mix": safety_mix.defend,
    "backdoor-align": backdoor_align.defend,
}
"""Each takes the rows and a seed, and gives the rows to train on."""


def defend(name: str, rows: Sequence[ChatRow], *, seed: int) -> Defended:
    """
    Apply a defence to tuning rows.

    Raises:
        InputError: there is no such defence.
    """
    if name not in DEFENCES:
        raise InputError("no such defence", facts={"given": name, "known": ", ".join(DEFENCES)})
    return DEFENCES[name](rows, seed=seed)


__all__ = ["DEFENCES", "Defended", "defend"]
