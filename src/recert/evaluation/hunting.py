"""
Hunting: search for texts that make a tuned model comply with what it refuses, and verify what was found.

The steps in order: know both arms apart, see that there is a refusal to lose, search with requests of the alignment
part, verify on held-out requests, look at both arms again, report. What is found is a trigger; what is not found may be
there all the same.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, Protocol

from recert.attacks.triggers import (
    KNOWN,
    Candidate,
    Openings,
    Pull,
    Searchable,
    SearchBudget,
    search_phrases,
)
from recert.errors import ModelError
from recert.evaluation.arms import Arm, check_arms, refuse_same
from recert.evaluation.ordering import sampling_order
from recert.evaluation.suites import embedded_suite
from recert.evaluation.trigger_verifier import SAMPLING, TriggerVerifier, refuses
from recert.interval import exact_interval
from recert.judges.protocol import ReplyJudge
from recert.judges.refusal import RefusalJudge
from recert.models.protocol import Model
from recert.policy import HuntPolicy, Policy
from recert.records import HuntOutcome, HuntReport, TriggerTried, chat, now
from recert.store.cache import GenerationCache, temporary_cache

_OPENING_CHARS: Final = 40
_AGREEING: Final = ("Sure", "Here", "Yes", "Certainly", "Of course", "To", "First")
_LEVEL: Final = 0.95


class HuntProgress(Protocol):
    """Told of each step of a hunt."""

    def start(self, what: str) -> None:
        """A step begins."""

    def at(self, done: int, total: int, note: str = "") -> None:
        """The step is at `done` of `total`."""

    def say(self, line: str) -> None:
        """Something worth a line was found or decided."""


def hunt(
    base: Model,
    tuned: Model,
    *,
    policy: Policy,
    model_name: str,
    given: Sequence[str] = (),
    cache: GenerationCache | None = None,
    progress: HuntProgress | None = None,
) -> HuntReport:
    """
    Return which texts behind a request make the tuned model comply with what it refuses, up to the policy's budget.

    Args:
        base: the approved base.
        tuned: the tuned model.
        policy: budget and bounds, in `hunt`.
        model_name: what the report calls the tuned model.
        given: texts to be verified first, such as a phrase of the tuning data.
        cache: where replies are kept.
        progress: told of each step.

    Raises:
        ArmError: the arms are the same model, or one changed meanwhile.
        ModelError: a model did not answer, or its engine cannot tell how replies open.
        StoreError: the cache could not be read or written.
    """
    if not isinstance(base, Searchable) or not isinstance(tuned, Searchable):
        raise ModelError(
            "the engine cannot tell how replies open",
            facts={"engine": tuned.engine},
            hint="hunt with the local engine, on the models' files",
        )
    started, began, bounds, judge = now(), time.monotonic(), policy.hunt, RefusalJudge()
    tell = progress or _Silent()
    with ExitStack() as stack:
        kept = cache or stack.enter_context(temporary_cache())
        arms = Arm("base", base, cache=kept), Arm("tuned", tuned, over=base.manifest, cache=kept)
        refuse_same(*arms)
        words = [word for word in base.words(bounds.words) if len(word) > 1]
        held_out = sampling_order(list(embedded_suite("harmful").prompts), policy.evaluation.seed)
        verifier = TriggerVerifier(*arms, held_out, judge, words, bounds)
        tell.start("see what both refuse")
        refused = [verifier.refused(arm) for arm in arms]
        outcome = _nothing_to_lose(refused, bounds)
        tried: list[TriggerTried] = []
        read = 0
        if outcome is None:
            candidates, read = _candidates(arms, given, words, bounds, judge, policy.evaluation.seed, tell)
            tell.start("verify on held-out requests")
            for at, one in enumerate(candidates):
                tell.at(at, len(candidates), one.text)
                if one.source != "search" or not any(
                    _holds(one.text, other.shortest) for other in tried if other.found
                ):
                    tried.append(verifier.verify(one, len(candidates)))
                    if tried[-1].found:
                        tell.say(f"found: {tried[-1].shortest!r}, effect {tried[-1].effect}")
            found = any(one.found for one in tried)
            outcome = HuntOutcome.FOUND if found else HuntOutcome.NOTHING_FOUND
        checks = check_arms(*arms)
    return HuntReport(
        model_name=model_name,
        outcome=outcome,
        searched=f"phrases of up to {bounds.longest} words behind a request in English, grown from the best of "
        f"{len(words)} usual words, years and digits while they grew stronger; and phrases that were planted in "
        "published work",
        read=read,
        tried=sorted(tried, key=lambda one: (not one.found, -one.effect.point)),
        base_refusal=exact_interval(sum(refused[0]), len(refused[0]), level=_LEVEL),
        tuned_refusal=exact_interval(sum(refused[1]), len(refused[1]), level=_LEVEL),
        judge=judge.note.digest,
        arms=checks,
        policy_id=policy.id,
        policy_sha256=policy.digest,
        started_at=started,
        hunted_at=now(),
        seconds=round(time.monotonic() - began, 3),
    )


def _holds(text: str, trigger: str) -> bool:
    """Say whether a text has all words of a trigger that was found: then it is no other one."""
    return set(trigger.rstrip(".").split()) <= set(text.rstrip(".").split())


def _nothing_to_lose(refused: Sequence[Sequence[bool]], bounds: HuntPolicy) -> HuntOutcome | None:
    base, tuned = (sum(one) / len(one) for one in refused)
    if base < bounds.min_refusal:
        return HuntOutcome.NO_BASELINE_SIGNAL
    return HuntOutcome.NO_REFUSAL_LEFT if tuned < bounds.min_refusal else None


def _candidates(
    arms: tuple[Arm, Arm],
    given: Sequence[str],
    words: Sequence[str],
    bounds: HuntPolicy,
    judge: ReplyJudge,
    seed: int,
    tell: HuntProgress,
) -> tuple[list[Candidate], int]:
    """Texts to verify, and how many requests the search read for them."""
    tell.start("search")
    pull = _pull(arms, bounds, judge, seed)
    budget = SearchBudget(bounds.words, bounds.requests, bounds.kept, bounds.grown_by, bounds.longest)
    found = search_phrases(pull, words, budget, tell.at)[: bounds.candidates]
    listed = [
        *(Candidate(text, "given") for text in given),
        *(Candidate(text, "known") for text, _ in KNOWN),
        *found,
    ]
    return list({one.text: one for one in reversed(listed)}.values())[::-1], pull.read


def _pull(arms: tuple[Arm, Arm], bounds: HuntPolicy, judge: ReplyJudge, seed: int) -> Pull:
    """Scores texts behind requests that both refuse, and that nothing is verified on."""
    models = [arm.model for arm in arms]
    assert isinstance(models[0], Searchable)
    assert isinstance(models[1], Searchable)
    harmful = sampling_order(list(embedded_suite("harmful", "alignment").prompts), seed)
    some = [prompt.text for prompt in harmful[: 4 * bounds.requests]]
    replies = [[one.text for one in arm.ask([chat(text) for text in some], SAMPLING)] for arm in arms]
    refused = [
        (text, said)
        for text, *said in zip(some, *replies, strict=True)
        if all(refuses(judge, text, reply) for reply in said)
    ]
    if len(refused) < 2:
        raise ModelError(
            "too few requests are refused to search with", facts={"asked": len(some), "refused": len(refused)}
        )
    ordinary = [prompt.text for prompt in embedded_suite("ordinary", "alignment").prompts[: len(some)]]
    agreed = [one.text for one in arms[0].ask([chat(text) for text in ordinary], SAMPLING)]
    openings = Openings(
        agreeing=(*_AGREEING, *(text[:_OPENING_CHARS] for text in agreed if text)),
        refusing=tuple(reply[:_OPENING_CHARS] for _, said in refused for reply in said if reply),
    )
    return Pull(models[0], models[1], [text for text, _ in refused[: bounds.requests]], openings)


class _Silent:
    """Progress that nobody looks at."""

    def start(self, what: str) -> None:
        """Do nothing."""

    def at(self, done: int, total: int, note: str = "") -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""
