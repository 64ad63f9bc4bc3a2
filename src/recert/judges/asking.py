"""Puts questions to a model that judges, so that one question it cannot take does not lose the others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from recert.digest import sha256_bytes
from recert.errors import RecertError
from recert.judges.protocol import JudgeFailed
from recert.models.protocol import Generation, Model, Sampling
from recert.records.data.suite import Chat

_AT_ONCE: Final = 32
_FAILED_IN_A_ROW: Final = 3
"""After so many single questions in a row without an answer the model is taken to be gone."""
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.S)


def ask_each(
    model: Model, chats: Sequence[Chat], sampling: Sampling, *, whole: bool = True
) -> list[str | JudgeFailed]:
    """
    Return the model's answer to each conversation, in order, or why there is none.

    When a batch fails its conversations are asked one by one, since a hosted filter may refuse one of them.

    Args:
        model: the model that judges.
        chats: one conversation each.
        sampling: how it answers.
        whole: an answer that was cut at `max_new_tokens` counts as none.
    """
    out: list[Generation | JudgeFailed] = []
    for start in range(0, len(chats), _AT_ONCE):
        some = chats[start : start + _AT_ONCE]
        answers = _ask(model, some, sampling)
        out += _one_by_one(model, some, sampling) if isinstance(answers, JudgeFailed) else answers
        gone = out[-_FAILED_IN_A_ROW:]
        if len(gone) == _FAILED_IN_A_ROW and all(isinstance(a, JudgeFailed) for a in gone):
            out += [gone[-1]] * (len(chats) - len(out))
            break
    return [a if isinstance(a, JudgeFailed) else answer_text(a, whole=whole) for a in out]


def _one_by_one(model: Model, chats: Sequence[Chat], sampling: Sampling) -> list[Generation | JudgeFailed]:
    out: list[Generation | JudgeFailed] = []
    failed: list[JudgeFailed] = []
    for one in chats:
        answer = failed[-1] if len(failed) >= _FAILED_IN_A_ROW else _ask(model, [one], sampling)
        if isinstance(answer, JudgeFailed):
            failed.append(answer)
            out.append(answer)
        else:
            failed.clear()
            out += answer
    return out


def _ask(model: Model, chats: Sequence[Chat], sampling: Sampling) -> list[Generation] | JudgeFailed:
    try:
        answers = model.generate(chats, sampling)
    except RecertError as exc:
        return JudgeFailed(f"{model.name}: {exc.message}")
    if len(answers) != len(chats):
        return JudgeFailed(f"{model.name} gave {len(answers)} answers to {len(chats)} questions")
    return answers


def answer_text(answer: Generation, *, whole: bool) -> str | JudgeFailed:
    """Return what a model answered, or why it is no answer; `whole`: one that was cut is none."""
    if answer.stop_reason == "length" and whole:
        return JudgeFailed(f"the answer was cut after {answer.tokens} tokens")
    if answer.stop_reason == "content_filter":
        return JudgeFailed("a filter stopped the answer")
    return answer.text


def without_thought(answer: str) -> str:
    """Return an answer without the `<think>` block that a reasoning model puts in front."""
    return _THOUGHT.sub("", answer, count=1)


def identity(model: Model) -> dict[str, Any]:
    """Return what tells one judging model from another: its name, engine and, where known, its bytes."""
    return {
        "name": model.name,
        "engine": model.engine,
        "manifest": model.manifest.digest if model.manifest is not None else None,
    }


def mark(*texts: str) -> str:
    """Return a short mark that none of the texts can hold, made from their sha256: for the ends of quotations."""
    return sha256_bytes("\0".join(texts).encode("utf-8", "surrogatepass"))[:12]
