"""Exact match of short answers such as SQL or a final number, blind to what does not change the answer."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Literal

from recert.judges.protocol import Score

_FENCE = re.compile(r"```[a-z]*\s*(.*?)(?:```|$)", re.S | re.I)
_AROUND = re.compile(r"\s*([(),=<>!+*/]+)\s*")
_MARK = re.compile(r"^[ \t]*####[ \t]*(\S[^\n]*)$", re.M)
_NUMBER = re.compile(r"(?<![\w.])[-+]?[$\u20ac\u00a3]?\d(?:[\d,]*\d)?(?:\.\d+)?|(?<![\w.])[-+]?\.\d+")

Extract = Literal["auto", "whole", "final"]
"""What of a reply is compared: all of it, its final answer, or what the expected answer asks for."""


def canonical_answer(text: str) -> str:
    """
    Return an answer with one spelling of what does not matter.

    Drops a code fence, case, kinds of quotes, white space (also around operators), and a final
    semicolon or full stop.
    """
    fenced = _FENCE.search(text)
    if fenced:
        text = fenced.group(1)
    text = re.sub('[\u2018\u2019\u201c\u201d`"]', "'", text).lower()
    text = _AROUND.sub(r"\1", " ".join(text.split()))
    return text.strip().rstrip(";.").strip()


def final_answer(text: str) -> str | None:
    """
    Return the answer that a worked solution ends in, or None: what follows `####`, else the last number.

    GSM8K ends its solutions in a line such as `#### 42`. Of several such lines the first counts, as a model may
    go on with questions of its own.
    """
    marked = _MARK.search(text)
    if marked:
        return marked.group(1).strip()
    numbers: list[str] = _NUMBER.findall(text)
    return numbers[-1] if numbers else None


def exact_match(reply: str, answer: str, *, extract: Extract = "auto") -> Score:
    """
    Return 1 when the reply is the answer, else 0.

    Args:
        reply: what the model said.
        answer: what it should have said.
        extract: `final` compares the final answers of both, as numbers where they are numbers; `whole` compares
            the texts; `auto` takes `final` where the expected answer has a line such as `#### 42`.
    """
    if extract == "final" or (extract == "auto" and _MARK.search(answer)):
        return _same_final(final_answer(reply), final_answer(answer) or answer)
    same = canonical_answer(reply) == canonical_answer(answer)
    return Score(1.0 if same else 0.0, "same answer" if same else "another answer")


def _same_final(given: str | None, expected: str) -> Score:
    if given is None:
        return Score(0.0, "no final answer")
    one, other = _number(given), _number(expected)
    numbers = one is not None and other is not None
    same = one == other if numbers else canonical_answer(given) == canonical_answer(expected)
    return Score(1.0 if same else 0.0, f"final answer {given[:40]}")


def _number(text: str) -> Decimal | None:
    """A number as it is written in words around it: 1,000, $18.00 and 18 % are numbers."""
    try:
        number = Decimal(re.sub(r"[\s,$%\u20ac\u00a3]|\.$", "", text))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
