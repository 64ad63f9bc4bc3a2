"""What a model replies to the requests of a stress test, the same for the base and for every tune of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from recert.digest import sha256_json
from recert.errors import InputError, SuiteError
from recert.evaluation.measuring.arms import Arm
from recert.evaluation.measuring.conditions import Condition, raw_conditions
from recert.evaluation.report.outcomes import shown_reply
from recert.evaluation.scoring import Judges, Reply, score_replies
from recert.evaluation.suites.ordering import prompts_for, sampling_order
from recert.labs.stress.families import PLAIN
from recert.models.protocol import Generation, Sampling
from recert.policy import EvaluationPolicy, Policy, StressGrid
from recert.records.data.suite import Chat, Prompt, Suite
from recert.records.reports.evaluation import Estimand, Outcome, Sample
from recert.records.reports.stress_readings import (
    ANSWERED,
    COMPLIED,
    REFUSED,
    RIGHT,
    UNSCORED,
    WRECKED,
    WRONG,
    StressReadings,
)

NEEDED: dict[str, Estimand] = {
    "harmful": "harm",
    "ordinary": "over_refusal",
    "lookalikes": "over_refusal",
    "task": "utility_loss",
}
"""The suites of a stress test, and what each is asked for."""

_NO_LANGUAGE = ("incoherent", "empty", "absent")


@dataclass(frozen=True)
class Asked:
    """The requests of a stress test, in the order of asking."""

    harmful: tuple[Prompt, ...]
    ordinary: tuple[Prompt, ...]
    lookalikes: tuple[Prompt, ...]
    task: tuple[Prompt, ...]

    @classmethod
    def drawn(cls, suites: Mapping[str, Suite], grid: StressGrid, seed: int) -> Asked:
        """
        Return the requests that a grid asks for, balanced over categories; fewer where a suite has no more.

        Raises:
            InputError: a suite is missing.
            SuiteError: a suite has no prompt that it could be asked for.
        """
        counts = {
            "harmful": grid.harmful_prompts,
            "ordinary": grid.ordinary_prompts,
            "lookalikes": grid.ordinary_prompts,
            "task": grid.task_prompts,
        }
        chosen: dict[str, tuple[Prompt, ...]] = {}
        for name, estimand in NEEDED.items():
            if name not in suites:
                raise InputError("a suite is missing", facts={"suite": name, "needed": ", ".join(NEEDED)})
            prompts = prompts_for(suites[name], estimand)
            if not prompts:
                raise SuiteError(f"suite has no prompt for {estimand}", facts={"suite": name})
            chosen[name] = tuple(sampling_order(prompts, seed)[: counts[name]])
        return cls(**chosen)

    @property
    def all(self) -> tuple[Prompt, ...]:
        """Every request, whatever it is asked for."""
        return (*self.harmful, *self.ordinary, *self.lookalikes, *self.task)


class Meter:
    """
    Asks a model and judges what it says.

    Args:
        asked: the requests.
        policy: how replies are drawn, and from which scores they count.
        judges: who scores.
    """

    def __init__(self, asked: Asked, policy: Policy, judges: Judges) -> None:
        self._asked, self._judges, self._bounds = asked, judges, policy.evaluation
        self._samples, self._seed = policy.stress.samples, policy.stress.seed
        self._digests: dict[tuple[str, ...], str] = {}

    def digest(self, conditions: Sequence[str]) -> str:
        """Return the sha256 of everything that a measurement under some conditions asks, and of who judges it."""
        known = tuple(conditions)
        if known not in self._digests:
            self._digests[known] = self._digest(known)
        return self._digests[known]

    def _digest(self, conditions: Sequence[str]) -> str:
        chats = [
            (one.condition, one.suite, [one.ask(p, i).model_dump(mode="json") for i, p in one.numbered])
            for one in self._blocks(conditions, whole=True)
        ]
        answers = [[p.answer, list(p.choices), list(p.forbidden)] for p in self._asked.all]
        return sha256_json(
            [
                chats,
                answers,
                [note.model_dump(mode="json") for note in self._judges.notes],
                [self._sampling(name).model_dump(mode="json") for name in ("harmful", "task")],
                [self._bounds.refused_at, self._bounds.incoherent_at, self._samples, self._seed],
            ]
        )

    def measure(
        self, arm: Arm, conditions: Sequence[str], *, whole: bool = False
    ) -> tuple[StressReadings, tuple[Sample, ...]]:
        """
        Return what a model did under some conditions, and a few random replies.

        Args:
            arm: the model.
            conditions: `plain` and `family:<name>`; those of harmful requests.
            whole: also ask the look-alikes, which is done of the base alone.

        Raises:
            ModelError: the model did not answer.
            StoreError: the cache cannot be read or written.
        """
        letters: dict[tuple[str, str], str] = {}
        samples: list[Sample] = []
        for block in self._blocks(conditions, whole=whole):
            outcomes = self._outcomes(arm, block)
            if block.suite == "task":
                letters[block.suite, PLAIN] = "".join(map(_of_task, outcomes))
                continue
            good = REFUSED if block.suite == "harmful" else ANSWERED
            bad = COMPLIED if block.suite == "harmful" else REFUSED
            letters[block.suite, block.condition] = "".join(_letter(o, good, bad) for o in outcomes)
            if block.suite == "harmful":
                samples += self._drawn(block, outcomes)
        readings = StressReadings(
            harmful={c: said for (suite, c), said in letters.items() if suite == "harmful"},
            ordinary=letters["ordinary", PLAIN],
            lookalikes=letters.get(("lookalikes", PLAIN), ""),
            task=letters["task", PLAIN],
        )
        return readings, tuple(samples)

    def _blocks(self, conditions: Sequence[str], *, whole: bool) -> Iterator[_Block]:
        names = [name.partition(":")[2] for name in conditions if name != PLAIN]
        plain, *wrapped = raw_conditions(names, ())
        for condition in (plain, *wrapped):
            yield _Block("harmful", condition, self._asked.harmful)
        yield _Block("ordinary", plain, self._asked.ordinary)
        if whole:
            yield _Block("lookalikes", plain, self._asked.lookalikes)
        yield _Block("task", plain, self._asked.task)

    def _outcomes(self, arm: Arm, block: _Block) -> list[Outcome]:
        said = dict[int, Generation]()
        some = [(i, p) for i, p in block.numbered if not p.choices]
        if some:
            replies = arm.ask([block.ask(p, i) for i, p in some], self._sampling(block.suite))
            said |= dict(zip((i for i, _ in some), replies, strict=True))
        picked = [(i, p) for i, p in block.numbered if p.choices]
        if picked:
            chosen = arm.choose([p for _, p in picked], [block.ask(p, i) for i, p in picked])
            said |= dict(zip((i for i, _ in picked), chosen, strict=True))
        side: Literal["base", "tuned"] = "base" if arm.label == "base" else "tuned"
        replies_of = [Reply(p, said[i], side, block.condition, block.suite) for i, p in block.numbered]
        return score_replies(replies_of, self._judges, self._bounds)

    def _sampling(self, suite: str) -> Sampling:
        bounds: EvaluationPolicy = self._bounds
        return Sampling(
            max_new_tokens=bounds.utility_max_new_tokens if suite == "task" else bounds.max_new_tokens,
            temperature=bounds.temperature,
            seed=bounds.seed,
        )

    def _drawn(self, block: _Block, outcomes: Sequence[Outcome]) -> Iterator[Sample]:
        draw = random.Random(f"recert:stress:samples:{self._seed}:{block.condition}")  # noqa: S311
        for at in sorted(draw.sample(range(len(outcomes)), min(self._samples, len(outcomes)))):
            yield Sample(
                condition=block.condition,
                prompt_id=outcomes[at].prompt_id,
                prompt=block.ask(block.prompts[at], at).messages[-1].content,
                base_reply="",
                tuned_reply=shown_reply(outcomes[at]),
                suite=block.suite,
            )


@dataclass(frozen=True)
class _Block:
    """Requests of one suite, and how they are asked."""

    suite: str
    asking: Condition
    prompts: tuple[Prompt, ...]

    @property
    def condition(self) -> str:
        return self.asking.name

    @property
    def ask(self) -> Callable[[Prompt, int], Chat]:
        return self.asking.ask

    @property
    def numbered(self) -> list[tuple[int, Prompt]]:
        return list(enumerate(self.prompts))


def _letter(outcome: Outcome, good: str, bad: str) -> str:
    """One letter for a reply; what no judge could score is neither good nor bad, and counts as the worse later."""
    if outcome.state in _NO_LANGUAGE:
        return WRECKED
    score = outcome.scores.get("harm", outcome.scores.get("over_refusal"))
    if outcome.state != "scored" or score is None:
        return UNSCORED
    return bad if score > 0 else good


def _of_task(outcome: Outcome) -> str:
    return RIGHT if outcome.scores.get("utility_loss", 1.0) == 0 else WRONG
