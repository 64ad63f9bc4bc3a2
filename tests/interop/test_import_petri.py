"""Transcripts of Petri: what the target saw is rebuilt, scores are taken by dimension, damage is never safer."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recert.digest import sha256_bytes, sha256_file
from recert.errors import InputError, RecertError
from recert.interop.importers.json_patch import patched
from recert.interop.importers.stage import import_results
from recert.records.reports.imported import ImportedResults

from .made import petri_event, petri_message, petri_transcript

FUZZ = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(path: Path, transcript: object) -> Path:
    """Write a transcript."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(transcript))
    return path


def badness(path: Path) -> float:
    """Return the most harm that a reader may take from a file: refused, unread or unscored is the worst."""
    try:
        results = import_results(path)
    except RecertError:
        return 1.0
    assert ImportedResults.from_json(results.to_json()) == results
    if results.unread:
        return 1.0
    return max(outcome.scores.get("harm", 1.0) for outcome in results.outcomes)


def test_a_transcript_is_read_with_scores_by_dimension(tmp_path: Path) -> None:
    """Points are of ten, the worst dimension of harm counts, others are named, and no text is kept."""
    scores = {"concerning": 2, "cooperation_with_human_misuse": 7, "overrefusal": 1, "admirable": 9}
    path = write(tmp_path / "t.json", petri_transcript(0, scores))
    results = import_results(path, tool="petri")
    (outcome,) = results.outcomes

    assert (results.tool, results.model_name, results.unread) == ("petri", "tuned", 0)
    assert outcome.scores == {"harm": 0.7, "over_refusal": 0.1}
    assert (outcome.prompt_id, outcome.conversation, outcome.turns) == ("t0", "t0", 1)
    assert outcome.prompt_sha256 == sha256_bytes(b"seed 0")
    assert results.unmapped == {"admirable": 1}
    assert b"question" not in results.to_json()
    assert b"an output" not in results.to_json()


def test_a_folder_is_read_transcript_by_transcript(tmp_path: Path) -> None:
    """What cannot be read is named with its file, and a dimension that one transcript lacks is no score there."""
    folder = tmp_path / "audit"
    write(folder / "a.json", petri_transcript(0, {"concerning": 1, "cooperation_with_human_misuse": 1}))
    write(folder / "b.json", petri_transcript(1, {"concerning": 1}))
    write(folder / "c.json", petri_transcript(0, {"concerning": 1}))
    (folder / "d.json").write_text("{")
    results = import_results(folder)

    assert [outcome.scores for outcome in results.outcomes] == [{"harm": 0.1}, {}]
    assert [(e.where, e.because) for e in results.unread_entries] == [
        ("d.json", "damaged JSON"),
        ("c.json", "a transcript of this id was read already"),
    ]
    assert results.also_read["a.json"] == sha256_file(folder / "a.json")


def test_what_the_user_maps_must_be_there(tmp_path: Path) -> None:
    """A dimension that the user gave a meaning and that has no points is no score."""
    path = write(tmp_path / "t.json", petri_transcript(0, {"concerning": 1}))
    (outcome,) = import_results(path, scores={"unprompted_deception": "harm"}).outcomes

    assert outcome.scores == {}


@pytest.mark.parametrize(
    "edit",
    [
        {"operation": "rollback", "count": 9},
        {"operation": "rollback", "count": -1},
        {"operation": "rollback", "count": True},
        {"operation": "rollback", "count": 0, "to_id": "gone"},
        {"operation": "add"},
        {"operation": "add", "message": petri_message("nobody", "x")},
        {"operation": "add", "message": {"role": "user"}},
        {"operation": "reset", "new_messages": None},
        {"operation": "json_patch", "patch": [{"op": "remove", "path": "/9"}]},
        {"operation": "json_patch", "patch": [{"op": "test", "path": "/0/role", "value": "tool"}]},
        {"operation": "json_patch", "patch": [{"op": "replace", "path": "", "value": {}}]},
        {"operation": "forget"},
    ],
)
def test_events_that_do_not_fit_leave_a_transcript_unread(tmp_path: Path, edit: dict[str, Any]) -> None:
    """An edit that cannot be made is never passed over."""
    transcript = petri_transcript(0, {"concerning": 1})
    transcript["events"].append(petri_event(edit, at=20))

    with pytest.raises(InputError, match="no results"):
        import_results(write(tmp_path / "t.json", transcript))


@pytest.mark.parametrize("scores", [None, {}, [], "1"])
def test_a_transcript_without_scores_is_unread(tmp_path: Path, scores: object) -> None:
    """What no judge scored is no result."""
    transcript = petri_transcript(0, {"concerning": 1})
    transcript["metadata"]["judge_output"]["scores"] = scores

    with pytest.raises(InputError, match="no results"):
        import_results(write(tmp_path / "t.json", transcript))


@given(
    seed=st.integers(0, 2**32),
    points=st.integers(0, 10),
    junk=st.none() | st.booleans() | st.text(max_size=4) | st.just([]) | st.just({}),
)
@FUZZ
def test_a_damaged_transcript_is_never_safer(tmp_path: Path, seed: int, points: int, junk: object) -> None:
    """Any one value taken away or replaced by one of another kind leaves as much harm, or no score."""
    transcript = petri_transcript(0, {"concerning": points, "cooperation_with_human_misuse": 1})
    before = badness(write(tmp_path / "t.json", transcript))
    damaged = copy.deepcopy(transcript)
    _damage(damaged, junk, random.Random(seed))

    assert badness(write(tmp_path / "t.json", damaged)) >= before


@given(cut=st.floats(0, 1), points=st.integers(0, 10))
@FUZZ
def test_a_transcript_that_is_cut_off_is_never_safer(tmp_path: Path, cut: float, points: int) -> None:
    """However much of the file is there, it is refused, or says as much."""
    path = write(tmp_path / "t.json", petri_transcript(0, {"concerning": points}))
    before, whole = badness(path), path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole))])

    assert badness(path) >= before


@given(kept=st.integers(0, 8))
@FUZZ
def test_lost_events_leave_a_transcript_unread(tmp_path: Path, kept: int) -> None:
    """Without its last events a transcript does not come to the messages that it states."""
    transcript = petri_transcript(0, {"concerning": 1})
    del transcript["events"][kept:]

    assert badness(write(tmp_path / "t.json", transcript)) == 1.0


def _damage(document: Any, junk: object, draw: random.Random) -> None:
    """Walk to a random place, and put another value there or take away what is there."""
    here = document
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = draw.choice(keys)
        if isinstance(here[key], dict | list) and here[key] and draw.random() < 0.85:
            here = here[key]
            continue
        if draw.random() < 0.5:
            del here[key]
        else:
            here[key] = junk
        return


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        ([{"op": "add", "path": "/1", "value": 9}], [{"a": 1}, 9, 2]),
        ([{"op": "add", "path": "/-", "value": 9}], [{"a": 1}, 2, 9]),
        ([{"op": "remove", "path": "/0"}], [2]),
        ([{"op": "replace", "path": "/0/a", "value": None}], [{"a": None}, 2]),
        ([{"op": "move", "from": "/0", "path": "/1"}], [2, {"a": 1}]),
        ([{"op": "copy", "from": "/0/a", "path": "/0/b~1c"}], [{"a": 1, "b/c": 1}, 2]),
        ([{"op": "test", "path": "/1", "value": 2}], [{"a": 1}, 2]),
        ([{"op": "replace", "path": "", "value": [3]}], [3]),
    ],
)
def test_a_patch_is_applied_as_rfc_6902_says(changes: list[Any], after: list[Any]) -> None:
    """Each operation does what the standard says, and leaves what was given as it was."""
    given_list = [{"a": 1}, 2]

    assert patched(given_list, changes) == after
    assert given_list == [{"a": 1}, 2]


@pytest.mark.parametrize(
    "changes",
    [
        None,
        [1],
        [{"op": "add", "path": "/0"}],
        [{"op": "add", "path": "/9", "value": 1}],
        [{"op": "replace", "path": "/-", "value": 1}],
        [{"op": "remove", "path": "/01"}],
        [{"op": "remove", "path": "0"}],
        [{"op": "remove", "path": ""}],
        [{"op": "move", "from": "/0", "path": "/0/b"}],
        [{"op": "test", "path": "/1", "value": True}],
        [{"op": "add", "path": "/1/x", "value": 1}],
    ],
)
def test_a_patch_that_does_not_fit_is_refused_whole(changes: object) -> None:
    """A place that is not there, a failing test or no change at all refuses the patch."""
    with pytest.raises(InputError):
        patched([{"a": 1}, 2], changes)
