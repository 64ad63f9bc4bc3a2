"""Rows that say again what an earlier row said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from recert.digest import sha256_bytes
from recert.records import ChatRow
from recert.screening.wording import jaccard, shingles, words

_BANDS, _BAND_ROWS = 16, 4
_KEPT_PER_BUCKET = 8
_COMPARED_PER_ROW = 64
_PRIME = np.uint64((1 << 61) - 1)


def find_duplicates(rows: Sequence[ChatRow], lines: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield (index, reason) for every row that has the same words in the same roles as an earlier one."""
    first: dict[str, int] = {}
    for at, row in enumerate(rows):
        text = "\n".join(f"{m.role}:{' '.join(m.content.lower().split())}" for m in row.messages)
        earlier = first.setdefault(sha256_bytes(text.encode()), at)
        if earlier != at:
            yield at, f"duplicate: same as line {lines[earlier]}"


def find_near_duplicates(
    rows: Sequence[ChatRow], lines: Sequence[int], *, similarity: float
) -> Iterator[tuple[int, str]]:
    """
    Yield (index, reason) for every row that is nearly an earlier one.

    Likeness is the Jaccard index of three-word shingles, and both the whole row and its reply must reach it:
    rows made from one template, with a question and an answer of their own, are different rows.
    MinHash with banding finds what to compare (Broder 1997); likeness is then computed exactly.
    """
    seeds = np.random.default_rng(0).integers(1, 1 << 31, size=(2, _BANDS * _BAND_ROWS), dtype=np.uint64)
    buckets: dict[tuple[int, bytes], list[int]] = {}
    whole: list[frozenset[int]] = []
    replies: list[frozenset[int]] = []
    for at, row in enumerate(rows):
        said = [w for m in row.messages if m.role in ("user", "assistant") for w in words(m.content)]
        whole.append(shingles(said))
        replies.append(shingles(words(row.reply)))
        found = None
        keys = _bands(whole[at], seeds)
        compared: set[int] = set()
        for key in keys:
            for other in buckets.get(key, ()):
                if other in compared or len(compared) >= _COMPARED_PER_ROW:
                    continue
                compared.add(other)
                likeness = min(jaccard(whole[at], whole[other]), jaccard(replies[at], replies[other]))
                if likeness >= similarity and (found is None or likeness > found[0]):
                    found = (likeness, other)
        for key in keys:
            kept = buckets.setdefault(key, [])
            if len(kept) < _KEPT_PER_BUCKET:
                kept.append(at)
        if found:
            yield at, f"near-duplicate: {found[0]:.2f} like line {lines[found[1]]}"


def _bands(marks: frozenset[int], seeds: npt.NDArray[np.uint64]) -> list[tuple[int, bytes]]:
    if not marks:
        return []
    values = np.fromiter(marks, dtype=np.uint64, count=len(marks))
    lowest = ((values[:, None] * seeds[0] + seeds[1]) % _PRIME).min(axis=0)
    return [(b, lowest[b * _BAND_ROWS : (b + 1) * _BAND_ROWS].tobytes()) for b in range(_BANDS)]
