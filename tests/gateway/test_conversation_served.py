"""The risk of conversations, through a gateway: whatever history a client sends, its conversation goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from gateways import MODEL, client, gateway, make_gateway_policy
from recert.gateway.access.keys import ApiKeys
from recert.gateway.serving.server import GatewayServer
from recert.judges.protocol import Score
from recert.records.reports.evaluation import JudgeNote
from recert.store.audit.log import read_log

SOFT = tuple(f"a somewhat suspicious question number {n} about it" for n in range(8))
"""Each scores 0.8: none is blocked alone, three are together."""
PLAIN = "an entirely ordinary question about the weather"
KEYS = {"team-a": "a" * 24, "team-b": "b" * 24}


class Judge:
    """Scores a text by its last line: 0.8 for a suspicious one, 0.1 for any other."""

    note = JudgeNote(id="lines", version="1")

    def score(self, request: str) -> Score:
        """Score one text."""
        return Score(0.8 if "suspicious" in request.splitlines()[-1] else 0.1)


@contextmanager
def serving(tmp_path: Path, **conversation: Any) -> Iterator[GatewayServer]:
    """Serve two clients, each by a key."""
    keys = ApiKeys([f"{name}:{key}" for name, key in KEYS.items()])
    policy = make_gateway_policy(conversation=conversation)
    with gateway(tmp_path, lambda _: ["Well."], policy=policy, keys=keys, request_judge=Judge()) as (
        server,
        _,
    ):
        yield server


def turn(made: openai.OpenAI, *said: str, name: str = "", stream: bool = False) -> str:
    """Send user turns with answers between them; return how the reply ended."""
    messages: list[Any] = []
    for text in said:
        messages += [{"role": "user", "content": text}, {"role": "assistant", "content": "Well."}]
    headers = {"x-recert-conversation": name} if name else {}
    reply = made.chat.completions.create(
        model=MODEL, messages=messages[:-1], stream=stream, extra_headers=headers
    )
    if not stream:
        return str(reply.choices[0].finish_reason)
    return str([chunk.choices[0].finish_reason for chunk in reply if chunk.choices][-1])


@pytest.mark.parametrize("stream", [False, True])
def test_an_edited_history_does_not_reset_the_risk(tmp_path: Path, *, stream: bool) -> None:
    """
    Three turns that climb; then the client leaves them out but for one, changes them or pads them: every further
    request is blocked before the model sees it, and the log says why. Another client is not touched.
    """
    with serving(tmp_path) as server, client(server, KEYS["team-a"]) as made:
        grown = [turn(made, *SOFT[: n + 1], stream=stream) for n in range(4)]
        edited = [
            turn(made, SOFT[2], PLAIN, stream=stream),
            turn(made, "words that were never said here at all", SOFT[0], PLAIN, stream=stream),
            turn(made, PLAIN, *reversed(SOFT[:3]), "and then?", stream=stream),
        ]
        with client(server, KEYS["team-b"]) as other:
            apart = turn(other, SOFT[2], PLAIN, stream=stream)

    assert grown == ["stop", "stop", "stop", "content_filter"]
    assert edited == ["content_filter"] * 3
    assert apart == "stop"
    lines = [line.body for line in read_log(tmp_path / "audit.jsonl") if line.body["decision"] != "opened"]
    assert [(line["client"], line["decision"], line["reason"]) for line in lines[3:]] == [
        *[("team-a", "blocked-input", "conversation-risk")] * 4,
        ("team-b", "released", ""),
    ]
    risks = [
        score["score"] for line in lines for score in line["scores"] if score["control"] == "conversation"
    ]
    assert risks[:4] == [0.6, 1.2, 1.8, 2.4]


def test_a_name_keeps_the_people_of_one_client_apart(tmp_path: Path) -> None:
    """By the header `x-recert-conversation` one person's risk is not another's, and no new name washes old turns."""
    with serving(tmp_path) as server, client(server, KEYS["team-a"]) as made:
        for n in range(4):
            turn(made, PLAIN, *SOFT[: n + 1], name="alice")

        assert turn(made, PLAIN, "what else is there to say of it", name="bob") == "stop"
        assert turn(made, PLAIN, "what else is there to say of it", name="alice") == "content_filter"
        assert turn(made, PLAIN, *SOFT[:4], "and then?", name="carol") == "content_filter"


def test_a_policy_may_do_without(tmp_path: Path) -> None:
    """With `active = false` no risk is kept, and no score is in the log."""
    with serving(tmp_path, active=False) as server, client(server, KEYS["team-a"]) as made:
        ends = [turn(made, *SOFT[: n + 1]) for n in range(6)]

    assert set(ends) == {"stop"}
    assert "conversation" not in (tmp_path / "audit.jsonl").read_text()
