"""The list of systems: whatever is asked, nothing is left out, nothing comes twice, and time makes nothing looser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postgres import Server, server
from recert.digest import sha256_bytes
from recert.errors import StoreError
from recert.store.database import upgrade
from recert.store.systems.indexed import STATES, IndexedOutcome, place_of, read_cursor
from recert.store.systems.systems_index import SORTS, IndexedSystem, SystemsIndex

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def a_system(number: int, name: str, state: str = "none", hours: int | None = None) -> IndexedSystem:
    ends = NOW + timedelta(hours=hours) if hours is not None else None
    id_ = sha256_bytes(f"{number}".encode())[:24]
    return IndexedSystem(
        id=id_,
        name=name,
        kind="tune",
        base="a base",
        parent="",
        verdict="pass" if number % 2 else "fail",
        state=state,
        serial="",
        expires_at=ends,
        updated_at=NOW - timedelta(hours=number % 7),
        folder=Path("/runs"),
        records={"tune": Path(f"/runs/{number}")},
        changes_at=ends if state == "signed" else None,
        becomes="expired" if state == "signed" else "",
        place=place_of(name, id_),
        depth=1,
    )


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
systems = st.lists(
    st.tuples(names, st.sampled_from(STATES), st.none() | st.integers(1, 500)), min_size=1, max_size=25
).map(lambda made: [a_system(number, *one) for number, one in enumerate(made)])


INDEX = SystemsIndex()
"""Of the property tests, each of which leaves it empty."""


@settings(max_examples=30, deadline=None)
@given(systems)
def test_what_was_put_comes_back_and_what_was_dropped_is_gone(made):
    """
    Systems are read as they were written, twice as well as once; without them the list is empty.
    """
    index = INDEX
    index.put(made)
    index.put(made)
    for one in made:
        index.put_outcomes(one.id, [IndexedOutcome(one.id, "s", "p", "", "plain", "base", "harm", {})])

    assert index.all() == {one.id: one for one in made}
    assert all(index.find(one.id, now=NOW) == one for one in made)
    assert index.outcomes().total == len(made)
    index.drop([one.id for one in made])
    assert (index.page().total, index.all(), index.outcomes().total) == (0, {}, 0)
    assert index.outcomes().values == {
        name: {} for name in ("suite", "category", "condition", "arm", "label")
    }


@settings(max_examples=30, deadline=None)
@given(made=systems, sort=st.sampled_from(sorted(SORTS)), limit=st.integers(1, 7), late=st.integers(0, 24))
def test_pages_hold_everything_once_while_others_write(made, sort, limit, late):
    """
    Whoever turns pages while systems are added sees each that was there from the start exactly once, in order.
    """
    index = INDEX
    index.drop(list(index.all()))
    index.put(made[late:])
    seen: list[IndexedSystem] = []
    after, pages = "", 0
    while pages == 0 or after:
        page = index.page(sort=sort, after=after, limit=limit, now=NOW)
        seen += page.systems
        after, pages = page.next, pages + 1
        index.put(made[:late][pages - 1 : pages])
    found = [one.id for one in seen]

    assert len(found) == len(set(found))
    assert {one.id for one in made[late:]} <= set(found)
    keys = {
        "made-of": lambda one: one.place,
        "name": lambda one: one.name.encode(),
        "updated": lambda one: -one.updated_at.timestamp(),
        "expiry": lambda one: one.expires_at.timestamp() if one.expires_at else float("inf"),
    }
    assert [keys[sort](one) for one in seen] == sorted(keys[sort](one) for one in seen)


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=80)
    | st.binary(max_size=60).map(lambda b: __import__("base64").urlsafe_b64encode(b).decode())
)
def test_whatever_a_link_says_a_page_comes(after):
    """
    A cursor that nobody made begins anew.
    """
    for kind in (bytes, str, int):
        assert read_cursor(after, kind) is None or len(read_cursor(after, kind)) == 2
    index = INDEX
    index.drop(list(index.all()))
    index.put([a_system(1, "one")])
    for sort in SORTS:
        assert index.page(sort=sort, after=after, now=NOW).total == 1
    assert index.outcomes(after=after).total == 0


def test_a_search_takes_every_sign_as_it_is():
    """
    Percent, underscore, slash and quotes are searched for, not obeyed; letters in any case.
    """
    index = SystemsIndex()
    index.put([a_system(n, name) for n, name in enumerate(("100%", "a_b", "a/b", "it's", "ÄRGER"))])

    for query, found in (("%", 1), ("_", 1), ("/", 1), ("'", 1), ("ärger", 1), ("A", 5), ("' OR 1=1 --", 0)):
        assert (query, index.page(query=query).total) == (query, found)


def test_states_end_with_their_time_and_only_then():
    """
    What is signed until noon is signed before and expired from noon on, in lists, counts and by itself.
    """
    index = SystemsIndex()
    one = a_system(1, "one", "signed", 12)
    index.put([one, a_system(2, "two", "signed", 20), a_system(3, "three", "suspended", 1)])
    noon = NOW + timedelta(hours=12)

    assert index.find(one.id, now=noon - timedelta(seconds=1)).state == "signed"
    assert index.find(one.id, now=noon).state == "expired"
    assert index.counts(before=noon, now=NOW).expiring == 1
    assert index.page(state="signed", now=noon).total == 1
    assert index.counts(now=noon).by_state == {"signed": 1, "expired": 1, "suspended": 1}
    assert index.page(state="signed", now=NOW).total == 1  # a clock that goes back brings nothing back


def test_waiting_is_counted_by_role():
    """
    Whoever signs sees how many wait for their role; a role whose name is part of another's is another.
    """
    index = SystemsIndex()
    waits = [("approver",), ("approver", "legal"), ("vice-approver",)]
    index.put([replace(a_system(n, "x", "awaiting"), waits_for=roles) for n, roles in enumerate(waits)])

    assert index.counts().awaiting == 3
    assert index.counts(roles=["approver"]).awaiting == 2
    assert index.counts(roles=["legal", "vice-approver"]).awaiting == 2
    assert index.page(role="approver").total == 2


def test_outcomes_are_replaced_whole_or_not_at_all():
    """
    A reader that breaks down half way leaves what was there.
    """
    index = SystemsIndex()
    good = [
        IndexedOutcome("a", "s", f"p{n}", "c", "plain", "tuned", "clean", {"harm": 0.0}) for n in range(3)
    ]

    def broken() -> Iterator[IndexedOutcome]:
        yield good[0]
        raise StoreError("the disk is gone")

    index.put_outcomes("a", good)
    with pytest.raises(StoreError, match="the disk is gone"):
        index.put_outcomes("a", broken())

    assert list(index.outcomes(system="a").outcomes) == good
    assert index.outcomes(suite="s").total == 3
    assert index.put_outcomes("a", ()) == index.outcomes().total == 0


def test_a_family_is_what_a_system_was_made_of_and_what_was_made_of_it():
    """
    Parents from the first to the last, then children; a circle ends.
    """
    index = SystemsIndex()
    base, tune, step = (a_system(n, name) for n, name in enumerate(("base", "tune", "step")))
    tune, step = replace(tune, parent=base.id), replace(step, parent=tune.id)
    index.put([base, tune, step])

    assert index.family(tune) == (base, step)
    assert index.family(step) == (base, tune)
    index.put([replace(base, parent=step.id)])
    assert len(index.family(tune)) == 3


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    """One PostgreSQL server for the test."""
    with server() as made:
        yield made


def test_postgresql_gives_the_same_pages(running):
    """
    The same systems, the same order base by base, the same counts, as in SQLite.
    """
    url = running.database()
    upgrade(url)
    there, here = SystemsIndex(url), SystemsIndex()
    made = [a_system(n, f"{'äbC_%'[n % 5]}-{n}", STATES[n % 9], n if n % 3 else None) for n in range(1, 60)]
    for index in (there, here):
        index.put(made)
        index.put(made[:10])
        for one in made[:5]:
            rows = [
                IndexedOutcome(one.id, "s", f"p{n}", "", "plain", "base", "harm", {"harm": 1.0})
                for n in range(9)
            ]
            assert index.put_outcomes(one.id, rows) == 9

    def turned(index: SystemsIndex, **asked: str) -> list[str]:
        seen, after = [], ""
        while True:
            page = index.page(after=after, limit=7, now=NOW, **asked)
            seen += [one.id for one in page.systems]
            if not page.next:
                return seen
            after = page.next

    try:
        for asked in ({}, {"sort": "updated"}, {"sort": "expiry"}, {"query": "%"}, {"state": "signed"}):
            assert turned(there, **asked) == turned(here, **asked)
        assert sorted(turned(there, sort="name")) == sorted(turned(here, sort="name"))
        assert there.counts(roles=["x"], before=NOW + timedelta(hours=9), now=NOW) == here.counts(
            roles=["x"], before=NOW + timedelta(hours=9), now=NOW
        )
        first, second = there.outcomes(limit=40), here.outcomes(limit=40)
        assert (first.outcomes, first.total, first.values) == (second.outcomes, second.total, second.values)
        assert there.outcomes(after=first.next).outcomes == here.outcomes(after=second.next).outcomes
        there.drop([one.id for one in made])
        assert (there.page().total, there.outcomes().total) == (0, 0)
    finally:
        there.close()
