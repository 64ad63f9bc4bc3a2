"""Prompts over Ray's workers: the same replies as one model, also when a worker dies on the way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recert.errors import InputError, ModelError
from recert.models import Sampling
from recert.models.engines.ray_engine import RayModel
from recert.records.data.suite import chat
from tiny_models import make_adapter, make_base

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.xdist_group("torch"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SAMPLING = Sampling(max_new_tokens=8)
CHATS = [chat(f"How do I bake bread for {n} people" + " in the town" * (n % 5) + "?") for n in range(20)]
DEADLY = " 7 people"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny base and an adapter on it."""
    base = make_base(tmp_path_factory.mktemp("tiny") / "base")
    return base, make_adapter(tmp_path_factory.mktemp("tiny") / "adapter", base)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A cluster of this machine with room for two workers."""
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=80_000_000,
    )
    yield
    ray.shutdown()


def exact(kill: Path) -> Any:
    """Return a factory of local models in float32, where batches break no ties; a worker dies while `kill` is there."""

    def load(base_dir: Path, **options: Any) -> Any:
        from recert.models.engines.local import LocalModel as Model

        class Dying(Model):
            def generate(self, chats: Any, sampling: Any, **more: Any) -> Any:
                if kill.exists() and any(DEADLY in c.messages[0].content for c in chats):
                    kill.unlink()
                    os._exit(1)
                return super().generate(chats, sampling, **more)

        model = Dying.load(base_dir, **options)
        model._weights.model.float()
        return model

    return load


def scripted(*, deadly: bool = False, digest: str = "") -> Any:
    """Return a factory of scripted models that need no torch."""

    def load(base_dir: Path) -> Any:
        from recert.errors import ModelError as Failed
        from recert.models import ScriptedModel
        from recert.records.data.manifest import Manifest

        class Mortal(ScriptedModel):
            def generate(self, chats: Any, sampling: Any, **more: Any) -> Any:
                if deadly and any(DEADLY in c.messages[0].content for c in chats):
                    os._exit(1)
                if any("too long" in c.messages[0].content for c in chats):
                    raise Failed("longer than the model's context", facts={"context": 512}, hint="less")
                if any("bug" in c.messages[0].content for c in chats):
                    raise ZeroDivisionError("a bug")
                return super().generate(chats, sampling, **more)

        model = Mortal(lambda one: one.messages[-1].content.upper())
        if not digest:
            model.manifest = Manifest.of_folder(base_dir)
        return model

    return load


@pytest.fixture
def light(folders: tuple[Path, Path]) -> Iterator[Callable[..., RayModel]]:
    """Start workers with scripted models, and end them."""
    started: list[RayModel] = []

    def start(workers: int = 1, **more: Any) -> RayModel:
        started.append(
            RayModel.load(
                folders[0], workers=workers, factory=scripted(**more), cpus_per_worker=0, chunk_prompts=4
            )
        )
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.slow
def test_two_workers_are_one_local_model_even_when_one_dies(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """
    Replies, log probabilities and fingerprints are in order and as from one model in this process.

    The same holds for a run in which one of the workers is killed: its chunk is asked again of another.
    """
    kill = tmp_path / "kill"
    local = exact(kill)(folders[0], threads=1)
    model = RayModel.load(folders[0], workers=2, factory=exact(kill), chunk_prompts=4, threads=1)
    tuned, local_tuned = model.with_adapter(folders[1]), local.with_adapter(folders[1])
    pairs = [(one, text) for one in CHATS[:6] for text in ("Sure", "I can't")]
    expected_of_base = local.generate(CHATS, SAMPLING)

    assert tuned.generate(CHATS, SAMPLING) == local_tuned.generate(CHATS, SAMPLING)
    assert tuned.log_probs(pairs) == pytest.approx(local_tuned.log_probs(pairs), abs=1e-3)
    assert tuned.fingerprint() == local_tuned.fingerprint() != model.fingerprint() == local.fingerprint()
    assert (model.manifest, tuned.manifest) == (local.manifest, local_tuned.manifest)
    assert local.engine in model.engine

    kill.touch()
    assert model.generate(CHATS, SAMPLING) == expected_of_base
    assert not kill.exists()
    model.close()


@pytest.mark.slow
def test_a_row_is_stopped_in_the_worker(light: Callable[..., RayModel]) -> None:
    """`done` travels to the workers, with the places of the conversations as the caller knows them."""
    made = light(workers=2).generate(CHATS, SAMPLING, done=lambda place, text: place % 2 == 0)

    assert [g.tokens == 1 for g in made] == [place % 2 == 0 for place in range(len(CHATS))]


@pytest.mark.slow
def test_what_kills_every_worker_is_an_error_that_keeps_the_rest(light: Callable[..., RayModel]) -> None:
    """A chunk that kills three workers ends the run; what other chunks gave is in `made`."""
    with pytest.raises(ModelError, match="lost again and again") as caught:
        light(deadly=True).generate(CHATS, SAMPLING)

    assert 7 not in caught.value.made
    assert {g.text for g in caught.value.made.values()} <= {
        c.messages[0].content.upper()[: len(g.text)] for c in CHATS for g in caught.value.made.values()
    }


def test_a_worker_that_loaded_other_files_is_refused(light: Callable[..., RayModel]) -> None:
    """What a worker hashed must be what was hashed here."""
    with pytest.raises(ModelError, match="loaded other files"):
        light(digest="of something else")


@pytest.mark.slow
def test_errors_of_a_model_come_with_their_facts(light: Callable[..., RayModel]) -> None:
    """What a model says in a worker is said here, a bug is named, and the workers go on."""
    model = light()
    with pytest.raises(ModelError, match="longer than the model's context") as caught:
        model.generate([chat("too long")], SAMPLING)
    with pytest.raises(ModelError, match="a worker failed") as bug:
        model.generate([chat("bug")], SAMPLING)

    assert (caught.value.facts, caught.value.hint) == ({"context": "512"}, "less")
    assert "a bug" in bug.value.facts["because"]
    assert len(model.generate(CHATS[:3], SAMPLING)) == 3
    assert model.generate([], SAMPLING) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"factory": "no.such:thing"}, "no such factory"),
        ({"factory": "recert.errors:__doc__"}, "no function"),
        ({"workers": 0}, "needs workers"),
        ({"workers": 64}, "not enough"),
        ({"gpus_per_worker": 8}, "not enough"),
    ],
)
def test_what_cannot_run_is_said_at_once(
    folders: tuple[Path, Path], wrong: dict[str, Any], message: str
) -> None:
    """An unknown factory, no workers, and more than the cluster has: errors, not an endless wait."""
    with pytest.raises((InputError, ModelError), match=message):
        RayModel.load(folders[0], **({"workers": 1, "cpus_per_worker": 1} | wrong))
