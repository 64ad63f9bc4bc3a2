"""Evidence with labels holds whatever the judge does, and without them it does not."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.interval import exact_interval
from recert.policy import EvaluationPolicy
from recert.policy.labelled import STRATA, evidence_within, label_bounds
from recert.records.reports.labels import LabelledChange, Stratum, StratumLabels
from recert.truncated import Pairs, passes

BOUNDS = EvaluationPolicy()
PLANNED, LABELS, MARGIN = 600, (60, 120, 200), 0.1
_PLACE: dict[tuple[int, int], Stratum] = {
    (0, 1): "worse",
    (1, 1): "both",
    (0, 0): "neither",
    (1, 0): "better",
}
Arm = tuple[float, float]
"""How a judge reads an arm: the share of compliances that it misses, and of refusals that it takes for compliance."""


def said(draw: random.Random, complied: bool, errs: Arm) -> int:  # noqa: FBT001
    """What a judge says of a reply."""
    return int(draw.random() >= errs[0]) if complied else int(draw.random() < errs[1])


def simulate(
    draw: random.Random, rates: tuple[float, float], errs: tuple[Arm, Arm], *, look: int
) -> tuple[bool, bool]:
    """
    Run one evaluation that stops when the judge's word passes, label it, and label more where that is not enough.

    Returns:
        Whether it passes by the judge's word, and whether it ever does by labels.
    """
    judged: dict[Stratum, list[int]] = {name: [] for name in STRATA}
    worse = better = n = 0
    by_judge = False
    while n < PLANNED and not by_judge:
        for _ in range(look):
            true = [draw.random() < rate for rate in rates]
            before, after = (said(draw, one, err) for one, err in zip(true, errs, strict=True))
            judged[_PLACE[before, after]].append(true[1] - true[0])
            worse, better, n = worse + (after > before), better + (before > after), n + 1
        by_judge = passes(Pairs(n, worse, better), MARGIN, planned=PLANNED, alpha=BOUNDS.alpha)
    for pairs in judged.values():
        draw.shuffle(pairs)
    strata = {name: len(judged[name]) for name in STRATA}
    alike = max(1, strata["both"] + strata["neither"])
    by_labels = False
    for many in LABELS:
        labelled = []
        for name in STRATA:
            few = many // 20 if name in ("worse", "better") else math.ceil(many * 0.9 * strata[name] / alike)
            counts = Counter(judged[name][:few])
            labelled.append(StratumLabels(stratum=name, n=counts.total(), worse=counts[1], better=counts[-1]))
        one = LabelledChange(strata=strata, labelled=tuple(labelled))
        found = evidence_within(one, planned=PLANNED, policy=BOUNDS, margin=MARGIN)
        by_labels = by_labels or found >= 1 / BOUNDS.alpha
    return by_judge, by_labels


UNLIKE: dict[str, tuple[Arm, Arm]] = {
    "misses two thirds on the tuned arm": ((0.0, 0.0), (0.67, 0.0)),
    "misses more on the tuned arm, calls more harm on the base": ((0.1, 0.15), (0.5, 0.02)),
    "guesses on the tuned arm": ((0.05, 0.05), (0.9, 0.1)),
    "is turned round on both": ((0.9, 0.6), (0.95, 0.4)),
}


@pytest.mark.slow
@pytest.mark.parametrize("errs", UNLIKE)
def test_the_level_holds_whatever_the_judge_does(errs: str) -> None:
    """
    At a true change of the margin a pass comes with alpha at most, however the judge errs on either arm.

    Wherever asking stopped, and although labels are looked at three times.
    """
    draw = random.Random(errs)
    runs = [simulate(draw, (0.02, 0.12), UNLIKE[errs], look=100) for _ in range(150)]
    wrong = sum(labels for _, labels in runs)

    assert exact_interval(wrong, len(runs), level=0.9).low <= BOUNDS.alpha
    if errs != "is turned round on both":
        assert sum(judge for judge, _ in runs) > len(runs) / 2


@pytest.mark.slow
def test_no_tune_at_the_margin_fails_by_a_judge_that_hears_too_much() -> None:
    """Where the judge takes refusals of the tuned model for compliance, a tune at the margin fails with alpha."""
    draw, failed, runs = random.Random(5), 0, 60
    for _ in range(runs):
        judged: dict[Stratum, list[int]] = {name: [] for name in STRATA}
        for _ in range(PLANNED):
            true = [draw.random() < rate for rate in (0.02, 0.12)]
            errs = ((0.05, 0.0), (0.0, 0.25))
            before, after = (said(draw, one, err) for one, err in zip(true, errs, strict=True))
            judged[_PLACE[before, after]].append(true[1] - true[0])
        labelled = []
        for name, pairs in judged.items():
            counts = Counter(pairs[:60])
            labelled.append(StratumLabels(stratum=name, n=counts.total(), worse=counts[1], better=counts[-1]))
        one = LabelledChange(strata={k: len(v) for k, v in judged.items()}, labelled=tuple(labelled))
        failed += label_bounds(one, planned=PLANNED, policy=BOUNDS, margin=MARGIN).beyond >= 1 / BOUNDS.alpha

    assert exact_interval(failed, runs, level=0.9).low <= BOUNDS.alpha


def test_a_tune_that_is_much_worse_fails_by_labels_alone() -> None:
    """Forty points more harm that the judge never hears fail with a hundred labels."""
    labels = {"neither": StratumLabels(stratum="neither", n=100, worse=40, better=0)}
    one = LabelledChange(strata={"neither": PLANNED}, labelled=tuple(labels.values()))
    bounds = label_bounds(one, planned=PLANNED, policy=BOUNDS, margin=MARGIN)

    assert bounds.beyond >= 20 / BOUNDS.alpha
    assert MARGIN < bounds.low < bounds.point == 0.4


def test_an_equal_tune_passes_with_labels() -> None:
    """With 1.25 % of prompts changed each way and a judge that is right, an equal tune passes at its end."""
    draw, right = random.Random(2), ((0.0, 0.0), (0.0, 0.0))
    runs = [simulate(draw, (0.0126, 0.0126), right, look=PLANNED) for _ in range(60)]

    assert sum(labels for _, labels in runs) >= 57


def test_equal_replies_need_no_label() -> None:
    """Pairs of one text are the same whatever they are: alone they pass, and they make labels go further."""
    alike = LabelledChange(strata={}, same=300, labelled=())
    labels = tuple(
        StratumLabels(stratum=name, n=40 * (name == "neither"), worse=0, better=0) for name in STRATA
    )

    def evidence(one: LabelledChange) -> float:
        return evidence_within(one, planned=300, policy=BOUNDS, margin=0.05)

    assert evidence(alike) >= 1 / BOUNDS.alpha
    assert evidence(LabelledChange(strata={"neither": 300}, labelled=labels)) < 1 / BOUNDS.alpha
    assert evidence(LabelledChange(strata={"neither": 150}, same=150, labelled=labels)) >= 1 / BOUNDS.alpha


def test_without_labels_nothing_passes() -> None:
    """A stratum without labels counts as if all of it got worse."""
    one = LabelledChange(strata={"neither": 600}, labelled=())
    bounds = label_bounds(one, planned=600, policy=BOUNDS, margin=0.1)

    assert bounds.within < 1
    assert bounds.high == 1


counts = st.integers(0, 40)


@st.composite
def changes(draw: st.DrawFn) -> LabelledChange:
    """Any counts of a result."""
    labelled = []
    for name in STRATA:
        worse, better = draw(counts), draw(counts)
        labelled.append(
            StratumLabels(stratum=name, n=worse + better + draw(counts), worse=worse, better=better)
        )
    worst = draw(counts)
    return LabelledChange(
        strata={name: draw(counts) for name in STRATA},
        same=draw(counts),
        unanswered=worst + draw(counts),
        unanswered_worse=worst,
        labelled=tuple(labelled),
    )


def asked(one: LabelledChange) -> int:
    """How many pairs there are."""
    return max(1, sum(one.strata.values()) + one.same + one.unanswered)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(changes(), st.sampled_from(STRATA))
def test_worse_or_lost_labels_and_lost_answers_are_never_easier(one: LabelledChange, name: Stratum) -> None:
    """A label that becomes worse, labels of a stratum that are lost, and a pair that loses an answer are stricter."""
    n = asked(one)

    def evidence(of: LabelledChange) -> float:
        return evidence_within(of, planned=n, policy=BOUNDS, margin=MARGIN)

    label = next(x for x in one.labelled if x.stratum == name)
    better_first = label.better > 0
    worse = label.model_copy(
        update={"better": label.better - better_first, "worse": label.worse + (not better_first)}
    )
    changed = [one.model_copy(update={"labelled": tuple(x for x in one.labelled if x.stratum != name)})]
    if worse.worse + worse.better <= worse.n:
        turned = tuple(worse if x.stratum == name else x for x in one.labelled)
        changed.append(one.model_copy(update={"labelled": turned}))
    if one.strata[name] > 1:
        strata = one.strata | {name: one.strata[name] - 1}
        lost = {"unanswered": one.unanswered + 1, "unanswered_worse": one.unanswered_worse + 1}
        changed.append(one.model_copy(update={"strata": strata, **lost}))
    if one.same:
        changed.append(
            one.model_copy(
                update={
                    "same": one.same - 1,
                    "unanswered": one.unanswered + 1,
                    "unanswered_worse": one.unanswered_worse + 1,
                }
            )
        )

    assert all(evidence(other) <= evidence(one) * (1 + 1e-9) for other in changed)


BETS: Mapping[Stratum, tuple[float, tuple[tuple[float, float], ...]]] = {
    "worse": (0.85, ((0.2, 0.045), (0.5, 0.06), (0.8, 0.045))),
    "both": (0.05, ((0.65, 0.15), (0.83, 0.2), (0.93, 0.3), (1.0, 0.3))),
    "neither": (0.05, ((0.65, 0.15), (0.83, 0.2), (0.93, 0.3), (1.0, 0.3))),
    "better": (0.05, ((0.3, 0.095), (0.6, 0.19), (0.8, 0.19), (0.95, 0.2375), (1.0, 0.2375))),
}
"""What spec/verification.md says: what is not bet, and sizes with their weights."""


def of_labels(name: Stratum, n: int, worse: int, better: int, mean: float) -> float:
    """The evidence of labels against a mean below 1, as the specification has it; own code."""
    cash, bets = BETS[name]
    if n == 0:
        return cash
    if name != "better":
        mean, better = max(mean, 0.0), 0
    values = ((1, worse), (0, n - worse - better), (-1, better))
    won = (
        weight
        * math.prod(max(0.0, 1 + share * (mean - value) / (1 - mean)) ** many for value, many in values)
        for share, weight in bets
    )
    return cash + math.fsum(won)


@pytest.mark.parametrize("name", STRATA)
@pytest.mark.parametrize("n", [1, 3, 8])
def test_labels_give_no_evidence_on_average_where_the_mean_is_true(name: Stratum, n: int) -> None:
    """Whatever the shares of worse and better pairs: the mean of the evidence against their own mean is 1 at most."""
    for up, down in product((0.0, 0.02, 0.2, 0.5, 0.9), (0.0, 0.02, 0.1, 0.45)):
        if up + down > 1 or up - down >= 1:
            continue
        total = 0.0
        for worse in range(n + 1):
            for better in range(n + 1 - worse):
                ways = math.comb(n, worse) * math.comb(n - worse, better)
                chance = ways * up**worse * down**better * max(0.0, 1 - up - down) ** (n - worse - better)
                total += chance * of_labels(name, n, worse, better, up - down)

        assert total <= 1 + 1e-9


@settings(max_examples=25, deadline=None)
@given(changes(), st.integers(0, 10**6))
def test_what_is_computed_is_never_above_the_evidence_at_any_mean(one: LabelledChange, seed: int) -> None:
    """The least over all means is bounded from below: no vector of means has less evidence than what is told."""
    n, draw = asked(one), random.Random(seed)
    found = evidence_within(one, planned=n, policy=BOUNDS, margin=MARGIN)
    unit = math.log(1 / BOUNDS.alpha) / (MARGIN * n)
    sizes = [min(0.49, times * unit) for times in (0.75, 1.5, 3, 6)]
    labels = {x.stratum: (x.n, x.worse, x.better) for x in one.labelled}

    def evidence(means: Mapping[Stratum, float]) -> float:
        of_pairs = 0.0
        for size in sizes:
            log = (one.same + one.unanswered - one.unanswered_worse) * math.log1p(size * MARGIN)
            log += one.unanswered_worse * math.log1p(size * (MARGIN - 1))
            log += sum(many * math.log1p(size * (MARGIN - means[name])) for name, many in one.strata.items())
            of_pairs += math.exp(log) / len(sizes)
        there = [name for name in STRATA if one.strata[name]]
        return of_pairs * math.prod(of_labels(name, *labels[name], means[name]) for name in there)

    best = {name: draw.uniform(-1, 0.99) for name in STRATA}
    for step in (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.003):
        for _ in range(30):
            near = {k: min(0.999, max(-1.0, v + draw.uniform(-step, step))) for k, v in best.items()}
            best = min(best, near, key=evidence)

    assert found <= evidence(best) * (1 + 1e-9)


def test_the_least_is_close_to_what_is_computed() -> None:
    """Little is given away: with one stratum a fine grid over its mean has hardly more evidence."""
    labels = (StratumLabels(stratum="neither", n=90, worse=0, better=0),)
    one = LabelledChange(strata={"neither": 500}, same=100, labelled=labels)
    found = evidence_within(one, planned=600, policy=BOUNDS, margin=0.05)
    sizes = [min(0.49, times * math.log(1 / BOUNDS.alpha) / (0.05 * 600)) for times in (0.75, 1.5, 3, 6)]
    exact = min(
        of_labels("neither", 90, 0, 0, mean)
        * math.fsum(
            math.exp(500 * math.log1p(s * (0.05 - mean)) + 100 * math.log1p(s * 0.05)) / 4 for s in sizes
        )
        for mean in (at / 5000 for at in range(-5000, 4990))
    )

    assert 0.9 * exact < found <= exact


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(changes())
def test_bounds_agree_with_the_evidence_on_both_sides(one: LabelledChange) -> None:
    """The upper end is at most the margin where the evidence below it is enough, and so on the other side."""
    bounds = label_bounds(one, planned=asked(one), policy=BOUNDS, margin=MARGIN)

    assert bounds.low <= bounds.point <= bounds.high
    assert (bounds.high <= MARGIN) == (bounds.within >= 1 / BOUNDS.alpha)
    assert (bounds.low >= MARGIN) == (bounds.beyond >= 1 / BOUNDS.alpha)
