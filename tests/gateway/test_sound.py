"""Clips are read in one way or not at all."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.gateway.audio.clips import Clip, ClipReader
from recert.gateway.audio.sound import Unreadable, Unserved, read_mp3, read_wav
from recert.gateway.protocol.errors import BadRequest
from recert.policy.sections.gateway_audio import GatewayAudioPolicy
from spoken import clip_part, make_mp3, make_wav

WAV, MP3 = make_wav(0.25), make_mp3(8)
BOUNDS = GatewayAudioPolicy(formats=("wav", "mp3"))


def read(part: dict[str, Any], bounds: GatewayAudioPolicy = BOUNDS) -> Clip:
    """Read one part."""
    return ClipReader(bounds).read(part, "here")


def refused(part: dict[str, Any], bounds: GatewayAudioPolicy = BOUNDS) -> str:
    """Return the code with which a part is refused."""
    with pytest.raises(BadRequest) as caught:
        read(part, bounds)
    return caught.value.code


def with_chunk(name: bytes, body: bytes, *, behind: bool = False) -> bytes:
    """Return a WAV file with one more chunk, its header true."""
    chunk = struct.pack("<4sI", name, len(body)) + body
    whole = WAV + chunk if behind else WAV[:36] + chunk + WAV[36:]
    return whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]


def test_a_plain_file_is_read_as_it_is() -> None:
    """Seconds and sample rate are those of the samples; notes before the sound change neither."""
    noted = with_chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 4) + b"me\0\0")

    assert (read_wav(WAV).seconds, read_wav(WAV).sample_rate_hz) == (0.25, 16_000)
    assert read_wav(noted) == read_wav(WAV)
    assert round(read_mp3(MP3).seconds, 4) == round(8 * 1152 / 44_100, 4)
    assert read(clip_part(WAV)).data == WAV


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("longer than it says", WAV + b"\0\0"),
        ("shorter than it says", WAV[:-2]),
        ("sound said to be longer", WAV[:40] + struct.pack("<I", 0x7FFFFFFF) + WAV[44:]),
        ("a stream's header", WAV[:4] + b"\xff" * 4 + WAV[8:40] + b"\xff" * 4 + WAV[44:]),
        ("bytes behind the sound", with_chunk(b"more", b"abcd", behind=True)),
        ("two sounds", with_chunk(b"data", b"abcd")),
        ("two formats", with_chunk(b"fmt ", WAV[20:36])),
        ("sound within notes", with_chunk(b"LIST", b"data" * 4)),
        ("long notes", with_chunk(b"LIST", b"a" * 4_000)),
        ("an unknown part", with_chunk(b"JUNK", b"abcd")),
        ("no sound", WAV[:4] + struct.pack("<I", 28) + WAV[8:36]),
        ("a rate that contradicts itself", WAV[:24] + struct.pack("<I", 8_000) + WAV[28:]),
        ("a head alone", WAV[:10]),
        ("something else", b"OggS" + WAV[4:]),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(why: str, data: bytes) -> None:
    """Lengths that lie, and bytes that one reader hears and another does not."""
    with pytest.raises(Unreadable):
        read_wav(data)
    assert refused(clip_part(data)) == "audio_malformed", why


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("two channels", make_wav(0.2, channels=2)),
        ("8 bits", WAV[:34] + struct.pack("<H", 8) + WAV[36:]),
        ("floats", WAV[:20] + struct.pack("<H", 3) + WAV[22:]),
        ("extensible", WAV[:20] + struct.pack("<H", 0xFFFE) + WAV[22:]),
    ],
)
def test_a_kind_of_sound_that_is_not_served_is_refused(why: str, data: bytes) -> None:
    """Two channels may cancel when they are mixed for the transcriber, and be heard one by one elsewhere."""
    with pytest.raises(Unserved):
        read_wav(data)
    assert refused(clip_part(data)) == "audio_format", why


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("bytes behind", MP3 + b"abc"),
        ("a cut frame", MP3[:-1]),
        ("a tag behind", MP3 + b"TAG" + b"\0" * 125),
        ("bytes between", MP3[:208] + b"\0" + MP3[208:]),
        ("another rate", MP3 + MP3[:2] + bytes([MP3[2] | 4]) + MP3[3:192]),
        ("a tag with sound", b"ID3\x04\0\0\0\0\0\x04" + MP3[:4] + MP3),
        ("a long tag", b"ID3\x04\0\0\0\0\x40\0" + b"\0" * 8_192 + MP3),
        ("free format", bytes([0xFF, 0xFB, 0x00, 0xC0]) + b"\0" * 400),
        ("nothing", b""),
        ("a tag alone", b"ID3\x04\0\0\0\0\0\x04abcd"),
    ],
)
def test_frames_with_anything_beside_them_are_refused(why: str, data: bytes) -> None:
    """Decoders differ in what they skip."""
    with pytest.raises(Unreadable):
        read_mp3(data)
    assert why


def test_a_short_tag_is_passed_over() -> None:
    """What taggers write before the frames cannot be taken for one."""
    tagged = b"ID3\x04\0\0\0\0\0\x04abcd" + MP3

    assert read_mp3(tagged) == read_mp3(MP3)
    with pytest.raises(Unserved):
        read_mp3(MP3[:3] + b"\x00" + MP3[4:])


@pytest.mark.parametrize(
    ("code", "part", "bounds"),
    [
        ("audio_format", clip_part(WAV, "flac"), {}),
        ("audio_format", clip_part(MP3, "mp3"), {"formats": ("wav",)}),
        ("audio_malformed", clip_part(MP3, "wav"), {}),
        ("audio_malformed", clip_part(WAV, "mp3"), {}),
        ("audio_too_large", clip_part(WAV), {"max_clip_bytes": 2_000}),
        ("audio_too_long", clip_part(WAV), {"max_clip_s": 0.2}),
        ("audio_too_long", clip_part(WAV), {"max_total_s": 0.2}),
        ("audio_too_short", clip_part(make_wav(0.05)), {}),
        ("audio_too_short", clip_part(make_wav(0)), {}),
        ("audio_sample_rate", clip_part(make_wav(0.2, rate_hz=4_000)), {}),
        ("audio_sample_rate", clip_part(WAV), {"max_sample_rate_hz": 8_000}),
        ("unknown_field", clip_part(WAV) | {"more": 1}, {}),
        ("unknown_field", {"type": "input_audio", "input_audio": {"data": "", "format": "wav", "x": 1}}, {}),
        ("invalid_type", {"type": "input_audio", "input_audio": "abcd"}, {}),
        ("invalid_type", {"type": "input_audio", "input_audio": {"data": 5, "format": "wav"}}, {}),
        ("invalid_type", {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, {}),
    ],
)
def test_what_is_beyond_a_bound_is_refused_with_its_code(
    code: str, part: dict[str, Any], bounds: dict[str, Any]
) -> None:
    """Every bound of the policy has a code of its own."""
    assert refused(part, BOUNDS.model_copy(update=bounds)) == code


def test_clips_of_one_request_are_counted_together() -> None:
    """One too many, and seconds that are too many together, are refused."""
    counted = ClipReader(BOUNDS.model_copy(update={"max_clips": 2}))
    timed = ClipReader(BOUNDS.model_copy(update={"max_total_s": 0.6}))
    for reader, code in ((counted, "too_many_clips"), (timed, "audio_too_long")):
        for _ in range(2):
            reader.read(clip_part(WAV), "here")
        with pytest.raises(BadRequest) as caught:
            reader.read(clip_part(WAV), "here")

        assert caught.value.code == code


ENCODED = base64.b64encode(WAV).decode()


@pytest.mark.parametrize(
    "encoded",
    [
        ENCODED + "=", ENCODED[:-1], ENCODED + "\n", " " + ENCODED, ENCODED[:8] + "!" + ENCODED[8:], ENCODED * 2,
        "data:audio/wav;base64," + ENCODED, ENCODED.replace("A", "-", 1), "\u00e9" + ENCODED, "AB==", "=", "A",
    ],
)  # fmt: skip
def test_base64_has_one_spelling(encoded: str) -> None:
    """Junk, line breaks, another alphabet, missing or surplus padding: lenient readers make other bytes of it."""
    part = {"type": "input_audio", "input_audio": {"data": encoded, "format": "wav"}}

    assert refused(part) in ("audio_not_base64", "audio_malformed")


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: base64.b64encode(b).decode()))
def test_no_text_is_read_as_other_bytes_than_it_stands_for(encoded: str) -> None:
    """Whatever is read writes back as the very text that came."""
    try:
        clip = read({"type": "input_audio", "input_audio": {"data": encoded, "format": "wav"}})
    except BadRequest:
        return

    assert base64.b64encode(clip.data).decode() == encoded


@given(st.data())
def test_a_damaged_file_is_refused_or_holds_as_many_samples_as_bytes(data: st.DataObject) -> None:
    """Bytes flipped, cut out or put in: never another length than that of what is there, never another error."""
    made = bytearray(WAV)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 60))
        kind = data.draw(st.sampled_from(("flip", "cut", "put")))
        if kind == "flip":
            made[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del made[at : at + data.draw(st.integers(1, 8))]
        else:
            made[at:at] = data.draw(st.binary(min_size=1, max_size=8))
    try:
        sound = read_wav(bytes(made))
    except Unreadable:
        return

    assert 0 <= sound.seconds * sound.sample_rate_hz * 2 <= len(made) - 44


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Neither reader ever raises anything else."""
    for prefix in (b"", WAV[:12], WAV[:36], b"ID3\x04\0\0", MP3[:208]):
        for reader in (read_wav, read_mp3):
            try:
                reader(prefix + data)
            except Unreadable:
                continue
