"""The folder of an audio language model: a projector, perhaps an adapter, and which base and encoder they go with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from recert.errors import ModelError
from recert.models.audio.projector import Projector, ProjectorShape
from recert.records.data.manifest import Sha256
from recert.records.record import Part
from recert.store.files.writing import publish_folder, read_bytes, write_atomic

CONFIG_FILE: Final = "audio_config.json"
PROJECTOR_FILE: Final = "projector.safetensors"
ADAPTER_FOLDER: Final = "adapter"


class AudioConfig(Part):
    """What a projector goes with. Digests decide; names are for people."""

    base_name: str = Field(min_length=1)
    base_digest: Sha256
    """Of the base's manifest."""
    encoder_name: str = Field(min_length=1)
    encoder_digest: Sha256
    projector: ProjectorShape


def write_audio_model(
    folder: Path, config: AudioConfig, projector: Projector, *, adapter: Path | None = None
) -> None:
    """
    Write an audio model into a new folder, whole or not at all.

    Args:
        folder: where to; must not be there.
        config: what the projector goes with.
        projector: in float16 on disk.
        adapter: folder of a PEFT adapter for the base, copied.

    Raises:
        StoreError: the folder cannot be written.
    """
    import torch
    from safetensors.torch import save_file

    halves = {
        name: part.detach().to(torch.float16).contiguous() for name, part in projector.state_dict().items()
    }
    with publish_folder(folder) as there:
        save_file(halves, there / PROJECTOR_FILE, metadata={"format": "pt"})
        write_atomic(there / CONFIG_FILE, (config.model_dump_json(indent=1) + "\n").encode())
        for path in sorted(adapter.rglob("*")) if adapter is not None else ():
            if path.is_file() and adapter is not None:
                write_atomic(there / ADAPTER_FOLDER / path.relative_to(adapter), path.read_bytes())


def read_config(folder: Path) -> AudioConfig:
    """
    Return what an audio model's folder says it goes with.

    Raises:
        ModelError: it says nothing that can be read.
        StoreError: the file is not there.
    """
    data = read_bytes(folder / CONFIG_FILE, "audio model's configuration")
    try:
        return AudioConfig.model_validate_json(data)
    except ValidationError as exc:
        first = exc.errors()[0]
        raise ModelError(
            "audio model's configuration is damaged",
            facts={"file": folder / CONFIG_FILE, "because": first["msg"]},
        ) from exc


def read_projector(folder: Path, shape: ProjectorShape) -> Projector:
    """
    Return the projector of a folder, ready to use.

    Raises:
        ModelError: it cannot be read or has another shape than the configuration says.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    projector = Projector(shape)
    try:
        held = load_file(folder / PROJECTOR_FILE)
        projector.load_state_dict({name: part.float() for name, part in held.items()})
    except (OSError, SafetensorError, RuntimeError, ValueError) as exc:
        raise ModelError(
            "cannot load the projector",
            facts={"file": folder / PROJECTOR_FILE, "because": str(exc).strip().split("\n")[0]},
        ) from exc
    projector.eval()
    return projector
