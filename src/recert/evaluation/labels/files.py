"""Labels on disk: what each labeller said so far, key press by key press, and the record that is made of it."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, get_args

from recert.errors import InputError, RecordError, StoreError
from recert.evaluation.labels.labelling import can_grow
from recert.records.record import now
from recert.records.reports.labels import Label, LabelledEstimand, LabelNote, Labels
from recert.store.files.writing import read_bytes

LABELS_FILE: Final = "labels.json"
LABELS_FOLDER: Final = "labels"
LABEL_NAMES: Final[tuple[Label, ...]] = get_args(Label)
_NAME: Final = re.compile(r"[\w.:@+-]([\w.:@+() -]{0,118}[\w.:@+)-])?")
_NOT_IN_FILE_NAMES: Final = re.compile(r"[^0-9A-Za-z_.@+-]")


def read_labels(folder: Path, note: LabelNote | None) -> Labels | None:
    """
    Return the labels that a report or certificate names, from beside the outcomes; None where it names none.

    Raises:
        StoreError: there is no such file.
        RecordError: it holds other labels.
    """
    if note is None:
        return None
    labels = Labels.from_json(read_bytes(folder / LABELS_FILE, "labels"))
    if labels.digest != note.labels_sha256:
        raise RecordError(
            "the labels on disk are not those that are named",
            facts={"expected": note.labels_sha256, "on disk": labels.digest},
        )
    return labels


class LabellerFile:
    """
    What one labeller said so far: a line a key press, on disk before the next reply is shown. The last one counts.

    Several processes may have it open: one at a time writes.

    Args:
        folder: the evaluation's; the file lies in `labels` there, and is made where there is none.
        name: the labeller's.
        kind: `person` or `judge`.
        outcomes_sha256: the outcomes that are labelled.
        replies: how many replies of each arm the sample has. A file that was begun with fewer goes on with more where
            `can_grow` says so: what was labelled stands.
        about: what the labels are for; each has places of its own, from 0.
        decided: labels of this labeller that decided the evaluation, by place: they stay as they are.

    Raises:
        InputError: the name is none, or the file was begun about other outcomes or with another number of replies.
        RecordError: the file is damaged.
        StoreError: it cannot be read or written.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        kind: str,
        outcomes_sha256: str,
        replies: int,
        about: LabelledEstimand = "harm",
        *,
        decided: Mapping[int, Label] | None = None,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise InputError(
                "a labeller needs a name of letters, digits and -_.:@+",
                facts={"given": name},
                hint="give --labeller",
            )
        self.name, self.kind, self.about = name, kind, about
        self.path = folder / LABELS_FOLDER / f"{_NOT_IN_FILE_NAMES.sub('_', name)}.jsonl"
        self._head: dict[str, Any] = {
            "labeller": name,
            "kind": kind,
            "outcomes_sha256": outcomes_sha256,
            "replies": replies,
        }
        self._decided = decided or {}
        self.labels: dict[int, Label] = {}
        """By the place of the reply in the order of showing; what was said last comes last."""
        self.labelled_at: datetime | None = None
        lines = _whole_lines(read_bytes(self.path, "labels")) if self.path.exists() else b""
        self._read((lines or self._append(self._head, first=True)).splitlines())

    @property
    def last(self) -> int | None:
        """The place of the reply whose label was given last and can be taken back; None where there is none."""
        return next((at for at in reversed(self.labels) if at not in self._decided), None)

    def set(self, at: int, label: Label) -> None:
        """
        Keep the label of the reply at a place of the order of showing.

        Raises:
            InputError: another label of this reply decided the evaluation.
            StoreError: it cannot be written.
        """
        if self._decided.get(at, label) != label:
            raise InputError(
                "another label of this reply decided the evaluation, so it stays",
                facts={"reply": at + 1, "label": self._decided[at], "now": label},
                hint="evaluate again: that is the next attempt, and draws other replies",
            )
        self._write(at, label)
        self.labels.pop(at, None)
        self.labels[at] = label

    def undo(self) -> int | None:
        """
        Take back what was said last, so that this reply has no label; None where nothing was said.

        Returns:
            The place of the reply.

        Raises:
            StoreError: it cannot be written.
        """
        at = self.last
        if at is not None:
            self._write(at, None)
            del self.labels[at]
        return at

    def next(self, total: int) -> int:
        """Return the place of the first reply without a label; `total`, the number of replies, where all have one."""
        return next((at for at in range(total) if at not in self.labels), total)

    def left(self, total: int) -> int:
        """Return how many replies have no label yet."""
        return sum(at not in self.labels for at in range(total))

    def _write(self, at: int, label: Label | None) -> None:
        self.labelled_at = now()
        of = {"about": self.about} if self.about != "harm" else {}
        self._append({"at": at, "label": label, "when": f"{self.labelled_at:%Y-%m-%dT%H:%M:%SZ}", **of})

    def _append(self, value: dict[str, object], *, first: bool = False) -> bytes:
        """Append a line, while no other process writes, or only where it is the first; return all lines."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                lines = _whole_lines(file.read())
                file.truncate(len(lines))
                if not (first and lines):
                    line = json.dumps(value, sort_keys=True).encode() + b"\n"
                    file.write(line)
                    lines += line
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            facts = {"file": self.path, "because": exc.strerror}
            raise StoreError("cannot write a label", facts=facts) from exc
        return lines

    def _read(self, lines: list[bytes]) -> None:
        try:
            head = head_of(lines)
            for one in map(json.loads, lines[1:]):
                if "replies" in one:
                    continue
                if one["label"] not in (*LABEL_NAMES, None) or not isinstance(one["at"], int):
                    raise ValueError(f"no label: {one}")
                self.labelled_at = datetime.fromisoformat(one["when"])
                if one.get("about", "harm") != self.about:
                    continue
                self.labels.pop(one["at"], None)
                if one["label"] is not None:  # else it was taken back
                    self.labels[one["at"]] = one["label"]
        except (ValueError, KeyError, TypeError) as exc:
            facts = {"file": self.path, "because": exc}
            raise RecordError("not what a labeller said", facts=facts, hint="move the file away") from exc
        before, replies = head.get("replies"), self._head["replies"]
        if isinstance(before, int) and before < replies and can_grow(before):
            head |= {"replies": replies}
            if head == self._head:
                self._append({"replies": replies})
        if head != self._head:
            other = next(name for name in self._head if head.get(name) != self._head[name])
            raise InputError(
                "labelling was begun otherwise",
                facts={"file": self.path, other: head.get(other), "now": self._head[other]},
                hint="it is about an evaluation that was made again since: move the file away"
                if other == "outcomes_sha256"
                else "go on as it was begun; the sample is drawn once",
            )


def head_of(lines: list[bytes]) -> dict[str, Any]:
    """
    Return how a labeller began, by the lines of their file, with the number of replies that they have gone on to.

    Raises:
        ValueError, IndexError, TypeError, KeyError: they are not those of a labeller's file.
    """
    head = dict(json.loads(lines[0]))
    grown = [int(one["replies"]) for one in map(json.loads, lines[1:]) if "replies" in one]
    return head | {"replies": max(head["replies"], *grown)} if grown else head


def read_head(path: Path) -> dict[str, Any]:
    """
    Return how a labeller began, as `head_of`.

    Raises:
        RecordError: the file is damaged.
        StoreError: it cannot be read.
    """
    try:
        return head_of(_whole_lines(read_bytes(path, "labels")).splitlines())
    except (ValueError, IndexError, TypeError, KeyError) as exc:
        raise RecordError("not what a labeller said", facts={"file": path, "because": exc}) from exc


def _whole_lines(data: bytes) -> bytes:
    """Without what was cut off while it was written: that key press is lost."""
    return data[: data.rfind(b"\n") + 1]
