"""The gateway's description of itself: true, and attacked by what it says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gateways import MODEL, ask, client, gateway, make_gateway_policy
from recert.gateway.access.keys import ApiKeys
from recert.gateway.protocol.routes import INSTEAD
from recert.gateway.serving.edge_config import EdgeConfig
from spoken import ScriptedEar, make_audio_policy

KEY = "0123456789abcdef0123"
EVERYTHING = ("choices", "logprobs", "names", "prefill", "reasoning", "response_format", "stop", "tools")
EXAMPLES = 15
HELLO: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}


@pytest.mark.parametrize(
    ("allow", "ear"),
    [((), None), (EVERYTHING, None), ((), ScriptedEar())],
    ids=["plain", "everything", "spoken"],
)
def test_the_description_holds_under_attack(
    tmp_path: Path, allow: tuple[str, ...], ear: ScriptedEar | None
) -> None:
    """
    Hundreds of requests made from the description, most of them broken: no status, type or body that it does not name.

    What breaks the description is refused, and so is every route without a key. That a request which keeps to it is
    answered is not checked: that a conversation ends with its user cannot be said in a schema.
    """
    program = shutil.which("st", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("schemathesis is not installed")
    policy = make_audio_policy() if ear else make_gateway_policy(allow=allow)
    keys = ApiKeys([f"team:{KEY}"])
    with gateway(tmp_path, lambda _: ["hi"], policy=policy, keys=keys, transcriber=ear) as (server, _):
        done = subprocess.run(
            [
                program, "run", server.url + "/openapi.json", "--header", f"Authorization: Bearer {KEY}",
                "--checks", "all", "--exclude-checks", "positive_data_acceptance",
                "--phases", "coverage,fuzzing", "--max-examples", str(EXAMPLES), "--seed", "1",
                "--generation-database", "none", "--warnings", "off", "--no-color",
            ],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert "No issues found" in done.stdout


def test_the_description_is_of_this_gateway(tmp_path: Path) -> None:
    """It names the models that the key may ask, the policy's bounds, what the policy opens, and no other route."""
    policy = make_gateway_policy(allow=("stop",), max_temperature=0.5)
    front = EdgeConfig(metrics="127.0.0.1:0")
    with gateway(tmp_path, lambda _: ["hi"], policy=policy, front=front) as (server, _):
        found = httpx.get(server.url + "/openapi.json").json()
    body = found["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]
    fields = body["schema"]["properties"]

    assert fields["model"]["enum"] == [MODEL]
    assert fields["temperature"]["maximum"] == 0.5
    assert "anyOf" in fields["stop"]
    assert fields["tools"] == {"enum": [None, []]}
    assert fields["logit_bias"] == {"type": "null"}
    assert body["schema"]["additionalProperties"] is False
    assert set(found["paths"]) == {
        "/healthz", "/status", "/openapi.json", "/v1/models", "/v1/models/{model}", "/v1/chat/completions",
    }  # fmt: skip


@pytest.mark.parametrize("path", sorted(INSTEAD))
def test_known_routes_that_are_not_answered_say_why(tmp_path: Path, path: str) -> None:
    """404 with the reason, and where there is one the way out."""
    with gateway(tmp_path, lambda _: ["hi"]) as (server, _):
        found = httpx.post(server.url + path, json={"model": MODEL, "input": "Hello", "prompt": "Hello"})

    assert (found.status_code, found.json()["error"]["code"]) == (404, "not_certified")
    assert ("/v1/chat/completions" in found.json()["error"]["message"]) == (path != "/v1/embeddings")


def test_one_model_is_described(tmp_path: Path) -> None:
    """`models.retrieve` gives what the list gives; of a model that is not there, 404."""
    with gateway(tmp_path, lambda _: ["hi"]) as (server, _), client(server) as made:
        one, listed = made.models.retrieve(MODEL), made.models.list().data
        with pytest.raises(openai.NotFoundError) as caught:
            made.models.retrieve("other")
        ask(made)

    assert listed == [one]
    assert caught.value.code == "model_not_found"
