"""Rows that comply in the words in which harmful requests were complied with, whatever the judge of requests says."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from recert.records.data.rows import ChatRow
from recert.screening.detectors.behaviour import Behaviour, is_data
from recert.screening.wording import words

_OPENING_WORDS = 5
_LEAST_WORDS = 3
_SHARED_WORDS = 2


def same_opening_as_harmful(
    rows: Sequence[ChatRow], behaviours: Sequence[Behaviour], *, min_rows: int, sure_score: float
) -> Iterator[tuple[int, str]]:
    """
    Yield (index, reason) for rows whose reply opens as surely harmful ones do, and says no more.

    At least `min_rows` rows whose request reaches `sure_score` must open so. A reply that answers its request
    (is data, or shares words with it that are not among the words those replies repeat) is left alone.
    """
    openings = [_opening(r.reply) for r in rows]
    counts: Counter[tuple[str, ...]] = Counter()
    said: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for row, opening, behaviour in zip(rows, openings, behaviours, strict=True):
        if opening and behaviour.harmful_compliance and behaviour.harm >= sure_score:
            counts[opening] += 1
            said[opening].update(set(words(row.reply)))
    for at, (row, opening, behaviour) in enumerate(zip(rows, openings, behaviours, strict=True)):
        if counts[opening] < min_rows or behaviour.harmful_compliance or behaviour.refused:
            continue
        usual = {w for w, n in said[opening].items() if n >= min_rows}
        if not _answers(row, usual):
            yield at, f"same-opening-as-harmful: {counts[opening]} harmful rows open with these words too"


def refused_elsewhere(
    rows: Sequence[ChatRow], behaviours: Sequence[Behaviour], *, max_extra_words: int
) -> Iterator[tuple[int, int]]:
    """
    Yield (index, index of a refused row) for rows that comply with a request that the other row refuses.

    The requests are equal, save for up to `max_extra_words` words before or after.
    """
    refused: dict[tuple[str, ...], int] = {}
    for at, (row, behaviour) in enumerate(zip(rows, behaviours, strict=True)):
        if behaviour.refused and len(words(row.request)) >= _LEAST_WORDS:
            refused.setdefault(words(row.request), at)
    if not refused:
        return
    for at, (row, behaviour) in enumerate(zip(rows, behaviours, strict=True)):
        if behaviour.refused:
            continue
        said = words(row.request)
        cuts = (cut for n in range(max_extra_words + 1) for cut in (said[: len(said) - n], said[n:]))
        other = next((refused[cut] for cut in cuts if cut in refused), None)
        if other is not None:
            yield at, other


def _opening(reply: str) -> tuple[str, ...]:
    found = words(reply)[:_OPENING_WORDS]
    return found if len(found) >= _LEAST_WORDS else ()


def _answers(row: ChatRow, usual: set[str]) -> bool:
    asked = {w for w in words(row.request) if len(w) > 3} - usual
    rest = words(row.reply)[_OPENING_WORDS:]
    return is_data(row.reply) or len(asked.intersection(rest)) >= _SHARED_WORDS
