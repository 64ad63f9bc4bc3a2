"""
The part of vLLM 0.33 that serves, as far as the plugin holds on to it, for machines where vLLM does not install.

`write(folder)` writes a package `vllm` whose modules, names, arguments and order of calls are vLLM's own, as read in
its wheel; no line of it is vLLM's. Plugins are found by entry point, and a failure to import one is logged and passed
over. An engine's arguments are a dataclass that makes a configuration. Weights are listed and read in a process of
their own, and so are adapters. `python -m vllm serve` runs it.
"""

from __future__ import annotations

from pathlib import Path

PLUGINS = """
import logging
import os

logger = logging.getLogger(__name__)
plugins_loaded = False


def load_plugins_by_group(group):
    from importlib.metadata import entry_points

    allowed = os.environ["VLLM_PLUGINS"].split(",") if "VLLM_PLUGINS" in os.environ else None
    plugins = {}
    for plugin in entry_points(group=group):
        if allowed is None or plugin.name in allowed:
            try:
                plugins[plugin.name] = plugin.load()
            except Exception:
                logger.exception("Failed to load plugin %s", plugin.name)
    return plugins


def load_general_plugins():
    global plugins_loaded
    if plugins_loaded:
        return
    plugins_loaded = True
    for func in load_plugins_by_group("vllm.general_plugins").values():
        func()
"""

ARGUMENTS = """
from dataclasses import dataclass, field
from types import SimpleNamespace


@dataclass
class EngineArgs:
    model: str = "Qwen/Qwen3-0.6B"
    served_model_name: list | None = None
    tokenizer: str | None = None
    trust_remote_code: bool = False
    load_format: str = "auto"
    dtype: str = "auto"
    quantization: str | None = None
    hf_overrides: dict = field(default_factory=dict)
    max_model_len: int | None = None
    gpu_memory_utilization: float = 0.9
    tensor_parallel_size: int = 1
    enable_lora: bool = False
    speculative_config: dict | None = None
    an_argument_of_tomorrow: bool = False

    def __post_init__(self):
        from vllm.plugins import load_general_plugins

        load_general_plugins()

    def create_engine_config(self, usage_context=None, headless=False):
        print("reads config.json", flush=True)
        model = SimpleNamespace(model=self.model, tokenizer=self.tokenizer or self.model)
        return SimpleNamespace(model_config=model, load_config=SimpleNamespace(load_format=self.load_format))
"""

USAGE = """
from enum import Enum


class UsageContext(str, Enum):
    LLM_CLASS = "LLM_CLASS"
    OPENAI_API_SERVER = "OPENAI_API_SERVER"
"""

BASE_LOADER = """
class BaseModelLoader:
    def __init__(self, load_config):
        self.load_config = load_config
"""

DEFAULT_LOADER = """
import glob
import os

from vllm.model_executor.model_loader.base_loader import BaseModelLoader


class DefaultModelLoader(BaseModelLoader):
    def _prepare_weights(
        self, model_name_or_path, subfolder, revision, fall_back_to_pt, allow_patterns_overrides
    ):
        files = sorted(glob.glob(os.path.join(model_name_or_path, "*.safetensors")))
        return model_name_or_path, files, True, "model.safetensors.index.json"

    def load_weights(self, model, model_config):
        before_reading = os.environ.get("STAND_IN_BEFORE_READING")
        if before_reading:
            exec(before_reading)
        _, files, *_ = self._prepare_weights(model_config.model, None, None, True, None)
        print("reads", " ".join(os.path.basename(name) for name in files), flush=True)
        return b"".join(open(name, "rb").read() for name in files)
"""

LORA = """
class LoRAModel:
    @classmethod
    def from_local_checkpoint(cls, lora_dir, expected_lora_modules, peft_helper, *, lora_model_id=None):
        print("reads adapter", lora_dir, flush=True)
        return cls()
"""

RESOLVER = """
class _LoRAResolverRegistry:
    def __init__(self):
        self.resolvers = {}

    def get_supported_resolvers(self):
        return self.resolvers.keys()


LoRAResolverRegistry = _LoRAResolverRegistry()
"""

STATE = """
async def init_app_state(engine_client, state, args, supported_tasks=None):
    for module in args.lora_modules or []:
        engine_client.add_lora(module.path)
"""

ENTRY = """
import asyncio

from vllm.entrypoints.launchers.api_server.app_state import init_app_state


def serve(engine, args):
    asyncio.run(init_app_state(engine, object(), args, ("generate",)))
    print("serving", flush=True)
    engine.wait()
"""

CORE = '''
import multiprocessing
import sys
import time


def work(config, adapters, seconds):
    from vllm.plugins import load_general_plugins

    load_general_plugins()
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    DefaultModelLoader(config.load_config).load_weights(None, config.model_config)
    for path in iter(adapters.get, None):
        from vllm.lora.lora_model import LoRAModel

        try:
            LoRAModel.from_local_checkpoint(path, set(), peft_helper=None, lora_model_id=1)
        except Exception as error:
            print("adapter refused:", str(error).splitlines()[0], flush=True)
    time.sleep(seconds)


class Engine:
    """The engine core in a process of its own, as vLLM starts it: by spawning, with this one's environment."""

    def __init__(self, config, seconds):
        context = multiprocessing.get_context("spawn")
        self._adapters = context.Queue()
        self._process = context.Process(target=work, args=(config, self._adapters, seconds), daemon=True)
        self._process.start()

    def add_lora(self, path):
        self._adapters.put(path)

    def wait(self):
        self._adapters.put(None)
        self._process.join()
        if self._process.exitcode:
            print("engine core ended with", self._process.exitcode, flush=True)
            sys.exit(9)
'''

MAIN = """
import argparse
from types import SimpleNamespace


def main():
    import vllm.entrypoints.launchers.api_server.entry as entry
    from vllm.engine.arg_utils import EngineArgs
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.core import Engine

    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("serve", "offline"))
    parser.add_argument("model")
    parser.add_argument("--served-model-name", nargs="+")
    parser.add_argument("--tokenizer")
    parser.add_argument("--load-format", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--quantization")
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--enable-lora", action="store_true")
    parser.add_argument("--trust-remote-code", action="store_true")
    parser.add_argument("--an-argument-of-tomorrow", action="store_true")
    parser.add_argument("--lora-modules", nargs="+")
    parser.add_argument("--chat-template")
    parser.add_argument("--trust-request-chat-template", action="store_true")
    parser.add_argument("--grpc", action="store_true")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--later-adapter")
    args = parser.parse_args()
    if args.grpc:
        import vllm.entrypoints.launchers.grpc_server  # noqa: F401
    names = EngineArgs.__dataclass_fields__
    engine_args = EngineArgs(**{k: v for k, v in vars(args).items() if k in names})
    offline = args.command == "offline"
    context = UsageContext.LLM_CLASS if offline else UsageContext.OPENAI_API_SERVER
    config = engine_args.create_engine_config(usage_context=context)
    engine = Engine(config, args.seconds)
    pairs = [given.partition("=") for given in args.lora_modules or []]
    args.lora_modules = [SimpleNamespace(name=name, path=path) for name, _, path in pairs]
    if offline:
        engine.wait()
        return
    if args.later_adapter:
        engine.add_lora(args.later_adapter)
    entry.serve(engine, args)


if __name__ == "__main__":
    main()
"""

MODULES = {
    "__main__.py": MAIN,
    "plugins/__init__.py": PLUGINS,
    "engine/arg_utils.py": ARGUMENTS,
    "usage/usage_lib.py": USAGE,
    "model_executor/model_loader/base_loader.py": BASE_LOADER,
    "model_executor/model_loader/default_loader.py": DEFAULT_LOADER,
    "lora/lora_model.py": LORA,
    "lora/resolver.py": RESOLVER,
    "entrypoints/launchers/api_server/app_state.py": STATE,
    "entrypoints/launchers/grpc_server.py": "from vllm.plugins import load_general_plugins",
    "entrypoints/launchers/api_server/entry.py": ENTRY,
    "v1/engine/core.py": CORE,
}


def write(folder: Path, entry_point: str) -> Path:
    """
    Write the package and an installed distribution with the plugin's entry point; return what belongs in PYTHONPATH.

    Args:
        folder: where.
        entry_point: of the group `vllm.general_plugins`, such as `name = package.module:function`.
    """
    for name, text in MODULES.items():
        path = folder / "vllm" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for parent in path.parents:
            if parent == folder:
                break
            (parent / "__init__.py").touch()
    info = folder / "plugin_under_test-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-under-test\nVersion: 0\n")
    (info / "entry_points.txt").write_text(f"[vllm.general_plugins]\n{entry_point}\n")
    return folder
