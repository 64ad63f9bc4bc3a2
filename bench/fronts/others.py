"""Other gateways in front of the same upstream: how each is told to, and started in an environment of its own."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Sequence
from pathlib import Path

from fronts.client import KEY
from fronts.process import Server
from fronts.upstream import PHRASES
from peers.environment import python_of

LITELLM, NEMO = "litellm", "nemo"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def start_litellm(upstream: str, folder: Path, *, guard: bool, words: Sequence[str] = PHRASES) -> Server:
    """
    Start LiteLLM's proxy with one worker; `guard` with its own content filter on what comes in and what goes out.

    It keeps `words` from passing.

    Raises:
        NoPeer: it does not install or start.
    """
    config = {
        "model_list": [
            {
                "model_name": "bench",
                "litellm_params": {"model": "openai/bench", "api_base": f"{upstream}/v1", "api_key": "none"},
            }
        ],
        "litellm_settings": {"telemetry": False},
        "general_settings": {"master_key": KEY},
    }
    if guard:
        blocked = [{"keyword": word, "action": "BLOCK"} for word in words]
        params = {
            "guardrail": "litellm_content_filter",
            "mode": ["pre_call", "post_call"],
            "default_on": True,
            "blocked_words": blocked,
        }
        config["guardrails"] = [{"guardrail_name": "keywords", "litellm_params": params}]  # type: ignore[assignment]
    file = folder / "config.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    port = free_port()
    command = [_tool(LITELLM, "litellm"), "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
    return _start([*command, "--num_workers", "1"], folder, port, {"LITELLM_LOCAL_MODEL_COST_MAP": "True"})


def start_nemo(upstream: str, folder: Path, *, iorails: bool, words: Sequence[str] = PHRASES) -> Server:
    """
    Start NeMo Guardrails' server with a regex rail on what comes in and what goes out; it keeps `words` from passing.

    Streams are judged before they leave (`stream_first: false`); with its default they are judged after.

    Raises:
        NoPeer: it does not install or start.
    """
    pattern = "(?i)" + "|".join(map(re.escape, words))
    config = {
        "models": [
            {
                "type": "main",
                "engine": "openai",
                "model": "bench",
                "parameters": {"base_url": f"{upstream}/v1", "api_key": "none"},
            }
        ],
        "rails": {
            "config": {"regex_detection": {side: {"patterns": [pattern]} for side in ("input", "output")}},
            "input": {"flows": ["regex check input"]},
            "output": {
                "flows": ["regex check output"],
                "streaming": {"enabled": True, "stream_first": False},
            },
        },
    }
    rails = folder / "rails"
    rails.mkdir()
    (rails / "config.yml").write_text(json.dumps(config), encoding="utf-8")
    port = free_port()
    command = [_tool(NEMO, "nemoguardrails"), "server", "--config", str(rails), "--port", str(port)]
    own = {
        "NEMO_GUARDRAILS_IORAILS_ENGINE": "1" if iorails else "0",
        "NEMO_GUARDRAILS_NO_USAGE_STATS": "1",
        "OPENAI_API_KEY": "none",
    }
    return _start([*command, "--default-config-id", "rails", "--disable-chat-ui"], folder, port, own)


def _start(command: Sequence[str], folder: Path, port: int, own: dict[str, str]) -> Server:
    kept = {f"XDG_{kind}_HOME": str(folder) for kind in ("DATA", "CONFIG", "CACHE", "STATE")}
    return Server(command, folder / "said.txt", url=f"http://127.0.0.1:{port}", environment=kept | own)


def _tool(peer: str, name: str) -> str:
    return str(python_of(peer).with_name(name))
