"""Clips of sound: what was put comes back byte for byte, and what is damaged is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.errors import InputError, StoreError
from recert.records.data.audio import AudioClip
from recert.store.files.clip_headers import read_header
from recert.store.files.clips import ClipStore
from sounds import flac_head, mp3_frames, ogg_opus, tone, wav_of

SAMPLES = st.lists(st.integers(-32768, 32767), min_size=1, max_size=200)
RATES = st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000])


@given(samples=SAMPLES, rate=RATES)
def test_the_length_of_a_wav_file_is_that_of_its_samples(samples: list[int], rate: int) -> None:
    """Format, samples a second and seconds are those of the sound."""
    kind, found, seconds = read_header(wav_of(samples, rate=rate))

    assert (kind, found) == ("wav", rate)
    assert seconds == pytest.approx(len(samples) / rate, abs=1e-6)


@given(samples=SAMPLES, cut=st.integers(1, 100), junk=st.binary(min_size=1, max_size=20))
def test_a_wav_file_of_another_length_is_refused(samples: list[int], cut: int, junk: bytes) -> None:
    """A file that was cut, or that has bytes behind its end, contradicts its header."""
    whole = wav_of(samples)

    for damaged in (whole[: max(0, len(whole) - cut)], whole + junk):
        with pytest.raises(InputError):
            read_header(damaged)


@given(data=st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Whatever the bytes, the answer is facts of a sound or an InputError: never another error, never a loop."""
    for start in (
        b"",
        b"RIFF",
        b"RIFF\x2c\0\0\0WAVEfmt ",
        b"fLaC",
        b"OggS\0\0",
        b"ID3\4\0\0",
        b"\xff\xfb\x90\0",
    ):
        try:
            kind, rate, seconds = read_header(start + data)
        except InputError:
            continue
        clip = AudioClip(sha256="0" * 64, format=kind, sample_rate_hz=rate, seconds=seconds)
        assert kind != "wav" or clip.seconds * clip.sample_rate_hz <= len(start + data)


@given(at=st.integers(0, 43), byte=st.integers(0, 255))
def test_a_header_with_any_byte_changed_is_refused_or_says_the_same_of_the_bytes(at: int, byte: int) -> None:
    """A header that still reads has lengths that fit the file: no sound is invented behind its end."""
    whole = bytearray(tone(0.01))
    whole[at] = byte
    try:
        _, rate, seconds = read_header(bytes(whole))
    except InputError:
        return

    assert seconds * rate <= len(whole)


def test_other_containers_are_read() -> None:
    """FLAC, Ogg Opus and MP3 say how long they are."""
    assert read_header(flac_head()) == ("flac", 16_000, 1.0)
    assert read_header(ogg_opus()) == ("ogg", 48_000, 1.0)
    assert read_header(mp3_frames(10)) == ("mp3", 44_100, round(10 * 1152 / 44_100, 6))


@pytest.mark.parametrize(
    "damaged", [flac_head()[:30], ogg_opus()[:-5], mp3_frames()[:-9], mp3_frames() + b"text", b"", b"text"]
)
def test_other_containers_that_are_cut_are_refused(damaged: bytes) -> None:
    """A file that ends within a page or a frame is no whole file."""
    with pytest.raises(InputError):
        read_header(damaged)


def test_what_is_put_comes_back(tmp_path: Path) -> None:
    """The same bytes give the same clip, lie there once, and only the owner may read them."""
    store = ClipStore(tmp_path)

    clip = store.put(tone())

    assert store.put(tone()) == clip
    assert store.read(clip) == tone()
    (file,) = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
@given(at=st.integers(0, len(tone()) - 1), flip=st.integers(1, 255))
def test_any_damaged_clip_is_refused(tmp_path_factory: pytest.TempPathFactory, at: int, flip: int) -> None:
    """One changed byte anywhere in the file, and it is not read."""
    store = ClipStore(tmp_path_factory.mktemp("clips"))
    clip = store.put(tone())
    (file,) = [p for p in store.folder.rglob("*") if p.is_file()]
    data = bytearray(file.read_bytes())
    data[at] ^= flip
    file.write_bytes(bytes(data))

    with pytest.raises(StoreError):
        store.read(clip)
    assert store.read(store.put(tone())) == tone(), "putting it again mends it"


def test_a_clip_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A missing file is no silence."""
    clip = ClipStore(tmp_path / "one").put(tone())

    with pytest.raises(StoreError):
        ClipStore(tmp_path / "other").read(clip)


def test_nothing_is_kept_of_what_is_no_sound(tmp_path: Path) -> None:
    """A file that is refused leaves nothing behind."""
    with pytest.raises(InputError):
        ClipStore(tmp_path).put(b"RIFF and more")
    assert not list(tmp_path.iterdir())
