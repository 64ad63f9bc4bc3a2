"""Folders of models: what kind they are, and whether they are still what was hashed."""

from __future__ import annotations

import json
from pathlib import Path

from recert.errors import ModelError
from recert.records import Manifest

ADAPTER_CONFIG = "adapter_config.json"
_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


def is_adapter(folder: Path) -> bool:
    """Say whether a folder holds a PEFT adapter rather than whole weights."""
    return (folder / ADAPTER_CONFIG).is_file()


def same_still(folder: Path, manifest: Manifest | None) -> None:
    """
    Return when a folder, after loading, is what was hashed before. Sizes first, as they are cheap; then every byte.

    Raises:
        ModelError: it is not.
    """
    assert manifest is not None
    try:
        changed = any((folder / f.name).stat().st_size != f.size_bytes for f in manifest.files)
    except OSError:
        changed = True
    if changed or Manifest.of_folder(folder) != manifest:
        raise ModelError("model files changed while they were loaded", facts={"folder": folder})


def hears(folder: Path) -> bool:
    """Say whether a folder in the hub's layout holds a model that takes sound itself, by its configuration."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return False
    if not isinstance(config, dict):
        return False
    inner = config.get("thinker_config")
    parts = [config, inner] if isinstance(inner, dict) else [config]
    named = any(isinstance(part.get("audio_config"), dict) for part in parts)
    return named and any((folder / name).is_file() for name in _PROCESSOR_FILES)
