"""For any chunking of any reply: what leaves of each field is a prefix of what its whole text allows."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.gateway.output.gate import OutputGate
from recert.gateway.output.holdback import HoldBack
from recert.gateway.output.patterns import compile_patterns
from recert.gateway.output.reply_gate import ReplyGate, whole
from recert.gateway.protocol.deltas import Events, read_deltas
from recert.gateway.protocol.errors import HttpError
from recert.gateway.protocol.parse import ChatOptions, Tool
from recert.gateway.protocol.responses import ChatBodies, Said
from recert.records.live.exchange import ControlScore

PATTERNS = compile_patterns(("make a bomb", "napalm", "abab"))
CHOICES = 3
FIELDS = ("content", "reasoning", "reasoning_content", "refusal")
OFFERED = Tool("look_up", "", None, strict=False)
WISHES = ChatOptions(choices=CHOICES, logprobs=True, tools=(OFFERED,))
ALLOW = ("reasoning", "response_format")
WORD = "poison"

PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "make a bomb", "make ", " a ", "bomb", "napalm", "nap", "alm", "aba", "b", "poi", "son ", WORD, "ｍake",
                "\u200b", "bWFrZSBhIGJvbWI=", "\\u006dake", "Fine. ", "It is all well and good, and this is no news. ",
            ]
        ),
        st.text(st.characters(exclude_categories=("Cs",)), max_size=6),
    ),
    max_size=5,
).map("".join)  # fmt: skip
STEPS = st.lists(st.tuples(st.integers(0, CHOICES - 1), st.sampled_from(FIELDS), PIECES), max_size=14)
CUTS = st.lists(st.integers(0, 5000), max_size=12)
Texts = dict[tuple[int, str], str]


async def word_judge(question: str, text: str) -> ControlScore:
    """Block a text that holds the word."""
    del question
    found = WORD in text
    return ControlScore(
        control="output-judge",
        direction="output",
        score=float(found),
        blocked=found,
        reason="judge" if found else "",
    )


def allowed(text: str, *, judged: bool) -> tuple[str, bool]:
    """Return what a judge of whole texts lets out of a text, and whether it stops it."""
    holdback = HoldBack(PATTERNS)
    out = holdback.feed(text) + holdback.finish()
    at = out.find(WORD) if judged else -1
    return (out[:at], True) if at >= 0 else (out, bool(holdback.violation))


def sent(steps: Sequence[tuple[int, str, str]]) -> bytes:
    """Return the stream of an upstream that says this, with log probabilities of every text."""
    events = []
    for at, field, text in steps:
        tokens = [{"token": char, "logprob": -1.0} for char in text] if field == "content" else []
        choice = {"index": at, "delta": {field: text}, "logprobs": {"content": tokens} if tokens else None}
        events.append(b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n")
    return b"".join(events) + b"data: [DONE]\n\n"


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    """Return bytes cut at positions."""
    marks = sorted({a % (len(data) + 1) for a in at} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(marks)]


def make_gate(*, judged: bool, by_sentence: bool = True) -> ReplyGate:
    """Return a gate for a reply with every field."""
    judge = word_judge if judged else None
    return ReplyGate(
        lambda prefill: OutputGate(judge, HoldBack(PATTERNS), "", by_sentence=by_sentence, prefill=prefill),
        WISHES,
        ALLOW,
    )


def pass_through(blocks: Sequence[bytes], gate: ReplyGate) -> list[Said]:
    """Return what leaves of a stream that arrives in blocks."""

    async def run() -> list[Said]:
        events, out = Events(), []
        for block in blocks:
            for delta in read_deltas(events.feed(block)):
                said = await gate.feed(delta)
                if said:
                    out.append(said)
        return out + await gate.finish()

    return asyncio.run(run())


def texts_in(steps: Sequence[tuple[int, str, str]]) -> Texts:
    """Return the whole text of each field of each choice."""
    found: Texts = defaultdict(str)
    for at, field, text in steps:
        found[at, field] += text
    return found


def texts_out(said: Sequence[Said]) -> Texts:
    """Return what left, as a client puts the events of a stream together."""
    found: Texts = defaultdict(str)
    bodies = ChatBodies("id", "model", 0, "serial")
    for one in said:
        for line in bodies.piece(one).split(b"\n\n"):
            if line:
                (choice,) = json.loads(line.removeprefix(b"data: "))["choices"]
                for field, text in choice["delta"].items():
                    found[choice["index"], field] += text
    return found


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(steps=STEPS, at=CUTS, judged=st.booleans())
def test_what_leaves_of_a_field_is_a_prefix_of_what_its_whole_text_allows(
    steps: list[tuple[int, str, str]], at: list[int], *, judged: bool
) -> None:
    """In any order of choices and fields, in any cuts of the bytes; a choice without findings leaves whole."""
    gate = make_gate(judged=judged)
    out = texts_out(pass_through(cut(sent(steps), at), gate))
    judge = {place: allowed(text, judged=judged) for place, text in texts_in(steps).items()}
    stopped = {choice for (choice, _), (_, found) in judge.items() if found}

    assert stopped == {number for number, end in enumerate(gate.ends()) if end.blocked}
    for place, (text, _) in judge.items():
        assert text.startswith(out[place])
        assert place[0] in stopped or out[place] == text
    assert out.keys() <= judge.keys() or not any(out[place] for place in out.keys() - judge.keys())


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, at=CUTS)
def test_a_plain_reply_has_all_of_a_choice_or_nothing(
    steps: list[tuple[int, str, str]], at: list[int]
) -> None:
    """A choice in which something is found is withheld whole; the others come whole."""
    gate = make_gate(judged=True, by_sentence=False)
    said = pass_through(cut(sent(steps), at), gate)
    out = {one.choice: one.texts for one in whole(said, gate.ends())}
    judge = {place: allowed(text, judged=True) for place, text in texts_in(steps).items()}
    stopped = {choice for (choice, _), (_, found) in judge.items() if found}

    for (choice, field), (text, _) in judge.items():
        assert out[choice].get(field, "") == ("" if choice in stopped else text)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, at=CUTS)
def test_log_probabilities_spell_no_more_than_the_text_that_left(
    steps: list[tuple[int, str, str]], at: list[int]
) -> None:
    """Put together, the tokens of each choice are its text, up to what left of it."""
    said = pass_through(cut(sent(steps), at), make_gate(judged=False))

    for choice in range(CHOICES):
        tokens = "".join(token for one in said if one.choice == choice for token, _ in one.logprobs)
        text = "".join(one.texts.get("content", "") for one in said if one.choice == choice)
        assert tokens == text


CALLS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(["look_up", "look", "_up", ""]), PIECES), max_size=6
)


@settings(max_examples=150, deadline=None)
@given(calls=CALLS, at=CUTS)
def test_a_tool_call_leaves_whole_or_not_at_all(calls: list[tuple[int, str, str]], at: list[int]) -> None:
    """Whatever its parts: a call that leaves is one that was offered, and a judge of the whole finds nothing."""
    parts = [
        {"index": place, "function": {"name": name, "arguments": arguments}}
        for place, name, arguments in calls
    ]
    events = [{"choices": [{"index": 0, "delta": {"tool_calls": [part]}}]} for part in parts]
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    gate = make_gate(judged=True)
    (made,) = [one.calls for one in pass_through(cut(data, at), gate) if one.choice == 0]
    arguments = {
        place: "".join(text for its, _, text in calls if its == place)
        for place in {its for its, _, _ in calls}
    }

    assert bool(calls) == bool(made or gate.ends()[0].blocked)
    if made:
        assert [call.name for call in made] == ["look_up"] * len(arguments)
        assert [call.arguments for call in made] == [text for _, text in sorted(arguments.items())]
        assert not any(allowed(f"{call.name}\n{call.arguments}", judged=True)[1] for call in made)


ODD = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 300), st.floats(allow_nan=False), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "choices", "delta", "content", "index", "tool_calls", "function", "name", "arguments", "usage",
                    "logprobs", "token", "logprob", "finish_reason", "reasoning", "error", "total_tokens",
                ]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(
    value=st.one_of(
        ODD, st.builds(lambda c: {"choices": [c]}, ODD), st.builds(lambda d: {"choices": [{"delta": d}]}, ODD)
    )
)
def test_whatever_an_upstream_says_is_understood_or_an_error_of_ours(value: Any) -> None:
    """No JSON value gets past the reader as anything but texts, numbers in bounds, or a clear error."""
    try:
        found = read_deltas([json.dumps(value).encode()])
    except HttpError as exc:
        assert exc.code in ("upstream-malformed", "upstream-failed")
        return
    for delta in found:
        assert isinstance(delta.text, str)
        assert 0 <= delta.choice < 128
        assert all(isinstance(text, str) for _, text in delta.beside)
        assert all(isinstance(part.name, str) and isinstance(part.arguments, str) for part in delta.calls)


@given(data=st.binary(max_size=200), at=CUTS)
def test_any_bytes_are_events_or_an_error_of_ours(data: bytes, at: list[int]) -> None:
    """Random bytes, cut anywhere, are nothing, events, or a clear error."""
    events = Events()
    try:
        for block in cut(b"data: " + data + b"\n\n", at):
            read_deltas(events.feed(block))
    except HttpError as exc:
        assert exc.code in ("upstream-malformed", "upstream-failed")


def test_a_line_without_an_end_is_an_error() -> None:
    """A line of more than a million bytes is not kept."""
    events = Events()
    with pytest.raises(HttpError) as caught:
        for _ in range(3):
            events.feed(b"data: " + b"x" * 500_000)

    assert caught.value.code == "upstream-malformed"


@settings(max_examples=200, deadline=None)
@given(text=PIECES, at=st.integers(0, 60), cuts=CUTS)
def test_a_reply_leaves_as_if_its_beginning_were_the_model_s_own(text: str, at: int, cuts: list[int]) -> None:
    """Wherever the client's beginning of a reply ends: what leaves of the rest is what the whole text allows."""
    prefill, rest = text[:at], text[at:]
    gate = ReplyGate(
        lambda before: OutputGate(None, HoldBack(PATTERNS), "", by_sentence=True, prefill=before),
        ChatOptions(),
        prefill=prefill,
    )
    out = texts_out(pass_through(cut(sent([(0, "content", rest)]), cuts), gate))[0, "content"]
    may, _ = allowed(text, judged=False)

    assert out == may[len(prefill) :]
