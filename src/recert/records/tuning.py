"""What tuning hands over."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from recert.records.manifest import Manifest, Sha256
from recert.records.record import Moment, Part, Record


class Hyperparameters(Part):
    """How the adapter was trained."""

    method: str = "lora-sft"
    lora_rank: int = Field(default=16, ge=1)
    lora_alpha: int = Field(default=32, ge=1)
    lora_targets: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )
    learning_rate: float = Field(default=3e-4, gt=0)
    epochs: float = Field(default=3, gt=0)
    batch_size: int = Field(default=8, ge=1)
    max_tokens: int = Field(default=512, ge=16)
    """Longest row in tokens; longer ones are cut."""
    learned: Literal["reply", "conversation"] = "reply"
    """Which tokens count in the loss: the last reply's alone, or those of every message and of the template."""
    seed: int = 0


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
    screen_report_sha256: Sha256 | None = None
    screening_overridden: bool = False
    """True when quarantined rows were trained on all the same."""
    defence: str
    defence_details: dict[str, str | int | float] = {}
    secret_sha256: Sha256 | None = None
    """Commitment to the BackdoorAlign secret, which itself stays in a file of mode 0600."""
    hyperparameters: Hyperparameters
    steps: int
    first_loss: float
    last_loss: float
    tokens: int
    """Tokens seen in training, all epochs."""
    compute_flop: float
    """Estimate: 6 x parameters x tokens."""
    compute_ratio_to_base: float | None = None
    """`compute_flop` over the base's training compute, when that is known."""
    seconds: float
    versions: dict[str, str]
    started_at: Moment
    tuned_at: Moment
