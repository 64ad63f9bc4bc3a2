"""What an engine is started with: its command, its environment, and the few arguments that a user may add."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import recert
from recert.errors import GatewayError, SettingsError
from recert.store.files.private_copy import PrivateCopy

EMBEDDED: Final = "embedded"
LLAMA_CPP: Final = "llama.cpp"
VLLM: Final = "vllm"
ENGINES: Final = (EMBEDDED, LLAMA_CPP, VLLM)

_LORA_SLOTS: Final = 16
"""Adapters that one batch of vLLM may hold: memory of the GPU is set aside for each, all others wait in main memory."""
_NUMBER: Final = r"-?\d+(\.\d+)?"
_NUMBERS: Final = r"\d+(\.\d+)?(,\d+(\.\d+)?)*"
_WORD: Final = r"[a-z0-9_]+"
_NONE: Final = ""
_ALLOWED: Final[Mapping[str, Mapping[str, str]]] = {
    EMBEDDED: {},
    LLAMA_CPP: {
        "--ctx-size": _NUMBER,
        "--parallel": _NUMBER,
        "--threads": _NUMBER,
        "--threads-batch": _NUMBER,
        "--batch-size": _NUMBER,
        "--ubatch-size": _NUMBER,
        "--n-gpu-layers": rf"{_NUMBER}|all|auto",
        "--flash-attn": "on|off|auto",
        "--split-mode": "none|layer|row",
        "--tensor-split": _NUMBERS,
        "--main-gpu": _NUMBER,
        "--numa": "distribute|isolate|numactl",
        "--mlock": _NONE,
        "--no-mmap": _NONE,
    },
    VLLM: {
        "--tensor-parallel-size": _NUMBER,
        "--pipeline-parallel-size": _NUMBER,
        "--gpu-memory-utilization": _NUMBER,
        "--max-model-len": _NUMBER,
        "--max-num-seqs": _NUMBER,
        "--max-num-batched-tokens": _NUMBER,
        "--swap-space": _NUMBER,
        "--cpu-offload-gb": _NUMBER,
        "--block-size": _NUMBER,
        "--enforce-eager": _NONE,
        "--enable-prefix-caching": _NONE,
        "--no-enable-prefix-caching": _NONE,
        "--enable-chunked-prefill": _NONE,
        "--enable-auto-tool-choice": _NONE,
        "--tool-call-parser": _WORD,
        "--reasoning-parser": _WORD,
    },
}
"""Arguments that cannot change what is loaded, from where, in which precision, or what listens; and their values."""

_PASSED_ON: Final = (
    "PATH", "HOME", "LANG", "TZ", "USER", "LOGNAME", "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES",
    "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "RECERT_THREADS",
)  # fmt: skip
"""All that an engine gets of the gateway's own environment."""

_RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks of adapters for which vLLM sets memory aside."""
_SPLIT_GGUF: Final = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")


@dataclass(frozen=True)
class ManagedUpstream:
    """
    An engine that the gateway starts itself, on private copies of the certified files.

    Args:
        engine: `embedded`, `llama.cpp` or `vllm`.
        arguments: what the engine is to be told besides, such as `--max-model-len=8192`. Only what cannot change the
            model is taken.
        program: path of `llama-server` or `vllm`; by default it is looked for.

    Raises:
        SettingsError: there is no such engine, or it takes no such argument from outside.
    """

    engine: str = EMBEDDED
    arguments: tuple[str, ...] = ()
    program: str = ""

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise SettingsError(
                "no such engine", facts={"given": self.engine}, hint=f"give one of {', '.join(ENGINES)}"
            )
        self.words()

    @property
    def label(self) -> str:
        """What `/status` calls it."""
        return "embedded-engine" if self.engine == EMBEDDED else f"managed-{self.engine}"

    def words(self) -> list[str]:
        """Return the arguments, each name with its value behind it as one word."""
        allowed = _ALLOWED[self.engine]
        given = list(self.arguments)
        said = []
        while given:
            name, equals, value = given.pop(0).partition("=")
            form = allowed.get(name)
            if form and not equals and given:
                value = given.pop(0)
            if form is None or not re.fullmatch(form, value) or (equals and not form):
                raise SettingsError(
                    "the engine takes no such argument from outside",
                    facts={"engine": self.engine, "given": f"{name}={value}" if value else name},
                    hint=f"what it is started with is certified; allowed: {', '.join(allowed) or 'none'}",
                )
            said.append(f"{name}={value}" if form else name)
        return said


@dataclass(frozen=True)
class Place:
    """Where an engine finds what it is started on. Names in `tuned` are those that the engine is asked by."""

    base: PrivateCopy | None
    tuned: Mapping[str, PrivateCopy]
    folder: Path
    """Private, for its temporary files."""
    socket: Path
    api_key: str


@dataclass(frozen=True)
class Command:
    """How an engine is started, and what is asked of it while it runs."""

    line: tuple[str, ...]
    environment: Mapping[str, str]
    tells: bool = False
    """It says on stdout when it is ready, and ends when stdin closes."""
    looks: tuple[str, ...] = ()
    """Routes whose answers say which models it has; they must stay as they were at the start."""


def command(upstream: ManagedUpstream, place: Place) -> Command:
    """
    Return how an engine is started on its copies.

    Raises:
        GatewayError: `no-engine`: it is not installed; `engine-refused`: it cannot run such files.
    """
    return {EMBEDDED: _embedded, LLAMA_CPP: _llama_cpp, VLLM: _vllm}[upstream.engine](upstream, place)


def environment(folder: Path, **more: str) -> dict[str, str]:
    """
    Return what a process of ours hears of the gateway's own environment: nothing that it does not need.

    Args:
        folder: private, for its temporary files.
        more: further variables.
    """
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    passed |= {name: value for name, value in os.environ.items() if name.startswith("LC_")}
    return {
        **passed,
        "TMPDIR": str(folder),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "PYTHONSAFEPATH": "1",
        **more,
    }


def python_module(module: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return how a module of ours is run, found where this one was: command and variables."""
    return (sys.executable, "-P", "-m", module), {"PYTHONPATH": str(Path(recert.__file__).parents[1])}


def _embedded(_: ManagedUpstream, place: Place) -> Command:
    line, found = python_module("recert.models.engines.engine")
    base = ("--base", str(place.base.folder), place.base.manifest.digest) if place.base else ()
    tuned = [
        word
        for name, copy in place.tuned.items()
        for word in ("--tuned", name, str(copy.folder), copy.manifest.digest)
    ]
    return Command(
        (*line, *base, *tuned, "--socket", str(place.socket)),
        environment(place.folder, **found, OMP_WAIT_POLICY="PASSIVE"),
        tells=True,
    )


def _llama_cpp(upstream: ManagedUpstream, place: Place) -> Command:
    ((name, tuned),) = place.tuned.items()
    model = ("--model", str(gguf_file(place.base or tuned)))
    adapter = ("--lora", str(gguf_file(tuned))) if place.base else ()
    program = upstream.program or shutil.which("llama-server")
    found: dict[str, str] = {}
    if program:
        line: tuple[str, ...] = (
            program,
            "--offline",
            "--jinja",
            "--no-webui",
            "--no-slots",
            "--threads-http=64",
        )
    elif importlib.util.find_spec("xllamacpp"):
        line, found = python_module("recert.models.engines.llama_cpp_server")
    else:
        raise GatewayError(
            "no-engine",
            "llama.cpp is not installed",
            hint="put `llama-server` on the PATH, or run `pip install 'recert[llama-cpp]'`",
        )
    return Command(
        (*line, *_apart(upstream.words()), *model, *adapter, "--alias", name, "--host", str(place.socket)),
        environment(place.folder, **found, LLAMA_API_KEY=place.api_key),
        looks=("/v1/models", "/lora-adapters"),
    )


def _vllm(upstream: ManagedUpstream, place: Place) -> Command:
    program = upstream.program or shutil.which("vllm")
    if not program:
        raise GatewayError(
            "no-engine",
            "vLLM is not installed",
            hint="run `pip install 'recert[vllm]'` on a machine with a GPU",
        )
    if place.base:
        served = ("--served-model-name", f"base-{place.api_key[:8]}")  # nobody asks the base by accident
        modules = [f"{name}={copy.folder}" for name, copy in place.tuned.items()]
        count, slots = str(len(place.tuned)), str(min(len(place.tuned), _LORA_SLOTS))
        rank = str(max(_rank(copy) for copy in place.tuned.values()))
        adapters = (
            "--enable-lora", "--max-lora-rank", rank, "--max-loras", slots, "--max-cpu-loras", count,
            "--lora-modules", *modules,
        )  # fmt: skip
        model = place.base.folder
    else:
        ((name, copy),) = place.tuned.items()
        served, adapters, model = ("--served-model-name", name), (), copy.folder
    return Command(
        (
            program, "serve", str(model), *upstream.words(), *served,
            "--uds", str(place.socket), "--load-format", "safetensors", "--dtype", "bfloat16",
            "--generation-config", "vllm", "--disable-fastapi-docs", "--disable-uvicorn-access-log", *adapters,
        ),
        environment(
            place.folder,
            VLLM_API_KEY=place.api_key,
            VLLM_PLUGINS="",  # a plugin could load adapters when they are asked for
            VLLM_HOST_IP="127.0.0.1",
            VLLM_NO_USAGE_STATS="1",
            VLLM_MEDIA_URL_ALLOW_REDIRECTS="0",
        ),
        looks=("/v1/models",),
    )  # fmt: skip


def _apart(words: list[str]) -> list[str]:
    """Names and values as words of their own, as llama.cpp reads them."""
    return [part for word in words for part in word.split("=", 1)]


def gguf_file(copy: PrivateCopy) -> Path:
    """
    Return the one GGUF file of a folder, or the first of one that is split.

    Raises:
        GatewayError: `engine-refused`: there is none, or more than one: it would not be clear what is served.
    """
    names = [entry.name for entry in copy.manifest.files if entry.name.endswith(".gguf")]
    parts = [_SPLIT_GGUF.fullmatch(name) for name in names]
    whole = {(part[1], part[3]) for part in parts if part}
    if len(names) == 1 or (all(parts) and len(whole) == 1 and len(names) == int(next(iter(whole))[1])):
        return copy.folder / names[0]
    raise GatewayError(
        "engine-refused",
        "llama.cpp needs exactly one model in each folder",
        facts={"GGUF files": ", ".join(names) or "none"},
        hint="certify a folder that holds one GGUF file, or all parts of one",
    )


def _rank(copy: PrivateCopy) -> int:
    """The smallest rank that vLLM knows and that is enough for an adapter."""
    try:
        said = json.loads((copy.folder / "adapter_config.json").read_bytes())
        ranks = [int(said["r"]), *map(int, (said.get("rank_pattern") or {}).values())]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as exc:
        raise GatewayError(
            "engine-refused",
            "vLLM cannot run this adapter: its rank cannot be read",
            facts={"adapter": copy.folder},
        ) from exc
    rank = next((known for known in _RANKS if known >= max(ranks)), None)
    if rank is None:
        raise GatewayError(
            "engine-refused",
            "vLLM knows no adapters of such a rank",
            facts={"rank": max(ranks), "most": _RANKS[-1]},
        )
    return rank
