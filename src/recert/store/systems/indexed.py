"""What the console's list says of a system and of an outcome, and how both lie in a table."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

RECORD_NAMES: Final = ("screen", "tune", "evaluation", "hunt", "attack", "stress", "certificate", "watch")
"""Records that a system may have, by the stage that makes them."""
KINDS: Final = ("base", "tune", "checkpoint")
"""What a system may be."""
STATES: Final = (
    "none", "awaiting", "signed", "expired", "suspended", "revoked", "stale", "refused", "unreadable",
)  # fmt: skip
"""States of a certificate. Only `signed` is a yes; what cannot be determined is `unreadable`."""
NEVER: Final = 2**62
"""In a table, a time that there is none of: later than any."""
_LONGEST: Final = 255
_LONGEST_WORDS: Final = 600
_LONGEST_NAME: Final = 60
_LONGEST_PLACE: Final = 2000


@dataclass(frozen=True)
class IndexedSystem:
    """One system: a base, a tune or a checkpoint, with what its records say."""

    id: str
    """Stable, and safe in a path: letters and digits."""
    name: str
    kind: str
    """`base`, `tune` or `checkpoint`."""
    base: str
    """Name of the base; for a base its own."""
    parent: str
    """Id of the system that it was made from, where that is listed too; else empty."""
    verdict: str
    """Of its evaluation; empty where there is none."""
    state: str
    """
    Of its certificate: `none`, `awaiting`, `signed`, `expired`, `suspended`, `revoked`, `stale`, `refused` or
    `unreadable`.
    """
    serial: str
    """Of its certificate; empty where there is none."""
    expires_at: datetime | None
    updated_at: datetime
    folder: Path
    records: Mapping[str, Path] = field(default_factory=dict)
    """Where its records lie, by the names in RECORD_NAMES; those that are not there are left out."""
    reason: str = ""
    """Why the state is what it is, in words, where there is something to say."""
    waits_for: tuple[str, ...] = ()
    """Roles whose signatures an awaiting certificate waits for."""
    changes_at: datetime | None = None
    """When the state becomes `becomes` by itself, because a certificate, a key or a status list ends."""
    becomes: str = ""
    place: bytes = b""
    """Sorts a system right behind what it was made from, see `place_of`."""
    depth: int = 0
    """How many systems it was made of, one after the other; 0 for a base."""
    judged_by: str = ""
    """Digest of everything that its state was made from."""

    def at(self, now: datetime) -> IndexedSystem:
        """Return the system as it is at a time: what has ended meanwhile has ended."""
        if self.changes_at is None or now < self.changes_at:
            return self
        return replace(self, state=self.becomes, reason=PASSED, changes_at=None, becomes="")


PASSED: Final = "its time is over"
"""The reason of a state that came by itself."""


@dataclass(frozen=True)
class IndexedOutcome:
    """One reply of an evaluation, as it was judged; its text is left where it lies."""

    system: str
    """Id of the system."""
    suite: str
    prompt_id: str
    category: str
    """Hazard category of the prompt; empty where it is not known."""
    condition: str
    arm: str
    """`base` or `tuned`."""
    label: str
    """
    The gravest of what was found: an estimand, such as `harm`; else why it is no answer, such as `failed`; else
    `clean`.
    """
    scores: Mapping[str, float]
    sample: int = 0
    safeguards: tuple[str, ...] = ()
    stop_reason: str = ""
    reply_sha256: str = ""


def place_of(name: str, id_: str, above: bytes = b"") -> bytes:
    """Return what sorts a system by its name, right behind the one whose place is `above`."""
    named = name.casefold().replace("\0", " ")[:_LONGEST_NAME].encode("utf-8", "replace")
    place = above + named + b"\0" + id_.encode() + b"\0"
    return place if len(place) <= _LONGEST_PLACE else above


def system_row(system: IndexedSystem) -> dict[str, Any]:
    """Return a system as a row."""
    name = _cut(system.name)
    return {
        "id": system.id,
        "name": name,
        "folded": _cut(f"{name}\n{system.serial}\n{system.base}".casefold(), _LONGEST_WORDS),
        "kind": system.kind,
        "base": _cut(system.base),
        "parent": system.parent,
        "verdict": system.verdict,
        "state": system.state,
        "reason": _cut(system.reason, 2000),
        "waits_for": "".join(f"{role}," for role in ("", *system.waits_for)) if system.waits_for else "",
        "changes_s": _seconds(system.changes_at),
        "becomes": system.becomes,
        "serial": system.serial[:64],
        "expires_s": _seconds(system.expires_at),
        "updated_s": _seconds(system.updated_at),
        "place": system.place or place_of(name, system.id),
        "depth": system.depth,
        "folder": str(system.folder),
        "judged_by": system.judged_by,
        "records": json.dumps({key: str(path) for key, path in system.records.items()}),
    }


def system_of(row: Any) -> IndexedSystem:
    """Return the system in a row."""
    return IndexedSystem(
        id=row.id,
        name=row.name,
        kind=row.kind,
        base=row.base,
        parent=row.parent,
        verdict=row.verdict,
        state=row.state,
        serial=row.serial,
        expires_at=_moment(row.expires_s),
        updated_at=_moment(row.updated_s) or datetime.fromtimestamp(0, UTC),
        folder=Path(row.folder),
        records={key: Path(path) for key, path in json.loads(row.records).items()},
        reason=row.reason,
        waits_for=tuple(role for role in row.waits_for.split(",") if role),
        changes_at=_moment(row.changes_s),
        becomes=row.becomes,
        place=bytes(row.place),
        depth=row.depth,
        judged_by=row.judged_by,
    )


def outcome_row(outcome: IndexedOutcome) -> dict[str, Any]:
    """Return an outcome as a row."""
    return {
        "system": outcome.system,
        "suite": _cut(outcome.suite),
        "prompt_id": _cut(outcome.prompt_id),
        "category": _cut(outcome.category),
        "condition": _cut(outcome.condition),
        "arm": outcome.arm[:16],
        "label": outcome.label[:32],
        "sample": min(max(outcome.sample, 0), 2**31 - 1),
        "safeguards": _cut(",".join(outcome.safeguards)),
        "scores": json.dumps(dict(outcome.scores)),
        "stop_reason": outcome.stop_reason[:32],
        "reply_sha256": outcome.reply_sha256[:64],
    }


def outcome_of(row: Any) -> IndexedOutcome:
    """Return the outcome in a row."""
    return IndexedOutcome(
        system=row.system,
        suite=row.suite,
        prompt_id=row.prompt_id,
        category=row.category,
        condition=row.condition,
        arm=row.arm,
        label=row.label,
        scores=json.loads(row.scores),
        sample=row.sample,
        safeguards=tuple(name for name in row.safeguards.split(",") if name),
        stop_reason=row.stop_reason,
        reply_sha256=row.reply_sha256,
    )


def pack_cursor(value: bytes | str | int, last: str | int) -> str:
    """Return where a page ended, as text for a link."""
    shown = value.hex() if isinstance(value, bytes) else value
    return base64.urlsafe_b64encode(json.dumps([shown, last]).encode()).decode().rstrip("=")


def read_cursor(cursor: str, kind: type[bytes] | type[str] | type[int]) -> tuple[Any, str] | None:
    """Return the value and the id with which a page ended; None where the text is no such cursor."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        value, last = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if kind is bytes and isinstance(value, str):
            value = bytes.fromhex(value)
    except (ValueError, TypeError, RecursionError, binascii.Error):
        return None
    whole = isinstance(value, kind) and not isinstance(value, bool) and isinstance(last, str)
    big = isinstance(value, int) and abs(value) > NEVER
    return (value, last) if whole and not big and "\0" not in last else None


def _cut(text: str, longest: int = _LONGEST) -> str:
    """What a table takes: no zero characters, no halves of characters, not too long."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()[:longest]


def _seconds(at: datetime | None) -> int:
    return NEVER if at is None else int(at.timestamp())


def _moment(seconds: int) -> datetime | None:
    return None if seconds >= NEVER else datetime.fromtimestamp(seconds, UTC)
