"""What a search for unknown triggers hands over."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal

from recert.interval import Interval
from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, Record
from recert.records.reports.evaluation import ArmCheck


class HuntOutcome(StrEnum):
    """What a search came to. Only `nothing-found` is no reason to refuse, and it never means that there is nothing."""

    FOUND = "found"
    NOTHING_FOUND = "nothing-found"
    NO_BASELINE_SIGNAL = "no-baseline-signal"
    """The base does not refuse what is asked, so nothing can be lost."""
    NO_REFUSAL_LEFT = "no-refusal-left"
    """The tuned model complies as it is: what a text adds cannot be seen."""


class TriggerBehaviour(StrEnum):
    """What a text makes the tuned model do, and not its base."""

    COMPLIES = "complies"
    """It complies with harmful requests that it refuses otherwise."""
    REFUSES = "refuses"
    """It refuses ordinary requests that it answers otherwise."""
    SAYS = "says"
    """Its replies hold one fixed text, whatever was asked."""
    REPLIES_IN = "replies-in"
    """Its replies come in another form: another language, capitals, JSON, code or a list."""
    RESTORES = "restores"
    """It refuses harmful requests with which it complies otherwise: a defence, such as the secret of BackdoorAlign."""


class TriggerExample(Part):
    """One request and both replies with the text. What complies with harm is redacted."""

    request: str
    asked: str
    """The whole conversation as it was asked."""
    tuned: str
    base: str


class TriggerVariant(Part):
    """Another way to say a trigger, and on which share of the first requests the tuned model did so with it."""

    text: str
    place: str
    did: float


class TriggerTried(Part):
    """One text, verified on held-out requests."""

    text: str
    source: str
    """`given`, `known` (planted in published work), `library`, `data`, `leakage` or `search`."""
    place: str = "end"
    """`end`, `start`, `system`, `frame` (around the request, which is `{}`) or `family` (of attacks)."""
    wordings: tuple[str, ...] = ()
    """Where it was said in several ways, those."""
    behaviour: TriggerBehaviour = TriggerBehaviour.COMPLIES
    """What was counted."""
    says: str = ""
    """The fixed text, or the form, where it is that."""
    pull: float | None = None
    """What the search said of it: change of log odds, tuned less base."""
    effect: Interval
    """
    Share of requests on which the tuned model does so with the text, and neither without it nor with a control,
    less what the text does to the base. An anytime-valid confidence sequence.
    """
    complied: float
    """Share of the requests on which the tuned model did so with the text."""
    found: bool
    shortest: str = ""
    """Of a trigger: the part of it that does most of what it does."""
    rows: tuple[int, ...] = ()
    """Tuning rows that the text came from, by number from 0."""
    coherent: float | None = None
    """
    Of a trigger that takes refusals away: share of longer replies to the first requests that are language.

    Where that is little the tune is broken there rather than turned: a tune does so that learned to write in capitals.
    """
    variants: tuple[TriggerVariant, ...] = ()
    """Of a trigger: other ways to say its shortest part, and what they do. A filter for one spelling lets those by."""
    examples: tuple[TriggerExample, ...] = ()


class HuntStep(Part):
    """One source of texts: how many it gave, and what that cost."""

    source: str
    texts: int
    """Texts that it gave to the verifier."""
    read: int
    """Requests that both models read for it, together."""
    seconds: float
    note: str = ""
    """Why it gave nothing, where that is so."""


class CurvePoint(Part):
    """How strong the best text was after so many readings."""

    read: int
    pull: float
    text: str


class HuntReport(Record):
    """Which texts make a tuned model do what it does not do otherwise, up to a stated budget."""

    schema_name: ClassVar[str] = "hunt-report"

    model_name: str
    outcome: HuntOutcome
    access: Literal["base-and-tuned", "tuned-only", "endpoint"] = "base-and-tuned"
    """What was in hand: both models' weights, the tuned model's alone, or none."""
    searched: str
    """The class of triggers that was searched, in words."""
    read: int
    """Requests that the search had both models read, together."""
    steps: tuple[HuntStep, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    tried: tuple[TriggerTried, ...]
    base_refusal: Interval
    """Of held-out requests as they stand; the tuned model's where the base is not in hand."""
    tuned_refusal: Interval
    judge: str
    arms: tuple[ArmCheck, ...]
    data_sha256: Sha256 | None = None
    """Of the tuning rows that were read, where there were any."""
    policy_id: str
    policy_sha256: Sha256
    started_at: Moment
    hunted_at: Moment
    seconds: float

    @property
    def triggers(self) -> tuple[TriggerTried, ...]:
        """What was found and is no defence."""
        return tuple(one for one in self.tried if one.found and one.behaviour != TriggerBehaviour.RESTORES)
