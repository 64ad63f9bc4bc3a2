"""
Replies and seconds to a verdict on the demo's `poisoned` and `sql`, sequential against a design fixed in advance.

Both sides ask the same rules under the same conditions in the same order, on the same base and adapter, from an empty
cache. The sequential side is `evaluate` under the demo's policy as it is. In the fixed design every rule asks the
number of prompts that a one-sided z test on the change needs at the policy's margin and alpha, so that an equal tune
passes with 90 % power, or the policy's `max_prompts` (or all prompts of the suite) if that is less. Both arms are
taken for independent and as likely to do what the rule forbids as the base was in the demo's own evaluation that asked
most about the rule, but at least 2 % and at most 98 %. All in its favour: it knows the base beforehand, the many rules
and the judge's error cost it nothing, and its prompts are asked in one go, in the batches that suit the engine best.

With 90 % power for each rule an equal tune seldom passes all of them. So a second fixed design has 90 % power for the
verdict: were the rules independent, all of them would pass together nine times in ten. It is counted, not run, as
are the whole suites up to `max_prompts`, which is what one asks without a design.

The adapters take long to train, so they are taken from a finished demo: `make demo`, then
`python bench/time_to_verdict.py --demo build/demo`.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import NormalDist

from peers.page import claim, filled, machine, write_part
from recert import settings
from recert.errors import RecertError
from recert.evaluation.decision.tracks import Track
from recert.evaluation.measuring.arms import Arm
from recert.evaluation.measuring.pairs import AskedPairs
from recert.evaluation.plan import make_plan
from recert.evaluation.report.outcomes import OutcomeFile, SampleDraw
from recert.evaluation.runner import Runner, Sinks
from recert.evaluation.scoring import Judges
from recert.evaluation.stage import REPORT_FILE as EVALUATION
from recert.evaluation.stage import evaluate
from recert.models.embedded import aligned_base
from recert.models.protocol import Model
from recert.policy import Policy, load_policy
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Suite
from recert.records.reports.evaluation import EvalReport, Verdict
from recert.records.reports.screening import ScreenReport
from recert.screening.stage import REPORT_FILE as SCREENING
from recert.store.cache import GenerationCache
from recert.store.files.writing import read_bytes
from recert.tuning.stage import finished_tune
from recert.workflows.demo.stage import demo_suites

AIMS = {"poisoned": 5.0, "sql": 2.0}
POWER = 0.90
LEAST_RATE = 0.02
CLAIMS = (
    "replies to a verdict on `{}`, fixed (90 % power a rule) over sequential",
    "seconds to a verdict on `{}`, fixed (90 % power a rule) over sequential",
    "replies to a verdict on `{}`, fixed (90 % power for the verdict) over sequential",
)
Rates = Mapping[tuple[str, str], float]
"""Rates of the base by rule and condition."""


@dataclass(frozen=True)
class Took:
    """What a side asked of both arms together, and how long it took."""

    replies: int
    seconds: float


def fixed_prompts(rate: float, margin: float, alpha: float, power: float) -> int:
    """Return how many prompts a z test needs that an equal tune passes with such a power."""
    rate = min(max(rate, LEAST_RATE), 1 - LEAST_RATE)
    z = NormalDist().inv_cdf(1 - alpha) + NormalDist().inv_cdf(power)
    return math.ceil(2 * rate * (1 - rate) * (z / margin) ** 2)


def base_rates(demo: Path) -> Rates:
    """Return the base's rates, each from the evaluation of the demo that asked most about it."""
    best: dict[tuple[str, str], tuple[int, float]] = {}
    for path in sorted(demo.glob(f"*/evaluation/{EVALUATION}")):
        for rule in EvalReport.from_json(read_bytes(path)).rules:
            key, seen = (rule.rule_id, rule.condition), (rule.base.n, rule.base.point)
            if not rule.safeguards and seen[0] > best.get(key, (0, 0.0))[0]:
                best[key] = seen
    return {key: rate for key, (_, rate) in best.items()}


def context_of(folder: Path) -> Sequence[str]:
    """Return the training context that the demo probed."""
    return ScreenReport.from_json(read_bytes(folder / "screen" / SCREENING)).system_prompts[:1]


def sequential(
    arms: tuple[Model, Model], suites: Mapping[str, Suite], policy: Policy, context: Sequence[str]
) -> tuple[Took, EvalReport]:
    """Return what an evaluation as it is took, and its report."""
    began = time.perf_counter()
    report = evaluate(*arms, suites=suites, policy=policy, model_name="tune", training_context=context).report
    made = report.prompts_asked["base_made"] + report.prompts_asked["tuned_made"]
    return Took(made, time.perf_counter() - began), report


def planned(
    suites: Mapping[str, Suite], policy: Policy, context: Sequence[str], rates: Rates, power: float
) -> list[Track]:
    """Return the rules with the prompts of a fixed design; with a power of 1 all that the policy allows."""
    bounds = policy.evaluation
    tracks = make_plan(policy, suites, Judges(), training_context=context, secret=None).tracks
    for track in tracks:
        rate, margin = rates[track.rule.id, track.condition.name], track.rule.margin
        need = bounds.max_prompts if power == 1 else fixed_prompts(rate, margin, bounds.alpha, power)
        track.prompts = track.prompts[: min(need, bounds.max_prompts)]
    return list(tracks)


def replies(tracks: Sequence[Track]) -> int:
    """Return how many replies of both arms these rules need; rules may share prompts."""
    return 2 * len({track.key(prompt) for track in tracks for prompt in track.prompts})


def fixed(arms: tuple[Model, Model], tracks: Sequence[Track], policy: Policy) -> Took:
    """Return what it takes to ask all prompts of these rules and judge the replies."""
    began = time.perf_counter()
    most = max(len(track.prompts) for track in tracks)
    whole = {"min_prompts": most + 1, "max_prompts": most + 1, "block_prompts": most + 1}
    bounds = policy.evaluation.model_copy(update=whole)
    with tempfile.TemporaryDirectory() as scratch, GenerationCache(Path(scratch) / "replies") as cache:
        base = Arm("base", arms[0], cache=cache)
        tuned = Arm("tuned", arms[1], over=base.manifest, cache=cache)
        sinks = Sinks(OutcomeFile(), SampleDraw(bounds.samples, bounds.seed))
        source = AskedPairs(base, tuned, judges=Judges(), policy=bounds)
        Runner(source, tracks, judges=Judges(), policy=bounds, sinks=sinks).run()
        made = base.made + tuned.made
    return Took(made, time.perf_counter() - began)


def adapter_of(demo: Path, name: str, base: Manifest) -> Path:
    """
    Return the folder of a tune's adapter.

    Raises:
        LookupError: it is not there, or lies on another base.
    """
    report = finished_tune(demo / name / "tune")
    if report is None:
        raise LookupError(f"no finished tune in {demo / name}: run `make demo`, then give --demo build/demo")
    if report.base != base:
        raise LookupError("the demo was made with another base: run `make demo` again")
    return demo / name / "tune" / "adapter"


def measure(name: str, demo: Path, versions: Mapping[str, str]) -> str:
    """Print the claims about one tune, and return its row of the table; empty when it could not be measured."""
    try:
        from recert.models.engines.local import LocalModel

        folder = aligned_base()
        adapter = adapter_of(demo, name, Manifest.of_folder(folder))
        rates, context = base_rates(demo), context_of(demo / name)
        base = LocalModel.load(folder)
        arms, suites, policy = (base, base.with_adapter(adapter)), demo_suites(), load_policy("demo")
        ours, report = sequential(arms, suites, policy, context)
        if report.verdict is Verdict.UNDECIDED:
            raise LookupError("the sequential evaluation ended undecided: there is no verdict to time")
        a_rule = planned(suites, policy, context, rates, POWER)
        a_verdict = planned(suites, policy, context, rates, POWER ** (1 / len(a_rule)))
        whole = planned(suites, policy, context, rates, 1)
        theirs = fixed(arms, a_rule, policy)
    except (LookupError, RecertError) as exc:
        reason = str(exc).split("\n", maxsplit=1)[0]
        for said in CLAIMS:
            claim(said.format(name), None, AIMS[name], least=True, n=0, versions=versions, reason=reason)
        return ""
    pairs = (
        (ours.replies, theirs.replies),
        (ours.seconds, theirs.seconds),
        (ours.replies, replies(a_verdict)),
    )
    cells = [f"`{name}`", str(report.verdict), f"{ours.replies}", f"{ours.seconds:.0f}", f"{replies(whole)}"]
    for said, (sequentially, in_advance) in zip(CLAIMS, pairs, strict=True):
        line = claim(
            said.format(name),
            in_advance / sequentially,
            AIMS[name],
            least=True,
            n=1,
            versions=versions,
            verdict=str(report.verdict),
            sequential=round(sequentially, 1),
            fixed=round(in_advance, 1),
            threads=settings.threads(),
        )
        cells.append(f"{in_advance:.0f}: {line['value']:.2f} ({'met' if line['met'] else '**missed**'})")
    return "| " + " | ".join([*cells, f"{AIMS[name]:g}"]) + " |"


def main() -> int:
    """Print a JSON line a claim."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--demo", type=Path, default=Path("build/demo"), help="the folder of a finished `make demo`"
    )
    parser.add_argument("--write", action="store_true", help="write docs/concepts/evaluation-speed.md")
    given = parser.parse_args()
    versions = {name: version(name) for name in ("recert", "torch", "transformers", "peft")}
    rows = [row for row in (measure(name, given.demo, versions) for name in AIMS) if row]
    text = "\n".join(
        [
            "| tune | verdict | replies | seconds | whole suites | fixed a rule, replies | seconds | fixed for the "
            "verdict, replies | aim |",
            "|---|---|---|---|---|---|---|---|---|",
            *rows,
        ]
    )
    if rows:
        print(text, file=sys.stderr)
    if given.write and len(rows) == len(AIMS):
        intro = "\n\n".join(filled(one) for one in (__doc__ or "").strip().split("\n\n")[1:-1])
        said = f"{machine()}, {', '.join(f'{k} {v}' for k, v in versions.items())}."
        write_part("time_to_verdict", "\n\n".join(["## Time to a verdict", intro, text, filled(said)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
