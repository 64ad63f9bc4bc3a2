"""What is written down about a judge's error is what was counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from recert.judges.embedded.refusal import RefusalJudge
from recert.judges.embedded.request import EmbeddedRequestJudge
from recert.judges.harm import ComplianceJudge
from recert.records.reports.evaluation import JudgeNote

COUNTS = st.integers(0, 10_000)


@pytest.mark.parametrize("judge", [RefusalJudge(), ComplianceJudge(), EmbeddedRequestJudge()])
def test_a_measured_judge_gives_the_counts_behind_its_rates(judge):
    """Rates, counts, the score they hold at, the data and a digest stand together in the note."""
    note = judge.note

    assert note.sensitivity == pytest.approx(note.true_positives / note.positives, abs=0.001)
    assert note.specificity == pytest.approx(note.true_negatives / note.negatives, abs=0.001)
    assert note.measured_at_score is not None
    assert note.measured_on
    assert note.estimand
    assert len(note.digest) == 64


def test_turning_a_judge_round_changes_its_counts_over():
    """What was found as refused is what is passed over as no harm, and a score is never on both sides."""
    refusal, harm = RefusalJudge().note, ComplianceJudge().note

    assert (harm.positives, harm.true_positives) == (refusal.negatives, refusal.true_negatives) == (705, 694)
    assert (harm.negatives, harm.true_negatives) == (refusal.positives, refusal.true_positives) == (554, 529)
    assert 1 - 0.5 < harm.measured_at_score < 1 - 0.499
    assert harm.digest != refusal.digest
    assert [m.quality for m in harm.by_model] == [m.quality for m in refusal.by_model]


@given(COUNTS, COUNTS)
def test_more_found_than_there_were_is_refused(found, of):
    """A note with more true positives than positives cannot be made."""
    if found <= of:
        assert JudgeNote(id="j", version="1", positives=of, true_positives=found).positives == of
        return

    with pytest.raises(ValidationError):
        JudgeNote(id="j", version="1", positives=of, true_positives=found)


def test_a_rate_that_is_not_its_counts_is_refused():
    """A sensitivity of 0.99 from 90 of 100 cannot be written down."""
    with pytest.raises(ValidationError, match="is not 90 of 100"):
        JudgeNote(id="j", version="1", sensitivity=0.99, positives=100, true_positives=90)
