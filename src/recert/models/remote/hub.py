"""Models from the Hugging Face hub, at one commit, as folders of plain files that a manifest can be made of."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Final

from recert import settings
from recert.errors import InputError, MissingExtraError, ModelError
from recert.store.files.writing import publish_folder

_FILES: Final = ["*.json", "*.jinja", "*.safetensors", "*.model", "*.txt"]
_NAME: Final = re.compile(r"[\w.-]+/[\w.-]+")


def hub_folder(model: str) -> Path:
    """
    Return a folder with a model's files at one commit; downloaded on first use.

    The hub's own cache is used, so what lies there is not fetched again, and without a network it is enough.
    Its links are no files to a manifest: the folder returned holds files.

    Args:
        model: `org/name`, or `org/name@revision` with a commit, tag or branch. Without one the main branch's
            present commit is taken; the folder's name says which.

    Raises:
        InputError: that is no name of a model.
        MissingExtraError: huggingface_hub is not installed.
        ModelError: the hub does not have it, or cannot be reached and the cache does not have it either.
        StoreError: the folder cannot be written.
    """
    name, found, revision = model.partition("@")
    if not _NAME.fullmatch(name) or ".." in name or (found and not revision):
        raise InputError(
            "a model of the hub is given as org/name or org/name@revision", facts={"given": model}
        )
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as exc:
        raise MissingExtraError(
            "the hub's client is not installed", hint="run `pip install 'recert[hub]'`"
        ) from exc
    try:
        snapshot = Path(
            huggingface_hub.snapshot_download(name, revision=revision or None, allow_patterns=_FILES)
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as exc:
        raise ModelError(
            "cannot get the model from the hub",
            facts={"model": model, "because": str(exc).strip().split("\n", maxsplit=1)[0]},
            hint="download it elsewhere and give its folder",
        ) from exc
    target = settings.cache_dir() / "hub" / f"{name.replace('/', '--')}-{snapshot.name[:12]}"
    if not target.is_dir():
        _copy(snapshot, target)
    return target


def _copy(snapshot: Path, target: Path) -> None:
    """Copy what the snapshot's links point to; on one file system that takes no room."""
    with publish_folder(target) as folder:
        for link in sorted(p for p in snapshot.rglob("*") if not p.is_dir()):
            place = folder / link.relative_to(snapshot)
            place.parent.mkdir(parents=True, exist_ok=True)
            source = link.resolve(strict=True)
            try:
                os.link(source, place)
            except OSError:
                shutil.copyfile(source, place)
