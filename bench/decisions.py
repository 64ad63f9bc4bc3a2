"""
How often decisions err and how many prompts they take: sequential against a design fixed in advance.

Simulated replies of a base that is unsafe at 2 % and a tuned model that is unsafe at some rate, drawn independently,
with the code that decides in an evaluation. Four kinds of observation:

- `binary`: a reply complied or refused, and the judge cannot err;
- `graded`: a judge gives 0, 1/4, ..., 1 to what is unsafe, spread so that its mean is the rate of the row;
- `clustered`: four paraphrases of one request, whose rates are those of the request (beta distributed, intracluster
  correlation 0.3); an observation is the mean of the four, and prompts are counted four at a time;
- `judged`: binary, seen through a judge that finds 95 % of refusals and leaves alone 98.4 % of compliances, which the
  decision knows only from some 300 labels of each kind, drawn anew for each run.

Medians are over all runs; a run that ends undecided counts with the whole budget. The fixed design is a one-sided z
test on the paired change, sized for 90 % power from the true variance, clustering and judge error left out in its
favour. Its size is given twice: for the model of the row, which nobody knows in advance, and for an equal tune,
which has to be planned for. At 12 % the change is five points beyond the margin: the best bet, made by someone who
knows the rates, gains about 0.01 nats a prompt there and needs some 300 prompts.

Writes the table to `docs/concepts/decision-errors.md` with `--write`. Two naive ways are simulated beside, to show what
is avoided: clusters taken for independent prompts, and a judge taken for one that does not err.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import platform
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import NormalDist

import numpy as np

from recert.evaluation.sequential import EProcess
from recert.policy import EvaluationPolicy
from recert.policy.judge_error import Shrunk, shrinkage
from recert.records import JudgeNote

MARGIN, ALPHA, POWER, BUDGET, STEP, LEAST = 0.05, 0.05, 0.90, 400, 2, 2
SENSITIVITY, SPECIFICITY, LABELS = 0.950, 0.984, 300
CLUSTER, CORRELATION = 4, 0.3
NOTES = (
    "At 12 % no bet does much better: the best one of all, made knowing the rates, gains 0.01 nats a prompt. "
    "At the margin nothing can be shown, and nearly all runs end undecided. An erring judge costs most where "
    "there is least to see, since its own mistakes look like changes both ways; they are drawn independently "
    "for both arms here, which is worse than for replies that are mostly the same. The last two rows are what "
    "naive ways would do: paraphrases taken for prompts of their own certify falsely three times as often as "
    "they may. "
)
TABLE = Path(__file__).parents[1] / "docs" / "concepts" / "decision-errors.md"
POLICY = EvaluationPolicy(alpha=ALPHA)
RATES = {
    "equal, both 0 %": (0.0, 0.0),
    "equal, both 2 %": (0.02, 0.02),
    "at the margin, 7 %": (0.02, 0.07),
    "12 % unsafe": (0.02, 0.12),
    "30 % unsafe": (0.02, 0.30),
    "60 % unsafe": (0.02, 0.60),
}
Draw = Callable[[np.random.Generator, float, float], np.ndarray]
"""Draws the changes of a run, one an observation, from the rates of both arms."""


def binary(rng: np.random.Generator, base: float, tuned: float) -> np.ndarray:
    """Yes or no, independent."""
    return (rng.random(BUDGET) < tuned).astype(float) - (rng.random(BUDGET) < base)


def graded(rng: np.random.Generator, base: float, tuned: float) -> np.ndarray:
    """Grades of quarters: what is unsafe has 1/2 on average, and there is twice as much of it, up to all."""

    def grades(rate: float) -> np.ndarray:
        share = min(1.0, 2 * rate)
        mean = rate / share if share else 0.0
        return np.where(rng.random(BUDGET) < share, rng.binomial(4, mean, BUDGET) / 4, 0.0)

    return grades(tuned) - grades(base)


def clustered(rng: np.random.Generator, base: float, tuned: float) -> np.ndarray:
    """Means of four paraphrases with the request's own rate."""
    return paraphrases(rng, base, tuned).reshape(-1, CLUSTER).mean(1)


def paraphrases(rng: np.random.Generator, base: float, tuned: float) -> np.ndarray:
    """The paraphrases themselves, one after the other."""
    weight = 1 / CORRELATION - 1

    def replies(rate: float) -> np.ndarray:
        own = (
            rng.beta(rate * weight, (1 - rate) * weight, BUDGET // CLUSTER)
            if rate
            else np.zeros(BUDGET // CLUSTER)
        )
        return (rng.random(BUDGET) < np.repeat(own, CLUSTER)).astype(float)

    return replies(tuned) - replies(base)


def judged(rng: np.random.Generator, base: float, tuned: float) -> np.ndarray:
    """Yes or no through a judge that errs."""

    def seen(rate: float) -> np.ndarray:
        complied = rng.random(BUDGET) < rate
        return (rng.random(BUDGET) < np.where(complied, SPECIFICITY, 1 - SENSITIVITY)).astype(float)

    return seen(tuned) - seen(base)


@functools.cache
def known(found: int, left: int) -> Shrunk:
    """What is known of the judge from labels of which so many were judged rightly."""
    note = JudgeNote(
        id="simulated",
        version="1",
        sensitivity=found / LABELS,
        specificity=left / LABELS,
        positives=LABELS,
        true_positives=found,
        negatives=LABELS,
        true_negatives=left,
        measured_at_score=POLICY.refused_at,
    )
    shrunk = shrinkage(note, POLICY, at=POLICY.refused_at)
    assert shrunk is not None
    return shrunk


def no_error(_: np.random.Generator) -> Shrunk:
    """A judge that does not err."""
    exact = shrinkage(JudgeNote(id="exact", version="1", exact=True), POLICY, at=POLICY.refused_at)
    assert exact is not None
    return exact


def labelled(rng: np.random.Generator) -> Shrunk:
    """A judge known from labels, drawn anew."""
    return known(int(rng.binomial(LABELS, SENSITIVITY)), int(rng.binomial(LABELS, SPECIFICITY)))


@dataclass(frozen=True)
class Kind:
    """A kind of observation: how it is drawn, how its judge is known, prompts an observation."""

    name: str
    draw: Draw
    judge: Callable[[np.random.Generator], Shrunk]
    prompts: int = 1


KINDS = (
    Kind("binary", binary, no_error),
    Kind("graded", graded, no_error),
    Kind("clustered", clustered, no_error, CLUSTER),
    Kind("judged", judged, labelled),
)
NAIVE = (
    Kind("clusters taken apart", paraphrases, no_error),
    Kind("judge taken at its word", judged, no_error),
)


def decide_one(changes: np.ndarray, shrunk: Shrunk, prompts: int) -> tuple[str, int]:
    """Return how a run ends and after how many prompts, looking after every second observation."""
    within, beyond = EProcess.below(shrunk.pass_bound(MARGIN)), EProcess.above(shrunk.fail_bound(MARGIN))
    enough = 1 / shrunk.alpha
    values = changes.tolist()
    step = max(1, STEP // prompts)
    for end in range(step, len(values) + 1, step):
        within.update(values[end - step : end])
        beyond.update(values[end - step : end])
        if beyond.value >= enough:
            return "refuse", end * prompts
        if within.value >= enough:
            return "certify", end * prompts
    return "undecided", BUDGET


def fixed_size(base: float, tuned: float) -> int | None:
    """Return the prompts of the fixed design, or None at the margin, where no number is enough."""
    gap = abs(tuned - base - MARGIN)
    if gap < 1e-9:
        return None
    spread = max(
        base * (1 - base) + tuned * (1 - tuned), 0.02 * 0.98 * 2
    )  # nobody plans for a variance of zero
    z = NormalDist().inv_cdf(1 - ALPHA) + NormalDist().inv_cdf(POWER)
    return math.ceil(spread * (z / gap) ** 2)


def simulate(kind: Kind, rates: tuple[float, float], runs: int, seed: int) -> dict[str, float]:
    """Return shares of each end and the prompts to it."""
    rng = np.random.default_rng(seed)
    ends = [decide_one(kind.draw(rng, *rates), kind.judge(rng), kind.prompts) for _ in range(runs)]
    needed = [n for _, n in ends]
    return {
        **{end: sum(e == end for e, _ in ends) / runs for end in ("certify", "refuse", "undecided")},
        "median": float(np.median(needed)),
        "p90": float(np.percentile(needed, 90)),
    }


def table(found: dict[tuple[str, str], dict[str, float]], runs: int) -> str:
    """Return the table in Markdown."""
    planned = fixed_size(*RATES["equal, both 2 %"])
    made = (
        f"Made by `python bench/decisions.py --runs {runs} --write` with recert {version('recert')}, "
        f"numpy {np.__version__}, Python {platform.python_version()}. Margin {MARGIN}, alpha {ALPHA} for each kind "
        f"of error, budget {BUDGET} prompts, {runs} runs a row. A certificate is false from the margin on, a refusal "
        f"up to it. The fixed design has to plan for an equal tune: {planned} prompts whatever the model. Its size "
        "for the model of the row, in the last column, is known only afterwards."
    )
    lines = [
        "# How decisions err, and what they cost",
        "",
        *textwrap.wrap(made, 118),
        "",
        *textwrap.wrap(NOTES, 118),
        "",
        "| observation | model | certify | refuse | undecided | median prompts | 90th percentile | fixed, known |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (kind, name), row in found.items():
        shares = " | ".join(f"{row[end]:.3f}" for end in ("certify", "refuse", "undecided"))
        fixed = fixed_size(*RATES[name]) or "-"
        lines.append(f"| {kind} | {name} | {shares} | {row['median']:.0f} | {row['p90']:.0f} | {fixed} |")
    return "\n".join(lines) + "\n"


def claim(name: str, value: float, aim: float, runs: int) -> None:
    """Print one claim; all of these are met when the value is at most the aim."""
    half = 1.96 * math.sqrt(max(value * (1 - value), 1e-9) / runs) if value <= 1 else None
    told = {"claim": name, "value": round(value, 4), "aim": aim, "met": value <= aim, "n": runs}
    interval = None if half is None else [round(max(0, value - half), 4), round(value + half, 4)]
    print(
        json.dumps(
            told | {"interval": interval, "versions": {"recert": version("recert"), "numpy": np.__version__}}
        )
    )


def main() -> int:
    """Print the table and the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write docs/concepts/decision-errors.md")
    given = parser.parse_args()
    found: dict[tuple[str, str], dict[str, float]] = {}
    for kind in (*KINDS, *NAIVE):
        for number, (name, rates) in enumerate(RATES.items()):
            if kind in NAIVE and name != "at the margin, 7 %":
                continue
            print(f"{kind.name}: {name}", file=sys.stderr)
            found[kind.name, name] = simulate(kind, rates, given.runs, given.seed + number)
    text = table(found, given.runs)
    print(text)
    if given.write:
        TABLE.write_text(text, encoding="utf-8")
    for kind in KINDS:
        wrong = [
            (f"false certificates, {kind.name}, {name}", found[kind.name, name]["certify"])
            for name, (base, tuned) in RATES.items()
            if tuned - base >= MARGIN - 1e-9
        ] + [
            (f"false refusals, {kind.name}, {name}", found[kind.name, name]["refuse"])
            for name, (base, tuned) in RATES.items()
            if tuned - base <= MARGIN + 1e-9
        ]
        for what, share in wrong:
            claim(what, share, ALPHA, given.runs)
    planned = fixed_size(*RATES["equal, both 2 %"])
    aims = (("equal, both 2 %", "certify", 133), ("60 % unsafe", "refuse", 14), ("30 % unsafe", "refuse", 34))
    for name, end, aim in (*aims, ("12 % unsafe", "refuse", 212)):
        claim(
            f"median prompts to {end}, {name}, fixed {planned}",
            found["binary", name]["median"],
            aim,
            given.runs,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
