"""Reading a local model token by token: the one place here that looks behind `LocalModel`."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from recert.models.chat.rendering import stop_ids
from recert.models.chat.templates import ChatTokens
from recert.models.engines.batching import Rows, batches
from recert.models.engines.likelihood import opening_log_probs
from recert.models.engines.local import LocalModel
from recert.records.data.suite import Chat


def chats_of(model: LocalModel) -> ChatTokens:
    """Return a model's tokenizer and chat template."""
    return model._weights.chats


def prompt_tokens(model: LocalModel, chats: Sequence[Chat]) -> list[list[int]]:
    """
    Return the tokens that a model reads of each conversation.

    Raises:
        ModelError: a conversation is longer than the model's context.
    """
    return [chats_of(model).encode(one, 1) for one in chats]


def ends_of(model: LocalModel) -> frozenset[int]:
    """Return the tokens that end a reply."""
    return stop_ids(model._weights.model.generation_config.eos_token_id, chats_of(model).tokenizer)


def first_log_probs(model: LocalModel, prompts: Sequence[list[int]]) -> torch.Tensor:
    """Return the log probabilities of every token as a reply's first. Shape (prompts, tokens)."""
    at, read = [], []
    with model._active():
        for some in batches(model._weights.model, prompts, 1):
            at += some
            read.append(opening_log_probs(model._weights.model, [prompts[i] for i in some]))
    whole = torch.cat(read)
    return whole[torch.tensor(at).argsort()]


class SideBySide:
    """
    Several beginnings of a reply, each read after the same prompts.

    Args:
        model: the model.
        prompts: tokens of each prompt.
        firsts: the first token of each beginning.
        longest: most tokens of a beginning.
    """

    def __init__(
        self, model: LocalModel, prompts: Sequence[list[int]], firsts: Sequence[int], longest: int
    ) -> None:
        self._model, self._prompts = model, len(prompts)
        with model._active(), torch.inference_mode():
            self._rows = Rows(model._weights.model, prompts, longest)
            self._rows.read()
            self._rows.keep([row for _ in firsts for row in range(self._prompts)])
            self._follow(firsts)

    def chances(self) -> torch.Tensor:
        """Return the probability of each next token, as the mean over prompts. Shape (beginnings, tokens)."""
        with self._model._active(), torch.inference_mode():
            said = torch.softmax(self._rows.read()[:, -1].float(), -1)
        return said.view(-1, self._prompts, said.shape[-1]).mean(1)

    def grow(self, kept: Sequence[int], tokens: Sequence[int]) -> None:
        """Go on with some of the beginnings, by place, and with one more token of each."""
        with torch.inference_mode():
            self._rows.keep([at * self._prompts + row for at in kept for row in range(self._prompts)])
            self._follow(tokens)

    def _follow(self, tokens: Sequence[int]) -> None:
        self._rows.follow(torch.tensor([[one] for one in tokens for _ in range(self._prompts)]))
