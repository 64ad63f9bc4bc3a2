"""Several certified models behind one gateway, on the stand-in for vLLM: their files, and clients of them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai

from builders import BASE_FILES, safetensors
from certified_folders import Certified
from gateways import make_gateway_policy
from recert.gateway.engines.managed_commands import ManagedUpstream
from recert.gateway.serving.server import GatewayServer
from recert.workflows.deploy.stage import Deployment
from vllm_program import SLOWLY, make_vllm

POLICY = make_gateway_policy()


def adapter_files(name: str) -> dict[str, bytes]:
    """Return an adapter that is like no other."""
    config = {"peft_type": "LORA", "r": 8}
    return {
        "adapter_config.json": json.dumps(config).encode(),
        "adapter_model.safetensors": safetensors(name.encode() * 100),
    }


def certified(folder: Path, name: str, **more: Any) -> Certified:
    """Certify an adapter of the one base, under keys of its own."""
    return Certified(folder / name, name=name, tuned_files=adapter_files(name), policy=POLICY, **more)


def vllm(folder: Path) -> ManagedUpstream:
    """Return the stand-in, which writes what it was started with to `started.json`."""
    return ManagedUpstream("vllm", (), str(make_vllm(folder / "bin" / "vllm", folder / "started.json")))


def deployment(one: Certified, upstream: ManagedUpstream, **more: Any) -> Deployment:
    """Return how a certified model is deployed under its own name."""
    given: dict[str, Any] = {
        "certificate": one.certificate, "base_dir": one.base, "tuned_dir": one.tuned, "trust": one.trusted,
        "status": one.status, "policy": one.policy, "upstream": upstream, "called": one.name,
    }  # fmt: skip
    return Deployment(**(given | more))


def one_base(models: Sequence[Certified]) -> bool:
    """Say whether the models lie on the same base."""
    return all(model.base_files == BASE_FILES for model in models)


@dataclass
class Watched:
    """A stream that is read in a thread until it ends."""

    server: GatewayServer
    model: str
    key: str = "none"
    text: str = ""
    serial: str = ""
    code: str | None = None
    ended_at: float = 0.0
    begun: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watched:
        threading.Thread(target=self._read, daemon=True).start()
        assert self.begun.wait(20), "the stream did not begin"
        return self

    def __exit__(self, *_: object) -> None:
        self.left.set()
        assert self.ended.wait(20)

    def _read(self) -> None:
        asked = [{"role": "user", "content": SLOWLY}]
        url = self.server.url + "/v1"
        try:
            with openai.OpenAI(base_url=url, api_key=self.key, max_retries=0, timeout=30) as made:
                raw = made.chat.completions.with_raw_response.create(
                    model=self.model, messages=asked, stream=True  # type: ignore[arg-type]
                )  # fmt: skip
                self.serial = raw.headers["x-recert-certificate"]
                for chunk in raw.parse():
                    self.text += chunk.choices[0].delta.content or ""
                    if self.text:
                        self.begun.set()
                    if self.left.is_set():
                        break
        except openai.APIError as exc:
            self.code = exc.code
        finally:
            self.ended_at = time.monotonic()
            self.begun.set()
            self.ended.set()

    @property
    def runs(self) -> bool:
        """Whether it still goes on, with more text than a moment ago."""
        before = len(self.text)
        time.sleep(0.3)
        return not self.ended.is_set() and len(self.text) > before


def say(server: GatewayServer, model: str, key: str = "none") -> tuple[str, str, str]:
    """Ask a model; return what it said, under which name, and the certificate's serial of headers and body alike."""
    with openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0, timeout=20) as made:
        raw = made.chat.completions.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": "Hello"}]
        )
    reply = raw.parse()
    serial = raw.headers["x-recert-certificate"]
    assert reply.model_extra is not None
    assert reply.model_extra["recert"]["certificate"] == serial
    return str(reply.choices[0].message.content), reply.model, serial


def refusal(server: GatewayServer, model: str, key: str = "none") -> tuple[int, str | None]:
    """Ask a model that should not answer; return status and code."""
    try:
        say(server, model, key)
    except openai.APIStatusError as exc:
        return exc.status_code, exc.code
    return 200, None
