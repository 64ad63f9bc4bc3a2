"""
How often the shipped policies err, and how many prompts they take: whole verdicts, by the code that decides.

Every rule of a policy under every condition, with the shipped suites, the default judges' notes, and the looks, tests
and corrections of an evaluation. Pairs of replies are drawn, independently for each rule: a share p got worse and as
many better by chance; a true change of d shows as J d, with J the judge's quality as its labels give it. A judge is
taken to err alike on both arms, which is the method's own assumption: what it costs where that is false, and what
labels do then, is in `labelled_decisions.py` beside this.

Cases:
- *equal*: a tune that is as its base, p = .005 to .03. Aim: certified with .95 at .0125 and .85 at .02 by `default`.
- *worse*: true harm 7.5, 15 or 30 points more under every condition. Aim: +30 always fails, +15 with .99, and +7.5 is
  certified with .001 at most.
- *at the margin*: one rule alone is worse by exactly its margin, the others are equal: a certificate is false. Aim: at
  most alpha.
- *where harm lies*: categories of unequal sizes, all of the change in the largest, in the order in which prompts are
  asked. Aim: at most alpha.
- *retries*: an attempt ended, and another one is decided on what is left, the sealed prompts first. Aim: an equal tune
  after a fail is certified with .95 at p = .0125. A tune that was made to fit every open prompt, and is worse by 15
  points on the sealed ones, is certified in .001 at most; one that fits what was shown, and is worse by exactly the
  margin on all else, within the attempt's share of alpha.
- *with labels*: what `labelled_decisions.py` beside this says of rules that labels decide.
- *near `max_base`*: an equal tune of a base of which .48 of replies are harmful under `plain`. Aim: no more than 5 %
  end as `no-baseline-signal`.

Writes `docs/concepts/decision-errors.md` with `--write`.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from labelled_decisions import claims as label_claims
from labelled_decisions import part
from labelled_decisions import rows as labelled_rows
from recert.betting import EProcess
from recert.evaluation.decision.decide import Decision, decide, nothing_to_lose
from recert.evaluation.decision.multiplicity import adjusted
from recert.evaluation.decision.tracks import Track
from recert.evaluation.plan import make_plan
from recert.evaluation.scoring import Judges
from recert.evaluation.suites.ordering import sampling_order
from recert.evaluation.suites.reading import shipped_suites
from recert.interval import exact_interval
from recert.policy import Policy, Rule, alpha_share, load_policy
from recert.records.data.suite import Prompt
from recert.records.reports.evaluation import Verdict
from recert.records.signed.attempt import Attempt
from recert.records.signed.attempt_entries import AskedBefore, AttemptBegun
from recert.truncated import Pairs, evidence, passes

TABLE = Path(__file__).parents[1] / "docs" / "concepts" / "decision-errors.md"
SHOWN = ("default", "demo", "strict")
Change = Callable[[Track], tuple[float, float]]
"""Of a track: the share of prompts that got worse, and that got better, as judged."""


@dataclass
class Seen:
    """What one rule has seen in a run, counted; has what `decide` asks of `evidence.Evidence`."""

    track: Track
    base_rate: float = 0.0
    n: int = 0
    worse: int = 0
    better: int = 0
    base_bad: int = 0
    unscored: int = 0
    verdict: Verdict | None = None
    corrected: float = 1.0
    up: EProcess = field(init=False)
    base_up: EProcess | None = field(init=False)

    def __post_init__(self) -> None:
        rule, shrunk = self.track.rule, self.track.shrunk
        self.alpha, self.fail_alpha = self.track.evidence.alpha, self.track.evidence.fail_alpha
        self.planned = self.track.evidence.planned
        assert self.planned is not None  # the shipped rules are about yes and no
        self.refuted = self.track.evidence.refuted
        self.up = EProcess.above(shrunk.fail_bound(rule.margin) if shrunk else rule.margin)
        self.base_up = EProcess.above(rule.max_base, low=0.0) if rule.max_base is not None else None

    def add(self, n: int, worse: int, better: int, base_bad: int) -> None:
        """Take so many more pairs."""
        self.n, self.worse, self.better = self.n + n, self.worse + worse, self.better + better
        self.base_bad += base_bad
        self.up.repeat(1.0, worse)
        self.up.repeat(-1.0, better)
        self.up.repeat(0.0, n - worse - better)
        if self.base_up is not None:
            self.base_up.repeat(1.0, base_bad)
            self.base_up.repeat(0.0, n - base_bad)

    @property
    def within(self) -> float:
        """Evidence that the change is below the margin."""
        assert self.planned is not None
        return evidence(Pairs(self.n, self.worse, self.better), self.refuted, self.planned)

    @property
    def beyond(self) -> float:
        """E-value that it is above."""
        return self.up.value

    beyond_scored = beyond

    @property
    def base_above(self) -> float:
        """E-value that the base's rate is above the rule's bound."""
        return self.base_up.value if self.base_up is not None else 1.0

    @property
    def base_signal(self) -> float:
        """Rate of the base."""
        return self.base_bad / self.n

    tuned_rate = base_signal


def one_run(
    rng: np.random.Generator,
    tracks: Sequence[Track],
    policy: Policy,
    change: Change,
    base: float,
    sealed: Change | None = None,
) -> tuple[Verdict, int, dict[str, int]]:
    """
    Return the verdict of one evaluation, how many prompts the tuned model answered, and the most of each suite.

    With `sealed` the prompts of a track that are sealed, the first ones, change otherwise than the rest. A block of
    which only a part is sealed counts as open, which is easier on a tune that is worse on sealed ones.
    """
    bounds = policy.evaluation
    seen = [Seen(track, base_rate=base if track.condition.name == "plain" else 0.1) for track in tracks]
    rates = [change(track) for track in tracks]
    while still := [one for one in seen if one.verdict is None]:
        for one in still:
            worse, better = rates[seen.index(one)]
            n = min(bounds.block_prompts, one.track.limit - one.n)
            if sealed is not None and one.n + n <= sealed_of(one.track):
                worse, better = sealed(one.track)
            bad, good, _ = rng.multinomial(n, [worse, better, 1 - worse - better])
            harm = one.track.rule.max_base is not None
            one.add(n, int(bad), int(good), int(rng.binomial(n, one.base_rate)) if harm else 0)
        for one, corrected in zip(seen, adjusted([one.beyond for one in seen]), strict=True):
            one.corrected = corrected
        for one in still:
            decided: Decision | None = decide(
                one.track.rule,
                one,  # type: ignore[arg-type]  # counted, with the same names
                bounds,
                corrected=one.corrected,
                rules=len(seen),
            )
            if decided is None and one.n >= one.track.limit:
                decided = nothing_to_lose(one.track.rule, one) or Decision(Verdict.UNDECIDED, "")  # type: ignore[arg-type]
            one.verdict = decided.verdict if decided else None
        if any(one.verdict is Verdict.FAIL for one in seen):
            break
    verdicts = {one.verdict for one in seen}
    asked: dict[tuple[str, str], int] = {}
    for one in seen:
        where = (one.track.rule.suite, one.track.condition.name)
        asked[where] = max(asked.get(where, 0), one.n)
    for grave in (Verdict.FAIL, Verdict.NO_BASELINE_SIGNAL, Verdict.UNDECIDED):
        if grave in verdicts:
            return grave, sum(asked.values()), most_of(asked)
    return Verdict.PASS, sum(asked.values()), most_of(asked)


def most_of(asked: dict[tuple[str, str], int]) -> dict[str, int]:
    """Return the most prompts of each suite that were asked under one condition: all conditions have one order."""
    suites = {suite for suite, _ in asked}
    return {name: max(n for (suite, _), n in asked.items() if suite == name) for name in suites}


@cache
def sealed_of(track: Track) -> int:
    """Return how many of the prompts that a track asks are sealed."""
    sealed = {prompt.id for prompt in shipped_suites()[track.rule.suite].sealed}
    return sum(prompt.id in sealed for prompt in track.prompts[: track.limit])


@cache
def retry_tracks(name: str, number: int, asked: tuple[tuple[str, int, int], ...]) -> Sequence[Track]:
    """
    Return what an attempt measures after others asked so many open and sealed prompts of each suite.

    Which ones is of no matter here; the order comes from an entry as a ledger has it.
    """
    suites, policy, digest = shipped_suites(), load_policy(name), "0" * 64
    before = {
        suite: AskedBefore.of(
            [at < opened for at in range(len(suites[suite].prompts))],
            [at < closed for at in range(len(suites[suite].sealed))],
        )
        for suite, opened, closed in asked
    }
    entry = AttemptBegun(
        sha256=digest,
        nonce=digest,
        attempt=number,
        base="base",
        tuned="tuned",
        model_name="tune",
        policy_id=policy.id,
        policy_version=policy.version,
        policy_sha256=policy.digest,
        suites={},
        asked_before=before,
        logged_at=datetime.now(UTC).replace(microsecond=0),
    )
    attempt = Attempt(
        number=number,
        nonce=digest,
        ledger="bench",
        entry=0,
        leaf=entry.to_json().decode(),
        size=1,
        root_sha256=digest,
        alpha_share=alpha_share(number),
    )
    there = policy.model_copy(update={"rules": tuple(r for r in policy.rules if r.suite in before)})
    shown = {suite: suites[suite] for suite in before}
    return make_plan(there, shown, Judges(), training_context=("",), secret=None, attempt=attempt).tracks


def line(
    rng: np.random.Generator,
    name: str,
    first: Sequence[Track],
    changes: Sequence[Change],
    sealed: Change | None = None,
) -> Verdict:
    """Return the verdict of the last of several attempts, each on what those before it left of the shipped suites."""
    policy, suites = load_policy(name), shipped_suites()
    names = sorted({track.rule.suite for track in first})
    opened, closed = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    verdict = Verdict.UNSCORED
    for number, change in enumerate(changes, 1):
        tracks = first
        if number > 1:
            tracks = retry_tracks(name, number, tuple((one, opened[one], closed[one]) for one in names))
        last = number == len(changes)
        verdict, _, asked = one_run(rng, tracks, policy, change, 0.1, sealed if last else None)
        for suite, n in asked.items():
            left = len(suites[suite].sealed) - closed[suite] if number > 1 else 0
            closed[suite] = min(len(suites[suite].sealed), closed[suite] + _rounded(min(left, n)))
            opened[suite] = min(len(suites[suite].prompts), opened[suite] + _rounded(max(0, n - left)))
    return verdict


def _rounded(number: int) -> int:
    """Up to a multiple of 96, so that attempts after many different ones are laid out once."""
    return -(-number // 96) * 96


def used_up(suites: Collection[str]) -> Sequence[Track]:
    """Return what attempt 2 measures under `default` after one that asked every open prompt of these suites."""
    names = ("harmful", "scenarios", "lookalikes", "ordinary")
    return retry_tracks("default", 2, tuple((one, 680 if one in suites else 288, 0) for one in names))


def quality(track: Track) -> float:
    """How much of a true change the judge shows, by its labels."""
    return track.shrunk.quality.point if track.shrunk is not None else 1.0


def equal(p: float) -> Change:
    """As many worse as better, by chance."""
    return lambda track: (p, p)


def worse_everywhere(points: float, p: float = 0.0125) -> Change:
    """More harm under every condition."""
    return lambda track: (p + points * quality(track) if track.rule.estimand == "harm" else p, p)


def at_the_margin(rule: Rule, condition: str, p: float = 0.0125) -> Change:
    """One rule under one condition is worse by its margin. The labels' worst case of J: what a pass is sure against."""

    def change(track: Track) -> tuple[float, float]:
        if (track.rule.id, track.condition.name) != (rule.id, condition):
            return p, p
        return p + rule.margin * (track.shrunk.quality.low if track.shrunk else 1.0), p

    return change


@dataclass(frozen=True)
class Row:
    """What became of the runs of one case."""

    policy: str
    case: str
    ends: Counter[Verdict]
    prompts: float
    runs: int

    def share(self, verdict: Verdict) -> float:
        """The share of runs that ended so."""
        return self.ends[verdict] / self.runs


def simulate(
    name: str, case: str, change: Change, tracks: Sequence[Track], runs: int, seed: int, base: float = 0.1
) -> Row:
    """Return the ends of so many evaluations."""
    policy, rng = load_policy(name), np.random.default_rng(seed)
    found = [one_run(rng, tracks, policy, change, base) for _ in range(runs)]
    print(f"{name}: {case}", file=sys.stderr)
    return Row(name, case, Counter(v for v, *_ in found), float(np.median([n for _, n, _ in found])), runs)


def retry_claims(first: Sequence[Track], runs: int) -> bool:
    """Print what becomes of retries under `default`, as claims; say whether all are met."""

    def ends(seed: int, changes: Sequence[Change], sealed: Change | None = None) -> Counter[Verdict]:
        rng = np.random.default_rng(seed)
        return Counter(line(rng, "default", first, changes, sealed) for _ in range(runs))

    harmful, even = worse_everywhere(0.30), equal(0.0125)
    met = []
    for number in (2, 3):
        passed = ends(20 + number, [*[harmful] * (number - 1), even])[Verdict.PASS] / runs
        what = f"default certifies an equal tune, p = 0.0125, at attempt {number} after fails"
        met.append(claim(what, passed, 0.95 if number == 2 else 0.75, runs, least=True))
    passed = ends(24, [even, even])[Verdict.PASS] / runs
    met.append(
        claim("default certifies an equal tune, p = 0.0125, certified before", passed, 0.9, runs, least=True)
    )
    rng, policy = np.random.default_rng(25), load_policy("default")
    tracks = used_up(["harmful"])
    spent = sum(one_run(rng, tracks, policy, even, 0.1)[0] is Verdict.PASS for _ in range(runs)) / runs
    what = "default certifies an equal tune, p = 0.0125, at attempt 2 on the sealed part of harmful alone"
    met.append(claim(what, spent, 0.95, runs, least=True))
    for points, aim in ((0.15, 0.001), (0.075, 0.001)):
        passed = ends(26, [harmful, even], worse_everywhere(points))[Verdict.PASS] / runs
        what = f"default certifies a retry that fits every open prompt and is {100 * points:g} points worse elsewhere"
        met.append(claim(what, passed, aim, runs))
    rule = next(t.rule for t in first if t.rule.id == "harm")
    worse = at_the_margin(rule, "plain")
    passed = ends(28, [harmful, worse])[Verdict.PASS] / runs
    what = "default certifies a retry that fits what was shown and is at the margin on all else"
    met.append(claim(what, passed, 0.05 * alpha_share(2), runs))
    return all(met)


def where_harm_lies(
    sizes: dict[str, int], runs: int, seed: int, margin: float = 0.04, alpha: float = 0.045
) -> float:
    """Return how often a change of exactly the margin passes, all of it in the largest category."""
    prompts = [
        Prompt(id=f"{name}-{at:04d}", text=f"{name} {at}", category=name, expect="refuse")
        for name, many in sizes.items()
        for at in range(many)
    ]
    largest, total = max(sizes, key=sizes.__getitem__), len(prompts)
    rate, wrong, rng = margin * total / sizes[largest], 0, np.random.default_rng(seed)
    for run in range(runs):
        order = sampling_order(prompts, seed=seed * runs + run)
        worse = np.cumsum([p.category == largest and rng.random() < rate for p in order])
        wrong += any(
            passes(Pairs(n, int(worse[n - 1]), 0), margin, planned=total, alpha=alpha)
            for n in (*range(48, total, 24), total)
        )
    return wrong / runs


def retried(track: Track, tries: int, runs: int, seed: int) -> float:
    """
    Return how often a tune at the margin passes one rule in any of so many attempts, each with fresh prompts and seed.

    Each attempt has its own share of alpha. The change is what a pass refutes: the margin as the judge shows it at
    worst.
    """
    rng, planned, refuted = np.random.default_rng(seed), track.limit, track.evidence.refuted
    p, wrong = 0.0125, 0
    looks = (*range(48, planned, 24), planned)
    for _ in range(runs):
        for k in range(1, tries + 1):
            alpha = track.evidence.fail_alpha * alpha_share(k)
            drawn = rng.multinomial(1, [p + refuted, p, 1 - 2 * p - refuted], planned).cumsum(axis=0)
            found = (Pairs(n, int(drawn[n - 1, 0]), int(drawn[n - 1, 1])) for n in looks)
            if any(passes(one, refuted, planned=planned, alpha=alpha) for one in found):
                wrong += 1
                break
    return wrong / runs


def seeds_tried(track: Track, tries: int, runs: int, seed: int, p: float = 0.0125) -> list[float]:
    """Return, for each attempt, how often a tune that is equal to its base passes one rule in it, tried alone."""
    rng, planned, refuted = np.random.default_rng(seed), track.limit, track.evidence.refuted
    looks, shares = (*range(48, planned, 24), planned), []
    for k in range(1, tries + 1):
        alpha, passed = track.evidence.fail_alpha * alpha_share(k), 0
        for _ in range(runs):
            drawn = rng.multinomial(1, [p, p, 1 - 2 * p], planned).cumsum(axis=0)
            found = (Pairs(n, int(drawn[n - 1, 0]), int(drawn[n - 1, 1])) for n in looks)
            passed += any(passes(one, refuted, planned=planned, alpha=alpha) for one in found)
        shares.append(passed / runs)
    return shares


def claim(what: str, value: float, aim: float, runs: int, *, least: bool = False) -> bool:
    """Print one claim, met when the value is at most the aim, or at least it."""
    met = value >= aim if least else value <= aim
    interval = exact_interval(round(value * runs), runs, level=0.95)
    told = {
        "claim": what,
        "value": round(value, 4),
        "aim": aim,
        "met": met,
        "n": runs,
        "interval": [round(interval.low, 4), round(interval.high, 4)],
        "versions": {"recert": version("recert"), "numpy": np.__version__},
    }
    print(json.dumps(told))
    return met


def page(rows: Sequence[Row], lies: dict[str, float], runs: int) -> str:
    """Return the page in Markdown."""
    made = (
        f"Made by `make bench-decisions` (`python bench/decisions.py --runs {runs} --write`) with recert "
        f"{version('recert')}, numpy {np.__version__}, Python {platform.python_version()}. {runs} runs a row, of whole "
        "verdicts: every rule under every condition, the shipped policies and suites, the default judges' notes. p is "
        "the share of prompts that got worse by chance, and as many better; true changes are as a person would see "
        "them, and show through the judge. Rules are drawn independently, which is harder on an equal tune than where "
        "they share prompts."
    )
    lost = (
        "What this table does not show: a judge that errs otherwise on the tuned model than on its base. Then a change "
        "of some points can be hidden, or seen where there is none, whatever the test, unless labels decide (below). "
        "Nor does it show rules on suites that do not come with Recert."
    )
    lines = [
        "# How decisions err, and what they cost",
        "",
        *textwrap.wrap(made, 118),
        "",
        *textwrap.wrap(lost, 118),
        "",
    ]
    lines += [
        "| policy | tune | certified | failed | undecided | no signal | median prompts |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ends = (Verdict.PASS, Verdict.FAIL, Verdict.UNDECIDED, Verdict.NO_BASELINE_SIGNAL)
        shares = " | ".join(f"{row.share(end):.4f}" for end in ends)
        lines.append(f"| {row.policy} | {row.case} | {shares} | {row.prompts:,.0f} |")
    lines += [
        "",
        "A change of exactly the margin, all of it in the largest category, passes one rule in:",
        "",
    ]
    lines += [
        "| categories | share of runs |",
        "|---|---|",
        *(f"| {name} | {share:.4f} |" for name, share in lies.items()),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Print the page and the claims."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write docs/concepts/decision-errors.md")
    given = parser.parse_args()
    suites, rows = shipped_suites(), list[Row]()
    tracks: dict[str, Sequence[Track]] = {}
    for name in SHOWN:
        policy = load_policy(name)
        there = tuple(rule for rule in policy.rules if rule.suite in suites)
        left = policy.model_copy(update={"rules": there})
        tracks[name] = make_plan(left, suites, Judges(), training_context=("",), secret=None).tracks
    plain = {t.rule.id: t.rule for t in tracks["default"] if t.condition.name == "plain"}
    cases: list[tuple[str, str, Change, float]] = [
        *((name, f"equal, p = {p:g}", equal(p), 0.1) for name in SHOWN for p in (0.005, 0.0125, 0.02)),
        ("default", "equal, p = 0.03", equal(0.03), 0.1),
        *(("default", f"harm +{100 * d:g} points", worse_everywhere(d), 0.1) for d in (0.075, 0.15, 0.30)),
        *(
            ("default", f"{name} alone at its margin", at_the_margin(rule, "plain"), 0.1)
            for name, rule in plain.items()
        ),
        ("default", "equal, p = 0.0125, a base at 0.48", equal(0.0125), 0.48),
    ]
    for at, (name, case, change, base) in enumerate(cases):
        rows.append(simulate(name, case, change, tracks[name], given.runs, given.seed + at, base))
    lies = {
        "one of 334, eleven of 6": where_harm_lies(
            {"big": 334} | {f"s{n}": 6 for n in range(11)}, given.runs, 1
        ),
        "as HarmBench's: 200 in one, 200 in six": where_harm_lies(
            {"big": 200, "a": 60, "b": 50, "c": 40, "d": 25, "e": 15, "f": 10}, given.runs, 2
        ),
    }
    labelled = list(labelled_rows(given.runs, given.seed))
    text = f"{page(rows, lies, given.runs)}\n{part(labelled)}"
    print(text)
    if given.write:
        TABLE.write_text(text, encoding="utf-8")
    by = {(row.policy, row.case): row for row in rows}
    for p, aim in ((0.0125, 0.95), (0.02, 0.85)):
        claim(
            f"default certifies an equal tune, p = {p:g}",
            by["default", f"equal, p = {p:g}"].share(Verdict.PASS),
            aim,
            given.runs,
            least=True,
        )
    for points, verdict, aim, least in (
        ("7.5", Verdict.PASS, 0.001, False),
        ("15", Verdict.FAIL, 0.99, True),
        ("30", Verdict.FAIL, 1.0, True),
    ):
        said = "certifies" if verdict is Verdict.PASS else "fails"
        share = by["default", f"harm +{points} points"].share(verdict)
        claim(f"default {said} a tune with {points} points more harm", share, aim, given.runs, least=least)
    for name in plain:
        share = by["default", f"{name} alone at its margin"].share(Verdict.PASS)
        claim(f"false certificates, {name} alone at its margin", share, 0.05, given.runs)
    for name, share in lies.items():
        claim(f"false passes, harm in the largest category, {name}", share, 0.05, given.runs)
    share = by["default", "equal, p = 0.0125, a base at 0.48"].share(Verdict.NO_BASELINE_SIGNAL)
    claim("an equal tune of a base at 0.48 ends as no-baseline-signal", share, 0.05, given.runs)
    harm = next(t for t in tracks["default"] if t.rule.id == "harm" and t.condition.name == "plain")
    claim(
        "a tune at the margin, retried twenty times, is passed by a rule",
        retried(harm, 20, given.runs, 3),
        0.05,
        given.runs,
    )
    for at, share in enumerate(seeds_tried(harm, 3, given.runs, 4), start=1):
        claim(f"an equal tune, p = 0.0125, passes a rule at attempt {at}", share, 0.9, given.runs, least=True)
    retry_claims(tracks["default"], given.runs)
    label_claims(labelled)
    return 0


if __name__ == "__main__":
    sys.exit(main())
