"""Marking attack artefacts: the folder before it has weights, the weights in their own header."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.certification.artefact import MARK, attack_mark, mark_folder, mark_weights
from recert.errors import StoreError

tensors = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=12).filter(
        lambda name: name != "__metadata__"
    ),
    st.binary(min_size=0, max_size=40),
    max_size=4,
)


def written(path: Path, parts: dict[str, bytes], metadata: dict[str, str] | None) -> bytes:
    """Write a safetensors file and return its weights."""
    header: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, values in parts.items():
        header[name] = {
            "dtype": "U8",
            "shape": [len(values)],
            "data_offsets": [len(data), len(data) + len(values)],
        }
        data += values
    said = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(said)) + said + data)
    return data


@given(parts=tensors, metadata=st.none() | st.just({"format": "pt"}))
@settings(deadline=None)
def test_a_mark_in_the_weights_changes_no_weight(
    tmp_path_factory: pytest.TempPathFactory, parts: dict[str, bytes], metadata: dict[str, str] | None
) -> None:
    """Every tensor keeps its bytes, its place and its name; metadata that was there stays."""
    folder = tmp_path_factory.mktemp("marked")
    path = folder / "model.safetensors"
    data = written(path, parts, metadata)
    unmarked = attack_mark(folder)
    mark_weights(folder)
    mark_weights(folder)
    said = path.read_bytes()
    length = int.from_bytes(said[:8], "little")
    header = json.loads(said[8 : 8 + length])

    assert unmarked is None
    assert attack_mark(folder) == "model.safetensors"
    assert said[8 + length :] == data
    assert length % 8 == 0
    assert header.pop("__metadata__") == {**(metadata or {}), MARK: "true"}
    assert set(header) == set(parts)
    assert [p.name for p in folder.iterdir()] == ["model.safetensors"]


def test_marked_weights_load_as_before(tmp_path: Path) -> None:
    """The library that reads them finds the same tensors."""
    safetensors = pytest.importorskip("safetensors.torch")
    import torch

    path = tmp_path / "adapter_model.safetensors"
    safetensors.save_file({"a": torch.arange(6.0).reshape(2, 3)}, path, metadata={"format": "pt"})
    mark_weights(tmp_path)

    assert safetensors.load_file(path)["a"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


def test_a_folder_is_marked_before_it_holds_anything(tmp_path: Path) -> None:
    """The mark is its first file."""
    mark_folder(tmp_path)

    assert [p.name for p in tmp_path.iterdir()] == ["recert.json"]
    assert attack_mark(tmp_path) == "recert.json"


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 4, struct.pack("<Q", 2**40) + b"{}", struct.pack("<Q", 2) + b"[]"]
)
def test_what_is_no_safetensors_file_cannot_be_marked(tmp_path: Path, data: bytes) -> None:
    """It is an error, so that it is deleted rather than kept without a mark."""
    (tmp_path / "model.safetensors").write_bytes(data)

    with pytest.raises(StoreError, match="cannot mark the weights"):
        mark_weights(tmp_path)
