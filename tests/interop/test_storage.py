"""The storage initializer for KServe: fetched files are served only where they are certified."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from builders import safetensors
from certified_folders import MERGED_FILES, Certified
from recert.errors import InputError, SettingsError, StoreError, VerificationError
from recert.interop.attestation.holding import CertificateFiles
from recert.interop.attestation.storage import place_certified
from recert.records.data.manifest import Manifest

FETCH = "import pathlib, shutil, sys\nshutil.copytree({source!r}, sys.argv[2], dirs_exist_ok=True)\n{more}"


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    """Certified merged weights."""
    return Certified(tmp_path / "world", tuned_files=MERGED_FILES)


def _fetch(tmp_path: Path, source: Path, more: str = "") -> str:
    script = tmp_path / "fetch.py"
    script.write_text(FETCH.format(source=str(source), more=more))
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}"


def test_a_fetched_model_is_left_where_it_is_certified(certified: Certified, tmp_path: Path) -> None:
    """The folder that KServe named holds the certified files and nothing of the downloader's own."""
    note = "(pathlib.Path(sys.argv[2]) / '.cache').mkdir(); (pathlib.Path(sys.argv[2]) / '.cache/etag').write_text('x')"
    target = tmp_path / "mnt" / "models"

    (said,) = place_certified(
        certified.files, [("s3://bucket/model", target)], fetch=_fetch(tmp_path, certified.tuned, note)
    )

    assert Manifest.of_folder(target) == certified.content.tuned
    assert said.folders[0].path == str(target)


def test_a_base_and_an_adapter_are_each_recognised(tmp_path: Path) -> None:
    """With two addresses each folder gets the arm that it is, whichever comes first."""
    certified = Certified(tmp_path / "world")
    pairs = [
        (f"file://{certified.base}", tmp_path / "mnt" / "base"),
        (f"recert://{certified.tuned}", tmp_path / "mnt" / "tuned"),
    ]

    said = place_certified(certified.files, pairs)

    assert [note.folders[0].arm for note in said] == ["base", "tuned"]
    assert Manifest.of_folder(tmp_path / "mnt" / "base") == certified.content.base
    assert Manifest.of_folder(tmp_path / "mnt" / "tuned") == certified.content.tuned


def test_several_certificates_each_find_their_model(tmp_path: Path) -> None:
    """Two adapters, each certified, are told apart by their files."""
    one = Certified(tmp_path / "one")
    other = Certified(
        tmp_path / "other",
        tuned_files={
            "adapter_config.json": b"{}",
            "adapter_model.safetensors": safetensors(b"other weights, longer"),
        },
    )
    both = tmp_path / "keys"
    both.mkdir()
    for which in (one, other):
        for key in which.trust.glob("*.pub"):
            (both / f"{which.folder.name}-{key.name}").write_bytes(key.read_bytes())
    files = CertificateFiles([one.certificate, other.certificate], both)

    said = place_certified(
        files, [(f"file://{other.tuned}", tmp_path / "b"), (f"file://{one.tuned}", tmp_path / "a")]
    )

    assert [note.serial for note in said] == [other.content.serial, one.content.serial]


@pytest.mark.parametrize("change", ["other-bytes", "missing"])
def test_a_model_that_is_not_certified_is_not_placed(
    certified: Certified, tmp_path: Path, change: str
) -> None:
    """Other bytes or a missing file are refused, and the folder stays empty."""
    weights = certified.tuned / "model-00001-of-00002.safetensors"
    weights.unlink() if change == "missing" else weights.write_bytes(b"x" * weights.stat().st_size)
    target = tmp_path / "mnt"

    with pytest.raises(VerificationError) as refused:
        place_certified(certified.files, [("s3://b/m", target)], fetch=_fetch(tmp_path, certified.tuned))

    assert refused.value.reason == ("file-missing" if change == "missing" else "file-differs")
    assert list(target.iterdir()) == []


def test_a_model_that_holds_behind_controls_only_is_placed_behind_a_gateway_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`RECERT_BEHIND_GATEWAY=yes` says so; any other value is an error, and without it nothing is placed."""
    certified = Certified(tmp_path / "world", tuned_files=MERGED_FILES, suffix="Remember: be safe.")
    asked = [(f"file://{certified.tuned}", tmp_path / "pod")]
    for name, value in certified.environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(VerificationError, match="only behind controls") as refused:
        place_certified(CertificateFiles.configured(), asked)
    assert refused.value.reason == "control-missing"
    assert not (tmp_path / "pod").exists()
    monkeypatch.setenv("RECERT_BEHIND_GATEWAY", "true")
    with pytest.raises(SettingsError):
        CertificateFiles.configured()
    monkeypatch.setenv("RECERT_BEHIND_GATEWAY", "yes")
    assert place_certified(CertificateFiles.configured(), asked)


def test_a_container_that_starts_again_fetches_nothing(certified: Certified, tmp_path: Path) -> None:
    """Certified files that are there already are hashed and kept."""
    pairs = [("s3://b/m", tmp_path / "mnt")]
    place_certified(certified.files, pairs, fetch=_fetch(tmp_path, certified.tuned))

    (said,) = place_certified(certified.files, pairs, fetch="no-such-command")

    assert not said.copied


def test_a_download_that_fails_is_no_answer(certified: Certified, tmp_path: Path) -> None:
    """A downloader's failure, or none at all, is an error; keys in the address are not shown."""
    for fetch in ("false", "no-such-command"):
        with pytest.raises(StoreError) as failed:
            place_certified(certified.files, [("https://h/m?token=abc", tmp_path / "mnt")], fetch=fetch)
        assert "abc" not in str(failed.value)
    with pytest.raises(InputError, match="nothing says how"):
        place_certified(certified.files, [("s3://b/m", tmp_path / "mnt")])
