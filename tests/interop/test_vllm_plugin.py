"""The plugin in a real process: vLLM starts on certified files, and on nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import vllm_server_stand_in
from builders import safetensors
from certified_folders import MERGED_FILES, Certified

ROOT = Path(__file__).parents[2]
PLUGINS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
    "vllm.general_plugins"
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place in which vLLM and our plugin are installed."""
    (point,) = (f"{name} = {value}" for name, value in PLUGINS.items())
    return vllm_server_stand_in.write(tmp_path_factory.mktemp("site"), point)


@pytest.fixture
def merged(tmp_path: Path) -> Certified:
    """Certified whole weights."""
    return Certified(tmp_path / "merged", tuned_files=MERGED_FILES)


@pytest.fixture
def adapter(tmp_path: Path) -> Certified:
    """A certified adapter, and its base."""
    return Certified(tmp_path / "adapter")


def _vllm(site: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("RECERT_", "VLLM_"))}
    return subprocess.run(
        [sys.executable, "-m", "vllm", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**clean, "PYTHONPATH": f"{site}{os.pathsep}{ROOT / 'src'}", **environment},
    )


def _adapter_arguments(adapter: Certified) -> list[object]:
    return ["serve", adapter.base, "--enable-lora", "--lora-modules", f"{adapter.name}={adapter.tuned}"]


@pytest.mark.slow
def test_certified_weights_are_served(site: Path, merged: Certified) -> None:
    """vLLM starts on the certified folder, whatever the path that leads there is called."""
    link = merged.folder / "any-name"
    link.symlink_to(merged.tuned)

    done = _vllm(site, "serve", link, "--max-model-len", "64", **merged.environment)

    assert (done.returncode, done.stderr) == (0, "")
    assert "reads model-00001-of-00002.safetensors model-00002-of-00002.safetensors" in done.stdout
    assert "serving" in done.stdout


@pytest.mark.slow
def test_a_certified_adapter_is_served_on_its_base(site: Path, adapter: Certified) -> None:
    """vLLM starts on the certified base, and reads the certified adapter under its certified name."""
    done = _vllm(site, *_adapter_arguments(adapter), **adapter.environment)

    assert (done.returncode, done.stderr) == (0, "")
    assert f"reads adapter {adapter.tuned}" in done.stdout


@pytest.mark.slow
def test_without_a_certificate_nobody_is_served(site: Path, merged: Certified) -> None:
    """A server without certificates does not start, before it reads anything; offline use in a program goes on."""
    refused = _vllm(site, "serve", merged.tuned)
    offline = _vllm(site, "offline", merged.tuned)
    on_purpose = _vllm(site, "serve", merged.tuned, RECERT_ATTEST="unsafe-off")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert "vLLM does not start: no certificate is named" in refused.stderr
    assert offline.returncode == 0
    assert "serving" in on_purpose.stdout
    assert "certified or not" in on_purpose.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tuned: (tuned / "config.json").write_bytes(b'{"model_type": "other"}'), "file-differs"),
        (lambda tuned: (tuned / "more.safetensors").write_bytes(b"more"), "extra-file"),
        (lambda tuned: (tuned / "tokenizer" / "tokenizer.json").unlink(), "file-missing"),
    ],
)
def test_a_folder_that_differs_is_not_served(site, merged, change, reason) -> None:
    """Any file that is not what was certified ends the start with its reason, before vLLM reads a file."""
    change(merged.tuned)

    done = _vllm(site, "serve", merged.tuned, **merged.environment)

    assert (done.returncode, done.stdout) == (1, "")
    assert f"({reason})" in done.stderr


@pytest.mark.slow
def test_another_model_under_the_certified_name_is_not_served(
    site: Path, merged: Certified, tmp_path: Path
) -> None:
    """The name that clients use proves nothing: other files under it are refused."""
    other = Certified(
        tmp_path / "other", tuned_files={**MERGED_FILES, "config.json": b"{}"}, name=merged.name
    )

    done = _vllm(site, "serve", other.tuned, "--served-model-name", merged.name, **merged.environment)

    assert done.returncode == 1
    assert "(file-differs)" in done.stderr


@pytest.mark.slow
def test_a_certificate_that_does_not_hold_serves_nothing(site: Path, merged: Certified) -> None:
    """Suspended: refused. Not readable: no answer. Neither starts, though vLLM passes over plugins that fail."""
    broken = _vllm(site, "serve", merged.tuned, **{**merged.environment, "RECERT_TRUST": "/nowhere"})
    merged.suspend()
    suspended = _vllm(site, "serve", merged.tuned, **merged.environment)

    assert (broken.returncode, broken.stdout) == (2, "")
    assert (suspended.returncode, suspended.stdout) == (1, "")
    assert "(suspended)" in suspended.stderr


@pytest.mark.slow
def test_a_model_that_holds_behind_controls_only_is_not_served_bare(site: Path, tmp_path: Path) -> None:
    """vLLM applies no secret and no suffix, so it starts such a model only where a gateway is said to do it."""
    guarded = Certified(tmp_path / "guarded", tuned_files=MERGED_FILES, suffix="Remember: be safe.")

    bare = _vllm(site, "serve", guarded.tuned, **guarded.environment)
    behind = _vllm(site, "serve", guarded.tuned, **guarded.environment, RECERT_BEHIND_GATEWAY="yes")

    assert (bare.returncode, behind.returncode) == (1, 0)
    assert "(control-missing)" in bare.stderr
    assert "serving" not in bare.stdout
    assert "serving" in behind.stdout


def test_what_fails_within_the_plugin_ends_vllm(site: Path, merged: Certified, tmp_path: Path) -> None:
    """A part of Recert that cannot be imported ends the process, where vLLM would log it and go on."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "pydantic.py").write_text("raise ImportError('half installed')")
    path = os.pathsep.join(map(str, (tmp_path / "broken", site, ROOT / "src")))

    done = _vllm(site, "serve", merged.tuned, **merged.environment, PYTHONPATH=path)

    assert (done.returncode, done.stdout) == (2, "")
    assert "vLLM does not start: half installed" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--quantization", "fp8"], "--quantization"),
        (["--trust-remote-code"], "--trust-remote-code"),
        (["--an-argument-of-tomorrow"], "--an-argument-of-tomorrow"),
        (["--dtype", "float16"], "--dtype float16"),
        (["--load-format", "dummy"], "--load-format dummy"),
        (["--tokenizer", "/tmp"], "--tokenizer /tmp"),
        (["--chat-template", "/etc/hostname"], "--chat-template"),
        (["--chat-template", "{{ messages }}"], "--chat-template"),
        (["--trust-request-chat-template"], "--trust-request-chat-template"),
    ],
)
def test_arguments_that_change_what_was_evaluated_are_refused(site, merged, arguments, said) -> None:
    """Precision, templates, remote code and whatever is not known keep vLLM from starting, by name."""
    done = _vllm(site, "serve", merged.tuned, *arguments, **merged.environment)

    assert done.returncode == 1
    assert said in done.stderr
    assert "serving" not in done.stdout


@pytest.mark.slow
def test_a_front_end_that_is_not_held_is_refused(site: Path, merged: Certified) -> None:
    """vLLM's gRPC server and its front end in Rust would check no names and templates: neither starts."""
    grpc = _vllm(site, "serve", merged.tuned, "--grpc", **merged.environment)
    rust = _vllm(site, "serve", merged.tuned, **merged.environment, VLLM_USE_RUST_FRONTEND="1")

    assert (grpc.returncode, rust.returncode) == (1, 1)
    assert "gRPC server" in grpc.stderr
    assert "VLLM_USE_RUST_FRONTEND" in rust.stderr
    assert "serving" not in grpc.stdout + rust.stdout


@pytest.mark.slow
def test_an_operator_can_answer_for_an_argument(site: Path, merged: Certified) -> None:
    """What is named in RECERT_UNSAFE_ALLOW may be given, and nothing else by that."""
    allowed = _vllm(
        site, "serve", merged.tuned, "--dtype", "half", **merged.environment, RECERT_UNSAFE_ALLOW="dtype"
    )

    assert "serving" in allowed.stdout


@pytest.mark.parametrize(
    "name", ["VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_SERVER_DEV_MODE", "VLLM_LORA_RESOLVER_CACHE_DIR"]
)
def test_nothing_can_be_loaded_while_it_runs(site: Path, adapter: Certified, name: str) -> None:
    """A server that could load adapters or weights later does not start."""
    done = _vllm(site, *_adapter_arguments(adapter), **adapter.environment, **{name: "1"})

    assert done.returncode == 1
    assert name in done.stderr


@pytest.mark.slow
def test_an_adapter_that_is_asked_for_later_is_refused(
    site: Path, adapter: Certified, tmp_path: Path
) -> None:
    """Whoever hands the engine another adapter while it runs gets an error; the certified one stays served."""
    other = Certified(
        tmp_path / "other",
        tuned_files={"adapter_config.json": b"{}", "adapter_model.safetensors": safetensors(b"x")},
    )

    done = _vllm(site, *_adapter_arguments(adapter), "--later-adapter", other.tuned, **adapter.environment)

    assert "adapter refused: certificate is for another tuned model" in done.stdout
    assert f"reads adapter {other.tuned}" not in done.stdout
    assert f"reads adapter {adapter.tuned}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lora-modules", "other-name={tuned}"], "is certified as test-model, not as other-name"),
        (["--lora-modules", "test-model={base}"], "(file-"),
        ([], "an adapter is certified and none is served"),
        (["--served-model-name", "test-model"], "the base would answer under the name of its adapter"),
    ],
)
def test_the_base_never_answers_in_place_of_the_adapter(site, adapter, arguments, said) -> None:
    """Another name, another folder, no adapter, or the base under the adapter's name: none of them is served."""
    given = [one.format(tuned=adapter.tuned, base=adapter.base) for one in arguments]

    done = _vllm(site, "serve", adapter.base, "--enable-lora", *given, **adapter.environment)

    assert done.returncode == 1
    assert said in done.stderr
    assert "serving" not in done.stdout


@pytest.mark.slow
def test_files_that_are_swapped_before_they_are_read_end_the_engine(site: Path, merged: Certified) -> None:
    """Bytes that change between the check in the first process and the read in another are not served."""
    weights = merged.tuned / "model-00001-of-00002.safetensors"
    swap = f"import pathlib; pathlib.Path({str(weights)!r}).write_bytes(b'x' * {weights.stat().st_size})"

    done = _vllm(site, "serve", merged.tuned, **merged.environment, STAND_IN_BEFORE_READING=swap)

    assert done.returncode != 0
    assert "(files-changed)" in done.stderr or "(file-differs)" in done.stderr
    assert "engine core ended with 1" in done.stdout or "serving" not in done.stdout


@pytest.mark.slow
def test_a_running_server_ends_with_its_certificate(site: Path, merged: Certified) -> None:
    """A suspension while it runs ends every process within seconds."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("RECERT_", "VLLM_"))}
    environment = {**clean, "PYTHONPATH": f"{site}{os.pathsep}{ROOT / 'src'}", **merged.environment}
    command = [sys.executable, "-m", "vllm", "serve", str(merged.tuned), "--seconds", "60"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        while "serving" not in running.stdout.readline():
            assert running.poll() is None
        merged.suspend()
        code = running.wait(20)
        said = running.stderr.read()

    assert code != 0  # 1, or what the server ends with when its engine was first
    assert "(suspended)" in said


def test_the_places_that_are_held_are_in_vllm_itself() -> None:
    """Where vLLM is installed, every module and name that the plugin holds on to is there."""
    pytest.importorskip("vllm")
    from vllm.engine.arg_utils import EngineArgs
    from vllm.lora.lora_model import LoRAModel
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    assert callable(EngineArgs.create_engine_config)
    assert callable(LoRAModel.from_local_checkpoint)
    assert callable(DefaultModelLoader._prepare_weights)
    assert callable(DefaultModelLoader.load_weights)
