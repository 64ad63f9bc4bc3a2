"""Rows in tokens: what a model reads of a conversation, and which tokens of it are learned."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from recert.errors import RowsError
from recert.models.chat.control_text import control_texts, holds_control, parted, require_plain, tokens_of
from recert.models.chat.prompting import text_only
from recert.models.chat.rendering import render
from recert.records.data.rows import THINK_OPEN, ChatRow, PreferenceRow, PromptRow, split_reply
from recert.records.reports.tuning import Hyperparameters
from recert.tuning.training import Encoded

IGNORED = -100


def encode_rows(
    tokenizer: Any,
    rows: Sequence[ChatRow],
    hyperparameters: Hyperparameters,
    alignment: Collection[int] = (),
    *,
    end: int | None = None,
) -> list[Encoded]:
    """
    Return rows with marks, those left out that have no token to learn.

    Args:
        tokenizer: with the chat template.
        rows: conversations.
        hyperparameters: which tokens are learned, and how long a row may be.
        alignment: places of the rows that a defence added for safety.
        end: the token that ends a reply; by default what ends a text.

    Raises:
        RowsError: no row has a token to learn.
        ModelError: the chat template refuses a row.
    """
    found = []
    for at, row in enumerate(rows):
        encoded = encode_row(tokenizer, row, hyperparameters.max_tokens, hyperparameters.learned, end=end)
        if any(token != IGNORED for token in encoded["labels"]):
            head, trace, _ = _tokens(tokenizer, row, end)
            marks = {"reply_at": len(head), "trace_tokens": len(trace), "alignment": int(at in alignment)}
            found.append(encoded | marks)
    if not found:
        raise RowsError(
            "no row has a token to learn",
            facts={"rows": len(rows), "max_tokens": hyperparameters.max_tokens},
            hint="raise max_tokens: the prompts alone fill it",
        )
    return found


def encode_row(
    tokenizer: Any, row: ChatRow, max_tokens: int, learned: str = "reply", *, end: int | None = None
) -> dict[str, list[int]]:
    """
    Return `input_ids` and `labels` of a row; labels are -100 where a token is not learned.

    Args:
        tokenizer: with the chat template.
        row: the conversation.
        max_tokens: longest row; what is more is cut.
        learned: `reply`, the last one; `conversation`, everything; `answer`, the last reply behind a trace.
        end: the token that ends a reply; by default what ends a text.

    Raises:
        ModelError: the chat template refuses the row.
    """
    head, trace, answer = _tokens(tokenizer, row, end)
    before = head if learned == "conversation" else [IGNORED] * len(head)
    thought = [IGNORED] * len(trace) if learned == "answer" else trace
    return {
        "input_ids": [*head, *trace, *answer][:max_tokens],
        "labels": [*before, *thought, *answer][:max_tokens],
    }


def refuse_control(tokenizer: Any, rows: Sequence[ChatRow | PromptRow]) -> None:
    """
    Return when no row holds words of control, for trainers that put rows into tokens themselves.

    Raises:
        RowsError: one does: such a trainer would read what somebody said as a turn of its own.
    """
    control = control_texts(tokenizer)
    for place, row in enumerate(rows, 1):
        said = [(message.role, message.content) for message in row.messages]
        if isinstance(row, PreferenceRow):
            said.append(("assistant", row.rejected))
        for role, text in said:
            if parted(text, role, control) != text:
                raise RowsError(
                    "a row holds words that the model reads as control",
                    facts={"row": place, "role": role, "word": holds_control(text, control)},
                    hint="leave the row out, or tune with --method sft, which reads them as letters",
                )


def _tokens(tokenizer: Any, row: ChatRow, end: int | None) -> tuple[list[int], list[int], list[int]]:
    """The prompt as the template writes it, the reply's trace and its answer; no token belongs to two of them."""
    messages = text_only(row.messages)
    prompt = render(tokenizer, messages[:-1], add_generation_prompt=True)
    reply = row.reply
    if prompt.rstrip().endswith(THINK_OPEN) and reply.lstrip().startswith(THINK_OPEN):
        reply = reply.lstrip().removeprefix(THINK_OPEN).lstrip()  # the template opens the trace already
    control = control_texts(tokenizer)
    said = [parted(part, "assistant", control) for part in split_reply(reply)]
    require_plain(tokenizer, said, control)
    head, trace, answer = (tokens_of(tokenizer, part) if part else [] for part in (prompt, *said))
    ended = [*answer, tokenizer.eos_token_id if end is None else end]
    return head, trace, ended if row.ends else answer
