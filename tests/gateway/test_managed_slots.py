"""How many adapters vLLM is told to hold: all in main memory, few on the GPU."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from recert.gateway.engines.managed_commands import ManagedUpstream, Place, command
from recert.records.data.manifest import Manifest
from recert.store.files.private_copy import PrivateCopy


@pytest.mark.parametrize(("adapters", "slots"), [(1, "1"), (16, "16"), (40, "16")])
def test_a_gpu_sets_memory_aside_for_few_adapters(tmp_path: Path, adapters: int, slots: str) -> None:
    """Slots on the GPU stop growing with the number of models; every adapter has its place in main memory."""
    source = tmp_path / "tuned"
    source.mkdir()
    (source / "adapter_config.json").write_text(json.dumps({"r": 12}))
    copy = PrivateCopy.make(source, Manifest.of_folder(source), tmp_path / "copy")
    tuned = {f"team-{n}": copy for n in range(adapters)}
    program = ManagedUpstream("vllm", (), "/usr/bin/vllm")
    line = command(program, Place(copy, tuned, tmp_path, tmp_path / "socket", "key-of-the-engine")).line
    said = dict(itertools.pairwise(line))

    assert slots == said["--max-loras"]
    assert str(adapters) == said["--max-cpu-loras"]
    assert adapters == sum(word.startswith("team-") for word in line)
