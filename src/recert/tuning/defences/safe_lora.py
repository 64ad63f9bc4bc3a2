"""
Safe LoRA: after training, updates that leave the direction of alignment are projected onto it, layer by layer.

Source: Hsu et al. 2024, arXiv:2405.16833, "Safe LoRA: the silver lining of reducing safety risks when fine-tuning large
language models". With V the aligned model's weights of a layer minus those of the unaligned model, the update D = B
A becomes C D, C = V V' / ||V||, where the cosine of C D and D is below a threshold; else it stays. C B takes B's
place, so that the adapter stays an adapter. Every layer is projected once at most, from the update as it was
trained: in one mode of the published code layers are first projected to be ranked, and those that are chosen are
projected again.

C is no projection in the strict sense: it scales by how strong each direction of V is. `projection=orthogonal` is
one, onto the strongest directions of V that hold the share `energy` of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from recert.errors import InputError, ModelError, StoreError
from recert.models.embedded import resolve
from recert.records.data.manifest import Manifest
from recert.records.data.rows import ChatRow
from recert.tuning.defences.defended import Defence, Defended, Figures
from recert.tuning.defences.options import DefenceOptions

WEIGHTS = "adapter_model.safetensors"
_A, _B = ".lora_A.weight", ".lora_B.weight"
_HEAD = "base_model.model."


class Options(DefenceOptions):
    """Which model is the unaligned one, and which layers are projected how."""

    unaligned: str = ""
    """The base as it was before alignment: a folder, a hub id, or `embedded:smollm2`."""
    threshold: float = Field(default=0.35, ge=-1, le=1)
    """Layers whose update and its projection have a smaller cosine are projected."""
    layers: int = Field(default=0, ge=0)
    """Project this many layers, those with the smallest cosine, whatever the threshold; 0 to go by the threshold."""
    projection: Literal["paper", "orthogonal"] = "paper"
    energy: float = Field(default=0.9, gt=0, le=1)

    def recorded(self) -> dict[str, str | int | float]:
        """Return every option; a folder by its name, as its digest stands among the details."""
        name = Path(self.unaligned).name if Path(self.unaligned).is_dir() else self.unaligned
        return super().recorded() | {"unaligned": name}


def prepare(rows: Sequence[ChatRow], seed: int, options: Options) -> Defended:
    """
    Return the rows as they are, and the digest of the unaligned model.

    Raises:
        InputError: none is given.
        ModelError: there is no such model.
    """
    del seed
    return Defended(
        rows=tuple(rows), details={"unaligned_sha256": Manifest.of_folder(_unaligned(options)).digest}
    )


def check(base_dir: Path, options: Options) -> None:
    """
    Return when the unaligned model has the base's layers with the same shapes, and other weights.

    Raises:
        InputError: it has not.
    """
    folder = _unaligned(options)
    base, other = _Weights(base_dir), _Weights(folder)
    facts = {"base": base_dir, "unaligned": folder}
    if Manifest.of_folder(base_dir) == Manifest.of_folder(folder):
        raise InputError("the unaligned model is the base itself", facts=facts)
    apart = [name for name in base.names if base.shape(name) != other.shape(name)]
    if apart:
        raise InputError(
            "the unaligned model has other layers than the base",
            facts={
                **facts,
                "layer": apart[0],
                "base has": base.shape(apart[0]),
                "it has": other.shape(apart[0]),
            },
            hint="give the model that the base was aligned from",
        )


def after(base_dir: Path, adapter_dir: Path, options: Options) -> Figures:
    """
    Project the adapter in its folder, and return how many layers were projected.

    Raises:
        ModelError: a layer of the adapter is none of the base.
        StoreError: the adapter cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    base, other = _Weights(base_dir), _Weights(_unaligned(options))
    tensors = load_file(adapter_dir / WEIGHTS)
    layers = [name.removesuffix(_B) for name in tensors if name.endswith(_B)]
    readings = {}
    for layer in layers:
        weight = f"{layer.removeprefix(_HEAD)}.weight"
        if not base.shape(weight):
            raise ModelError("a layer of the adapter is none of the base", facts={"layer": layer})
        direction = base.read(weight) - other.read(weight)
        readings[layer] = project(direction, tensors[layer + _B], tensors[layer + _A], options)
    chosen = choose({layer: cosine for layer, (_, cosine) in readings.items()}, options)
    for layer in chosen:
        b = tensors[layer + _B]
        tensors[layer + _B] = readings[layer][0].to(b.dtype).contiguous()
    try:
        save_file(tensors, adapter_dir / WEIGHTS, metadata={"format": "pt"})
    except (SafetensorError, OSError) as exc:
        raise StoreError("cannot write the adapter", facts={"folder": adapter_dir, "because": exc}) from exc
    cosines = [cosine for _, cosine in readings.values() if cosine is not None]
    return {
        "layers": len(layers),
        "projected_layers": len(chosen),
        "layers_without_direction": len(layers) - len(cosines),
        "mean_cosine": round(sum(cosines) / len(cosines), 4) if cosines else 0.0,
    }


def project(direction: Any, b: Any, a: Any, options: Options) -> tuple[Any, float | None]:
    """
    Return the projected B of an update B A, and the cosine of the projected update and the update.

    Args:
        direction: aligned minus unaligned weights, shape (out, in).
        b: shape (out, rank).
        a: shape (rank, in).
        options: which projection.

    Returns:
        B in float32, and the cosine; None where the layer was not aligned, or its update is nothing.
    """
    import torch

    v, b, a = direction.float(), b.float(), a.float()
    size = torch.linalg.matrix_norm(v)
    if float(size) == 0.0:
        return b, None
    if options.projection == "orthogonal":
        left, strength, _ = torch.linalg.svd(v, full_matrices=False)
        share = (strength**2).cumsum(0) / (strength**2).sum()
        left = left[:, : int((share < options.energy).sum()) + 1]
        projected = left @ (left.T @ b)
    else:
        projected = v @ (v.T @ b) / size
    update, moved = b @ a, projected @ a
    sizes = torch.linalg.matrix_norm(update) * torch.linalg.matrix_norm(moved)
    if float(torch.linalg.matrix_norm(update)) == 0.0:
        return b, None
    return projected, float((update * moved).sum() / sizes) if float(sizes) > 0.0 else 0.0


def choose(cosines: dict[str, float | None], options: Options) -> list[str]:
    """Return which layers are projected: those below the threshold, or as many as asked for from the smallest on."""
    known = {layer: cosine for layer, cosine in cosines.items() if cosine is not None}
    if options.layers:
        return sorted(known, key=lambda layer: (known[layer], layer))[: options.layers]
    return [layer for layer, cosine in known.items() if cosine < options.threshold]


class _Weights:
    """The tensors of a model folder, read one at a time."""

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        self._files: dict[str, Path] = {}
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, "pt") as file:
                self._files |= dict.fromkeys(file.keys(), path)
        self.names = sorted(self._files)

    def shape(self, name: str) -> list[int]:
        """A tensor's shape; empty where there is none of that name."""
        from safetensors import safe_open

        if name not in self._files:
            return []
        with safe_open(self._files[name], "pt") as file:
            return list(file.get_slice(name).get_shape())

    def read(self, name: str) -> Any:
        """A tensor in float32."""
        from safetensors import safe_open

        with safe_open(self._files[name], "pt") as file:
            return file.get_tensor(name).float()


def _unaligned(options: Options) -> Path:
    if not options.unaligned:
        raise InputError(
            "safe-lora needs the base as it was before alignment",
            hint="give --defence-option unaligned=MODEL: a folder, a hub id, or embedded:smollm2 for embedded:aligned",
        )
    return resolve(options.unaligned)


DEFENCE = Defence(
    name="safe-lora",
    paper="Hsu et al. 2024, arXiv:2405.16833",
    cost="the unaligned model must be there; a pass over the layers after training; what the task learned in "
    "projected layers",
    breaks="updates that lie in the direction of alignment and turn it round: a cosine of C D and D says how "
    "much of an update is "
    "in the directions of alignment, not which way it goes; triggers",
    prepare=prepare,
    options=Options,
    check=check,
    after=after,
    methods=("sft", "dpo"),
    trains=("lora",),
)
