"""Labels on disk: what each labeller said so far, key press by key press, and the record that is made of it."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime
from pathlib import Path
from typing import Any, Final, get_args

from recert.errors import InputError, RecordError, StoreError
from recert.evaluation.labelling import can_grow
from recert.records import Label, LabelledEstimand, LabelNote, Labels
from recert.records.record import now
from recert.store.files import read_bytes

LABELS_FILE: Final = "labels.json"
LABELS_FOLDER: Final = "labels"
LABEL_NAMES: Final[tuple[Label, ...]] = get_args(Label)
_NAME: Final = re.compile(r"[\w.:-]([\w.:() -]{0,62}[\w.:)-])?")


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

    Args:
        folder: the evaluation's; the file lies in `labels` there.
        name: the labeller's.
        kind: `person` or `judge`.
        outcomes_sha256: the outcomes that are labelled.
        replies: how many replies of each arm the sample has. A file that was begun with fewer goes on with more where
            `can_grow` says so: what was labelled stands.
        about: what the labels are for; each has places of its own, from 0.

    Raises:
        InputError: the name is none, or the file was begun with another number of replies.
        RecordError: the file is damaged or about other outcomes.
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
    ) -> None:
        if not _NAME.fullmatch(name):
            raise InputError(
                "a labeller needs a name of letters, digits and -_.:",
                facts={"given": name},
                hint="give --labeller",
            )
        self.name, self.kind = name, kind
        self.path = folder / LABELS_FOLDER / f"{re.sub(r'[^0-9A-Za-z_.-]', '_', name)}.jsonl"
        self._head: dict[str, Any] = {
            "labeller": name,
            "kind": kind,
            "outcomes_sha256": outcomes_sha256,
            "replies": replies,
        }
        self.about = about
        self.labels: dict[int, Label] = {}
        self.labelled_at: datetime | None = None
        if self.path.exists():
            self._read()
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._append(self._head)

    def set(self, at: int, label: Label) -> None:
        """Keep the label of the reply at a place of the order of showing. Raises StoreError."""
        self.labelled_at = now()
        of = {"about": self.about} if self.about != "harm" else {}
        self._append({"at": at, "label": label, "when": f"{self.labelled_at:%Y-%m-%dT%H:%M:%SZ}", **of})
        self.labels[at] = label

    def _append(self, value: dict[str, object]) -> None:
        try:
            with self.path.open("ab") as file:
                file.write(json.dumps(value, sort_keys=True).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            facts = {"file": self.path, "because": exc.strerror}
            raise StoreError("cannot write a label", facts=facts) from exc

    def _read(self) -> None:
        whole = read_bytes(self.path, "labels")
        lines = whole.splitlines(keepends=True)
        try:
            if lines and not lines[-1].endswith(
                b"\n"
            ):  # cut off while it was written: that key press is lost
                os.truncate(self.path, len(whole) - len(lines.pop()))
            head = json.loads(lines[0]) if lines else {}
            for line in lines[1:]:
                one = json.loads(line)
                if "replies" in one:
                    head |= {"replies": int(one["replies"])}
                    continue
                if one["label"] not in LABEL_NAMES or not isinstance(one["at"], int):
                    raise ValueError(f"no label: {one}")
                self.labelled_at = datetime.fromisoformat(one["when"])
                if one.get("about", "harm") == self.about:
                    self.labels[one["at"]] = one["label"]
        except (ValueError, KeyError, TypeError) as exc:
            facts = {"file": self.path, "because": exc}
            raise RecordError("not what a labeller said", facts=facts, hint="move the file away") from exc
        before = head.get("replies")
        if isinstance(before, int) and before < self._head["replies"] and can_grow(before):
            head |= {"replies": self._head["replies"]}
            if head == self._head:
                self._append({"replies": head["replies"]})
        if head != self._head:
            other = next(name for name in self._head if head.get(name) != self._head[name])
            raise InputError(
                "labelling was begun otherwise",
                facts={"file": self.path, other: head.get(other), "now": self._head[other]},
                hint="go on as it was begun; the sample is drawn once",
            )
