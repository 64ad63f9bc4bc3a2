"""Where judged pairs come from: two models that are asked and judged, or outcomes that were recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

from recert.errors import RecordError
from recert.evaluation.decision.tracks import Key, Track
from recert.evaluation.measuring.arms import Arm, KeptReply
from recert.evaluation.measuring.asking import Way, ask
from recert.evaluation.report.rechecking import Rechecks
from recert.evaluation.scoring import Judges, Reply, score_replies
from recert.models.protocol import Generation
from recert.policy import EvaluationPolicy, ReasoningPolicy
from recert.records.data.suite import Chat, Prompt
from recert.records.reports.evaluation import Outcome

Wanted = dict[Key, tuple[Track, Prompt, int]]
"""Prompts to be asked, with a track that asks them and their place in its order."""

Pair = tuple[Outcome, Outcome]
"""The base's outcome and the tuned model's, of one prompt under one condition."""


class PairSource(Protocol):
    """Gives the judged pairs of prompts, block by block, in the order in which a runner wants them."""

    def pairs(
        self, wanted: Wanted, chats: Sequence[Chat], way: Way, *, sample: int, trace_tokens: int
    ) -> list[Pair]:
        """
        Return a pair for each prompt, in order.

        Args:
            wanted: the prompts.
            chats: what the base is asked of each.
            way: how they are asked.
            sample: which of several replies to the same prompt.
            trace_tokens: tokens that a reply may have for its trace, beside those of the answer.

        Raises:
            ModelError: an arm did not answer.
            StoreError: the cache failed.
            RecordError: what was recorded is something else.
        """


class AskedPairs:
    """
    Asks both arms, and has their replies judged.

    Args:
        base: the base arm.
        tuned: the tuned arm.
        judges: who scores.
        policy: how many tokens, how drawn, and from which score on it counts.
        reasoning: how traces are read and judged; None: as shown to users, whatever their format.
    """

    def __init__(
        self,
        base: Arm,
        tuned: Arm,
        *,
        judges: Judges,
        policy: EvaluationPolicy,
        reasoning: ReasoningPolicy | None = None,
    ) -> None:
        self._base, self._tuned, self._judges = base, tuned, judges
        self._policy, self._reasoning = policy, reasoning
        self._rechecks = Rechecks(policy.recheck_cached)

    def pairs(
        self, wanted: Wanted, chats: Sequence[Chat], way: Way, *, sample: int, trace_tokens: int
    ) -> list[Pair]:
        """Ask both arms the same, and return what the judges say of it; see `PairSource`."""
        kept: list[KeptReply] = []
        before, after = self._generated(wanted, chats, way, sample, trace_tokens, kept)
        replies: list[Reply] = []
        for (key, (_, prompt, _)), base, tuned in zip(wanted.items(), before, after, strict=True):
            suite, condition, safeguards, _ = key
            replies.append(Reply(prompt, base, "base", condition, suite, sample=sample))
            replies.append(Reply(prompt, tuned, "tuned", condition, suite, safeguards, sample))
        for one in kept:
            self._rechecks.see(replies[2 * one.place + (one.arm is self._tuned)], one)
        outcomes = score_replies(replies, self._judges, self._policy, self._reasoning)
        return list(zip(outcomes[::2], outcomes[1::2], strict=True))

    def ask_kept_again(self) -> dict[str, int]:
        """
        Ask a random share of the replies that came from the cache again, once a run has ended: `Rechecks.check`.

        Raises:
            ArmError: more of an arm's replies are judged otherwise than an honest cache allows.
            ModelError: the model did not answer.
        """
        return self._rechecks.check(self._judges, self._policy, self._reasoning)

    def _generated(
        self,
        wanted: Wanted,
        chats: Sequence[Chat],
        way: Way,
        sample: int,
        trace_tokens: int,
        kept: list[KeptReply],
    ) -> tuple[list[Generation], list[Generation]]:
        """What both arms said; `kept` takes what came from the cache."""
        guarded = [t.condition.tuned_chat(p, i) for t, p, i in wanted.values()]
        prompts, bounds = [p for _, p, _ in wanted.values()], self._policy
        more: Any = {"sample": sample, "room": trace_tokens, "told": kept.append}
        base = ask(self._base, prompts, chats, way, bounds, **more)
        return base, ask(self._tuned, prompts, guarded, way, bounds, **more)


class RecordedPairs:
    """
    Gives the outcomes that an evaluation recorded, and insists that they are what is asked for.

    Args:
        outcomes: every outcome, in the order of the evidence file.
    """

    def __init__(self, outcomes: Iterable[Outcome]) -> None:
        self._left = enumerate(outcomes, start=1)

    def pairs(
        self, wanted: Wanted, chats: Sequence[Chat], way: Way, *, sample: int, trace_tokens: int
    ) -> list[Pair]:
        """Return the next outcomes of the file, a pair for each prompt; see `PairSource`."""
        return [(self._next(key, "base", sample), self._next(key, "tuned", sample)) for key in wanted]

    def finish(self) -> None:
        """
        Return when every outcome was asked for.

        Raises:
            RecordError: there are more.
        """
        more = next(self._left, None)
        if more is not None:
            line, found = more
            raise RecordError(
                "an outcome was recorded that nothing asked for",
                facts={"line": line, "outcome": _named(found), "and more": sum(1 for _ in self._left)},
            )

    def _next(self, key: Key, arm: Literal["base", "tuned"], sample: int) -> Outcome:
        suite, condition, safeguards, prompt_id = key
        wanted = (arm, suite, condition, safeguards if arm == "tuned" else (), prompt_id, sample)
        line, found = next(self._left, (0, None))
        if found is None:
            raise RecordError("an outcome is missing", facts={"asked for next": _words(*wanted)})
        if (said := _place(found)) != wanted:
            raise RecordError(
                "an outcome is missing, repeated, out of order or of a prompt that was not asked",
                facts={"line": line, "asked for next": _words(*wanted), "found": _words(*said)},
            )
        if not all(0 <= score <= 1 for score in found.scores.values()):
            raise RecordError("an outcome has a score that is none", facts={"line": line})
        return found


def _place(outcome: Outcome) -> tuple[str, str, str, tuple[str, ...], str, int]:
    return (
        outcome.arm,
        outcome.suite,
        outcome.condition,
        outcome.safeguards,
        outcome.prompt_id,
        outcome.sample,
    )


def _named(outcome: Outcome) -> str:
    return _words(*_place(outcome))


def _words(
    arm: str, suite: str, condition: str, safeguards: tuple[str, ...], prompt_id: str, sample: int
) -> str:
    behind = " behind ".join([condition, *safeguards])
    return f"{arm} on {prompt_id!r} of {suite} under {behind}, sample {sample}"
