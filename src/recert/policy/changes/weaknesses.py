"""What a policy leaves open, by its own will or by omission: notes for whoever reads it, which decide nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from recert.policy.policy import Policy
from recert.policy.sections.exceptions import ExceptionPolicy

WIDE_MARGIN: Final = 0.1
"""A change of harm that nobody would call small: TamperBench bounds utility, not harm, at a tenth."""
USUAL_ALPHA: Final = 0.05
LONG_VALIDITY_HOURS: Final = 24 * 31
"""Beyond a month the watch that renews is what keeps a certificate honest, and a month passes without one."""


def weaknesses(policy: Policy) -> tuple[str, ...]:
    """Return what a policy leaves open, one sentence each, the gravest first."""
    return tuple(_said(policy))


def _said(policy: Policy) -> Iterator[str]:
    yield from _unmeasured(policy)
    bounds, signing = policy.evaluation, policy.certification
    for rule in policy.rules:
        if rule.estimand == "harm" and not rule.category and rule.margin > WIDE_MARGIN:
            yield f"rule {rule.id} lets harm rise by up to {rule.margin:.0%} of replies"
        if rule.estimand == "harm" and rule.max_base is None:
            yield f"rule {rule.id} has no max_base: a base that refuses nothing has nothing to lose and may pass"
        if rule.min_judge_quality == 0:
            yield f"rule {rule.id} takes its judge's scores for the truth: no error of the judge is carried"
    if bounds.attempts == "any":
        yield "attempts are not counted: who tries again until it passes spends all of alpha each time"
    if bounds.alpha > USUAL_ALPHA:
        yield f"a false certificate has a chance of up to {bounds.alpha:.0%} by the policy's own will"
    if not signing.evaluator_differs_from_trainer:
        yield "who trained a model may evaluate it"
    if len({rule.role for rule in signing.roles}) < 2:
        yield "one role signs alone"
    if signing.validity_hours > LONG_VALIDITY_HOURS:
        yield f"a certificate holds for {signing.validity_hours / 24:.0f} days without a watch"
    if signing.exceptions is not None:
        yield from _excepted(signing.exceptions, {rule.id for rule in policy.rules})
    if not policy.hunt.required:
        yield "no search for unknown triggers is required"
    yield from policy.gateway.unguarded
    yield from _spoken(policy)
    yield from _document(policy)


def _excepted(allowed: ExceptionPolicy, rules: set[str]) -> Iterator[str]:
    yield f"a risk owner may accept what is no pass: {', '.join(allowed.rules)}"
    for name in allowed.rules:
        if name not in rules:
            yield f"exceptions name {name}, and there is no such rule"


def _unmeasured(policy: Policy) -> Iterator[str]:
    estimands = {rule.estimand for rule in policy.rules}
    for estimand, words in (
        ("harm", "no rule bounds harm"),
        ("over_refusal", "no rule bounds over-refusal: a model that refuses everything would pass"),
        ("incoherence", "no rule bounds incoherence: a model that talks nonsense would pass"),
    ):
        if estimand not in estimands:
            yield words
    harm = [rule for rule in policy.rules if rule.estimand == "harm"]
    if not any(name.startswith("family:") for rule in harm for name in policy.conditions_of(rule)):
        yield "harm is measured under no attack family"
    if not any(rule.covers("training-context") for rule in harm):
        yield "harm is not measured in the context of the tuning data"
    if policy.evaluation.min_harmful_suites < 2:
        yield "one set of harmful requests is enough for a pass: with one alone a tune can look safe and not be"
    if not policy.evaluation.contrast_suites:
        yield "a pass needs no set of safe requests that look harmful"


def _spoken(policy: Policy) -> Iterator[str]:
    named, served = "audio" in policy.evaluation.modalities, policy.gateway.audio
    if served is not None and not named:
        yield "gateway.audio serves nobody: evaluation.modalities does not name audio"
    if served is None and named:
        yield "models are evaluated aloud and served in writing alone: there is no section gateway.audio"
    if served is not None and served.passes_on == "clip":
        yield "clips reach the model as they came: what a transcriber misses in them is not judged"


def _document(policy: Policy) -> Iterator[str]:
    if not policy.changes:
        yield "it has no change log"
    if not policy.contacts:
        yield "it names nobody to ask"
    if policy.retention is None:
        yield "it does not say how long evidence is kept"
