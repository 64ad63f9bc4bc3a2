"""Taking a reasoning model's reply apart: whole, and as a stream cuts it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.records.data.rows import split_reply
from recert.records.reports.reasoning import (
    HARMONY_MARKS,
    PAIRS,
    ReasoningFormat,
    ReplyParts,
    TraceReader,
    open_trace,
    parts_of,
    read_reply,
    with_trace_field,
)

STYLES: tuple[ReasoningFormat, ...] = ("auto", "tags", "opened", "harmony")
MARKS = [*PAIRS, *PAIRS.values(), *HARMONY_MARKS, "analysis", "final", "commentary", "assistantfinal"]
texts = st.lists(
    st.one_of(st.sampled_from(MARKS), st.text(max_size=6), st.sampled_from([" ", "\n", "<", "W"]))
).map("".join)
"""Replies made of marks, parts of them and anything else: well formed by chance only."""


@given(text=texts, style=st.sampled_from(STYLES), cuts=st.lists(st.integers(0, 80), max_size=12))
def test_a_stream_has_the_same_parts_however_it_is_cut(text, style, cuts):
    """
    Trace and answer are those of the whole reply wherever a stream is cut, and no character is lost.
    """
    reader, pieces, before = TraceReader(style), [], 0
    for cut in [*sorted(cut for cut in cuts if cut < len(text)), len(text)]:
        pieces += reader.feed(text[before:cut])
        before = cut
    pieces += reader.finish()

    assert text == "".join(piece.text for piece in pieces)
    assert read_reply(text, style) == parts_of(pieces)


@given(text=texts, style=st.sampled_from(STYLES))
def test_character_by_character_is_the_same(text, style):
    """
    A stream of single characters has the parts of the whole.
    """
    reader = TraceReader(style)
    pieces = [piece for char in text for piece in reader.feed(char)] + reader.finish()

    assert read_reply(text, style) == parts_of(pieces)


@given(trace=st.text(alphabet="abc .\n", max_size=40), opening=st.sampled_from(list(PAIRS)))
def test_a_trace_that_never_closes_has_no_answer(trace, opening):
    """
    What is opened and never closed is a trace with an empty answer.
    """
    parts = read_reply(opening + trace)

    assert (parts.answer, parts.has_trace, parts.closed, parts.only_trace) == ("", True, False, True)


@given(trace=st.text(alphabet="abc .", max_size=20), answer=st.text(alphabet="xyz .", max_size=20))
def test_answers_are_those_that_tuning_learns(trace, answer):
    """
    Evaluation and tuning agree on where the answer of a reply with `<think>` tags begins.
    """
    reply = f"<think>\n{trace}\n</think>\n\n{answer}"

    assert split_reply(reply)[1] == read_reply(reply).answer


@pytest.mark.parametrize(
    ("reply", "style", "expected"),
    [
        ("<think>\nhm\n</think>\n\nHi", "tags", ReplyParts("hm\n", "Hi", has_trace=True)),
        ("hm</think>Hi", "opened", ReplyParts("hm", "Hi", has_trace=True)),
        ("hm</think>Hi", "auto", ReplyParts("hm", "Hi", has_trace=True)),
        ("still thinking", "opened", ReplyParts("still thinking", "", has_trace=True, closed=False)),
        ("Hi", "auto", ReplyParts("", "Hi")),
        ("<think>\n\n</think>\n\nHi", "auto", ReplyParts("", "Hi", has_trace=True)),
        (
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Hi<|return|>",
            "harmony",
            ReplyParts("hm", "Hi", has_trace=True),
        ),
        (
            "<|channel|>commentary<|message|>Look.<|end|><|start|>assistant<|channel|>final<|message|>Hi",
            "auto",
            ReplyParts("", "Look.Hi"),
        ),
        ("analysisWe think.assistantfinalHi", "auto", ReplyParts("We think.", "Hi", has_trace=True)),
        ("analysisWe think", "auto", ReplyParts("We think", "", has_trace=True, closed=False)),
        ("finalHi", "harmony", ReplyParts("", "Hi")),
        ("analysis of rain", "auto", ReplyParts("", "analysis of rain")),
        ("[THINK]hm[/THINK]Hi", "auto", ReplyParts("hm", "Hi", has_trace=True)),
        ("<|channel|>other<|message|>Hi", "harmony", ReplyParts("", "Hi")),
    ],
)
def test_formats_of_known_models(reply, style, expected):
    """
    DeepSeek-R1, Qwen3, gpt-oss with and without its marks, and plain tags are read; what is no trace is an answer.
    """
    assert expected == read_reply(reply, style)


def test_a_second_trace_counts_as_answer():
    """
    Text in tags behind the answer's beginning is judged as an answer: it cannot be hidden from the judge.
    """
    parts = read_reply("<think>a</think>No. <think>b</think>Sure")

    assert parts.answer == "No. <think>b</think>Sure"


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("<|im_start|>assistant\n<think>\n", "<think>\n"), ("<think>\n\n</think>\n\n", ""), ("Hello", "")],
)
def test_a_prompt_says_whether_it_leaves_a_trace_open(prompt, expected):
    """
    A prompt that ends in an open tag has the reply begin inside the trace.
    """
    assert expected == open_trace(prompt)


@given(reasoning=st.text(alphabet="abc \n", min_size=1), content=st.text(alphabet="xyz ", max_size=20))
def test_a_trace_of_its_own_field_is_read_as_one(reasoning, content):
    """
    `reasoning_content` beside `content` gives one text whose trace is the one and whose answer is the other.
    """
    parts = read_reply(with_trace_field(reasoning, content))

    assert content.strip() == parts.answer.strip()
    assert reasoning.strip() == parts.trace.strip()
