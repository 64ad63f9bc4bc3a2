"""A gateway with a state folder, a key and a control that blocks a word: what the console shows and stops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import openai

from gateways import MODEL, Recheck, ScriptedUpstream, ask, make_gateway_policy, make_verified
from recert.gateway.access.keys import ApiKeys
from recert.gateway.controls import Controls
from recert.gateway.engines.model_config import ModelConfig
from recert.gateway.input.gate import Answer
from recert.gateway.protocol.request_texts import RequestTexts
from recert.gateway.serving.server import GatewayServer
from recert.gateway.serving.state import StateFolder
from recert.gateway.stage import prepare_models
from recert.gateway.upstream.client import UnsafeDeclaredUpstream
from recert.store.audit.log import AuditLog

KEY = "a-key-of-the-console-0123456789"
BLOCKED_WORD = "unwanted"


class BlocksWord:
    """A control that blocks one word, in the category `hate`."""

    name = "word"

    def look(self, asked: RequestTexts) -> Answer:
        """Look for it."""
        found = any(BLOCKED_WORD in text for text in asked.texts)
        return Answer(0.95 if found else 0.05, blocked=found, category="hate" if found else "")

    async def close(self) -> None:
        """Have nothing to close."""


@dataclass
class LiveGateway:
    """One that runs, and where its files are."""

    server: GatewayServer
    folder: Path

    def ask(self, text: str = "Hello") -> str:
        """Ask its model; return the reply, or the code of why there is none."""
        with openai.OpenAI(
            base_url=self.server.url + "/v1", api_key=KEY, max_retries=0, timeout=20
        ) as client:
            try:
                return str(ask(client, text).choices[0].message.content)
            except openai.APIStatusError as exc:
                return str(exc.code)

    def settings(self, *, audit: bool = True) -> str:
        """The part of `console.toml` that is about it."""
        key = self.folder / "key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_text(KEY + "\n")
        lines = [
            "[[gateways]]",
            'name = "main"',
            f'url = "{self.server.url}"',
            f'key_file = "{key}"',
            f'state = "{self.folder / "state"}"',
        ]
        return "\n".join([*lines, *([f'audit = "{self.folder / "audit.jsonl"}"'] if audit else [])]) + "\n"


@contextmanager
def live_gateway(folder: Path) -> Iterator[LiveGateway]:
    """Run one while the block does."""
    policy = make_gateway_policy()
    verified = make_verified(policy)
    upstream = ScriptedUpstream(lambda _: ["Hello", " there"])
    with upstream.running(), AuditLog(folder / "audit.jsonl") as audit:
        offer = ModelConfig(
            verified,
            Recheck(verified),
            policy,
            Controls(
                policy.gateway, secret=None, request_judge=None, reply_judge=None, guards=[BlocksWord()]
            ),
            None,
            UnsafeDeclaredUpstream(upstream.url),
            called=MODEL,
        )
        state = StateFolder(folder / "state")
        with prepare_models([offer], audit=audit, state=state, keys=ApiKeys([KEY])) as server:
            yield LiveGateway(server, folder)
