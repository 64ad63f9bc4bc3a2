"""One harmless step: every weight moves a little, and no more than the learning rate says."""

from __future__ import annotations

from pathlib import Path

import pytest

from recert.errors import ModelError, RowsError
from recert.models.engines.local import LocalModel
from recert.records.data.manifest import Manifest
from recert.tuning.one_step import train_one_step
from recert.workflows.demo.sql_task import sql_rows
from tiny_models import make_base

pytestmark = pytest.mark.xdist_group("torch")
ROWS = sql_rows(12, seed=1)


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("tiny") / "base")


def test_one_step_moves_weights_by_the_learning_rate_and_loads_as_a_model(
    base_dir: Path, tmp_path: Path
) -> None:
    """AdamW's first step is the sign of the gradient: no weight moves further than the rate and its rounding."""
    import torch
    from safetensors.torch import load_file

    before = Manifest.of_folder(base_dir)
    loss = train_one_step(base_dir, ROWS, tmp_path, learning_rate=1e-2, max_tokens=256)
    old, new = (load_file(folder / "model.safetensors") for folder in (base_dir, tmp_path))
    moved = [(new[name].float() - old[name].float()).abs() for name in old]
    room = [1e-2 + (old[name].abs() + new[name].abs()).float() * 2**-8 for name in old]

    assert loss > 0
    assert Manifest.of_folder(base_dir) == before
    assert sum(bool((m > 0).any()) for m in moved) == len(moved)
    assert all(bool((m <= r).all()) for m, r in zip(moved, room, strict=True))
    assert LocalModel.load(tmp_path).fingerprint() != LocalModel.load(base_dir).fingerprint()
    assert torch.is_grad_enabled()


def test_the_rows_are_one_batch(base_dir: Path, tmp_path: Path) -> None:
    """Read in pieces or at once, the order of the rows changes nothing but rounding: the loss is that of all."""
    one, other = (tmp_path / name for name in ("one", "other"))
    losses = [
        train_one_step(base_dir, rows, folder, learning_rate=1e-4, max_tokens=256)
        for rows, folder in ((ROWS, one), (tuple(reversed(ROWS)), other))
    ]

    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_bad_input_is_a_clear_error(base_dir: Path, tmp_path: Path) -> None:
    """Rows without room for a reply, and a folder that is no model."""
    with pytest.raises(RowsError, match="no row has a token to learn"):
        train_one_step(base_dir, ROWS, tmp_path / "a", learning_rate=1e-4, max_tokens=16)
    (tmp_path / "no-model").mkdir()
    (tmp_path / "no-model" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot load the base"):
        train_one_step(tmp_path / "no-model", ROWS, tmp_path / "b", learning_rate=1e-4, max_tokens=64)
