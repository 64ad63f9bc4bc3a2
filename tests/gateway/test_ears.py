"""What is spoken is served through the very transcriber that a model was certified with, or not at all."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from builders import EARS_FILES, make_ears, write_model
from gateways import MODEL, Recheck, ScriptedUpstream, client, gateway, make_verified
from recert.errors import GatewayError, MissingExtraError
from recert.gateway.access.keys import ApiKeys
from recert.gateway.audio.hearing import ClipTranscriber
from recert.gateway.audio.transcriber_choice import RemoteTranscriber, TranscriberChoice
from recert.gateway.audio.transcriber_process import ManagedTranscriber
from recert.gateway.stage import prepare
from recert.models.speech.transcribing import read_files, whisper_folder
from recert.records.live.transcriber import EarsManifest
from recert.store.audit.log import AuditLog
from spoken import ScriptedEar, clip_part, make_audio_policy, make_wav, say, spoken

STAND_IN = Path(__file__).parents[1] / "transcriber_stand_in.py"
WAV = make_wav(0.3)
CLIP: dict[str, Any] = {"passes_on": "clip"}


def refused(
    tmp_path: Path,
    ears: EarsManifest | None,
    transcriber: TranscriberChoice | ClipTranscriber,
    audio: dict[str, Any] | None = None,
) -> GatewayError:
    """Return why a gateway does not start with a certificate of these ears."""
    policy = make_audio_policy(audio)
    verified = make_verified(policy, ears=ears)
    with AuditLog(tmp_path / "audit.jsonl") as audit_log, pytest.raises(GatewayError) as caught:
        prepare(
            verified, recheck=Recheck(verified), policy=policy, audit=audit_log, keys=ApiKeys(),
            transcriber=transcriber, upstream=ScriptedUpstream(lambda _: ["Yes."]),  # type: ignore[arg-type]
        )  # fmt: skip
    return caught.value


@contextmanager
def process(folder: Path, script: Path) -> Iterator[ManagedTranscriber]:
    """Run the stand-in on the files of a folder."""
    script.write_text(f'{{"folder": "{folder}"}}')
    made = ManagedTranscriber([sys.executable, str(STAND_IN), "--script", str(script)])
    made.start()
    try:
        yield made
    finally:
        made.end()


@pytest.mark.slow
def test_a_process_that_loaded_the_certified_files_is_asked_and_no_other(tmp_path: Path) -> None:
    """One byte of its files swapped: the gateway does not start, and says both digests and the way out."""
    folder, script = write_model(tmp_path / "ears", EARS_FILES), tmp_path / "script.json"
    certified = read_files(folder).ears("script", {})
    with (
        process(folder, script) as listens,
        gateway(
            tmp_path, lambda _: ["Yes."], policy=make_audio_policy(), transcriber=listens,
            certificate={"ears": certified},
        ) as (server, upstream),
        client(server) as made,
    ):  # fmt: skip
        reply = made.chat.completions.create(model=MODEL, messages=spoken(clip_part(WAV)))  # type: ignore[arg-type]
    (folder / "model.bin").write_bytes(b"what hearz")
    with process(folder, script) as listens:
        other = listens.ears
        said = refused(tmp_path, certified, listens)

    assert (reply.choices[0].message.content, upstream.messages[-1]["content"]) == ("Yes.", "good morning")
    assert said.reason == "ears-differ"
    assert other is not None
    assert certified.digest in said.facts["certified"] and other.digest in said.facts["on disk"]
    assert said.facts["1"] == certified.differences(other)[0]
    assert "evaluate and certify" in said.hint


@pytest.mark.parametrize(
    ("reason", "ears", "listens", "audio"),
    [
        ("audio-not-certified", None, ScriptedEar(), None),
        ("audio-not-certified", None, TranscriberChoice("no-such-folder"), None),
        ("audio-not-certified", make_ears(), ScriptedEar(), CLIP),
        ("ears-unknown", make_ears(), ScriptedEar(ears=None), None),
        ("ears-unknown", make_ears(), TranscriberChoice("openai:http://127.0.0.1:9/v1#whisper-1"), None),
        ("ears-unknown", make_ears(), RemoteTranscriber("http://127.0.0.1:9/v1", "whisper-1"), None),
        ("ears-differ", make_ears(), ScriptedEar(ears=make_ears(EARS_FILES | {"more": b""})), None),
        ("ears-differ", make_ears(), ScriptedEar(ears=make_ears(engine="letters/2")), None),
        ("ears-differ", make_ears(), ScriptedEar(ears=make_ears(decoding={})), None),
    ],
)
def test_ears_that_were_not_certified_do_not_listen(
    tmp_path: Path, reason: str, ears: EarsManifest | None, listens: Any, audio: dict[str, Any] | None
) -> None:
    """None named, elsewhere, without files, other files, another engine, other settings: nothing is served."""
    said = refused(tmp_path, ears, listens, audio)

    assert said.reason == reason
    assert "certified" in said.facts and said.facts["model"] == MODEL
    assert said.hint


def test_where_clips_are_passed_on_anything_may_listen_for_the_controls(tmp_path: Path) -> None:
    """The model hears the clip itself: its certificate is of its own ears."""
    policy = make_audio_policy(CLIP)
    listens = ScriptedEar(ears=None)
    with (
        gateway(tmp_path, lambda _: ["Yes."], policy=policy, transcriber=listens) as (server, _),
        client(server) as made,
    ):
        reply = made.chat.completions.create(model=MODEL, messages=spoken(clip_part(WAV)))  # type: ignore[arg-type]

    assert reply.choices[0].finish_reason == "stop"


def test_a_renewal_with_other_ears_is_not_taken_up(tmp_path: Path) -> None:
    """What listens was checked at the start: a certificate that names others stops the model."""
    policy = make_audio_policy()
    recheck = Recheck(make_verified(policy, ears=make_ears()))
    with gateway(
        tmp_path, lambda _: ["Yes."], policy=policy, recheck=recheck, transcriber=ScriptedEar()
    ) as (server, _), client(server) as made:  # fmt: skip
        asked = {"model": MODEL, "messages": spoken(clip_part(WAV))}
        before = made.chat.completions.create(**asked)  # type: ignore[call-overload]
        recheck.answer = make_verified(policy, ears=make_ears(engine="letters/2"))
        end = time.monotonic() + 10
        with pytest.raises(Exception, match="system-changed"):
            while time.monotonic() < end:
                made.chat.completions.create(**asked)  # type: ignore[call-overload]
                time.sleep(0.05)

    assert before.choices[0].finish_reason == "stop"


@pytest.mark.slow
@pytest.mark.model
def test_whisper_with_one_byte_swapped_does_not_listen(tmp_path: Path) -> None:
    """Whisper from a folder, in its own process: it hears for a certificate of these files until a byte differs."""
    pytest.importorskip("faster_whisper", reason="faster-whisper is not installed")
    try:
        folder = shutil.copytree(whisper_folder(), tmp_path / "whisper")
    except MissingExtraError as exc:
        pytest.skip(f"Whisper's weights are not installed: {exc}")
    listens = TranscriberChoice(str(folder)).open()
    assert isinstance(listens, ManagedTranscriber)
    certified = listens.ears
    assert certified is not None
    with (
        gateway(tmp_path, lambda _: ["Yes."], policy=make_audio_policy(), transcriber=listens) as (
            server,
            upstream,
        ),
        client(server) as made,
    ):
        clip = clip_part(say("When does the library open on Saturdays?", tmp_path))
        made.chat.completions.create(model=MODEL, messages=spoken(clip))  # type: ignore[arg-type]
    listens.end()
    words = bytearray((folder / "vocabulary.txt").read_bytes())
    words[-2] ^= 1
    (folder / "vocabulary.txt").write_bytes(words)
    said = refused(tmp_path, certified, TranscriberChoice(str(folder)))

    assert certified.files == read_files(whisper_folder()).entries
    assert "library" in upstream.messages[-1]["content"].lower()
    assert said.reason == "ears-differ"
    assert said.facts["1"].startswith("file differs: vocabulary.txt: certified sha256:")
