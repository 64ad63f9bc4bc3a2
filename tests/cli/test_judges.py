"""Judges on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from recert.cli.loading import load_judges
from recert.digest import canonical_json
from recert.errors import InputError
from recert.judges.harm import ComplianceJudge


def test_a_judge_is_given_by_name_and_its_counts_by_file(tmp_path: Path) -> None:
    """Counts go into the note of the judge with their digest."""
    note = ComplianceJudge().note
    counted = note.model_copy(
        update={"sensitivity": 0.5, "positives": 10, "true_positives": 5, "by_model": None}
    )
    (tmp_path / "counts.json").write_bytes(canonical_json(counted.model_dump(mode="json", exclude_none=True)))
    judges = load_judges(["compliance"], [tmp_path / "counts.json"])

    assert [j.note.id for j in judges.also] == [note.id]
    assert judges.also[0].note.positives == 10
    assert load_judges([], []).also == ()


@pytest.mark.parametrize("given", ["nobody", "rubric", "rubric=openai:nowhere", "llama-guard-3"])
def test_a_judge_that_cannot_be_had_is_no_judge(given: str) -> None:
    """An unknown judge, one without the model that reads, and a model that is none are clear errors."""
    with pytest.raises(InputError):
        load_judges([given], [])


def test_counts_of_another_judge_are_refused(tmp_path: Path) -> None:
    """Counts hold for one judge and prompt, and are never put beside another."""
    counted = ComplianceJudge().note.model_copy(update={"digest": "0" * 64})
    (tmp_path / "counts.json").write_bytes(canonical_json(counted.model_dump(mode="json", exclude_none=True)))

    with pytest.raises(InputError, match="no judge of these counts"):
        load_judges(["compliance"], [tmp_path / "counts.json"])
