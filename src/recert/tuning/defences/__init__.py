"""Defences against the loss of safety in tuning: one file each, with its paper, cost and known breaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from recert.errors import InputError
from recert.records.data.rows import ChatRow
from recert.records.reports.tuning import Hyperparameters
from recert.tuning.defences import (
    backdoor_align,
    distant_filter,
    first_tokens,
    lisa,
    none,
    safe_lora,
    safety_mix,
    safety_prompt,
    safety_reasoning,
    self_distillation,
)
from recert.tuning.defences.defended import Defence, Defended, Figures
from recert.tuning.defences.options import DefenceOptions, read_options

DEFENCES: dict[str, Defence] = {
    made.DEFENCE.name: made.DEFENCE
    for made in (
        none,
        safety_mix,
        self_distillation,
        backdoor_align,
        first_tokens,
        lisa,
        safe_lora,
        safety_prompt,
        distant_filter,
        safety_reasoning,
    )
}
"""Every defence by name."""
USUAL: Final[Mapping[str, str]] = {"sft": "self-distillation", "dpo": "safety-mix", "rft": "none"}
"""The defence of each method where none is named: the one that costs a harmless tune least."""


def defence_named(name: str) -> Defence:
    """
    Return a defence.

    Raises:
        InputError: there is no such defence.
    """
    if name not in DEFENCES:
        raise InputError("no such defence", facts={"given": name, "known": ", ".join(DEFENCES)})
    return DEFENCES[name]


def defend(
    name: str,
    rows: Sequence[ChatRow],
    *,
    seed: int,
    options: Mapping[str, Any] | DefenceOptions | None = None,
) -> Defended:
    """
    Apply what a defence does to tuning rows.

    Raises:
        InputError: there is no such defence, or no such option.
    """
    defence = defence_named(name)
    return defence.prepare(rows, seed, read_options(defence.options, options, name=name))


def must_suit(defence: Defence, how: Hyperparameters) -> None:
    """
    Return when a defence can be used with a way of tuning.

    Raises:
        InputError: it cannot.
    """
    for what, asked, possible in (
        ("method", how.objective, defence.methods),
        ("adapter", how.trains, defence.trains),
    ):
        if asked not in possible:
            able = [
                d.name for d in DEFENCES.values() if how.objective in d.methods and how.trains in d.trains
            ]
            raise InputError(
                f"the defence {defence.name} does not go with that {what}",
                facts={what: asked, "possible": ", ".join(possible)},
                hint=f"defences that do: {', '.join(able) or 'none'}",
            )


__all__ = [
    "DEFENCES",
    "USUAL",
    "Defence",
    "DefenceOptions",
    "Defended",
    "Figures",
    "defence_named",
    "defend",
    "must_suit",
    "read_options",
]
