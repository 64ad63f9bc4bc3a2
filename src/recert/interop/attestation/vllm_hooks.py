"""
Where vLLM is held: before an engine is configured, when adapters are named, and around each read of weights.

Read in vLLM 0.33. Where a place is not found, vLLM does not start: an unknown version is no reason to go without.

Here too: changing a module when it is imported, and not before: an early import would load what a process may not need.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.util
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NoReturn

from recert import settings
from recert.errors import RecertError, VerificationError
from recert.interop.attestation.guard import Guard, is_adapter, refused
from recert.interop.attestation.holding import CertificateFiles
from recert.interop.attestation.vllm_arguments import why_not_argued, why_not_fronted, why_not_surrounded

Change = Callable[[ModuleType], None]


class WhenImported(importlib.abc.MetaPathFinder):
    """Calls a function with each named module as soon as it is loaded, or at once where it is already."""

    def __init__(self, changes: dict[str, Change]) -> None:
        self._waiting = dict(changes)

    def install(self) -> None:
        """Begin to look; modules that are loaded are changed now."""
        for name in [name for name in self._waiting if name in sys.modules]:
            self._waiting.pop(name)(sys.modules[name])
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module as Python would, with a loader that calls us after it."""
        change = self._waiting.pop(fullname, None)
        if change is None:
            return None
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, change)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, inner: Any, change: Change) -> None:
        self._inner = inner
        self._change = change

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._inner.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        self._change(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


log = logging.getLogger("vllm.recert")

End = Callable[[BaseException], NoReturn]

_ENGINE: Final = "vllm.engine.arg_utils"
_LOADER: Final = "vllm.model_executor.model_loader.base_loader"
_FILES: Final = "vllm.model_executor.model_loader.default_loader"
_ADAPTERS: Final = ("vllm.lora.lora_model", "vllm.lora.models")
_FRONT: Final = ("vllm.entrypoints.launchers.api_server.app_state", "vllm.entrypoints.openai.api_server")
"""Where it lies in this version, and where it lay in earlier ones."""
_UNHELD: Final = ("vllm.entrypoints.launchers.grpc_server", "vllm.entrypoints.grpc_server")
"""Another front end, in which names, adapters and templates would not be checked."""
_OFFLINE: Final = "LLM_CLASS"
"""What vLLM calls the use of its class in a program: nobody is served."""


def install(end: End) -> None:
    """
    Hold this process of vLLM to its certificates.

    Args:
        end: ends the process and says why.

    Raises:
        RecertError: this version of vLLM is not known, or a certificate does not hold.
    """
    hooks = _Hooks(end)
    changes: dict[str, Change] = {_ENGINE: hooks.engine}
    if hooks.guard is not None:
        changes |= {
            _LOADER: hooks.loader,
            _FILES: hooks.files,
            _found(_ADAPTERS, "class LoRAModel"): hooks.adapters,
            _found(_FRONT, "def init_app_state"): hooks.front,
        }
    for name in changes:
        _found((name,), "")
    if hooks.guard is not None:
        changes |= dict.fromkeys(_UNHELD, hooks.unheld)
    WhenImported(changes).install()


class _Hooks:
    def __init__(self, end: End) -> None:
        self._end = end
        self._off = settings.attestation_off()
        self._served = Path()
        self.guard: Guard | None = None
        if self._off:
            log.warning("RECERT_ATTEST=unsafe-off: this server loads whatever it is given, certified or not")
        elif settings.certificates():
            self.guard = Guard(CertificateFiles.configured(), end)

    @contextmanager
    def _or_end(self) -> Iterator[None]:
        """What speaks against a start ends the process: an exception may be caught and logged on the way."""
        try:
            yield
        except BaseException as exc:
            self._end(exc)

    def engine(self, module: ModuleType) -> None:
        """Check the arguments and hash the folder before vLLM reads anything in it, configuration and code included."""
        original = _need(module, "EngineArgs").create_engine_config

        @functools.wraps(original)
        def create_engine_config(args: Any, usage_context: Any = None, *more: Any, **named: Any) -> Any:
            with self._or_end():
                self._before(args, getattr(usage_context, "name", str(usage_context)))
            config = original(args, usage_context, *more, **named)
            with self._or_end():
                self._after(config)
            return config

        module.EngineArgs.create_engine_config = create_engine_config

    def _before(self, args: Any, context: str) -> None:
        if self.guard is None:
            if self._off or context == _OFFLINE:
                return
            raise refused(
                "no certificate is named",
                hint="set RECERT_CERTIFICATE and RECERT_TRUST, or RECERT_ATTEST=unsafe-off on purpose",
            )
        if not Path(str(args.model)).is_dir():
            raise refused(
                "the model must be a folder of certified files",
                hint="copy it with `recert attest`",
                model=args.model,
            )
        args.model = str(Path(args.model).resolve())
        _require_none("an argument or a variable does not go with a certificate", _reasons(args))
        self._served = self.guard.require_served(args.model)

    def _after(self, config: Any) -> None:
        if self.guard is None:
            return
        for name in ("model", "tokenizer"):
            used = Path(str(getattr(config.model_config, name))).resolve()
            if used != self._served:
                raise VerificationError(
                    "file-differs",
                    f"vLLM would load another {name}",
                    facts={"certified": self._served, name: used},
                )
        self.guard.still()
        self.guard.hand_over()
        self.guard.watch()
        serials = ", ".join(one.certificate.serial for one in self.guard.held)
        log.info("recert: %s holds the certified files (%s)", self._served, serials)

    def front(self, module: ModuleType) -> None:
        """Check adapters, names and the template when the HTTP server is set up."""
        original: Callable[..., Awaitable[None]] = _need(module, "init_app_state")

        @functools.wraps(original)
        async def init_app_state(engine: Any, state: Any, args: Any, *more: Any, **named: Any) -> None:
            with self._or_end():
                self._check_front(args)
            await original(engine, state, args, *more, **named)

        for found in list(sys.modules.values()):  # others may have taken it from there by now
            if getattr(found, "init_app_state", None) is original:
                found.init_app_state = init_app_state  # type: ignore[attr-defined]
        module.init_app_state = init_app_state  # type: ignore[attr-defined]

    def _check_front(self, args: Any) -> None:
        assert self.guard is not None
        served = Path(str(args.model)).resolve()
        _require_none("an argument does not go with a certificate", why_not_fronted(args, served))
        resolvers = sys.modules.get("vllm.lora.resolver")
        if resolvers is not None and list(resolvers.LoRAResolverRegistry.get_supported_resolvers()):
            raise refused("a plugin loads adapters by name while vLLM runs: leave it out of VLLM_PLUGINS")
        modules = getattr(args, "lora_modules", None) or ()
        adapters = {one.certificate.model_name for one in self.guard.held if is_adapter(one)}
        names = getattr(args, "served_model_name", None) or [args.model]
        for name in {names} if isinstance(names, str) else set(names):
            if name in adapters:
                raise refused(f"the base would answer under the name of its adapter, {name}")
        for given in modules:
            certified = self.guard.require_adapter(given.path).certificate.model_name
            if given.name != certified:
                raise refused(f"adapter {given.path} is certified as {certified}, not as {given.name}")
        if adapters and not modules:
            raise refused("an adapter is certified and none is served: give --enable-lora and --lora-modules")
        self.guard.hand_over()

    def unheld(self, module: ModuleType) -> None:
        """Refuse a front end that nothing here looks at."""
        with self._or_end():
            raise refused(
                "vLLM's gRPC server checks no names, adapters and templates", module=module.__name__
            )

    def loader(self, module: ModuleType) -> None:
        """Refuse ways of loading that read anything but the certified files."""
        original = _need(module, "BaseModelLoader").__init__

        @functools.wraps(original)
        def __init__(loader: Any, load_config: Any, *more: Any, **named: Any) -> None:
            with self._or_end():
                if load_config.load_format not in ("auto", "hf", "safetensors", *settings.unsafe_allowed()):
                    raise refused(
                        f"load format {load_config.load_format} does not load the certified files as they are"
                    )
            original(loader, load_config, *more, **named)

        module.BaseModelLoader.__init__ = __init__

    def files(self, module: ModuleType) -> None:
        """Look at the folder before and after weights are read, and at each list of files that are read."""
        guard = self._guard()
        loader = _need(module, "DefaultModelLoader")
        listing, loading = loader._prepare_weights, loader.load_weights

        @functools.wraps(listing)
        def prepare(this: Any, model_name_or_path: str, *more: Any, **named: Any) -> Any:
            with self._or_end():
                served = guard.require_served(model_name_or_path)
            found = listing(this, model_name_or_path, *more, **named)
            with self._or_end():
                for name in found[1]:
                    if served not in Path(name).resolve().parents:
                        raise VerificationError(
                            "extra-file", "vLLM would load another file", facts={"file": name}
                        )
            return found

        @functools.wraps(loading)
        def load_weights(this: Any, model: Any, model_config: Any) -> Any:
            with self._or_end():
                guard.require_served(model_config.model)
                guard.still()
            loaded = loading(this, model, model_config)
            with self._or_end():
                guard.still()
                guard.watch()
            return loaded

        loader._prepare_weights, loader.load_weights = prepare, load_weights

    def adapters(self, module: ModuleType) -> None:
        """Load certified adapters only, whoever asks and whenever: others raise."""
        guard = self._guard()
        original = _need(module, "LoRAModel").from_local_checkpoint.__func__

        @functools.wraps(original)
        def from_local_checkpoint(cls: Any, lora_dir: str, *more: Any, **named: Any) -> Any:
            guard.require_adapter(lora_dir)
            loaded = original(cls, lora_dir, *more, **named)
            with self._or_end():
                guard.still()
            return loaded

        module.LoRAModel.from_local_checkpoint = classmethod(from_local_checkpoint)

    def _guard(self) -> Guard:
        assert self.guard is not None
        return self.guard


def _reasons(args: Any) -> Iterator[str]:
    yield from why_not_surrounded()
    yield from why_not_argued(args)


def _require_none(message: str, reasons: Iterator[str]) -> None:
    said = list(reasons)
    if said:
        numbered = {str(number): words for number, words in enumerate(said, start=1)}
        raise refused(
            message, hint="leave it away, or name it in RECERT_UNSAFE_ALLOW and answer for it", **numbered
        )


def _need(module: ModuleType, name: str) -> Any:
    found = getattr(module, name, None)
    if found is None:
        raise _unknown(f"{module.__name__}.{name}")
    return found


def _found(names: tuple[str, ...], holds: str) -> str:
    """The first of these modules that is there and holds a text, without importing it."""
    vllm = importlib.util.find_spec("vllm")
    for place in (vllm.submodule_search_locations or []) if vllm else []:
        for name in names:
            path = Path(place, *name.split(".")[1:]).with_suffix(".py")
            if path.is_file() and holds in path.read_text("utf-8", "replace"):
                return name
    raise _unknown(" or ".join(names))


def _unknown(what: str) -> RecertError:
    return RecertError(
        "this version of vLLM is not known: a place where it must be held is missing",
        facts={"missing": what},
        hint="use a version of vLLM that the guide names, or a newer Recert",
    )
