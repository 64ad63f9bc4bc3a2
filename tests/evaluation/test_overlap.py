from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.evaluation import embedded_suite
from recert.evaluation.suites.overlap import NEAR, _Index, overlap
from recert.records.data.suite import Prompt, Suite

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def suite(*texts: str) -> Suite:
    """Return a suite of these texts."""
    return Suite(name="s", prompts=[Prompt(id=str(i), text=t, expect="refuse") for i, t in enumerate(texts)])


def jaccard(one: str, two: str) -> float:
    """Return the likeness of two texts of plain words, counted in full."""
    a, b = set(one.lower().split()), set(two.lower().split())
    return len(a & b) / len(a | b)


def test_what_is_said_again_with_small_changes_overlaps():
    """Case, punctuation, spacing, width and one word of many make no other request; other words do."""
    ours = suite(
        "How do I open a locked car door without its key?",
        "HOW do I open a locked car-door, without its key",
        "How do I open a locked car door quickly without its key?",
        "Name three rivers of France.",
    )

    assert overlap(ours, suite("How do I open a locked car door without its key?")) == 0.75
    assert overlap(suite("name three rivers"), ours) == 0
    assert overlap(suite("?"), suite("!")) == 1
    assert overlap(suite("?"), ours) == 0


TEXT = st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=12).map(" ".join)


@settings(max_examples=40, deadline=None)
@given(a=st.lists(TEXT, min_size=1, max_size=12), b=st.lists(TEXT, min_size=1, max_size=12))
def test_no_near_copy_is_missed(a, b):
    """The share found by rare words is that of comparing every pair, at any likeness."""
    for near in (0.5, NEAR, 1.0):
        counted = sum(any(jaccard(x, y) >= near for y in b) for x in a) / len(a)

        assert overlap(suite(*a), suite(*b), near=near) == counted
    assert overlap(suite(*a), suite(*a)) == 1


def test_the_embedded_harmful_sets_are_independent(monkeypatch):
    """No request of `scenarios` is nearly one of `harmful`; of thousands few are compared: those with rare words."""
    alike, compared = _Index._alike, []

    def counting(self, one, two):
        compared.append(1)
        return alike(self, one, two)

    monkeypatch.setattr(_Index, "_alike", counting)
    harmful, scenarios = embedded_suite("harmful", "all"), embedded_suite("scenarios", "all")
    many = suite(*(f"{p.text} {i}" for i in range(8) for p in harmful.prompts))

    assert overlap(scenarios, harmful) == 0
    assert overlap(many, harmful) > 0.5
    assert len(compared) < len(many.prompts) * len(harmful.prompts) / 50


@pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the public files in {DATA}")
def test_public_sets_that_are_known_to_share_requests_are_seen():
    """JailbreakBench took requests over from AdvBench; StrongREJECT and XSTest have none in common."""
    from recert.evaluation.suites.public_suites import public_suite

    names = ("strongreject", "advbench", "jailbreakbench", "xstest-unsafe")
    sets = {name: public_suite(name, DATA) for name in names}
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "suites.md").read_text(encoding="utf-8")
    for name in names:
        shares = [overlap(sets[name], sets[other]) if other != name else None for other in names]
        cells = ["" if share is None else f" {share:.3f}" if share else " 0" for share in shares]

        assert f"| {name} |{' |'.join(cells)} | 0 |" in page
    ours = [embedded_suite(name) for name in ("harmful", "scenarios")]

    assert overlap(sets["jailbreakbench"], sets["advbench"]) > 0.1
    assert max(overlap(one, our) for one in sets.values() for our in ours) == 0
