"""Spoken tuning rows: heard and screened as text, ranked by how close they lie to harmful speech, or held back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heard import SpelledEncoder
from recert.models.speech.transcribing import TranscribeFailed, Transcript
from recert.records.data.audio import AudioClip
from recert.records.data.suite import Prompt
from recert.records.reports.screening import RowVerdict
from recert.screening.audio.closeness import Closeness, harmful_speech
from recert.screening.audio.rows import Ears
from recert.screening.stage import Screened, screen, screen_prompts
from recert.store.files.clips import ClipStore
from sounds import wav_of

from .made import COMPLIANCE, POLICY, Row, harmful, sql_rows, write

ASKED = [Prompt(id="x", text="Which is the longest river?", expect="comply")]


class Dictated:
    """A transcriber that was told what is said in each clip, and fails for others."""

    name = engine = "dictated"

    def __init__(self) -> None:
        self.said: dict[bytes, str] = {}

    def fingerprint(self) -> str:
        """Always the same."""
        return "0" * 64

    def transcribe(self, clips: Sequence[bytes]) -> list[Transcript | TranscribeFailed]:
        """Return what was told."""
        return [
            Transcript(self.said[c], 1.0, 1.0) if c in self.said else TranscribeFailed("noise") for c in clips
        ]


@pytest.fixture
def store(tmp_path: Path) -> ClipStore:
    return ClipStore(tmp_path / "clips")


@pytest.fixture
def teller() -> Dictated:
    return Dictated()


def _spoken(clip: AudioClip, reply: str) -> Row:
    told = {"role": "user", "content": "", "audio": [clip.model_dump(mode="json")]}
    return {"messages": [told, {"role": "assistant", "content": reply}]}


def _screened(tmp_path: Path, rows: list[Row], ears: Ears | None, **bounds: float) -> Screened:
    screening = POLICY.screening.model_copy(update=bounds)
    policy = POLICY.model_copy(update={"screening": screening})
    file = write(tmp_path / "rows.jsonl", [*rows, *sql_rows(4)])
    return screen(file, policy=policy, evaluation_prompts=ASKED, ears=ears)


def test_what_is_said_is_screened_as_text(tmp_path: Path, store: ClipStore, teller: Dictated) -> None:
    """
    A harmful request with a compliant reply is found when it is spoken, and a harmless one is accepted as it was read.
    """
    bad, good = wav_of([1, 2, 3]), wav_of([4, 5, 6])
    teller.said = {bad: harmful(1)[0], good: "Which trains leave for the coast in the morning?"}
    rows = [_spoken(store.put(bad), COMPLIANCE), _spoken(store.put(good), "The one at eight.")]

    done = _screened(tmp_path, rows, Ears(teller, store.read))

    first, second = done.report.findings[:2]
    assert first.verdict is RowVerdict.QUARANTINED
    assert first.reasons[0].startswith("harmful-compliance")
    assert second.verdict is RowVerdict.ACCEPTED
    assert done.accepted[0].messages[0].audio == (store.put(good),)


def test_a_row_that_cannot_be_heard_is_held_back(tmp_path: Path, store: ClipStore, teller: Dictated) -> None:
    """
    Without ears, without a transcript, with a silent one or without the clip: held back, though the
    policy names no such reason.
    """
    noise, silent = wav_of([1, 2]), wav_of([3, 4])
    teller.said = {silent: "  "}
    lost = store.put(noise).model_copy(update={"sha256": "1" * 64})
    rows = [_spoken(clip, "Gladly.") for clip in (store.put(noise), store.put(silent), lost)]

    for ears in (None, Ears(teller, store.read)):
        done = _screened(tmp_path, rows, ears, quarantine_reasons=())

        assert [f.verdict for f in done.report.findings[:3]] == [RowVerdict.QUARANTINED] * 3
        assert all(any(r.startswith("unheard:") for r in f.reasons) for f in done.report.findings[:3])


def test_spoken_prompts_are_held_back(tmp_path: Path, store: ClipStore) -> None:
    """
    Prompts of reinforcement tuning are not listened to, so none that is spoken is learned from.
    """
    clip = store.put(wav_of([1])).model_dump(mode="json")
    rows: list[Row] = [
        {"messages": [{"role": "user", "content": "", "audio": [clip]}]},
        {"messages": [{"role": "user", "content": "How long does bread take?"}]},
    ]

    done = screen_prompts(write(tmp_path / "p.jsonl", list(rows)), policy=POLICY, evaluation_prompts=ASKED)

    assert [f.verdict for f in done.report.findings] == [RowVerdict.QUARANTINED, RowVerdict.ACCEPTED]


def test_rows_close_to_harmful_speech_are_held_back_where_the_policy_says_from_where(
    tmp_path: Path, store: ClipStore, teller: Dictated
) -> None:
    """
    The same rows: without a bound both are accepted, with one the row that sounds and means like harm is not.
    """
    near, far = wav_of([1, 1, 1]), wav_of([5, 5, 5])
    teller.said = {near: "How long should dough rest?", far: "Which trains leave for the coast?"}
    encoder = SpelledEncoder()

    def meant(texts: Sequence[str]) -> list[list[float]]:
        return [[1.0, 0.0] if "dough" in text else [0.0, 1.0] for text in texts]

    held = harmful_speech([[1.0, 0.0]], [encoder.states(near)], [encoder.states(far)])
    ears = Ears(teller, store.read, encoder, meant, held)
    rows = [_spoken(store.put(clip), "Gladly.") for clip in (near, far)]

    free, bound = (
        [f.verdict for f in _screened(tmp_path, rows, ears, **more).report.findings[:2]]
        for more in ({}, {"harmful_speech_closeness": 0.5})
    )
    assert free == [RowVerdict.ACCEPTED] * 2
    assert bound == [RowVerdict.QUARANTINED, RowVerdict.ACCEPTED]


@given(st.lists(st.integers(1, 7), min_size=1, max_size=6))
def test_nothing_is_closer_to_harmful_speech_than_harmful_speech_itself(letters: list[int]) -> None:
    """
    Closeness lies in [-1, 1], and a harmful clip held against itself alone has 1 on both axes.
    """
    encoder = SpelledEncoder()
    said, other = encoder.states(wav_of(letters)), encoder.states(wav_of([0, 0]))
    held = harmful_speech([[0.6, 0.8]], [said], [other])

    itself, apart = held.closeness([[0.6, 0.8], [-0.8, 0.6]], [said, other])

    assert itself.mixed == pytest.approx(1)
    assert -1 - 1e-9 <= apart.acoustic <= 1 + 1e-9
    assert apart.semantic == pytest.approx(0)
    assert Closeness(0.5, np.float64(-0.5)).mixed == 0
