"""Which evaluations are attempts at the same thing: one line of tunes of one base."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from recert.digest import sha256_bytes, sha256_json
from recert.records.data.rows import ChatRow
from recert.records.data.suite import Prompt, Suite
from recert.records.signed.attempt_entries import AskedBefore, AttemptBegun

IN_COMMON: Final = 0.2
"""Share of the smaller set of rows from which two tunes learned from the same data."""
_KEPT: Final = 256
_DIGITS: Final = 8


@dataclass(frozen=True)
class EarlierLine:
    """An earlier attempt of a line: its entry, and what it asked by suite; None where that was not written down."""

    entry: int
    begun: AttemptBegun
    asked: Mapping[str, str] | None


def row_digests(rows: Iterable[ChatRow]) -> list[str]:
    """
    Return the digest of each different row, in order: of its words alone, without case, spaces and marks.

    Another case, spacing or punctuation makes no other row.
    """
    return sorted({sha256_bytes(_words(row).encode()) for row in rows})


def _words(row: ChatRow) -> str:
    texts = (f"{m.role}:{m.content}" for m in row.messages if m.role != "system")
    return "\n".join("".join(c for c in text.casefold() if c.isalnum()) for text in texts)


def request_mark(text: str) -> str:
    """Return the first 8 hex digits of a request's digest, which is of its letters and digits alone."""
    words = "".join(c for c in text.casefold() if c.isalnum()) or text
    return sha256_bytes(words.encode())[:_DIGITS]


def asked_marks(prompts: Iterable[Prompt]) -> str:
    """Return the marks of requests, in order, each once."""
    return "".join(sorted({request_mark(prompt.text) for prompt in prompts}))


def asked_before(suite: Suite, earlier: Sequence[EarlierLine], rotated: Mapping[str, int]) -> AskedBefore:
    """
    Return which prompts of a suite an earlier attempt of a line asked, or may have asked.

    Of one that ended, the ledger has what it asked. Of one that did not, everything that it may have asked counts: the
    open part, and from a second attempt on the sealed part too, unless the suite got its sealed prompts after it began.
    What shares a cluster with a prompt that was asked was asked.

    Args:
        suite: the prompts.
        earlier: the attempts, in order.
        rotated: number of the ledger's entry by which a suite got its sealed prompts, by the suite's digest.
    """
    marks = {mark for one in earlier for marked in (one.asked or {}).values() for mark in _parts(marked)}
    left = [one for one in earlier if one.asked is None]
    every_open = bool(left)
    since = rotated.get(suite.digest, -1)
    every_sealed = any(one.begun.attempt > 1 and one.entry > since for one in left)

    opened = [every_open or request_mark(p.text) in marks for p in suite.prompts]
    sealed = [every_sealed or request_mark(p.text) in marks for p in suite.sealed]
    known = zip(suite.every_prompt, (*opened, *sealed), strict=True)
    clusters = {p.cluster for p, asked in known if asked and p.cluster}
    return AskedBefore.of(
        [asked or p.cluster in clusters for p, asked in zip(suite.prompts, opened, strict=True)],
        [asked or p.cluster in clusters for p, asked in zip(suite.sealed, sealed, strict=True)],
    )


def sketch_of(digests: Sequence[str]) -> str:
    """Return the lowest digests, up to 256, cut to 8 hex digits each: a bottom-k sketch (Cohen and Kaplan 2007)."""
    return "".join(one[:_DIGITS] for one in digests[:_KEPT])


def rows_sha256(digests: Sequence[str]) -> str:
    """Return the digest of a set of rows."""
    return sha256_json(list(digests))


def contained(one: str, other: str) -> float:
    """
    Return which share of the smaller set of rows is in the other one too, as their sketches tell.

    Exact where both have at most 256 rows. Else of those below the highest digest that both sketches reach; with few of
    them it is a rough figure.
    """
    a, b = _parts(one), _parts(other)
    if not a or not b:
        return 0.0
    reach = min(max(found) for found in (a, b) if len(found) == _KEPT) if _KEPT in (len(a), len(b)) else ""
    if reach:
        a, b = ({part for part in found if part <= reach} for found in (a, b))
    fewest = min(len(a), len(b))
    return len(a & b) / fewest if fewest else 0.0


def _parts(sketch: str) -> set[str]:
    return {sketch[at : at + _DIGITS] for at in range(0, len(sketch), _DIGITS)}


def same_line(one: AttemptBegun, other: AttemptBegun) -> bool:
    """
    Say whether two evaluations are attempts at the same thing, by what they were begun with.

    They are where their base is the same and so is one of these: the tuned model's files; its name; a fifth of the rows
    of the smaller set; or nothing is known of either's rows, and they were under a policy of the same name.
    """
    if one.base != other.base:
        return False
    if one.tuned == other.tuned or one.model_name == other.model_name:
        return True
    if one.rows_sha256 is None and other.rows_sha256 is None:
        return one.policy_id == other.policy_id
    return contained(one.rows_sketch, other.rows_sketch) >= IN_COMMON


def line_of(new: AttemptBegun, begun: Sequence[tuple[int, AttemptBegun]]) -> list[tuple[int, AttemptBegun]]:
    """
    Return the evaluations of the line that a new one belongs to, in order.

    What is on one line with one of a line is on it too: a line cannot be left in small steps.

    Args:
        new: not yet begun.
        begun: those that were, each with its number.
    """
    found: list[tuple[int, AttemptBegun]] = []
    left, reached = list(begun), [new]
    while reached:
        one = reached.pop()
        near = [each for each in left if same_line(one, each[1])]
        left = [each for each in left if each not in near]
        reached += [entry for _, entry in near]
        found += near
    return sorted(found, key=lambda each: each[0])
