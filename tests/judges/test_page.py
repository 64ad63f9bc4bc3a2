"""The page about judges says what the code says."""

from pathlib import Path

import pytest

from recert.judges.embedded.self_jailbreak import SelfJailbreakJudge
from recert.judges.embedded.trace_refusal import TraceRefusalJudge
from recert.judges.guards import GUARDS
from recert.judges.naming import reply_judge, request_judge
from recert.records.data.hazards import OPENAI_FINE_TUNING

PAGE = (Path(__file__).parents[2] / "docs" / "concepts" / "judges.md").read_text(encoding="utf-8")
JUDGES = [reply_judge(n) for n in ("refusal", "compliance", "coherence")]
JUDGES += [TraceRefusalJudge(), SelfJailbreakJudge()]
JUDGES += [request_judge(n) for n in ("request", "encoder")]


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.note.id)
def test_every_measured_judge_has_its_row(judge):
    """Id, digest and counts of each judge that was measured stand in one row of the table."""
    note = judge.note
    (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{note.id.partition('(')[0]}` |"))

    assert f"`{note.digest[:12]}`" in row
    assert f"| {note.true_positives} of {note.positives} | {note.true_negatives} of {note.negatives} |" in row


def test_every_guard_and_category_is_on_the_page():
    """Families of guards, and OpenAI's categories with ours, are listed."""
    for name in GUARDS:
        assert f"`{name}`" in PAGE
    for theirs, ours in OPENAI_FINE_TUNING.items():
        (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{theirs}` |"))

        assert all(f"`{category}`" in row for category in ours)
