"""
What it costs to evaluate the second tune of one base, of what the first cost.

`evaluate` under the shipped demo policy with every rule asking a fixed number of prompts, so that both tunes are
asked the same. The first finds an empty cache; the second finds the base's replies there and asks the tuned arm alone.
Both tunes take each place in turn, with a new cache each time, so that a slower one falls on both sides. Loading is
left out on both: one base is in memory for all of them. A tune with its adapter is slower than its bare base and
judging is done for both arms, so that half is more than can be reached.

By default on a random model of about 1M parameters with two random adapters; with `--embedded` also on the approved
base of the demo, with two tunes of three steps of `recert tune`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peers.page import claim, claims_table, filled, machine, write_part
from recert import settings
from recert.evaluation.stage import evaluate
from recert.evaluation.suites.reading import EMBEDDED, embedded_suite
from recert.models.protocol import Model
from recert.policy import Policy, load_policy
from recert.records.data.suite import Suite
from recert.records.reports.tuning import Hyperparameters
from recert.store.cache import GenerationCache
from recert.workflows.demo.sql_task import SYSTEM, sql_rows, sql_suite

AIM = 0.55
Load = Callable[[Path], tuple[Model, Sequence[Model]]]


@dataclass
class Spent:
    """Seconds and CPU seconds of each first and second evaluation, and what they asked."""

    wall: dict[str, list[float]] = field(default_factory=lambda: {"first": [], "second": []})
    cpu: dict[str, list[float]] = field(default_factory=lambda: {"first": [], "second": []})
    asked: dict[str, dict[str, int]] = field(default_factory=dict)


def fixed_policy(prompts: int) -> Policy:
    """Return the demo's policy with one number of prompts for every rule."""
    policy = load_policy("demo")
    bounds = policy.evaluation.model_copy(update={"min_prompts": prompts, "max_prompts": prompts})
    return policy.model_copy(update={"evaluation": bounds})


def suites() -> dict[str, Suite]:
    """Return the suites that the policy's rules name."""
    return {**{name: embedded_suite(name) for name in EMBEDDED}, "task": sql_suite(48, seed=99)}


def measure(base: Model, tunes: Sequence[Model], policy: Policy, rounds: int) -> Spent:
    """Return what first and second evaluations took. The first round is a warm-up."""
    spent, prompts = Spent(), suites()
    for turn in range(rounds + 1):
        with tempfile.TemporaryDirectory() as scratch, GenerationCache(Path(scratch) / "replies") as cache:
            order = tunes if turn % 2 else tuple(reversed(tunes))
            for place, tuned in zip(("first", "second"), order, strict=True):
                wall, cpu = time.perf_counter(), time.process_time()
                done = evaluate(
                    base,
                    tuned,
                    suites=prompts,
                    policy=policy,
                    model_name="tune",
                    training_context=[SYSTEM],
                    cache=cache,
                )
                if turn:
                    spent.wall[place].append(time.perf_counter() - wall)
                    spent.cpu[place].append(time.process_time() - cpu)
                spent.asked[place] = dict(done.report.prompts_asked)
            print(f"round {turn} of {rounds}", file=sys.stderr)
    assert spent.asked["second"]["base_made"] == 0, "the base was asked again"
    return spent


def tiny(scratch: Path) -> tuple[Model, Sequence[Model]]:
    """Return a random base, and two random adapters on it."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from recert.models.engines.local import LocalModel
    from tiny_models import make_adapter, make_base

    folder = make_base(scratch / "base", width=128, layers=8)
    base = LocalModel.load(folder)
    return base, [base.with_adapter(make_adapter(scratch / f"tune-{i}", folder, seed=i)) for i in (1, 2)]


def embedded(scratch: Path) -> tuple[Model, Sequence[Model]]:
    """Return the demo's base, and two tunes of three steps on it."""
    from recert.models.embedded import aligned_base
    from recert.models.engines.local import LocalModel
    from recert.tuning.stage import tune

    folder = aligned_base()
    how = Hyperparameters(lora_targets=("q_proj", "v_proj"), epochs=1, batch_size=8)
    for i in (1, 2):
        tune(folder, sql_rows(24, seed=i), scratch / f"tune-{i}", hyperparameters=how)
    base = LocalModel.load(folder)
    return base, [base.with_adapter(scratch / f"tune-{i}" / "adapter") for i in (1, 2)]


def run(label: str, load: Load, prompts: int, rounds: int) -> str:
    """Measure one base, print its claims, and return what the page says."""
    with tempfile.TemporaryDirectory() as scratch:
        base, tunes = load(Path(scratch))
        spent = measure(base, tunes, fixed_policy(prompts), rounds)
    versions = {name: version(name) for name in ("recert", "torch", "transformers", "peft")}
    lines: list[Mapping[str, Any]] = []
    for what, seconds in (("wall time", spent.wall), ("CPU time", spent.cpu)):
        ratios = [second / first for first, second in zip(seconds["first"], seconds["second"], strict=True)]
        line = claim(
            f"{what} of a second tune over the first's, {label}",
            statistics.median(ratios),
            AIM,
            least=False,
            n=len(ratios),
            interval=(min(ratios), max(ratios)),
            versions=versions,
            model=label,
            seconds={place: round(statistics.median(some), 2) for place, some in seconds.items()},
            asked=spent.asked,
            threads=settings.threads(),
        )
        lines.append(line)
    seconds = ", ".join(
        f"{place} {statistics.median(spent.wall[place]):.1f} s ({statistics.median(spent.cpu[place]):.1f} s of CPU)"
        for place in ("first", "second")
    )
    made = spent.asked["first"]
    said = (
        f"{made['base_made']} replies of the base and {made['tuned_made']} of the tune for the first, "
        f"{spent.asked['second']['tuned_made']} of the tune alone for the second; medians of {rounds} pairs: "
        f"{seconds}. {machine()}, {', '.join(f'{k} {v}' for k, v in versions.items())}."
    )
    return "\n\n".join([f"### {label}", filled(said), claims_table(lines)])


def main() -> int:
    """Print a JSON line a claim."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--embedded", action="store_true", help="measure the demo's base too")
    parser.add_argument("--prompts", type=int, default=24, help="a rule; the embedded base gets half")
    parser.add_argument("--write", action="store_true", help="write docs/concepts/evaluation-speed.md")
    given = parser.parse_args()
    texts = [run("random Llama, 1M parameters", tiny, given.prompts, rounds=6)]
    if given.embedded:
        texts.append(run("aligned SmolLM2-135M", embedded, max(2, given.prompts // 2), rounds=3))
    if given.write:
        intro = "\n\n".join(filled(one) for one in (__doc__ or "").strip().split("\n\n")[1:])
        write_part("second_tune", "\n\n".join(["## The second tune of one base", intro, *texts]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
