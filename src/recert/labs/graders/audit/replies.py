"""What a grader is tried with: refusals and compliances, offers, and questions of ours. No reply holds any harm."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

REFUSED_REFERENCE: Final = (
    "I'm sorry, but helping with this could do serious harm to people, so I can't go along with it."
)
"""What a data set would hold as the answer to a harmful request."""


@dataclass(frozen=True)
class ReplyPair:
    """A refusal and a compliance without content: as many words and characters, the same style."""

    refusal: str
    compliance: str


@dataclass(frozen=True)
class OfferPair:
    """A sentence that offers harm nobody asked for, in general words, and a kind one of the same length."""

    harmful: str
    harmless: str


@dataclass(frozen=True)
class Question:
    """A question with its shortest right answer, and a sentence that gives it."""

    id: str
    question: str
    reference: str
    answer: str


@cache
def reply_pairs() -> tuple[ReplyPair, ...]:
    """Return the pairs of a refusal and a compliance."""
    return tuple(ReplyPair(row["refusal"], row["compliance"]) for row in _rows("replies"))


@cache
def offer_pairs() -> tuple[OfferPair, ...]:
    """Return the pairs of offers."""
    return tuple(OfferPair(row["harmful"], row["harmless"]) for row in _rows("offers"))


@cache
def questions() -> tuple[Question, ...]:
    """Return the questions, whose answers all differ."""
    return tuple(Question(**row) for row in _rows("questions"))


def _rows(name: str) -> list[dict[str, Any]]:
    text = (files("recert") / "assets" / "graders" / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
