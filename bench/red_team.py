"""
Attack Recert over a finished `make demo`: every attack that the project knows, each after a set-up that gives yes.

    make red-team                                   # both cores, within 20 minutes
    python bench/red_team.py --kind status          # one kind
    python bench/red_team.py --attack 'files: hard link'

An attack works on a private copy; nothing of the demo is changed. Prints one JSON line a claim, a table by kind on
stderr, and exits with 1 where a wrong yes or a defect was found, or a set-up did not give yes. `--write` makes the
measured part of `docs/concepts/red-team.md`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("RECERT_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from peers.page import claim, machine
from red_team_cases import every_attack
from red_team_cases.attacks import KINDS, Attack, Result, try_attack, try_control
from red_team_cases.desks import World
from red_team_cases.opening import open_world

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "concepts" / "red-team.md"
BEGIN, END = "<!-- bench/red_team.py: begin -->\n", "<!-- bench/red_team.py: end -->\n"
LEAST_ATTACKS = 162
"""Each of the twelve findings, and 150 more of their kinds."""
WITHIN_S = 1200
_world: World | None = None


def main() -> int:
    """Try every attack that was asked for, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--demo", type=Path, default=ROOT / "build" / "demo", help="folder of a finished demo"
    )
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this kind; may be repeated")
    parser.add_argument("--attack", action="append", help="only the attack of this name; may be repeated")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--write", action="store_true", help="write the page's measured part")
    given = parser.parse_args()
    if not (given.demo / "sql" / "certificate.json").is_file():
        print(f"there is no finished demo in {given.demo}: run `make demo` first", file=sys.stderr)
        return 2
    attacks = [
        one
        for one in every_attack().values()
        if (not given.kind or one.kind in given.kind) and (not given.attack or one.id in given.attack)
    ]
    attacks.sort(key=lambda one: KINDS.index(one.kind))
    began = time.monotonic()
    controls, results = run(attacks, open_world(given.demo), given.workers)
    seconds = time.monotonic() - began
    whole = not (given.kind or given.attack)
    broken = tell(attacks, controls, results, seconds=seconds, whole=whole)
    table = "\n".join(_table(attacks, controls, results))
    print(f"\n{table}\n{seconds:.0f} s on {machine()}", file=sys.stderr)
    if given.write:
        _write(table, attacks, results, seconds)
    return 1 if broken else 0


def run(
    attacks: Sequence[Attack], world: World, workers: int, told: Callable[[str], None] | None = None
) -> tuple[dict[str, Result], dict[str, Result]]:
    """
    Try the control of every way, and then every attack; returns what came of both, by name.

    Args:
        attacks: what to try.
        world: the demo.
        workers: processes; 0 for this one.
        told: told of each that is not as it should be; by default on stderr.
    """
    global _world  # noqa: PLW0603 - what the processes inherit
    _world = world
    say = told or (lambda words: print(words, file=sys.stderr, flush=True))
    ways = {one.way.name: one for one in attacks}
    controls = dict(_each(_control, [one.id for one in ways.values()], workers))
    for name, control in controls.items():
        if control.wrong or control.defects:
            say(f"VOID: {name}: {(control.wrong or control.defects)[0]}")
    holding = {name for name, control in controls.items() if not control.wrong and not control.defects}
    tried = [one.id for one in attacks if one.way.name in holding]
    results = {}
    for name, result in _each(_attack, tried, workers):
        results[name] = result
        if result.wrong or result.defects:
            say(f"{'WRONG YES' if result.wrong else 'DEFECT'}: {name}: {(result.wrong or result.defects)[0]}")
    return controls, results


def _each(
    work: Callable[[str], tuple[str, Result]], ids: Sequence[str], workers: int
) -> Iterator[tuple[str, Result]]:
    if not workers:
        yield from map(work, ids)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        for done in as_completed([pool.submit(work, one) for one in ids]):
            yield done.result()


def _control(attack_id: str) -> tuple[str, Result]:
    assert _world is not None
    way = every_attack()[attack_id].way
    return way.name, try_control(way, _world)


def _attack(attack_id: str) -> tuple[str, Result]:
    assert _world is not None
    return attack_id, try_attack(every_attack()[attack_id], _world)


def off_aim(one: Attack, result: Result) -> list[str]:
    """Return the codes with which an attack was refused that are not those that it aims at."""
    return sorted(set(result.codes) - one.stopped_by) if one.stopped_by else []


def tell(
    attacks: Sequence[Attack],
    controls: Mapping[str, Result],
    results: Mapping[str, Result],
    *,
    seconds: float,
    whole: bool,
) -> bool:
    """Print a claim of each attack and of all of them; say whether one of those that must hold does not."""
    versions = {"recert": version("recert")}
    for one in attacks:
        result = results.get(one.id)
        facts: dict[str, Any] = {
            "kind": one.kind,
            "finding": one.finding,
            "attacker": one.by,
            "says": one.says,
        }
        if result is None or result.skipped:
            reason = result.skipped if result is not None else f"void: {one.way.name} is not a yes"
            claim(
                f"wrong yes: {one.id}", None, 0, least=False, n=0, versions=versions, reason=reason, **facts
            )
            continue
        facts["refused_with"] = dict(result.codes)
        if result.wrong or result.defects:
            facts["found"] = (result.wrong + result.defects)[:5]
        claim(
            f"wrong yes: {one.id}",
            len(result.wrong) + len(result.defects),
            0,
            least=False,
            n=result.n,
            versions=versions,
            **facts,
        )
    asked = sum(result.n for result in results.values())
    done = [one for one in attacks if one.id in results and not results[one.id].skipped]
    void = [name for name, control in controls.items() if control.wrong or control.defects]
    off = [one.id for one in done if off_aim(one, results[one.id])]
    lines = [
        claim(
            "wrong yes",
            sum(len(r.wrong) for r in results.values()),
            0,
            least=False,
            n=asked,
            versions=versions,
        ),
        claim(
            "tracebacks, hangs and errors without a name",
            sum(len(r.defects) for r in results.values()),
            0,
            least=False,
            n=asked,
            versions=versions,
        ),
        claim(
            "set-ups that do not give yes before they are attacked",
            len(void),
            0,
            least=False,
            n=len(controls),
            versions=versions,
            void=void,
        ),
        claim(
            "attacks that were refused for another reason than they aim at",
            len(off),
            0,
            least=False,
            n=len(done),
            versions=versions,
            off=off,
        ),
    ]
    if whole:
        found = {one.finding for one in done} - {None}
        lines += [
            claim("attacks tried", len(done), LEAST_ATTACKS, least=True, n=len(attacks), versions=versions),
            claim(
                "findings of the issue of which an attack was tried",
                len(found),
                12,
                least=True,
                n=12,
                versions=versions,
            ),
            claim("seconds", seconds, WITHIN_S, least=False, n=1, versions=versions),
        ]
    return any(line["value"] for line in lines[:3])


def _table(
    attacks: Sequence[Attack], controls: Mapping[str, Result], results: Mapping[str, Result]
) -> Iterator[str]:
    """Lines of a Markdown table: a kind each, and the sum."""
    yield "| kind | attacks | questions asked | wrong yes | errors | not tried | seconds |"
    yield "|---|---|---|---|---|---|---|"
    sums: Counter[str] = Counter()
    for kind in KINDS:
        mine = [one for one in attacks if one.kind == kind]
        if not mine:
            continue
        done = [results[one.id] for one in mine if one.id in results]
        tried = [result for result in done if not result.skipped]
        ways = {one.way.name for one in mine}
        row = {
            "attacks": len(tried),
            "asked": sum(result.n for result in tried),
            "wrong": sum(len(result.wrong) for result in tried),
            "errors": sum(len(result.defects) for result in tried)
            + sum(bool(controls[name].wrong or controls[name].defects) for name in ways),
            "not tried": len(mine) - len(tried),
            "seconds": round(sum(result.seconds for result in tried)),
        }
        sums.update(row)
        yield _row(kind, row)
    yield _row("**all**", sums)


def _row(name: str, row: Mapping[str, int]) -> str:
    cells = (row["attacks"], row["asked"], row["wrong"], row["errors"], row["not tried"], row["seconds"])
    return f"| {name} | {' | '.join(map(str, cells))} |"


def _write(table: str, attacks: Sequence[Attack], results: Mapping[str, Result], seconds: float) -> None:
    """Put the table into the page."""
    there = PAGE.read_text(encoding="utf-8")
    before, rest = there.split(BEGIN)
    findings = Counter(one.finding for one in attacks if one.finding and one.id in results)
    counted = ", ".join(f"{finding}: {count}" for finding, count in sorted(findings.items()))
    text = (
        f"{table}\n\nIn {seconds:.0f} seconds on {machine()}. Attacks by finding of the issue: {counted}.\n"
    )
    PAGE.write_text(f"{before}{BEGIN}{text}{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
