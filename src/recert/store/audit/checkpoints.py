"""Signed checkpoints of an audit log: made while it is written, kept beside it and elsewhere."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from recert.errors import RecordError, StoreError
from recert.records.live.audit import AuditCheckpoint
from recert.records.record import now
from recert.store.files.writing import append_line, read_bytes

if TYPE_CHECKING:
    from recert.store.audit.export import Exporter

log = logging.getLogger("recert.audit")


class Checks(Protocol):
    """The public half of a key, as `recert.certification.PublicKey` is one."""

    @property
    def key_id(self) -> str:
        """Digest of the raw key."""

    def signed(self, signature: bytes, message: bytes) -> bool:
        """Say whether this key made that signature over that message."""


class Signs(Protocol):
    """A key that signs, as `recert.certification.SigningKey` is one."""

    @property
    def public(self) -> Checks:
        """Its public half."""

    @property
    def sign(self) -> Callable[[bytes], bytes]:
        """From a message to its signature."""


@dataclass(frozen=True)
class CheckpointPlan:
    """
    Who signs checkpoints, how often, and where copies of them go.

    `to` are folders and URLs; folders get a line a checkpoint, URLs a request each (see `Exporter`).
    A checkpoint is signed after so many lines, or so many seconds after the first line that is not signed
    yet, and at the end.
    """

    key: Signs
    to: Sequence[str | Path] = ()
    every_lines: int = 1000
    every_s: float = 10.0


@dataclass(frozen=True)
class AuditLag:
    """How far signed checkpoints, here and elsewhere, are behind the log."""

    lines: int
    """Lines of the log."""
    signed_lines: int
    """Lines that a signed checkpoint covers."""
    exported_lines: int
    """Lines that a checkpoint covers which every place elsewhere has."""
    exported_s: float
    """Seconds for which the slowest of those places has been behind."""
    problem: str
    """Why it is behind, or an empty text."""


def signed_path(path: Path) -> Path:
    """Return where the signed checkpoints of a log in files lie."""
    return path.with_name(path.name + ".checkpoints")


class CheckpointSigner:
    """
    Signs where a log stands. Never fails: what cannot be signed or kept now is behind, and tried again.

    Args:
        plan: who signs, how often, where to.
        node: the gateway that writes the log.
        name: the log's name there.
        beside: file for the checkpoints of this log; None for none.
    """

    def __init__(self, plan: CheckpointPlan, node: str, name: str, beside: Path | None) -> None:
        self._plan = plan
        self._node = node
        self._name = name
        self._beside = beside
        self._exporters = [_exporter(place, f"{node}.{name}") for place in plan.to]
        self._signed = 0
        self._waiting_since: float | None = None
        self._problem = ""

    def restart(self, seq: int) -> None:
        """Begin with a log of so many lines, none of which is taken to be signed elsewhere."""
        if seq:
            self._waiting_since = 0.0

    def wait_s(self) -> float | None:
        """Return in how many seconds `look` wants to be called at the latest; None for whenever there are lines."""
        if self._waiting_since is None:
            return None
        return max(0.05, self._waiting_since + self._plan.every_s - time.monotonic())

    def look(self, seq: int, sha256: str, *, force: bool = False, final: bool = False) -> None:
        """Take where the log stands; sign it when that is due."""
        if not seq or (seq == self._signed and not final):
            return
        at = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = at
        due = seq - self._signed >= self._plan.every_lines or at - self._waiting_since >= self._plan.every_s
        if not (due or force or final):
            return
        try:
            checkpoint = self._sign(seq, sha256, final=final)
            if self._beside is not None:
                append_line(self._beside, checkpoint.to_json() + b"\n")
        except Exception as exc:  # a hardware module may raise anything; replies go on, and the lag shows it
            self._problem = f"cannot sign a checkpoint: {exc}".splitlines()[0]
            self._waiting_since = at
            log.warning("%s", self._problem)
            return
        self._problem, self._signed, self._waiting_since = "", seq, None
        for exporter in self._exporters:
            exporter.put(checkpoint)

    def _sign(self, seq: int, sha256: str, *, final: bool) -> AuditCheckpoint:
        bare = AuditCheckpoint(
            node=self._node,
            log=self._name,
            seq=seq,
            sha256=sha256,
            signed_at=now(),
            final=final,
            key_id=self._plan.key.public.key_id,
        )
        signature = base64.b64encode(self._plan.key.sign(bare.signed_bytes())).decode()
        return bare.model_copy(update={"signature": signature})

    def lag(self, lines: int) -> AuditLag:
        """Return how far behind a log of so many lines this is."""
        behind = [e for e in self._exporters if e.accepted_seq < lines]
        return AuditLag(
            lines=lines,
            signed_lines=self._signed,
            exported_lines=min((e.accepted_seq for e in self._exporters), default=0),
            exported_s=max((e.behind_s() for e in behind), default=0.0),
            problem=self._problem or next((e.problem for e in behind if e.problem), ""),
        )

    def close(self) -> None:
        """Let exporters deliver what waits, for a few seconds."""
        for exporter in self._exporters:
            exporter.close()


def _exporter(place: str | Path, name: str) -> Exporter:
    from recert.store.audit.export import Exporter  # with an HTTP client, which most gateways do without

    return Exporter(place, name)


def is_signed(checkpoint: AuditCheckpoint, keys: Sequence[Checks]) -> bool:
    """Say whether one of these keys signed a checkpoint."""
    try:
        signature = base64.b64decode(checkpoint.signature, validate=True)
    except ValueError:
        return False
    return any(
        key.key_id == checkpoint.key_id and key.signed(signature, checkpoint.signed_bytes()) for key in keys
    )


def read_checkpoints(place: Path, keys: Sequence[Checks]) -> Iterator[AuditCheckpoint]:
    """
    Yield the checkpoints in a file, or in the `.json`, `.jsonl` and `.checkpoints` files of a folder.

    The last line of a file may be cut, as a crash leaves it: it says nothing.

    Raises:
        StoreError: the file or folder cannot be read.
        RecordError: something else is in it, or a checkpoint that none of these keys signed.
    """
    try:
        files = sorted(p for p in place.iterdir() if p.suffix in (".json", ".jsonl", ".checkpoints")) if (
            place.is_dir()
        ) else [place]  # fmt: skip
    except OSError as exc:
        raise StoreError("cannot read checkpoints", facts={"folder": place, "because": exc.strerror}) from exc
    for file in files:
        whole, _, rest = read_bytes(file, "checkpoints of an audit log").rpartition(b"\n")
        lines = whole.split(b"\n") if whole else []
        if rest and file.suffix == ".json":
            lines.append(rest)  # an object as it was put, without an end of line
        for raw in lines:
            checkpoint = AuditCheckpoint.from_json(raw)
            if not is_signed(checkpoint, keys):
                raise RecordError(
                    "checkpoint is not signed by a key that was given",
                    facts={"file": file, "line": checkpoint.seq, "key": checkpoint.key_id},
                )
            yield checkpoint


def marks_beside(path: Path, key: Checks) -> dict[int, str]:
    """
    Return what the checkpoints beside a log say of its lines, those that this key signed.

    Raises:
        StoreError: they cannot be read.
        RecordError: the file holds something else.
    """
    beside = signed_path(path)
    if not beside.exists():
        return {}
    found = (AuditCheckpoint.from_json(raw) for raw in read_bytes(beside, "checkpoints").split(b"\n")[:-1])
    return {c.seq: c.sha256 for c in found if is_signed(c, [key])}
