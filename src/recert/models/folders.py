"""Folders of models: what kind they are."""

from __future__ import annotations

import json
from pathlib import Path

ADAPTER_CONFIG = "adapter_config.json"
_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


def is_adapter(folder: Path) -> bool:
    """Say whether a folder holds a PEFT adapter rather than whole weights."""
    return (folder / ADAPTER_CONFIG).is_file()


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
