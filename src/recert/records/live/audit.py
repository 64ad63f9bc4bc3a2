"""What a signed checkpoint of an audit log says."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from recert.digest import canonical_json
from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Record

_CONTEXT = b"recert audit checkpoint\n"


class AuditCheckpoint(Record):
    """Where an audit log stood: so many lines, and the digest of the last. Signed, and kept elsewhere."""

    schema_name: ClassVar[str] = "audit-checkpoint"

    node: str
    """The gateway that writes the log."""
    log: str
    """Name of the log on that node."""
    seq: int = Field(ge=1)
    """Number of the last line."""
    sha256: Sha256
    """Digest of the last line."""
    signed_at: Moment
    final: bool = False
    """True where the gateway was stopped on purpose after this line."""
    key_id: Sha256
    signature: str = ""
    """By the key's algorithm, base64, over `signed_bytes`."""

    def signed_bytes(self) -> bytes:
        """Return what is signed: a line that says what it is for, then the canonical JSON of all but the signature."""
        value: dict[str, Any] = {k: v for k, v in self.to_value().items() if k != "signature"}
        return _CONTEXT + canonical_json(value)

    @property
    def source(self) -> str:
        """Which log of which gateway this is of."""
        return f"{self.node}/{self.log}"
