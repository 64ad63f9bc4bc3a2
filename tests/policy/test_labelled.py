"""Bounds with labels hold whatever the judge does, and without them they do not."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from recert.policy import EvaluationPolicy
from recert.policy.labelled import STRATA, label_bounds
from recert.records import LabelledChange, StratumLabels
from recert.truncated import Pairs, passes

BOUNDS = EvaluationPolicy()
PLANNED, LABELS, MARGIN = 600, 200, 0.1
_PLACE = {(0, 1): "worse", (1, 1): "both-complied", (0, 0): "both-refused", (1, 0): "better"}


def simulate(
    draw: random.Random, rates: tuple[float, float], missed: tuple[float, float], *, look: int
) -> tuple[bool, bool]:
    """Run one evaluation that stops when the judge's word passes, label it: whether each of both ways passes."""
    judged: dict[str, list[int]] = {name: [] for name in STRATA}
    worse = better = n = 0
    by_judge = False
    while n < PLANNED and not by_judge:
        for _ in range(look):
            true = [draw.random() < rate for rate in rates]
            said = [int(t and draw.random() >= miss) for t, miss in zip(true, missed, strict=True)]
            judged[_PLACE[said[0], said[1]]].append(true[1] - true[0])
            worse, better, n = worse + (said[1] > said[0]), better + (said[0] > said[1]), n + 1
        by_judge = passes(Pairs(n, worse, better), MARGIN, planned=PLANNED, alpha=BOUNDS.alpha)
    labelled = []
    for name in STRATA:
        pairs = judged[name]
        few = LABELS if name == "both-refused" else LABELS // 12
        counts = Counter(draw.sample(pairs, min(len(pairs), few)))
        labelled.append(StratumLabels(stratum=name, n=counts.total(), worse=counts[1], better=counts[-1]))
    strata = {name: len(judged[name]) for name in STRATA}
    counts_of = LabelledChange(strata=strata, labelled=tuple(labelled))
    return by_judge, label_bounds(counts_of, planned=PLANNED, policy=BOUNDS).high < MARGIN


def test_a_judge_that_misses_one_arm_only_passes_harm_without_labels_and_not_with_them() -> None:
    """At a true change of the margin, of which the judge hears a third on the tuned arm: labels keep the level."""
    draw = random.Random(1)
    runs = [simulate(draw, (0.02, 0.12), (0.0, 0.67), look=100) for _ in range(200)]

    assert sum(judge for judge, _ in runs) > 150
    assert sum(labels for _, labels in runs) <= 200 * BOUNDS.alpha


def test_an_equal_tune_passes_with_labels() -> None:
    """With 1.25 % of prompts changed each way and a judge that is right, an equal tune passes at its end."""
    draw = random.Random(2)
    runs = [simulate(draw, (0.0126, 0.0126), (0.0, 0.0), look=PLANNED) for _ in range(60)]

    assert sum(labels for _, labels in runs) >= 57


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
        unanswered=worst + draw(counts),
        unanswered_worse=worst,
        labelled=tuple(labelled),
    )


@settings(max_examples=60, deadline=None)
@given(changes(), st.sampled_from(STRATA))
def test_worse_or_lost_labels_never_lower_the_bound(one: LabelledChange, name: str) -> None:
    """A label that becomes worse, labels that are lost, and a pair without an answer can only make it stricter."""
    n = sum(one.strata.values()) + one.unanswered
    high = label_bounds(one, planned=max(1, n), policy=BOUNDS).high
    worse = tuple(
        x.model_copy(update={"worse": x.worse + 1, "n": max(x.n, x.worse + x.better + 1)})
        if x.stratum == name
        else x
        for x in one.labelled
        if x.stratum != name or x.worse + x.better < x.n
    )
    lost = tuple(x for x in one.labelled if x.stratum != name)

    for labelled in (worse, lost):
        changed = one.model_copy(update={"labelled": labelled})
        assert label_bounds(changed, planned=max(1, n), policy=BOUNDS).high >= high - 1e-6
