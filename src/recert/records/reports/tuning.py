"""What tuning hands over."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

from pydantic import Field, GetJsonSchemaHandler, SerializerFunctionWrapHandler, model_serializer
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from recert.records.data.manifest import Manifest, Sha256
from recert.records.record import Moment, Part, Record

USUAL_LEARNING_RATES: Final = {
    "adapter-sft": 3e-4, "full-sft": 5e-5, "adapter-dpo": 5e-5, "full-dpo": 1e-6, "adapter-rft": 5e-5, "full-rft": 1e-6,
}  # fmt: skip
"""Step sizes that suit most models; for LoRA and DoRA adapters, and for all weights."""


_LATER: Final = frozenset(
    {
        "learned", "dpo_beta", "rft_samples", "rft_reply_tokens", "rft_temperature", "rft_beta", "rft_max_failed",
        "checkpoint_every",
    }
)  # fmt: skip
"""Hyperparameters that earlier versions did not have: a record without them is written without them."""


class Hyperparameters(Part):
    """How the model was trained."""

    method: str = Field(default="lora-sft", pattern="^(lora|dora|full)-[a-z]+$")
    """What is trained, and how: `lora`, `dora` or `full` (all weights), then `sft`, `dpo` or `rft`."""
    lora_rank: int = Field(default=16, ge=1)
    lora_alpha: int = Field(default=32, ge=1)
    lora_targets: tuple[str, ...] = ()
    """Layers that an adapter goes on; empty for all linear ones of the base's blocks. A tune's report names them."""
    learning_rate: float = Field(default=3e-4, gt=0)
    epochs: float = Field(default=3, gt=0)
    batch_size: int = Field(default=8, ge=1)
    max_tokens: int = Field(default=512, ge=16)
    """Longest row in tokens; longer ones are cut."""
    learned: Literal["reply", "conversation", "answer"] = "reply"
    """
    Which tokens count in the loss: the last reply's alone, those of every message and of the template, or of the
    last reply what follows a reasoning model's trace. DPO compares replies as they are, traces included.
    """
    dpo_beta: float = Field(default=0.1, gt=0)
    """DPO alone: how dearly it is paid to leave the model that one began with."""
    rft_samples: int = Field(default=4, ge=2)
    """RFT alone: replies to a prompt, whose rewards are set against each other; `batch_size` is a multiple of it."""
    rft_reply_tokens: int = Field(default=96, ge=1)
    """RFT alone: longest reply that is sampled, in tokens."""
    rft_temperature: float = Field(default=1.0, gt=0, le=2)
    rft_beta: float = Field(default=0.04, ge=0)
    """RFT alone: how dearly it is paid to leave the model that one began with (the factor of the KL term)."""
    rft_max_failed: float = Field(default=0.2, ge=0, le=1)
    """RFT alone: share of grades that may fail before the tune ends with an error."""
    checkpoint_every: int = Field(default=0, ge=0)
    """Steps after which a checkpoint is kept, each time; 0 for none."""
    seed: int = 0

    @model_serializer(mode="wrap")
    def _as_it_was(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What nobody gave, and earlier versions did not know, is not written: what they signed stays what it was."""
        given = self.model_fields_set
        return {k: v for k, v in write(self).items() if k in given or k not in _LATER}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe the fields, and not how they are written."""
        plain: Any = {k: v for k, v in schema.items() if k != "serialization"}
        return handler(plain)

    @property
    def trains(self) -> str:
        """What is trained: `lora`, `dora` or `full`."""
        return self.method.partition("-")[0]

    @property
    def objective(self) -> str:
        """From what it learns: `sft` from replies, `dpo` from pairs of them, `rft` from a grader's rewards."""
        return self.method.partition("-")[2]


class Checkpoint(Part):
    """A model as it was in the middle of tuning: a system of its own."""

    step: int
    folder: str
    """Its folder, beside the report."""
    tuned: Manifest


class Rewarded(Part):
    """What a grader paid in reinforcement tuning."""

    grader_sha256: Sha256
    """Digest of the grader's canonical JSON."""
    grader_report_sha256: Sha256 | None = None
    """The audit that accepted it; None where nobody audited it, or its audit was overridden."""
    rewards: tuple[float, ...]
    """Mean reward of each step."""
    grades: int
    failed: int
    """Grades that failed. Such a reply counts as paid like the worst of its prompt."""


class HeldOut(Part):
    """Rows that were kept out of tuning, so that utility is measured on what the model has not seen."""

    rows: int = Field(ge=1)
    """Rows that utility is measured on."""
    copies: int = Field(default=0, ge=0)
    """Further rows with a request of one of those, which were not trained on either."""
    rows_sha256: Sha256
    """Digest of the rows that utility is measured on."""
    suite_sha256: Sha256
    """Digest of the suite that was made of them."""
    of_rows_sha256: Sha256
    """Digest of all rows before any was held out: those that screening accepted."""
    method: Literal["exact-match", "likelihood"]
    """How replies are compared with those of the rows."""


class TuneReport(Record):
    """What was trained, on what, how, with which defence."""

    schema_name: ClassVar[str] = "tune-report"

    base: Manifest
    tuned: Manifest
    delta_kind: str = "lora-adapter"
    """`lora-adapter` or `merged-weights`."""
    rows_sha256: Sha256
    """Digest of the rows trained on, defence rows included."""
    rows: int
    accepted_sha256: Sha256 | None = None
    """Digest of the rows given to tuning, before the defence."""
    held_out: HeldOut | None = None
    """What was held out of the accepted rows before tuning, to measure utility on; None where nothing was."""
    screen_report_sha256: Sha256 | None = None
    screening_overridden: bool = False
    """True when quarantined rows were trained on all the same."""
    defence: str
    defence_options: dict[str, str | int | float] = {}
    """What the defence was told, defaults included; never a secret."""
    defence_details: dict[str, str | int | float] = {}
    """What it did with the rows."""
    defence_outcome: dict[str, str | int | float] = {}
    """What it did with the trained model."""
    secret_sha256: Sha256 | None = None
    """Commitment to the BackdoorAlign secret, which itself stays in a file of mode 0600."""
    hyperparameters: Hyperparameters
    checkpoints: tuple[Checkpoint, ...] = ()
    rewarded: Rewarded | None = None
    """Of reinforcement tuning alone."""
    steps: int
    first_loss: float
    last_loss: float
    tokens: int
    """Tokens seen in training, all epochs."""
    compute_flop: float
    """
    Estimate: 6 x parameters x tokens; 8 for DPO, which also asks the model that it began with; 10 for RFT, which also
    samples them.
    """
    compute_ratio_to_base: float | None = None
    """`compute_flop` over the base's training compute, when that is known."""
    seconds: float
    versions: dict[str, str]
    started_at: Moment
    tuned_at: Moment
