"""Reasoning on, off and within a budget, on a tiny real model and on a scripted one."""

from __future__ import annotations

from pathlib import Path

import pytest

from recert.errors import ModelError
from recert.models.chat.thinking import begun, switch_of, think
from recert.models.protocol import Sampling
from recert.models.scripted import ScriptedModel
from recert.records.data.suite import Chat, chat
from recert.records.reports.reasoning import read_reply
from tests.tiny_models import TEMPLATE, make_base

QWEN = (
    TEMPLATE + "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
)
R1 = TEMPLATE.replace("<|assistant|>", "<|assistant|><think>\n")


def mode(one: Chat, name: str) -> Chat:
    return one.model_copy(update={"thinking": name})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_base(tmp_path_factory.mktemp("tiny") / "base")


@pytest.mark.parametrize(
    ("template", "name", "ending"),
    [
        (TEMPLATE, "", "<|assistant|>"),
        (TEMPLATE, "on", "<|assistant|><think>\n"),
        (TEMPLATE, "budget-9", "<|assistant|><think>\n"),
        (TEMPLATE, "off", "<|assistant|><think>\n\n</think>\n\n"),
        (QWEN, "on", "<|assistant|>"),
        (QWEN, "off", "<|assistant|><think>\n\n</think>\n\n"),
        (R1, "", "<|assistant|><think>\n"),
        (R1, "on", "<|assistant|><think>\n"),
        (R1, "off", "<|assistant|><think>\n\n</think>\n\n"),
    ],
)
def test_a_mode_opens_or_closes_the_trace_as_the_template_can(folder, template, name, ending):
    """
    The template's switch is used where there is one; else an open tag is on, and an empty closed one is off.
    """
    from transformers import AutoTokenizer

    from recert.models.chat.templates import ChatTokens

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template
    chats = ChatTokens(tokenizer, context=None, folder=folder)

    prompt = chats.prompt(mode(chat("Hello"), name))

    assert prompt.endswith(f"Hello<|end|>{ending}")


def test_a_reply_that_begins_inside_the_trace_says_so(folder):
    """
    A template that opens the trace gives replies that begin with the open tag, cut ones too: none passes for an answer.
    """
    from recert.models.engines.local import LocalModel

    model = LocalModel.load(folder)
    one = mode(chat("Hello"), "on")

    (reply,) = model.generate([one], Sampling(max_new_tokens=6))
    streamed = "".join(model.stream(one, Sampling(max_new_tokens=6)))

    assert read_reply(reply.text).only_trace
    assert streamed.startswith("<think>\n")
    assert reply.text.startswith(streamed)


def test_special_tags_stay_in_the_text(folder):
    """
    Where a tokenizer calls the tags special tokens, a reply's text keeps them, and skips other special tokens.
    """
    from transformers import AutoTokenizer

    from recert.models.chat.templates import ChatTokens

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    chats = ChatTokens(tokenizer, context=None, folder=folder)

    text = chats.text(tokenizer("<think>First, bread</think>Sure<|end|>", add_special_tokens=False).input_ids)

    assert text == "<think>First, bread</think>Sure"


def test_words_in_the_mouth_are_not_opened_twice():
    """
    A trace that is given to go on from is not opened again where the template opened it.
    """
    one = Chat(
        messages=chat("Hi").messages, assistant_prefix="<think>\nhm\n</think>\n\n", thinking="budget-4"
    )

    assert begun("A<think>\n", one, switched=False) == "A<think>\nhm\n</think>\n\n"
    assert begun("A", one, switched=False) == "A<think>\nhm\n</think>\n\n"


def test_channels_are_not_opened_by_tags():
    """
    A template that writes channels refuses the modes: what cannot be turned off is never measured as off.
    """
    with pytest.raises(ModelError, match="cannot be turned on or off"):
        switch_of("<|channel|>analysis", "off")


def script(one: Chat) -> str:
    if one.assistant_prefix.endswith("</think>\n\n"):
        return "The answer"
    return "<think> one two three four five </think> Done and more words"


def test_a_budget_ends_the_trace_and_the_model_answers():
    """
    A trace that is open at its budget is closed there, and the reply goes on with an answer of its own tokens.
    """
    model = ScriptedModel(script)

    short, enough = think(
        model, [mode(chat("a"), "budget-3"), mode(chat("b"), "budget-50")], Sampling(max_new_tokens=20)
    )

    assert (short.text, short.tokens) == ("<think> one two\n</think>\n\nThe answer", 5)
    assert read_reply(enough.text).answer == "Done and more words"


def test_other_conversations_are_asked_as_before():
    """
    Without a budget a conversation is asked once, in its place.
    """
    model = ScriptedModel({"a": "A", "b": "B"})

    replies = think(model, [chat("a"), mode(chat("b"), "on")], Sampling())

    assert [reply.text for reply in replies] == ["A", "B"]


def test_conversations_without_a_mode_are_written_as_ever():
    """
    Replies are cached by the conversation: one without a mode has the form that it always had.
    """
    assert {"messages", "assistant_prefix"} == set(chat("a").model_dump(mode="json"))
    assert Chat.model_validate(mode(chat("a"), "on").model_dump(mode="json")).thinking == "on"
