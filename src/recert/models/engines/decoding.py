"""
Decoding in batches: prompts of like length together, a shared prefix read once, finished rows taken out.

Greedy by default. In bfloat16 two batches of different make-up round differently, which may break a tie between
two nearly equally likely tokens, greedy or drawn; that is the only way in which the batch shows in a reply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from recert.models.chat.rendering import stop_ids
from recert.models.chat.templates import ChatTokens
from recert.models.engines.batching import Rows, batches
from recert.models.engines.sampling import Draws
from recert.models.protocol import Done, Generation, Sampling

LOOK_EVERY = 4
"""Tokens between two looks at whether a reply may end."""

_DROP_FROM = 8
"""Finished rows leave when they are one in so many: taking a row out copies the cache of all others."""

Check = Callable[[int, list[int]], bool]
RowsOf = Callable[[Sequence[int]], Rows]


def decode_batch(
    model: Any,
    chats: ChatTokens,
    prompts: Sequence[list[int]],
    sampling: Sampling,
    done: Done | None = None,
    rows_of: RowsOf | None = None,
) -> list[Generation]:
    """
    Return one reply per tokenised prompt, in order. `done` is asked every few tokens.

    `rows_of` makes a batch's rows from places of prompts, where something else than tokens is read.
    A reply that begins inside a trace, as its prompt left one open, has the open tag in front.
    """
    out: dict[int, Generation] = {}
    stops = stop_ids(model.generation_config.eos_token_id, chats.tokenizer)
    for places in batches(model, prompts, sampling.max_new_tokens):
        rows = rows_of(places) if rows_of is not None else None
        batch = _Batch(model, [prompts[i] for i in places], sampling, rows)
        heads = [chats.opening(prompts[i]) for i in places]
        check: Check | None = None
        if done is not None:
            check = lambda row, tokens, at=places, heads=heads: done(at[row], heads[row] + chats.text(tokens))  # noqa: E731
        for row, tokens, reason in batch.run(stops, check):
            text = heads[row] + chats.text(tokens)
            out[places[row]] = Generation(text=text, stop_reason=reason, tokens=len(tokens))
    return [out[i] for i in range(len(prompts))]


def decode_streams(
    model: Any,
    chats: ChatTokens,
    prompts: Sequence[list[int]],
    sampling: Sampling,
    *,
    limits: Sequence[int],
    wanted: Callable[[int], bool] = lambda row: True,
) -> Iterator[tuple[int, str | None]]:
    """
    Yield (place, piece of its reply) as replies are made together, and (place, None) when one has ended.

    A piece never ends inside a character. The first has the open tag in front where the prompt left a trace open.

    Args:
        model: what replies.
        chats: its tokenizer and template.
        prompts: tokenised conversations.
        sampling: how all of them are drawn; its `max_new_tokens` is the largest of `limits`.
        limits: most new tokens of each.
        wanted: asked at each token; a reply that nobody waits for any more ends.
    """
    stops = stop_ids(model.generation_config.eos_token_id, chats.tokenizer)
    shown = [""] * len(prompts)
    heads = [chats.opening(prompt) for prompt in prompts]
    made: list[list[int]] = [[] for _ in prompts]
    for row, token in _Batch(model, prompts, sampling).tokens(stops, limits, wanted):
        if token is None:
            yield row, None
            continue
        made[row].append(token)
        text = heads[row] + chats.text(made[row])
        if not text.endswith("\ufffd"):
            yield row, text[len(shown[row]) :]
            shown[row] = text


class _Batch:
    """One batch of replies on its way."""

    def __init__(
        self, model: Any, prompts: Sequence[list[int]], sampling: Sampling, rows: Rows | None = None
    ) -> None:
        self._sampling = sampling
        self._draws = Draws(prompts, sampling) if sampling.temperature > 0 else None
        with torch.inference_mode():
            self._rows = rows if rows is not None else Rows(model, prompts, sampling.max_new_tokens)

    def run(self, stops: frozenset[int], check: Check | None = None) -> Iterator[tuple[int, list[int], str]]:
        """Yield (row, tokens, why it ended) as rows end."""
        rows: list[int] = list(range(len(self._rows)))  # which prompt each row of the batch is
        made: dict[int, list[int]] = {row: [] for row in rows}  # those that have not ended
        for step in range(1, self._sampling.max_new_tokens + 1):
            chosen = self._next()
            look = check is not None and step % LOOK_EVERY == 0 and step < self._sampling.max_new_tokens
            for row, token in zip(rows, chosen.tolist(), strict=True):
                if row not in made:
                    continue
                if token in stops:
                    yield row, made.pop(row), "stop"
                    continue
                made[row].append(token)
                if look and check is not None and check(row, made[row]):
                    yield row, made.pop(row), "decided"
            if not made or step == self._sampling.max_new_tokens:
                break
            rows = self._go_on(chosen, rows, made)
        for row, tokens in made.items():
            yield row, tokens, "length"

    def tokens(
        self, stops: frozenset[int], limits: Sequence[int], wanted: Callable[[int], bool]
    ) -> Iterator[tuple[int, int | None]]:
        """Yield (row, token) as tokens are made, and (row, None) when a row ends."""
        rows: list[int] = list(range(len(self._rows)))
        going: dict[int, list[int]] = {row: [] for row in rows}
        for step in range(1, self._sampling.max_new_tokens + 1):
            chosen = self._next()
            for row, token in zip(rows, chosen.tolist(), strict=True):
                if row not in going:
                    continue
                ended = token in stops or not wanted(row)
                if not ended:
                    yield row, token
                if ended or step == limits[row]:
                    del going[row]
                    yield row, None
            if not going:
                break
            rows = self._go_on(chosen, rows, going)

    def _go_on(self, chosen: torch.Tensor, rows: list[int], made: dict[int, list[int]]) -> list[int]:
        """Make the chosen tokens the next ones, and return the rows that are left."""
        with torch.inference_mode():
            self._rows.follow(chosen[:, None])
            if (len(rows) - len(made)) * _DROP_FROM >= len(rows):
                keep = [at for at, row in enumerate(rows) if row in made]
                self._rows.keep(keep)
                if self._draws is not None:
                    self._draws.keep(keep)
                return [rows[at] for at in keep]
        return rows

    def _next(self) -> torch.Tensor:
        with torch.inference_mode():
            logits = self._rows.read()[:, -1]
            if self._draws is None:
                return logits.argmax(-1)
            return self._draws.choose(logits)
