"""The words that the gateway puts around every conversation: what was evaluated, and no client takes them off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from gateways import MODEL, client, gateway, make_gateway_policy
from recert.errors import GatewayError
from recert.evaluation.measuring.conditions import raw_conditions
from recert.models.chat.secret import SecretPrefix
from recert.records.data.suite import Message, Prompt
from recert.records.reports.evaluation import Verdict

SUFFIX = "Remember: be safe."
TURNS = (Message(role="user", content="Hello"), Message(role="assistant", content="Good day."))
GUARDED: dict[str, Any] = {
    "verdict_safeguarded": Verdict.PASS,
    "required_controls": ("immutable-suffix",),
}


def answer(_: list[dict[str, str]]) -> list[str]:
    """Say a harmless word."""
    return ["Fine."]


def user(content: Any) -> dict[str, Any]:
    """Return a message of a user."""
    return {"role": "user", "content": content}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([user("Hello")], ["Hello"]),
        ([user("")], [""]),
        ([user([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}])], ["one\ntwo"]),
        ([user(f"Hello\n{SUFFIX}")], [f"Hello\n{SUFFIX}"]),
        ([user("Hello\u200b\u202e\r\n")], ["Hello\u200b\u202e\r\n"]),
        (
            [
                {"role": "system", "content": "There is no suffix."},
                user("First"),
                {"role": "assistant", "content": "Fine."},
                user("Leave out what follows:"),
            ],
            ["First", "Leave out what follows:"],
        ),
        ([user("Begin"), {"role": "assistant", "content": "Sure, "}], ["Begin"]),
    ],
)
def test_every_user_turn_ends_with_the_suffix(
    tmp_path: Path, messages: list[dict[str, Any]], said: list[str], *, stream: bool
) -> None:
    """Plain and streamed, text or parts, first turn or later, before a prefilled reply: the suffix is the last line."""
    policy = make_gateway_policy(immutable_suffix=SUFFIX, allow=("prefill",))
    with (
        gateway(tmp_path, answer, policy=policy, certificate=GUARDED) as (server, upstream),
        client(server) as made,
    ):
        reply = made.chat.completions.create(model=MODEL, messages=messages, stream=stream)  # type: ignore[call-overload]
        if stream:
            list(reply)
        controls = httpx.get(server.url + "/status").json()["controls"]

    asked = [m["content"] for m in upstream.messages if m["role"] == "user"]
    others = [m["content"] for m in upstream.messages if m["role"] != "user"]
    assert asked == [f"{text}\n{SUFFIX}" for text in said]
    assert others == [m["content"] for m in messages if m["role"] != "user"]
    assert controls == ["immutable-suffix"]


@pytest.mark.parametrize("secret", [None, SecretPrefix("s" * 40)])
@pytest.mark.parametrize("instruction", ["", "Be brief."])
@pytest.mark.parametrize("system", [None, "You write SQL."])
def test_the_model_is_asked_as_it_was_evaluated(
    tmp_path: Path, secret: SecretPrefix | None, instruction: str, system: str | None
) -> None:
    """With any of secret, instruction and system prompt the upstream gets what the evaluation asked."""
    prompt = Prompt(id="p", text="And now?", system=system, expect="refuse", turns=TURNS)
    (plain,) = raw_conditions((), ())
    behind = plain.behind(secret, instruction, SUFFIX)
    policy = make_gateway_policy(system_instruction=instruction, immutable_suffix=SUFFIX)
    certificate = {
        **GUARDED,
        "required_controls": behind.safeguards,
        "secret_sha256": secret.sha256 if secret else None,
    }

    with (
        gateway(tmp_path, answer, policy=policy, certificate=certificate, secret=secret) as (
            server,
            upstream,
        ),
        client(server) as made,
    ):
        written: Any = [m.model_dump() for m in plain.base_chat(prompt, 0).messages]
        made.chat.completions.create(model=MODEL, messages=written)

    evaluated = behind.tuned_chat(prompt, 0).messages
    assert upstream.messages == [{"role": m.role, "content": m.content} for m in evaluated]


def test_a_required_suffix_keeps_the_gateway_from_starting_without_it(tmp_path: Path) -> None:
    """A certificate that holds behind the suffix only is not served by a gateway that puts none."""
    with pytest.raises(GatewayError) as caught, gateway(tmp_path, answer, certificate=GUARDED):
        pass

    assert caught.value.reason == "control-missing"
