"""What a defence gives back."""

from __future__ import annotations

from dataclasses import dataclass, field

from recert.models.secret import SecretPrefix
from recert.records import ChatRow


@dataclass(frozen=True)
class Defended:
    """The rows to train on, figures for the report, and the secret where the defence made one."""

    rows: tuple[ChatRow, ...]
    details: dict[str, str | int | float] = field(default_factory=dict)
    secret: SecretPrefix | None = None
