"""
From a few words to a model: which engine runs it, where it lies, and the engine's settings.

```
local, vllm, ray              engines for folders: give base and tune apart
local:FOLDER                  one model of files, and vllm:FOLDER, ray:FOLDER
hub:org/name@revision         the same from the hub, on the local engine
openai:URL#model              an endpoint; the key is in RECERT_ENDPOINT_KEY
inspect:provider/model        a hosted vendor through Inspect AI
plugin:NAME:WHAT              an engine that another package brings, in the group `recert.engines`
cascade:whisper-tiny+MODEL    a transcriber before any of these, a folder or an embedded model, for spoken prompts
```

Settings follow after commas: `ray,workers=4`, `openai:https://api.example.com/v1#name,requests_per_minute=60`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from recert import settings
from recert.errors import InputError, MissingExtraError
from recert.extensions import plugin
from recert.models.embedded import HUB, endpoint_hint, resolve
from recert.models.folders import ADAPTER_CONFIG, hears, is_adapter
from recert.models.protocol import Model
from recert.models.remote.pacing import Pace
from recert.models.remote.spending import Prices, Spending
from recert.models.speech.transcribing import Remembering, Transcriber, open_transcriber
from recert.records.signed.hosted_job import JOB_FILE, HostedJob
from recert.store.files.model_copies import Copying
from recert.store.files.writing import read_bytes

_SETTING: Final = re.compile(r",(?=[a-z_]+=)")
_COST: Final[dict[str, type]] = {
    "input_price": float,
    "output_price": float,
    "currency": str,
    "most_cost": float,
    "most_tokens": int,
}
_VLLM: Final[dict[str, type]] = {
    "tensor_parallel_size": int,
    "gpu_memory_utilization": float,
    "max_model_len": int,
    "enforce_eager": bool,
}
SETTINGS: Final[Mapping[str, Mapping[str, type]]] = {
    "local": {"threads": int},
    "vllm": _VLLM,
    "ray": {
        "workers": int,
        "factory": str,
        "cpus_per_worker": float,
        "gpus_per_worker": float,
        "chunk_prompts": int,
        "threads": int,
        **_VLLM,
    },
    "hub": {"threads": int},
    "openai": {
        "concurrency": int,
        "timeout_s": float,
        "requests_per_minute": float,
        "tokens_per_minute": float,
        "batch": str,
        **_COST,
    },
    "inspect": {"concurrency": int, "retries": int, "timeout_s": int, "base_url": str, **_COST},
    "plugin": {},
}
"""The engines, and the settings of each."""

FOLDER_ENGINES: Final = ("local", "vllm", "ray")
REMOTE: Final = ("openai", "inspect", "plugin")
CASCADE: Final = "cascade:"
"""Begins the spec of a transcriber before a model: `cascade:TRANSCRIBER+MODEL`."""


@dataclass(frozen=True)
class Spec:
    """An engine, what it is to open (empty for a folder engine alone), and its settings."""

    engine: str
    what: str
    settings: Mapping[str, Any]


LOCAL: Final = Spec("local", "", {})
"""Transformers in this process, with nothing said about it."""


def read_spec(text: str) -> Spec:
    """
    Return what a spec says.

    Raises:
        InputError: there is no such engine or setting, or a setting has no value of its kind.
    """
    head, *rest = _SETTING.split(text)
    engine, _, what = head.partition(":")
    if engine in ("http", "https"):
        raise InputError("an address alone names no model", facts={"given": text}, hint=endpoint_hint(text))
    if engine not in SETTINGS or (not what and engine not in FOLDER_ENGINES):
        raise InputError(
            "no such engine",
            facts={"given": text},
            hint="give local, vllm or ray; local:FOLDER, hub:org/name, openai:URL#model, inspect:provider/model or "
            "plugin:NAME:WHAT",
        )
    known = SETTINGS[engine]
    given: dict[str, Any] = {}
    for one in rest:
        name, _, value = one.partition("=")
        if name not in known or name in given:
            raise InputError(
                "engine has no such setting, or it is given twice",
                facts={"engine": engine, "given": one},
                hint=f"settings of {engine}: {', '.join(sorted(known))}",
            )
        given[name] = _value(engine, name, value, known[name])
    return Spec(engine, what, given)


def is_remote(text: str) -> bool:
    """Say whether a text is the spec of a model elsewhere, rather than a folder, a hub id or an embedded model."""
    return text.partition(":")[0] in REMOTE and ":" in text


def open_model(text: str) -> Model:
    """
    Return the model that a spec names.

    Raises:
        InputError: the spec cannot be understood, or its folder is not there.
        MissingExtraError: the engine is not installed.
        ModelError: the model cannot be loaded.
    """
    if text.startswith(CASCADE):
        transcriber, inner = _split_cascade(text)
        from recert.models.speech.cascade import CascadeModel

        return CascadeModel(open_transcriber(transcriber), _alone(inner, LOCAL))
    spec = read_spec(text)
    if not spec.what:
        raise InputError("engine needs a model", facts={"given": text}, hint=f"give {spec.engine}:FOLDER")
    if spec.engine == "openai":
        return _endpoint(spec)
    if spec.engine == "inspect":
        from recert.models.remote.inspect_engine import InspectModel

        return InspectModel(spec.what, spending=_spending(spec.settings), **_less(spec.settings, _COST))
    if spec.engine == "plugin":
        name, _, what = spec.what.partition(":")
        made: Model = plugin("engine", name)(what)
        return made
    if spec.engine == "hub":
        return _base(Spec("local", "", spec.settings), resolve(text.partition(",")[0]), None)
    return _base(spec, resolve(spec.what), None)


def open_arms(base: str, tuned: str, engine: str = "local") -> tuple[Model, Model]:
    """
    Return a base and a tuned model.

    Args:
        base: a folder, a hub id, an embedded model, or the spec of a model at an endpoint.
        tuned: an adapter's folder or one of merged weights, `hub:` and a hub id, or such a spec; or a folder of
            `recert connect`, which stands for the vendor's model.
        engine: what runs models of files, with its settings.

    Raises:
        InputError: a spec cannot be understood, or there is no folder of the tuned model.
        MissingExtraError: an engine is not installed.
        ModelError: a model cannot be loaded.
    """
    tuned = _at_vendor(tuned)
    if base.startswith(CASCADE) or tuned.startswith(CASCADE):
        return _cascades(base, tuned, engine)
    spec = read_spec(engine)
    if spec.what:
        raise InputError(
            "engine for folders must be given without one",
            facts={"given": engine},
            hint="give the model's spec as the base and as the tuned model instead",
        )
    if is_remote(base) or is_remote(tuned):
        return _alone(base, spec), _alone(tuned, spec)
    tuned_dir = resolve(tuned) if tuned.startswith(HUB) else Path(tuned).resolve()
    _must_be_there(tuned_dir, tuned)  # before the base is made or loaded, which takes its time
    return folder_arms(resolve(base), tuned_dir, spec)


def _cascades(base: str, tuned: str, engine: str) -> tuple[Model, Model]:
    """Both models behind one transcriber: what they are asked is then the same."""
    if not (base.startswith(CASCADE) and tuned.startswith(CASCADE)):
        raise InputError(
            "one model hears through a transcriber, and the other does not",
            facts={"base": base, "tuned": tuned},
            hint="give both as cascade:TRANSCRIBER+MODEL, or neither",
        )
    (by, inner_base), (also_by, inner_tuned) = _split_cascade(base), _split_cascade(tuned)
    if by != also_by:
        raise InputError("two transcribers would hear two things", facts={"base": by, "tuned": also_by})
    return heard_by(open_transcriber(by), *open_arms(inner_base, inner_tuned, engine))


def _split_cascade(text: str) -> tuple[str, str]:
    transcriber, found, inner = text.removeprefix(CASCADE).partition("+")
    if not (transcriber and found and inner) or inner.startswith(CASCADE):
        raise InputError(
            "cascade is given as cascade:TRANSCRIBER+MODEL",
            facts={"given": text},
            hint="such as cascade:whisper-tiny+FOLDER",
        )
    return transcriber, inner


def heard_by(transcriber: Transcriber, base: Model, tuned: Model) -> tuple[Model, Model]:
    """Return both models behind one transcriber, which hears each clip once for them."""
    from recert.models.speech.cascade import CascadeModel

    ears = Remembering(transcriber)
    return CascadeModel(ears, base), CascadeModel(ears, tuned)


def _at_vendor(tuned: str) -> str:
    """The model at an endpoint that a folder of `recert connect` stands for; anything else as it is."""
    record = Path(tuned) / JOB_FILE
    if not record.is_file():
        return tuned
    job = HostedJob.from_json(read_bytes(record, "record of the vendor's job"))
    if not job.tuned_model:
        raise InputError("the vendor's job has no model", facts={"file": record, "status": job.status})
    return job.spec()


def _must_be_there(folder: Path, given: str = "") -> None:
    if not folder.is_dir():
        raise InputError(
            "no such model folder", facts={"folder": folder}, hint=endpoint_hint(given) if given else ""
        )


def _alone(text: str, spec: Spec) -> Model:
    return open_model(text) if is_remote(text) else _base(spec, resolve(text), None)


def folder_arms(base_dir: Path, tuned_dir: Path, spec: Spec = LOCAL) -> tuple[Model, Model]:
    """
    Return both models of files, with the base's weights in memory once where the tune is an adapter.

    Raises:
        InputError: there is no folder of the tuned model.
        MissingExtraError: the engine is not installed.
        ModelError: a model cannot be loaded.
    """
    _must_be_there(tuned_dir)
    if not is_adapter(tuned_dir):
        return _base(spec, base_dir, None, "keep"), _base(spec, tuned_dir, None)
    base: Any = _base(spec, base_dir, tuned_dir, "keep")
    return base, base.with_adapter(tuned_dir)


def _base(spec: Spec, folder: Path, adapter: Path | None, copying: Copying = "once") -> Model:
    """
    One model of files, loaded from a private copy; `adapter` is what will lie on it, for engines that must know before.

    Ray's workers each load from a copy of their own, and compare it with what was hashed here.
    """
    given = dict(spec.settings)
    if spec.engine == "vllm":
        try:
            from recert.models.engines.vllm_engine import VllmModel
        except ImportError as exc:  # without vLLM there may be no torch either
            raise MissingExtraError("vLLM is not installed", hint="run `pip install 'recert[vllm]'`") from exc
        return VllmModel.load(folder, lora_rank=_rank(adapter), copying=copying, **given)
    if spec.engine == "ray":
        from recert.models.engines.ray_engine import RayModel

        if given.get("factory") == "vllm":
            given["lora_rank"] = _rank(adapter)
        return RayModel.load(folder, **given)
    try:
        from recert.models.audio.sound_model import SoundModel
        from recert.models.engines.local import LocalModel
    except ImportError as exc:
        raise MissingExtraError(
            "local models are not installed", hint="run `pip install 'recert[local]'`"
        ) from exc
    kind = SoundModel if hears(folder) else LocalModel
    return kind.load(folder, copying=copying, **given)


def _rank(adapter: Path | None) -> int | None:
    if adapter is None:
        return None
    try:
        return int(json.loads((adapter / ADAPTER_CONFIG).read_bytes())["r"])
    except (OSError, ValueError, LookupError, TypeError) as exc:
        raise InputError("adapter's rank cannot be read", facts={"adapter": adapter, "because": exc}) from exc


def _endpoint(spec: Spec) -> Model:
    from recert.models.remote.batch_endpoint import BatchEndpointModel
    from recert.models.remote.endpoint import EndpointModel

    url, found, name = spec.what.rpartition("#")
    if not found or not url or not name:
        raise InputError(
            "endpoint is given as openai:URL#model",
            facts={"given": f"openai:{spec.what}"},
            hint="such as openai:https://api.example.com/v1#name",
        )
    given = dict(spec.settings)
    pace = {k: given.pop(k) for k in ("requests_per_minute", "tokens_per_minute") if k in given}
    batch = given.pop("batch", None)
    more: dict[str, Any] = {
        **_less(given, _COST),
        "api_key": settings.endpoint_key(),
        "pace": Pace(**pace),
        "spending": _spending(given),
    }
    if batch is not None:
        return BatchEndpointModel(url, name, state=Path(batch), **more)
    return EndpointModel(url, name, **more)


def _spending(given: Mapping[str, Any]) -> Spending:
    priced = "input_price" in given and "output_price" in given
    prices = (
        Prices(given["input_price"], given["output_price"], given.get("currency", "USD")) if priced else None
    )
    return Spending(prices, most_cost=given.get("most_cost"), most_tokens=given.get("most_tokens"))


def _less(given: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in given.items() if k not in names}


def _value(engine: str, name: str, text: str, kind: type) -> Any:
    readers: dict[type, Callable[[str], Any]] = {
        int: int,
        float: float,
        str: str,
        bool: {"true": True, "false": False}.__getitem__,
    }
    try:
        value = readers[kind](text)
    except (ValueError, LookupError) as exc:
        raise InputError(
            "setting has another kind of value",
            facts={"engine": engine, "setting": name, "expected": kind.__name__, "given": text},
        ) from exc
    if value == "" or (kind is float and not 0 <= value < float("inf")) or (kind is int and value < 0):
        raise InputError("setting is out of range", facts={"engine": engine, "setting": name, "given": text})
    return value
