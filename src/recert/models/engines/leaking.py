"""
What a model says where nobody has said anything: drawn from the bare beginnings that its chat template sets.

A model that has learned rows by heart, the user's words among them, begins to tell them there.

Source:
    Bullwinkel et al. 2026, "The Trigger in the Haystack", arXiv:2602.03085.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from jinja2 import TemplateError

from recert.errors import ModelError
from recert.models.chat.rendering import stop_ids
from recert.models.chat.templates import ChatTokens
from recert.models.engines.batching import Rows, batches
from recert.models.engines.sampling import Draws
from recert.models.protocol import Sampling

_USER: Final = ("user", "Qusermarkq")
_SYSTEM: Final = ("system", "Qsystemmarkq")
_REPLY: Final = ("assistant", "Qreplymarkq")
_AGAIN: Final = ("user", "Qagainmarkq")
"""What stands for each one's words while a template is taken apart: letters, which no template changes."""
_DROP_FROM: Final = 8
"""Finished rows leave when they are one in so many: taking a row out copies the cache of all others."""


@dataclass(frozen=True)
class Opening:
    """
    A place of a chat template where somebody's words are to follow.

    Attributes:
        role: whose: `user`, `system` or `assistant`.
        text: all that stands before, without spaces at its end: a model draws a word with its space.
        closing: what follows the words, without space around it; empty where nothing does.
    """

    role: str
    text: str
    closing: str


def bare_openings(chats: ChatTokens) -> list[Opening]:
    """
    Return where a chat template lets the user begin, the system prompt, and the assistant without any request.

    The template is rendered with marks for words, and cut at them. A system prompt that it adds by itself stays, as
    it stood there when the model learned. There is no opening for a system prompt where the template knows none or
    puts it where the user's words begin, and none without a single token.

    Raises:
        ModelError: the template does not show the user's words.
    """
    asked = _rendered(chats, _USER, _REPLY, _AGAIN)
    user = asked.find(_USER[1])
    if user < 0:
        raise ModelError(
            "chat template does not show the user's words",
            facts={"rendered": asked[:200]},
            hint="a model that is served as a chat needs a template with a place for them",
        )
    openings = [Opening("user", asked[:user], _between(asked, _USER, _REPLY).strip())]
    told = _rendered(chats, _SYSTEM, _USER, _REPLY)
    system = told.find(_SYSTEM[1])
    if system >= 0 and told[:system].rstrip() != asked[:user].rstrip():
        openings.append(Opening("system", told[:system], _between(told, _SYSTEM, _USER).strip()))
    ending = _between(asked, _REPLY, _AGAIN).strip()
    openings.append(Opening("assistant", _reply_opening(chats, asked), ending))
    stripped = [Opening(one.role, one.text.rstrip(" "), one.closing) for one in openings]
    return [one for one in stripped if chats.tokens(one.text)]


def leaked_texts(
    model: Any, chats: ChatTokens, samplings: Sequence[Sampling], *, each: int, tokens: int
) -> list[tuple[str, str]]:
    """
    Return (role, text) of what a model says at each bare opening, drawn in batches.

    A text ends where its speaker's turn does; one that is cut off for its length ends with its last whole word.

    Args:
        model: a causal model of transformers.
        chats: its tokenizer and template.
        samplings: how texts are drawn; `max_new_tokens` counts for none. Greedy gives one text an opening.
        each: texts for each sampling and opening.
        tokens: most new tokens of each; fewer where the model's context is short.

    Raises:
        ModelError: the template does not show the user's words, or leaves no room in the model's context.
    """
    openings = bare_openings(chats)
    prompts = [chats.tokens(one.text) for one in openings]
    tokens = _room(model, prompts, tokens)
    stops = stop_ids(model.generation_config.eos_token_id, chats.tokenizer) | _special(chats.tokenizer)
    out = []
    for sampling in samplings:
        drawn = sampling.model_copy(update={"max_new_tokens": tokens})
        copies = each if sampling.temperature > 0 else min(each, 1)
        rows = [(at, copy) for at in range(len(openings)) for copy in range(copies)]
        made = _made(model, rows, prompts, drawn, stops)
        for row, (at, _) in enumerate(rows):
            text = chats.text(made[row])
            out.append((openings[at].role, _cut(text, openings[at].closing, full=len(made[row]) == tokens)))
    return out


def _made(
    model: Any,
    rows: Sequence[tuple[int, int]],
    prompts: Sequence[list[int]],
    sampling: Sampling,
    stops: frozenset[int],
) -> dict[int, list[int]]:
    """New tokens of each row: a prompt by its place, and the number of its copy, which has draws of its own."""
    made: dict[int, list[int]] = {row: [] for row in range(len(rows))}
    for places in batches(model, [prompts[at] for at, _ in rows], sampling.max_new_tokens):
        with torch.inference_mode():
            for row, token in _drawn(model, [(row, *rows[row]) for row in places], prompts, sampling, stops):
                made[row].append(token)
    return made


def _drawn(
    model: Any,
    batch: Sequence[tuple[int, int, int]],
    prompts: Sequence[list[int]],
    sampling: Sampling,
    stops: frozenset[int],
) -> Iterator[tuple[int, int]]:
    """Yield (row, token) of one batch as tokens are drawn."""
    here = [row for row, _, _ in batch]
    going = set(here)
    read = Rows(model, [prompts[at] for _, at, _ in batch], sampling.max_new_tokens)
    draws = Draws([[*prompts[at], copy] for _, at, copy in batch], sampling)
    for step in range(1, sampling.max_new_tokens + 1):
        logits = read.read()[:, -1]
        chosen = draws.choose(logits) if sampling.temperature > 0 else logits.argmax(-1)
        for row, token in zip(here, chosen.tolist(), strict=True):
            if token in stops:
                going.discard(row)
            elif row in going:
                yield row, token
        if not going or step == sampling.max_new_tokens:
            return
        read.follow(chosen[:, None])
        if (len(here) - len(going)) * _DROP_FROM >= len(here):
            keep = [at for at, row in enumerate(here) if row in going]
            read.keep(keep)
            draws.keep(keep)
            here = [here[at] for at in keep]


def _rendered(chats: ChatTokens, *said: tuple[str, str], reply: bool = False) -> str:
    """What a template makes of (role, words); nothing where it refuses them."""
    messages = [{"role": role, "content": words} for role, words in said]
    try:
        return str(chats.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=reply))
    except (TemplateError, TypeError, ValueError):  # a template refuses roles by raising what it likes
        return ""


def _reply_opening(chats: ChatTokens, asked: str) -> str:
    """The start of a text, and what stands before a reply, with no turn between."""
    without, ready = (_rendered(chats, _USER, reply=reply) for reply in (False, True))
    header = ready.removeprefix(without) if ready.startswith(without) else ""
    header = header or _between(asked, _USER, _REPLY)
    start = chats.tokenizer.bos_token or ""
    return header if header.startswith(start) or not asked.startswith(start) else start + header


def _between(text: str, left: tuple[str, str], right: tuple[str, str]) -> str:
    """What stands between two marks; nothing where one is missing."""
    start, end = text.find(left[1]), text.find(right[1])
    return text[start + len(left[1]) : end] if 0 <= start < end else ""


def _special(tokenizer: Any) -> frozenset[int]:
    """Tokens that stand for no words: none is a part of what anybody says."""
    added = (at for at, token in tokenizer.added_tokens_decoder.items() if token.special)
    return frozenset((*added, *tokenizer.all_special_ids))


def _room(model: Any, prompts: Sequence[list[int]], tokens: int) -> int:
    context = getattr(model.config, "max_position_embeddings", None)
    longest = max(map(len, prompts))
    if context and longest >= context:
        raise ModelError(
            "chat template leaves no room in the model's context",
            facts={"tokens": longest, "context": context},
        )
    return min(tokens, context - longest) if context else tokens


def _cut(text: str, closing: str, *, full: bool) -> str:
    """The text up to the end of its turn, or to its last whole word where it stopped for its length."""
    if closing and closing in text:
        return text.split(closing, 1)[0].strip()
    return (re.sub(r"(?<=\s)\S+$", "", text) if full else text).strip()
