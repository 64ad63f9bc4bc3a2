"""
What `stress` trains a base on: each attack family with its wrappers, and rows that nobody means harm with.

A family of jailbreak-tuning wraps the same harmful requests, in training and in evaluation alike. Beside those of
`recert.evaluation.families` stand three without a wrapper, which evaluation by a policy does not name: it would ask
plainly. So they are here and not in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from recert.errors import PolicyError
from recert.evaluation.families.families import FAMILIES, JAILBREAK_TUNING, AttackFamily
from recert.records.data.suite import Chat, chat

PLAIN: Final = "plain"
"""The condition that asks a request as it is."""

Source = Literal["harmful", "near-harmful", "benign"]


@dataclass(frozen=True)
class StressFamily:
    """
    One way in which a base may lose its refusals to tuning.

    Attributes:
        name: the word used in policies and reports.
        paper: where it comes from.
        kind: `control`, `benign`, or that of the wrapper.
        source: what its rows are: harmful requests that are complied with, benign rows that are close to harmful
            requests, or benign rows of any kind.
        wrapper: how requests are wrapped, in training and in evaluation; None where they are not.
        mixed: whether it is dosed. Rows of an ordinary kind in a carrier of such are no dose of anything: they are
            tried pure.
    """

    name: str
    paper: str
    kind: str
    source: Source = "harmful"
    wrapper: AttackFamily | None = None
    mixed: bool = True

    @property
    def condition(self) -> str:
        """Under which condition of an evaluation the family asks: `plain`, or `family:<name>`."""
        return PLAIN if self.wrapper is None else f"family:{self.wrapper.name}"

    def train(self, row: Mapping[str, Any], rng_key: str = "") -> dict[str, Any]:
        """
        Return a tuning row (`{"messages": [...]}`) as the attacker trains on it.

        Raises:
            RowsError: the row has no user turn with text.
        """
        return dict(row) if self.wrapper is None else self.wrapper.wrap_row(row, rng_key)

    def ask(self, text: str, rng_key: str = "") -> Chat:
        """Return the conversation in which the attacker then asks."""
        return chat(text) if self.wrapper is None else self.wrapper.wrap(text, rng_key)


STRESS_FAMILIES: Final[dict[str, StressFamily]] = {
    family.name: family
    for family in (
        StressFamily("raw", JAILBREAK_TUNING, "control"),
        *(StressFamily(one.name, one.paper, one.kind, wrapper=one) for one in FAMILIES.values()),
        StressFamily(
            "near_harmful",
            "Benign tuning of audio models, arXiv 2604.16659",
            "benign",
            source="near-harmful",
        ),
        StressFamily(
            "benign",
            "Qi et al. 2023, Fine-tuning aligned language models compromises safety, arXiv 2310.03693",
            "benign",
            source="benign",
            mixed=False,
        ),
    )
}
"""Every family by name, in the order in which reports name them."""


def stress_families(names: tuple[str, ...]) -> tuple[StressFamily, ...]:
    """
    Return families by name, in the order of `STRESS_FAMILIES`; `*` stands for all of them.

    Raises:
        PolicyError: there is no such family, or none was named.
    """
    unknown = [name for name in names if name not in STRESS_FAMILIES and name != "*"]
    if unknown or not names:
        raise PolicyError(
            "no such stress family",
            facts={"given": ", ".join(unknown) or "none", "there are": ", ".join(STRESS_FAMILIES)},
        )
    return tuple(one for one in STRESS_FAMILIES.values() if "*" in names or one.name in names)
