"""At 10,000 systems and 100,000 outcomes pages are small, and every query finds its rows by an index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sql
from starlette.testclient import TestClient

from builders import make_policy
from console_world import OneVisitor
from indexed_many import fill
from recert.console import systems_pages
from recert.console.acts import Acts
from recert.console.app import Console, make_app
from recert.console.assembling import console_environment
from recert.console.evaluations import outcomes_pages
from recert.console.visiting import Visitor
from recert.store.systems.systems_index import SORTS, SystemsIndex

MOST_BYTES = 200_000
LISTS = (
    "/console/",
    *(f"/console/?sort={sort}" for sort in SORTS),
    "/console/?state=awaiting&mine=approver",
    "/console/?state=signed&ends=soon&sort=expiry",
    "/console/?verdict=fail",
    "/console/?kind=checkpoint",
    "/console/?base=base-model-07&state=signed&verdict=pass",
    "/console/?q=tune-0123",
    "/console/outcomes",
    "/console/outcomes?label=harm",
    "/console/outcomes?suite=harmful&category=hate&condition=plain&arm=tuned&label=harm",
)
BY_NUMBER = ("/console/outcomes", "system_outcomes")
"""The page that takes the first rows of the table as they lie."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[SystemsIndex, list[str], TestClient]:
    """The list, the ids of its tunes, and a browser."""
    folder = tmp_path_factory.mktemp("many")
    index = SystemsIndex(folder / "many.sqlite")
    tunes = fill(index, systems=10_000, outcomes=100_000)
    who = OneVisitor(Visitor("Mara", frozenset({"approver"}), "token"))
    console = Console(folder, make_policy(), Acts(folder / "acts"), who, console_environment(), systems=index)
    return index, tunes, TestClient(make_app(console, (*systems_pages.PAGES, *outcomes_pages.PAGES)))


@contextmanager
def asked_of(index: SystemsIndex) -> Iterator[list[tuple[str, Any]]]:
    """Every query while this is open, with what is put in."""
    heard: list[tuple[str, Any]] = []

    def hear(*told: Any) -> None:
        heard.append((told[2], told[3]))

    sql.event.listen(index.engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        sql.event.remove(index.engine, "before_cursor_execute", hear)


def plan(index: SystemsIndex, query: tuple[str, Any]) -> list[str]:
    """How SQLite finds the rows."""
    with index.engine.connect() as link:
        found = link.exec_driver_sql(f"EXPLAIN QUERY PLAN {query[0]}", query[1])
        return [row[-1] for row in found]


@pytest.mark.slow
def test_every_page_asks_by_an_index(filled):
    """
    No page of any filter or order reads a whole table beside an index, or sorts outcomes.
    """
    index, tunes, browser = filled
    here = [f"/console/systems/{tunes[3]}", f"/console/systems/{tunes[3]}/outcomes?label=harm"]
    for page in (*LISTS, *here):
        with asked_of(index) as queries:
            assert browser.get(page).status_code == 200
        plans = [step for query in queries for step in plan(index, query)]

        assert plans
        for table in ("systems", "system_outcomes", "system_files"):
            bare = [step for step in plans if re.match(rf"SCAN {table}\b(?! USING)", step)]
            assert (page, bare) == (page, ["SCAN system_outcomes"] if (page, table) == BY_NUMBER else [])
        if "outcomes" in page:
            sorted_ = [
                s for q in queries if "FROM system_outcomes" in q[0] for s in plan(index, q) if "TEMP" in s
            ]
            assert (page, sorted_) == (page, [])


def test_every_order_without_a_filter_is_an_index_s(filled):
    """
    The pages that are opened most are read off, not sorted, from the first to the last.
    """
    index, _, _ = filled
    for sort in SORTS:
        following = index.page(sort=sort).next
        with asked_of(index) as queries:
            index.page(sort=sort, after=following)
        steps = [step for query in queries for step in plan(index, query)]

        assert (sort, [step for step in steps if "TEMP B-TREE" in step]) == (sort, [])
        assert any(step.startswith("SEARCH systems USING INDEX") for step in steps)


def test_pages_stay_small(filled):
    """
    A page holds so many rows and no more, whatever there is.
    """
    _, tunes, browser = filled
    for page in (*LISTS, f"/console/systems/{tunes[0]}"):
        text = browser.get(page).text

        assert (page, len(text) < MOST_BYTES) == (page, True)
        assert text.count("<tr") <= 101


@pytest.mark.slow
def test_all_pages_of_the_list_hold_every_system_once(filled):
    """
    From link to link: 10,000 systems, base by base, each behind what it was made of.
    """
    index, _, _ = filled
    seen, after = [], ""
    while True:
        page = index.page(after=after, limit=200)
        seen += page.systems
        if not page.next:
            break
        after = page.next
    at = {one.id: number for number, one in enumerate(seen)}

    assert len(at) == len(seen) == 10_000
    assert all(at[one.parent] < at[one.id] for one in seen if one.parent)
    assert len({one.base for one in seen[:502]}) <= 2
