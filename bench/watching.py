"""
How often a long watch is wrong, and how soon it sees a drift: evidence over time beside tests of single nights.

Each night 24 prompts are asked. The certificate was made on 240 prompts of which the certified share was bad; its upper
end is that of `confidence_sequence`, as in an evaluation, and `drift_margin` is the policy's. Five ways decide whether
the rate is above the sum of the two, the bound:

- `suspend`: `RiseProcess.ever` reaches 1 / alpha;
- `warn`: `RiseProcess.recent` reaches `warn_every_runs`;
- `night`: an exact binomial test of each night alone, at alpha;
- `night / 365`: the same at alpha / 365;
- `CUSUM`: sums of log-likelihood ratios of ten points above the bound, reset at zero, with the threshold at which the
  mean time to a false alarm at the bound is that of `warn`, found by simulation.

One rate on one path is watched, so alpha is not split. `ever` and `recent` are computed for all repetitions at once, by
the formulas of `recert.betting`; each run begins with a check that both give the same.

Writes `build/watching/table.json`, and with `--write` the table and the plot of `docs/concepts/monitoring.md`.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import textwrap
import time
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from recert.betting import SHARES, TOWARDS_RISE, RiseProcess
from recert.evaluation.decision.sequential import confidence_sequence
from recert.interval import upper_tail
from recert.policy import EvaluationPolicy
from recert.policy.sections.monitoring import MonitoringPolicy

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "concepts" / "monitoring.md"
PLOT = ROOT / "docs" / "concepts" / "watching.svg"
BEGIN, END = "<!-- bench/watching.py: begin -->\n", "<!-- bench/watching.py: end -->\n"
POLICY = MonitoringPolicy()
CERTIFIED_ON, ASKED, NIGHTS, QUIET = 240, 24, 365, 30
RATES = (0.005, 0.02, 0.05, 0.20)
DRIFTS = (0.02, 0.05, 0.10, 0.20, 0.50)
WAYS = ("suspend", "warn", "night", "night / 365", "CUSUM")
RISE = 0.10
"""What CUSUM is made for: ten points above the bound."""
COLOURS = ("#b3261e", "#8a6d00", "#1e6b3a", "#3b5bdb", "#7a1f6b")


@dataclass(frozen=True)
class Row:
    """What one way did in one setting."""

    certified: float
    bound: float
    rate: float
    drift: float
    way: str
    alarms: float
    """Share of repetitions with an alarm: in a year without a drift, or before it where there is one."""
    found: float
    """Share with an alarm after the drift began, of those without one before."""
    median: float
    """Nights from the drift to the alarm, the night itself counted; infinite where most had none."""
    p90: float
    n: int


def upper_end(bad: int) -> float:
    """Return the upper end of a certificate on which so many of its prompts were bad."""
    seen = Counter({1.0: bad, 0.0: CERTIFIED_ON - bad})
    return confidence_sequence(+seen, alpha=EvaluationPolicy().alpha, low=0.0).high


def evidence(counts: np.ndarray, bound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `ever` and `recent` after each night. `counts` has shape (repetitions, nights), `bound` (repetitions,)."""
    shares, weights = np.array(SHARES), np.log(TOWARDS_RISE)
    with np.errstate(divide="ignore"):
        lost = np.log1p(-shares)
    won = np.log1p(shares / bound[:, None] * (1 - bound[:, None]))  # (repetitions, bets)
    ever = np.full((len(counts), len(shares)), -np.inf)
    recent = ever.copy()
    out = np.empty((2, *counts.shape))
    for night in range(counts.shape[1]):
        bad = counts[:, night, None]
        good = ASKED - bad
        gain = bad * won + np.where(good > 0, good * np.where(good > 0, lost, 0.0), 0.0)
        share = -math.log(night + 1) - math.log(night + 2)
        ever = np.logaddexp(ever, share) + gain
        recent = np.logaddexp(recent, 0.0) + gain
        for place, logs in enumerate((ever, recent)):
            out[place, :, night] = np.logaddexp.reduce(logs + weights, axis=1)
    waiting = -np.log(np.arange(counts.shape[1]) + 2)
    return np.logaddexp(out[0], waiting), out[1]


def first(reached: np.ndarray) -> np.ndarray:
    """Return the first night on which something is so, by repetition, counted from 0; infinite where it never is."""
    return np.where(reached.any(1), reached.argmax(1), np.inf)


def steps(bound: float) -> tuple[float, float]:
    """Return CUSUM's steps for a bad reply and for a good one."""
    risen = min(bound + RISE, 0.99)
    return math.log(risen / bound), math.log((1 - risen) / (1 - bound))


def cusum_alarm(counts: np.ndarray, bound: float, threshold: float) -> np.ndarray:
    """Return the first night on which CUSUM reaches its threshold."""
    up, down = steps(bound)
    total = np.zeros(len(counts))
    night = np.full(len(counts), np.inf)
    for at in range(counts.shape[1]):
        total = np.maximum(0.0, total) + counts[:, at] * up + (ASKED - counts[:, at]) * down
        night = np.where((total >= threshold) & np.isinf(night), at, night)
    return night


def cusum_threshold(bound: float, rng: np.random.Generator, nights: float, runs: int = 400) -> float:
    """Return the threshold at which CUSUM's mean time to a false alarm, the rate at the bound, is `nights`."""
    up, down = steps(bound)

    def mean_time(threshold: float) -> float:
        total, left, spent = np.zeros(runs), np.ones(runs, bool), np.zeros(runs)
        for _ in range(int(20 * nights)):
            bad = rng.binomial(ASKED, bound, runs)
            total = np.maximum(0.0, total) + bad * up + (ASKED - bad) * down
            spent += left
            left &= total < threshold
            if not left.any():
                break
        return float(spent.mean())

    low, high = 0.0, 15.0
    for _ in range(9):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_time(middle) < nights else (low, middle)
    return high


def alarms(counts: np.ndarray, bound: float, threshold: float) -> dict[str, np.ndarray]:
    """Return the first night of an alarm, by way."""
    ever, recent = evidence(counts, np.full(len(counts), bound))
    tails = np.array([upper_tail(bad, ASKED, bound) for bad in range(ASKED + 1)])[counts]
    return {
        "suspend": first(ever >= math.log(1 / POLICY.alpha)),
        "warn": first(recent >= math.log(POLICY.warn_every_runs)),
        "night": first(tails <= POLICY.alpha),
        "night / 365": first(tails <= POLICY.alpha / NIGHTS),
        "CUSUM": cusum_alarm(counts, bound, threshold),
    }


def rows_of(certified: float, runs: int, rng: np.random.Generator) -> list[Row]:
    """Return every row of one certified rate: no drift, the rate at the bound, and each drift."""
    bound = upper_end(round(certified * CERTIFIED_ON)) + POLICY.drift_margin
    threshold = cusum_threshold(bound, rng, POLICY.warn_every_runs)
    found = []
    for drift in (0.0, bound - certified, *DRIFTS):
        at_bound = drift == bound - certified
        rate = certified + drift
        before = np.full(NIGHTS, rate if at_bound else certified)
        before[QUIET:] = rate
        counts = rng.binomial(ASKED, before, (runs, NIGHTS))
        for way, night in alarms(counts, bound, threshold).items():
            still = drift in (0.0, bound - certified)
            false = night < (NIGHTS if still else QUIET)
            late = night[~false] - QUIET + 1
            found.append(
                Row(
                    certified=certified, bound=round(bound, 4), rate=round(rate, 4),
                    drift=0.0 if still else drift, way=way, alarms=float(false.mean()),
                    found=0.0 if still else float(np.isfinite(late).mean()),
                    median=math.inf if still else middle(late, 0.5),
                    p90=math.inf if still else middle(late, 0.9), n=runs,
                )
            )  # fmt: skip
    return found


def middle(nights: np.ndarray, share: float) -> float:
    """Return the night by which a share of the repetitions had an alarm; infinite where fewer had any."""
    return float(np.sort(nights)[min(len(nights) - 1, math.ceil(share * len(nights)) - 1)])


def drawn_anew(runs: int, rng: np.random.Generator) -> dict[float, float]:
    """Return the share of false suspensions in a year at each rate, each repetition with a certificate of its own."""
    found = {}
    for rate in RATES:
        bad = rng.binomial(CERTIFIED_ON, rate, runs)
        ends = {k: upper_end(k) for k in set(bad.tolist())}
        bound = np.minimum(np.array([ends[k] for k in bad.tolist()]) + POLICY.drift_margin, 0.999)
        # the rate is the margin above what was certified: the most that is no rise
        counts = rng.binomial(ASKED, rate + POLICY.drift_margin, (runs, NIGHTS))
        found[rate] = float((evidence(counts, bound)[0] >= math.log(1 / POLICY.alpha)).any(1).mean())
    return found


def check(rng: np.random.Generator) -> None:
    """Raise where the formulas here are not those that decide."""
    counts = rng.binomial(ASKED, 0.1, (1, 60))
    counts[0, 50:] = ASKED
    ever, recent = evidence(counts, np.array([0.07]))
    process = RiseProcess(0.07)
    for night, bad in enumerate(counts[0].tolist()):
        process.update(bad, ASKED)
        for mine, theirs in ((ever, process.ever), (recent, process.recent)):
            assert math.isclose(mine[0, night], math.log(theirs), rel_tol=1e-9, abs_tol=1e-9)


def processor() -> str:
    """Return what the machine calls its processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def said(nights: float) -> str:
    """Return a number of nights in words."""
    return "-" if math.isinf(nights) else f"{nights:.0f}"


def table(rows: list[Row], anew: dict[float, float], runs: int, seconds: float) -> str:
    """Return what the page says, in Markdown."""
    by = {(row.certified, row.rate, row.drift, row.way): row for row in rows}
    head = "".join(f" {way} |" for way in WAYS)
    made = (
        f"Made by `python bench/watching.py --runs {runs} --write` in {seconds:.0f} s on one core of {processor()}, "
        f"recert {version('recert')}, numpy {np.__version__}: {runs} repetitions a cell, {NIGHTS} nights of {ASKED} "
        f"prompts, alpha {POLICY.alpha}, a certificate on {CERTIFIED_ON} prompts."
    )
    out = [
        *textwrap.wrap(made, 118),
        "",
        "Share of years with a false alarm, the rate as certified, and at the bound itself, the most that is no rise:",
        "",
        f"| certified | true rate |{head}",
        f"|---|---|{'---|' * len(WAYS)}",
    ]
    for certified in RATES:
        for rate in sorted({row.rate for row in rows if row.certified == certified and not row.drift}):
            cells = "".join(f" {by[certified, rate, 0.0, way].alarms:.4f} |" for way in WAYS)
            out.append(f"| {certified:.1%} | {rate:.1%} |{cells}")
    told = ", ".join(f"{share:.4f} at {rate:.1%}" for rate, share in anew.items())
    out += [
        "",
        *textwrap.wrap(
            f"With a certificate drawn anew each time and the true rate {POLICY.drift_margin:.0%} above that of then, "
            f"the share of years with a false suspension is {told}.",
            118,
        ),
        "",
        f"Nights from a drift that begins after {QUIET} nights to the alarm, median and 90th percentile",
        "(`-`: not in the year):",
        "",
        f"| certified | bound | drift |{head}",
        f"|---|---|---|{'---|' * len(WAYS)}",
    ]
    for certified in RATES:
        for drift in DRIFTS:
            some = [row for row in rows if row.certified == certified and row.drift == drift]
            cells = "".join(f" {said(row.median)}, {said(row.p90)} |" for row in some)
            out.append(f"| {certified:.1%} | {some[0].bound:.1%} | {drift:+.0%} |{cells}")
    return "\n".join([*out, ""])


def plot(rows: list[Row]) -> str:
    """Return an SVG: for each certified rate, the median nights to an alarm by drift, a line a way."""
    left, panel, gap, top, tall = 46, 190, 34, 46, 190
    width, height = left + len(RATES) * (panel + gap), top + tall + 66
    most = math.log10(NIGHTS - QUIET)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for at, certified in enumerate(RATES):
        x0 = left + at * (panel + gap)
        out.append(f'<text x="{x0}" y="20" font-weight="600">certified {certified:.1%}</text>')
        for nights in (1, 3, 10, 30, 100, 300):
            y = top + tall * (1 - math.log10(nights) / most)
            out.append(f'<line x1="{x0}" x2="{x0 + panel}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
            if not at:
                out.append(
                    f'<text x="{x0 - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#666">{nights}</text>'
                )
        for place, drift in enumerate(DRIFTS):
            x = x0 + 14 + place * (panel - 28) / (len(DRIFTS) - 1)
            out.append(
                f'<text x="{x:.1f}" y="{top + tall + 16}" text-anchor="middle" fill="#666">{drift:+.0%}</text>'
            )
        for way, colour in zip(WAYS, COLOURS, strict=True):
            seen = [
                (x0 + 14 + DRIFTS.index(row.drift) * (panel - 28) / (len(DRIFTS) - 1), row.median)
                for row in rows
                if row.certified == certified and row.way == way and row.drift and math.isfinite(row.median)
            ]
            points = [(x, top + tall * (1 - math.log10(nights) / most)) for x, nights in seen]
            joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            out.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>')
            out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
    for place, (way, colour) in enumerate(zip(WAYS, COLOURS, strict=True)):
        x = left + place * 130
        out.append(f'<circle cx="{x + 5}" cy="{height - 18}" r="5" fill="{colour}"/>')
        out.append(f'<text x="{x + 16}" y="{height - 14}">{way}</text>')
    return "\n".join([*out, "</svg>", ""])


def claim(name: str, value: float, aim: float, n: int, *, share: bool = True) -> None:
    """Print one claim; all of these are met when the value is at most the aim."""
    half = 1.96 * math.sqrt(max(value * (1 - value), 1e-9) / n) if share else None
    told = {
        "claim": name,
        "value": None if math.isinf(value) else round(value, 4),
        "aim": aim,
        "met": value <= aim,
    }
    interval = None if half is None else [round(max(0, value - half), 4), round(value + half, 4)]
    versions = {"recert": version("recert"), "numpy": np.__version__}
    print(json.dumps(told | {"n": n, "interval": interval, "versions": versions}))


def claims(rows: list[Row], anew: dict[float, float], runs: int) -> None:
    """Print every claim."""
    for certified in RATES:
        worst = max(
            row.alarms
            for row in rows
            if row.certified == certified and not row.drift and row.way == "suspend"
        )
        claim(
            f"years with a false suspension, certified {certified:.1%}, at worst", worst, POLICY.alpha, runs
        )
        claim(
            f"years with a false suspension, certificate drawn anew, {certified:.1%}",
            anew[certified], round(POLICY.alpha + EvaluationPolicy().alpha, 4), runs,
        )  # fmt: skip
    for certified, drift in ((0.02, 0.50), (0.02, 0.20), (0.02, 0.10), (0.05, 0.20)):
        nights = {r.way: r.median for r in rows if (r.certified, r.drift) == (certified, drift)}
        name = f"nights to a suspension, certified {certified:.0%}, drift {drift:+.0%}: median, in those of CUSUM"
        claim(name, nights["suspend"] / nights["CUSUM"], 2, runs, share=False)


def main() -> int:
    """Print the table and the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write the table and plot into docs/concepts")
    given = parser.parse_args()
    began, rng = time.monotonic(), np.random.default_rng(given.seed)
    check(rng)
    rows: list[Row] = []
    for certified in RATES:
        print(f"certified {certified:.1%}", file=sys.stderr)
        rows += rows_of(certified, given.runs, rng)
    anew = drawn_anew(given.runs, rng)
    text = table(rows, anew, given.runs, time.monotonic() - began)
    print(text)
    target = ROOT / "build" / "watching" / "table.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    plain = [{k: None if v == math.inf else v for k, v in asdict(row).items()} for row in rows]
    target.write_text(json.dumps({"rows": plain, "drawn_anew": anew}, indent=1), encoding="utf-8")
    if given.write:
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        PAGE.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.partition(END)[2], encoding="utf-8")
        PLOT.write_text(plot(rows), encoding="utf-8")
    claims(rows, anew, given.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
