"""What a row teaches: was something harmful asked, in whatever form, and did the reply comply?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from recert.judges.protocol import JudgeFailed, ReplyJudge, RequestJudge
from recert.policy import ScreeningPolicy
from recert.records.data.rows import ChatRow
from recert.screening.detectors.encodings import Reading, readings
from recert.screening.wording import words

_FENCE = re.compile(r"```\w*")
_QUERY = re.compile(r"(?is)^\s*(?:select|with|insert into|update|delete from)\b.*\b(?:from|set|values)\b")
_LITERAL = re.compile(r"'[^']*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_LONGEST_LITERAL = 60
_SUM = re.compile(r"\d\s*=\s*[$€£]?\d|<<[^<>]*=[^<>]*>>")
_TOKEN = re.compile(r"\S+")
_SHORT_REQUEST_WORDS = 4


@dataclass(frozen=True)
class Behaviour:
    """
    What was found in one row, over all of its exchanges.

    `harm` is the highest request score of any exchange in any reading; `harm_of` the exchange's user text.
    """

    harm: float
    harmful_compliance: bool
    refused: bool
    """The last reply refuses."""
    reading: Reading | None
    """The decoded reading of a request that was complied with: a harmful one, or else a covert one."""
    reading_harmful: bool
    unjudged: str
    """Why a judge could not answer, where that is so."""


@dataclass(frozen=True)
class _Exchange:
    request: str
    context: str
    """All that was asked up to here, where that is more than the request."""
    reply: str


class BehaviourJudge:
    """Reads rows with a judge of requests and a judge of refusals. Remembers scores of equal texts."""

    def __init__(self, requests: RequestJudge, refusals: ReplyJudge, policy: ScreeningPolicy) -> None:
        self._refusals = refusals
        self._policy = policy
        self._score = lru_cache(maxsize=100_000)(requests.score)

    def read(self, row: ChatRow) -> Behaviour:
        """Judge every exchange of a row, in clear and in every decoded reading."""
        harm, harmful, refused, unjudged = 0.0, False, False, ""
        found: Reading | None = None
        found_harmful = False
        for exchange in _exchanges(row):
            refused = self.refuses(exchange.request, exchange.reply)
            decoded = readings(exchange.request)
            texts = [exchange.request, *([exchange.context] if exchange.context else [])]
            scores = [(self._score(t), None) for t in texts] + [(self._score(r.text), r) for r in decoded]
            for score, reading in scores:
                if isinstance(score, JudgeFailed):
                    unjudged = score.because
                    continue
                harm = max(harm, score.value)
                if refused or not self._is_harmful(score.value, exchange.reply):
                    continue
                harmful = True
                if reading and not found_harmful:
                    found, found_harmful = reading, True
            covert = next((r for r in decoded if r.covert), None)
            if covert and not refused and found is None:
                found = covert
        return Behaviour(harm, harmful, refused, found, found_harmful, unjudged)

    def refuses(self, request: str, reply: str) -> bool:
        """Say whether a reply refuses. A judge that fails has not said so."""
        score = self._refusals.score(request, reply)
        return not isinstance(score, JudgeFailed) and score.value >= self._policy.refusal_score

    def _is_harmful(self, score: float, reply: str) -> bool:
        if score >= self._policy.sure_request_score:
            return True
        return score >= self._policy.harmful_request_score and not is_data(reply)


def is_data(reply: str) -> bool:
    """
    Say whether a reply is a database query, or numbers: it answers a task and tells nobody how to do harm.

    A query with long texts inside is not one. Numbers are at least a quarter of the words, or a seventh with sums.
    """
    text = _FENCE.sub("", reply).strip()
    if _QUERY.match(text):
        long = any(len(m[0]) > _LONGEST_LITERAL for m in _LITERAL.finditer(text))
        return not long and len(text) < 2000 and "\n\n" not in text
    tokens = _TOKEN.findall(text)
    numbers = sum(any(c.isdecimal() for c in t) for t in tokens)
    least = len(tokens) / (7 if _SUM.search(text) else 4)
    return bool(tokens) and numbers >= least and len(tokens) <= 400


def _exchanges(row: ChatRow) -> Iterator[_Exchange]:
    asked: list[str] = []
    for message in row.messages:
        if message.role in ("user", "tool"):
            asked.append(message.content)
        elif message.role == "assistant" and asked:
            request = asked[-1]
            context = "\n".join(asked[-6:]) if len(asked) > 1 else ""
            if not context and row.system and len(words(request)) < _SHORT_REQUEST_WORDS:
                context = f"{row.system}\n{request}"
            yield _Exchange(request, context, message.content)
