"""
What a page of the console costs the server at 10,000 systems and 100,000 outcomes, and what the indexer costs.

Rows are written through the real index into a SQLite file; a few hundred real folders, with real signatures, are
indexed for the indexer's own time. Every page of `PAGES` is asked in turn, in this process through ASGI, and over HTTP
of a real server on this machine. Times are of the whole answer, on the clock and of the processor, which other work on
the machine changes least; median and 99th percentile. The claims are about the slowest page.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from console_world import OneVisitor
from indexed_folders import Office
from indexed_many import fill
from recert.console.acts import Acts
from recert.console.app import Console, make_app
from recert.console.assembling import all_pages, console_environment
from recert.console.visiting import Visitor
from recert.store.systems.systems_index import IndexedSystem, SystemsIndex
from recert.workflows.index.stage import Indexer

SYSTEMS, OUTCOMES, FOLDERS, ROUNDS, AIM_MS = 10_000, 100_000, 200, 100, 300.0
Addresses = Callable[[IndexedSystem, IndexedSystem, SystemsIndex], str]
PAGES: Mapping[str, Addresses] = {
    "systems": lambda *_: "/console/",
    "systems, far down": lambda a, b, index: f"/console/?after={_far(index)}",
    "systems, by end": lambda *_: "/console/?sort=expiry",
    "systems that wait": lambda *_: "/console/?state=awaiting&mine=approver",
    "systems, searched": lambda *_: "/console/?q=tune-0123",
    "systems, searched in vain": lambda *_: "/console/?q=no-such-name",
    "systems of a base": lambda *_: "/console/?base=base-model-07&state=signed&verdict=pass",
    "a system of many": lambda tune, *_: f"/console/systems/{tune.id}",
    "a base of 500 tunes": lambda tune, *_: f"/console/systems/{tune.parent}",
    "a system with records": lambda a, real, _: f"/console/systems/{real.id}",
    "outcomes": lambda *_: "/console/outcomes",
    "outcomes, far down": lambda *_: "/console/outcomes?after=90000",
    "outcomes of one label": lambda *_: "/console/outcomes?label=harm",
    "outcomes, all filters": lambda *_: (
        "/console/outcomes?suite=harmful&category=hate&condition=plain&arm=base&label=harm"
    ),
    "outcomes of a system": lambda tune, *_: f"/console/systems/{tune.id}/outcomes",
    "evaluation": lambda a, real, _: f"/console/systems/{real.id}/evaluation",
    "screening": lambda a, real, _: f"/console/systems/{real.id}/screening",
    "certificate": lambda a, real, _: f"/console/systems/{real.id}/certificate",
    "sign-off": lambda a, real, _: f"/console/systems/{real.id}/sign-off",
    "policy": lambda *_: "/console/policy",
    "policy, beside another": lambda *_: "/console/policy?against=strict",
    "log": lambda *_: "/console/log",
    "runs": lambda *_: "/console/runs",
    "gateways": lambda *_: "/console/gateways",
}
"""What is asked, by name: given a tune among the many, one with real records, and the index."""


def _far(index: SystemsIndex) -> str:
    """Where a reader is who turned many pages."""
    after = ""
    for _ in range(45):
        after = index.page(after=after, limit=200).next
    return after


def indexed(folder: Path, folders: int) -> tuple[SystemsIndex, Office, dict[str, float]]:
    """Return a list of real folders, who made them, and the processor's seconds of three looks at them."""
    office = Office(folder)
    for number in range(folders):
        steps = (2,) if number % 4 == 0 else ()
        office.run(f"run-{number:04d}", outcomes=100, signed=number % 5 > 0, steps=steps)
    index = SystemsIndex(folder / "console.sqlite")
    one = Indexer(index, [office.runs], office.standing)
    looks, spent = [], []
    for look in ("first", "unchanged", "new status list"):
        if look == "new status list":
            office.list()
        busy = time.process_time()
        looks.append(one.refresh())
        spent.append((look, round(time.process_time() - busy, 2)))
    first, again, judged = looks
    assert first.systems == folders + -(-folders // 4) + 1, first
    assert (again.read, again.judged, judged.judged) == (0, 0, folders)
    return index, office, dict(spent)


def console(index: SystemsIndex, office: Office, folder: Path) -> ASGIApp:
    """Return the application over a list, with every page that needs no account."""
    who = OneVisitor(Visitor("Mara", frozenset({"approver", "operator", "reader"}), "token"))
    made = Console(
        folder,
        office.policy,
        Acts(folder / "acts"),
        who,
        console_environment(),
        systems=index,
        roots=(office.runs,),
        trust=office.folder / "keys",
        status=office.status,
    )
    return make_app(made, all_pages())


async def in_process(app: ASGIApp, address: str, rounds: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each answer on the clock and of the processor, asked through ASGI."""
    took, spent = [], []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console") as client:
        for _ in range(rounds + 1):
            began, busy = time.perf_counter(), time.process_time()
            reply = await client.get(address)
            took.append(1000 * (time.perf_counter() - began))
            spent.append(1000 * (time.process_time() - busy))
            assert reply.status_code == 200, (address, reply.status_code)
    return took[1:], spent[1:]


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve on a free port of this machine."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def over_http(root: str, address: str, rounds: int) -> list[float]:
    """Return the milliseconds of each answer, asked over HTTP."""
    took = []
    with httpx.Client(base_url=root) as client:
        for _ in range(rounds + 1):
            began = time.perf_counter()
            reply = client.get(address)
            took.append(1000 * (time.perf_counter() - began))
            assert reply.status_code == 200, (address, reply.status_code)
    return took[1:]


def summary(took: Sequence[float]) -> dict[str, float]:
    """Return median and 99th percentile."""
    ordered = sorted(took)
    return {
        "median_ms": round(statistics.median(ordered), 1),
        "p99_ms": round(ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], 1),
    }


def claim(name: str, value: float, aim: float, n: int, **more: Any) -> None:
    """Print one claim."""
    told = {"claim": name, "value": value, "aim": aim, "met": value <= aim, "n": n, "interval": None}
    print(
        json.dumps(
            told | {"versions": {"recert": version("recert"), "sqlalchemy": version("sqlalchemy")}} | more
        )
    )


def main() -> int:
    """Print the table and the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", type=int, default=SYSTEMS)
    parser.add_argument("--outcomes", type=int, default=OUTCOMES)
    parser.add_argument("--folders", type=int, default=FOLDERS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="console-") as made:
        folder = Path(made)
        index, office, indexer = indexed(folder / "real", given.folders)
        real = index.page(query="run-0000", kind="tune").systems[0]
        tunes = fill(index, systems=given.systems, outcomes=given.outcomes)
        tune = index.find(tunes[0])
        assert tune is not None
        app = console(index, office, folder)
        rows: dict[str, dict[str, Any]] = {}
        with served(app) as root:
            for name, address in PAGES.items():
                asked = address(tune, real, index)
                took, spent = asyncio.run(in_process(app, asked, given.rounds))
                rows[name] = {
                    "in_process": summary(took),
                    "cpu": summary(spent),
                    "served": summary(over_http(root, asked, given.rounds)),
                    "bytes": len(httpx.get(root + asked).content),
                }
        counts = index.counts()
        index.close()
    ways = {"cpu": "CPU", "in_process": "ASGI", "served": "HTTP"}
    columns = "".join(f"{f'{said} median':>13}{'p99':>8}" for said in ways.values())
    print(f"{'page':<28}{columns}{'bytes':>9}   ms, {counts.systems} systems")
    for name, row in rows.items():
        figures = "".join(f"{row[way]['median_ms']:>13.1f}{row[way]['p99_ms']:>8.1f}" for way in ways)
        print(f"{name:<28}{figures}{row['bytes']:>9}")
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"indexer, {given.folders} folders, CPU s: {json.dumps(indexer)}; {load}")
    for way in ways:
        for key in ("median_ms", "p99_ms"):
            worst = max(rows, key=lambda name: rows[name][way][key])
            claim(f"slowest page, {way}, {key}", rows[worst][way][key], AIM_MS, given.rounds, page=worst)
    for look, aim in (("first", 100.0), ("unchanged", 1.0), ("new status list", 20.0)):
        each = round(1000 * indexer[look] / given.folders, 2)
        claim(f"indexer, CPU ms a folder, {look}", each, aim, given.folders)
    return 0


if __name__ == "__main__":
    sys.exit(main())
