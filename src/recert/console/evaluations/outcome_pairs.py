"""Both arms' replies to the same prompts, as an evaluation's file of outcomes has them, found without holding texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import orjson
from pydantic import ValidationError

from recert.console.kept_records import stamp
from recert.digest import sha256_bytes
from recert.errors import RecordError, StoreError
from recert.evaluation.report.outcomes import REDACTED
from recert.evaluation.stage import HARMFUL_FILE, OUTCOMES_FILE
from recert.records.reports.evaluation import Outcome

Change = Literal["worse", "better", "same", "not judged"]
"""What tuning did to one prompt, by the scores of both replies."""
_KEPT: Final = 4
"""Evaluations whose pairs are kept in memory."""


class Key(NamedTuple):
    """What was asked: a prompt of a suite under a condition, and which of several replies."""

    suite: str
    condition: str
    prompt_id: str
    sample: int


class Pair(NamedTuple):
    """One prompt under one condition: where both replies stand in the file, in bytes; the base's may be missing."""

    key: Key
    safeguards: tuple[str, ...]
    base_at: int | None
    tuned_at: int
    change: Change


@dataclass(frozen=True)
class Pairs:
    """The pairs of one evaluation, in the order of asking, and the digest of the file that was read."""

    path: Path
    sha256: str
    pairs: tuple[Pair, ...]
    suites: tuple[str, ...]
    conditions: tuple[str, ...]
    changes: frozenset[Change]
    prompts: frozenset[tuple[str, str]]
    """Suite and id of each prompt that was asked."""

    def outcome(self, at: int) -> Outcome:
        """
        Return the outcome whose line begins at a byte.

        Raises:
            StoreError: the file cannot be read.
            RecordError: no outcome stands there.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(at)
                return _outcome(file.readline())
        except OSError as exc:
            raise StoreError("cannot read the outcomes", facts={"because": exc.strerror}) from exc


def pairs_beside(report: Path) -> Pairs | None:
    """
    Return the pairs of the evaluation whose report lies here; None where its outcomes are not beside it.

    Raises:
        StoreError: the file cannot be read.
        RecordError: a line is no outcome.
    """
    path = report.parent / OUTCOMES_FILE
    return _pairs(path, *stamp(path)) if path.is_file() else None


def hidden_digest(outcome: Outcome) -> str | None:
    """Return the digest of the reply that was redacted; None where the reply stands there itself."""
    found = REDACTED.fullmatch(outcome.reply)
    return found[1] if found else None


def hidden_reply(report: Path, outcome: Outcome) -> str | None:
    """
    Return the reply that was redacted, from the file of harmful replies; None where it is not there.

    Only a text whose sha256 is the one in the outcomes is returned.

    Raises:
        StoreError: the file is there and cannot be read.
    """
    path, wanted = report.parent / HARMFUL_FILE, hidden_digest(outcome)
    if wanted is None or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            for line in file:
                reply = _reply(line)
                if reply is not None and sha256_bytes(reply.encode("utf-8", "replace")) == wanted:
                    return reply
    except OSError as exc:
        raise StoreError("cannot read the harmful replies", facts={"because": exc.strerror}) from exc
    return None


@lru_cache(maxsize=_KEPT)
def _pairs(path: Path, _changed_ns: int, _size_bytes: int) -> Pairs:
    digest, bases, pairs = sha256(), dict[Key, tuple[int, dict[str, Any]]](), list[Pair]()
    for at, line in _lines(path):
        digest.update(line)
        value = _value(line)
        try:
            key = Key(value["suite"], value["condition"], value["prompt_id"], value.get("sample", 0))
            if value["arm"] == "base":
                bases[key] = at, value
                continue
            base_at, base = bases.get(key, (None, {}))
            safeguards = tuple(value.get("safeguards", ()))
        except (KeyError, TypeError) as exc:
            raise RecordError("a line is no outcome", facts={"at byte": at, "because": exc}) from exc
        pairs.append(Pair(key, safeguards, base_at, at, _change(base, value)))
    return Pairs(
        path,
        digest.hexdigest(),
        tuple(pairs),
        tuple(sorted({pair.key.suite for pair in pairs})),
        tuple(dict.fromkeys(pair.key.condition for pair in pairs)),
        frozenset(pair.change for pair in pairs),
        frozenset((pair.key.suite, pair.key.prompt_id) for pair in pairs),
    )


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    at = 0
    try:
        with path.open("rb") as file:
            for line in file:
                yield at, line
                at += len(line)
    except OSError as exc:
        raise StoreError("cannot read the outcomes", facts={"because": exc.strerror}) from exc


def _change(base: dict[str, Any], tuned: dict[str, Any]) -> Change:
    """Judged worse on any estimand is worse; without a score of both there is nothing to compare."""
    before, after = base.get("scores", {}), tuned.get("scores", {})
    apart = [after[name] - before[name] for name in after if name in before]
    if not apart or {base.get("state"), tuned.get("state")} - {"scored", None}:
        return "not judged"
    return "worse" if max(apart) > 0 else "better" if min(apart) < 0 else "same"


def _reply(line: bytes) -> str | None:
    """The reply of a line; one that is damaged has none, and what it held is not shown."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    reply = value.get("reply") if isinstance(value, dict) else None
    return reply if isinstance(reply, str) else None


def _value(line: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise RecordError("a line is not JSON", facts={"because": exc}) from exc
    if not isinstance(value, dict):
        raise RecordError("a line is no outcome")
    return value


def _outcome(line: bytes) -> Outcome:
    try:
        return Outcome.model_validate(_value(line))
    except ValidationError as exc:
        raise RecordError("a line is no outcome", facts={"because": exc.errors()[0]["msg"]}) from exc
