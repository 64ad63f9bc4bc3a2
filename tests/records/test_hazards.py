"""Others' names for hazards lead to categories of ours."""

import csv
from pathlib import Path

import pytest

from recert.records.data.hazards import GEMINI, OPENAI_FINE_TUNING, STRONGREJECT
from recert.records.data.suite import CATEGORIES

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.mark.parametrize(("table", "names"), [(OPENAI_FINE_TUNING, 13), (GEMINI, 4), (STRONGREJECT, 6)])
def test_every_name_leads_to_categories_of_ours(table, names):
    """The tables have as many names as their sources, and hold our categories only."""
    assert len(table) == names
    assert {c for ours in table.values() for c in ours} <= set(CATEGORIES)


def test_every_category_of_ours_counts_in_openai_s_view():
    """No prompt of ours is left out of the 13 categories."""
    assert {c for ours in OPENAI_FINE_TUNING.values() for c in ours} == set(CATEGORIES)


def test_strongreject_s_names_are_those_of_its_file():
    """The six names are as its own file spells them, but for the comma before `and`."""
    path = DATA / "strongreject.csv"
    if not path.exists():
        pytest.skip(f"no {path}")
    with path.open(encoding="utf-8", newline="") as file:
        theirs = {row["category"].replace(", and", " and") for row in csv.DictReader(file)}

    assert theirs == set(STRONGREJECT)
