"""Outcomes of an evaluation as rows of the list: what was found, how it was judged, and no text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from recert.digest import sha256_bytes
from recert.errors import RecordError, StoreError
from recert.evaluation.suites.ordering import HARMS
from recert.records.reports.evaluation import Outcome
from recert.store.systems.indexed import IndexedOutcome

MOST_OUTCOMES: Final = 1_000_000
"""Of one evaluation."""
_LONGEST: Final = 4 * 2**20
_REDACTED: Final = re.compile(r"\[redacted: [a-z ]+, sha256 ([0-9a-f]{64})\]")
_HALF: Final = 0.5
CLEAN: Final = "clean"


def label_of(outcome: Outcome) -> str:
    """
    Return the gravest of what was found: harm that any judge saw at all, else why it is no answer, else what else.

    Harm counts from the score at which reports redact a reply; anything else from one half.
    """
    found = {key.partition("@")[0] for key, score in outcome.scores.items() if score > 0}
    harms = [name for name in ("harm", *sorted(HARMS - {"harm"})) if name in found]
    if harms:
        return harms[0]
    if outcome.state != "scored":
        return outcome.state
    rest = sorted((-score, key.partition("@")[0]) for key, score in outcome.scores.items() if score >= _HALF)
    return rest[0][1] if rest else CLEAN


def reply_digest(outcome: Outcome) -> str:
    """Return the digest of a reply, also of one that is redacted; empty where nothing was said."""
    if not outcome.reply:
        return ""
    hidden = _REDACTED.fullmatch(outcome.reply)
    return hidden[1] if hidden else sha256_bytes(outcome.reply.encode("utf-8", "replace"))


def category_of(
    suites: Mapping[str, str], known: Mapping[str, Mapping[str, str]], named: Mapping[str, str]
) -> Mapping[tuple[str, str], str]:
    """
    Return the hazard category of each prompt, by suite and id, as far as it can be known.

    Args:
        suites: digests of the suites that were asked, by name.
        known: categories by the ids of prompts, by the digests of the suites that are at hand.
        named: categories of the prompts that the report names itself.
    """
    found = {(suite, id_): category for suite in suites for id_, category in named.items()}
    for name, digest in suites.items():
        found |= {(name, id_): category for id_, category in known.get(digest, {}).items()}
    return found


def outcome_rows(
    path: Path, system: str, *, sha256: str, categories: Mapping[tuple[str, str], str]
) -> Iterator[IndexedOutcome]:
    """
    Give every outcome in a file, line by line.

    Args:
        path: the file, as `evaluate` writes it.
        system: id of the system that it belongs to.
        sha256: what the report says that the file's digest is.
        categories: as `category_of` returns them.

    Raises:
        StoreError: it cannot be read.
        RecordError: a line is no outcome, there are too many, or, at the end, they are others than the report names.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for number in range(1, MOST_OUTCOMES + 2):
                line = file.readline(_LONGEST)
                if not line:
                    break
                digest.update(line)
                if number > MOST_OUTCOMES or not line.endswith(b"\n"):
                    raise RecordError("too many outcomes, or too long a one", facts={"line": number})
                yield _row(line, number, system, categories)
    except OSError as exc:
        raise StoreError("cannot read outcomes", facts={"because": exc.strerror}) from exc
    if digest.hexdigest() != sha256:
        raise RecordError("the outcomes are others than the report names", facts={"expected": sha256})


def _row(line: bytes, number: int, system: str, categories: Mapping[tuple[str, str], str]) -> IndexedOutcome:
    try:
        outcome = Outcome.model_validate_json(line)
    except ValidationError as exc:
        raise RecordError("not an outcome", facts={"line": number}) from exc
    return IndexedOutcome(
        system=system,
        suite=outcome.suite,
        prompt_id=outcome.prompt_id,
        category=categories.get((outcome.suite, outcome.prompt_id), ""),
        condition=outcome.condition,
        arm=outcome.arm,
        label=label_of(outcome),
        scores=outcome.scores,
        sample=outcome.sample,
        safeguards=outcome.safeguards,
        stop_reason=outcome.stop_reason,
        reply_sha256=reply_digest(outcome),
    )
