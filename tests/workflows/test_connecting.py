"""Tunes brought from folders and the hub: whole, of kinds of files that run no code, and never an attack's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from builders import TUNED_FILES, write_model
from recert.certification.verifier.artefact import mark_folder
from recert.cli.app import app
from recert.errors import ArtefactError, InputError
from recert.records.data.manifest import Manifest
from recert.records.signed.hosted_job import ConnectedTune
from recert.workflows.connecting import connect_files

FILES = {
    "adapter_config.json": json.dumps({"base_model_name_or_path": "org/base", "r": 4}).encode(),
    "adapter_model.safetensors": TUNED_FILES["adapter_model.safetensors"],
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def tune(tmp_path: Path) -> Path:
    """A PEFT adapter's folder, as its trainer left it."""
    folder = tmp_path / "tune"
    write_model(folder, FILES | {"README.md": b"about it", ".gitattributes": b"*"})
    return folder


def test_an_adapter_comes_as_it_was(tune: Path, tmp_path: Path) -> None:
    """Its files lie in `model`, with a record that names each, and the base that it says it is of."""
    found = connect_files(str(tune), tmp_path / "out")
    written = ConnectedTune.from_json((tmp_path / "out" / "connected-tune.json").read_bytes())

    assert {p.name: p.read_bytes() for p in (tmp_path / "out" / "model").iterdir()} == FILES
    assert (found.source_kind, found.source, found.named_base) == ("folder", "tune", "org/base")
    assert (found.delta_kind, found.tuned) == ("lora-adapter", Manifest.of_folder(tmp_path / "out" / "model"))
    assert written == found


@pytest.mark.slow
def test_a_tune_comes_from_the_hub_at_one_commit(tune: Path, tmp_path: Path) -> None:
    """From the layout of the hub's own cache, links and all, without a network; the record has the commit."""
    repository = tmp_path / "hub" / "models--org--tune"
    snapshot = repository / "snapshots" / COMMIT
    for folder in (snapshot, repository / "blobs", repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for name, data in FILES.items():
        (repository / "blobs" / name).write_bytes(data)
        (snapshot / name).symlink_to(repository / "blobs" / name)
    told = {
        **os.environ,
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": "1",
        "RECERT_CACHE": str(tmp_path / "cache"),
    }
    command = [
        sys.executable,
        "-m",
        "recert",
        "connect",
        "hub:org/tune@main",
        "--output",
        str(tmp_path / "out"),
    ]
    done = subprocess.run([*command, "--json"], capture_output=True, env=told, check=False)
    found = ConnectedTune.from_json(done.stdout)

    assert (found.source_kind, found.source, found.revision) == ("hub", "org/tune", COMMIT[:12])
    assert {p.name: p.read_bytes() for p in (tmp_path / "out" / "model").iterdir()} == FILES


@pytest.mark.parametrize(
    "extra",
    [
        {"training_args.bin": b"x"},
        {"adapter_model.pt": b"x"},
        {"modeling.py": b"x"},
        {"state/optimizer.pkl": b"x"},
    ],
    ids=lambda extra: next(iter(extra)),
)
def test_files_that_may_run_code_are_refused(extra: dict[str, bytes], tune: Path, tmp_path: Path) -> None:
    """Nothing is copied, and an earlier copy stays."""
    connect_files(str(tune), tmp_path / "out")
    write_model(tune, extra)
    with pytest.raises(InputError, match="may run code"):
        connect_files(str(tune), tmp_path / "out")

    assert {p.name for p in (tmp_path / "out" / "model").iterdir()} == set(FILES)


@pytest.mark.parametrize("lost", list(FILES))
def test_what_is_no_model_is_refused(lost: str, tune: Path, tmp_path: Path) -> None:
    """Weights without a configuration, and the other way round."""
    (tune / lost).unlink()
    with pytest.raises(InputError, match="in this folder"):
        connect_files(str(tune), tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_links_and_attack_artefacts_are_refused(tune: Path, tmp_path: Path) -> None:
    """A link may point anywhere; what an attack made is marked, and goes nowhere."""
    (tune / "tokenizer.json").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match="link"):
        connect_files(str(tune), tmp_path / "out")
    (tune / "tokenizer.json").unlink()
    mark_folder(tune)
    with pytest.raises(ArtefactError):
        connect_files(str(tune), tmp_path / "out")


def test_the_command_prints_what_evaluate_takes(tune: Path, tmp_path: Path) -> None:
    """`recert connect FOLDER` ends with the folder of the model; a source that is none is an error with a hint."""
    run = CliRunner()
    done = run.invoke(app, ["connect", str(tune), "--output", str(tmp_path / "out")])
    none = run.invoke(app, ["connect", "openai:https://api.example.com/v1", "--output", str(tmp_path / "x")])

    assert (done.exit_code, done.stdout.strip()) == (0, str(tmp_path / "out" / "model"))
    assert isinstance(none.exception, InputError) and "openai:URL#job" in none.exception.message
