"""Live requests beside the certified distribution: alike is not said to have changed, and what changed is said."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import NOW, SOME_SHA, make_eval_report, make_policy
from logs import exchange
from recert.certification.signing.content import draft
from recert.errors import InputError
from recert.monitoring.inputs import compare_inputs, divergence, holm, homogeneity_p_value
from recert.records.live.exchange import ControlScore, Exchange
from recert.records.live.input_drift import InputDrift
from recert.records.signed.certificate import Certificate
from recert.records.signed.input_distribution import InputDistribution

POLICY = make_policy()


def said(score: float | None, length: float = 0.01) -> list[ControlScore]:
    """Return what two controls say of a request."""
    return [
        ControlScore(control="limits", direction="input", score=length, blocked=False),
        ControlScore(control="input-judge", direction="input", score=score, blocked=score is None),
    ]


def usual(count: int, seed: int) -> list[list[ControlScore]]:
    """Return what is said of requests with ordinary scores and lengths."""
    draw = random.Random(seed)
    return [said(0.6 * draw.random() ** 2, 0.05 * draw.random() ** 2) for _ in range(count)]


def live(scores: Sequence[Sequence[ControlScore]], **changes: Any) -> list[Exchange]:
    """Return exchanges with these scores."""
    return [exchange(n, scores=tuple(one), **changes) for n, one in enumerate(scores)]


def make_certificate(inputs: InputDistribution | None = None) -> Certificate:
    """Return a certificate with a distribution of inputs."""
    return draft(
        make_eval_report(policy=POLICY), POLICY, evidence_sha256=SOME_SHA, approvals=(), trainer_key_id=None,
        tune_report=None, screen_report=None, supersedes=None, now=NOW, inputs=inputs,
    )  # fmt: skip


def look(expected: Sequence[Sequence[ControlScore]], now_: Sequence[Sequence[ControlScore]]) -> InputDrift:
    """Compare live requests with a certificate's."""
    inputs = InputDistribution.of(expected, ["limits", "input-judge"])
    return compare_inputs(make_certificate(inputs=inputs), live(now_), policy=POLICY, at=NOW)


@pytest.mark.slow
def test_requests_as_expected_are_not_said_to_have_changed() -> None:
    """Of fifty windows of requests drawn like the sample at most a few are said to have changed."""
    changed = [bool(look(usual(150, seed), usual(100, 1000 + seed)).changed) for seed in range(50)]

    assert sum(changed) <= 3


@pytest.mark.parametrize(
    ("now_", "names"),
    [
        ([said(0.8)] * 30, ("limits", "input-judge")),
        (
            [[one, other] for (one, _), (_, other) in zip(usual(80, 5), [said(0.8)] * 80, strict=True)],
            ("input-judge",),
        ),
        ([said(None)] * 40, ("limits", "input-judge")),
        ([said(0.1)[:1] for _ in range(40)], ("limits", "input-judge")),
    ],
    ids=["all else", "scores", "a judge that fails", "a control that is gone"],
)
def test_what_changed_is_said(now_: list[list[ControlScore]], names: tuple[str, ...]) -> None:
    """Other scores, a control that fails, and one that is not asked any more."""
    found = look(usual(200, 0), now_)

    assert found.changed == names
    assert found.alpha == POLICY.monitoring.exchange_alpha


def test_what_cannot_be_compared_is_said() -> None:
    """Exchanges without a score of the request are counted, and controls that the certificate has not are named."""
    inputs = InputDistribution.of(usual(50, 0), ["input-judge"])
    exchanges = [*live(usual(20, 1)), *live([[]] * 3, decision="refused")]
    found = compare_inputs(make_certificate(inputs=inputs), exchanges, policy=POLICY, at=NOW)

    assert (found.live_requests, found.left_out, found.not_compared) == (20, 3, ("limits",))


def test_nothing_to_compare_is_no_answer() -> None:
    """A certificate without a distribution, and exchanges that no control was asked about."""
    with pytest.raises(InputError, match="no distribution of inputs") as without:
        compare_inputs(make_certificate(), live(usual(5, 0)), policy=POLICY, at=NOW)
    with pytest.raises(InputError, match="no live request"):
        look(usual(5, 0), [[]] * 3)

    assert "--traffic" in str(without.value.hint)


counts = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=6).filter(
    lambda rows: all(map(sum, zip(*rows, strict=True)))
)


@given(counts)
@settings(max_examples=40, deadline=None)
def test_a_distance_lies_between_alike_and_nothing_in_common(rows: list[tuple[int, int]]) -> None:
    """It is symmetric, 0 for the same rows, and 1 without a bin in common."""
    some, others = zip(*rows, strict=True)

    assert divergence(some, others) == pytest.approx(divergence(others, some))
    assert divergence(some, some) == 0
    assert divergence((*some, *[0] * len(others)), (*[0] * len(some), *others)) == pytest.approx(1)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_p_values_are_those_of_all_permutations(a: int, b: int, c: int, d: int) -> None:
    """In tables of two bins, by adding up every table with these sums, within what draws allow."""
    some, others = (a, b), (c, d)
    good, size, whole = a + c, a + b, a + b + c + d
    far = divergence(some, others) - 1e-12
    exact = sum(
        math.comb(good, k) * math.comb(whole - good, size - k)
        for k in range(max(0, size - b - d), min(good, size) + 1)
        if divergence((k, size - k), (good - k, whole - good - size + k)) >= far
    ) / math.comb(whole, size)
    found = homogeneity_p_value(some, others, draws=2_000)

    assert found == pytest.approx(exact, abs=0.005 + exact)
    assert found == homogeneity_p_value(some, others, draws=2_000)


def test_p_values_are_small_no_more_often_than_they_say() -> None:
    """Of 200 pairs drawn alike, at most about a tenth has a p-value of a tenth or less."""
    draw = random.Random(1)

    def counted(n: int) -> list[int]:
        drawn = draw.choices(range(5), (50, 20, 20, 8, 2), k=n)
        return [drawn.count(place) for place in range(5)]

    found = [homogeneity_p_value(counted(60), counted(40), draws=999) for _ in range(200)]

    assert sum(p <= 0.1 for p in found) <= 34
    assert sum(p <= 0.1 for p in found) >= 8


def test_adjusted_p_values_are_those_of_holm() -> None:
    """The least is taken as often as there are p-values, and none falls below one before it."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []
