"""`attest`: what is copied is what was certified, or nothing is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certified_folders import MERGED_FILES, Certified
from recert.certification.verifier.artefact import MARK
from recert.errors import InputError, StoreError, VerificationError
from recert.interop.attestation.attest import attest
from recert.interop.attestation.copying import copy_certified
from recert.records.data.manifest import Manifest
from recert.records.signed.attestation import Attestation

ROOT = Path(__file__).parents[2]


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    """A certified adapter and its base."""
    return Certified(tmp_path / "world")


def _left(output: Path) -> list[str]:
    return sorted(p.relative_to(output).as_posix() for p in output.rglob("*") if p.is_file())


def test_both_folders_are_copied_as_they_were_certified(certified: Certified, tmp_path: Path) -> None:
    """The copies are the certified manifests, read-only, and nothing else lies there."""
    output = tmp_path / "pod"

    said = attest(certified.files, {"tuned": certified.tuned, "base": certified.base}, output=output)

    assert Manifest.of_folder(output / "base") == certified.content.base
    assert Manifest.of_folder(output / "tuned") == certified.content.tuned
    assert {p.stat().st_mode & 0o222 for p in output.rglob("*") if p.is_file()} == {0}
    assert sorted(p.name for p in output.iterdir()) == ["base", "tuned"]
    assert said.serial == certified.content.serial
    assert said.copied
    assert Attestation.from_json(said.to_json()) == said


def test_merged_weights_need_no_base(tmp_path: Path) -> None:
    """Whole weights are attested alone: the base is not loaded, and need not be on the machine."""
    certified = Certified(tmp_path / "world", tuned_files=MERGED_FILES)

    said = attest(certified.files, {"tuned": certified.tuned}, output=tmp_path / "pod")

    assert [folder.arm for folder in said.folders] == ["tuned"]
    assert _left(tmp_path / "pod") == sorted(f"tuned/{name}" for name in MERGED_FILES)


def test_an_adapter_needs_its_base(certified: Certified, tmp_path: Path) -> None:
    """An adapter alone is no answer: what runs is the base with it."""
    with pytest.raises(InputError, match="adapter is served on its base"):
        attest(certified.files, {"tuned": certified.tuned}, output=tmp_path / "pod")


@pytest.mark.parametrize("arm", ["base", "tuned"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.write_bytes(b"x" * path.stat().st_size), "file-differs"),
        (lambda path: path.write_bytes(b"longer than what was certified, by far"), "file-differs"),
        (lambda path: path.unlink(), "file-missing"),
        (lambda path: (path.parent / "extra.py").write_bytes(b"x"), "extra-file"),
    ],
)
def test_nothing_is_left_of_what_was_not_certified(
    certified: Certified, tmp_path, arm, change, reason
) -> None:
    """Other bytes, sizes or names in either folder are refused with their reason, and no byte of it stays."""
    folder = certified.base if arm == "base" else certified.tuned
    change(folder / ("model.safetensors" if arm == "base" else "adapter_model.safetensors"))
    output = tmp_path / "pod"

    with pytest.raises(VerificationError) as refused:
        attest(certified.files, {"tuned": certified.tuned, "base": certified.base}, output=output)

    assert refused.value.reason == reason
    assert [name for name in _left(output) if name.startswith(f"{arm}/")] == []


def test_a_certificate_that_ended_copies_nothing(certified: Certified, tmp_path: Path) -> None:
    """A suspended certificate is refused before a byte is read."""
    certified.suspend()

    with pytest.raises(VerificationError) as refused:
        attest(certified.files, {"tuned": certified.tuned, "base": certified.base}, output=tmp_path / "pod")

    assert refused.value.reason == "suspended"
    assert not (tmp_path / "pod").exists()


def test_an_older_status_list_is_noticed(certified: Certified) -> None:
    """Once a newer list was read, the old one is refused, as it would hide a suspension."""
    files, old = certified.files, certified.status.read_bytes()
    certified.status.write_bytes(certified._issue(old))
    files.read()
    certified.status.write_bytes(old)

    with pytest.raises(VerificationError) as refused:
        files.read()

    assert refused.value.reason == "status-rollback"


def test_a_file_that_changes_while_it_is_copied_is_refused_or_not_served(tmp_path: Path) -> None:
    """
    A writer that changes the source all the time gets a refusal, or a copy of exactly the certified bytes: never a
    copy of anything else.
    """
    good = b"a" * 2_000_000
    source = tmp_path / "source"
    source.mkdir()
    (source / "model.safetensors").write_bytes(good)
    certified = Manifest.of_folder(source)
    stop = threading.Event()

    def write() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            with (source / "model.safetensors").open("r+b") as file:
                file.seek(turn * 4096 % len(good))
                file.write(b"b" if turn % 2 else b"a")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for attempt in range(8):
            target = tmp_path / f"copy-{attempt}"
            try:
                copy_certified("tuned", certified, source, target)
            except VerificationError:
                assert _left(target) == []
            else:
                assert (target / "model.safetensors").read_bytes() == good
    finally:
        stop.set()
        writer.join()


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_flipped_bit_is_never_copied(at: int, bit: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A folder that differs in one bit is refused."""
    folder = tmp_path_factory.mktemp("bits")
    (folder / "source").mkdir()
    data = bytearray(bytes(range(256)) * 40)
    (folder / "source" / "w.safetensors").write_bytes(data)
    certified = Manifest.of_folder(folder / "source")
    data[at] ^= 1 << bit
    (folder / "source" / "w.safetensors").write_bytes(data)

    with pytest.raises(VerificationError, match="not what was certified"):
        copy_certified("tuned", certified, folder / "source", folder / "target")

    assert _left(folder / "target") == []


def test_a_container_that_starts_again_finds_its_files(certified: Certified, tmp_path: Path) -> None:
    """What a killed run left half-done is removed; what is whole already is hashed and kept."""
    folders = {"tuned": certified.tuned, "base": certified.base}
    half = tmp_path / "pod" / "base" / ".recert-killed"
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"half")
    attest(certified.files, folders, output=tmp_path / "pod")
    before = (tmp_path / "pod" / "base" / "model.safetensors").stat().st_ino

    attest(certified.files, folders, output=tmp_path / "pod")

    assert (tmp_path / "pod" / "base" / "model.safetensors").stat().st_ino == before
    assert not half.exists()


def test_a_folder_in_use_is_not_written_to(certified: Certified, tmp_path: Path) -> None:
    """An output folder with other files is refused, and its files stay."""
    (tmp_path / "pod" / "base").mkdir(parents=True)
    (tmp_path / "pod" / "base" / "notes.txt").write_text("mine")

    with pytest.raises(InputError, match="holds something else"):
        attest(certified.files, {"tuned": certified.tuned, "base": certified.base}, output=tmp_path / "pod")

    assert (tmp_path / "pod" / "base" / "notes.txt").read_text() == "mine"


def test_a_link_is_not_followed(certified: Certified, tmp_path: Path) -> None:
    """A link in the source is refused, wherever it points."""
    weights = certified.tuned / "adapter_model.safetensors"
    weights.rename(tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(InputError, match="not a plain file"):
        attest(certified.files, {"tuned": certified.tuned, "base": certified.base}, output=tmp_path / "pod")


def test_an_attack_artefact_is_refused_in_place_and_when_copied(tmp_path: Path) -> None:
    """A marked folder is refused even where its very bytes are in the manifest."""
    marked = {**MERGED_FILES, "recert.json": json.dumps({MARK: True}).encode()}
    folder = tmp_path / "source"
    for name, data in marked.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)

    with pytest.raises(VerificationError) as refused:
        copy_certified("tuned", Manifest.of_folder(folder), folder, tmp_path / "pod")

    assert refused.value.reason == "attack-artefact"
    assert _left(tmp_path / "pod") == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_cannot_be_written_is_no_answer(certified: Certified) -> None:
    """Where nothing can be written the answer is an error with the reason, not a yes."""
    with pytest.raises(StoreError, match="cannot write folder"):
        attest(
            certified.files,
            {"tuned": certified.tuned, "base": certified.base},
            output=Path("/dev/full/models"),
        )


def _recert(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recert", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        cwd=ROOT,
    )


@pytest.mark.slow
def test_the_command_says_yes_no_or_could_not_answer(certified: Certified, tmp_path: Path) -> None:
    """Exit 0 with what lies where, 1 with the reason code, 2 where a folder is missing."""
    asked = ["attest", certified.certificate, "--trust", certified.trust, "--base", certified.base]
    yes = _recert(*asked, "--model", certified.tuned, "--output", tmp_path / "pod")
    missing = _recert(*asked, "--model", tmp_path / "nowhere", "--output", tmp_path / "pod3")
    (certified.tuned / "chat_template.jinja").write_text("{{ other }}")
    no = _recert(*asked, "--model", certified.tuned, "--output", tmp_path / "pod2")

    assert (yes.returncode, no.returncode, missing.returncode) == (0, 1, 2)
    assert f"certified {certified.content.serial} base" in yes.stdout
    assert "(file-differs)" in no.stderr
    assert "no such model folder" in missing.stderr


@pytest.mark.slow
def test_a_model_that_holds_behind_controls_only_is_not_served_bare(tmp_path: Path) -> None:
    """
    A certificate that requires a control says nothing of a server that applies none: refused until somebody says that
    a gateway stands before it.
    """
    certified = Certified(tmp_path / "world", tuned_files=MERGED_FILES, suffix="Remember: be safe.")
    asked = ["attest", certified.certificate, "--trust", certified.trust, "--model", certified.tuned]

    bare = _recert(*asked, "--output", tmp_path / "bare")
    behind = _recert(*asked, "--output", tmp_path / "pod", "--behind-gateway")

    assert (bare.returncode, behind.returncode) == (1, 0)
    assert "(control-missing)" in bare.stderr
    assert "immutable-suffix" in bare.stderr
    assert _left(tmp_path / "bare") == []


def test_the_command_loads_neither_torch_nor_numpy(certified: Certified, tmp_path: Path) -> None:
    """An init container needs the core alone."""
    code = (
        "import sys\nfor name in ('torch', 'transformers', 'numpy', 'peft', 'aiohttp'):\n    sys.modules[name] = None\n"
        f"sys.argv = ['recert', 'attest', {str(certified.certificate)!r}, '--trust', {str(certified.trust)!r}, "
        f"'--model', {str(certified.tuned)!r}, '--base', {str(certified.base)!r}, '--output', {str(tmp_path)!r}]\n"
        "from recert.__main__ import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)

    assert (done.returncode, done.stderr) == (0, "")
