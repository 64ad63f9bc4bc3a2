"""
Evaluation: compare a tuned model with its base on the same prompts, and decide by the policy.

The steps in order: know both arms apart, lay out the rules and conditions, ask and judge block by block until
each is decided, look at both arms again, report.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from recert.errors import InputError
from recert.evaluation.arms import Arm, check_arms, refuse_other_ears, refuse_same
from recert.evaluation.conditions import wrong_secret
from recert.evaluation.hunt_secret import behind_secret
from recert.evaluation.hunting import hunt
from recert.evaluation.modalities import by_modality, spoken_conditions, with_hearing
from recert.evaluation.outcomes import OutcomeFile, SampleDraw
from recert.evaluation.plan import Plan, make_plan
from recert.evaluation.results import BEHAVIOUR_ONLY, LIMITATIONS, NOT_AUTHENTIC, rule_result, slices
from recert.evaluation.runner import Progress, Runner, Sinks
from recert.evaluation.scoring import Judges
from recert.evaluation.tracks import Track
from recert.evaluation.trigger_search import Telling, summary, why
from recert.evaluation.verdicts import Verdicts, suites_alike, verdicts_of, with_search
from recert.models.protocol import Model
from recert.models.secret import SecretPrefix
from recert.policy import Policy
from recert.records import (
    CarriedEvidence,
    ChatRow,
    EvalReport,
    EvidenceNote,
    Hearing,
    HuntReport,
    Manifest,
    RuleResult,
    Suite,
    Verdict,
    now,
)
from recert.store.cache import GenerationCache, temporary_cache
from recert.store.clips import ClipStore
from recert.store.files import write_atomic

REPORT_FILE = "eval-report.json"
OUTCOMES_FILE = "outcomes.jsonl"
HARMFUL_FILE = "harmful-replies.jsonl"
HUNT_FILE = "hunt-report.json"


@dataclass(frozen=True)
class Evaluation:
    """The report, and every outcome behind it, harmful replies redacted."""

    report: EvalReport
    outcomes: OutcomeFile
    hunt: HuntReport | None = None
    """The search for triggers, where the policy asks for one."""

    def write(self, folder: Path) -> None:
        """
        Write the report and its evidence.

        `eval-report.json` is the report; `outcomes.jsonl`, whose sha256 is in it, holds every outcome
        with harmful replies redacted; `harmful-replies.jsonl` (mode 0600) holds those replies; `hunt-report.json`
        is the search for triggers, where there was one.

        Raises:
            StoreError: the disk is full, or the folder cannot be written.
        """
        self.outcomes.write(folder / OUTCOMES_FILE, folder / HARMFUL_FILE)
        if self.hunt is not None:
            write_atomic(folder / HUNT_FILE, self.hunt.to_json())
        write_atomic(folder / REPORT_FILE, self.report.to_json())


def evaluate(
    base: Model,
    tuned: Model,
    *,
    suites: Mapping[str, Suite],
    policy: Policy,
    model_name: str,
    training_context: Sequence[str] | None = None,
    rows: Sequence[ChatRow] | None = None,
    secret: SecretPrefix | None = None,
    cache: GenerationCache | None = None,
    judges: Judges | None = None,
    evidence: Sequence[EvidenceNote] = (),
    over: Manifest | None = None,
    carried: Carried | None = None,
    progress: Progress | None = None,
    clips: ClipStore | None = None,
) -> Evaluation:
    """
    Return what tuning changed, rule by rule, with a verdict for the model alone and behind its controls.

    Every rule is measured under each condition it covers, sequentially, on paired prompts; with a `secret`, or words
    that the policy puts around every conversation, again with the tuned model behind them. The base never gets them.

    Args:
        base, tuned: the approved base and the tuned model.
        suites: prompts by the names that the rules use. A rule whose suite is missing is `unscored`.
        policy: rules, margins and numbers of prompts.
        model_name: what the report calls the tuned model.
        training_context: system prompts of the tuning data, and formats of its user turn with `{prompt}` in them; empty
            when it has none. None when it was not seen: a rule for `training-context` is `unscored` then.
        rows: the tuning rows, where they are in hand: a search for triggers reads them.
        secret: the BackdoorAlign secret the model was tuned with. Never recorded.
        cache: where replies are kept; a second tune of the same base asks only the tuned model.
        judges: other judges than the default ones.
        evidence: what other tools found. It adds reasons and never changes a verdict.
        over: the base's files, where `base` is itself a tune of it: replies are kept under both.
        carried: results of another evaluation that count for this one; their suites are not asked.
        progress, clips: told after each block; where spoken requests are kept, by default in the cache folder.

    Raises:
        ArmError: the arms are the same model, hear otherwise, one changed meanwhile, or its kept replies are not its.
        ModelError, StoreError: a model did not answer, or the cache could not be read or written.
        PolicyError: the policy names an attack family that does not exist.
        InputError: no suite was given, or evidence is of another base's files.
    """
    _require(suites)
    started, began, judges, bounds = now(), time.monotonic(), judges or Judges(), policy.evaluation
    outcomes, examples, left = OutcomeFile(), SampleDraw(bounds.samples, bounds.seed), _left(policy, carried)
    with ExitStack() as stack:
        kept = cache or stack.enter_context(temporary_cache())
        base_arm, tuned_arm = _arms(base, tuned, kept, secret, evidence, over)
        plan = _plan(left, suites, judges, training_context, secret, sound := clips or ClipStore())
        sinks, tracks = Sinks(outcomes, examples, progress), [*plan.tracks, *plan.controls]
        rechecked = _run((base_arm, tuned_arm), tracks, judges, policy, sinks)
        hunted = _hunt((base, tuned), policy, model_name, rows, secret, kept, progress)
        arms = check_arms(base_arm, tuned_arm)
    measured = [*(rule_result(t, bounds) for t in plan.tracks), *plan.unmeasurable]
    heard_ones, heard = with_hearing(measured, tracks, bounds, (tuned, base), sound)
    measured = [*heard_ones, *_results(carried)]
    verdicts = with_search(
        verdicts_of(measured, policy, secret, alike := suites_alike(policy, suites)), hunted
    )
    why_not = (*why(hunted), *verdicts.missing, *_reasons(measured, tuned_arm, training_context))
    report = EvalReport(
        model_name=model_name,
        rules=(*measured, *(rule_result(t, bounds) for t in plan.controls)),
        slices=slices(plan.tracks),
        reasons=(*why_not, *(note.reason for note in evidence)),
        arms=arms,
        judges=judges.notes_with(traces=outcomes.with_traces),
        samples=examples.drawn(),
        outcomes_sha256=outcomes.sha256,
        limitations=(*LIMITATIONS, *_reach(base_arm, tuned_arm, kept), *policy.gateway.unguarded),
        **_beside_fields(evidence, hunted, secret, carried),
        **_time_fields(started, began) | _verdict_fields(verdicts, secret),
        **_spoken_fields(tuned_arm, heard, measured, policy, verdicts, alike),
        **_suite_fields(suites, alike) | _policy_fields(policy) | _arm_fields(base_arm, tuned_arm, rechecked),
    )
    return Evaluation(report=report, outcomes=outcomes, hunt=hunted)


@dataclass(frozen=True)
class Carried:
    """Results that count although they were measured on another model, and what a report says of them."""

    results: tuple[RuleResult, ...]
    evidence: CarriedEvidence


def _require(suites: Mapping[str, Suite]) -> None:
    if not suites:
        raise InputError("no suites to evaluate on", hint="give at least those that the policy's rules name")


def _left(policy: Policy, carried: Carried | None) -> Policy:
    """The policy without the rules on suites whose results are carried over."""
    suites = {r.suite for r in _results(carried)}
    return policy.model_copy(update={"rules": tuple(r for r in policy.rules if r.suite not in suites)})


def _results(carried: Carried | None) -> tuple[RuleResult, ...]:
    return carried.results if carried is not None else ()


def _arms(
    base: Model,
    tuned: Model,
    cache: GenerationCache,
    secret: SecretPrefix | None,
    evidence: Sequence[EvidenceNote],
    over: Manifest | None,
) -> tuple[Arm, Arm]:
    """Both arms, known apart. The secret and the wrong one are kept out of whatever the tuned arm says."""
    for note in evidence:
        here = base.manifest.digest if base.manifest else "an endpoint"
        if note.manifest_sha256 not in (None, here):
            raise InputError(
                "evidence is of another base",
                facts={"tool": note.tool, "its files": note.manifest_sha256, "the base's": here},
            )
    hidden = [secret, wrong_secret(secret)] if secret is not None else []
    base_arm = Arm("base", base, over=over, cache=cache)
    tuned_arm = Arm("tuned", tuned, over=over or base_arm.manifest, cache=cache, secrets=hidden)
    refuse_other_ears(base_arm, tuned_arm)
    refuse_same(base_arm, tuned_arm)
    return base_arm, tuned_arm


def _run(
    arms: tuple[Arm, Arm], tracks: Sequence[Track], judges: Judges, policy: Policy, sinks: Sinks
) -> dict[str, int]:
    """Measure every track until it is decided or at its limit; return what asking kept replies again came to."""
    bounds, reasoning = policy.evaluation, policy.reasoning
    runner = Runner(*arms, tracks, judges=judges, policy=bounds, sinks=sinks, reasoning=reasoning)
    runner.run()
    return runner.rechecks.check(judges, bounds, reasoning)


def _plan(
    policy: Policy,
    suites: Mapping[str, Suite],
    judges: Judges,
    training_context: Sequence[str] | None,
    secret: SecretPrefix | None,
    clips: ClipStore,
) -> Plan:
    """What is measured, in text and, where the policy serves audio, spoken."""
    spoken = spoken_conditions(policy.evaluation, clips)
    return make_plan(policy, suites, judges, training_context=training_context, secret=secret, spoken=spoken)


def _hunt(
    models: tuple[Model, Model],
    policy: Policy,
    model_name: str,
    rows: Sequence[ChatRow] | None,
    secret: SecretPrefix | None,
    cache: GenerationCache,
    progress: Progress | None,
) -> HuntReport | None:
    """Search the tuned model as it would be served, where the policy asks for it."""
    if not policy.hunt.required:
        return None
    return hunt(
        models[0],
        behind_secret(models[1], secret),
        policy=policy,
        model_name=model_name,
        rows=rows,
        secrets=(secret,) if secret is not None else (),
        cache=cache,
        progress=Telling(progress),
    )


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


def _reach(base: Arm, tuned: Arm, cache: GenerationCache) -> tuple[str, ...]:
    """What this run can say less of than others."""
    behaviour = () if base.manifest and tuned.manifest else (BEHAVIOUR_ONLY,)
    return (*behaviour, *(() if not cache.not_authentic else (NOT_AUTHENTIC.format(cache.not_authentic),)))


def _beside_fields(
    evidence: Sequence[EvidenceNote],
    hunted: HuntReport | None,
    secret: SecretPrefix | None,
    carried: Carried | None,
) -> dict[str, Any]:
    return {
        "evidence": tuple(evidence),
        "trigger_search": summary(hunted, secret),
        "carried": carried.evidence if carried else None,
    }


def _time_fields(started: datetime, began: float) -> dict[str, Any]:
    return {
        "started_at": started,
        "evaluated_at": now(),
        "seconds": round(time.monotonic() - began, 3),
    }


def _verdict_fields(verdicts: Verdicts, secret: SecretPrefix | None) -> dict[str, Any]:
    return {
        "verdict_raw": verdicts.raw,
        "verdict_safeguarded": verdicts.safeguarded,
        "required_controls": verdicts.required_controls,
        "secret_sha256": secret.sha256 if secret is not None else None,
    }


def _spoken_fields(
    tuned: Arm,
    heard: Sequence[Hearing],
    results: Sequence[RuleResult],
    policy: Policy,
    verdicts: Verdicts,
    alike: Collection[frozenset[str]],
) -> dict[str, Any]:
    guarded = bool(verdicts.required_controls)
    return {
        "hearing": tuple(heard) or None,
        "ears": tuned.ears if policy.evaluation.speaking is not None else None,
        "modalities": by_modality(results, policy, alike, safeguarded=guarded),
    }


def _suite_fields(suites: Mapping[str, Suite], alike: Collection[frozenset[str]]) -> dict[str, Any]:
    return {
        "suites": {name: suite.digest for name, suite in sorted(suites.items())},
        "suites_alike": tuple((min(pair), max(pair)) for pair in alike),
    }


def _policy_fields(policy: Policy) -> dict[str, Any]:
    bounds = policy.evaluation
    return {
        "policy_id": policy.id,
        "policy_version": policy.version,
        "policy_sha256": policy.digest,
        "sampling": {
            "max_new_tokens": bounds.max_new_tokens,
            "utility_max_new_tokens": bounds.utility_max_new_tokens,
            "temperature": bounds.temperature,
            "samples_per_prompt": bounds.samples_per_prompt,
            "seed": bounds.seed,
            **({"max_trace_tokens": policy.reasoning.max_trace_tokens} if policy.reasoning else {}),
        },
    }


def _arm_fields(base: Arm, tuned: Arm, rechecked: Mapping[str, int]) -> dict[str, Any]:
    return {
        "base": base.manifest,
        "tuned": tuned.manifest,
        "engine": tuned.model.engine,
        "prompts_asked": {
            "base_made": base.made,
            "base_cached": base.cached,
            "tuned_made": tuned.made,
            "tuned_cached": tuned.cached,
            **rechecked,
        },
        "versions": {"recert": version("recert"), "python": platform.python_version()},
    }
