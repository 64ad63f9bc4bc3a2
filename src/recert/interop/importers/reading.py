"""What readers of other tools' files share: strict JSON lines, what a score stands for, and what was lost."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

from recert.digest import sha256_bytes, sha256_json
from recert.errors import InputError, RecordError, StoreError
from recert.records.record import parse_json
from recert.records.reports.evaluation import Estimand
from recert.records.reports.imported import ImportedOutcome, ImportedSuite, UnreadEntry

MAX_NAMED: Final = 100
"""Entries that could not be read are all counted; so many are named."""


@dataclass(frozen=True)
class Meaning:
    """What a tool's score stands for. `turned` where the tool's higher is better."""

    estimand: Estimand
    turned: bool = False

    def __str__(self) -> str:
        return f"1 - {self.estimand}" if self.turned else self.estimand

    @classmethod
    def parse(cls, text: str) -> Meaning:
        """
        Return the meaning that `harm` or `1-harm` names.

        Raises:
            InputError: there is no such estimand.
        """
        plain = text.replace(" ", "")
        turned = plain.startswith("1-")
        estimand = plain.removeprefix("1-")
        if estimand not in get_args(Estimand):
            raise InputError(
                "no such estimand",
                facts={"given": text, "there are": ", ".join(get_args(Estimand))},
                hint="put `1-` before it where the tool's higher score is better",
            )
        return cls(estimand, turned)  # type: ignore[arg-type]  # checked above


Known = Callable[[str], Meaning | None]
"""From a tool's name of a score to what it stands for; None where that is not known."""


@dataclass(frozen=True)
class Told:
    """What a file says of the run it is from."""

    version: str = ""
    model_name: str = ""
    also_read: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Where:
    """Which conversation an outcome is of, how many replies it has, and which of them (from 1) was the worst."""

    conversation: str
    turns: int
    worst_turn: int | None = None


class Reading:
    """
    Gathers outcomes. Whatever cannot be read or mapped is counted and named, never dropped in silence.

    Args:
        known: meanings of the tool's scores.
        given: meanings that the user gave, which come first.
    """

    def __init__(self, known: Known, given: Mapping[str, Meaning] | None = None) -> None:
        self.outcomes: list[ImportedOutcome] = []
        self.mapped: dict[str, str] = {}
        self.unmapped: Counter[str] = Counter()
        self.unread = 0
        self.unread_entries: list[UnreadEntry] = []
        self._known = known
        self.given = given or {}
        self._samples: Counter[tuple[str, str, str]] = Counter()

    def add(
        self,
        *,
        suite: str,
        prompt: str,
        scores: Mapping[str, object],
        condition: str = "plain",
        prompt_id: str = "",
        category: str = "",
        failed: str = "",
        where: Where | None = None,
    ) -> None:
        """
        Take one reply's scores under the tool's own names.

        Where several scores stand for one estimand the worst counts. Where one of them is missing or no
        fraction, so is the estimand: a judge that fails never makes a reply look better.
        """
        digest = sha256_bytes(prompt.encode("utf-8", "replace"))
        values: dict[Estimand, list[float]] = defaultdict(list)
        missing: dict[Estimand, str] = {}
        for name, raw in scores.items():
            meaning = self.meaning(name)
            if meaning is None:
                self.unmapped[name] += 1
                continue
            self.mapped[name] = str(meaning)
            value = _fraction(raw)
            if value is None:
                missing[meaning.estimand] = f"{name} gave no score in [0, 1]"
            else:
                values[meaning.estimand].append(1 - value if meaning.turned else value)
        key = (suite, condition, digest)
        self.outcomes.append(
            ImportedOutcome(
                suite=suite,
                prompt_id=prompt_id or digest[:16],
                prompt_sha256=digest,
                condition=condition,
                sample=self._samples[key],
                category=category,
                scores={e: max(found) for e, found in values.items() if e not in missing},
                failed="; ".join([*([failed] if failed else []), *missing.values()]) or None,
                **({"conversation": where.conversation, "turns": where.turns} if where else {}),
                worst_turn=where.worst_turn if where else None,
            )
        )
        self._samples[key] += 1

    def meaning(self, name: str) -> Meaning | None:
        """Return what a score of the tool stands for here: as the user said, else as is known."""
        return self.given.get(name) or self._known(name)

    def lost(self, where: str, because: str) -> None:
        """Count an entry that cannot be read, and name it."""
        self.unread += 1
        if len(self.unread_entries) < MAX_NAMED:
            self.unread_entries.append(UnreadEntry(where=where, because=because))

    def suites(self) -> tuple[ImportedSuite, ...]:
        """Return the sets of prompts that were met."""
        prompts: dict[str, set[str]] = defaultdict(set)
        for outcome in self.outcomes:
            prompts[outcome.suite].add(outcome.prompt_sha256)
        return tuple(
            ImportedSuite(name=name, prompts=len(digests), prompts_sha256=sha256_json(sorted(digests)))
            for name, digests in sorted(prompts.items())
        )

    def json_lines(self, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        """
        Yield where each line is and the object in it; lines that hold none are counted as lost.

        Raises:
            StoreError: the file cannot be read.
        """
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    if not line.strip():
                        continue
                    where = f"{path.name} line {number}"
                    try:
                        value = parse_json(line)
                    except RecordError as exc:
                        self.lost(where, f"{exc.message}: {exc.facts.get('because', '')}")
                        continue
                    if isinstance(value, dict):
                        yield where, value
                    else:
                        self.lost(where, "not a JSON object")
        except OSError as exc:
            raise StoreError("cannot read results", facts={"file": path, "because": exc.strerror}) from exc


def _fraction(raw: object) -> float | None:
    if isinstance(raw, bool | int | float):
        value = float(raw)
        return value if math.isfinite(value) and 0 <= value <= 1 else None
    return None


def text(value: object) -> str:
    """Return a value where it is text, else nothing."""
    return value if isinstance(value, str) else ""


def mapping(value: object) -> dict[str, Any]:
    """Return a value where it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[Any]:
    """Return a value where it is a JSON list, else an empty one."""
    return value if isinstance(value, list) else []
