"""
What labels on both arms do to decisions: how often one rule passes, with labels and without, by simulation.

A rule under one of nine conditions, at the margin .05 of `default`, with 680 prompts at most. Pairs of replies are
drawn, and a judge's word on each; labels are right. The sample is drawn over all conditions as `recert label` draws it,
and decided as it decides. Without labels the rule is decided by the judge's measured note. A judge of harm is
described, arm by arm, by the shares of compliances and of refusals that it finds.

Cases:
- *at the margin*: the tuned model is worse by exactly .05, and the judge errs otherwise on it than on its base: as on
  the two labelled models that differ most in its note; finding half of its compliances; finding none of those that are
  new. A pass is false. Aim: alpha at most with labels.
- *equal*: a tune that is as its base; the judge says of a share p that it got worse, and of as many that it got
  better, four of five of them rightly, and misses .2 % each way; a quarter of the replies are equal to the letter. Aim:
  .75 pass with 100 labelled pairs, .9 with 160, of 680 prompts. The same where asking stops as soon as the judge's word
  passes.

Writes its part of `docs/concepts/decision-errors.md` with `--write`.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np

from recert.interval import exact_interval
from recert.judges.embedded.refusal import RefusalJudge
from recert.policy import EvaluationPolicy, alpha_share, load_policy
from recert.policy.judge_error import Shrunk, shrinkage
from recert.policy.labelled import STRATA, evidence_within
from recert.records.reports.labels import LabelledChange, Stratum, StratumLabels
from recert.truncated import Pairs, passes

TABLE = Path(__file__).parents[1] / "docs" / "concepts" / "decision-errors.md"
HEADING = "## With labels"
CONDITIONS, MARGIN, SAME = 9, 0.05, 0.25
Cell = tuple[Stratum | None, int]
"""What the judge says of a pair, None of two equal replies, and the true change."""


@dataclass(frozen=True)
class Heard:
    """How a judge reads an arm: the shares of compliances and of refusals that it finds."""

    compliances: float
    refusals: float

    def complied(self, truth: int) -> float:
        """Return the chance that it calls a reply a compliance."""
        return self.compliances if truth else 1 - self.refusals


def judged(base: Heard, tuned: Heard, *, worse: float, better: float, rate: float = 0.1) -> dict[Cell, float]:
    """Return the chance of each stratum and true change where the judge errs on each reply by itself."""
    cells = Counter[Cell]()
    truths = {(0, 1): worse, (1, 0): better, (1, 1): rate - better, (0, 0): 1 - rate - worse}
    for (before, after), b, t in product(truths, (0, 1), (0, 1)):
        chance = truths[before, after] * (1 - SAME if before == after else 1.0)
        chance *= base.complied(before) if b else 1 - base.complied(before)
        chance *= tuned.complied(after) if t else 1 - tuned.complied(after)
        stratum: Stratum = "worse" if t > b else "better" if b > t else "both" if t else "neither"
        cells[stratum, after - before] += chance
    cells[None, 0] = 1 - sum(cells.values())
    return dict(cells)


def equal(p: float) -> dict[Cell, float]:
    """Return the chances for a tune that is as its base."""
    alike = 1 - 2 * p - SAME
    return {
        (None, 0): SAME,
        ("worse", 1): 0.8 * p,
        ("worse", 0): 0.2 * p,
        ("better", -1): 0.8 * p,
        ("better", 0): 0.2 * p,
        ("both", 0): 0.06 * alike,
        ("neither", 0): 0.936 * alike,
        ("neither", 1): 0.002 * alike,
        ("neither", -1): 0.002 * alike,
    }


def unlike() -> dict[str, dict[Cell, float]]:
    """Return tunes at the margin by how the judge errs."""
    models = [
        Heard(m.true_negatives / m.negatives, m.true_positives / m.positives)  # its positives are refusals
        for m in RefusalJudge().note.by_model or ()
    ]
    base, tuned = max(product(models, models), key=lambda pair: _shift(*pair))
    exact = Heard(1, 1)
    return {
        "as on the two labelled models that differ most": judged(base, tuned, worse=0.0625, better=0.0125),
        "hears half on the tuned arm": judged(base, Heard(0.5, 0.99), worse=0.0625, better=0.0125),
        "never hears what is new": judged(exact, Heard(0.01, 1), worse=0.05, better=0.0, rate=0.0),
    }


def _shift(base: Heard, tuned: Heard) -> float:
    """How far a change that is there is hidden."""
    return -sum(
        chance * ((stratum == "worse") - (stratum == "better"))
        for (stratum, _), chance in judged(base, tuned, worse=0.0625, better=0.0125).items()
    )


@dataclass(frozen=True)
class Asked:
    """Pairs of one run, by cell: of the rule, and of all conditions; and whether the judge's word passes it."""

    own: Mapping[Cell, int]
    pool: Mapping[Cell, int]
    passed: bool


def ask(
    cells: Mapping[Cell, float],
    policy: EvaluationPolicy,
    shrunk: Shrunk,
    *,
    stops: bool,
    rng: np.random.Generator,
) -> Asked:
    """Ask every condition, to the end or until the judge's word passes it."""
    names, alpha = list(cells), shrunk.alpha * alpha_share(1)
    chances = np.clip([cells[name] for name in names], 0, 1)
    up = np.array([name[0] == "worse" for name in names])
    down = np.array([name[0] == "better" for name in names])
    looks = (*range(policy.min_prompts, policy.max_prompts, policy.block_prompts), policy.max_prompts)
    found, passed = [], False
    for condition in range(CONDITIONS):
        steps = rng.multinomial(np.diff((0, *looks)), chances / chances.sum()).cumsum(axis=0)
        ends = (
            at
            for at, n in enumerate(looks)
            if passes(
                Pairs(n, int(steps[at] @ up), int(steps[at] @ down)),
                shrunk.pass_bound(MARGIN),
                planned=policy.max_prompts,
                alpha=alpha,
            )
        )
        end = next(ends, None)
        passed = passed or (condition == 0 and end is not None)
        found.append(steps[end if stops and end is not None else -1])
    own, pool = found[0], np.sum(found, axis=0)
    return Asked(
        dict(zip(names, map(int, own), strict=True)), dict(zip(names, map(int, pool), strict=True)), passed
    )


def label(asked: Asked, replies: int, rng: np.random.Generator) -> LabelledChange:
    """Label a sample of the pool: a twentieth of each kind that differs, the others in proportion."""
    there = Counter[Stratum]()
    for (stratum, _), many in asked.pool.items():
        if stratum is not None:
            there[stratum] += many
    few = max(1, replies // 20)
    taken = Counter[Stratum]({name: min(there[name], few) for name in ("worse", "better")})
    left, alike = replies - taken.total(), there["both"] + there["neither"]
    taken["both"] = min(there["both"], round(left * there["both"] / max(1, alike)))
    taken["neither"] = min(there["neither"], left - taken["both"])
    labelled = []
    for name in STRATA:
        cells = [cell for cell in asked.pool if cell[0] == name]
        drawn = (
            rng.multivariate_hypergeometric([asked.pool[cell] for cell in cells], taken[name])
            if cells
            else []
        )
        seen = Counter[int]()
        for (_, change), many in zip(cells, drawn, strict=True):
            seen[change] += int(many)
        labelled.append(StratumLabels(stratum=name, n=seen.total(), worse=seen[1], better=seen[-1]))
    own = Counter[Stratum | None]()
    for (stratum, _), many in asked.own.items():
        own[stratum] += many
    return LabelledChange(
        strata={name: own[name] for name in STRATA}, same=own[None], labelled=tuple(labelled)
    )


@dataclass(frozen=True)
class LabelRow:
    """How often a rule passed in the runs of one case."""

    case: str
    labels: int
    """Labelled pairs; 0: by the judge's word."""
    passed: int
    runs: int
    false: bool
    """Whether a pass is one that should not be."""
    aim: float | None


def rows(runs: int, seed: int) -> Iterator[LabelRow]:
    """Yield every case with each number of labels."""
    policy = load_policy("default").evaluation
    shrunk = shrinkage(RefusalJudge().note, policy, at=policy.refused_at)
    assert shrunk is not None
    cases = [(f"at the margin, {name}", cells, False, True) for name, cells in unlike().items()]
    cases += [(f"equal, p = {p:g}", equal(p), False, False) for p in (0.0125, 0.02)]
    cases += [("equal, p = 0.0125, stopped by the judge's word", equal(0.0125), True, False)]
    enough = 1 / (policy.alpha * alpha_share(1))
    for at, (case, cells, stops, false) in enumerate(cases):
        rng = np.random.default_rng((seed, at))
        won = Counter[int]()
        sizes = (80, 100, 160)
        for _ in range(runs):
            asked = ask(cells, policy, shrunk, stops=stops, rng=rng)
            won[0] += asked.passed
            for replies in sizes:
                counts = label(asked, replies, rng)
                found = evidence_within(counts, planned=policy.max_prompts, policy=policy, margin=MARGIN)
                won[replies] += found >= enough
        print(f"labels: {case}", file=sys.stderr)
        for replies in (0, *sizes):
            aim = (
                policy.alpha
                if false
                else {100: 0.75, 160: 0.9}.get(replies)
                if case == "equal, p = 0.0125"
                else None
            )
            yield LabelRow(case, replies, won[replies], runs, false, aim if replies else None)


def claims(found: list[LabelRow]) -> bool:
    """Print a JSON line for each row that has an aim; whether all are met."""
    met = True
    for row in found:
        if row.aim is None:
            continue
        share = row.passed / row.runs
        good = share <= row.aim if row.false else share >= row.aim
        met &= good
        interval = exact_interval(row.passed, row.runs, level=0.95)
        told = {
            "claim": f"{'false passes' if row.false else 'passes'} with {row.labels} labelled pairs, {row.case}",
            "value": round(share, 4),
            "aim": row.aim,
            "met": good,
            "n": row.runs,
            "interval": [round(interval.low, 4), round(interval.high, 4)],
            "versions": {"recert": version("recert"), "numpy": np.__version__},
        }
        print(json.dumps(told))
    return met


def part(found: list[LabelRow]) -> str:
    """Return the page's part in Markdown."""
    runs = found[0].runs
    words = (
        f"Made by `python bench/labelled_decisions.py --runs {runs} --write`, {runs} runs a row, and by `make "
        "bench-decisions`: one rule on harm of `default` at its margin of 0.05 with 680 prompts, the first attempt's "
        "share of alpha, labels drawn over nine conditions. *At the margin* the tuned model is worse by exactly 0.05 "
        "and the judge errs otherwise on it than on its base, so a pass is false. An *equal* tune got worse on a share "
        "p by the judge's word and better on as many, four of five rightly; a quarter of its replies are its base's to "
        "the letter."
    )
    by: dict[str, dict[int, float]] = {}
    for row in found:
        by.setdefault(row.case, {})[row.labels] = row.passed / row.runs
    sizes = sorted({row.labels for row in found} - {0})
    heads = " | ".join(f"{size} pairs" for size in sizes)
    lines = [HEADING, "", *textwrap.wrap(words, 118), "", f"| case | judge alone | {heads} |"]
    lines.append("|---" * (2 + len(sizes)) + "|")
    lines += [
        f"| {case} | {shares[0]:.4f} | {' | '.join(f'{shares[size]:.4f}' for size in sizes)} |"
        for case, shares in by.items()
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Print the part and the claims."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--write", action="store_true", help="write its part of docs/concepts/decision-errors.md"
    )
    given = parser.parse_args()
    found = list(rows(given.runs, given.seed))
    text = part(found)
    print(text)
    if given.write:
        before = TABLE.read_text(encoding="utf-8").partition(f"\n{HEADING}\n")[0].rstrip("\n")
        TABLE.write_text(f"{before}\n\n{text}", encoding="utf-8")
    claims(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
