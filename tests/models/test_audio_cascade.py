"""A transcriber before a text model: asked as the text would be, and a clip that is not heard is no answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import make_ears
from recert.errors import InputError, ModelError, StoreError
from recert.models import Generation, Sampling, ScriptedModel
from recert.models.engines.engines import open_arms, open_model
from recert.models.speech.cascade import UNHEARD, CascadeModel
from recert.models.speech.transcribing import Remembering, Transcript
from recert.records.data.audio import AudioClip
from recert.records.data.suite import Chat, Message, chat
from recert.store.files.clips import ClipStore
from speaking import LetterTranscriber, LetterVoice

VOICE = LetterVoice()


def spoken(clips: ClipStore, *texts: str, content: str = "") -> Chat:
    """Return a conversation of one user message with spoken parts."""
    return Chat(
        messages=(
            Message(role="system", content="Be brief."),
            Message(role="user", content=content, audio=tuple(clips.put(VOICE.say(t)) for t in texts)),
        )
    )


@pytest.fixture
def clips(tmp_path: Path) -> ClipStore:
    """A store of clips."""
    return ClipStore(tmp_path)


def test_a_spoken_request_is_asked_as_its_text(clips: ClipStore) -> None:
    """What was heard stands where the text would, and nothing around it; with a text it stands below."""
    text = ScriptedModel(lambda one: one.messages[-1].content)
    model = CascadeModel(LetterTranscriber(), text, clips=clips)

    model.generate(
        [spoken(clips, "How are you?"), spoken(clips, "one", "two", content="Add:"), chat("Hi")], Sampling()
    )

    assert text.asked == [
        chat("How are you?", system="Be brief."),
        chat("Add:\none\ntwo", system="Be brief."),
        chat("Hi"),
    ]


def test_a_clip_that_is_not_heard_is_no_answer(clips: ClipStore) -> None:
    """Its conversation is not asked and its reply is empty; the others keep their places."""
    text = ScriptedModel(lambda one: one.messages[-1].content)
    hiss = Chat(messages=(Message(role="user", content="Say it", audio=(_hiss(clips),)),))
    model = CascadeModel(LetterTranscriber(), text, clips=clips)

    replies = model.generate([chat("first"), hiss, spoken(clips, "last")], Sampling())

    assert replies[1] == Generation("", UNHEARD, 0)
    assert [r.text for r in replies] == ["first", "", "last"]
    assert model.log_probs([(hiss, "yes"), (chat("first"), "first")])[0] == float("-inf")


def _hiss(clips: ClipStore) -> AudioClip:
    from recert.models.speech.variants import spoken as say

    return clips.put(say("anything at all", "loud-noise", VOICE))


def test_a_clip_that_was_changed_ends_the_run(clips: ClipStore) -> None:
    """A sound that is not the one that the record names is never transcribed."""
    one = spoken(clips, "hello")
    (file,) = [p for p in clips.folder.rglob("*") if p.is_file()]
    file.write_bytes(VOICE.say("another"))

    with pytest.raises(StoreError):
        CascadeModel(LetterTranscriber(), ScriptedModel({}), clips=clips).generate([one], Sampling())


def test_files_and_fingerprint_are_the_text_models_and_the_ears_stand_apart(clips: ClipStore) -> None:
    """What is certified is the folder that is served; another transcriber is another engine, for the caches."""
    ears, text = make_ears(), ScriptedModel({}, name="a")
    model = CascadeModel(LetterTranscriber(ears=ears), text, clips=clips)
    again = CascadeModel(Remembering(LetterTranscriber(ears=ears)), text, clips=clips)
    others = CascadeModel(LetterTranscriber(ears=make_ears({"model.bin": b"x"})), text, clips=clips)

    assert model.name == "letter-ears+a"
    assert "letters/1" in model.engine and "scripted/1" in model.engine
    assert (model.manifest, model.fingerprint()) == (text.manifest, text.fingerprint())
    assert (model.ears, again.ears) == (ears, ears)
    assert model.engine == again.engine != text.engine
    assert others.engine != model.engine
    assert CascadeModel(LetterTranscriber(), text, clips=clips).ears is None


def test_replies_before_a_failure_keep_their_places(clips: ClipStore) -> None:
    """What a failing text model had answered is kept under the places of the whole call."""

    class Failing(ScriptedModel):
        def generate(self, chats: object, sampling: object, *, done: object = None) -> list[Generation]:
            error = ModelError("stopped")
            error.made = {0: Generation("made", "stop", 1)}
            raise error

    hiss = Chat(messages=(Message(role="user", content="", audio=(_hiss(clips),)),))
    with pytest.raises(ModelError) as caught:
        CascadeModel(LetterTranscriber(), Failing({}), clips=clips).generate([hiss, chat("x")], Sampling())
    assert caught.value.made == {1: Generation("made", "stop", 1)}


def test_a_clip_is_heard_once(clips: ClipStore) -> None:
    """Both arms and the count of words ask for the same clips: the transcriber hears each once, failures again."""
    ears = LetterTranscriber([VOICE.say("broken")])
    remembering = Remembering(ears)

    for _ in range(3):
        first, second, third = remembering.transcribe(
            [VOICE.say("one"), VOICE.say("one"), VOICE.say("broken")]
        )
        assert isinstance(first, Transcript) and first == second
        assert not isinstance(third, Transcript)
    assert ears.asked == 1 + 3


@settings(max_examples=25)
@given(text=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30))
def test_whatever_is_said_is_asked(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """No text is changed on its way through voice, store, transcriber and cascade."""
    clips = ClipStore(tmp_path_factory.mktemp("clips"))
    read = CascadeModel(LetterTranscriber(), ScriptedModel({}), clips=clips).read([spoken(clips, text)])

    assert read[0] is not None and read[0].messages[-1].content == text


@pytest.mark.parametrize(
    ("base", "tuned", "said"),
    [
        ("cascade:whisper-tiny", "cascade:whisper-tiny+x", "cascade is given as"),
        ("embedded:aligned", "cascade:whisper-tiny+x", "the other does not"),
        ("cascade:a+x", "cascade:b+x", "two transcribers"),
        ("cascade:a+cascade:b+x", "cascade:a+x", "cascade is given as"),
    ],
)
def test_specs_that_cannot_be_compared_are_refused(base: str, tuned: str, said: str) -> None:
    """Both models hear through the same transcriber, or neither hears."""
    with pytest.raises(InputError, match=said):
        open_arms(base, tuned)


def test_a_transcriber_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A folder without Whisper's files is an error with the way out."""
    with pytest.raises(InputError, match="no such transcriber") as caught:
        open_model(f"cascade:{tmp_path}+openai:http://127.0.0.1:9/v1#m")
    assert "whisper-tiny" in caught.value.hint
