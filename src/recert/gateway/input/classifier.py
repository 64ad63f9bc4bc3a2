"""A judge of requests off the event loop: those who wait are one batch, and what was judged is remembered."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import queue
import threading
import time
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

from recert.gateway.input.gate import FAILED, Answer, answer_of
from recert.gateway.output.thresholds import Thresholds, worst
from recert.gateway.protocol.request_texts import RequestTexts, pieces, readings
from recert.judges.protocol import BatchRequestJudge, JudgeFailed, RequestJudge, Score

INPUT_JUDGE: Final = "input-judge"
TOO_DEEP: Final = "encoded-too-deep"
_MOST_KEPT: Final = 8_192
_MOST_AT_ONCE: Final = 64
_SOON_S: Final = 0.002
"""Who was judged in a batch that takes longer than this does not wait for its end."""

Judged = Score | JudgeFailed


@dataclass(frozen=True)
class _Job:
    texts: tuple[str, ...]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[tuple[Judged, ...]]


class Classifier:
    """
    Scores texts by a judge, each in every way it can be read, in one daemon thread.

    A thread that hangs answers nobody any more, which blocks; it never keeps the process from ending.

    Args:
        judge: what scores. One that is quicker with many at once is asked so.
        depth: how often a text is decoded.
    """

    def __init__(self, judge: RequestJudge, *, depth: int) -> None:
        self._judge = judge
        self._batches = callable(getattr(judge, "score_requests", None))
        self._depth = depth
        self._known: dict[bytes, Score] = {}
        self._queue: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        threading.Thread(target=self._loop, name="classifier", daemon=True).start()

    def known(self, texts: Sequence[str]) -> tuple[Score, ...] | None:
        """Return the scores of texts where all of them were judged before, else None."""
        found = [self._known.get(_digest(text)) for text in texts]
        scores = tuple(score for score in found if score is not None)
        return scores if len(scores) == len(found) else None

    async def scores(self, texts: Sequence[str]) -> tuple[Judged, ...]:
        """Return one score for each text, in order: the worst of all its readings."""
        known = self.known(texts)
        if known is not None:
            return known
        loop = asyncio.get_running_loop()
        job = _Job(tuple(texts), loop, loop.create_future())
        self._queue.put(job)
        return await job.done

    def _loop(self) -> None:
        while True:
            jobs = [self._queue.get()]
            while len(jobs) < _MOST_AT_ONCE and not self._queue.empty():
                jobs.append(self._queue.get())
            self._judge_all(jobs)

    def _judge_all(self, jobs: Sequence[_Job]) -> None:
        """Judge a batch; hand back what is ready together, so that the event loop is woken seldom."""
        made: dict[str, Judged] = {}
        ready: list[tuple[_Job, tuple[Judged, ...]]] = []
        if self._batches:
            made = self._together(dict.fromkeys(text for job in jobs for text in job.texts))
        since = time.monotonic()
        for job in jobs:
            if job.done.cancelled():
                continue
            for text in job.texts:
                if text not in made:
                    made[text] = self._one(text)
            ready.append((job, tuple(made[text] for text in job.texts)))
            if time.monotonic() - since > _SOON_S:
                _hand_back(ready)
                ready, since = [], time.monotonic()
        _hand_back(ready)

    def _one(self, text: str) -> Judged:
        known = self._known.get(_digest(text))
        if known is not None:
            return known
        try:
            found, deeper = readings(text, self._depth)
            asked = [piece for view in found for piece in pieces(view)]
            return self._kept(
                text, JudgeFailed(TOO_DEEP) if deeper else _worst(map(self._judge.score, asked))
            )
        except BaseException as exc:  # nothing that a judge does ends the thread
            return JudgeFailed(type(exc).__name__)

    def _together(self, texts: dict[str, None]) -> dict[str, Judged]:
        """Ask about everything at once; where that fails, what fails alone is found one by one."""
        judge = cast(BatchRequestJudge, self._judge)
        try:
            asked, made = [], {}
            for text in texts:
                known = self._known.get(_digest(text))
                found, deeper = ((), False) if known is not None else readings(text, self._depth)
                if known is not None or deeper:
                    made[text] = known or JudgeFailed(TOO_DEEP)
                else:
                    asked += [(text, piece) for view in found for piece in pieces(view)]
            said = judge.score_requests([piece for _, piece in asked])
            if len(said) != len(asked):
                return {}
            of: dict[str, list[Judged]] = {}
            for (text, _), one in zip(asked, said, strict=True):
                of.setdefault(text, []).append(one)
            return made | {text: self._kept(text, _worst(scores)) for text, scores in of.items()}
        except BaseException:
            return {}

    def _kept(self, text: str, said: Judged) -> Judged:
        """Remember a score; a failure may be another one next time."""
        if isinstance(said, Score):
            self._known[_digest(text)] = said
            if len(self._known) > _MOST_KEPT:
                del self._known[next(iter(self._known))]
        return said


def _worst(said: Iterator[object] | Sequence[object]) -> Judged:
    scores = []
    for one in said:
        if not isinstance(one, Score):
            return one if isinstance(one, JudgeFailed) else JudgeFailed("no score")
        scores.append(one)
    return scores[0] if len(scores) == 1 else worst(scores)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _hand_back(ready: Sequence[tuple[_Job, tuple[Judged, ...]]]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Job, tuple[Judged, ...]]]] = {}
    for job, said in ready:
        by_loop.setdefault(job.loop, []).append((job, said))
    for loop, some in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_resolve, some)


def _resolve(ready: Sequence[tuple[_Job, tuple[Judged, ...]]]) -> None:
    for job, said in ready:
        if not job.done.done():
            job.done.set_result(said)


class ClassifierControl:
    """
    Blocks requests of which a judge finds any text harmful, alone or all of them together.

    Args:
        classifier: scores texts.
        thresholds: of requests.
        name: what it is called.
    """

    def __init__(self, classifier: Classifier, thresholds: Thresholds, *, name: str = INPUT_JUDGE) -> None:
        self.name = name
        self._classifier = classifier
        self._thresholds = thresholds

    def look(self, asked: RequestTexts) -> Answer | Awaitable[Answer]:
        """Return what the thresholds make of the worst text; at once where all were judged before."""
        known = self._classifier.known(asked.judged)
        return self._ask(asked) if known is None else self._answer(known)

    async def _ask(self, asked: RequestTexts) -> Answer:
        return self._answer(await self._classifier.scores(asked.judged))

    def _answer(self, said: Sequence[Judged]) -> Answer:
        scores = []
        for one in said:
            if isinstance(one, JudgeFailed):
                return Answer(None, blocked=True, reason=TOO_DEEP if one.because == TOO_DEEP else FAILED)
            scores.append(one)
        return answer_of(worst(scores), self._thresholds, self.name)

    async def close(self) -> None:
        """There is nothing to give back."""
