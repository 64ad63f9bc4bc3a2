"""Engines that the gateway starts: on certified bytes alone, closed to everybody else, and watched."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways import make_gateway_policy, make_verified
from managed import post, reply, wait_for
from recert.errors import GatewayError, SettingsError, VerificationError
from recert.gateway.engines.managed_commands import ManagedUpstream
from recert.gateway.engines.managed_engine import ManagedEngine, ask
from recert.records.data.manifest import Manifest
from recert.records.signed.certificate import VerifiedCertificate
from strangers import as_stranger, needs_root
from vllm_program import digest_of, make_vllm

POLICY = make_gateway_policy()


def make_folders(folder: Path, *names: str) -> Path:
    """Write a base, and adapters that vLLM's stand-in takes for some."""
    base = folder / "base"
    base.mkdir(parents=True)
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"base" * 1000)
    for name in names:
        tuned = folder / name
        tuned.mkdir()
        (tuned / "adapter_config.json").write_text(json.dumps({"r": 12}))
        (tuned / "adapter_model.safetensors").write_bytes(name.encode() * 1000)
    return folder


def verified(folder: Path, name: str = "tuned", **changes: Any) -> VerifiedCertificate:
    """Return what verification would give for an adapter in a folder."""
    found = make_verified(
        POLICY,
        folder=folder,
        base=Manifest.of_folder(folder / "base"),
        tuned=Manifest.of_folder(folder / name),
        **changes,
    )
    object.__setattr__(found, "tuned_dir", folder / name)
    return found


@pytest.fixture
def vllm(tmp_path: Path) -> ManagedUpstream:
    """The stand-in, which writes to `started.json`."""
    program = make_vllm(tmp_path / "bin" / "vllm", tmp_path / "started.json")
    return ManagedUpstream("vllm", ("--max-model-len", "4096"), str(program))


@pytest.fixture
def engine(tmp_path: Path, vllm: ManagedUpstream, monkeypatch: pytest.MonkeyPatch) -> Iterator[ManagedEngine]:
    """An engine of two adapters, started where the gateway's environment says what it must not hear."""
    folder = make_folders(tmp_path / "models", "tuned", "other")
    for name, value in {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_PLUGINS": "lora_filesystem_resolver",
        "LD_PRELOAD": "",
        "HF_TOKEN": "hf_secret",
        "RECERT_API_KEYS": "team:0123456789abcdef",
    }.items():
        monkeypatch.setenv(name, value)
    made = ManagedEngine(
        {"m0": verified(folder), "m1": verified(folder, "other")}, vllm, copies=tmp_path / "copies"
    )
    made.start()
    yield made
    made.end()


def started(tmp_path: Path) -> dict[str, Any]:
    """Return what the stand-in was started with."""
    found: dict[str, Any] = json.loads((tmp_path / "started.json").read_text())
    return found


def test_vllm_is_started_on_copies_with_its_side_doors_shut(engine: ManagedEngine, tmp_path: Path) -> None:
    """Its arguments name copies alone; variables that open it to changes, and secrets, do not reach it."""
    said = started(tmp_path)
    words, variables = said["arguments"], said["environment"]
    models = tmp_path / "models"

    assert reply(engine, "m0") == f"loaded {digest_of(models / 'tuned')} on {digest_of(models / 'base')}"
    assert reply(engine, "m1") == f"loaded {digest_of(models / 'other')} on {digest_of(models / 'base')}"
    assert not [word for word in words if str(models) in word]
    assert words[:2] == ["serve", str(engine.copies / "base")]
    assert words[-3:] == ["--lora-modules", f"m0={engine.copies / 'm0'}", f"m1={engine.copies / 'm1'}"]
    assert words[words.index("--max-lora-rank") + 1] == "16"
    assert words[words.index("--uds") + 1] == str(engine.folder / "engine.sock")
    assert "--max-model-len=4096" in words
    assert variables["VLLM_PLUGINS"] == ""
    assert len(variables["VLLM_API_KEY"]) >= 32
    assert not {"VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_SERVER_DEV_MODE", "LD_PRELOAD"} & set(variables)
    assert not {"HF_TOKEN", "RECERT_API_KEYS"} & set(variables)
    assert str(engine.folder / "tmp") == said["folder"] == variables["TMPDIR"]
    assert said["umask"] == 0o077


def test_what_is_in_the_process_cannot_gain_rights_or_leave_a_core(
    engine: ManagedEngine, tmp_path: Path
) -> None:
    """The kernel says so of the running process."""
    about = Path(f"/proc/{started(tmp_path)['pid']}")
    limits = next(line for line in (about / "limits").read_text().splitlines() if "core file" in line)

    assert "NoNewPrivs:\t1" in (about / "status").read_text()
    assert limits.split()[4:6] == ["0", "0"]


def test_side_routes_do_not_answer(engine: ManagedEngine) -> None:
    """Adapters cannot be loaded while it runs; there is no port, and the key is asked for on the socket too."""
    here = engine.folder / "engine.sock"

    assert post(engine, "/v1/load_lora_adapter", {"lora_name": "x", "lora_path": "/"}) == 404
    assert post(engine, "/collective_rpc", {}) == 404
    assert ask(here, "/v1/models", "wrong key") == (401, b'{"error": "Unauthorized"}')
    assert not listens(engine.process_id)


def listens(group: int | None) -> list[str]:
    """Return the TCP sockets on which a process group listens."""
    inodes = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and os.getpgid(int(entry.name)) == group:
                inodes |= {str(fd.readlink()) for fd in (entry / "fd").iterdir()}
    assert inodes
    tables = [Path("/proc/net") / name for name in ("tcp", "tcp6")]
    rows = [row.split() for table in tables for row in table.read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]


@needs_root
def test_no_other_user_reaches_an_engine(engine: ManagedEngine) -> None:
    """Not its socket, not its key."""

    def connect() -> None:
        socket.socket(socket.AF_UNIX).connect(str(engine.folder / "engine.sock"))

    assert as_stranger(connect) == "PermissionError"
    assert as_stranger(lambda: Path(f"/proc/{engine.process_id}/environ").read_bytes()) == "PermissionError"


@pytest.mark.slow
def test_a_copy_that_is_touched_ends_the_engine(engine: ManagedEngine, tmp_path: Path) -> None:
    """Even by its owner, even with the same bytes: service has its reason within seconds, and the process is gone."""
    pid = started(tmp_path)["pid"]
    os.utime(engine.copies / "base" / "model.safetensors")
    took_s = wait_for("files-changed", engine)

    assert took_s < 5
    assert gone(pid)


def gone(pid: int, within_s: float = 8) -> bool:
    """Wait until a process is no more."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            if "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_an_adapter_that_appears_while_it_runs_ends_the_engine(engine: ManagedEngine, tmp_path: Path) -> None:
    """However it got in: the engine is asked which models it has, and another answer is the end."""
    os.kill(started(tmp_path)["pid"], signal.SIGUSR1)

    assert wait_for("engine-changed", engine, within_s=12) < 12
    assert gone(started(tmp_path)["pid"])


@pytest.mark.slow
def test_what_happens_to_the_originals_does_not_matter_to_what_is_loaded(
    engine: ManagedEngine, tmp_path: Path
) -> None:
    """The engine was started on copies: files that are swapped afterwards, and a restart, change no answer."""
    before = reply(engine, "m0")
    first = started(tmp_path)["pid"]
    for path in (tmp_path / "models").rglob("*.safetensors"):
        path.write_bytes(b"evil")
    os.kill(first, signal.SIGKILL)
    end = time.monotonic() + 10
    while (started(tmp_path)["pid"] == first or engine.down()) and time.monotonic() < end:
        time.sleep(0.05)

    assert started(tmp_path)["pid"] != first
    assert before == reply(engine, "m0")


def test_nothing_is_left_when_an_engine_has_ended(engine: ManagedEngine, tmp_path: Path) -> None:
    """No process, no socket, no copy."""
    pid = started(tmp_path)["pid"]
    engine.end()

    assert gone(pid)
    assert not engine.folder.exists()
    assert not list((tmp_path / "copies").iterdir())


def test_a_file_that_was_swapped_before_the_copy_is_refused(tmp_path: Path, vllm: ManagedUpstream) -> None:
    """Between verification and start: nothing is started, nothing is left."""
    folder = make_folders(tmp_path / "models", "tuned")
    certified = verified(folder)
    (folder / "base" / "model.safetensors").write_bytes(b"evil" * 1000)
    made = ManagedEngine({"m0": certified}, vllm, copies=tmp_path / "copies")
    with pytest.raises(VerificationError) as caught:
        made.start()

    assert caught.value.reason == "file-differs"
    assert not (tmp_path / "started.json").exists()
    assert not list((tmp_path / "copies").rglob("*"))
    assert not made.folder.exists()


def test_an_engine_that_does_not_start_says_what_it_said(tmp_path: Path) -> None:
    """The last words of the program are in the error; a program that is none is told too."""
    folder = make_folders(tmp_path / "models", "tuned")
    broken = tmp_path / "vllm"
    broken.write_text("#!/bin/sh\necho out of memory on device 0 >&2\nexit 3\n")
    broken.chmod(0o700)
    with pytest.raises(GatewayError) as caught:
        ManagedEngine({"m0": verified(folder)}, ManagedUpstream("vllm", (), str(broken))).start()
    with pytest.raises(GatewayError) as missing:
        ManagedEngine({"m0": verified(folder)}, ManagedUpstream("vllm", (), str(tmp_path / "no"))).start()

    assert caught.value.reason == "engine-down"
    assert "out of memory on device 0" in str(caught.value)
    assert "cannot start" in str(missing.value)


@pytest.mark.slow
def test_an_engine_ends_with_a_gateway_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL of the process that started it: within seconds the engine is gone as well."""
    make_vllm(tmp_path / "bin" / "vllm", tmp_path / "started.json")
    make_folders(tmp_path / "models", "tuned")
    here = Path(__file__)
    code = (
        f"import sys\nsys.path[:0] = [{str(here.parents[1])!r}, {str(here.parent)!r}]\n"
        "from test_managed_engine import *\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "engine = ManagedEngine({'m0': verified(folder / 'models')}, "
        "ManagedUpstream('vllm', (), str(folder / 'bin' / 'vllm')), copies=folder / 'copies')\n"
        "engine.start()\nprint('up', flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        owner.kill()

    assert gone(started(tmp_path)["pid"])


@pytest.mark.parametrize(
    ("engine", "arguments"),
    [
        ("vllm", ("--enable-lora",)),
        ("vllm", ("--lora-modules", "x=/tmp/x")),
        ("vllm", ("--speculative-config={}",)),
        ("vllm", ("--middleware=os.system",)),
        ("vllm", ("--tool-parser-plugin=/tmp/x.py",)),
        ("vllm", ("--chat-template=/tmp/x",)),
        ("vllm", ("--host", "0.0.0.0")),
        ("vllm", ("--dtype=float16",)),
        ("vllm", ("--config=/tmp/x.yaml",)),
        ("vllm", ("--max-model-len",)),
        ("vllm", ("--max-model-len", "--enable-lora")),
        ("vllm", ("--max-model-len=8 --enable-lora",)),
        ("vllm", ("--max-model-len=8\n",)),
        ("vllm", ("--tool-call-parser=../../x",)),
        ("vllm", ("--enforce-eager=yes",)),
        ("vllm", ("--max-model",)),
        ("vllm", ("/some/other/model",)),
        ("llama.cpp", ("--lora=/tmp/x",)),
        ("llama.cpp", ("--model=/tmp/x",)),
        ("llama.cpp", ("--chat-template", "x")),
        ("llama.cpp", ("--override-kv", "x")),
        ("llama.cpp", ("--model-draft", "x")),
        ("llama.cpp", ("--metrics",)),
        ("embedded", ("--threads=2",)),
        ("other", ()),
    ],
)
def test_arguments_that_could_change_the_model_are_refused(engine: str, arguments: tuple[str, ...]) -> None:
    """Only what cannot change what is loaded, or who may reach it, is taken, and only with values of its kind."""
    with pytest.raises(SettingsError):
        ManagedUpstream(engine, arguments)


def test_arguments_about_speed_and_size_are_taken() -> None:
    """With the value behind `=` or as a word of its own."""
    given = ("--max-model-len", "8192", "--enforce-eager", "--gpu-memory-utilization=0.85")

    assert ManagedUpstream("vllm", given).words() == [
        "--max-model-len=8192", "--enforce-eager", "--gpu-memory-utilization=0.85",
    ]  # fmt: skip
    assert ManagedUpstream("llama.cpp", ("--n-gpu-layers", "all")).words() == ["--n-gpu-layers=all"]
