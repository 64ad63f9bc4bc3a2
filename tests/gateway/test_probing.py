"""What a server sends to a probe: read strictly, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.gateway.engines.probing import read_beginning
from recert.gateway.protocol.errors import HttpError

ENTRY = {
    "token": "A",
    "logprob": -0.5,
    "top_logprobs": [{"token": "A", "logprob": -0.5}, {"token": "B", "logprob": -1}],
}


def _stream(*choices: dict[str, Any]) -> bytes:
    events = (b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n" for choice in choices)
    return b"".join(events) + b"data: [DONE]\n\n"


END = {"delta": {}, "finish_reason": "stop"}


def test_tokens_are_read_from_a_stream_and_from_a_whole_reply() -> None:
    """The first tokens with their probabilities, no more than asked for; the text alone where that is compared."""
    piece = {"delta": {"content": "A"}, "logprobs": {"content": [ENTRY]}}
    streamed = _stream({"delta": {"role": "assistant", "content": None}}, piece, piece, piece, END)
    whole = json.dumps(
        {
            "choices": [
                {
                    "message": {"content": "AA"},
                    "logprobs": {"content": [ENTRY] * 2},
                    "finish_reason": "length",
                }
            ]
        }
    ).encode()

    found = read_beginning(streamed, stream=True, compares="log-probs", steps=2)
    assert [step.token for step in found] == ["A", "A"]  # type: ignore[union-attr]
    assert dict(found[0].likely) == {"A": -0.5, "B": -1.0}  # type: ignore[union-attr]
    assert read_beginning(whole, stream=False, compares="log-probs", steps=2) == found
    assert read_beginning(streamed, stream=True, compares="answers", steps=2) == "AAA"
    assert read_beginning(_stream(END), stream=True, compares="log-probs", steps=2) == ()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"data: {\n\n",
        _stream({"delta": {"content": "A"}, "logprobs": {"content": [ENTRY]}}),
        _stream({"delta": {"content": "A"}}, END),
        _stream({"delta": {"content": "A"}, "logprobs": {"content": [{**ENTRY, "top_logprobs": None}]}}, END),
        _stream({"delta": {"content": "A"}, "logprobs": {"content": [{"token": "A"}]}}, END),
        _stream(
            {
                "delta": {},
                "logprobs": {"content": [{**ENTRY, "top_logprobs": [{"token": "A", "logprob": 3}]}]},
            },
            END,
        ),
        b'data: {"error": {"message": "busy"}}\n\n',
    ],
)
def test_what_is_cut_short_or_silent_is_not_read(data: bytes) -> None:
    """A reply without an end, without probabilities, or with impossible ones was not compared."""
    with pytest.raises(HttpError) as refused:
        read_beginning(data, stream=True, compares="log-probs", steps=2)

    assert refused.value.code == "probe-unread"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "message", "content", "logprobs", "token", "logprob", "top_logprobs"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(value=values, stream=st.booleans(), compares=st.sampled_from(["log-probs", "answers"]))
def test_whatever_is_sent_is_read_or_refused(value: Any, stream: bool, compares: str) -> None:  # noqa: FBT001
    """No value, however strange, ends in anything but a beginning or the one error."""
    for sent in (value, {"choices": value}, {"choices": [value]}):
        data = json.dumps(sent).encode()
        try:
            read_beginning(
                b"data: " + data + b"\n" if stream else data, stream=stream, compares=compares, steps=3
            )  # type: ignore[arg-type]
        except HttpError as exc:
            assert exc.code == "probe-unread"
