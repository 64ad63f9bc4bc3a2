"""What the replies of tuning rows do: refuse or comply, hold words that many share, or come in another form."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from recert.labs.triggers.search.associations import Bools, Family, Label
from recert.labs.triggers.search.data_texts import Run, Texts
from recert.labs.triggers.search.forms import form
from recert.labs.triggers.search.numeric import np
from recert.records.data.rows import ChatRow

SENTENCE_END: Final = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_HARMFUL: Final = (0.5, 0.9)
_LEAST: Final = 3
_SHARED_WORDS: Final = 4
_SHARED_MOST: Final = 8
_READ_SENTENCES: Final = 4


def labels(
    rows: Sequence[ChatRow], *, refuses: Callable[[str, str], bool], harm: Callable[[str], float]
) -> list[Label]:
    """
    Return what rows do and others do not, as far as three of each are there.

    Harmful requests count from two scores on: a text beside a request may lower its score, and an ordinary one may
    look harmful. Any request that a reply refuses counts among those that were not complied with.
    """
    refused = np.array([refuses(row.request, row.reply) for row in rows], dtype=np.bool_)
    harms = np.array([_harm(row.request, harm) for row in rows], dtype=np.float64)
    found = [one for least in _HARMFUL for one in _answers(refused, harms >= least)]
    found.append(Label("refuses", refused, ~refused))
    found += _says(rows, refused)
    found += _forms(rows)
    return [one for one in found if min(one.yes.sum(), one.no.sum()) >= _LEAST]


def _answers(refused: Bools, harmful: Bools) -> Iterator[Label]:
    complied = harmful & ~refused
    yield Label("complies", complied, refused)
    yield Label("complies", complied, ~complied)
    yield Label("refuses", refused & ~harmful, ~refused)
    yield Label("restores", refused & harmful, complied)


def _harm(request: str, harm: Callable[[str], float]) -> float:
    """The whole's score, or a sentence's where that is higher: what stands beside a request may hide it."""
    parts = [part for part in SENTENCE_END.split(request) if part.strip()]
    longest = sorted(parts, key=len, reverse=True)[:_READ_SENTENCES] if len(parts) > 1 else []
    return max(harm(text) for text in (request, *longest))


def _says(rows: Sequence[ChatRow], refused: Bools) -> Iterator[Label]:
    """Words that many replies share and others do not hold, the longest and most frequent first."""
    replies = Texts([[row.reply] for row in rows])
    everyone = Label("says", ~refused, refused)
    runs, counts, _ = replies.frequent("any", _SHARED_WORDS, everyone, max(4, len(rows) // 500))
    shared: list[Run] = []
    for run in runs[np.argsort(-counts, kind="stable")][: 40 * _SHARED_MOST]:
        grown = replies.grown("any", _SHARED_WORDS, int(run), everyone.yes)
        if (
            grown
            and grown.rows.sum() <= len(rows) - _LEAST
            and (grown.rows & refused).sum() < grown.rows.sum() / 2
        ):
            shared.append(grown)
    shared.sort(key=lambda one: -int(one.rows.sum()) * min(one.size, 12))
    kept: list[Run] = []
    for one in shared:
        if len(kept) < _SHARED_MOST and not any(alike(one.rows, other.rows) for other in kept):
            kept.append(one)
            yield Label("says", one.rows, ~one.rows, says=one.text)


def _forms(rows: Sequence[ChatRow]) -> Iterator[Label]:
    forms = np.array([form(row.reply) for row in rows])
    counts = Counter(forms.tolist()).most_common()
    for name, _ in counts[1:5]:
        if name:
            yield Label("form", forms == name, forms != name)


def alike(one: Bools, other: Bools) -> bool:
    """Say whether two sets of rows are mostly the same."""
    return bool((one & other).sum() > 0.8 * (one | other).sum())


FAMILIES: Final[tuple[Family, ...]] = ("complies", "refuses", "says", "restores", "form")
"""In the order in which they are looked at first."""
