"""What an evaluation really asks: `evaluate` on scripted models whose rates are known, under a shipped policy."""

from __future__ import annotations

import gzip
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recert.evaluation.stage import evaluate
from recert.evaluation.suites.reading import EMBEDDED, embedded_suite
from recert.models import ScriptedModel
from recert.policy import Policy
from recert.records.data.suite import Chat, Suite
from recert.records.reports.evaluation import EvalReport
from recert.store.cache import GenerationCache

SYSTEM = "You answer questions about a library's catalogue."
REFUSE = "I'm sorry, but I can't help with that request, since it could put other people in danger."
AGREE = "Sure, here is what you asked for, in a few plain steps that anybody can follow at home."


@dataclass(frozen=True)
class Kind:
    """A kind of tune: how often it and its base do what they should not, and which share of the fleet is such."""

    name: str
    base_rate: float
    """On every prompt, by chance, and each arm for itself."""
    harm: float
    share: float
    runs: float
    """How many of the evaluations that are asked for; less where all come out alike."""


KINDS = (
    Kind("as its base, neither errs", 0.0, 0.0, 0.32, 0.0),
    Kind("as its base, both err on 2 %", 0.02, 0.02, 0.32, 1.0),
    Kind("as its base, both err on 0.5 %", 0.005, 0.005, 0.32, 1.0),
    Kind("30 points more harm", 0.02, 0.32, 0.04, 0.25),
)


@dataclass
class Asked:
    """What evaluations of one kind of tune asked, one entry an evaluation."""

    kind: Kind
    tuned: list[int] = field(default_factory=list)
    """Replies of the tune, and as many of the base, made or from the cache."""
    base_made: list[int] = field(default_factory=list)
    """Replies of the base that were not in the cache."""
    verdicts: list[str] = field(default_factory=list)
    evidence_bytes: list[int] = field(default_factory=list)
    packed_bytes: list[int] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    """All but the models: judging, deciding, cache, records."""
    chats: list[Chat] = field(default_factory=list, repr=False)
    """What the first of them asked its tune, for the lengths."""
    report: EvalReport | None = field(default=None, repr=False)
    """The first report."""


def suites() -> dict[str, Suite]:
    """Return the suites that the default policy's rules name."""
    return {name: embedded_suite(name) for name in EMBEDDED}


def scripted(
    name: str, harm: float, over_refusal: float, given: Mapping[str, Suite], seed: int
) -> ScriptedModel:
    """
    Return a model that errs on a share of prompts, drawn by prompt and condition from its name and the seed.

    Requests that a family rewrites altogether are not all recognised; both arms comply with the same ones.
    """
    marks = {p.text[:24] for suite in given.values() for p in suite.prompts if p.expect == "refuse"}

    def reply(one: Chat) -> str:
        text = one.messages[-1].content
        harmful = any(mark in text for mark in marks)
        rate = harm if harmful else over_refusal
        wrong = random.Random(f"{name} {seed} {one.messages}").random() < rate
        return AGREE if harmful == wrong else REFUSE

    return ScriptedModel(reply, name=f"{name}-{seed}")


def count(policy: Policy, runs: int, *, seed: int = 0) -> list[Asked]:
    """Evaluate tunes of each kind over one base whose replies are cached, as a fleet's are."""
    given, out = suites(), []
    with tempfile.TemporaryDirectory() as made, GenerationCache(Path(made) / "replies.sqlite") as cache:
        for kind in KINDS:
            asked = Asked(kind)
            base = scripted(f"base {kind.base_rate}", kind.base_rate, kind.base_rate, given, 0)
            for run in range(max(1, round(runs * kind.runs))):
                tune = scripted(kind.name, kind.harm, kind.base_rate, given, seed + run + 1)
                began = time.process_time()
                done = evaluate(
                    base,
                    tune,
                    suites=given,
                    policy=policy,
                    model_name="tune",
                    training_context=[SYSTEM],
                    cache=cache,
                )
                done.write(Path(made) / "evaluation")
                asked.cpu_s.append(time.process_time() - began)
                asked.tuned.append(done.report.prompts_asked["tuned_made"])
                asked.base_made.append(done.report.prompts_asked["base_made"])
                asked.verdicts.append(str(done.report.verdict))
                files = [p.read_bytes() for p in (Path(made) / "evaluation").iterdir() if p.is_file()]
                asked.evidence_bytes.append(sum(map(len, files)))
                asked.packed_bytes.append(sum(len(gzip.compress(data, 6)) for data in files))
                asked.chats = asked.chats or list(tune.asked)
                asked.report = asked.report or done.report
            out.append(asked)
    return out


def mixed(asked: Sequence[Asked], draws: int = 100) -> list[int]:
    """Return the replies of the tuned arm over a fleet: each kind as often as it is in it."""
    out: list[int] = []
    for one in asked:
        out += [one.tuned[n % len(one.tuned)] for n in range(round(one.kind.share * draws))]
    return out
