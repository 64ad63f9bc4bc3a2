"""What tests of the audit log share: exchanges, logs, and keys for checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recert.certification import SigningKey, generate_key
from recert.digest import sha256_bytes
from recert.records.live.exchange import Exchange
from recert.records.record import now
from recert.store.audit.checkpoints import CheckpointPlan
from recert.store.audit.log import AuditLog

NODE = "node-a"


def exchange(number: int = 1, **changes: Any) -> Exchange:
    """Return a small exchange."""
    fields: dict[str, Any] = {
        "request_id": f"r{number}",
        "client": "local",
        "certificate_serial": "s",
        "model_name": "m",
        "request_sha256": sha256_bytes(b"q"),
        "reply_sha256": sha256_bytes(b"a"),
        "decision": "released",
        "streamed": False,
        "released_chars": 1,
        "seconds": 0.1,
        "received_at": now(),
    }
    return Exchange.model_validate(fields | changes)


def audit_key(folder: Path, name: str = "audit") -> SigningKey:
    """Make a key for checkpoints."""
    return generate_key(folder / f"{name}.pem", "audit", name)


def plan(key: SigningKey, *to: Path | str, every_lines: int = 10, every_s: float = 60.0) -> CheckpointPlan:
    """Return a plan that signs every few lines."""
    return CheckpointPlan(key, to, every_lines, every_s)


def write_log(path: Path, lines: int = 6, **options: Any) -> Path:
    """Write a log of some lines."""
    with AuditLog(path, node=NODE, **options) as audit:
        for number in range(lines):
            audit.append(exchange(number))
    return path
