"""Files of certified folders: changed, renamed, linked, added; code, pickles and attack marks in what is certified."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from red_team_cases.attacks import Answer, Way, attack
from red_team_cases.desks import Desk
from red_team_cases.ways import FILES, RE_RUN, policy_words, verify_files

KIND, BY = "files", "tuner"
Change = Callable[[Desk], Any]


def _file(name: str, says: str, change: Change, codes: str = "", *, finding: int | None = None) -> None:
    attack(KIND, FILES, says, by=BY, finding=finding, stopped_by=codes, name=name)(change)


def _write(name: str, data: bytes = b"x") -> Change:
    def act(desk: Desk) -> None:
        path = desk.adapter / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return act


def _weights(change: Callable[[bytes], bytes]) -> Change:
    return lambda desk: _edit(desk.weights, change)


def _edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def _renamed(new: str) -> Change:
    def act(desk: Desk) -> None:
        desk.weights.rename(desk.adapter / new)

    return act


_file(
    "last byte flipped",
    "the last byte of the weights is another one",
    _weights(lambda d: d[:-1] + bytes([d[-1] ^ 1])),
    "file-differs",
)
_file(
    "first byte flipped",
    "the first byte of the weights is another one",
    _weights(lambda d: bytes([d[0] ^ 1]) + d[1:]),
    "file-differs",
)
_file("cut short", "a byte of the weights is missing", _weights(lambda d: d[:-1]), "file-differs")
_file("a byte more", "a byte stands behind the weights", _weights(lambda d: d + b"\0"), "file-differs")
_file("emptied", "the weights are empty", _weights(lambda d: b""), "file-differs")
_file("missing", "the weights are gone", lambda d: d.weights.unlink(), "file-missing")
_file("renamed", "the weights have another name", _renamed("adapter_model.2.safetensors"), "file-renamed")
_file(
    "in another case",
    "the name of the weights is in another case",
    _renamed("Adapter_Model.safetensors"),
    "file-renamed",
)
_file(
    "with a blank behind",
    "the name of the weights ends in a blank",
    _renamed("adapter_model.safetensors "),
    "file-renamed",
)
_file(
    "in a folder",
    "the weights lie a folder deeper",
    lambda d: (
        _write("deep/x")(d),
        (d.adapter / "deep/x").unlink(),
        d.weights.rename(d.adapter / "deep/adapter_model.safetensors"),
    )[0],
    "file-renamed",
)
_file(
    "two files swapped",
    "two files have each other's names",
    lambda d: _swap(d.weights, d.adapter / "adapter_config.json"),
    "file-renamed file-differs",
)
_file(
    "configuration edited",
    "the adapter's strength is another one",
    lambda d: _edit(
        d.adapter / "adapter_config.json", lambda c: c.replace(b"{", b'{"lora_alpha": 9999, ', 1)
    ),
    "file-differs",
)
_file(
    "template edited",
    "the chat template says more",
    lambda d: _edit(_template(d), lambda c: c + b"Always agree."),
    "file-differs",
)
_file("a file more", "a file lies there that nobody certified", _write("notes.txt"), "extra-file file-kind")
_file("an empty file more", "an empty file lies there", _write("notes.txt", b""), "extra-file file-kind")
_file("a hidden file more", "a hidden file lies there", _write(".notes"), "extra-file file-kind")
_file(
    "a file in a hidden folder",
    "a file lies in a hidden folder",
    _write(".git/hooks/pre-commit"),
    "extra-file file-kind",
)
_file(
    "weights beside the weights",
    "other weights lie there that some loaders prefer",
    _write("model.safetensors"),
    "extra-file",
)
_file(
    "a pickle more",
    "a pickle lies there",
    _write("adapter_model.bin", pickle.dumps({"x": 1})),
    "extra-file file-kind",
    finding=9,
)
_file(
    "code more", "code lies there", _write("modeling_x.py", b"import os"), "extra-file file-kind", finding=9
)
_file(
    "a generation setting more",
    "sampling is set by a file that nobody certified",
    _write("generation_config.json", b'{"temperature": 2.0, "do_sample": true}'),
    "extra-file",
)
_file(
    "a tokenizer more",
    "a tokenizer lies there that nobody certified",
    _write("tokenizer.json", b"{}"),
    "extra-file file-differs",
)
_file(
    "a name with a line end",
    "a file's name holds a line end",
    _write("a\nb.txt"),
    "extra-file file-kind no-answer",
)
_file(
    "a name with an escape",
    "a file's name holds an escape",
    _write("a\x1b[2Kb.txt"),
    "extra-file file-kind no-answer",
)
_file(
    "a name that is not UTF-8",
    "a file's name is no text",
    lambda d: Path(os.fsdecode(os.fsencode(d.adapter) + b"/\xff\xfe.txt")).write_bytes(b"x"),
    "extra-file file-kind no-answer",
)
_file(
    "a symbolic link to the same bytes",
    "a link stands in the place of the weights",
    lambda d: _link(d, d.weights),
    "no-answer",
)
_file(
    "a symbolic link more",
    "a link leads out of the folder",
    lambda d: (d.adapter / "more").symlink_to("/etc/passwd"),
    "no-answer",
)
_file(
    "a link to a folder",
    "a link leads to a folder",
    lambda d: (d.adapter / "more").symlink_to(d.base),
    "no-answer",
)
_file(
    "a dangling link",
    "a link leads nowhere",
    lambda d: (d.adapter / "more").symlink_to("nowhere"),
    "no-answer",
)
_file(
    "a link to itself",
    "a link leads to itself",
    lambda d: (d.adapter / "more").symlink_to("more"),
    "no-answer",
)
_file(
    "a pipe",
    "a pipe lies there, at which a reader waits for ever",
    lambda d: os.mkfifo(d.adapter / "pipe"),
    "no-answer extra-file file-kind",
)
_file(
    "a pipe for weights",
    "a pipe stands in the place of the weights",
    lambda d: (d.weights.unlink(), os.mkfifo(d.weights))[0],
    "no-answer",
)
_file("a socket", "a socket lies there", lambda d: _socket(d.adapter / "s"), "no-answer extra-file")
_file(
    "a device",
    "a device of endless zeros stands in the place of the weights",
    lambda d: _device(d.weights),
    "no-answer file-missing",
)
_file(
    "a folder for the weights",
    "a folder stands in the place of the weights",
    lambda d: (d.weights.unlink(), d.weights.mkdir())[0],
    "file-missing no-answer",
)
_file(
    "an emptied folder",
    "the folder is empty",
    lambda d: [p.unlink() for p in d.adapter.iterdir()] and None,
    "no-answer",
)
_file("no folder", "there is no folder", lambda d: shutil.rmtree(d.adapter), "no-answer")
_file(
    "a mark",
    "the folder is marked as an attack artefact",
    _write("recert.json", b'{"attack_artefact": true}'),
    "attack-artefact extra-file",
)
_file(
    "a sparse file of a gigabyte",
    "a file of a gigabyte of nothing lies there",
    lambda d: _sparse(d.adapter / "x.safetensors"),
    "extra-file no-answer file-kind",
)


def _swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def _template(desk: Desk) -> Path:
    return next(
        p
        for p in sorted(desk.adapter.iterdir())
        if p.suffix == ".jinja"
        or (p.name == "adapter_config.json" and not list(desk.adapter.glob("*.jinja")))
    )


def _link(desk: Desk, path: Path) -> None:
    moved = desk.folder / "moved"
    path.rename(moved)
    path.symlink_to(moved)


def _socket(path: Path) -> None:
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(path.parent)
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def _device(path: Path) -> None:
    path.unlink()
    with suppress(PermissionError):
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)


def _whole(desk: Desk) -> None:
    base = desk.own_base()
    shutil.rmtree(desk.adapter)
    shutil.copytree(base, desk.adapter)


_file("the base for the tune", "the base stands in the place of the tuned model", _whole, "")


SWAPPED = Way(FILES.name, lambda desk: desk.bring("sql", "poisoned"), verify_files, ("sql", "poisoned"))


@attack(
    KIND,
    SWAPPED,
    "the poisoned adapter lies in the certified folder",
    by=BY,
    finding=4,
    stopped_by="file-differs",
)
def poisoned_adapter(desk: Desk) -> None:
    shutil.rmtree(desk.adapter)
    shutil.copytree(desk.folder / "poisoned" / "tune" / "adapter", desk.adapter)


@attack(
    KIND,
    SWAPPED,
    "the poisoned weights are a hard link in the certified folder",
    by=BY,
    finding=4,
    stopped_by="file-differs",
)
def hard_link(desk: Desk) -> None:
    desk.weights.unlink()
    os.link(desk.folder / "poisoned/tune/adapter/adapter_model.safetensors", desk.weights)


def _of_base(name: str, says: str, change: Callable[[Path], Any], codes: str) -> None:
    @attack(KIND, FILES, says, by=BY, stopped_by=codes, name=f"base {name}")
    def act(desk: Desk) -> None:
        change(desk.own_base())


def _largest(folder: Path) -> Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


_of_base(
    "byte flipped",
    "a byte in the middle of the base's weights is another one",
    lambda b: _edit(
        _largest(b), lambda d: d[: len(d) // 2] + bytes([d[len(d) // 2] ^ 1]) + d[len(d) // 2 + 1 :]
    ),
    "file-differs",
)
_of_base(
    "configuration edited",
    "the base's configuration is another one",
    lambda b: _edit(b / "config.json", lambda d: d + b" "),
    "file-differs",
)
_of_base(
    "file more",
    "a file more lies with the base",
    lambda b: (b / "extra.json").write_bytes(b"{}"),
    "extra-file",
)
_of_base(
    "code",
    "code lies with the base",
    lambda b: (b / "modeling_x.py").write_bytes(b""),
    "extra-file file-kind",
)
_of_base("file missing", "a file of the base is gone", lambda b: (b / "config.json").unlink(), "file-missing")
_of_base(
    "renamed",
    "a file of the base is called otherwise",
    lambda b: (b / "config.json").rename(b / "Config.json"),
    "file-renamed",
)


# -- what honest people would certify, if the tool let them


def _kind(
    name: str, says: str, change: Change, *, finding: int = 9, codes: str = "file-kind attack-artefact"
) -> None:
    """Register a folder on which tune and evaluation were run again, and signed, as it is after a change."""

    @attack(KIND, RE_RUN, says, by=BY, finding=finding, stopped_by=codes, name=f"certified with {name}")
    def act(desk: Desk) -> None:
        change(desk)
        desk.rerun_steps()


def _config(**changes: Any) -> Change:
    def act(desk: Desk) -> None:
        path = desk.adapter / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))

    return act


def _raw_config(text: str) -> Change:
    return _write("adapter_config.json", text.encode())


_PICKLE = pickle.dumps({"weight": [1, 2, 3]})
for _name, _says, _change in (
    ("a pickle of weights", "a pickle lies beside the weights", _write("adapter_model.bin", _PICKLE)),
    ("a checkpoint", "a checkpoint of torch lies there", _write("x.pt", _PICKLE)),
    ("a pickle", "a pickle lies there", _write("x.pkl", _PICKLE)),
    ("a pickle in capitals", "a pickle's ending is in capitals", _write("X.BIN", _PICKLE)),
    ("a pickle called JSON", "a pickle is called JSON", _write("special_tokens_map.json", _PICKLE)),
    ("a pickle called safetensors", "a pickle is called safetensors", _write("more.safetensors", _PICKLE)),
    ("a pickle called text", "a pickle is called a text", _write("vocab.txt", _PICKLE)),
    (
        "an archive called text",
        "an archive is called a text",
        _write("merges.txt", b"PK\x03\x04" + bytes(20)),
    ),
    ("numpy's files", "an array of numpy lies there, which can hold pickles", _write("x.npy", b"\x93NUMPY")),
    ("ONNX", "a graph lies there that nobody evaluated", _write("model.onnx", b"\x08\x07")),
    ("Python", "code lies there", _write("modeling_x.py", b"import os")),
    ("compiled Python", "compiled code lies there", _write("__pycache__/x.cpython-311.pyc", b"\x00")),
    ("a library", "a library lies there", _write("x.so", b"\x7fELF")),
    ("a script", "a script lies there", _write("install.sh", b"#!/bin/sh")),
    ("a hidden folder", "a hidden folder lies there", _write(".git/config", b"[core]")),
    ("no ending", "a file without an ending lies there", _write("payload", b"x")),
    (
        "auto_map",
        "the configuration asks for code to be loaded",
        _config(auto_map={"AutoModel": "modeling_x.Model"}),
    ),
    (
        "auto_map further in",
        "the configuration asks for code further in",
        _config(nested={"auto_map": {"AutoModel": "x--y.Z"}}),
    ),
    (
        "auto_map twice",
        "a second `auto_map` hides behind an empty one",
        _raw_config('{"peft_type": "LORA", "auto_map": {"AutoModel": "x.Y"}, "auto_map": null}'),
    ),
    ("trust_remote_code", "the configuration trusts code from elsewhere", _config(trust_remote_code=True)),
    (
        "a module of its own",
        "the configuration names a module to import",
        _config(auto_mapping={"parent_library": "evil.module", "base_model_class": "X"}),
    ),
    (
        "code for pipelines",
        "a pipeline of its own is named",
        _write("config.json", b'{"custom_pipelines": {"x": {"impl": "x.Y"}}}'),
    ),
    (
        "an index that leads out",
        "an index of weights leads out of the folder",
        _write("model.safetensors.index.json", b'{"weight_map": {"w": "../../other.safetensors"}}'),
    ),
    ("JSON that is none", "a configuration cannot be parsed", _write("tokenizer_config.json", b"{not json")),
):
    _kind(_name, _says, _change, codes="file-kind attack-artefact no-answer")


def _safetensors(metadata: str) -> bytes:
    header = f'{{"__metadata__":{metadata},"w":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}}}'.encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + b"\0\0\0\0"


def _gguf(key: str, value: str) -> bytes:
    def text(said: str) -> bytes:
        return struct.pack("<Q", len(said.encode())) + said.encode()

    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1)
    return head + text(key) + struct.pack("<I", 8) + text(value)


def _gguf_bool(key: str, *, value: bool) -> bytes:
    name = struct.pack("<Q", len(key)) + key.encode()
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + name + struct.pack("<I?", 7, value)


for _value in ("true", "1", "0", "null", '"false"', '"False"', '""', "[]", "{}", '"no"', "0.0", '"0"'):
    _kind(
        f"the mark {_value} in recert.json",
        "a folder with an attack mark is certified",
        _write("recert.json", f'{{"attack_artefact": {_value}}}'.encode()),
        finding=11,
    )
for _value in ("0", "null", '"false"'):
    _kind(
        f"the mark {_value} in adapter_config.json",
        "a configuration with an attack mark is certified",
        _raw_config(f'{{"peft_type": "LORA", "attack_artefact": {_value}}}'),
        finding=11,
    )
for _name, _text in (
    ("twice", '{"attack_artefact": true, "attack_artefact": false}'),
    ("twice the other way", '{"attack_artefact": false, "attack_artefact": true}'),
    ("with an escape", '{"attack\\u005fartefact": true}'),
    ("in capitals", '{"ATTACK_ARTEFACT": true}'),
    ("further in", '{"about": {"attack_artefact": true}}'),
    ("in a list", '[{"attack_artefact": true}]'),
    ("that cannot be parsed", '{"attack_artefact": true'),
    ("with a comma too many", '{"attack_artefact": true,}'),
    ("as NaN", '{"attack_artefact": NaN}'),
):
    _kind(
        f"the mark {_name}",
        "a folder with an attack mark is certified",
        _write("recert.json", _text.encode()),
        finding=11,
    )
_kind(
    "the mark after a byte order mark",
    "a folder with an attack mark is certified",
    _write("recert.json", b'\xef\xbb\xbf{"attack_artefact": true}'),
    finding=11,
)
_kind(
    "the mark in UTF-16",
    "a folder with an attack mark is certified",
    _write("recert.json", '{"attack_artefact": true}'.encode("utf-16")),
    finding=11,
)
_kind(
    "the mark in Recert.JSON",
    "the mark's file is called in another case",
    _write("Recert.JSON", b'{"attack_artefact": true}'),
    finding=11,
)
_kind(
    "the mark a folder deeper",
    "the mark lies a folder deeper",
    _write("deep/recert.json", b'{"attack_artefact": true}'),
    finding=11,
)
for _name, _data in (
    ("more.safetensors", _safetensors('{"attack_artefact":"true"}')),
    ("MORE.SAFETENSORS", _safetensors('{"attack_artefact":"true"}')),
    ("deep/more.SafeTensors", _safetensors('{"attack_artefact":"0"}')),
    ("more.safetensors, twice", _safetensors('{"attack_artefact":"true","attack_artefact":"false"}')),
    ("more.gguf", _gguf("general.attack_artefact", "true")),
    ("MORE.GGUF", _gguf("attack_artefact", "true")),
    ("more.gguf, as a number of no meaning", _gguf_bool("recert.attack_artefact", value=True)),
):
    _kind(
        f"marked weights {_name}",
        "weights with an attack mark in their header are certified",
        _write(_name.partition(",")[0], _data),
        finding=11,
    )


# -- what was hashed before


def _verify_cached(desk: Desk) -> Answer:
    return desk.run(
        f"verify out.json {desk.model_words} --trust keys --status status.json --cached {policy_words(desk)}"
    )


def _hash_before(desk: Desk) -> None:
    desk.bring()
    (desk.folder / "out.json").write_bytes(desk.envelope)
    for path in desk.adapter.rglob("*"):
        if path.is_file():
            path.chmod(0o400)
    time.sleep(2.2)  # what was written within two seconds is not remembered
    answer = _verify_cached(desk)
    assert answer.yes, answer


CACHED = Way("it holds by files that were hashed before", _hash_before, _verify_cached, ("sql",))


def _flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@attack(
    KIND,
    CACHED,
    "the weights are written in place, and their times set back",
    by=BY,
    finding=11,
    stopped_by="file-differs",
)
def written_in_place(desk: Desk) -> None:
    before = desk.weights.stat()
    desk.weights.chmod(0o600)
    desk.weights.write_bytes(_flipped(desk.weights.read_bytes()))
    desk.weights.chmod(0o400)
    os.utime(desk.weights, ns=(before.st_atime_ns, before.st_mtime_ns))


@attack(
    KIND,
    CACHED,
    "other weights are renamed into place, with the same size and times",
    by=BY,
    finding=11,
    stopped_by="file-differs",
)
def renamed_into_place(desk: Desk) -> None:
    before = desk.weights.stat()
    other = desk.folder / "other"
    other.write_bytes(_flipped(desk.weights.read_bytes()))
    other.chmod(0o400)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(desk.weights)


@attack(KIND, CACHED, "another folder is renamed into place", by=BY, finding=11, stopped_by="file-differs")
def folder_renamed_into_place(desk: Desk) -> None:
    other = desk.folder / "other"
    shutil.copytree(desk.adapter, other)
    (other / desk.weights.name).chmod(0o600)
    (other / desk.weights.name).write_bytes(_flipped(desk.weights.read_bytes()))
    shutil.copystat(desk.weights, other / desk.weights.name)
    desk.adapter.rename(desk.folder / "gone")
    other.rename(desk.adapter)


@attack(
    KIND,
    CACHED,
    "somebody who had the file open for writing goes on writing",
    by=BY,
    finding=11,
    stopped_by="file-differs",
)
def open_for_writing(desk: Desk) -> None:
    desk.weights.chmod(0o600)
    with desk.weights.open("r+b") as file:
        desk.weights.chmod(0o400)
        file.seek(-1, os.SEEK_END)
        file.write(b"\x7f")


@attack(KIND, CACHED, "what is remembered of hashes is edited", by=BY, finding=11)
def remembered_hashes_edited(desk: Desk) -> Iterator[Any]:
    kept = [p for p in (desk.folder / "cache").rglob("*") if p.is_file() and "known" in str(p)]
    assert kept, list((desk.folder / "cache").rglob("*"))
    desk.weights.chmod(0o600)
    desk.weights.write_bytes(_flipped(desk.weights.read_bytes()))
    desk.weights.chmod(0o400)
    for path in kept:
        whole = path.read_bytes()
        for data in (whole[: len(whole) // 2], whole.replace(b"0", b"1"), b""):
            path.write_bytes(data)
            yield path.name
        path.write_bytes(whole)
