"""
Evaluation: compare a tuned model with its base on the same prompts, and decide by the policy.

The steps in order: know both arms apart, lay out the rules and conditions, ask and judge block by block until
each is decided, look at both arms again, report.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from recert.errors import InputError
from recert.evaluation.decision.conclusion import (
    LEAKED,
    Carried,
    conclude,
    limitations,
    no_context,
    plan_of,
    run_plan,
)
from recert.evaluation.decision.modalities import heard_of, spoken_conditions
from recert.evaluation.decision.results import NOT_AUTHENTIC
from recert.evaluation.decision.trigger_search import Telling, summary, why
from recert.evaluation.measuring.arm_checks import check_arms, refuse_other_ears, refuse_same
from recert.evaluation.measuring.arms import Arm
from recert.evaluation.measuring.conditions import wrong_secret
from recert.evaluation.measuring.pairs import AskedPairs
from recert.evaluation.report.outcomes import OutcomeFile, SampleDraw
from recert.evaluation.runner import Progress, Sinks
from recert.evaluation.scoring import Judges
from recert.evaluation.suites.reading import write_suites
from recert.extensions import part
from recert.models.chat.secret import SecretPrefix
from recert.models.protocol import Model, identity
from recert.policy import Policy
from recert.records.data.manifest import Manifest
from recert.records.data.rows import ChatRow
from recert.records.data.suite import Suite
from recert.records.record import now
from recert.records.reports.evaluation import EvalReport
from recert.records.reports.evidence import EvidenceNote
from recert.records.reports.hunting import HuntReport
from recert.records.signed.attempt import Attempt
from recert.records.signed.attempt_entries import AttemptBegun
from recert.store.cache import GenerationCache, temporary_cache
from recert.store.files.clips import ClipStore
from recert.store.files.writing import write_atomic

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
    suites: Mapping[str, Suite] = field(default_factory=dict)
    """The prompts."""

    def write(self, folder: Path) -> None:
        """
        Write the report and its evidence.

        `eval-report.json` is the report; `outcomes.jsonl`, whose sha256 is in it, holds every outcome
        with harmful replies redacted; `harmful-replies.jsonl` (mode 0600) holds those replies; `hunt-report.json`
        is the search for triggers, where there was one; `suites` holds the prompts that do not come with Recert,
        without which nobody could derive the report from its outcomes.

        Raises:
            StoreError: the disk is full, or the folder cannot be written.
        """
        self.outcomes.write(folder / OUTCOMES_FILE, folder / HARMFUL_FILE)
        write_suites(folder, self.suites)
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
    attempt: Attempt | None = None,
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
        attempt: which attempt it is, by the evaluator's ledger, with an entry that names these two models. It gives the
            order of prompts and what of alpha is spent.

    Raises:
        ArmError: the arms are the same model, hear otherwise, one changed meanwhile, or its kept replies are not its.
        ModelError, StoreError: a model did not answer, or the cache could not be read or written.
        PolicyError: the policy names an attack family that does not exist.
        InputError: no suite was given, or evidence is of another base's files.
        MissingExtraError: the policy requires a search for triggers, and nothing that searches is installed.
    """
    _require(suites)
    _require_named(base, tuned, attempt)
    started, began, judges, bounds = now(), time.monotonic(), judges or Judges(), policy.evaluation
    sinks = Sinks(OutcomeFile(), SampleDraw(bounds.samples, bounds.seed), progress)
    with ExitStack() as stack:
        kept = cache or stack.enter_context(temporary_cache())
        base_arm, tuned_arm = _arms(base, tuned, kept, secret, evidence, over)
        spoken = spoken_conditions(bounds, sound := clips or ClipStore())
        plan = plan_of(policy, suites, judges, training_context, secret, spoken, carried, attempt)
        source = AskedPairs(base_arm, tuned_arm, judges=judges, policy=bounds, reasoning=policy.reasoning)
        run_plan(plan, source, judges, policy, sinks)
        rechecked = source.ask_kept_again()
        hunted = _hunt((base, tuned), policy, model_name, rows, secret, kept, progress)
        arms = check_arms(base_arm, tuned_arm)
    heard = heard_of([*plan.tracks, *plan.controls], bounds, (tuned, base), sound)
    search = summary(hunted, secret)
    found = conclude(plan, policy, suites, judges, sinks, secret, search, heard, carried)
    why_not = (*why(hunted), *found.reasons, *_leaked(tuned_arm), *no_context(training_context))
    report = EvalReport(
        model_name=model_name,
        reasons=(*why_not, *(note.reason for note in evidence)),
        arms=arms,
        limitations=(
            *found.limitations,
            *limitations(
                base_arm.manifest,
                tuned_arm.manifest,
                policy,
                found.fields["rules"],
                attempt,
                found.fields["judges"],
            ),
            *_not_authentic(kept),
        ),
        attempt=attempt,
        evidence=tuple(evidence),
        trigger_search=search,
        carried=carried.evidence if carried else None,
        secret_sha256=secret.sha256 if secret is not None else None,
        hearing=tuple(heard) or None,
        ears=tuned_arm.ears if bounds.speaking is not None else None,
        **found.fields,
        **_time_fields(started, began) | _arm_fields(base_arm, tuned_arm, rechecked),
    )
    return Evaluation(report=report, outcomes=sinks.outcomes, hunt=hunted, suites=dict(suites))


def _require(suites: Mapping[str, Suite]) -> None:
    if not suites:
        raise InputError("no suites to evaluate on", hint="give at least those that the policy's rules name")


def _require_named(base: Model, tuned: Model, attempt: Attempt | None) -> None:
    """An attempt that was written down for other models would give an order that was known before these were made."""
    if attempt is None:
        return
    entry, here = AttemptBegun.from_json(attempt.leaf.encode()), (identity(base), identity(tuned))
    if (entry.base, entry.tuned) != here:
        raise InputError(
            "the ledger's entry is about other models",
            facts={"entry": f"{entry.base}, {entry.tuned}", "here": ", ".join(here)},
            hint="begin an attempt with these models",
        )


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
    search = part("trigger-search", wanted_for="a policy that requires a search for triggers")
    found: HuntReport = search(
        *models,
        policy=policy,
        model_name=model_name,
        rows=rows,
        secret=secret,
        cache=cache,
        progress=Telling(progress),
    )
    return found


def _leaked(tuned: Arm) -> tuple[str, ...]:
    return (f"{LEAKED} in {tuned.leaks} replies",) if tuned.leaks else ()


def _time_fields(started: datetime, began: float) -> dict[str, Any]:
    return {
        "started_at": started,
        "evaluated_at": now(),
        "seconds": round(time.monotonic() - began, 3),
    }


def _not_authentic(cache: GenerationCache) -> tuple[str, ...]:
    return (NOT_AUTHENTIC.format(cache.not_authentic),) if cache.not_authentic else ()


def _arm_fields(base: Arm, tuned: Arm, rechecked: Mapping[str, int]) -> dict[str, Any]:
    return {
        "base": base.manifest,
        "tuned": tuned.manifest,
        "engine": tuned.model.engine,
        "templates": _templates(base, tuned),
        "prompts_asked": {
            "base_made": base.made,
            "base_cached": base.cached,
            "tuned_made": tuned.made,
            "tuned_cached": tuned.cached,
            **rechecked,
        },
        "versions": {"recert": version("recert"), "python": platform.python_version()},
    }


def _templates(*arms: Arm) -> dict[str, str] | None:
    """The chat template of each arm, where its engine shows it."""
    shown = {arm.label: getattr(arm.model, "template_sha256", None) for arm in arms}
    return {label: digest for label, digest in shown.items() if digest} or None
