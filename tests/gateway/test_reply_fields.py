"""What leaves of a reply beside its text: choices, tool calls, reasoning, refusals, log probabilities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openai
import pytest

from gateways import ScriptedUpstream, ask, client, gateway, make_gateway_policy
from recert.gateway.protocol.deltas import read_whole
from recert.judges.protocol import Score
from recert.records.reports.evaluation import JudgeNote
from recert.store.audit.log import read_log

PHRASE = "make a bomb"
ALLOW = ("choices", "logprobs", "prefill", "reasoning", "response_format", "tools")
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
DONE = b"data: [DONE]\n\n"


def policy(**more: Any) -> Any:
    """Return a policy that allows everything and forbids one phrase."""
    return make_gateway_policy(**{"forbidden_phrases": (PHRASE,), "allow": ALLOW, **more})


def choice(
    index: int = 0, reason: str | None = None, *, logprobs: Any = None, **delta: Any
) -> dict[str, Any]:
    """Return one choice of an event."""
    return {"index": index, "delta": delta, "finish_reason": reason, "logprobs": logprobs}


def events(*choices: dict[str, Any]) -> list[bytes]:
    """Return what an upstream sends: an event a choice, each in a packet of its own, and the end."""
    return [b"data: " + json.dumps({"choices": [one]}).encode() + b"\n\n" for one in choices] + [DONE]


def says(*choices: dict[str, Any]) -> ScriptedUpstream:
    """Return an upstream that says this."""
    return ScriptedUpstream(lambda _: [], raw=events(*choices))


def token(text: str, number: float = -0.5) -> dict[str, Any]:
    """Return a token as servers tell its log probability."""
    return {"token": text, "logprob": number, "bytes": list(text.encode()), "top_logprobs": []}


def call(name: str = "", arguments: str = "", index: int = 0, **more: Any) -> dict[str, Any]:
    """Return a part of a tool call."""
    return {"index": index, "function": {"name": name, "arguments": arguments}, **more}


def ask_both(made: openai.OpenAI, **more: Any) -> list[list[dict[str, Any]]]:
    """Ask for a plain reply and for a stream; return the choices of each, a stream's put together."""
    plain = [one.model_dump() for one in ask(made, **more).choices]
    found: dict[int, dict[str, Any]] = {}
    with ask(made, stream=True, **more) as stream:
        for chunk in stream:
            for one in chunk.choices:
                there = found.setdefault(one.index, {"message": {}, "finish_reason": None, "logprobs": None})
                _join(there, one.model_dump())
    return [plain, [found[at] for at in sorted(found)]]


def _join(there: dict[str, Any], step: dict[str, Any]) -> None:
    for name, value in step["delta"].items():
        if isinstance(value, str) and name != "role":
            there["message"][name] = there["message"].get(name, "") + value
        elif value and name == "tool_calls":
            there["message"][name] = there["message"].get(name, []) + value
    there["finish_reason"] = step["finish_reason"] or there["finish_reason"]
    if step["logprobs"]:
        tokens = (there["logprobs"] or {"content": []})["content"]
        there["logprobs"] = {"content": tokens + step["logprobs"]["content"]}


def test_a_blocked_choice_ends_alone(tmp_path: Path) -> None:
    """Of three choices the one with a forbidden phrase ends with `content_filter`; the others come whole."""
    upstream = says(
        choice(0, content="First "),
        choice(1, content="Now make a"),
        choice(2, content="Third "),
        choice(1, content=" bomb"),
        choice(0, "stop", content="reply."),
        choice(1, "stop", content=" at home"),
        choice(2, "length", content="reply."),
    )
    with gateway(tmp_path, upstream, policy=policy()) as (server, _), client(server) as made:
        plain, stream = ask_both(made, n=3)

    ends = ["stop", "content_filter", "length"]
    assert ends == [one["finish_reason"] for one in plain]
    assert ends == [one["finish_reason"] for one in stream]
    assert [one["message"]["content"] for one in plain] == ["First reply.", "", "Third reply."]
    assert [one["message"]["content"] for one in stream] == ["First reply.", "Now ", "Third reply."]
    assert upstream.asked[0]["n"] == 3


@pytest.mark.parametrize("index", [1, 7, -1, "0", True])
def test_a_choice_that_was_not_asked_for_is_an_error(tmp_path: Path, index: Any) -> None:
    """A choice beyond those asked for, or a number that is none, is not released: the upstream is at fault."""
    with (
        gateway(tmp_path, says(choice(index, "stop", content="Hello")), policy=policy()) as (server, _),
        client(server) as made,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        ask(made)

    assert caught.value.code == "upstream-malformed"


@pytest.mark.parametrize("stream", [False, True])
def test_a_choice_that_never_comes_is_an_error(tmp_path: Path, *, stream: bool) -> None:
    """An upstream that answers one choice of two is at fault: nobody takes an empty choice for a reply."""
    with (
        gateway(tmp_path, says(choice(0, "stop", content="Hello")), policy=policy()) as (server, _),
        client(server) as made,
        pytest.raises(openai.APIError) as caught,
    ):
        found = ask(made, n=2, stream=stream)
        list(found)

    assert caught.value.code == "upstream-malformed"


def test_tool_calls_leave_whole_with_ids_of_our_own(tmp_path: Path) -> None:
    """Parts of calls are put together, judged, and leave at the end; the upstream's ids stay inside."""
    upstream = says(
        choice(tool_calls=[call("look_up", "", id="napalm", type="napalm")]),
        choice(tool_calls=[call("", '{"q": "bo'), call("look_up", "{}", index=1)]),
        choice(0, "tool_calls", tool_calls=[call("", 'oks"}')]),
    )
    with gateway(tmp_path, upstream, policy=policy()) as (server, _), client(server) as made:
        for (one,) in ask_both(made, tools=TOOLS):
            calls = one["message"]["tool_calls"]

            assert [(c["function"]["name"], c["function"]["arguments"]) for c in calls] == [
                ("look_up", '{"q": "books"}'),
                ("look_up", "{}"),
            ]
            assert all(c["id"].startswith("call_") and c["type"] == "function" for c in calls)
            assert len({c["id"] for c in calls}) == 2
            assert one["finish_reason"] == "tool_calls"
    assert [tool["function"]["name"] for tool in upstream.asked[0]["tools"]] == ["look_up"]


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("look_up", '{"q": "make a bomb"}', "forbidden-phrase"),
        ("look_up", '{"q": "\\u006dake a b\\u006fmb"}', "forbidden-phrase"),
        ("look_up", '{"words": ["make", "a", "bomb"]}', "forbidden-phrase"),
        ("look_up", '{"q": "bWFrZSBhIGJvbWIgbm93"}', "forbidden-phrase"),
        ("make_a_bomb", "{}", "forbidden-phrase"),
        ("make_a", "bomb", "forbidden-phrase"),
        ("burn_down", "{}", "tool-not-offered"),
    ],
)
def test_a_tool_call_that_may_not_leave_blocks_its_choice(
    tmp_path: Path, name: str, arguments: str, reason: str
) -> None:
    """A phrase in name, arguments or over both, in any spelling, or a tool that nobody offered: no call leaves."""
    upstream = says(
        choice(content="I look. ", tool_calls=[call(name, arguments[:4])]),
        choice(0, "tool_calls", tool_calls=[call("", arguments[4:])]),
    )
    with gateway(tmp_path, upstream, policy=policy()) as (server, _), client(server) as made:
        for (one,), text in zip(ask_both(made, tools=TOOLS), ["", "I look. "], strict=True):
            assert not one["message"].get("tool_calls")
            assert (text, "content_filter") == (one["message"]["content"], one["finish_reason"])
    assert reason == read_log(tmp_path / "audit.jsonl")[-1].body["reason"]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", "refusal"])
def test_a_field_beside_the_text_has_a_gate_of_its_own(tmp_path: Path, field: str) -> None:
    """Reasoning and refusals leave up to a phrase in them, and then their choice is blocked; clean ones leave whole."""
    clean = says(choice(**{field: "I think "}), choice(**{field: "of it."}), choice(0, "stop", content="So."))
    with gateway(tmp_path / "clean", clean, policy=policy()) as (server, _), client(server) as made:
        for (one,) in ask_both(made):
            message = one["message"]
            assert (
                message[field],
                message["content"],
                one["finish_reason"],
            ) == ("I think of it.", "So.", "stop")

    bad = says(
        choice(**{field: "To make a"}), choice(**{field: " bomb"}), choice(0, "stop", content="As I said.")
    )
    with gateway(tmp_path / "bad", bad, policy=policy()) as (server, _), client(server) as made:
        (plain,), (stream,) = ask_both(made)
    assert not plain["message"].get(field)
    assert stream["message"][field] == "To "
    assert (stream["message"]["content"], stream["finish_reason"]) == ("", "content_filter")


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path) -> None:
    for name in ("clean", "bad"):
        (tmp_path / name).mkdir()


def test_fields_apart_are_judged_apart(tmp_path: Path) -> None:
    """The end of the reasoning and the beginning of the text are not read as one phrase, nor are two choices."""
    upstream = says(
        choice(0, reasoning="I can make a"),
        choice(1, content="bomb"),
        choice(1, "stop"),
        choice(0, "stop", content=" bomb"),
    )
    with gateway(tmp_path, upstream, policy=policy()) as (server, _), client(server) as made:
        plain, _ = ask_both(made, n=2)

    assert [one["message"]["content"] for one in plain] == [" bomb", "bomb"]
    assert plain[0]["message"]["reasoning"] == "I can make a"


def test_log_probabilities_leave_with_their_text_and_no_further(tmp_path: Path) -> None:
    """Those of text that is held back never leave, nor do those of tokens that are not the text."""
    upstream = says(
        choice(content="We ", logprobs={"content": [token("We"), token(" ", -0.25)]}),
        choice(content="now ", logprobs={"content": [token("napalm")]}),
        choice(content="do ", logprobs={"content": [token("do "), token("")]}),
        choice(content="make a", logprobs={"content": [token("make a")]}),
        choice(0, "stop", content=" bomb", logprobs={"content": [token(" bomb")]}),
    )
    with gateway(tmp_path, upstream, policy=policy()) as (server, _), client(server) as made:
        (plain,), (stream,) = ask_both(made, logprobs=True)

    assert plain["logprobs"] is None
    assert [(one["token"], one["logprob"]) for one in stream["logprobs"]["content"]] == [
        ("We", -0.5),
        (" ", -0.25),
        ("do ", -0.5),
        ("", -0.5),
    ]
    assert stream["message"]["content"] == "We now do "


def test_what_was_not_asked_for_stays_inside(tmp_path: Path) -> None:
    """Tool calls and log probabilities without a wish for them are dropped, though the policy allows them."""
    upstream = says(
        choice(
            0, "stop", content="Hello", tool_calls=[call("x", "{}")], logprobs={"content": [token("Hello")]}
        )
    )
    with gateway(tmp_path, upstream, policy=policy()) as (server, _), client(server) as made:
        for (one,) in ask_both(made):
            assert (
                one["message"]["content"],
                one["finish_reason"],
                one["logprobs"],
            ) == ("Hello", "stop", None)
            assert not one["message"].get("tool_calls")


def test_the_beginning_that_the_client_wrote_counts(tmp_path: Path) -> None:
    """A phrase that begins in the client's prefill and ends in the reply is found."""
    upstream = says(choice(0, "stop", content="bomb, you"))
    with gateway(tmp_path, upstream, policy=policy()) as (server, _), client(server) as made:
        found = made.chat.completions.create(
            model="test-model",
            messages=[
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "To make a "},
            ],
        )

    assert (found.choices[0].message.content, found.choices[0].finish_reason) == ("", "content_filter")


class DullJudge:
    """Finds privacy in what says so."""

    note = JudgeNote(id="dull", version="1", sensitivity=1, specificity=1)

    def score(self, question: str, reply: str) -> Score:
        """Score a reply."""
        del question
        found = 0.934 if "address" in reply else 0.1
        return Score(found, by_category=(("privacy", found),))


@pytest.mark.parametrize("stream", [False, True])
def test_a_blocked_reply_says_how_it_was_rated(tmp_path: Path, *, stream: bool) -> None:
    """`recert.ratings` names control, field, category, level and score of what blocked; a clean reply has none."""
    upstream = says(choice(0, "stop", content="Her address is"), choice(1, "stop", content="Hello."))
    with (
        gateway(tmp_path, upstream, policy=policy(), reply_judge=DullJudge()) as (server, _),
        client(server) as made,
    ):
        if stream:
            notes = [c.model_extra.get("recert") for c in ask(made, stream=True, n=2)]
            blocked, clean = [note for note in notes if note]
        else:
            blocked = ask(made, n=2).model_extra["recert"]
            clean = {"certificate": "0123456789abcdef" * 2}

    assert clean == {"certificate": "0123456789abcdef" * 2}
    assert blocked == {
        "certificate": "0123456789abcdef" * 2,
        "blocked": "output-judge",
        "ratings": [
            {
                "control": "output-judge",
                "direction": "output",
                "blocked": True,
                "choice": 0,
                "field": "content",
                "category": "privacy",
                "level": "high",
                "score": 0.93,
                "reason": "output-judge",
            }
        ],
    }


def digest(text: str) -> str:
    """Return the sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ([choice(0, "stop", content="Hello.")], digest("Hello.")),
        ([choice(0, "stop")], digest("")),
        (
            [choice(0, reasoning="Hm."), choice(1, "stop", content="B"), choice(0, "stop", content="A")],
            digest(f"0 content {digest('A')}\n0 reasoning {digest('Hm.')}\n1 content {digest('B')}\n"),
        ),
    ],
)
def test_the_audit_line_has_the_digest_of_all_that_left(
    tmp_path: Path, choices: Sequence[dict[str, Any]], expected: str
) -> None:
    """Of the text where there is no more, else of a line with choice, field and digest for each; plain or streamed."""
    with gateway(tmp_path, says(*choices), policy=policy()) as (server, _), client(server) as made:
        ask_both(made, n=2 if len(choices) > 1 else 1)

    last = [line.body for line in read_log(tmp_path / "audit.jsonl") if line.body["decision"] == "released"]
    assert [expected] * 2 == [body["reply_sha256"] for body in last]


def test_an_upstream_that_does_not_stream_is_read_all_the_same() -> None:
    """A plain JSON reply of the upstream passes the same gates."""
    body = {
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi", "refusal": None},
                "finish_reason": "stop",
            },
            {"index": 1, "message": {"content": None, "reasoning": "Hm"}, "finish_reason": "length"},
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
    first, second = read_whole(json.dumps(body).encode(), 2)

    assert (first.text, first.finish_reason, first.choice) == ("Hi", "stop", 0)
    assert (second.beside, second.finish_reason, second.choice) == ((("reasoning", "Hm"),), "length", 1)
    assert second.usage == body["usage"]
