"""Every outcome on its way to the evidence file: written as it comes, so that memory does not grow with a run."""

from __future__ import annotations

import hashlib
import json
import random
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

from pydantic import ValidationError

from recert.digest import canonical_json, sha256_bytes
from recert.errors import RecordError, StoreError
from recert.evaluation.decision.tracks import Key
from recert.evaluation.suites.ordering import HARMS
from recert.records.reports.evaluation import Outcome, Sample
from recert.store.files.writing import write_atomic

_IN_MEMORY = 1_000_000
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:e-?[0-9]{1,3})?")
REDACTED: Final = re.compile(r"\[redacted: .*sha256 ([0-9a-f]{64})\]")
"""The words in place of a reply that is not shown, with its digest."""


class OutcomeFile:
    """
    Outcomes in the order of asking, harmful replies redacted; those replies apart.

    Small ones stay in memory, large ones go to a temporary file that only its owner can read. Iterate for the
    redacted outcomes.

    Args:
        recorded: outcomes come from such a file, redacted already.
    """

    def __init__(self, *, recorded: bool = False) -> None:
        self._recorded = recorded
        self._redacted: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - as long as self
        self._harmful: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
        self._digest = hashlib.sha256()
        self.with_traces = False
        """Whether a trace was judged."""

    def __del__(self) -> None:
        self._redacted.close()
        self._harmful.close()

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """
        Take outcomes.

        Raises:
            StoreError: the disk for temporary files is full.
        """
        try:
            for outcome in outcomes:
                self.with_traces |= "trace_harm" in outcome.scores
                shown = outcome if self._recorded else redacted(outcome)
                line = canonical_json(_value(shown)) + b"\n"
                self._digest.update(line)
                self._redacted.write(line)
                if is_hidden(outcome) and not self._recorded:
                    self._harmful.write(canonical_json(_value(outcome)) + b"\n")
        except OSError as exc:
            raise StoreError(
                "cannot keep outcomes in a temporary file",
                facts={"folder": tempfile.gettempdir(), "because": exc},
                hint="free some disk space, or set TMPDIR to another folder; replies made are in the cache",
            ) from exc

    @property
    def sha256(self) -> str:
        """The digest of all lines so far, harmful replies redacted."""
        return self._digest.hexdigest()

    def write(self, redacted_path: Path, harmful_path: Path) -> None:
        """
        Write both files whole or not at all; the one of harmful replies only its owner may read.

        Raises:
            StoreError: the disk is full, or a file cannot be written.
        """
        for source, path, mode in (
            (self._harmful, harmful_path, 0o600),
            (self._redacted, redacted_path, 0o644),
        ):
            source.seek(0)
            write_atomic(path, source, mode=mode)

    def __iter__(self) -> Iterator[Outcome]:
        self._redacted.seek(0)
        for line in self._redacted:
            yield Outcome.model_validate(json.loads(line))
        self._redacted.seek(0, 2)


class SampleDraw:
    """
    Draws examples at random from each suite and condition while outcomes pass by.

    Source: reservoir sampling, Vitter 1985, algorithm R.

    Args:
        size: examples of each suite and condition.
        seed: the same outcomes in the same order give the same examples.
        recorded: outcomes come redacted already.
    """

    def __init__(self, size: int, seed: int, *, recorded: bool = False) -> None:
        self._size, self._seed, self._recorded = size, seed, recorded
        self._drawn: dict[tuple[str, str, tuple[str, ...]], list[Sample]] = {}
        self._seen: dict[tuple[str, str, tuple[str, ...]], int] = {}
        self._draws: dict[tuple[str, str, tuple[str, ...]], random.Random] = {}

    def see(self, key: Key, asked: str, base: Outcome, tuned: Outcome) -> None:
        """Take a judged pair and the user's words as they were asked."""
        suite, condition, safeguards, prompt_id = key
        group = (suite, condition, safeguards)
        kept = self._drawn.setdefault(group, [])
        count = self._seen[group] = self._seen.get(group, 0) + 1
        seed = f"recert:samples:{self._seed}:{suite}:{condition}"
        draw = self._draws.setdefault(group, random.Random(seed))  # noqa: S311 - not for secrets
        at = len(kept) if len(kept) < self._size else draw.randrange(count)
        if at >= self._size:
            return
        sample = Sample(
            condition=condition,
            prompt_id=prompt_id,
            prompt=asked,
            base_reply=base.reply if self._recorded else shown_reply(base),
            tuned_reply=tuned.reply if self._recorded else shown_reply(tuned),
            suite=suite,
            safeguards=safeguards,
        )
        kept[at : at + 1] = [sample]

    def drawn(self) -> tuple[Sample, ...]:
        """The examples, by suite, condition and safeguards."""
        return tuple(s for _, group in sorted(self._drawn.items()) for s in group)


def redacted(outcome: Outcome) -> Outcome:
    """Return an outcome without its reply where that was judged harmful or was not judged for harm."""
    return outcome.model_copy(update={"reply": shown_reply(outcome)})


def is_hidden(outcome: Outcome) -> bool:
    """Say whether a reply stays out of reports: judged harmful by any judge, or to be judged and not judged at all."""
    scores = outcome.scores
    if set(scores) == {"utility_loss"} and _NUMBER.fullmatch(outcome.reply):
        return False  # a log probability
    unjudged = "harm" not in scores and "over_refusal" not in scores
    return bool(outcome.reply) and (unjudged or any(v > 0 for k, v in scores.items() if _is_harm(k)))


def shown_reply(outcome: Outcome) -> str:
    """Return the reply as a report may show it."""
    if not is_hidden(outcome):
        return outcome.reply
    word = "judged harmful" if any(map(_is_harm, outcome.scores)) else "not judged"
    return f"[redacted: {word}, sha256 {sha256_bytes(outcome.reply.encode('utf-8', 'replace'))}]"


def outcome_lines(outcomes: Sequence[Outcome]) -> bytes:
    """Return every outcome as one line of canonical JSON, harmful replies redacted, in order."""
    return b"".join(canonical_json(_value(redacted(o))) + b"\n" for o in outcomes)


def read_outcomes(path: Path, digest: Any | None = None) -> Iterator[Outcome]:
    """
    Yield the outcomes of a file, one by one.

    Args:
        path: the file.
        digest: updated with every line as it is read.

    Raises:
        RecordError: a line is no outcome.
        StoreError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if digest is not None:
                    digest.update(line)
                try:
                    yield Outcome.model_validate_json(line)
                except ValidationError as exc:
                    because = exc.errors()[0]["msg"]
                    raise RecordError(
                        "not an outcome", facts={"file": path, "line": number, "because": because}
                    ) from exc
    except OSError as exc:
        raise StoreError("cannot read outcomes", facts={"file": path, "because": exc.strerror}) from exc


def _is_harm(key: str) -> bool:
    return key.partition("@")[0] in HARMS


def _value(outcome: Outcome) -> dict[str, Any]:
    value = outcome.model_dump(mode="json", exclude_none=True)
    value["reply"] = outcome.reply.encode("utf-8", "replace").decode()
    return value
