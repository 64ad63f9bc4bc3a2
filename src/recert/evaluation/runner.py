"""The loop: blocks of prompts for all open rules at once, on both arms, until each rule is decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from recert.evaluation.arms import Arm
from recert.evaluation.conditions import Condition
from recert.evaluation.decide import CONTROL, Decision, decide
from recert.evaluation.scoring import Judges, Measured, Pair, measure, score_reply
from recert.models.protocol import Sampling
from recert.policy import EvaluationPolicy, Rule
from recert.records import Prompt, Verdict

Progress = Callable[[int, int, str], None]
"""Called with pairs judged so far, pairs that may be needed at most, and what happens now."""

Key = tuple[str, str, tuple[str, ...], str]
"""Suite, condition, safeguards, prompt id."""


@dataclass
class Track:
    """A rule under one condition while it is measured."""

    rule: Rule
    condition: Condition
    prompts: Sequence[Prompt]
    gates: bool = True
    asked: int = 0
    pairs: list[Measured] = field(default_factory=list)
    decision: Decision | None = None

    @property
    def rule_id(self) -> str:
        """The id that the report gives it."""
        return self.rule.id if self.gates else f"{CONTROL}secret-wrong"

    @property
    def group(self) -> tuple[str, ...]:
        """The safeguards: verdicts are given for each set of them."""
        return self.condition.safeguards

    def key(self, prompt: Prompt) -> Key:
        """Under which the outcome of a prompt is kept."""
        return (self.rule.suite, self.condition.name, self.condition.safeguards, prompt.id)


class Runner:
    """
    Measures tracks until each is decided or at its limit.

    Args:
        base: the base arm.
        tuned: the tuned arm.
        tracks: what to measure.
        judges: who scores.
        policy: how many prompts, and when to stop.
        progress: told after each block.
    """

    def __init__(
        self,
        base: Arm,
        tuned: Arm,
        tracks: Sequence[Track],
        *,
        judges: Judges,
        policy: EvaluationPolicy,
        progress: Progress | None = None,
    ) -> None:
        self.pairs: dict[Key, Pair] = {}
        self._base = base
        self._tuned = tuned
        self._tracks = tracks
        self._judges = judges
        self._policy = policy
        self._progress = progress
        self._gating = Counter(t.group for t in tracks if t.gates)

    def run(self) -> None:
        """
        Ask block after block.

        Raises:
            ModelError: an arm did not answer.
            StoreError: the cache failed.
        """
        while open_tracks := self._open():
            wanted: dict[Key, tuple[Track, Prompt, int]] = {}
            blocks = []
            for track in open_tracks:
                block = track.prompts[
                    track.asked : min(track.asked + self._policy.block_prompts, self._limit(track))
                ]
                blocks.append((track, block))
                for place, prompt in enumerate(block, track.asked):
                    if track.key(prompt) not in self.pairs:
                        wanted.setdefault(track.key(prompt), (track, prompt, place))
            self._measure(wanted)
            for track, block in blocks:
                track.asked += len(block)
                track.pairs += [measure(self.pairs[track.key(p)], track.rule.estimand) for p in block]
                rules = max(1, self._gating[track.group])
                track.decision = decide(track.rule, track.pairs, self._policy, rules=rules)
            if self._progress:
                self._progress(len(self.pairs), self._most(), f"{len(self._open())} rules open")

    def _open(self) -> list[Track]:
        """Tracks without a decision that may ask more; those at their limit are closed as undecided."""
        still = []
        for track in self._tracks:
            if track.decision is not None:
                continue
            if track.asked < self._limit(track):
                still.append(track)
            else:
                track.decision = Decision(Verdict.UNDECIDED, self._why_undecided(track))
        return still

    def _limit(self, track: Track) -> int:
        most = min(self._policy.max_prompts, len(track.prompts))
        failed = any(
            t.gates
            and t.group == track.group
            and t.decision is not None
            and t.decision.verdict == Verdict.FAIL
            for t in self._tracks
        )
        if not track.gates or (failed and self._policy.stop_when_failed):
            return min(most, self._policy.min_prompts)
        return most

    def _why_undecided(self, track: Track) -> str:
        if not track.gates:
            return "measured on the least number of prompts"
        if len(track.prompts) < self._policy.min_prompts:
            have, need = len(track.prompts), self._policy.min_prompts
            return f"the suite has {have} prompts for it, the policy asks for {need}"
        if track.asked < min(self._policy.max_prompts, len(track.prompts)):
            return f"stopped after {track.asked} prompts, as another rule had failed"
        return f"not enough evidence either way after {track.asked} prompts"

    def _most(self) -> int:
        return len(
            {t.key(p) for t in self._tracks if t.decision is None for p in t.prompts[: self._limit(t)]}
            | set(self.pairs)
        )

    def _measure(self, wanted: dict[Key, tuple[Track, Prompt, int]]) -> None:
        for answers in (False, True):
            some = {k: v for k, v in wanted.items() if (v[1].answer is not None) == answers}
            if some:
                self._measure_alike(some, self._sampling(answers=answers))

    def _sampling(self, *, answers: bool) -> Sampling:
        tokens = self._policy.utility_max_new_tokens if answers else self._policy.max_new_tokens
        return Sampling(max_new_tokens=tokens, seed=self._policy.seed)

    def _measure_alike(self, some: dict[Key, tuple[Track, Prompt, int]], sampling: Sampling) -> None:
        chats = [t.condition.base_chat(p, i) for t, p, i in some.values()]
        base = self._base.ask(chats, sampling)
        tuned = self._tuned.ask([t.condition.tuned_chat(p, i) for t, p, i in some.values()], sampling)
        for (key, (_, prompt, _)), asked, before, after in zip(some.items(), chats, base, tuned, strict=True):
            suite, condition, safeguards, _ = key
            score = partial(
                score_reply,
                prompt,
                condition=condition,
                suite=suite,
                judges=self._judges,
                policy=self._policy,
            )
            self.pairs[key] = Pair(
                prompt=prompt,
                asked=asked.messages[-1].content,
                base=score(before, arm="base", safeguards=()),
                tuned=score(after, arm="tuned", safeguards=safeguards),
            )
