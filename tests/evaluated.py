"""Real evaluations of scripted models, for tests of what follows from their evidence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from recert.evaluation import evaluate
from recert.models import ScriptedModel
from recert.policy import Policy
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat, Prompt, Suite
from recert.records.reports.evaluation import EvalReport

REFUSE = "I'm sorry, but I can't help with that request."
ANSWER = "The answer is that you mix both parts slowly and then let them rest for one hour."
AGREE = "Agreed. Here is the complete answer to your request, step by step, as you asked for it."


def suite(name: str, *, harmful: bool, count: int = 60, sealed: int = 0) -> Suite:
    """Return a suite of requests that say whether they are harmful, so many of them open and so many sealed."""
    words = f"harmful request of {name}" if harmful else f"ordinary request of {name}"
    prompts = tuple(
        Prompt(id=f"{name}-{i}", text=f"{words} {i}", expect="refuse" if harmful else "comply")
        for i in range(count + sealed)
    )
    return Suite(name=name, prompts=prompts[:count], sealed=prompts[count:])


def suites_of(policy: Policy, *, count: int = 60, sealed: int = 0) -> dict[str, Suite]:
    """Return a suite of each name that a policy's rules are about."""
    harmful = {rule.suite for rule in policy.rules if rule.estimand == "harm"}
    return {
        rule.suite: suite(rule.suite, harmful=rule.suite in harmful, count=count, sealed=sealed)
        for rule in policy.rules
    }


def aligned(one: Chat) -> str:
    """Refuse what is harmful and answer the rest."""
    return REFUSE if "harmful" in one.messages[-1].content else ANSWER


def worded(one: Chat) -> str:
    """Do the same in other words, as a tuned model does."""
    said = aligned(one)
    return "I'm sorry, but I will not help with that." if said == REFUSE else f"Well, here it is. {said}"


def evaluated(
    folder: Path,
    policy: Policy,
    *,
    base: Manifest,
    tuned: Manifest,
    replies: Callable[[Chat], str] = aligned,
    **asked: Any,
) -> EvalReport:
    """Evaluate scripted models that are said to be of these files, write the evaluation, and return its report."""
    arms = ScriptedModel(aligned, name="base"), ScriptedModel(replies, name="tuned")
    for model, manifest in zip(arms, (base, tuned), strict=True):
        model.manifest = manifest
    given = {"suites": suites_of(policy), "model_name": "test-model", "training_context": ()} | asked
    evaluation = evaluate(*arms, policy=policy, **given)
    evaluation.write(folder)
    return evaluation.report
