"""A tune that was made elsewhere: where it came from, and what a vendor's fine-tuning job said of itself."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import Field

from recert.records.data.manifest import Manifest
from recert.records.record import Moment, Part, Record

JOB_FILE: Final = "hosted-job.json"
"""Where the record of a vendor's job lies in its folder."""
ENDED: tuple[str, ...] = ("succeeded", "failed", "cancelled")
"""States of a vendor's job in which nothing more happens to it."""


class HostedEvent(Part):
    """One event of a vendor's job, as it was told."""

    event_id: str
    created_at: Moment
    level: str = ""
    kind: str = "message"
    message: str = ""


class HostedCheck(Part):
    """A vendor's own verdict on a snapshot, in one of its categories."""

    event_id: str
    snapshot: str = ""
    """The model that was checked; empty where the vendor does not say."""
    category: str
    passed: bool
    """False too where the vendor's words cannot be understood."""
    measured: bool = True
    """False where the vendor says itself that it measured nothing."""
    enforcement: str = ""
    """What the vendor does about a failure, as it says: `block`, `report`."""


class HostedJob(Record):
    """
    What a vendor's fine-tuning job said of itself. Nobody here saw rows or weights.

    Its checks never make a verdict of ours looser: one that failed blocks, one that passed is only shown.
    """

    schema_name: ClassVar[str] = "hosted-job"

    vendor: str
    """Address of the vendor's API, without a key."""
    job_id: str
    base_model: str
    """What it was tuned from, by the vendor's name."""
    tuned_model: str = ""
    """What the vendor calls the tuned model; empty until there is one."""
    training_file: str = ""
    validation_file: str | None = None
    method: str = ""
    hyperparameters: dict[str, int | float | str] = Field(default_factory=dict)
    seed: int | None = None
    status: str
    error: str = ""
    """Why it failed, in the vendor's words."""
    trained_tokens: int | None = None
    created_at: Moment
    finished_at: Moment | None = None
    events: tuple[HostedEvent, ...] = ()
    """Every event that was seen, the oldest first; one that is no longer told stays."""
    checks: tuple[HostedCheck, ...] = ()
    """Every verdict of an event of the type `moderation_checks`; those of checkpoints too."""
    pulled_at: Moment

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in ENDED

    def checks_of_model(self) -> tuple[HostedCheck, ...]:
        """Return the verdicts on the tuned model itself, and those of which nobody knows on what they are."""
        return tuple(one for one in self.checks if one.snapshot in ("", self.tuned_model))

    def spec(self, *, base: bool = False) -> str:
        """Return how engines open its model at the vendor, or its base."""
        return f"openai:{self.vendor}#{self.base_model if base else self.tuned_model}"

    def why_not(self) -> tuple[str, ...]:
        """Return every reason, as `code: words`, why its model may not be used, whatever we measure."""
        reasons = []
        if self.status != "succeeded":
            because = f": {self.error}" if self.error else ""
            reasons.append(f"vendor-job: the vendor's job is {self.status}{because}")
        elif not self.tuned_model:
            reasons.append("vendor-job: the vendor's job ended without a model")
        failed = [one for one in self.checks_of_model() if one.measured and not one.passed]
        return (*reasons, *(f"vendor-check: {one.category} failed the vendor's own check" for one in failed))

    def limitations(self) -> tuple[str, ...]:
        """Return what its certificate must say that nobody could see."""
        open_ = [one.category for one in self.checks_of_model() if not one.measured]
        return (
            "binds behaviour, not bytes: the weights lie at the vendor, who can change what the name answers with",
            "the rows and how they were learned from are the vendor's word, and were not seen",
            *(() if self.checks_of_model() else ("the vendor told of no checks of its own on this model",)),
            *((f"the vendor did not measure {', '.join(open_)}",) if open_ else ()),
        )


class ConnectedTune(Record):
    """A tune that came as files: from a folder or the hub, with what it says of its base."""

    schema_name: ClassVar[str] = "connected-tune"

    source_kind: Literal["folder", "hub"]
    source: str
    """The folder's name, or `org/name` at the hub."""
    revision: str = ""
    """The hub's commit."""
    named_base: str = ""
    """The base as the adapter's own configuration names it; whether it is, an evaluation shows."""
    delta_kind: Literal["lora-adapter", "merged-weights"]
    tuned: Manifest
    connected_at: Moment
