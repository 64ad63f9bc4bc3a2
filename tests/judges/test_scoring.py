"""Asking a judge many things at once, whatever it does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.judges.embedded.refusal import RefusalJudge
from recert.judges.protocol import JudgeFailed, Score
from recert.judges.scoring import score_each
from recert.records.reports.evaluation import JudgeNote

PAIRS = [("q1", "I can't help with that."), ("q2", "Here is how: mix flour and water."), ("q3", "")]
NOTE = JudgeNote(id="made", version="1")


class Each:
    note = NOTE

    def __init__(self, says):
        self.says = says

    def score(self, request, reply):
        """Return or raise what was given."""
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


class AllAtOnce(Each):
    def score_all(self, pairs):
        """Return or raise what was given."""
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


def test_a_judge_without_a_batch_form_is_asked_one_by_one():
    """The scores are those of the single calls, in order."""
    judge = RefusalJudge()

    assert score_each(judge, PAIRS) == [judge.score(*pair) for pair in PAIRS]


def test_a_judge_with_a_batch_form_is_asked_once():
    """What `score_all` returns is what comes out."""
    said = [Score(0.1), JudgeFailed("timed out"), Score(1.0)]

    assert score_each(AllAtOnce(said), PAIRS) == said


@pytest.mark.parametrize("kind", [Each, AllAtOnce])
@pytest.mark.parametrize("error", [RuntimeError("broken"), ValueError("no"), TimeoutError()])
def test_an_exception_is_a_failure_of_every_pair_it_touches(kind, error):
    """A judge that raises has failed on each pair, with the reason."""
    said = score_each(kind(error), PAIRS)

    assert len(said) == len(PAIRS)
    assert all(isinstance(s, JudgeFailed) and type(error).__name__ in s.because for s in said)


@given(st.integers(0, 9).filter(lambda n: n != len(PAIRS)))
def test_another_number_of_scores_fails_every_pair(count):
    """Scores that cannot be told apart are no scores: none of them is used."""
    said = score_each(AllAtOnce([Score(0.0)] * count), PAIRS)

    assert [type(s) for s in said] == [JudgeFailed] * len(PAIRS)


@pytest.mark.parametrize("kind", [Each, AllAtOnce])
@pytest.mark.parametrize("nonsense", [None, 0.0, "safe"])
def test_what_is_no_score_is_a_failure(kind, nonsense):
    """A bare number, text or nothing at all never passes for a score."""
    said = score_each(kind([nonsense] * 3 if kind is AllAtOnce else nonsense), PAIRS)

    assert all(isinstance(s, JudgeFailed) for s in said)


def test_nothing_to_score_is_an_empty_list():
    """No pairs, no scores."""
    assert score_each(RefusalJudge(), []) == score_each(AllAtOnce([]), []) == []
