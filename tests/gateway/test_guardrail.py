"""LiteLLM's Generic Guardrail API on a real gateway: what it answers, to whom, and that no failure is a yes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certified_folders import Certified
from disks import full_disk
from gateways import Recheck, gateway, make_gateway_policy, make_verified
from many_models import certified, deployment, vllm
from recert.errors import VerificationError
from recert.gateway.access.keys import ApiKeys
from recert.gateway.access.keys_file import KeysFile
from recert.gateway.guardrail.requests import ROUTE, is_guardrail, path_for
from recert.gateway.input.normalise import squeeze
from recert.gateway.serving.edge_config import EdgeConfig
from recert.gateway.serving.server import GatewayServer
from recert.judges.protocol import Score
from recert.policy import load_policy
from recert.store.audit.log import AuditLog, read_log
from recert.workflows.deploy.stage import deploy_models
from served_process import serve_command, served_process

PHRASE = "blue harvest"
KEY = "0123456789abcdef-litellm"
POLICY = make_gateway_policy(forbidden_phrases=[PHRASE], max_body_bytes=20_000, control_timeout_s=0.5)


def quiet(messages: Sequence[dict[str, str]]) -> list[str]:
    """Return what no test asks for: the guardrail never asks the model."""
    raise AssertionError(messages)


class Judge:
    """Scores requests by a word; fails at another."""

    id = "word"
    version = "1"

    def score_many(self, texts: Sequence[str]) -> list[Any]:
        """Score each."""
        return [self.score(text) for text in texts]

    def score(self, text: str) -> Score:
        """Score one."""
        if "crash" in text:
            raise RuntimeError("the judge broke")
        return Score(0.95 if "harmful" in text else 0.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayServer]:
    """A gateway with the guardrail, and a key for LiteLLM."""
    folder = tmp_path_factory.mktemp("guardrail")
    keys = ApiKeys([f"litellm:{KEY}"])
    with gateway(folder, quiet, policy=POLICY, keys=keys, front=EdgeConfig(guardrail=True)) as (made, _):
        made.folder = folder  # type: ignore[attr-defined]
        yield made


def post(server: GatewayServer, value: Any, *, path: str = ROUTE, **headers: str) -> httpx.Response:
    """Post as LiteLLM does."""
    return httpx.post(server.url + path, json=value, headers={"x-api-key": KEY} | headers, timeout=20)


def action(server: GatewayServer, direction: str, **fields: Any) -> tuple[str, str]:
    """Return action and reason."""
    reply = post(server, {"input_type": direction, "request_data": {}, **fields})
    said = reply.json()
    assert reply.status_code == 200
    return said["action"], said.get("blocked_reason", "").removeprefix("blocked by Recert: ")


def messages(text: str) -> dict[str, Any]:
    """Return a request as LiteLLM posts it."""
    return {"texts": [text], "structured_messages": [{"role": "user", "content": text}], "model": "gpt-x"}


def test_what_is_allowed_is_none_and_what_is_not_is_blocked(server: GatewayServer) -> None:
    """Requests and replies, in the words of LiteLLM's API, with the certificate under which it was decided."""
    said = post(server, {"input_type": "request", "request_data": {}, **messages("When do you open?")})
    reply = post(server, {"input_type": "response", "request_data": {}, "texts": ["At nine."]})

    assert said.json()["action"] == reply.json()["action"] == "NONE"
    assert (
        said.headers["x-recert-certificate"] == said.json()["recert"]["certificate"] == "0123456789abcdef" * 2
    )
    assert action(server, "request", **messages(f"Say {PHRASE}.")) == ("BLOCKED", "forbidden-phrase")
    assert action(server, "response", texts=[f"It is {PHRASE}."]) == ("BLOCKED", "forbidden-phrase")


@pytest.mark.parametrize("direction", ["request", "response"])
@pytest.mark.parametrize(
    "fields",
    [
        {"texts": ["fine", "blue\u200b har\u00advest"]},
        {"texts": ["\uff42\uff4c\uff55\uff45 \uff48\uff41\uff52\uff56\uff45\uff53\uff54"]},
        {"texts": ["Ymx1ZSBoYXJ2ZXN0"]},
        {"structured_messages": [{"role": "tool", "content": PHRASE}]},
        {"structured_messages": [{"role": "user", "name": PHRASE, "content": "x"}]},
        {"tools": [{"type": "function", "function": {"name": "f", "description": PHRASE}}]},
        {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": '{"a": "blue \\u0068arvest"}'}}]},
        {"tool_calls": [{"id": "1", "function": {"name": "blue", "arguments": "harvest"}}]},
        {"some_field_of_next_year": {"deep": [{"in": PHRASE}]}},
        {PHRASE: "x"},
    ],
)
def test_a_phrase_is_blocked_in_every_field(
    server: GatewayServer, direction: str, fields: dict[str, Any]
) -> None:
    """Whatever the field is called, and however it is written."""
    assert action(server, direction, **fields) == ("BLOCKED", "forbidden-phrase")


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.sampled_from(["b", "lue", " ", "blue", "h", "harvest", "arve", "st", "x", ""]), max_size=7
    )
)
def test_what_litellm_lets_out_of_a_stream_never_holds_a_phrase(
    server: GatewayServer, pieces: list[str]
) -> None:
    """
    As LiteLLM does with `incremental_diff`: it asks about all that came so far, lets it out but for the last
    `stream_holdback_chars`, and at the end all of it. However a stream is cut, no phrase leaves, and what holds none
    leaves whole. A second text, of another choice, keeps its place.
    """
    out, came = "", ""
    for piece in [*pieces, None]:
        came += piece or ""
        said = post(server, {"input_type": "response", "request_data": {}, "texts": ["", came]}).json()
        if said["action"] == "BLOCKED":
            break
        held = 0 if piece is None else said["stream_holdback_chars"][1]
        out = came[: max(len(out), len(came) - held)]

    assert squeeze(PHRASE) not in squeeze(out)
    assert out == came or squeeze(PHRASE) in squeeze(came)
    assert len(said.get("stream_holdback_chars", [0, 0])) == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"not json", "invalid_json"),
        (b'{"input_type":"request","input_type":"response"}', "invalid_json"),
        (b'{"input_type": NaN}', "invalid_json"),
        (b"[]", "invalid_type"),
        (b'{"texts": ["a"]}', "invalid_input_type"),
        (b'{"input_type": "request", "images": ["x"]}', "not_judged"),
        (b'{"input_type": "request", "texts": ["' + b"x" * 21_000 + b'"]}', "body_too_large"),
        (b'{"input_type": "request", "more": ' + b"[" * 60 + b"]" * 60 + b"}", "too_deep"),
    ],
)
def test_what_cannot_be_judged_is_blocked_with_status_200(
    server: GatewayServer, body: bytes, reason: str
) -> None:
    """An error status could be taken for an unreachable guardrail, after which LiteLLM may be told to go on."""
    reply = httpx.post(
        server.url + ROUTE, content=body, headers={"x-api-key": KEY, "content-type": "application/json"}
    )

    assert (reply.status_code, reply.json()["action"]) == (200, "BLOCKED")
    assert reply.json()["blocked_reason"] == f"blocked by Recert: {reason}"


def test_only_who_has_a_key_is_answered(server: GatewayServer) -> None:
    """By LiteLLM's own header or the usual one; that header opens no other route."""
    fine = {"input_type": "request", "request_data": {}, "texts": ["hello"]}
    codes = [
        httpx.post(server.url + ROUTE, json=fine, headers=headers).status_code
        for headers in (
            {"x-api-key": KEY},
            {"authorization": f"Bearer {KEY}"},
            {},
            {"x-api-key": "wrong"},
            {"x-api-key": KEY, "authorization": "Bearer wrong"},
        )
    ]
    elsewhere = httpx.get(server.url + "/v1/models", headers={"x-api-key": KEY}).status_code

    assert codes == [200, 200, 401, 401, 401]
    assert elsewhere == 401


def test_a_key_may_ask_for_what_it_was_given(tmp_path: Path) -> None:
    """A key for chat opens no guardrail, one for another model gets no answer about this one's controls."""
    file, keys = KeysFile(), {}
    for name, may in {
        "chat": {"routes": ["chat"]},
        "guard": {"routes": ["guardrail"]},
        "other": {"routes": ["guardrail"], "models": ["other-*"]},
    }.items():
        file, keys[name] = file.with_new(name, **may)
    file.write(tmp_path / "keys.json")
    fine = {"input_type": "request", "request_data": {}, "texts": ["hello"]}
    with gateway(
        tmp_path, quiet, policy=POLICY, keys=ApiKeys(file=tmp_path / "keys.json"),
        front=EdgeConfig(guardrail=True, budgets=tmp_path / "budgets.db"),
    ) as (made, _):  # fmt: skip
        found = {
            name: httpx.post(made.url + ROUTE, json=fine, headers={"x-api-key": key})
            for name, key in keys.items()
        }

    assert found["chat"].status_code == 403
    assert found["guard"].json()["action"] == "NONE"
    assert found["other"].json()["blocked_reason"].endswith("model_not_found")


def test_without_the_switch_there_is_no_such_route(tmp_path: Path) -> None:
    """Nothing is answered that was not asked for."""
    with gateway(tmp_path, quiet, policy=POLICY) as (made, _):
        found = httpx.post(made.url + ROUTE, json={"input_type": "request"})

    assert (found.status_code, found.json()["error"]["code"]) == (404, "unknown_route")


def test_each_answer_is_a_line_of_the_audit_log(server: GatewayServer) -> None:
    """Written before the answer leaves: client, certificate, decision, scores; texts by digest alone."""
    for direction, text in (("request", "a secretly fine text"), ("response", PHRASE)):
        action(server, direction, texts=[text])
    path: Path = server.folder / "audit.jsonl"  # type: ignore[attr-defined]
    lines = [line.body for line in read_log(path) if line.kind == "exchange"][-2:]

    assert [(line["decision"], line["reason"]) for line in lines] == [
        ("allowed-input", ""), ("blocked-output", "forbidden-phrase"),
    ]  # fmt: skip
    assert {(line["client"], line["certificate_serial"]) for line in lines} == {
        ("litellm", "0123456789abcdef" * 2)
    }
    assert b"secretly" not in path.read_bytes()


def test_a_log_that_cannot_be_written_blocks(tmp_path: Path) -> None:
    """No answer without its line."""
    with gateway(tmp_path, quiet, policy=POLICY, front=EdgeConfig(guardrail=True)) as (made, _):
        said_of(made)
        with full_disk((tmp_path / "audit.jsonl").stat().st_size + 20):
            said = said_of(made)
        again = said_of(made)

    assert said["action"] == "BLOCKED"
    assert said["blocked_reason"].endswith("audit-unavailable")
    assert again["action"] == "NONE"


def test_a_certificate_that_ended_blocks_everything(tmp_path: Path) -> None:
    """Within five seconds, with its reason, and still with status 200; taken back it answers again."""
    verified = make_verified(POLICY)
    recheck = Recheck(verified)
    with gateway(tmp_path, quiet, policy=POLICY, recheck=recheck, front=EdgeConfig(guardrail=True)) as (
        made,
        _,
    ):
        before = said_of(made)
        recheck.answer = VerificationError("revoked", "it is revoked")
        after = until(made, "BLOCKED")
        recheck.answer = verified
        again = until(made, "NONE")

    assert before["action"] == again["action"] == "NONE"
    assert after["blocked_reason"].endswith("revoked")


def said_of(made: GatewayServer) -> dict[str, Any]:
    """Ask about a text that is fine."""
    reply = httpx.post(made.url + ROUTE, json={"input_type": "request", "texts": ["hello"]})
    assert reply.status_code == 200
    return dict(reply.json())


def until(made: GatewayServer, wanted: str) -> dict[str, Any]:
    """Ask for up to five seconds until the action is the one that is wanted."""
    end = time.monotonic() + 5
    while (found := said_of(made))["action"] != wanted and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_the_judge_of_requests_is_asked_and_its_failure_blocks(tmp_path: Path) -> None:
    """The same controls as in front of the model itself, in the same order."""
    with gateway(tmp_path, quiet, policy=POLICY, request_judge=Judge(), front=EdgeConfig(guardrail=True)) as (
        made,
        _,
    ):
        found = [
            httpx.post(made.url + ROUTE, json={"input_type": "request", **messages(text)}).json()
            for text in ("a harmless text", "something harmful here", "make it crash")
        ]

    assert [one["action"] for one in found] == ["NONE", "BLOCKED", "BLOCKED"]
    assert [one.get("blocked_reason", "").rpartition(": ")[2] for one in found] == [
        "", "input-judge", "control-failed",
    ]  # fmt: skip


def test_the_model_stands_in_the_address(server: GatewayServer) -> None:
    """Where several are served: whoever asks LiteLLM cannot choose whose controls are asked."""
    named = post(server, {"input_type": "request", "texts": ["hello"]}, path=path_for("test-model")).json()
    unknown = post(server, {"input_type": "request", "texts": ["hello"]}, path=path_for("other")).json()
    chosen = post(server, {"input_type": "request", "texts": ["hello"], "model": "other"}).json()

    assert (named["action"], chosen["action"]) == ("NONE", "NONE")
    assert unknown["blocked_reason"].endswith("model_not_found")


@given(name=st.text(min_size=1, max_size=20))
def test_every_name_of_a_model_has_a_path(name: str) -> None:
    """Also with slashes and percent signs."""
    path = path_for(name)

    assert path == f"/models/{quote(name, safe='')}{ROUTE}"
    assert is_guardrail(path)
    assert not is_guardrail(path + "/more")
    assert not is_guardrail("/models/" + ROUTE.lstrip("/"))


def test_each_of_several_models_has_its_own_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name nothing is answered; a model that is suspended blocks what is asked under its name alone."""
    monkeypatch.delenv("RECERT_API_KEYS", raising=False)
    models = {name: certified(tmp_path / "models", name) for name in ("sql", "chat")}
    upstream = vllm(tmp_path)
    fine = {"input_type": "request", "request_data": {}, "texts": ["hello"], "model": "sql"}
    with AuditLog(tmp_path / "audit.jsonl") as audit:
        server = deploy_models(
            [deployment(one, upstream) for one in models.values()],
            audit=audit,
            front=EdgeConfig(guardrail=True),
        )
        with server:

            def asked(path: str) -> tuple[str, str]:
                said = httpx.post(server.url + path, json=fine).json()
                return said["action"], said["recert"]["certificate"]

            nameless, before = asked(ROUTE), [asked(path_for(name)) for name in models]
            models["chat"].suspend()
            end = time.monotonic() + 5
            while asked(path_for("chat"))[0] == "NONE" and time.monotonic() < end:
                time.sleep(0.05)
            after = [asked(path_for(name))[0] for name in models]

    assert nameless == ("BLOCKED", "")
    assert before == [("NONE", one.content.serial) for one in models.values()]
    assert after == ["NONE", "BLOCKED"]


@pytest.mark.slow
def test_the_command_opens_the_route(tmp_path: Path) -> None:
    """`recert serve --guardrail`, as a process of its own."""
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'id = "p"\nversion = "1"\n[evaluation]\nfamilies = []\nmin_harmful_suites = 1\ncontrast_suites = []\n'
        f'[gateway]\nforbidden_phrases = ["{PHRASE}"]\n'
        '[[rules]]\nid = "harm"\nsuite = "harmful"\nestimand = "harm"\nmargin = 0.1\n'
    )
    one = Certified(tmp_path / "model", policy=load_policy(policy))
    nowhere = "http://127.0.0.1:9"
    command = serve_command(one, policy, nowhere, "--audit", tmp_path / "audit.jsonl", "--guardrail")
    with served_process(command) as url:
        texts = (["hello"], [PHRASE])
        found = [
            httpx.post(url + ROUTE, json={"input_type": "request", "texts": one}).json()["action"]
            for one in texts
        ]

    assert found == ["NONE", "BLOCKED"]
