"""A real server of llama.cpp on a tiny real GGUF, started by the gateway on exactly what is certified."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateways import make_gateway_policy, make_verified
from managed import post, reply, wait_for
from recert.errors import GatewayError
from recert.gateway.engines.managed_commands import ManagedUpstream
from recert.gateway.engines.managed_engine import ManagedEngine
from recert.records.data.manifest import Manifest
from recert.records.signed.certificate import VerifiedCertificate
from tiny_gguf import make_gguf, make_gguf_adapter

pytestmark = pytest.mark.slow

pytest.importorskip("xllamacpp", reason="no llama.cpp here: pip install xllamacpp")
pytest.importorskip("gguf", reason="no GGUF writer here: pip install gguf")
pytest.importorskip("tokenizers", reason="no tokenizers here")

UPSTREAM = ManagedUpstream("llama.cpp", ("--ctx-size=1024", "--parallel", "2", "--threads=1"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two whole models and an adapter, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("gguf")
    make_gguf(folder / "base" / "model.gguf")
    make_gguf(folder / "whole" / "model.gguf", seed=7)
    make_gguf_adapter(folder / "tuned" / "adapter.gguf")
    return folder


def verified(folder: Path, tuned: str, kind: str) -> VerifiedCertificate:
    """Return what verification would give."""
    found = make_verified(
        make_gateway_policy(),
        folder=folder,
        delta_kind=kind,
        base=Manifest.of_folder(folder / "base"),
        tuned=Manifest.of_folder(folder / tuned),
    )
    object.__setattr__(found, "tuned_dir", folder / tuned)
    return found


def started(folder: Path, tuned: str, kind: str = "lora-adapter") -> ManagedEngine:
    """Return a running engine."""
    engine = ManagedEngine({"m0": verified(folder, tuned, kind)}, UPSTREAM)
    engine.start()
    return engine


def test_llama_cpp_answers_with_what_is_certified(models: Path) -> None:
    """Whole weights, and an adapter on a base: each says something else, and the same when it is asked again."""
    said = {}
    for tuned, kind in (("base", "merged-weights"), ("whole", "merged-weights"), ("tuned", "lora-adapter")):
        engine = started(models, tuned, kind)
        try:
            said[tuned] = reply(engine, "m0")
            again = reply(engine, "m0")
        finally:
            engine.end()

        assert said[tuned] == again

    assert all(said.values())
    assert len(set(said.values())) == 3


def test_an_adapter_that_is_turned_down_while_it_runs_ends_the_engine(models: Path) -> None:
    """llama.cpp lets who holds the key change an adapter's share; the gateway never does, and notices who did."""
    engine = started(models, "tuned")
    try:
        status = post(engine, "/lora-adapters", [{"id": 0, "scale": 0.0}])
        took_s = wait_for("engine-changed", engine, within_s=15)
    finally:
        engine.end()

    assert status == 200
    assert took_s < 15


def test_a_copy_that_is_touched_ends_llama_cpp(models: Path) -> None:
    """It reads the file while it runs, so a touched one is the end."""
    engine = started(models, "whole", "merged-weights")
    try:
        os.utime(engine.copies / "m0" / "model.gguf")
        took_s = wait_for("files-changed", engine)
    finally:
        engine.end()

    assert took_s < 5


def test_files_that_are_no_model_are_a_reason(models: Path, tmp_path: Path) -> None:
    """Not a GGUF, two of them, none: refused with what was found."""
    for name, data in {"one.gguf": b"GGUF nonsense", "two.gguf": b"", "base.txt": b""}.items():
        (tmp_path / "base").mkdir(exist_ok=True)
        (tmp_path / "base" / name).write_bytes(data)
    reasons = []
    for gone in ("", "two.gguf", "one.gguf"):
        (tmp_path / "base" / gone).unlink() if gone else None
        with pytest.raises(GatewayError) as caught:
            started(tmp_path, "base", "merged-weights")
        reasons.append(caught.value.reason)

    assert reasons == ["engine-refused", "engine-down", "engine-refused"]
