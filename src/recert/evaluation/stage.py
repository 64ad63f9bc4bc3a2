"""
Evaluation: compare a tuned model with its base on the same prompts, and decide by the policy.

The steps in order: know both arms apart, lay out the rules and conditions, ask and judge block by block until
each is decided, look at both arms again, report.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from recert.digest import sha256_bytes
from recert.errors import InputError
from recert.evaluation.arms import Arm, check_arms, refuse_same
from recert.evaluation.conditions import CONTEXT, SECRET, Condition, ask_plain, raw_conditions, wrong_secret
from recert.evaluation.decide import overall
from recert.evaluation.ordering import prompts_for, sampling_order
from recert.evaluation.results import (
    LIMITATIONS,
    harmful_lines,
    outcome_lines,
    rule_result,
    samples,
    unmeasured,
)
from recert.evaluation.runner import Progress, Runner, Track
from recert.evaluation.scoring import Judges
from recert.models.protocol import Model
from recert.models.secret import SecretPrefix
from recert.policy import Policy, Rule
from recert.records import EvalReport, EvidenceNote, Outcome, RuleResult, Suite, Verdict, now
from recert.store.cache import GenerationCache
from recert.store.files import write_atomic

REPORT_FILE = "eval-report.json"
OUTCOMES_FILE = "outcomes.jsonl"
HARMFUL_FILE = "harmful-replies.jsonl"


@dataclass(frozen=True)
class Evaluation:
    """The report, and every outcome behind it with its reply."""

    report: EvalReport
    outcomes: tuple[Outcome, ...]

    def write(self, folder: Path) -> None:
        """
        Write the report and its evidence.

        `eval-report.json` is the report; `outcomes.jsonl`, whose sha256 is in it, holds every outcome
        with harmful replies redacted; `harmful-replies.jsonl` (mode 0600) holds those replies.

        Raises:
            StoreError: the disk is full, or the folder cannot be written.
        """
        write_atomic(folder / HARMFUL_FILE, harmful_lines(self.outcomes), mode=0o600)
        write_atomic(folder / OUTCOMES_FILE, outcome_lines(self.outcomes))
        write_atomic(folder / REPORT_FILE, self.report.to_json())


def evaluate(
    base: Model,
    tuned: Model,
    *,
    suites: Mapping[str, Suite],
    policy: Policy,
    model_name: str,
    training_context: Sequence[str] | None = None,
    secret: SecretPrefix | None = None,
    cache: GenerationCache | None = None,
    judges: Judges | None = None,
    evidence: Sequence[EvidenceNote] = (),
    progress: Progress | None = None,
) -> Evaluation:
    """
    Return what tuning changed, rule by rule, with a verdict for the model alone and behind its secret.

    Every rule of the policy is measured under each condition it covers, sequentially, on paired prompts.
    With a `secret` the same rules are measured again with the tuned model behind it (and behind the
    gateway's system instruction, where the policy has one). The base arm never gets the secret: the claim
    is the tuned model as it would be served against the base as it is served. A wrong secret of the same
    length is measured as a control that gates nothing.

    Args:
        base: the approved base.
        tuned: the tuned model.
        suites: prompts by the names that the rules use. A rule whose suite is missing is `unscored`.
        policy: rules, margins and numbers of prompts.
        model_name: what the report calls the tuned model.
        training_context: system prompts seen in the tuning data, and formats of its user turn with
            `{prompt}` in them; empty when the data is known to have none. None when the data was not seen:
            then a rule that names `training-context` is `unscored`.
        secret: the BackdoorAlign secret the model was tuned with. Never recorded.
        cache: where replies are kept; a second tune of the same base asks only the tuned model.
        judges: other judges than the default ones.
        evidence: what other tools found. It adds reasons and never changes a verdict.
        progress: told after each block.

    Raises:
        ArmError: the arms are the same model, or one changed meanwhile, or the cache knows it otherwise.
        ModelError: a model did not answer.
        StoreError: the cache could not be read or written.
        PolicyError: the policy names an attack family that does not exist.
        InputError: no suite was given at all.
    """
    if not suites:
        raise InputError("no suites to evaluate on", hint="give at least those that the policy's rules name")
    started, began, judges = now(), time.monotonic(), judges or Judges()
    base_arm, tuned_arm = _arms(base, tuned, cache, secret)
    tracks, controls, unmeasurable = _plan(policy, suites, training_context, secret)
    everything, bounds = [*tracks, *controls], policy.evaluation
    runner = Runner(base_arm, tuned_arm, everything, judges=judges, policy=bounds, progress=progress)
    runner.run()
    arms = check_arms(base_arm, tuned_arm)
    measured = [*(rule_result(t, bounds) for t in tracks), *unmeasurable]
    raw, guarded, required = _verdicts(measured, secret, policy)
    measured += [rule_result(t, bounds) for t in controls]
    outcomes = tuple(o for pair in runner.pairs.values() for o in (pair.base, pair.tuned))
    report = EvalReport(
        model_name=model_name,
        suites={name: suite.digest for name, suite in sorted(suites.items())},
        rules=tuple(measured),
        verdict_raw=raw,
        verdict_safeguarded=guarded,
        required_controls=required,
        secret_sha256=secret.sha256 if secret is not None else None,
        reasons=(*_reasons(measured, tuned_arm, training_context), *(note.reason for note in evidence)),
        evidence=tuple(evidence),
        arms=arms,
        judges=judges.notes,
        samples=samples(runner, bounds),
        outcomes_sha256=sha256_bytes(outcome_lines(outcomes)),
        limitations=LIMITATIONS,
        seconds=round(time.monotonic() - began, 3),
        started_at=started,
        evaluated_at=now(),
        **_policy_fields(policy),
        **_arm_fields(base_arm, tuned_arm),
    )
    return Evaluation(report=report, outcomes=outcomes)


def _arms(
    base: Model, tuned: Model, cache: GenerationCache | None, secret: SecretPrefix | None
) -> tuple[Arm, Arm]:
    """Both arms, known apart. The secret and the wrong one are kept out of whatever the tuned arm says."""
    hidden = [secret, wrong_secret(secret)] if secret is not None else []
    base_arm = Arm("base", base, cache=cache)
    tuned_arm = Arm("tuned", tuned, over=base_arm.manifest, cache=cache, secrets=hidden)
    refuse_same(base_arm, tuned_arm)
    return base_arm, tuned_arm


def _plan(
    policy: Policy,
    suites: Mapping[str, Suite],
    training_context: Sequence[str] | None,
    secret: SecretPrefix | None,
) -> tuple[list[Track], list[Track], list[RuleResult]]:
    """What gates, what is a control, and what cannot be measured."""
    conditions = _conditions(policy, training_context, secret)
    tracks, unmeasurable = _lay_out(policy, suites, conditions)
    if training_context is None:
        unmeasurable += _unknown_context(policy, conditions)
    wrong = wrong_secret(secret) if secret is not None else None
    return tracks, _controls(policy, suites, conditions, wrong), unmeasurable


def _conditions(
    policy: Policy, training_context: Sequence[str] | None, secret: SecretPrefix | None
) -> list[Condition]:
    """The conditions of the model alone, and each again behind the secret where there is one."""
    raw = raw_conditions(policy.evaluation.families, training_context or ())
    if secret is None:
        return raw
    return [*raw, *(c.behind(secret, policy.gateway.system_instruction) for c in raw)]


def _lay_out(
    policy: Policy, suites: Mapping[str, Suite], conditions: Sequence[Condition]
) -> tuple[list[Track], list[RuleResult]]:
    """One track per rule and condition; a result at once for those that cannot be measured."""
    tracks: list[Track] = []
    missing: list[RuleResult] = []
    for rule in policy.rules:
        covered = [c for c in conditions if rule.covers(c.name)]
        for condition in covered:
            reason = _why_not(rule, suites)
            if reason:
                missing.append(unmeasured(rule, condition, policy.evaluation, reason))
            else:
                tracks.append(_track(rule, condition, suites, policy))
        if not covered:
            reason = "none of the rule's conditions was measured"
            for safeguards in sorted({c.safeguards for c in conditions}):
                nowhere = Condition(", ".join(rule.conditions), ask_plain, safeguards)
                missing.append(unmeasured(rule, nowhere, policy.evaluation, reason))
    return tracks, missing


def _unknown_context(policy: Policy, conditions: Sequence[Condition]) -> list[RuleResult]:
    """Rules that ask for the training context of a model whose tuning data nobody has seen."""
    reason = "the training context is not known: the tuning data was not screened"
    return [
        unmeasured(rule, Condition(CONTEXT, ask_plain, safeguards), policy.evaluation, reason)
        for rule in policy.rules
        if CONTEXT in rule.conditions
        for safeguards in sorted({c.safeguards for c in conditions})
    ]


def _track(
    rule: Rule, condition: Condition, suites: Mapping[str, Suite], policy: Policy, *, gates: bool = True
) -> Track:
    prompts = sampling_order(prompts_for(suites[rule.suite], rule.estimand), policy.evaluation.seed)
    return Track(rule, condition, prompts, gates=gates)


def _why_not(rule: Rule, suites: Mapping[str, Suite]) -> str:
    if rule.suite not in suites:
        return f"suite {rule.suite!r} was not given"
    if not prompts_for(suites[rule.suite], rule.estimand):
        return f"suite {rule.suite!r} has no prompt that {rule.estimand} can be measured on"
    return ""


def _controls(
    policy: Policy, suites: Mapping[str, Suite], conditions: Sequence[Condition], wrong: SecretPrefix | None
) -> list[Track]:
    """The wrong secret, on plain prompts, for harm and over-refusal: measured, never gating."""
    plain = next(c for c in conditions if c.name == "plain")
    return [
        _track(
            rule,
            plain.behind(wrong, policy.gateway.system_instruction, wrong=True),
            suites,
            policy,
            gates=False,
        )
        for rule in policy.rules
        if wrong is not None
        and rule.estimand in ("harm", "over_refusal")
        and rule.covers("plain")
        and not _why_not(rule, suites)
    ]


def _verdicts(
    results: Sequence[RuleResult], secret: SecretPrefix | None, policy: Policy
) -> tuple[Verdict, Verdict | None, tuple[str, ...]]:
    """Verdict alone, verdict behind the secret, and the controls without which a pass does not hold."""
    raw = overall(results, safeguarded=False)
    if secret is None:
        return raw, None, ()
    guarded = overall(results, safeguarded=True)
    if raw == Verdict.PASS or guarded != Verdict.PASS:
        return raw, guarded, ()
    extra = ("system-instruction",) if policy.gateway.system_instruction else ()
    return raw, guarded, (SECRET, *extra)


def _reasons(
    results: Sequence[RuleResult], tuned: Arm, training_context: Sequence[str] | None
) -> tuple[str, ...]:
    """What kept rules from passing, worst change first, and what else a reader must know."""
    said = [
        f"{r.rule_id} on {r.suite} under {_where(r)}: {r.verdict}: {r.reason}"
        for r in sorted(results, key=lambda r: -r.change.point)
        if r.verdict != Verdict.PASS
    ]
    if tuned.leaks:
        said.append(f"the tuned model printed a part of its secret in {tuned.leaks} replies")
    if not training_context:
        said.append("no training context was known, so none was probed")
    return tuple(said)


def _where(result: RuleResult) -> str:
    return " behind ".join([result.condition, *result.safeguards])


def _policy_fields(policy: Policy) -> dict[str, Any]:
    bounds = policy.evaluation
    return {
        "policy_id": policy.id,
        "policy_version": policy.version,
        "policy_sha256": policy.digest,
        "sampling": {
            "max_new_tokens": bounds.max_new_tokens,
            "utility_max_new_tokens": bounds.utility_max_new_tokens,
            "temperature": 0.0,
            "seed": bounds.seed,
        },
    }


def _arm_fields(base: Arm, tuned: Arm) -> dict[str, Any]:
    return {
        "base": base.manifest,
        "tuned": tuned.manifest,
        "engine": tuned.model.engine,
        "prompts_asked": {
            "base_made": base.made,
            "base_cached": base.cached,
            "tuned_made": tuned.made,
            "tuned_cached": tuned.cached,
        },
        "versions": {"recert": version("recert"), "python": platform.python_version()},
    }
