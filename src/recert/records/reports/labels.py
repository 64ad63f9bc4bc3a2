"""What people, or a stronger judge, said of replies that an evaluation recorded."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, Record

Label = Literal["refused", "complied", "evaded"]
"""
What a reply did with its request. `complied` means answered; `evaded` neither, such as a reply about another matter.
"""

LabelledEstimand = Literal["harm", "over_refusal"]
"""What labels are about: whether requests that should be refused were, or those that should be answered."""

Stratum = Literal["worse", "both", "neither", "better"]
"""
What the judge said of a pair: only the tuned model's reply shows what the rule is about (harm: it complied;
over-refusal: it refused), both replies do, neither does, or only the base's does.
"""


class LabelledReply(Part):
    """One reply of the sample, with the label that each labeller gave it."""

    suite: str
    condition: str
    safeguards: tuple[str, ...] = ()
    """Controls that were active for the tuned model's reply of the pair."""
    prompt_id: str
    arm: Literal["base", "tuned"]
    labels: dict[str, Label]
    """By a labeller's name."""


class Labeller(Part):
    """Who labelled: a person, or a judge that stood in for one."""

    name: str
    kind: Literal["person", "judge"]
    labelled_at: Moment
    """When the last reply was labelled."""


class Labels(Record):
    """A random sample of an evaluation's pairs, both replies of each labelled by everybody who took part."""

    schema_name: ClassVar[str] = "labels"

    outcomes_sha256: Sha256
    """Of the outcomes that were labelled; it seeds the draw too, so that nobody picks the sample."""
    replies: int = Field(ge=1)
    """Replies of each arm that were to be drawn, for each of `about`."""
    about: tuple[LabelledEstimand, ...] = Field(default=("harm",), min_length=1)
    labellers: tuple[Labeller, ...] = Field(min_length=1)
    items: tuple[LabelledReply, ...]
    """The replies in the order in which they were shown, the arms mixed; those about harm first."""


class StratumLabels(Part):
    """Pairs that the judge put into one stratum, of all conditions: how many were labelled, and what came of them."""

    stratum: Stratum
    n: int = Field(ge=0)
    """Pairs labelled."""
    worse: int = Field(ge=0)
    """Pairs that got worse by their labels; where labellers disagree, the worst case."""
    better: int = Field(ge=0)


class LabelledChange(Part):
    """The counts from which the change of one result was estimated with labels; the verifier computes it again."""

    strata: dict[Stratum, int]
    """The result's own pairs of two different answers, by what the judge said of them."""
    same: int = Field(default=0, ge=0)
    """Pairs of two answers that are equal to the letter: they did not change, whatever they are."""
    unanswered: int = Field(default=0, ge=0)
    """Other pairs of the result, in which a reply is no answer or was not judged."""
    unanswered_worse: int = Field(default=0, ge=0)
    """
    Those of them that count as worse: all in which one reply is an answer, but for over-refusal those in which
    the base's is the other one, and incoherent.
    """
    labelled: tuple[StratumLabels, ...]


class ArmLabels(Part):
    """What the judge said of one arm's labelled replies, beside the labels. Answered requests count as complied."""

    labelled: int
    complied: int
    """Replies that complied by their labels; where labellers disagree, the worst case for the tuned model."""
    complied_found: int
    """Those of them that the judge called compliance: the sensitivity on this arm is their share."""
    not_complied: int
    not_complied_found: int
    """Others that the judge called refusals: the specificity on this arm is their share."""


class LabelNote(Part):
    """Who labelled how many replies, how far they agree, and what the judge is worth on each arm."""

    labels_sha256: Sha256
    """Digest of the labels' record."""
    labellers: tuple[Labeller, ...]
    base: ArmLabels
    tuned: ArmLabels
    agreement: float | None = None
    """Share of replies on which the first two labellers agree; None with one labeller."""
    kappa: float | None = None
    """Their agreement beyond chance (Cohen 1960)."""
    over_refusal_base: ArmLabels | None = Field(default=None, exclude_if=lambda arm: arm is None)
    """Replies of the base to requests that should be answered; None where nobody labelled them."""
    over_refusal_tuned: ArmLabels | None = Field(default=None, exclude_if=lambda arm: arm is None)

    def by(self, name: str) -> bool:
        """Say whether a person of this name labelled: a signer's, or that of an account of the console."""
        asked = _bare(name)
        return bool(asked) and any(
            one.kind == "person" and _bare(one.name) == asked for one in self.labellers
        )

    @property
    def words(self) -> str:
        """Who labelled how many replies, and how far they agree, in a line."""
        who = ", ".join(f"{one.name} ({one.kind})" for one in self.labellers)
        agreed = ""
        if self.agreement is not None and self.kappa is not None:
            agreed = f"; agreement {self.agreement:.2f}, kappa {self.kappa:.2f}"
        base, tuned = self.base.labelled, self.tuned.labelled
        if self.over_refusal_base is not None and self.over_refusal_tuned is not None:
            base, tuned = base + self.over_refusal_base.labelled, tuned + self.over_refusal_tuned.labelled
        counts = f"{base} replies of the base, {tuned} of the tuned model"
        return f"{counts}, by {who}{agreed}"


def _bare(name: str) -> str:
    return name.casefold().removeprefix("sso:").strip()
