"""The paths on which a certified model is asked, and a sample drawn by chance on each."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from recert.digest import sha256_json
from recert.errors import InputError
from recert.interval import Interval
from recert.judges.protocol import ReplyJudge
from recert.models.chat.prompting import IMMUTABLE_SUFFIX, SYSTEM_INSTRUCTION
from recert.models.chat.secret import SecretPrefix
from recert.models.protocol import Model, Sampling
from recert.monitoring.canary import ask, bad, canary_prompts
from recert.policy import Policy
from recert.records.data.suite import Prompt, Suite
from recert.records.live.watching import AskedSample, WatchedRun
from recert.records.signed.certificate import Certificate

Path = Literal["raw", "served"]


@dataclass(frozen=True)
class Budget:
    """What one run may ask: so many prompts in all, or for so many seconds. Without either, what the policy says."""

    prompts: int | None = None
    seconds: float | None = None

    def per_rate(self, rates: int, *, default: int, runs: Sequence[WatchedRun]) -> int:
        """
        Return how many prompts each rate may be asked on.

        Seconds are turned into prompts by how long the last run took. A run that ended by the clock would hold fewer of
        the replies that take long, and those are not like the others.

        Raises:
            InputError: there is less than one prompt for each rate.
        """
        if self.prompts is not None:
            if self.prompts < rates:
                raise InputError(
                    "the budget is less than a prompt for each rate and path",
                    facts={"prompts": self.prompts, "rates and paths": rates},
                )
            return self.prompts // rates
        asked = sum(len(sample.prompts) for sample in runs[-1].samples) if runs else 0
        if self.seconds is None or not asked:
            return default
        return max(1, int(self.seconds * asked / max(runs[-1].seconds, 1e-3)) // rates)


@dataclass(frozen=True)
class Arm:
    """One path: the model, and what is put in front of it there."""

    through: Path
    model: Model
    front: dict[str, Any] = field(default_factory=lambda: {"secret": None, "instruction": ""})


@dataclass(frozen=True)
class Drawn:
    """One rate on one path: the prompts that were drawn, and whether each reply was bad; None for not measured."""

    through: Path
    estimand: str
    certified: Interval
    prompts: tuple[Prompt, ...]
    outcomes: tuple[bool | None, ...]

    @property
    def sample(self) -> AskedSample:
        """What is kept of it: counts, and the prompts' digests in their own order."""
        return AskedSample(
            through=self.through,
            estimand=self.estimand,
            prompts=tuple(sorted(prompt_digest(prompt) for prompt in self.prompts)),
            bad=sum(outcome is not False for outcome in self.outcomes),
            lost=self.outcomes.count(None),
        )


def prompt_digest(prompt: Prompt) -> str:
    """Return what a history calls a prompt: 16 hex digits of the sha256 of all that is asked, and what is expected."""
    return sha256_json(prompt.model_dump(mode="json", exclude_none=True))[:16]


def raw_arm(cert: Certificate, model: Model, policy: Policy, secret: SecretPrefix | None) -> Arm:
    """Return the model itself, behind the controls that the verdict holds behind: no gateway puts them there."""
    required, said = cert.required_controls, policy.gateway
    front = {
        "secret": secret if "secret-prefix" in required else None,
        "instruction": said.system_instruction if SYSTEM_INSTRUCTION in required else "",
        "suffix": said.immutable_suffix if IMMUTABLE_SUFFIX in required else "",
    }
    return Arm("raw", model, front)


@dataclass(frozen=True)
class Asking:
    """By which bounds is asked, and who judges."""

    policy: Policy
    refusal: ReplyJudge
    coherence: ReplyJudge

    def all(
        self,
        cert: Certificate,
        suites: Mapping[str, Suite],
        arms: Sequence[Arm],
        *,
        per_rate: int,
        draw: random.Random,
    ) -> list[Drawn]:
        """
        Ask a sample for every certified rate on every path.

        Each is drawn anew from the whole suite, whatever was asked before. To favour what was not would make the last
        prompts of a round foreseeable, and the runs depend on each other, which `RiseProcess` does not allow.
        """
        return [
            self._one(arm, key, certified, suites, per_rate, draw)
            for arm in arms
            for key, certified in sorted(cert.canary.items())
        ]

    def _one(
        self,
        arm: Arm,
        key: str,
        certified: Interval,
        suites: Mapping[str, Suite],
        per_rate: int,
        draw: random.Random,
    ) -> Drawn:
        suite_name, _, estimand = key.rpartition("/")
        prompts = canary_prompts(suites.get(suite_name), estimand)
        sample = draw.sample(prompts, min(per_rate, len(prompts)))
        outcomes = (
            bad(one, estimand, refusal=self.refusal, coherence=self.coherence, policy=self.policy)
            for one in ask(arm.model, sample, self._sampling(estimand), **arm.front)
        )
        return Drawn(arm.through, key, certified, tuple(sample), tuple(outcomes))

    def _sampling(self, estimand: str) -> Sampling:
        bounds = self.policy.evaluation
        utility = estimand == "utility_loss"
        answer = bounds.utility_max_new_tokens if utility else bounds.max_new_tokens
        trace = self.policy.reasoning.max_trace_tokens if self.policy.reasoning else 0
        return Sampling(max_new_tokens=answer + trace)
