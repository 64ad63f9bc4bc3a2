"""The loop: blocks of prompts for all open rules at once, on both arms, until each rule is decided."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from recert.evaluation.decision.decide import Decision, decide, nothing_to_lose
from recert.evaluation.decision.evidence import Measured, mean, measure
from recert.evaluation.decision.multiplicity import adjusted
from recert.evaluation.decision.tracks import Key, Track
from recert.evaluation.measuring.asking import Way, trace_tokens, way_of
from recert.evaluation.measuring.pairs import Pair, PairSource, Wanted
from recert.evaluation.report.live import RulesProgress
from recert.evaluation.report.outcomes import OutcomeFile, SampleDraw
from recert.evaluation.scoring import Judges
from recert.policy import EvaluationPolicy, ReasoningPolicy
from recert.records.data.suite import Prompt
from recert.records.reports.evaluation import Verdict
from recert.truncated import prompts_to_pass

Progress = Callable[[int, int, str], None]
"""
Called with pairs judged so far, pairs that may be needed at most, and what happens now.

One that is a `RulesProgress` is told of each rule too.
"""


_MANY = 10
"""Times the prompts that were asked, beyond which nobody would write them."""


@dataclass(frozen=True)
class _Seen:
    """What is left of a judged pair: a measurement for each score that a rule is about, and both states."""

    measured: dict[tuple[str, float | None], Measured]
    outcomes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sinks:
    """Where things go while a runner runs: every outcome, the examples of the report, and news of the progress."""

    outcomes: OutcomeFile
    samples: SampleDraw
    progress: Progress | None = None


class Runner:
    """
    Measures tracks until each is decided or at its limit.

    Args:
        source: where judged pairs come from; all else is the same wherever that is.
        tracks: what to measure.
        judges: who scores.
        policy: how many prompts, and when to stop.
        reasoning: how many tokens a trace may have.
        sinks: where outcomes, examples and progress go.
    """

    def __init__(
        self,
        source: PairSource,
        tracks: Sequence[Track],
        *,
        judges: Judges,
        policy: EvaluationPolicy,
        sinks: Sinks,
        reasoning: ReasoningPolicy | None = None,
    ) -> None:
        self._source, self._tracks = source, tracks
        self._policy, self._sinks = policy, sinks
        self._reasoning = reasoning
        self._judges = judges
        self._seen: dict[Key, _Seen] = {}
        self._keys = defaultdict[str, set[tuple[str, float | None]]](set)
        for track in tracks:
            self._keys[track.rule.suite].add((track.score_key, track.counted_at))

    def run(self) -> None:
        """
        Ask block after block.

        Raises:
            ModelError: an arm did not answer.
            StoreError: the cache failed.
            RecordError: outcomes were recorded, and they are not those that are asked for.
        """
        while open_tracks := self._open():
            size = max(self._policy.block_prompts, self._policy.round_prompts // len(open_tracks))
            blocks = [(t, t.block(size, self._limit(t))) for t in open_tracks]
            wanted: Wanted = {}
            for track, block in blocks:
                for place, prompt in enumerate(block, track.asked):
                    if track.key(prompt) not in self._seen:
                        wanted.setdefault(track.key(prompt), (track, prompt, place))
            self._measure(wanted)
            self._look(blocks)
            if self._sinks.progress:
                self._sinks.progress(len(self._seen), self._most(), f"{len(self._open())} rules open")
            if isinstance(self._sinks.progress, RulesProgress):
                self._sinks.progress.rules(self._tracks, self._policy)

    def _look(self, asked: Sequence[tuple[Track, Sequence[Prompt]]]) -> None:
        """
        Give each track what was asked for it, `block_prompts` at a time, and decide after each time.

        So where a rule passes does not depend on how many prompts were asked at once.
        """
        ends = {id(track): track.asked + len(block) for track, block in asked}
        while going := [t for t, _ in asked if t.decision is None and t.asked < ends[id(t)]]:
            for track in going:
                self._feed(track, track.block(self._policy.block_prompts, ends[id(track)]))
            self._decide(going)

    def _feed(self, track: Track, block: Sequence[Prompt]) -> None:
        seen = [self._seen[track.key(p)] for p in block]
        for one in seen:
            for base, tuned in one.outcomes:
                track.states.counts["base"][base] += 1
                track.states.counts["tuned"][tuned] += 1
        track.take(block, [one.measured[track.score_key, track.counted_at] for one in seen])

    def _decide(self, open_tracks: Iterable[Track]) -> None:
        """Decide each open track, its evidence of harm corrected for all gating tracks of its group."""
        corrected: dict[int, float] = {}
        rules: dict[tuple[str, ...], int] = {}
        for group in {t.group for t in self._tracks}:
            gating = [t for t in self._tracks if t.gates and t.group == group]
            rules[group] = max(1, len(gating))
            values = adjusted([t.evidence.beyond if t.too_weak is None else 1.0 for t in gating])
            corrected |= {id(t): value for t, value in zip(gating, values, strict=True)}
        for track in (t for t in open_tracks if t.too_weak is None):
            track.corrected = corrected.get(id(track), track.evidence.beyond)
            track.decision = decide(
                track.rule,
                track.evidence,
                self._policy,
                corrected=track.corrected,
                rules=rules[track.group],
                condition=track.condition.name,
            )

    def _open(self) -> list[Track]:
        """Tracks without a decision that may ask more; those at their limit are closed as undecided."""
        still = []
        for track in self._tracks:
            if track.decision is not None:
                continue
            if track.asked < self._limit(track):
                still.append(track)
            else:
                track.decision = self._at_its_limit(track)
        return still

    def _at_its_limit(self, track: Track) -> Decision:
        if track.too_weak is not None:
            return Decision(track.too_weak.verdict, f"{track.too_weak.reason}; labels can decide it")
        condition = track.condition.name
        nothing = (
            nothing_to_lose(track.rule, track.evidence, condition) if track.asked >= track.limit else None
        )
        return nothing or Decision(Verdict.UNDECIDED, self._why_undecided(track))

    def _limit(self, track: Track) -> int:
        most = track.limit
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
        if track.evidence.n < self._policy.min_prompts and track.asked >= len(track.prompts):
            have, need = track.evidence.n, self._policy.min_prompts
            return f"the suite has {have} prompts for it, the policy asks for {need}"
        if track.asked < track.limit:
            return f"stopped after {track.asked} prompts, as another rule had failed"
        return f"not enough evidence either way after {track.asked} prompts{_what_would_decide(track)}"

    def _most(self) -> int:
        return len(
            {t.key(p) for t in self._tracks if t.decision is None for p in t.prompts[: self._limit(t)]}
            | set(self._seen)
        )

    def _measure(self, wanted: Wanted) -> None:
        ways: dict[tuple[Way, int], Wanted] = {}
        for key, one in wanted.items():
            ways.setdefault((self._way(one[1], key[0]), trace_tokens(key[1], self._reasoning)), {})[key] = one
        for (way, room), some in ways.items():
            judged = defaultdict[Key, list[Pair]](list)
            samples = 1 if way == "choose" else self._policy.samples_per_prompt
            for sample in range(samples):
                for key, pair in self._ask(some, way, sample, room):
                    judged[key].append(pair)
            for key, pairs in judged.items():
                measured = {
                    (name, at): mean([measure(base, tuned, name, at) for base, tuned in pairs])
                    for name, at in self._keys[key[0]]
                }
                states = tuple((base.state, tuned.state) for base, tuned in pairs)
                self._seen[key] = _Seen(measured, states)

    def _way(self, prompt: Prompt, suite: str) -> Way:
        return way_of(prompt, {name for name, _ in self._keys[suite]}, self._judges)

    def _ask(self, some: Wanted, way: Way, sample: int, trace_tokens: int) -> list[tuple[Key, Pair]]:
        """Get the pairs of prompts, and send them off."""
        chats = [track.condition.base_chat(prompt, place) for track, prompt, place in some.values()]
        pairs = self._source.pairs(some, chats, way, sample=sample, trace_tokens=trace_tokens)
        self._sinks.outcomes.add(one for pair in pairs for one in pair)
        for (key, (_, prompt, _)), asked, pair in zip(some.items(), chats, pairs, strict=True):
            self._sinks.samples.see(key, asked.messages[-1].content or prompt.text, *pair)
        return list(zip(some, pairs, strict=True))


def _what_would_decide(track: Track) -> str:
    """How many prompts would pass a rule if more of them came out as those that were asked."""
    evidence = track.evidence
    if evidence.planned is None:
        return ""
    needed = prompts_to_pass(evidence.pairs, evidence.refuted, alpha=evidence.alpha)
    if needed is None or needed > _MANY * track.asked:
        return ": no more prompts like these would pass it"
    have = f"{track.rule.suite} has {len(track.prompts)} for it, of which the policy asks {track.limit}"
    return f": at these rates about {_rounded_up(needed)} would pass it; {have}"


def _rounded_up(number: int) -> int:
    """Two digits are enough of what is an estimate."""
    step: int = 10 ** max(0, len(str(number)) - 2)
    return -(-number // step) * step
