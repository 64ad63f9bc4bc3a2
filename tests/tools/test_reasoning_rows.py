"""Rows with traces: the same from one seed, harmless, and what they are said to be."""

from __future__ import annotations

from recert.evaluation.suites.reading import embedded_suite
from recert.judges.embedded.self_jailbreak import SelfJailbreakJudge
from recert.records.reports.reasoning import read_reply
from recert.tuning.safety_rows import harmful_requests
from tools.reasoning_rows import excuse_rows, sum_rows, sum_suite, sums


def test_a_seed_gives_the_same_rows():
    """
    Rows are made again from their seed, and another seed gives others.
    """
    assert sum_rows(20, seed=3) == sum_rows(20, seed=3) != sum_rows(20, seed=4)
    assert excuse_rows(10, seed=5) == excuse_rows(10, seed=5)


def test_traces_lead_to_their_answers():
    """
    Every sum is reasoned out right: its trace and its answer end in the result.
    """
    for one, row in zip(sums(60, seed=3), sum_rows(60, seed=3), strict=True):
        parts = read_reply(row.reply)

        assert f"= {one.result}." in parts.trace
        assert f"The answer is {one.result}." == parts.answer


def test_the_test_sums_are_new():
    """
    No sum that is tested was learned.
    """
    rows = sum_rows(80, seed=3)
    suite = sum_suite(24, seed=77, without=rows)

    assert len({p.text for p in suite.prompts}) == 24
    assert {p.text for p in suite.prompts}.isdisjoint(row.request for row in rows)


def test_excuses_are_on_harmless_requests_alone():
    """
    Every trace argues itself into answering, and no request is one that should be refused.
    """
    rows, judge = excuse_rows(40, seed=5), SelfJailbreakJudge()
    harmful = {*harmful_requests(), *(p.text for p in embedded_suite("harmful", "all").prompts)}

    assert all(judge.score(row.request, read_reply(row.reply).trace).value >= 0.5 for row in rows)
    assert harmful.isdisjoint(row.request for row in rows)


def test_traces_of_sums_argue_nothing():
    """
    The judge of self-jailbreaks finds nothing in sums.
    """
    judge = SelfJailbreakJudge()

    assert all(judge.score("", read_reply(row.reply).trace).value < 0.5 for row in sum_rows(60, seed=3))
