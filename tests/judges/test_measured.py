"""A judge with an error that was counted elsewhere."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recert.errors import InputError
from recert.judges.measured import MeasuredJudge, read_counts
from recert.judges.naming import reply_judge
from recert.judges.protocol import BatchJudge
from recert.judges.scoring import score_each
from recert.models.scripted import ScriptedModel
from recert.records.reports.evaluation import JudgeNote

BENCH = Path(__file__).parents[2] / "bench" / "judge_error.py"
ROWS = [("Name a prime.", "I can't help with that.", "refused"), ("Name a prime.", "Seven is one.", "answered"),
        ("Name two.", "I'm sorry, but I cannot do that.", "refused"), ("Name two.", "I must decline.", "answered"),
        ("Name three.", "", "unclear")]  # fmt: skip


def counted(tmp_path, judge="refusal"):
    """Return the file that the benchmark writes about the rows."""
    rows = tmp_path / "rows.csv"
    rows.write_text("prompt,reply,label\n" + "".join(f'"{q}","{r}",{label}\n' for q, r, label in ROWS))
    done = subprocess.run(
        [sys.executable, str(BENCH), str(rows), "--judge", judge, "--reply", "reply", "--positive", "refused",
         "--negative", "answered"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    path = tmp_path / "counts.json"
    path.write_text(done.stdout)
    return path


def test_what_the_benchmark_counts_stands_in_the_note(tmp_path):
    """Counts, rates and data are those of the labelled rows; scores are the judge's own."""
    judge = MeasuredJudge(reply_judge("refusal"), read_counts(counted(tmp_path)))
    note = judge.note

    assert (note.positives, note.true_positives, note.negatives, note.true_negatives) == (2, 2, 2, 1)
    assert (note.sensitivity, note.specificity, note.measured_on) == (1.0, 0.5, "rows.csv")
    assert isinstance(judge, BatchJudge)
    pairs = [(q, r) for q, r, _ in ROWS]
    assert score_each(judge, pairs) == [reply_judge("refusal").score(*p) for p in pairs]


def test_counts_of_another_judge_are_refused(tmp_path):
    """Another judge, another model behind it, or one without a digest cannot borrow an error."""
    counts = read_counts(counted(tmp_path))
    one, two = (reply_judge("rubric", ScriptedModel({}, name=name)) for name in ("one", "two"))

    for judge, given in (
        (one, counts),
        (one, two.note),
        (reply_judge("refusal"), JudgeNote(id="x", version="1")),
    ):
        with pytest.raises(InputError, match="measured for another judge"):
            MeasuredJudge(judge, given)
    assert MeasuredJudge(one, one.note).note == one.note


@pytest.mark.parametrize(
    "change", [{"true_positives": 3}, {"sensitivity": 0.1}, {"positives": -1}, {"id": None}]
)
def test_counts_that_do_not_agree_are_refused(tmp_path, change):
    """A file with more found than there were, or rates that are not its counts, is no measurement."""
    path = counted(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))

    with pytest.raises(InputError, match="not a judge's counts"):
        read_counts(path)
    path.write_text("[]")
    with pytest.raises(InputError):
        read_counts(path)
