"""What `recert serve` is told on the command line is what the gateway does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from aiohttp import web

from certified_folders import Certified
from gateways import ScriptedUpstream, ask, ask_stream
from http_endpoints import endpoint, hang, reply
from logs import audit_key, exchange, write_log
from postgres import server as postgres_server
from recert.cli.loading import load_audit
from recert.errors import InputError, SettingsError, SigningKeyError
from recert.gateway.output.gate import OUTPUT_JUDGE
from recert.judges.moderation_api import ModerationJudge
from recert.policy import load_policy
from recert.store.audit.file import segments
from recert.store.audit.log import read_log
from recert.store.audit.reading import open_log
from recert.store.database import upgrade
from recert.workflows.deploy.models_file import reply_judge_at
from served_process import POLICY, serve_command, served_process

BOMB = "First you take the bomb. "


def echo(messages: list[dict[str, str]]) -> list[str]:
    """Say what was said."""
    return [messages[-1]["content"]]


def llama(body: dict[str, Any], _: int) -> web.StreamResponse:
    """Answer as Llama Guard does, for whom only bombs are unsafe."""
    assert body["messages"][-1]["content"]
    return reply("unsafe\nS1" if "bomb" in body["messages"][-1]["content"] else "safe")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy's file."""
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def one(tmp_path: Path, policy: Path) -> Certified:
    """A certified model."""
    return Certified(tmp_path / "model", policy=load_policy(policy))


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    """A model that says what was said."""
    with ScriptedUpstream(echo).running() as running:
        yield running


def recert(*words: object) -> subprocess.CompletedProcess[str]:
    """Run `recert`."""
    command = [sys.executable, "-m", "recert", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def openai_of(url: str) -> openai.OpenAI:
    """Return a client."""
    return openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0, timeout=20)


@pytest.mark.slow
def test_a_signed_log_shows_that_its_end_was_cut(
    tmp_path: Path, one: Certified, policy: Path, upstream: ScriptedUpstream
) -> None:
    """
    `--audit-key` and `--checkpoints`: what leaves the machine shows a log whose last lines, and all that lies beside
    it, were taken away. Until then the log holds to its last line, and the counts say how much is not signed yet.
    """
    key = audit_key(tmp_path)
    log, copies = tmp_path / "audit.jsonl", tmp_path / "elsewhere"
    command = serve_command(
        one,
        policy,
        upstream.url,
        "--audit",
        log,
        "--audit-key",
        tmp_path / "audit.pem",
        "--checkpoints",
        copies,
    )
    with served_process(command) as url, openai_of(url) as made:
        ask(made, "Hello")
        ask_stream(made, "Hello")
        counted = httpx.get(url + "/metrics").text
    asked = ["audit", "verify", log, "--key", tmp_path / "audit.pub", "--checkpoints", copies]
    held = recert(*asked, "--max-unsigned", 0)
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    for beside in (log.with_name("audit.jsonl.checkpoint"), log.with_name("audit.jsonl.checkpoints")):
        beside.unlink()
    cut = recert(*asked)

    assert key.public.roles == ("audit",)
    assert (held.returncode, held.stdout.split(" lines")[0]) == (0, "3"), held.stderr
    assert "recert_audit_unsigned_lines 3.0" in counted
    assert re.search(r"^recert_audit_export_behind_seconds \d", counted, re.MULTILINE)
    assert cut.returncode == 1


@pytest.mark.slow
def test_a_log_is_put_aside_when_it_is_large(tmp_path: Path) -> None:
    """`--audit-rotate-mib`: the files together are the log."""
    log = write_log(tmp_path / "audit.jsonl", 2500)
    assert log.stat().st_size > 2**20
    for number in range(2):
        with load_audit(str(log), None, None, 1, keep_texts=False) as audit:
            audit.append(exchange(number))

    assert [len(path.name) > len(log.name) for path in segments(log)] == [True, False]
    assert len(read_log(log)) == 2502


@pytest.mark.slow
def test_several_gateways_share_a_database(
    tmp_path: Path, one: Certified, policy: Path, upstream: ScriptedUpstream
) -> None:
    """`--audit postgresql://…`: each has a chain of its own there; texts and orders lie where they belong."""
    with postgres_server() as running:
        where = running.database()
        upgrade(where)
        for node in ("a", "b"):
            command = serve_command(
                one, policy, upstream.url, "--audit", where, "--keep-texts", "--state", tmp_path / node
            )
            with served_process(command, RECERT_NODE=node) as url, openai_of(url) as made:
                ask(made, f"Hello {node}")
        lines = {node: list(open_log(where, node)) for node in ("a", "b")}
        checked = recert("audit", "verify", where, "--of", "a")

    assert {node: [line.body["decision"] for line in found] for node, found in lines.items()} == {
        "a": ["released"],
        "b": ["released"],
    }
    assert checked.returncode == 0, checked.stderr


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_a_judge_of_replies_stands_before_they_leave(
    tmp_path: Path, one: Certified, policy: Path, upstream: ScriptedUpstream, *, stream: bool
) -> None:
    """`--reply-judge`: what it finds harmful stays, what came before in a stream did not; the log has its score."""
    with endpoint(llama) as (guard, asked_of_guard):
        command = serve_command(
            one, policy, upstream.url, "--audit", tmp_path / "audit.jsonl",
            "--reply-judge", f"llama-guard-3=openai:{guard}#guard",
        )  # fmt: skip
        fine = "Bread needs flour, water, salt and a long, quiet night in a cool place before it is baked. "
        with served_process(command) as url, openai_of(url) as made:
            if stream:
                passed, blocked = ask_stream(made, fine), ask_stream(made, fine + BOMB * 5)
            else:
                choices = [ask(made, text).choices[0] for text in (fine, fine + BOMB)]
                passed, blocked = [(one.message.content, one.finish_reason) for one in choices]
            status = httpx.get(url + "/status").json()
    scores = [line.body["scores"] for line in read_log(tmp_path / "audit.jsonl")][-1]

    assert passed == (fine, "stop")
    assert blocked == (fine.rstrip() if stream else "", "content_filter")
    assert asked_of_guard
    assert OUTPUT_JUDGE in json.dumps(status)
    assert [(s["score"], s["category"]) for s in scores if s["control"] == OUTPUT_JUDGE] == [
        (1.0, "violent_crimes")
    ]


@pytest.mark.slow
def test_a_judge_of_replies_that_hangs_lets_nothing_out(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """Whatever keeps it from answering blocks the reply, within the time that the policy gives controls."""
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY.replace("[gateway]", "[gateway]\ncontrol_timeout_s = 0.5"))
    one = Certified(tmp_path / "model", policy=load_policy(policy))
    with endpoint(lambda *_: hang()) as (guard, _):
        command = serve_command(
            one, policy, upstream.url, "--audit", tmp_path / "audit.jsonl",
            "--reply-judge", f"llama-guard-3=openai:{guard}#guard",
        )  # fmt: skip
        with served_process(command) as url, openai_of(url) as made:
            choice = ask(made, "Hello").choices[0]
    (line,) = read_log(tmp_path / "audit.jsonl")

    assert (choice.message.content, choice.finish_reason) == ("", "content_filter")
    assert (line.body["decision"], line.body["reason"]) == ("blocked-output", "control-timeout")


def test_judges_of_replies_are_asked_at_endpoints(tmp_path: Path) -> None:
    """None, the moderation API, and names that are no judge of harm or would load weights."""
    assert reply_judge_at("") is None
    assert isinstance(reply_judge_at("moderation-api"), ModerationJudge)
    for given in ("refusal", "compliance", "llama-guard-3", "llama-guard-3=local:folder"):
        with pytest.raises(InputError):
            reply_judge_at(given)


def test_what_cannot_be_signed_is_said_at_the_start(tmp_path: Path, one: Certified, policy: Path) -> None:
    """Checkpoints without a key, a key of another role, and files of a database are clear errors; nothing is served."""
    log = str(tmp_path / "audit.jsonl")
    with pytest.raises(SettingsError, match="need a key"):
        load_audit(log, None, ["elsewhere"], None, keep_texts=False)
    with pytest.raises(SigningKeyError, match="another role"):
        load_audit(log, one.trust / "evaluator.pem", None, None, keep_texts=False)
    with pytest.raises(SettingsError, match="no files"):
        load_audit("postgresql://nowhere/recert", None, None, 5, keep_texts=False)
    assert not Path(log).exists()
