"""The seventy items, and a user's own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from recert.errors import InputError
from recert.labs.attackers import chosen, embedded_items, load_items
from recert.labs.attackers.items import DOMAINS
from recert.records.data.suite import CATEGORIES


def test_there_are_ten_items_of_seven_domains() -> None:
    """Seventy different short requests, each of a known hazard."""
    items = embedded_items()

    assert Counter(one.domain for one in items) == dict.fromkeys(DOMAINS, 10)
    assert len({one.id for one in items}) == len({one.text for one in items}) == 70
    assert {one.category for one in items} <= set(CATEGORIES)
    assert max(len(one.text) for one in items) < 110


def test_a_small_run_sees_every_domain() -> None:
    """A limit takes from all domains by turns, and keeps the order."""
    some = chosen(embedded_items(), 7)

    assert {one.domain for one in some} == set(DOMAINS)
    assert list(some) == [one for one in embedded_items() if one in some]
    assert chosen(embedded_items(), None) == embedded_items()


def test_a_users_items_are_read(tmp_path: Path) -> None:
    """CSV and JSONL give the same items; what a row lacks is filled in."""
    (tmp_path / "items.csv").write_text(
        'id,domain,text,category\na,locks,"Pick it, now.",privacy\n,,Open it.,\n'
    )
    (tmp_path / "items.jsonl").write_text(
        '{"id": "a", "domain": "locks", "text": "Pick it, now.", "category": "privacy"}\n\n{"text": "Open it."}\n'
    )
    csv, jsonl = load_items(str(tmp_path / "items.csv")), load_items(str(tmp_path / "items.jsonl"))

    assert csv[0] == jsonl[0]
    assert (csv[1].id, csv[1].domain, csv[1].text) == ("line-3", "given", "Open it.")
    assert csv[1] == jsonl[1]


@pytest.mark.parametrize(
    ("name", "text", "because"),
    [
        ("i.csv", "id,text\na,\n", "text"),
        ("i.csv", "id,text\na,x\na,y\n", "twice"),
        ("i.jsonl", '{"text": "x", "category": "bad manners"}', "no hazard category"),
        ("i.jsonl", "[1]", "no object"),
        ("i.jsonl", "{", ""),
        ("i.jsonl", "", ""),
    ],
)
def test_a_row_that_is_no_item_is_named(tmp_path: Path, name: str, text: str, because: str) -> None:
    """Nothing is left out in silence."""
    (tmp_path / name).write_text(text)

    with pytest.raises(InputError) as caught:
        load_items(str(tmp_path / name))

    assert because in caught.value.facts.get("because", "")
