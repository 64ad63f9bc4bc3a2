"""From a few words to a model, and plain errors for words that name none."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from http_endpoints import endpoint, reply
from recert.errors import InputError, MissingExtraError, ModelError, RecertError
from recert.models import Sampling
from recert.models.engines.engines import SETTINGS, open_arms, open_model, read_spec
from recert.records.data.manifest import Manifest
from recert.records.data.suite import chat
from tiny_models import make_adapter, make_base

pytestmark = pytest.mark.xdist_group("torch")
HUB_NAME = "org/tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny base and an adapter on it."""
    base = make_base(tmp_path_factory.mktemp("tiny") / "base")
    return base, make_adapter(tmp_path_factory.mktemp("tiny") / "adapter", base)


def test_folders_are_opened_by_the_local_engine(folders: tuple[Path, Path]) -> None:
    """Base and adapter become two arms on one base, merged weights a model of their own."""
    base, tuned = open_arms(str(folders[0]), str(folders[1]))
    _, merged = open_arms(str(folders[0]), str(folders[0]), "local,threads=1")

    assert (base.manifest, tuned.manifest) == tuple(map(Manifest.of_folder, folders))
    assert base.fingerprint() != tuned.fingerprint()
    assert base.fingerprint() == merged.fingerprint() == open_model(f"local:{folders[0]}").fingerprint()
    assert (base.name, tuned.name) == ("base", "adapter")


def test_an_endpoint_is_opened_with_its_settings() -> None:
    """Address and name around the last `#`; limits, prices and a budget after commas."""
    with endpoint(lambda body, n: reply(body["model"])) as (url, asked):
        spec = f"openai:{url}#org/name:tag,requests_per_minute=6000,input_price=1,output_price=2,most_cost=0.0002"
        model = open_model(spec)
        said = model.generate([chat("hello")], Sampling(max_new_tokens=3))
        with pytest.raises(ModelError, match="budget is spent") as caught:
            model.generate([chat("hello again " * 40)], Sampling(max_new_tokens=100))

    assert said[0].text == "org/name:tag"
    assert len(asked) == 1
    assert caught.value.facts["most cost"] == "0.0002 USD"


def test_two_endpoints_are_two_arms() -> None:
    """A hosted base and its tune, each with a name of its own and no files."""
    with endpoint(lambda body, n: reply(body["model"])) as (url, _):
        base, tuned = open_arms(f"openai:{url}#base", f"openai:{url}#tuned")

        assert [m.generate([chat("x")], Sampling())[0].text for m in (base, tuned)] == ["base", "tuned"]
        assert base.manifest is tuned.manifest is None


def test_a_batch_endpoint_is_opened_by_its_file(tmp_path: Path) -> None:
    """`batch=FILE` asks through the batch API."""
    model = open_model(f"openai:https://api.example.com/v1#name,batch={tmp_path / 'ids.json'}")

    assert model.engine == "endpoint-batch/api.example.com"


def test_inspect_is_opened_by_provider_and_model() -> None:
    """What follows `inspect:` is what `inspect eval --model` takes."""
    pytest.importorskip("inspect_ai")

    assert open_model("inspect:mockllm/model,concurrency=3").name == "mockllm/model"


@pytest.mark.parametrize(("engine", "package"), [("vllm", "vllm"), ("ray", "ray")])
def test_an_engine_that_is_not_installed_says_how(
    folders: tuple[Path, Path], engine: str, package: str
) -> None:
    """A missing extra is named, with the command that installs it."""
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(MissingExtraError) as caught:
        open_arms(str(folders[0]), str(folders[1]), engine)

    assert f"recert[{engine}]" in caught.value.hint


def test_a_model_of_the_hub_is_a_folder_of_files_at_one_commit(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """
    What lies in the hub's cache is used without a network; a commit that does not lie there is an error.

    The hub's links become files, so that a manifest can be made of them.
    """
    repository = tmp_path / "hub" / "models--org--tiny"
    snapshot = repository / "snapshots" / COMMIT
    (repository / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for number, file in enumerate(sorted(folders[0].iterdir())):
        blob = repository / "blobs" / f"{number:064x}"
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
    code = f"""
import json
from recert.errors import ModelError
from recert.models.embedded import resolve
said = [str(resolve(name)) for name in ("hub:{HUB_NAME}", "{HUB_NAME}", "hub:{HUB_NAME}@{COMMIT}")]
try:
    resolve("hub:{HUB_NAME}@{COMMIT[::-1]}")
except ModelError as error:
    said.append(error.message)
print(json.dumps(said))
"""
    given = {
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": "1",
        "RECERT_CACHE": str(tmp_path / "c"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **given}
    )
    *found, error = json.loads(done.stdout)

    assert len(set(found)) == 1
    assert COMMIT[:12] in found[0]
    assert not any(p.is_symlink() for p in Path(found[0]).iterdir())
    assert Manifest.of_folder(Path(found[0])).digest == Manifest.of_folder(folders[0]).digest
    assert error == "cannot get the model from the hub"
    assert open_model(f"local:{found[0]}").manifest == Manifest.of_folder(folders[0])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gpu", "no such engine"),
        ("openai", "no such engine"),
        ("openai:https://x/v1", "openai:URL#model"),
        ("openai:#m", "openai:URL#model"),
        ("openai:ftp://x#m", "http or https"),
        ("openai:https://x/v1#m,speed=9", "no such setting"),
        ("openai:https://x/v1#m,concurrency=many", "another kind"),
        ("openai:https://x/v1#m,timeout_s=-1", "out of range"),
        ("openai:https://x/v1#m,timeout_s=nan", "out of range"),
        ("openai:https://x/v1#m,most_cost=5", "needs prices"),
        ("openai:https://x/v1#m,most_tokens=0", "above zero"),
        ("ray,workers=2", "needs a model"),
        ("ray:folder,workers=2,workers=3", "given twice"),
        ("vllm:folder,enforce_eager=yes", "another kind"),
        ("hub:../../etc", "no such model"),
        ("hub:a/b@", "org/name@revision"),
        ("inspect:gpt", "provider/model"),
    ],
)
def test_what_names_no_model_is_a_clear_error(spec: str, message: str) -> None:
    """An unknown engine, setting or value is named before anything is loaded or asked."""
    with pytest.raises(RecertError, match=message):
        open_model(spec)


@given(st.text(max_size=60))
@example("local,threads=")
@example("openai:https://x/v1#m,batch=a,b=c")
def test_any_text_is_a_spec_or_an_input_error(text: str) -> None:
    """Nothing but an InputError comes of a text that cannot be understood."""
    try:
        spec = read_spec(text)
    except InputError:
        return

    assert spec.engine in SETTINGS
    assert set(spec.settings) <= set(SETTINGS[spec.engine])


@pytest.mark.slow
def test_the_command_line_lists_engines_for_a_wrong_one(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """`recert evaluate --engine` with an unknown word exits 2 and says what there is."""
    given = ["--base", folders[0], "--model", folders[1], "--output", tmp_path / "out", "--engine", "gpu"]
    done = subprocess.run(
        [sys.executable, "-m", "recert", "evaluate", *map(str, given)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", "RECERT_CACHE": str(tmp_path / "cache")},
    )

    assert done.returncode == 2
    assert "no such engine" in done.stderr
    assert "ray" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("tuned", "hint"),
    [
        ("gpt-4o", "openai:URL#gpt-4o"),
        ("https://models.example/v1", "openai:https://models.example/v1#MODEL"),
        ("https://models.example/v1#own", "openai:https://models.example/v1#own"),
    ],
)
def test_a_name_or_address_alone_is_told_how_an_endpoint_is_named(tuned: str, hint: str) -> None:
    """Whether it is given as the tuned model or as the base."""
    with pytest.raises(InputError) as as_tuned:
        open_arms("embedded:aligned", tuned)
    with pytest.raises(RecertError) as as_base:
        open_arms(tuned, "openai:http://127.0.0.1:9/v1#m")

    assert hint in as_tuned.value.hint
    assert hint in as_base.value.hint
