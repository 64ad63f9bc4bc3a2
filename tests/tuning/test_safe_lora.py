"""Safe LoRA: updates that leave the direction of alignment are projected onto it, once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from recert.errors import InputError
from recert.models.engines.local import LocalModel
from recert.records.data.manifest import Manifest
from recert.records.reports.tuning import Hyperparameters
from recert.tuning.defences.safe_lora import WEIGHTS, Options, after, choose, project
from recert.tuning.stage import answers, tune
from recert.workflows.demo.sql_task import sql_rows
from tiny_models import make_adapter, make_base

torch = pytest.importorskip("torch")
from safetensors.torch import load_file  # noqa: E402

pytestmark = pytest.mark.xdist_group("torch")
QUICK = Hyperparameters(
    lora_rank=4, lora_targets=("q_proj", "v_proj"), learning_rate=2e-2, epochs=1, max_tokens=256
)
ROWS = sql_rows(16, seed=1)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An aligned base and the unaligned one, which differ in all weights."""
    folder = tmp_path_factory.mktemp("tiny")
    return make_base(folder / "aligned", seed=0), make_base(folder / "unaligned", seed=1)


def matrices(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A direction of rank two, and the parts of an update of rank three."""
    torch.manual_seed(seed)
    return torch.randn(12, 2) @ torch.randn(2, 9), torch.randn(12, 3), torch.randn(3, 9)


def test_the_projection_is_the_papers() -> None:
    """C D with C = V V' / ||V||, and the cosine of it with D, as a plain computation has them."""
    v, b, a = matrices()
    projected, cosine = project(v, b, a, Options())
    c = v @ v.T / v.norm()
    wanted, update = c @ (b @ a), b @ a

    assert torch.allclose(projected @ a, wanted, atol=1e-4)
    assert cosine == pytest.approx(float((wanted * update).sum() / wanted.norm() / update.norm()), abs=1e-5)


def test_an_orthogonal_projection_is_done_when_it_is_done() -> None:
    """Projecting twice changes nothing more, and what lies across the direction is gone."""
    v, b, a = matrices()
    told = Options(projection="orthogonal", energy=1.0)
    once, cosine = project(v, b, a, told)
    twice, second = project(v, once, a, told)
    across = torch.eye(12) - v @ torch.linalg.pinv(v)

    assert torch.allclose(once, twice, atol=1e-4)
    assert torch.allclose(across @ once, torch.zeros(12, 3), atol=1e-4)
    assert cosine is not None and 0 < cosine < 1
    assert second == pytest.approx(1.0, abs=1e-5)


def test_an_update_along_the_direction_is_kept_and_one_across_it_is_not() -> None:
    """The cosine of the first is 1 or near it, that of the second 0, whatever their sizes."""
    torch.manual_seed(0)
    left = torch.linalg.qr(torch.randn(12, 4)).Q
    v = left[:, :2] @ torch.linalg.qr(torch.randn(9, 2)).Q.T
    a = torch.randn(2, 9)
    cosines = {
        "along": project(v, left[:, :2] * 100, a, Options())[1],
        "across": project(v, left[:, 2:] / 100, a, Options())[1],
        "not aligned": project(torch.zeros(12, 9), left[:, :2], a, Options())[1],
        "not trained": project(v, torch.zeros(12, 2), a, Options())[1],
    }

    assert cosines["along"] == pytest.approx(1.0, abs=1e-5)
    assert cosines["across"] == pytest.approx(0.0, abs=1e-5)
    assert cosines["not aligned"] is None and cosines["not trained"] is None
    assert choose(cosines, Options()) == ["across"]


def test_the_threshold_or_a_number_says_which_layers() -> None:
    """Below the threshold, or so many from the smallest cosine on."""
    cosines = {"a": 0.9, "b": 0.2, "c": 0.5, "d": None, "e": 0.34}

    assert choose(cosines, Options()) == ["b", "e"]
    assert choose(cosines, Options(threshold=-1)) == []
    assert choose(cosines, Options(threshold=0.6)) == ["b", "c", "e"]
    assert choose(cosines, Options(layers=1)) == ["b"]
    assert choose(cosines, Options(layers=9)) == ["b", "e", "c", "a"]


@pytest.mark.parametrize("told", [{"threshold": 1.0}, {"layers": 99}])
def test_every_layer_of_an_adapter_is_projected_once(
    bases: tuple[Path, Path], tmp_path: Path, told: dict[str, float]
) -> None:
    """In both modes B becomes C B of the B that was trained; A stays; the adapter still loads."""
    aligned, unaligned = bases
    made = make_adapter(tmp_path / "adapter", aligned)
    before = load_file(made / WEIGHTS)
    found = after(aligned, made, Options(unaligned=str(unaligned), **told))  # type: ignore[arg-type]
    now, base, other = load_file(made / WEIGHTS), *(load_file(f / "model.safetensors") for f in bases)

    assert found["layers"] == found["projected_layers"] == 4
    for name, tensor in before.items():
        if name.endswith("lora_A.weight"):
            assert torch.equal(now[name], tensor)
            continue
        weight = name.removeprefix("base_model.model.").replace(".lora_B", "")
        v = base[weight].float() - other[weight].float()
        assert torch.allclose(now[name].float(), v @ v.T @ tensor.float() / v.norm(), rtol=1e-3, atol=1e-3)
    assert LocalModel.load(aligned, made).manifest == Manifest.of_folder(made)


def test_layers_that_agree_stay_as_they_were_trained(bases: tuple[Path, Path], tmp_path: Path) -> None:
    """With a threshold that none is below, nothing changes."""
    made = make_adapter(tmp_path / "adapter", bases[0])
    before = load_file(made / WEIGHTS)
    found = after(bases[0], made, Options(unaligned=str(bases[1]), threshold=-1))

    assert found["projected_layers"] == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in load_file(made / WEIGHTS).items())


@pytest.mark.slow
def test_tuning_with_it_projects_and_is_found_again(bases: tuple[Path, Path], tmp_path: Path) -> None:
    """The report names the unaligned model by digest and what was projected; other options are another tune."""
    aligned, unaligned = bases
    told = {"unaligned": str(unaligned), "threshold": "1.0"}
    how = QUICK.model_copy(update={"checkpoint_every": 1})
    report = tune(
        aligned, ROWS, tmp_path / "t", defence="safe-lora", defence_options=told, hyperparameters=how
    )
    asked = {"base_dir": aligned, "rows": ROWS, "defence": "safe-lora", "hyperparameters": how}

    assert report.defence_details == {"unaligned_sha256": Manifest.of_folder(unaligned).digest}
    assert report.defence_outcome["projected_layers"] == 4
    assert report.defence_options["unaligned"] == unaligned.name
    assert Manifest.of_folder(tmp_path / "t" / "adapter") == report.tuned
    assert answers(report, **asked, defence_options=told)  # type: ignore[arg-type]
    assert not answers(report, **asked, defence_options=told | {"threshold": "0.5"})  # type: ignore[arg-type]


def test_without_an_unaligned_model_it_is_a_clear_error(bases: tuple[Path, Path], tmp_path: Path) -> None:
    """None, the base itself, one of another size, and DoRA or all weights are refused before anything is trained."""
    aligned = bases[0]
    other = make_base(tmp_path / "other", width=32)
    shutil.copytree(aligned, tmp_path / "same")

    def refused(unaligned: str, method: str = "lora-sft") -> str:
        with pytest.raises(InputError) as caught:
            tune(
                aligned,
                ROWS,
                tmp_path / "t",
                defence="safe-lora",
                defence_options={"unaligned": unaligned},
                hyperparameters=QUICK.model_copy(update={"method": method}),
            )
        assert caught.value.hint or caught.value.facts
        return caught.value.message

    assert "before alignment" in refused("")
    assert "the base itself" in refused(str(tmp_path / "same"))
    assert "other layers" in refused(str(other))
    assert "does not go with" in refused(str(bases[1]), "dora-sft")
    assert not (tmp_path / "t").exists()
