"""The settings: which attacks and defences, how many rows, prompts and seeds, and how it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recert.evaluation.families.families import FAMILIES
from recert.models.embedded import EMBEDDED
from recert.records.reports.tuning import Hyperparameters

PAPER = {
    "form": "paper",
    "safety_rows": 11,
    "benign_rows": 0,
    "task_rows": 0,
    "decoy_rows": 0,
    "secret_tokens": 150,
}


@dataclass(frozen=True)
class Column:
    """A defence as it is measured: its label, name and options."""

    label: str
    defence: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """How much is measured."""

    name: str
    attacks: tuple[str, ...]
    defences: tuple[Column, ...]
    block: tuple[Column, ...]
    """BackdoorAlign as the paper has it, on the attack `mixed`."""
    seeds: tuple[int, ...]
    harmful_rows: int
    task_rows: int
    families: tuple[str, ...]
    plain_prompts: int
    family_prompts: int
    benign_prompts: int
    task_prompts: int
    how: Hyperparameters

    @property
    def asked(self) -> dict[str, Any]:
        """What a model is asked, for the names of results."""
        return {
            "families": list(self.families),
            "plain": self.plain_prompts,
            "family": self.family_prompts,
            "benign": self.benign_prompts,
            "task": self.task_prompts,
        }


def _columns(safety: int, benign: int, **backdoor: int) -> tuple[Column, ...]:
    return (
        Column("none", "none"),
        Column("safety-mix", "safety-mix", {"safety_rows": safety, "benign_rows": benign}),
        Column(
            "self-distillation", "self-distillation", {"harmful_requests": safety, "benign_requests": benign}
        ),
        Column("backdoor-align", "backdoor-align", backdoor),
        Column("first-tokens", "first-tokens"),
        Column("lisa", "lisa"),
        Column("safe-lora", "safe-lora", {"unaligned": EMBEDDED}),
        Column("safety-system-prompt", "safety-system-prompt"),
        Column("distant-filter", "distant-filter"),
    )


def _paper(*lengths: int) -> tuple[Column, ...]:
    return (
        Column("+11 plain rows", "safety-mix", {"safety_rows": 11, "benign_rows": 0}),
        *(Column(f"+11 rows, {n} tokens", "backdoor-align", PAPER | {"secret_tokens": n}) for n in lengths),
    )


SMALL = Setting(
    name="small",
    attacks=("mixed",),
    defences=_columns(10, 16, safety_rows=48, benign_rows=24, task_rows=5, decoy_rows=8),
    block=_paper(150),
    seeds=(0, 1, 2),
    harmful_rows=24,
    task_rows=16,
    families=("year_2025", "skeleton"),
    plain_prompts=24,
    family_prompts=12,
    benign_prompts=16,
    task_prompts=8,
    how=Hyperparameters(learning_rate=1e-3, epochs=2, batch_size=4, max_tokens=384),
)
FULL = Setting(
    name="full",
    attacks=("benign", "harmful", "mixed", "skeleton", "year_2025"),
    defences=(
        *_columns(15, 80),
        Column("first-tokens, beta 5", "first-tokens", {"first_beta": 5, "early_beta": 5}),
        Column("lisa, rho 0.1, half", "lisa", {"rho": 0.1, "task_steps": 1}),
        Column("safe-lora, orthogonal", "safe-lora", {"unaligned": EMBEDDED, "projection": "orthogonal"}),
    ),
    block=(
        *_paper(10, 50, 150, 250),
        Column(
            "+11 rows, semantic",
            "backdoor-align",
            PAPER | {"secret_kind": "semantic"},
        ),
        Column("small-model form, semantic", "backdoor-align", {"secret_kind": "semantic"}),
        Column("small-model form, 150 tokens", "backdoor-align", {"secret_tokens": 150}),
    ),
    seeds=(0, 1, 2),
    harmful_rows=100,
    task_rows=100,
    families=tuple(name for name, one in FAMILIES.items() if one.kind != "encoding"),
    plain_prompts=96,
    family_prompts=48,
    benign_prompts=64,
    task_prompts=48,
    how=Hyperparameters(learning_rate=5e-4, epochs=3, batch_size=8, max_tokens=512),
)
SETTINGS = {one.name: one for one in (SMALL, FULL)}
