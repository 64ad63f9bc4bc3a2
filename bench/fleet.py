"""
What a fleet of 10,000 adapters on 20 bases takes that is certified anew every week, and what breaks first.

Unit costs are measured here and now in CPU seconds of one thread on the embedded model; the parts that a fleet meets
(certificates, status list, queue, cache, log, gateway) run with their real code at the fleet's size. What an evaluation
asks is counted by `evaluate` itself under the shipped policy `default`, on scripted models whose rates are known. GPUs
are sized from figures of others, each with its source. A queueing simulation then says how many workers and people keep
certificates from lapsing; it is checked against M/M/c in the same run.

Writes `build/fleet/table.json`; `--write` makes the measured part of `docs/concepts/fleet.md` and its plot from it.
`--page FILE` does so from a table that is there already.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean
from typing import Any

os.environ.setdefault("RECERT_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from fleet_parts import counted, pieces, scenarios, sizing, units
from fleet_parts.page import drawing, page
from peers.page import claim, machine
from recert.certification.signing.content import canary_rates
from recert.errors import RecertError
from recert.policy import load_policy

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "concepts" / "fleet.md"
PLOT = ROOT / "docs" / "concepts" / "fleet.svg"
TABLE = ROOT / "build" / "fleet" / "table.json"
BEGIN, END = "<!-- bench/fleet.py: begin -->\n", "<!-- bench/fleet.py: end -->\n"
QUEUE_JOBS, QUEUE_ENDED = 120, 100_000
ERLANG_WITHIN = 0.06


def measure(plant: sizing.Plant, runs: int, seed: int) -> dict[str, Any]:
    """Measure, size and simulate; return everything that the page says."""
    began, cpu = time.monotonic(), time.process_time()
    policy = load_policy("default")
    tell("what evaluations ask")
    asked = counted.count(policy, runs, seed=seed)
    tell("unit costs on the embedded model")
    unit = units.measure(asked[1].chats)
    tell("parts at the fleet's size")
    parts = measure_pieces(asked, plant)
    passing = asked[0].report
    assert passing is not None
    canary = len(canary_rates(passing.rules, passing.required_controls))
    canary_replies = canary * policy.monitoring.canary_prompts
    service_h = sizing.service_hours(asked, unit, plant)
    tell("the queue")
    wait, waited, each = scenarios.against_erlang(seed)
    ways = sizing.ways(asked, unit, plant, canary_replies)
    table: dict[str, Any] = {
        "plant": asdict(plant),
        "asked": [
            {
                "kind": one.kind.name, "share": one.kind.share, "tuned": one.tuned, "base_made": one.base_made,
                "verdicts": one.verdicts, "cpu_s": fmean(one.cpu_s), "evidence_bytes": fmean(one.evidence_bytes),
                "packed_bytes": fmean(one.packed_bytes),
            }
            for one in asked
        ],
        "canary": canary,
        "canary_replies": canary_replies,
        "units": asdict(unit),
        "pieces": asdict(parts),
        "published": [asdict(one) for one in sizing.PUBLISHED],
        "lora_share": sizing.LORA_SHARE,
        "ways": [asdict(one) for one in ways],
        "start_share": (ways[1].evaluations * plant.start_s / sizing.HOUR_S) / ways[1].a100_hours,
        "erlang": {"wait": wait, "waited": waited, "runs": len(each), "each": each},
        "against_workers": [row.plain() for row in scenarios.against_workers(service_h, plant, seed)],
        "around": [row.plain() for row in scenarios.around(service_h, plant, seed)],
        "limits": [asdict(one) | {"room": one.room} for one in sizing.limits(asked, unit, parts, plant)],
        "sizes": sizing.sizes(service_h, unit, plant),
        "storage": sizing.storage(asked, parts, plant),
        "proof_hashes": sizing.proof_hashes(plant.adapters * 52),
    }  # fmt: skip
    spent = time.process_time() - cpu
    table["made"] = (
        f"Made by `python bench/fleet.py --write` in {spent:.0f} CPU seconds ({time.monotonic() - began:.0f} s on the "
        f"clock of a busy machine) on {machine()}, {', '.join(f'{k} {v}' for k, v in versions().items())}. Rates a "
        "second of databases and logs are on that clock too, so a free machine has higher ones; all else is CPU time."
    )
    return json.loads(json.dumps(table))  # type: ignore[no-any-return]


def measure_pieces(asked: Sequence[counted.Asked], plant: sizing.Plant) -> sizing.Pieces:
    """Measure the parts, PostgreSQL where there is a server to run."""
    report = asked[0].report
    assert report is not None
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        one = pieces.certified(folder / "one", report)
        certificates, gateway = pieces.certificates(one), pieces.gateway(one, plant.adapters)
        queues = [pieces.queue_on(folder / "q.sqlite", "SQLite", jobs=QUEUE_JOBS, ended=QUEUE_ENDED)]
        try:
            with pieces.postgresql() as url:
                name = "PostgreSQL, no sync"
                queues.append(pieces.queue_on(url, name, jobs=QUEUE_JOBS, ended=QUEUE_ENDED))
        except RecertError as exc:
            tell(f"PostgreSQL is left out: {exc.message}")
        return sizing.Pieces(
            certificates, pieces.status_list(one, plant.adapters), gateway, queues, pieces.store(folder)
        )


def tell(words: str) -> None:
    """Say what goes on."""
    print(words, file=sys.stderr, flush=True)


def versions() -> dict[str, str]:
    """Return the versions of what took part."""
    found = {}
    for name in ("recert", "torch", "transformers", "peft", "sqlalchemy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def claims(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Print what is claimed about a table, and return it."""
    said: dict[str, Any] = {"versions": versions()}
    rhythms: dict[str, list[dict[str, Any]]] = {}
    for row in table["against_workers"]:
        rhythms.setdefault(row["scenario"], []).append(row)
    most = [rows[-1] for name, rows in rhythms.items() if "replaced" not in name]
    status, parts = table["pieces"]["status"], table["pieces"]
    equal, n = table["asked"][1], table["plant"]["adapters"]
    each = table["erlang"]["each"]
    out = [
        claim("simulated mean wait beside M/M/c, off by", abs(table["erlang"]["wait"] - 1), ERLANG_WITHIN, least=False,
              n=len(each), interval=(min(each), max(each)), **said),
        claim("share out of service with the most workers, no update", max(row["lapsed"] for row in most), 0.0,
              least=False, n=n, **said),
        claim("share of equal tunes that pass, both arms err on 2 %",
              equal["verdicts"].count("pass") / len(equal["verdicts"]), 0.95, least=True, n=len(equal["verdicts"]),
              **said),
        claim("people for a signature on every certificate each week",
              n * table["plant"]["sign_minutes"] / 60 / table["plant"]["working_h"], table["plant"]["people"],
              least=False, n=n, **said),
        claim("models that one core looks at each second", 1 / status["recheck_s"], n / table["plant"]["bases"],
              least=True, n=20, **said),
        claim("CPU seconds to verify the fleet's certificates, files apart", n * parts["certificates"]["verify_s"], 600,
              least=False, n=30, **said),
        claim("entries that a status list can hold", status["largest"], n, least=True, n=1, **said),
        claim("microseconds to find one of the fleet's models", parts["gateway"]["find_s"] * 1e6, 10, least=False, n=3,
              **said),
        claim("claims a second with ten weeks of ended jobs, slowest database",
              min(one["claims_late_per_s"] for one in parts["queues"]), 10, least=True, n=QUEUE_JOBS, **said),
    ]  # fmt: skip
    return out


def write_page(table: Mapping[str, Any]) -> None:
    """Put the measured part and the plot into the docs."""
    there = PAGE.read_text(encoding="utf-8")
    before, _, rest = there.partition(BEGIN)
    PAGE.write_text(
        before + BEGIN + "\n" + page(table) + "\n\n" + END + rest.partition(END)[2], encoding="utf-8"
    )
    PLOT.write_text(drawing(table) + "\n", encoding="utf-8")


def main() -> int:
    """Print a JSON line a claim."""
    plant = sizing.Plant()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--adapters", type=int, default=plant.adapters)
    parser.add_argument("--bases", type=int, default=plant.bases)
    parser.add_argument("--people", type=int, default=plant.people, help="who sign")
    parser.add_argument(
        "--sign-minutes", type=float, default=plant.sign_minutes, help="of a person, for a signature"
    )
    parser.add_argument(
        "--start-s", type=float, default=plant.start_s, help="until an engine has loaded its base"
    )
    parser.add_argument("--workers", type=int, default=plant.workers, help="with a GPU each, that there are")
    parser.add_argument(
        "--runs", type=int, default=6, help="evaluations of the kind of tune that differs most"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write docs/concepts/fleet.md and its plot")
    parser.add_argument("--page", type=Path, metavar="FILE", help="take a table that is there already")
    given = parser.parse_args()
    if given.page:
        table = json.loads(given.page.read_text(encoding="utf-8"))
    else:
        plant = sizing.Plant(
            adapters=given.adapters,
            bases=given.bases,
            people=given.people,
            sign_minutes=given.sign_minutes,
            start_s=given.start_s,
            workers=given.workers,
        )
        table = measure(plant, given.runs, given.seed)
        TABLE.parent.mkdir(parents=True, exist_ok=True)
        TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    if given.write or given.page:
        write_page(table)
    print(page(table), file=sys.stderr)
    claims(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
