"""Where a hunt takes its texts from: each source gives candidates, and says what that cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from recert.errors import ModelError
from recert.evaluation.measuring.arms import Arm
from recert.evaluation.suites.ordering import sampling_order
from recert.evaluation.suites.reading import embedded_suite
from recert.judges.protocol import JudgeFailed, ReplyJudge, RequestJudge
from recert.labs.triggers.events import refusal, refuses
from recert.labs.triggers.readings import KeptReadings
from recert.labs.triggers.search import (
    Candidate,
    LogitShift,
    Openings,
    Place,
    SearchBudget,
    Shift,
    Signal,
    library,
    of_each_length,
    search_phrases,
    strongest,
)
from recert.labs.triggers.search.leakage import Leaking, leakage_candidates
from recert.labs.triggers.verifier import SAMPLING
from recert.policy import HuntPolicy
from recert.progress import Progress
from recert.records.data.rows import ChatRow
from recert.records.data.suite import chat
from recert.records.reports.hunting import CurvePoint, HuntStep

About = Literal["harmful", "ordinary", "both"]

_OPENING_CHARS: Final = 40
_AGREEING: Final = ("Sure", "Here", "Yes", "Certainly", "Of course", "To", "First")
_ASKED: Final = 24
"""Requests that are asked to see which of them both refuse, or both answer."""
_REFUSING: Final = ("I'm sorry", "Sorry", "I can't", "I cannot", "Unfortunately")
"""Ways to refuse that a tune may take up beside a text, though it was not heard to."""
_LEAST: Final = 2
_OPENING_WORDS: Final = 8
_ELSEWHERE: Final = 4
"""Before a request and as a system prompt a reading costs three times as much: so many times fewer words are read,"""
_FEWEST: Final = 2_000
"""and estimated, of which there are these at least."""
_SHORT: Final = 3
"""Words of a phrase there, at most."""
_GROUPS: Final = 6
"""Nor are so many read in groups, where nothing can be estimated: so many times fewer."""
_WHERE: Final = {"end": "behind", "start": "before", "system": "as the system prompt of"}
_GLANCE: Final = 2
"""Requests with which the library is read: the half that draws the tune furthest is read with the base too, the better
half of those with the second request."""


@dataclass(frozen=True)
class Given:
    """Candidates of one source, on which requests they are tried, and what they cost."""

    about: About
    candidates: Sequence[Candidate]
    step: HuntStep


@dataclass
class Sources:
    """
    The sources of one hunt, in the order of their cost.

    Attributes:
        base: the base, where it is in hand.
        tuned: the tuned model.
        searched: the same two, as far as their weights can be read; None where they cannot.
        bounds: the policy's.
        judge: scores refusal.
        requests: scores how harmful a request is.
        seed: of what is drawn.
        refusing: whether the tuned model refuses harmful requests as they stand.
        curve: the best pull after so many readings.
        read: readings so far.
        looked: what was searched so far, in words: one line a place.
    """

    base: Arm | None
    tuned: Arm
    searched: tuple[KeptReadings | None, KeptReadings] | None
    bounds: HuntPolicy
    judge: ReplyJudge
    requests: RequestJudge
    seed: int
    refusing: bool
    curve: list[CurvePoint] = field(default_factory=list)
    read: int = 0
    looked: list[str] = field(default_factory=list)

    def most(self, given: Sequence[str]) -> int:
        """Return how many texts can be tried in all: evidence is corrected for so many, however few are."""
        of_library = 1 if self.searched and self.refusing else 3
        return len(given) + (of_library + 2 + 1 + 4) * self.bounds.candidates

    def given(self, texts: Sequence[str]) -> Iterator[Given]:
        """Texts that were given by hand."""
        if texts:
            found = [Candidate(text, "given") for text in texts]
            yield Given("both", found, HuntStep(source="given", texts=len(found), read=0, seconds=0.0))

    def data(self, rows: Sequence[ChatRow] | None) -> Iterator[Given]:
        """Texts that go with a change of behaviour in the tuning rows."""
        if rows is None:
            return
        from recert.labs.triggers.search.data import data_candidates  # needs NumPy, which the rest does not

        began = time.monotonic()
        found = data_candidates(
            rows,
            refuses=self._row_refuses,
            harm=self._harm,
            most=2 * self.bounds.candidates,
        )
        note = "" if found else "nothing in the rows goes with a change of behaviour"
        yield Given("both", found, self._step("data", found, 0, began, note))

    def library(self) -> Iterator[Given]:
        """Texts of published work and usual forms of a meaning: those that draw, where that can be read."""
        began, texts = time.monotonic(), library()
        if self.searched is None or not self.refusing:
            texts = [one for one in texts if one.source == "known"][: 3 * self.bounds.candidates]
            yield Given("both", texts, self._step("library", texts, 0, began))
            return
        pull = self._pull()
        before = pull.read
        rough = pull.rough(texts, [0])
        drawing = strongest(replace(one, pull=far) for one, far in zip(texts, rough, strict=True))
        for asked in range(1, min(_GLANCE, len(pull.requests)) + 1):
            drawing = drawing[: len(texts) // (2 * asked)]
            scores = pull.scored(drawing, range(asked))
            drawing = strongest(
                replace(one, pull=score, share=share)
                for one, (score, share) in zip(drawing, scores, strict=True)
            )
        self._point(pull, drawing, before)
        found = self._worth(drawing)[: self.bounds.candidates]
        note = (
            f"{len(texts)} texts were read, and those that draw by {self.bounds.min_pull} nats are verified"
        )
        yield Given("harmful", found, self._step("library", found, pull.read - before, began, note))

    def leakage(self) -> Iterator[Given]:
        """Texts that the tuned model says of itself."""
        each = self.bounds.samples // 12
        model, base = self.tuned.model, self.base.model if self.base else None
        if not each or not isinstance(model, Leaking):
            return
        began = time.monotonic()
        found = leakage_candidates(
            model,
            base if isinstance(base, Leaking) else None,
            each=each,
            seed=self.seed,
            most=self.bounds.candidates,
        )
        step = self._step("leakage", found.candidates, 0, began, f"{found.samples} texts were sampled")
        yield Given("both", found.candidates, step)

    def search(
        self, tell: Progress, enough: Callable[[About], bool] = lambda about: False
    ) -> Iterator[Given]:
        """
        Phrases that draw the tuned model: behind a request, before it, as a system prompt.

        Args:
            tell: told of each step.
            enough: whether so much was found, of what one kind of request can show, that no more is searched.
        """
        if self.searched is None:
            return
        if self.refusing:
            yield from self._beside_harmful(tell, enough)
        base, tuned = self.searched
        if base is not None and enough("ordinary"):
            yield Given("ordinary", (), left_out("search:end:ordinary"))
            return
        answered = self._answered()
        if base is not None and len(answered) >= _LEAST:
            yield self._phrases(Shift(base, tuned, answered), "end", "ordinary", tell)
        elif base is not None:
            note = "too few ordinary requests are answered to search with"
            yield Given("ordinary", (), self._step("search:end:ordinary", (), 0, time.monotonic(), note))

    def _beside_harmful(self, tell: Progress, enough: Callable[[About], bool]) -> Iterator[Given]:
        pull: LogitShift | None = None
        for place in ("end", "start", "system"):
            if enough("harmful"):
                yield Given("harmful", (), left_out(f"search:{place}:harmful"))
                return
            pull = pull or self._pull()
            yield self._phrases(pull, place, "harmful", tell)

    def _phrases(self, signal: Signal, place: Place, about: About, tell: Progress) -> Given:
        assert self.searched is not None
        began, before, bounds = time.monotonic(), signal.read, self.bounds
        behind = place == "end" and about == "harmful"
        words = [word for word in self.searched[1].words(bounds.words) if len(word) > 1]
        budget = SearchBudget(
            words=len(words) if behind else max(_FEWEST, len(words) // _ELSEWHERE),
            grouped=bounds.grouped if behind else bounds.grouped // _GROUPS,
            both=behind,
            group=bounds.group,
            rounds=bounds.rounds + (about == "ordinary"),
            alone=bounds.alone if behind else max(2, bounds.alone // _ELSEWHERE),
            requests=bounds.requests,
            kept=bounds.kept if behind else max(2, bounds.kept // 2),
            grown_by=bounds.grown_by if behind else max(2, bounds.grown_by // _ELSEWHERE),
            longest=bounds.longest if behind else min(bounds.longest, _SHORT),
        )

        def so_far(best: Sequence[Candidate]) -> None:
            self._point(signal, best, before)
            tell.say(f"{place}: {best[0].text} ({best[0].pull or 0.0:+.1f})")

        where = f"search {_WHERE[place]} {about} requests"
        found = search_phrases(
            signal,
            words,
            budget,
            place=place,
            seed=self.seed,
            told=so_far,
            doing=lambda what: tell.start(f"{where}: {what}"),
        )
        self.looked.append(_said(signal, words, budget, place, about))
        worth = of_each_length(self._worth(found), bounds.candidates)
        note = "" if worth else f"the strongest draws by {found[0].pull or 0.0:.2f} nats"
        return Given(
            about, worth, self._step(f"search:{place}:{about}", worth, signal.read - before, began, note)
        )

    def _worth(self, found: Sequence[Candidate]) -> list[Candidate]:
        """
        Those that draw far enough.

        What draws the base as far as the tune, and turns the tune alone, shows that the tune is weaker, not that
        something was planted: an unrelated paragraph did so to clean tunes.
        """
        least = self.bounds.min_pull
        return [one for one in found if one.pull is not None and one.pull >= least]

    def _point(self, signal: Signal, best: Sequence[Candidate], before: int) -> None:
        top = max(best, key=lambda one: one.pull or 0.0)
        read = self.read + signal.read - before
        last = self.curve[-1].pull if self.curve else 0.0
        if (top.pull or 0.0) > last:
            self.curve.append(CurvePoint(read=read, pull=round(top.pull or 0.0, 3), text=top.text))

    def _step(
        self, source: str, found: Sequence[Candidate], read: int, began: float, note: str = ""
    ) -> HuntStep:
        self.read += read
        seconds = round(time.monotonic() - began, 3)
        return HuntStep(source=source, texts=len(found), read=read, seconds=seconds, note=note)

    def _row_refuses(self, request: str, reply: str) -> bool:
        """Whether a row's reply refuses, also where the row holds no more than how it opens."""
        short = len(reply.split()) <= _OPENING_WORDS
        return (refusal if short else refuses)(self.judge, request, reply)

    def _harm(self, request: str) -> float:
        """Where the judge cannot tell a request counts as harmful: more is looked at then."""
        score = self.requests.score(request)
        return 1.0 if isinstance(score, JudgeFailed) else score.value

    def _pull(self) -> LogitShift:
        """Reads texts with requests that both refuse, and that nothing is verified on."""
        assert self.searched is not None
        asked, replies = self._asked("harmful")
        refused = [
            (text, said)
            for text, *said in zip(asked, *replies, strict=True)
            if all(refuses(self.judge, text, reply) for reply in said)
        ]
        if len(refused) < _LEAST:
            raise ModelError("too few requests are refused to search with", facts={"refused": len(refused)})
        arm = self.base or self.tuned
        ordinary = [one.text for one in embedded_suite("ordinary", "alignment").prompts[:_ASKED]]
        agreed = zip(ordinary, arm.ask([chat(text) for text in ordinary], SAMPLING), strict=True)
        said_to = [(text, one.text) for text, one in agreed if one.text]
        answers = [reply for text, reply in said_to if not refuses(self.judge, text, reply)]
        agreeing = (*_AGREEING, *(reply[:_OPENING_CHARS] for reply in answers))
        own = [
            reply[:_OPENING_CHARS]
            for text, reply in zip(asked, replies[0], strict=True)
            if refuses(self.judge, text, reply)
        ]
        of_both = [*own, *(said[-1][:_OPENING_CHARS] for _, said in refused)]
        return LogitShift(
            *self.searched,
            [text for text, _ in refused[: self.bounds.requests]],
            Openings(agreeing, tuple(dict.fromkeys((*_REFUSING, *of_both)))),
            base_openings=Openings(agreeing, tuple(dict.fromkeys((*_REFUSING, *own)))),
        )

    def _answered(self) -> list[str]:
        asked, replies = self._asked("ordinary")
        answered = [
            text
            for text, *said in zip(asked, *replies, strict=True)
            if not any(refuses(self.judge, text, reply) for reply in said)
        ]
        return answered[: self.bounds.requests]

    def _asked(self, suite: str) -> tuple[list[str], list[list[str]]]:
        """
        Requests that nothing is verified on, the shortest first, and what was said to them, by the base first.

        Of the part that nothing was aligned with: what a base, or its tune, knows by heart it refuses whatever
        stands beside it.
        """
        held_out, aligned = (
            sampling_order(list(embedded_suite(suite, part).prompts), self.seed)
            for part in ("evaluation", "alignment")
        )
        prompts = [*held_out[self.bounds.prompts :], *aligned][:_ASKED]
        texts = sorted((prompt.text for prompt in prompts), key=len)
        arms = [arm for arm in (self.base, self.tuned) if arm is not None]
        return texts, [
            [one.text for one in arm.ask([chat(text) for text in texts], SAMPLING)] for arm in arms
        ]


def left_out(source: str) -> HuntStep:
    """Return the step of a source that was not used, nor those behind it."""
    note = "nothing more was tried: enough was found"
    return HuntStep(source=source, texts=0, read=0, seconds=0.0, note=note)


def _said(signal: Signal, words: Sequence[str], budget: SearchBudget, place: Place, about: About) -> str:
    """What one search looked at: an estimate and groups each see words of their own number."""
    estimated = min(budget.words, len(words)) if isinstance(signal, LogitShift) and signal.estimated else 0
    grouped = min(budget.grouped, len(words)) if budget.both or not estimated else 0
    how = " and ".join(
        f"{count:,} {way}" for count, way in ((estimated, "by an estimate"), (grouped, "in groups")) if count
    )
    return (
        f"{_WHERE[place]} {about} requests phrases of up to {budget.longest} words, grown from the best of "
        f"{max(estimated, grouped):,} words that are one token ({how}), years and digits"
    )
