"""How a chat template writes a conversation: what it refuses, what it leaves out, and with which token a reply ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import jinja2

from recert.errors import TemplateError
from recert.models.chat.control_text import control_texts, parted, require_plain, tokens_of

_SYSTEM_MARK: Final = "Qsystemmarkq"
_REPLY_MARK: Final = "Qreplymarkq"
"""What stands for words while a template is tried: letters, which no template changes."""
_REFUSALS = (jinja2.TemplateError, TypeError, ValueError, LookupError)
"""How templates refuse a conversation: they raise what they like."""


def fit_roles(tokenizer: Any, messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """
    Return a conversation as a chat template takes it.

    Some templates refuse a system message (Gemma's), and some leave it out without a word (Phi-3's first). There what
    it says stands at the beginning of the first request, an empty line behind it, as Gemma 3's own template writes it.
    """
    first, *rest = messages or [{}]
    if first.get("role") != "system" or _takes_system(tokenizer):
        return list(messages)
    asked = rest[0] if rest and rest[0]["role"] == "user" else None
    behind = rest[1:] if asked is not None else rest
    words = first["content"] if asked is None else f"{first['content']}\n\n{asked['content']}"
    return [{"role": "user", "content": words}, *behind]


def _takes_system(tokenizer: Any) -> bool:
    said = [{"role": "system", "content": _SYSTEM_MARK}, {"role": "user", "content": "a"}]
    try:
        return _SYSTEM_MARK in str(tokenizer.apply_chat_template(said, tokenize=False))
    except _REFUSALS:
        return False


def render(
    tokenizer: Any, messages: Sequence[dict[str, str]], *, control: Sequence[str] | None = None, **more: Any
) -> str:
    """
    Return the text of a conversation as the chat template writes it, roles fitted.

    Words of the messages that the tokenizer would read as control have a seam in them: put the text into tokens by
    `tokens_of`.

    Args:
        tokenizer: with the chat template.
        messages: role and text of each.
        control: the words that get a seam; by default all that the tokenizer reads as control.
        more: goes to the template.

    Raises:
        TemplateError: the template refuses the conversation.
        ModelError: the tokenizer reads what somebody said as control all the same.
    """
    control = control_texts(tokenizer) if control is None else control
    said = [{**one, "content": parted(one["content"], one["role"], control)} for one in messages]
    require_plain(tokenizer, [one["content"] for one in said], control)
    fitted = fit_roles(tokenizer, said)
    try:
        return str(tokenizer.apply_chat_template(fitted, tokenize=False, **more))
    except _REFUSALS as exc:
        raise TemplateError(
            "the model's chat template refuses the conversation",
            facts={"roles": ", ".join(one["role"] for one in fitted), "because": exc},
            hint="most templates want the user and the assistant in turn, beginning with the user",
        ) from exc


def turn_end(tokenizer: Any, configured: int | Sequence[int] | None) -> int:
    """
    Return the token that ends a reply in the chat template, such as `<end_of_turn>`; else what ends a text.

    Args:
        tokenizer: with the chat template.
        configured: what ends a reply by the generation config. Another token would not, so it is not taken.
    """
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _REPLY_MARK}]
    try:
        behind = render(tokenizer, said).partition(_REPLY_MARK)[2].lstrip()
    except TemplateError:
        behind = ""
    first = tokens_of(tokenizer, behind)[:1] if behind else []
    ends = [one for one in first if one in stop_ids(configured, tokenizer)]
    return int(ends[0] if ends else tokenizer.eos_token_id)


def stop_ids(configured: int | Sequence[int] | None, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end a reply: those of the generation config, and the tokenizer's own."""
    ids = [configured] if configured is None or isinstance(configured, int) else list(configured)
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)
