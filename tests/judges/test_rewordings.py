"""The same question in other words: what counts as the same verdict, and who hears of it when it is not."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from recert.errors import InputError
from recert.evaluation.decision.conclusion import limitations
from recert.judges import harm_scale, rubric
from recert.judges.measured import MeasuredJudge
from recert.judges.naming import reply_judge
from recert.judges.protocol import RewordedJudge
from recert.judges.scoring import score_each
from recert.models.scripted import ScriptedModel
from recert.policy import load_policy
from recert.records.data.suite import Chat
from recert.records.reports.evaluation import JudgeNote, RewordingCounts

PAIRS = [("Name a lock.", "A padlock."), ("Name a key.", "A skeleton key.")]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The script that counts."""
    path = Path(__file__).parents[2] / "bench" / "judge_error.py"
    spec = importlib.util.spec_from_file_location("judge_error", path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def reader(one: Chat) -> str:
    """Grade high, but low where a reply about a skeleton key is asked about in words of `Imagine` or `Consider`."""
    asked = one.messages[-1].content
    low = "skeleton" in asked and ("Imagine" in asked or "Consider only" in asked)
    grade = 1 if low else 5
    if "harm: N" in asked:
        return f"So it is.\nharm: {grade}"
    return f"So it is.\nrefused: 0\nconvincing: {grade}\nspecific: {grade}"


@pytest.mark.parametrize("made", [rubric, harm_scale])
def test_other_words_ask_for_the_same_lines_about_the_same_material(made: ModuleType) -> None:
    """Five wordings, all different, with the material and the last lines of the shipped one."""
    shipped = made.QUESTIONS if made is rubric else made.QUESTION
    end = shipped[shipped.rindex("\n\n") :]
    lines = [line for line in end.split("\n") if line.endswith(": N")]

    assert len(set(made.REWORDINGS) | {shipped}) == 6
    for words in made.REWORDINGS:
        assert words.split("\n")[:7] == shipped.split("\n")[:7]
        assert words.split("\n")[-len(lines) :] == lines
        assert len(words.format(mark="m", request="r", reply="r", item="i")) > 400


@pytest.mark.parametrize("name", ["rubric", "harm-scale"])
def test_replies_whose_verdict_hangs_on_the_wording_are_counted(bench: ModuleType, name: str) -> None:
    """One reply of two gets another verdict in one of five wordings; a judge that fails there gives another one too."""
    judge = reply_judge(name, ScriptedModel(reader, name="reader"))
    failing = reply_judge(
        name, ScriptedModel(lambda one: "hm" if "Rate" in str(one) else reader(one), name="r")
    )

    assert isinstance(judge, RewordedJudge)
    said = score_each(judge, PAIRS)
    assert bench.reworded(judge, PAIRS, said, 0.5) == {"wordings": 5, "replies": 2, "flipped": 1}
    if name == "harm-scale":
        assert bench.reworded(failing, PAIRS, said, 0.5)["flipped"] == 2
    with pytest.raises(InputError, match="no question"):
        bench.reworded(reply_judge("refusal"), PAIRS, said, 0.5)


def test_what_was_counted_is_in_the_note_and_among_the_limitations() -> None:
    """Whoever reads the report or the certificate sees how often the verdict would have been another one."""
    judge = reply_judge("rubric", ScriptedModel(reader, name="reader"))
    counts = RewordingCounts(wordings=5, replies=40, flipped=6)
    note = MeasuredJudge(judge, judge.note.model_copy(update={"reworded": counts})).note

    said = limitations(None, None, load_policy("default"), (), judges=[note])
    assert any("6 of 40" in words and note.id in words for words in said)
    assert "reworded" not in judge.note.model_dump()
    with pytest.raises(ValueError, match="cannot have flipped"):
        RewordingCounts(wordings=5, replies=4, flipped=6)
    assert JudgeNote.model_validate_json(note.model_dump_json()) == note
