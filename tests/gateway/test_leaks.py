"""The leak matrix: no field, no way of writing and no chunking gets a forbidden phrase or the secret out."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from gateways import MODEL, ScriptedUpstream, gateway, make_gateway_policy
from recert.gateway.serving.server import GatewayServer
from recert.models.chat.secret import SecretPrefix
from recert.records.reports.evaluation import Verdict


def _shared_with_the_benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "bench" / "fronts" / "leak_cases.py"
    spec = importlib.util.spec_from_file_location("leak_cases", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


leak_cases = _shared_with_the_benchmark()
SECRET = SecretPrefix.generate()
CASES = leak_cases.cases(SECRET.reveal())
SHOWN_CHARS = {leak_cases.ECHO: 23, "base64": 4}
"""Letters and digits of it that may come: of a secret before it is told apart, of base64 what stands before."""
ALLOW = ("choices", "logprobs", "reasoning", "response_format", "tools")


def sent(case: Any) -> list[bytes]:
    """Return what the upstream sends for a case: an event in a packet of its own for each step."""
    steps = [b"data: " + json.dumps({"choices": [step]}).encode() + b"\n\n" for step in case.steps()]
    return [*steps, b"data: [DONE]\n\n"]


Served = tuple[GatewayServer, ScriptedUpstream, httpx.Client]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway that allows every field, with a phrase and a secret to keep, and a client of it."""
    upstream = ScriptedUpstream(lambda _: [], raw=[])
    with (
        gateway(
            tmp_path_factory.mktemp("leaks"),
            upstream,
            policy=make_gateway_policy(forbidden_phrases=(leak_cases.PHRASE,), allow=ALLOW),
            secret=SECRET,
            certificate={
                "required_controls": ("secret-prefix",),
                "verdict_safeguarded": Verdict.PASS,
                "secret_sha256": SECRET.sha256,
            },
        ) as (server, _),
        httpx.Client(base_url=server.url, timeout=20) as client,
    ):
        yield server, upstream, client


def got(served: Served, case: Any, *, stream: bool) -> dict[Any, str]:
    """Return every text that a client gets of a case."""
    _, upstream, client = served
    upstream._raw = sent(case)
    body = {"model": MODEL, "messages": [{"role": "user", "content": leak_cases.QUESTION}], "stream": stream}
    found = client.post("/v1/chat/completions", json=body | case.asked())
    assert found.status_code == 200, found.text
    texts: dict[Any, str] = leak_cases.texts_of(found.content)
    return texts


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("how", dict.fromkeys(case.how for case in CASES if case.spelt))
@pytest.mark.parametrize("field", leak_cases.FIELDS)
def test_nothing_that_may_not_leave_does(served: Served, field: str, how: str, *, stream: bool) -> None:
    """No text of any field holds it, what stands behind it, or more than the first characters of the secret."""
    for case in (one for one in CASES if (one.field, one.how) == (field, how)):
        texts = got(served, case, stream=stream)

        assert not case.leaks(texts)
        assert field != "each choice" or {"Reply 0.", "Reply 1."} <= set(texts.values())
        for text in texts.values():
            _, _, begun = text.partition(leak_cases.BEFORE)
            assert len([char for char in begun if char.isalnum()]) <= SHOWN_CHARS.get(how, 0)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("field", leak_cases.FIELDS)
def test_ordinary_text_comes_in_every_field_but_annotations(
    served: Served, field: str, *, stream: bool
) -> None:
    """The matrix says something: what is held back above comes where there is nothing to hold back."""
    (case,) = [one for one in CASES if (one.field, one.how) == (field, leak_cases.ORDINARY)]

    assert case.comes(got(served, case, stream=stream)) == (field != "annotations")


def test_every_case_leaks_where_nobody_looks() -> None:
    """Each case of the matrix is seen when it does leak, streamed or not."""
    for case in CASES:
        plain = json.dumps({"choices": case.choices()}).encode()

        assert case.leaks(leak_cases.texts_of(b"".join(sent(case))))
        assert case.leaks(leak_cases.texts_of(plain))
