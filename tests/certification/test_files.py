"""What lies on disk: each way in which it is not what was certified, each with its reason."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from builders import BASE_FILES, TUNED_FILES
from recert.digest import sha256_bytes
from recert.errors import InputError, StoreError

EVERY_FILE = [("base", name) for name in BASE_FILES] + [("tuned", name) for name in TUNED_FILES]


@pytest.mark.parametrize(("arm", "name"), EVERY_FILE)
def test_one_flipped_byte_in_any_file_is_refused(world, arm, name):
    """
    Each file of both manifests is bound: the error names it, with the digest certified and the one on disk.
    """
    path = (world.base_dir if arm == "base" else world.tuned_dir) / name
    before = path.read_bytes()
    path.write_bytes(bytes([before[0] ^ 1]) + before[1:])

    error = world.refusal()

    assert error.reason == "file-differs"
    assert f"{arm}/{name}" in str(error)
    assert sha256_bytes(before) in str(error)
    assert sha256_bytes(path.read_bytes()) in str(error)


def test_a_renamed_file_is_refused(world):
    """
    The same bytes under another name are another system, and the error says both names.
    """
    (world.tuned_dir / "adapter_model.safetensors").rename(world.tuned_dir / "model.safetensors")

    error = world.refusal()

    assert error.reason == "file-renamed"
    assert "adapter_model.safetensors is now model.safetensors" in str(error)


def test_an_extra_file_is_refused(world):
    """
    A file that nobody certified is refused, hidden or not.
    """
    (world.tuned_dir / ".hidden.py").write_text("print('loaded')")

    error = world.refusal()

    assert error.reason == "extra-file"
    assert ".hidden.py" in str(error)


def test_a_missing_file_is_refused(world):
    """
    A certified file that is gone is refused.
    """
    (world.base_dir / "config.json").unlink()

    error = world.refusal()

    assert error.reason == "file-missing"
    assert "base/config.json" in str(error)


def test_every_difference_is_named(world):
    """
    When several files differ, the error names them all.
    """
    (world.base_dir / "config.json").unlink()
    (world.tuned_dir / "chat_template.jinja").write_text("{{ other }}")
    (world.tuned_dir / "extra.bin").write_bytes(b"x")

    said = str(world.refusal())

    assert all(name in said for name in ("base/config.json", "tuned/chat_template.jinja", "tuned/extra.bin"))


def test_a_mark_of_an_attack_artefact_is_refused_wherever_it_is(world):
    """
    A marked adapter is refused with its own reason, whatever else is wrong with it.
    """
    header = json.dumps({"__metadata__": {"attack_artefact": "true"}}).encode()
    marks = {
        "recert.json": b'{"attack_artefact": true}',
        "nested/recert.json": b'{"attack_artefact": "yes"}',
        "adapter_config.json": b'{"peft_type": "LORA", "attack_artefact": 1}',
        "adapter_model.safetensors": struct.pack("<Q", len(header)) + header,
    }
    for name, content in marks.items():
        path = world.tuned_dir / name
        before = path.read_bytes() if path.exists() else None
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

        assert world.refusal().reason == "attack-artefact"

        path.unlink() if before is None else path.write_bytes(before)
        if path.parent != world.tuned_dir:
            path.parent.rmdir()
    assert world.verify()


def test_a_missing_folder_is_no_answer(world, tmp_path):
    """
    Where nothing could be looked at, the answer is neither yes nor a reasoned no.
    """
    with pytest.raises(InputError):
        world.verify(base_dir=tmp_path / "nowhere")
    (world.tuned_dir / "odd\\name").write_bytes(b"")
    with pytest.raises(InputError, match="name"):
        world.verify()
    (world.tuned_dir / "odd\\name").unlink()
    (world.tuned_dir / "link").symlink_to(world.base_dir / "config.json")
    with pytest.raises(InputError):
        world.verify()


def test_an_unreadable_file_is_no_answer(world, monkeypatch):
    """
    A file that cannot be opened is not a reasoned no.
    """
    opened = Path.open

    def refuse(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.name == "model.safetensors":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StoreError):
        world.verify()


def test_a_configuration_that_could_hide_the_mark_is_not_certified(world):
    """
    A `recert.json` that cannot be parsed is refused at certification; at verification its bytes are extra.
    """
    (world.tuned_dir / "recert.json").write_bytes(b"{")

    assert any("attack-artefact" in reason for reason in world.certify().reasons)
    assert world.refusal().reason == "extra-file"
