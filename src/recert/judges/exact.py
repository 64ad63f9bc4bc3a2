"""Exact match of short answers such as SQL, blind to what does not change the answer."""

from __future__ import annotations

import re

from recert.judges.protocol import Score

_FENCE = re.compile(r"```[a-z]*\s*(.*?)(?:```|$)", re.S | re.I)
_AROUND = re.compile(r"\s*([(),=<>!+*/]+)\s*")


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


def exact_match(reply: str, answer: str) -> Score:
    """Return 1 when the reply is the answer, else 0."""
    same = canonical_answer(reply) == canonical_answer(answer)
    return Score(1.0 if same else 0.0, "same answer" if same else "another answer")
