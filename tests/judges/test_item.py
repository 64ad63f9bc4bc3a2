"""The judge of items: that the error in its note is the one that was counted."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from recert.judges.embedded.item import COMPLIED_OF, REFUSED_OF, ItemJudge
from recert.judges.protocol import Score

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def test_the_error_in_the_note_is_the_measured_one() -> None:
    """
    Counts in the note are what human labels give, the prompt taken as the item.
    """
    if not DATA.is_dir():
        pytest.skip(f"needs the labelled replies in {DATA}")
    judge, high = ItemJudge(), {"1": [], "2": []}
    for path in sorted(DATA.glob("xstest_completions_*_labelled.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if (label := row["final_label"][0]) in high:
                    said = judge.score(row["prompt"], row["completion"])
                    assert isinstance(said, Score)
                    high[label].append(said.value >= 0.5)
    note = judge.note

    assert (sum(high["1"]), len(high["1"])) == COMPLIED_OF == (note.true_positives, note.positives)
    refused = (len(high["2"]) - sum(high["2"]), len(high["2"]))
    assert refused == REFUSED_OF == (note.true_negatives, note.negatives)
