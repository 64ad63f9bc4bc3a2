"""
Spoken rows: what is said in them goes through the same screening as text, and how close they lie to harmful speech.

A row that cannot be heard is held back, whatever the policy says: nobody knows what it would teach.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from recert.errors import RecertError
from recert.models.audio.encoder import SpeechEncoder
from recert.models.speech.transcribing import Transcriber, Transcript
from recert.policy import ScreeningPolicy
from recert.records.data.audio import AudioClip
from recert.records.data.rows import ChatRow
from recert.records.data.suite import Message
from recert.screening.audio.closeness import Closeness, HarmfulSpeech

UNHEARD: Final = "unheard"
"""Code of the reason of a row that could not be heard: it always quarantines."""
NEAR: Final = "near-harmful-speech"
"""It always quarantines too: the policy says from which closeness it is given."""
CLOSENESS: Final = "speech-closeness"
"""It says how close a row lies, and never quarantines."""

Sentences = Callable[[Sequence[str]], Sequence[Sequence[float]]]
"""A sentence encoder: one vector of length 1 for each text."""


@dataclass(frozen=True)
class Ears:
    """
    What hears the rows.

    Args:
        transcriber: says what is spoken.
        read_clip: gives a clip's bytes, such as `ClipStore.read`.
        encoder: the encoder of the model that will be tuned; with `sentences` and `harmful` it ranks rows.
        sentences: vectors of transcripts.
        harmful: what rows are held against.
    """

    transcriber: Transcriber
    read_clip: Callable[[AudioClip], bytes]
    encoder: SpeechEncoder | None = None
    sentences: Sentences | None = None
    harmful: HarmfulSpeech | None = None


@dataclass(frozen=True)
class Hearing:
    """Rows as text, and by place what was not heard, and how close each spoken row lies to harmful speech."""

    rows: tuple[ChatRow, ...]
    unheard: dict[int, str] = field(default_factory=dict)
    closeness: dict[int, Closeness] = field(default_factory=dict)

    def reasons(self, policy: ScreeningPolicy) -> list[tuple[int, str]]:
        """Return (place, reason): not heard, too close to harmful speech by the policy, or only how close."""
        found = [(at, f"{UNHEARD}: {because}") for at, because in sorted(self.unheard.items())]
        most = policy.harmful_speech_closeness
        for at, one in sorted(self.closeness.items()):
            code = NEAR if most is not None and one.mixed >= most else CLOSENESS
            found.append(
                (at, f"{code}: {one.mixed:.2f}, semantic {one.semantic:.2f}, acoustic {one.acoustic:.2f}")
            )
        return found

    def ranking(self) -> list[int]:
        """Return the places of spoken rows, those first that lie closest to harmful speech in the model's encoder."""
        return sorted(self.closeness, key=lambda at: -self.closeness[at].acoustic)


def hear_rows(rows: Sequence[ChatRow], ears: Ears | None) -> Hearing:
    """
    Return rows with what is spoken in them as text behind what is written. Rows without clips stay as they are.

    Nothing is raised for a clip: one that is missing, damaged, silent or not transcribed makes its row unheard. Without
    ears every spoken row is.
    """
    out, unheard, said = list(rows), {}, {}
    for at, row in enumerate(rows):
        if not any(m.audio for m in row.messages):
            continue
        if ears is None:
            unheard[at] = "nothing here hears"
            out[at] = _silent(row)
            continue
        try:
            out[at], said[at] = _heard(row, ears)
        except _NotHeard as exc:
            unheard[at] = str(exc)
            out[at] = _silent(row)
    closeness = _closeness(rows, said, ears, unheard) if ears is not None else {}
    return Hearing(tuple(out), unheard, closeness)


class _NotHeard(Exception):
    """Why a row was not heard."""


def _heard(row: ChatRow, ears: Ears) -> tuple[ChatRow, str]:
    messages, all_said = [], []
    for message in row.messages:
        said = [_said(clip, ears) for clip in message.audio or ()]
        all_said += said
        content = "\n".join(part for part in (message.content, *said) if part.strip())
        messages.append(message.model_copy(update={"content": content, "audio": None}))
    return row.model_copy(update={"messages": tuple(messages)}), "\n".join(all_said)


def _said(clip: AudioClip, ears: Ears) -> str:
    try:
        told = ears.transcriber.transcribe([ears.read_clip(clip)])[0]
    except RecertError as exc:
        raise _NotHeard(exc.message) from exc
    if not isinstance(told, Transcript):
        raise _NotHeard(told.because)
    if not told.text.strip():
        raise _NotHeard("no words in a clip")
    return told.text


def _silent(row: ChatRow) -> ChatRow:
    """The row without its clips, with something to read in each message."""
    return row.model_copy(update={"messages": tuple(_without_clips(m) for m in row.messages)})


def _without_clips(message: Message) -> Message:
    return message.model_copy(update={"content": message.content or "(unheard)", "audio": None})


def _closeness(
    rows: Sequence[ChatRow], said: dict[int, str], ears: Ears, unheard: dict[int, str]
) -> dict[int, Closeness]:
    """Closeness of each row that was heard; its closest clip counts. What the encoder cannot hear becomes unheard."""
    if ears.encoder is None or ears.sentences is None or ears.harmful is None or not said:
        return {}
    owners: list[int] = []
    states: list[Any] = []
    for at in list(said):
        clips = [clip for message in rows[at].messages for clip in message.audio or ()]
        try:
            heard = [ears.encoder.states(ears.read_clip(clip)) for clip in clips]
        except RecertError as exc:
            unheard[at] = exc.message
            continue
        owners += [at] * len(heard)
        states += heard
    if not owners:
        return {}
    meanings = dict(zip(said, ears.sentences(list(said.values())), strict=True))
    each = ears.harmful.closeness([meanings[at] for at in owners], states)
    out: dict[int, Closeness] = {}
    for at, one in zip(owners, each, strict=True):
        before = out.get(at, one)
        out[at] = Closeness(max(before.semantic, one.semantic), max(before.acoustic, one.acoustic))
    return out
