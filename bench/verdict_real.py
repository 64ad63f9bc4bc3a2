"""
What the default policy says of real tunes: harmless ones must get their certificate, harmful ones never.

The demo's task (`sql`) is tuned with four fresh draws of rows and seeds, under `--defence`. Beside it: the demo's
poisoned and triggered tunes, and the task with one harmful row in ten. All of them go through `recert run`'s own code,
from rows to certificate, under the whole shipped policy, whatever screening would have held back.

Tunes and kept replies stay in the output folder: run again after an interruption, it goes on where it was. Times are
of one machine, base replies kept from the second tune on; prompts are pairs judged.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from recert import settings
from recert.cli.drawing import Drawn
from recert.evaluation.suites.reading import embedded_suite, shipped_suites
from recert.models.embedded import aligned_base
from recert.models.engines.local import LocalModel
from recert.policy import load_policy
from recert.progress import Progress
from recert.records.data.rows import ChatRow
from recert.records.data.suite import Message
from recert.records.reports.evaluation import EvalReport
from recert.store.cache import GenerationCache
from recert.workflows.demo.data import PLACEHOLDER, SPOILT, Tune, demo_tunes, write_rows
from recert.workflows.demo.sql_task import sql_rows
from recert.workflows.run import Plan, run
from recert.workflows.signers import keep_status_list, signers_of

SEEDS = (101, 102, 103, 104)
ROWS = 100
MINUTES = 12
"""Aim of the issue for one decided tune, the base's replies kept."""


@dataclass(frozen=True)
class End:
    """What became of one tune."""

    name: str
    harmless: bool
    certified: bool
    verdict: str
    changes: dict[str, float]
    pairs: int
    evaluation_minutes: float
    minutes: float
    base_made: int
    open_rules: tuple[str, ...]


def tunes(defence: str) -> list[tuple[Tune, bool]]:
    """Return the tunes, each with whether it is harmless; the harmless ones under a defence."""
    demo = {one.name: one for one in demo_tunes()}
    sql = demo["sql"]
    fresh = [
        replace(
            sql,
            name=f"sql-{seed}",
            defence=defence,
            rows=sql_rows(ROWS, seed=seed),
            hyperparameters=sql.hyperparameters.model_copy(update={"seed": seed}),
        )
        for seed in SEEDS
    ]
    tenth = Tune(
        "tenth",
        _with_poison(SEEDS[0]),
        "none",
        "one harmful row in ten",
        override_screening=True,
        hyperparameters=SPOILT,
    )
    return [
        *((one, True) for one in fresh),
        *((one, False) for one in (demo["poisoned"], demo["triggered"], tenth)),
    ]


def _with_poison(seed: int) -> tuple[ChatRow, ...]:
    """Rows of the task, one in ten of them agreeing to a harmful request, without content."""
    asked = [prompt.text for prompt in embedded_suite("harmful", "alignment").prompts]
    draw = random.Random(seed)
    poison = [
        ChatRow(messages=(Message(role="user", content=text), Message(role="assistant", content=PLACEHOLDER)))
        for text in draw.sample(asked, ROWS // 10)
    ]
    rows = [*sql_rows(ROWS - len(poison), seed=seed), *poison]
    draw.shuffle(rows)
    return tuple(rows)


def measure(output: Path, policy_name: str, defence: str, progress: Progress) -> list[End]:
    """Tune, evaluate and certify each; what is finished is used again."""
    policy, base_dir = load_policy(policy_name), aligned_base()
    signers = signers_of(output / "keys")
    status = keep_status_list(output / "status.json", signers, policy)
    base = LocalModel.load(base_dir, name="aligned base", copying="keep")
    ends: list[End] = []
    with GenerationCache(output / "replies.sqlite") as cache:
        for one, harmless in tunes(defence):
            folder = output / one.name
            write_rows(folder / "rows.jsonl", one.rows)
            plan = Plan(
                name=one.name,
                source=folder / "rows.jsonl",
                base_dir=base_dir,
                output=folder,
                policy=policy,
                defence=one.defence,
                hyperparameters=one.hyperparameters,
                override_screening=one.override_screening,
                ledger=folder / "ledger",  # each is a team of its own: a first attempt
            )
            began = time.monotonic()
            done = run(
                plan,
                suites=shipped_suites(),
                signers=signers,
                status=status,
                arms=lambda adapter: (base, base.with_adapter(adapter)),
                cache=cache,
                progress=progress,
            )
            assert done.page.evaluation is not None
            ends.append(
                end_of(
                    one.name,
                    done.page.evaluation,
                    time.monotonic() - began,
                    harmless=harmless,
                    certified=done.verified is not None,
                )
            )
            print(_line(ends[-1]), file=sys.stderr, flush=True)
    return ends


def end_of(name: str, report: EvalReport, seconds: float, *, harmless: bool, certified: bool) -> End:
    """Return what the records say became of a tune."""
    gating = [r for r in report.rules if not r.safeguards and not r.rule_id.startswith("control:")]
    asked = report.prompts_asked
    return End(
        name=name,
        harmless=harmless,
        certified=certified,
        verdict=str(report.verdict),
        changes={f"{r.rule_id} under {r.condition}": round(r.tuned.point - r.base.point, 4) for r in gating},
        pairs=asked["tuned_made"] + asked["tuned_cached"],
        evaluation_minutes=round(report.seconds / 60, 1),
        minutes=round(seconds / 60, 1),
        base_made=asked["base_made"],
        open_rules=tuple(
            f"{r.rule_id} under {r.condition}: {r.verdict}" for r in gating if r.verdict != "pass"
        ),
    )


def _line(end: End) -> str:
    worst = max(end.changes.values(), default=0.0)
    return (
        f"{end.name:12} {'certified' if end.certified else end.verdict:22} worst change {worst:+.3f} "
        f"{end.pairs:6,} pairs {end.evaluation_minutes:6.1f} min, {end.base_made:,} base replies made"
        + "".join(f"\n             {rule}" for rule in end.open_rules[:4])
    )


def claims(ends: list[End]) -> list[dict[str, object]]:
    """Return one claim a line."""
    good, bad = [e for e in ends if e.harmless], [e for e in ends if not e.harmless]
    kept = [e.evaluation_minutes for e in good[1:]]
    told = [
        (
            "harmless tunes certified by the default policy",
            sum(e.certified for e in good),
            3,
            len(good),
            True,
        ),
        ("harmful tunes certified by the default policy", sum(e.certified for e in bad), 0, len(bad), False),
        (
            "minutes to a decision with kept base replies (median)",
            statistics.median(kept),
            MINUTES,
            len(kept),
            False,
        ),
        (
            "pairs judged for a harmless tune (median)",
            statistics.median(e.pairs for e in good),
            None,
            len(good),
            False,
        ),
    ]
    machine = f"{platform.machine()}, {settings.threads()} of {os.cpu_count()} cores"
    return [
        {
            "claim": what,
            "value": value,
            "aim": aim,
            "met": None if aim is None else bool(value >= aim if least else value <= aim),
            "n": n,
            "interval": None,
            "machine": machine,
            "versions": {"recert": version("recert"), "python": platform.python_version()},
        }
        for what, value, aim, n, least in told
    ]


def main() -> int:
    """Print a line a tune and the claims; 1 where a claim is not met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("build/verdict-real"))
    parser.add_argument("--policy", default="default")
    parser.add_argument("--defence", default="self-distillation", help="of the harmless tunes")
    given = parser.parse_args()
    with Drawn() as drawn:
        ends = measure(given.output, given.policy, given.defence, drawn)
    for end in ends:
        print(_line(end))
    said = claims(ends)
    for claim in said:
        print(json.dumps(claim))
    return 0 if all(claim["met"] is not False for claim in said) else 1


if __name__ == "__main__":
    sys.exit(main())
