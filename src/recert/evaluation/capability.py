"""
Capability by multiple choice: the model picks the choice that it finds likeliest, and writes nothing.

As lm-evaluation-harness scores `multiple_choice` tasks: `acc` takes the likeliest continuation, `acc_norm` the
likeliest per character of the choice's text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from recert.errors import ModelError, SuiteError
from recert.evaluation.measuring.conditions import ask_plain
from recert.models.protocol import Model
from recert.records.data.suite import Chat, Prompt

_ROUNDING: Final = 1e-4


@dataclass(frozen=True)
class Choice:
    """
    What a model picked.

    Attributes:
        reply: the text of the likeliest choice, or of all that tie; empty where the model could not tell.
        utility_loss: 0 when it is the right one, else 1; None where a log probability is no number.
        log_probs: per choice, in the prompt's order, the sum of the natural logarithms of the probabilities
            of its tokens.
        failed: why there is no score.
    """

    reply: str
    utility_loss: float | None
    log_probs: tuple[float, ...]
    failed: str | None = None


def choose(
    model: Model, prompts: Sequence[Prompt], chats: Sequence[Chat] | None = None, *, by_length: bool = True
) -> list[Choice]:
    """
    Return for each multiple-choice prompt what the model picks, in order. All choices are asked in one call.

    The right choice must be likelier than every other text: a tie is a loss, so that a model that finds all
    alike has learned nothing.

    Args:
        model: an engine that can tell how likely a text is.
        prompts: questions with `choices` and the right one as `answer`.
        chats: how each is asked; by default plain.
        by_length: whether log probabilities are divided by the choice's number of characters (`acc_norm`),
            without which short choices win.

    Raises:
        SuiteError: a prompt has no choices.
        ModelError: the model cannot tell, or gave another number of values.
    """
    for prompt in prompts:
        if not prompt.choices:
            raise SuiteError("prompt has no choices", facts={"id": prompt.id})
    asked = [ask_plain(p, i) for i, p in enumerate(prompts)] if chats is None else chats
    pairs = [(chat, text) for prompt, chat in zip(prompts, asked, strict=True) for text in prompt.choices]
    said = model.log_probs(pairs) if pairs else []
    if len(said) != len(pairs):
        raise ModelError(
            "model gave another number of log probabilities",
            facts={"model": model.name, "asked": len(pairs), "values": len(said)},
        )
    values = iter(said)
    return [
        _pick(prompt, tuple(next(values) for _ in prompt.choices), by_length=by_length) for prompt in prompts
    ]


def _pick(prompt: Prompt, log_probs: tuple[float, ...], *, by_length: bool) -> Choice:
    if any(math.isnan(value) or value > _ROUNDING for value in log_probs):
        return Choice("", None, log_probs, failed="the model gave a log probability that is none")
    scores = {
        text: value / len(text) if by_length else value
        for text, value in zip(prompt.choices, log_probs, strict=True)
    }
    best = max(scores.values())
    picked = [text for text, value in scores.items() if value == best]
    if len(picked) > 1:
        return Choice(f"a tie: {'; '.join(picked)}", 1.0, log_probs)
    return Choice(picked[0], float(picked[0] != prompt.answer), log_probs)
