"""Marking attack artefacts: the folder before it has weights, the weights in their own header."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.certification.verifier.artefact import MARK, attack_mark, mark_folder, mark_weights
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


@pytest.mark.slow
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


def gguf(pairs: list[tuple[str, int, bytes]]) -> bytes:
    """Return the header of a GGUF file with these keys, types and values."""
    said = b"".join(
        struct.pack("<Q", len(key.encode())) + key.encode() + struct.pack("<I", kind) + value
        for key, kind, value in pairs
    )
    return struct.pack("<4sIQQ", b"GGUF", 3, 0, len(pairs)) + said


def text(value: str) -> bytes:
    """Return a text as GGUF has it."""
    return struct.pack("<Q", len(value.encode())) + value.encode()


HEADER = '{{"w": {{"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}, "__metadata__": {{{}}}}}'
values = st.one_of(
    st.none(),
    st.sampled_from([True]),
    st.integers(-3, 3),
    st.text(max_size=6),
    st.lists(st.integers(), max_size=2),
    st.just({}),
    st.sampled_from(["false", "False", "no", "0", ""]),
)  # fmt: skip
names = st.sampled_from(
    ["recert.json", "Recert.JSON", "adapter_config.json", "ADAPTER_config.json", "model.safetensors",
     "MODEL.SAFETENSORS", "adapter_model.SafeTensors"]
)  # fmt: skip
folders = st.sampled_from(["", "inner", "inner/deeper", ".hidden"])
keys = st.sampled_from([MARK, MARK.upper(), "Attack_Artefact"])


def write_said(folder: Path, name: str, where: str, said: str, nested: int) -> None:
    """Write JSON members into a file that may hold the mark."""
    path = folder / where / name
    path.parent.mkdir(parents=True, exist_ok=True)
    said = '"in": {' * nested + said + "}" * nested
    if name.casefold().endswith(".safetensors"):
        header = HEADER.format(said).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header)
    else:
        path.write_text("{" + said + "}")


@pytest.mark.slow
@given(value=values, name=names, where=folders, key=keys, nested=st.integers(0, 3), doubtful=st.booleans())
@settings(deadline=None)
def test_anything_but_a_plain_false_is_a_mark(
    tmp_path_factory: pytest.TempPathFactory, value: object, name: str, where: str, key: str, nested: int,
    *, doubtful: bool,
) -> None:  # fmt: skip
    """Zero, null and texts too; in any folder, at any depth, however file and key are written."""
    folder = tmp_path_factory.mktemp("marked")
    write_said(folder, name, where, f"{json.dumps(key)}: {json.dumps(value)}", nested)
    plain = tmp_path_factory.mktemp("plain")
    write_said(plain, name, where, f"{json.dumps(key)}: false", nested)

    assert attack_mark(folder, doubtful=doubtful) == f"{where}/{name}".lstrip("/")
    assert attack_mark(plain) is None


@pytest.mark.slow
@given(name=names, where=folders, first=st.booleans(), second=st.booleans())
@settings(deadline=None)
def test_a_mark_that_is_there_twice_is_one(
    tmp_path_factory: pytest.TempPathFactory, name: str, where: str, *, first: bool, second: bool
) -> None:
    """Parsers differ on which one wins, so neither does."""
    folder = tmp_path_factory.mktemp("twice")
    said = f'"{MARK}": {json.dumps(first)}, "{MARK}": {json.dumps(second)}'
    write_said(folder, name, where, said, 0)

    assert attack_mark(folder, doubtful=False) is not None


def test_an_object_that_is_there_twice_hides_no_mark(tmp_path: Path) -> None:
    """The first `__metadata__` counts as well as the last."""
    header = (
        f'{{"__metadata__": {{"{MARK}": "true"}}, "__metadata__": {{"format": "pt"}}}}'.encode()
    )  # parsers keep the last one
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)

    assert attack_mark(tmp_path) == "model.safetensors"


@pytest.mark.parametrize("key", [MARK, f"general.{MARK}", MARK.upper()])
@pytest.mark.parametrize(
    ("kind", "value", "marked"),
    [
        (7, b"\x01", True),
        (7, b"\x00", False),
        (4, struct.pack("<I", 0), True),
        (8, text("false"), True),
        (8, text(""), True),
        (9, struct.pack("<IQ", 4, 2) + bytes(8), True),
    ],
)
def test_a_mark_in_gguf_is_found(tmp_path: Path, key: str, kind: int, value: bytes, *, marked: bool) -> None:
    """Behind whatever other keys there are; only a plain false is none."""
    before = [
        ("general.name", 8, text("tiny")),
        ("tokens", 9, struct.pack("<IQ", 8, 2) + text("a") + text("bc")),
        ("nested", 9, struct.pack("<IQ", 9, 1) + struct.pack("<IQ", 0, 3) + b"abc"),
    ]
    (tmp_path / "Tiny.GGUF").write_bytes(gguf([*before, (key, kind, value), ("last", 12, bytes(8))]))

    assert (attack_mark(tmp_path) == "Tiny.GGUF") == marked


@pytest.mark.parametrize(
    "data",
    [b"", b"GGUF", b"FUGG" + bytes(20), gguf([("a", 99, b"")]), gguf([("a", 8, struct.pack("<Q", 2**60))]),
     struct.pack("<4sIQQ", b"GGUF", 3, 0, 2**60), gguf([("a", 4, b"")])],
)  # fmt: skip
def test_gguf_that_cannot_be_parsed_could_hide_a_mark(tmp_path: Path, data: bytes) -> None:
    """It counts as one where doubtful."""
    (tmp_path / "m.gguf").write_bytes(data)

    assert attack_mark(tmp_path) == "m.gguf"
    assert attack_mark(tmp_path, doubtful=False) is None
