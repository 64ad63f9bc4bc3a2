"""vLLM: base and tuned models in one engine, the same words as from the local one."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vllm_stand_in
from recert.errors import InputError, MissingExtraError, ModelError
from recert.models import Sampling
from recert.models.engines.engines import open_arms
from recert.models.engines.local import LocalModel
from recert.models.engines.vllm_engine import VllmModel
from recert.records.data.manifest import Manifest
from recert.records.data.suite import chat
from tiny_models import make_adapter, make_base

pytestmark = pytest.mark.xdist_group("torch")
SAMPLING = Sampling(max_new_tokens=8)
CHATS = [
    chat("How do I bake bread?"),
    chat("Bread?", system="You answer briefly."),
    chat("Which trains leave?"),
]
INSTALLED = importlib.util.find_spec("vllm") is not None


@pytest.fixture(scope="module", params=["stand-in", "vllm"])
def vllm(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test runs on the stand-in, and on vLLM where it is installed."""
    if request.param == "vllm":
        pytest.importorskip("vllm", reason="vLLM is not installed: pip install 'recert[vllm]'")
        yield
        return
    if INSTALLED:
        pytest.skip("vLLM itself is here")
    names = vllm_stand_in.install()
    yield
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny base and an adapter on it."""
    base = make_base(tmp_path_factory.mktemp("tiny") / "base")
    return base, make_adapter(tmp_path_factory.mktemp("tiny") / "adapter", base)


@pytest.fixture(scope="module")
def arms(vllm: None, folders: tuple[Path, Path]) -> tuple[Any, Any]:
    """Base and tuned model in one engine."""
    return open_arms(str(folders[0]), str(folders[1]), "vllm")


@pytest.mark.slow
def test_both_arms_say_what_the_local_engine_says(arms: tuple[Any, Any], folders: tuple[Path, Path]) -> None:
    """The same words and reasons from base and tune, and about the same log probabilities."""
    local = LocalModel.load(folders[0])
    pairs = [(one, text) for one in CHATS for text in ("Sure", "I can't help")]
    for theirs, ours in zip(arms, (local, local.with_adapter(folders[1])), strict=True):
        assert theirs.generate(CHATS, SAMPLING) == ours.generate(CHATS, SAMPLING)
        assert theirs.log_probs(pairs) == pytest.approx(ours.log_probs(pairs), abs=0.3)
        assert theirs.manifest == ours.manifest


@pytest.mark.slow
def test_arms_are_told_apart_by_what_they_say(arms: tuple[Any, Any]) -> None:
    """Fingerprints are repeatable and differ between base and tune."""
    base, tuned = arms

    assert base.fingerprint() == base.fingerprint() != tuned.fingerprint() == tuned.fingerprint()
    assert base.engine.startswith("vllm/")


def test_each_sample_is_drawn_with_a_seed_of_its_own(arms: tuple[Any, Any]) -> None:
    """Drawn replies are repeatable, do not depend on their neighbours, and differ between samples."""
    base, _ = arms
    draw = Sampling(max_new_tokens=8, temperature=1.0)

    assert base.generate(CHATS, draw) == [base.generate([one], draw)[0] for one in CHATS]
    assert base.generate(CHATS, draw) != base.generate(CHATS, draw.model_copy(update={"sample": 1}))


def test_what_does_not_fit_is_an_error(
    arms: tuple[Any, Any], folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """Too long a conversation, an adapter without LoRA, a folder that is no model: named as such."""
    base, _ = arms
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")

    assert base.generate([], SAMPLING) == []
    with pytest.raises(ModelError, match="longer than the model's context"):
        base.generate([chat("bread " * 600)], SAMPLING)
    with pytest.raises(InputError, match="adapters of this rank"):
        VllmModel.load(folders[0]).with_adapter(folders[1])
    with pytest.raises(InputError, match="such a rank"):
        VllmModel.load(folders[0], lora_rank=4096)
    with pytest.raises(ModelError, match="cannot load"):
        VllmModel.load(broken)


def test_without_vllm_the_error_says_how_to_get_it(folders: tuple[Path, Path]) -> None:
    """A missing extra is named with the command that installs it."""
    if INSTALLED or "vllm" in sys.modules:
        pytest.skip("vLLM is here")
    with pytest.raises(MissingExtraError) as caught:
        VllmModel.load(folders[0])

    assert "recert[vllm]" in caught.value.hint


def test_manifests_are_of_the_folders(arms: tuple[Any, Any], folders: tuple[Path, Path]) -> None:
    """What is certified is what was hashed: base and adapter each."""
    assert tuple(arm.manifest for arm in arms) == tuple(map(Manifest.of_folder, folders))
