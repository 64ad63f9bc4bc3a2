"""Where a world is: a finished demo with the embedded base, or a folder in its layout with a base of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from red_team_cases.desks import World

if TYPE_CHECKING:
    from recert.models import Model
    from recert.records.data.suite import Suite


def open_world(
    folder: Path,
    *,
    arms: Callable[[Path, Path], tuple[Model, Model]] | None = None,
    suites: Mapping[str, Suite] | None = None,
) -> World:
    """
    Return the world in a folder. One with a `base` and a `policy.toml` of its own has no weights that can be loaded.

    Args:
        folder: of `make demo`, or in its layout.
        arms: made-up models, for a world without weights.
        suites: prompts that these answer, by name.
    """
    folder = folder.resolve()
    if (folder / "base").is_dir():
        return World(folder, folder / "base", str(folder / "policy.toml"), arms, suites=suites)
    from recert.models.embedded import aligned_base

    return World(folder, aligned_base(), "demo", arms or _local_arms, weights=True)


def _local_arms(base_dir: Path, tuned_dir: Path) -> tuple[Model, Model]:
    base = _base(base_dir)
    return base, base.with_adapter(tuned_dir)  # type: ignore[attr-defined]


@lru_cache(maxsize=1)
def _base(folder: Path) -> Model:
    from recert.models.engines.local import LocalModel

    return LocalModel.load(folder, name="aligned base")
