"""From conversations to the tokens that a model reads, by the chat template that lies beside its weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from recert.digest import sha256_bytes
from recert.errors import ModelError
from recert.models.chat.control_text import control_texts, parted, require_plain, tokens_of
from recert.models.chat.prompting import text_only
from recert.models.chat.rendering import render
from recert.models.chat.thinking import begun, switch_of
from recert.models.engines.first_tokens import Ways, ways_of
from recert.records.data.suite import Chat
from recert.records.reports.reasoning import open_trace, trace_marks

_SPACES = ("\u0120", "\u2581")
"""How tokenizers of bytes, and of SentencePiece, write the space before a word."""
_LONGEST_TAG = 16
"""Tokens at a prompt's end in which an open tag lies whole."""
Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""Tokens of a prompt and of what follows it."""


class ChatTokens:
    """
    A tokenizer with its chat template, and the length that a model can read.

    Args:
        tokenizer: of transformers.
        context: most tokens of a conversation and its reply; None where there is no such limit.
        folder: where it lies, for errors.

    Raises:
        ModelError: the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, *, context: int | None, folder: Path) -> None:
        if not tokenizer.chat_template:
            raise ModelError("model has no chat template", facts={"folder": folder})
        self.tokenizer = tokenizer
        self.control = control_texts(tokenizer)
        """Words that are read as tokens of control where the chat template writes them, and nowhere else."""
        self._context = context
        special = trace_marks(tokenizer.all_special_tokens)
        self._trace_marks = frozenset(map(tokenizer.convert_tokens_to_ids, special))

    @property
    def template_sha256(self) -> str:
        """The digest of the template's text, of the one that is used where a tokenizer has several."""
        return sha256_bytes(str(self.tokenizer.get_chat_template()).encode())

    def prompt(self, one: Chat) -> str:
        """
        Return the text that the model goes on from.

        Raises:
            ModelError: the chat template refuses the conversation, or a message is spoken.
        """
        messages = text_only(one.messages)
        known = switch_of(self.tokenizer.chat_template, one.thinking)
        text = render(self.tokenizer, messages, control=self.control, add_generation_prompt=True, **known)
        opened = one.model_copy(update={"assistant_prefix": self.said(one.assistant_prefix)})
        require_plain(self.tokenizer, [opened.assistant_prefix], self.control)
        return begun(text, opened if one.assistant_prefix else one, switched=bool(known))

    def opening(self, prompt: Sequence[int]) -> str:
        """Return the open tag that a prompt's tokens end in: the reply begins inside a trace. Empty where none is."""
        return open_trace(str(self.tokenizer.decode(list(prompt[-_LONGEST_TAG:]), skip_special_tokens=False)))

    def encode(self, one: Chat, new_tokens: int) -> list[int]:
        """
        Return a prompt's tokens.

        Raises:
            ModelError: with so many new tokens it is longer than the model's context, or the template refuses it.
        """
        ids = self.tokens(self.prompt(one))
        self.fits(len(ids), new_tokens)
        return ids

    def split(self, pairs: Sequence[tuple[Chat, str]]) -> list[Pair]:
        """
        Return the tokens of each conversation and of what follows it.

        What follows has the tokens that it has in the whole text, unless the prompt's own would change.

        Raises:
            ModelError: nothing follows, or the whole is longer than the model's context.
        """
        prompts: dict[Chat, tuple[str, tuple[int, ...]]] = {}
        out = []
        for one, following in pairs:
            if one not in prompts:
                text = self.prompt(one)
                prompts[one] = text, tuple(self.tokens(text))
            text, ids = prompts[one]
            continuation = self.said(following)
            whole = tuple(self.tokens(text + continuation))
            rest = whole[len(ids) :] if whole[: len(ids)] == ids else tuple(self.tokens(continuation))
            if not rest:
                raise ModelError("continuation has no tokens", facts={"given": continuation})
            self.fits(len(ids), len(rest))
            out.append((ids, rest))
        return out

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text, of `prompt` or `said`, without any that a tokenizer would add."""
        return tokens_of(self.tokenizer, text)

    def take_whole_prompts(self) -> None:
        """Let messages bring control of their own from now on: see `LocalModel.take_whole_prompts`."""
        self.control = ()

    def said(self, text: str) -> str:
        """Return what follows a prompt with a seam in words that would be read as control; tags of a trace stay."""
        return parted(text, "assistant", self.control)

    def around(
        self, one: Chat, mark: str, words: Sequence[str], beside: Sequence[str]
    ) -> tuple[list[int], list[list[int]], list[list[int]]]:
        """
        Return the tokens before a mark in a prompt, those of words at its place, and those of what follows them.

        A word has the tokens that it has at the mark's place; what follows begins with each of some texts, or none.

        Raises:
            ModelError: the mark is not in the prompt once, with something before and behind it, or the prompt is longer
                than the model's context.
        """
        before, *after = self.prompt(one).split(mark)
        bare = before.rstrip(" ")
        if not bare or len(after) != 1 or not after[0]:
            raise ModelError("the mark does not stand at one place of the conversation", facts={"mark": mark})
        space = before[len(bare) :]
        plain = [parted(text, "user", self.control) for text in beside]
        tokens = [self.tokens(space + parted(word, "user", self.control)) for word in words]
        endings = [self.tokens(f" {text}{after[0]}" if text else after[0]) for text in plain]
        head = self.tokens(bare)
        self.fits(len(head) + max(map(len, tokens), default=0) + max(map(len, endings), default=0), 1)
        return head, tokens, endings

    def opposed(self, agreeing: Sequence[str], refusing: Sequence[str]) -> Ways:
        """
        Return the tokens by which texts of two kinds begin, as far as they tell them apart.

        Raises:
            ModelError: none does.
        """
        ways = ways_of(*([self.tokens(text) for text in texts if text] for texts in (agreeing, refusing)))
        if ways is None:
            raise ModelError(
                "no token tells one way to open a reply from the other",
                facts={"agreeing": ", ".join(agreeing)[:200], "refusing": ", ".join(refusing)[:200]},
            )
        return ways

    def words(self, most: int) -> list[str]:
        """Return words of ASCII letters that are one token behind a space, in the tokenizer's order."""
        names = self.tokenizer.convert_ids_to_tokens(range(len(self.tokenizer)))
        found = (
            name[1:] for name in names if name[:1] in _SPACES and name[1:].isascii() and name[1:].isalpha()
        )
        return list(islice(dict.fromkeys(found), most))

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of a reply's tokens, without special ones but those around a trace."""
        marks = self._trace_marks
        if not marks or marks.isdisjoint(tokens):
            return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))
        runs = groupby(tokens, key=lambda token: token in marks)
        return "".join(
            str(self.tokenizer.decode(list(run), skip_special_tokens=not kept)) for kept, run in runs
        )

    def fits(self, tokens: int, new_tokens: int) -> None:
        """
        Return when so many tokens and new ones have room in the model's context.

        Raises:
            ModelError: they have not.
        """
        if self._context and tokens + new_tokens > self._context:
            raise ModelError(
                "conversation is longer than the model's context",
                facts={"tokens": tokens, "new tokens": new_tokens, "context": self._context},
            )
