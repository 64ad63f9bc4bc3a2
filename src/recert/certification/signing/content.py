"""What goes into a certificate, taken from the reports and from nowhere else."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from recert.certification.verifier.decision import deciding_results
from recert.interval import Interval
from recert.policy import Policy
from recert.records.data.manifest import Manifest
from recert.records.reports.attack_report import AttackReport, AttackSearch
from recert.records.reports.evaluation import EvalReport, RuleResult, where_applies
from recert.records.reports.screening import RowVerdict, ScreenReport
from recert.records.reports.stress import BaseStress, StressReport
from recert.records.reports.tuning import TuneReport
from recert.records.signed.carried import CarriedEvidence
from recert.records.signed.certificate import (
    Approval,
    BaseCertificate,
    Certificate,
    RuleException,
    StepEvidence,
    SuiteNote,
)
from recert.records.signed.input_distribution import InputDistribution

INVALID_WHEN: Final = (
    "any file of the base or of the tuned model changes, its chat template and generation settings included",
    "it runs on another engine, precision or quantisation than was evaluated",
    "it is served with another system prompt, other tools or a looser sampling than was evaluated",
    "a control it requires is off, fails open or is replaced",
    "it is tuned further, merged or combined with another adapter",
    "a jailbreak family or trigger that was not tried is found to work",
    "a watch is not clean, or none was made before it expires",
)
"""Conditions that end every certificate's justification."""

OTHER_EARS: Final = (
    "what is spoken is heard by another transcriber, or by one with other settings, than was evaluated"
)
"""Ends that of a certificate with results by ear."""


def new_serial() -> str:
    """Return a fresh serial: 32 random hex digits."""
    return secrets.token_hex(16)


def draft(
    report: EvalReport,
    policy: Policy,
    *,
    evidence_sha256: str,
    approvals: tuple[Approval, ...],
    trainer_key_id: str | None,
    tune_report: TuneReport | None,
    screen_report: ScreenReport | None,
    stress_report: StressReport | None = None,
    attack_report: AttackReport | None = None,
    supersedes: str | None,
    now: datetime,
    exceptions: tuple[RuleException, ...] = (),
    base_certificate: BaseCertificate | None = None,
    inputs: InputDistribution | None = None,
    steps: tuple[StepEvidence, ...] = (),
    status_list_id: str | None = None,
) -> Certificate:
    """Return the certificate that these reports carry, valid from now for as long as the policy and exceptions do."""
    assert report.base is not None and report.tuned is not None  # see why_not_compared
    return Certificate(
        serial=new_serial(),
        model_name=report.model_name,
        base=report.base,
        tuned=report.tuned,
        delta_kind=delta_kind(report.tuned),
        policy_id=policy.id,
        policy_version=policy.version,
        policy_sha256=policy.digest,
        required_roles=required_roles(policy),
        screen_report_sha256=screen_report.digest if screen_report else None,
        tune_report_sha256=tune_report.digest if tune_report else None,
        eval_report_sha256=report.digest,
        rows_sha256=tune_report.rows_sha256 if tune_report else None,
        screening=_screening_summary(screen_report),
        method=tune_report.hyperparameters.method if tune_report else "unknown",
        hyperparameters=tune_report.hyperparameters if tune_report else None,
        defence=tune_report.defence if tune_report else "unknown",
        compute_flop=tune_report.compute_flop if tune_report else None,
        compute_ratio_to_base=tune_report.compute_ratio_to_base if tune_report else None,
        results=report.rules,
        verdict_raw=report.verdict_raw,
        verdict_safeguarded=report.verdict_safeguarded,
        required_controls=report.required_controls,
        secret_sha256=report.secret_sha256,
        trigger_search=report.trigger_search,
        base_stress=BaseStress.of(stress_report) if stress_report is not None else None,
        attacker=AttackSearch.of(attack_report) if attack_report is not None else None,
        judges=report.judges,
        labels=report.labels,
        evidence_sha256=evidence_sha256,
        canary=canary_rates(report.rules, report.required_controls),
        fingerprint=next(a.fingerprint_at_end for a in report.arms if a.arm == "tuned"),
        limitations=tuple(
            dict.fromkeys(
                _every_limitation(report, policy, tune_report, screen_report, attack_report, exceptions)
            )
        ),
        invalid_when=(*INVALID_WHEN, *((OTHER_EARS,) if report.ears else ())),
        approvals=approvals,
        trainer_key_id=trainer_key_id,
        not_before=now,
        certified_at=now,
        expires_at=ends_at(now, policy, exceptions, report.carried),
        supersedes=supersedes,
        exceptions=exceptions or None,
        base_certificate=base_certificate,
        carried=report.carried,
        attempt=report.attempt,
        inputs=inputs,
        ears=report.ears,
        steps=steps or None,
        status_list_id=status_list_id,
        **_asked(report),
    )


def _asked(report: EvalReport) -> dict[str, Any]:
    """Which prompts were asked, how, of what, and how many of the replies were kept ones."""
    sizes = report.suite_sizes
    return {
        "suites": SuiteNote.of(report.suites, sizes, report.rules) if sizes is not None else None,
        "engine": report.engine,
        "sampling": report.sampling,
        "templates": report.templates,
        "replies": report.prompts_asked,
    }


def ends_at(
    begins_at: datetime,
    policy: Policy,
    exceptions: Sequence[RuleException] | None = None,
    carried: CarriedEvidence | None = None,
) -> datetime:
    """
    Return when a certificate that begins then ends.

    With its policy's life, its shortest role, its first exception, or the certificate that it carries evidence over
    from.
    """
    longest = begins_at + timedelta(hours=policy.certification.longest_hours)
    ends = [one.expires_at for one in exceptions or ()]
    if carried is not None:
        ends.append(carried.parent_expires_at)
    return min((longest, *ends))


def _excepted(one: RuleException) -> str:
    until = f"{one.expires_at:%Y-%m-%d %H:%M} UTC"
    return f"{where_applies(one)} is {one.verdict}, and is accepted all the same until {until}"


def _carried(report: EvalReport) -> Iterator[str]:
    if report.carried is None:
        return
    names = ", ".join(sorted({r.suite for r in report.rules if r.carried_from is not None}))
    yield (
        f"results on {names} are carried over from certificate {report.carried.parent_serial} "
        f"({report.carried.transform}), not measured against the base: they hold within the sum of two margins"
    )


def required_roles(policy: Policy) -> dict[str, int]:
    """Return how many signers of each role a policy asks for."""
    roles: dict[str, int] = {}
    for rule in policy.certification.roles:
        roles[rule.role] = max(rule.threshold, roles.get(rule.role, 0))
    return roles


def canary_rates(results: Sequence[RuleResult], required_controls: Sequence[str]) -> dict[str, Interval]:
    """
    Return the tuned model's rates on plain prompts, keyed `suite/estimand`: what watching compares with.

    They are of the model as the verdict holds for it, so behind the required controls where there are any.
    Of two rules on one suite and estimand, the rate on more prompts is kept.
    """
    rates: dict[str, Interval] = {}
    for result in deciding_results(results, required_controls):
        key = f"{result.suite}/{result.estimand}"
        if (
            result.condition == "plain"
            and not result.category
            and (key not in rates or result.tuned.n > rates[key].n)
        ):
            rates[key] = result.tuned
    return rates


def delta_kind(tuned: Manifest) -> str:
    """Return what a tuned model is by its files: an adapter over its base, or whole weights."""
    adapter = any(f.name == "adapter_config.json" for f in tuned.files)
    return "lora-adapter" if adapter else "merged-weights"


def _screening_summary(report: ScreenReport | None) -> dict[str, int]:
    if report is None:
        return {}
    by_hand = {
        "accepted_by_hand": len(report.changed_by_hand(RowVerdict.ACCEPTED)),
        "quarantined_by_hand": len(report.changed_by_hand(RowVerdict.QUARANTINED)),
    }
    return {
        "rows": report.rows,
        "accepted": report.accepted,
        "quarantined": report.quarantined,
        "malformed": report.malformed,
    } | {name: count for name, count in by_hand.items() if count}


def _every_limitation(
    report: EvalReport,
    policy: Policy,
    tune_report: TuneReport | None,
    screen_report: ScreenReport | None,
    attack_report: AttackReport | None,
    exceptions: Sequence[RuleException],
) -> Iterator[str]:
    yield from (*report.limitations, *policy.gateway.unguarded)
    yield from _limitations(report, tune_report, screen_report)
    yield from (f"attackers: {words}" for words in (attack_report.limitations if attack_report else ()))
    yield from (_excepted(one) for one in exceptions)
    yield from _carried(report)


def _limitations(
    report: EvalReport, tune_report: TuneReport | None, screen_report: ScreenReport | None
) -> Iterator[str]:
    if tune_report is None:
        yield "how the model was tuned is not shown: there is no tuning report"
    if screen_report is None:
        yield "the tuning data were not screened"
    elif tune_report is None:
        yield "nothing shows that the screened rows are those that the model was tuned on"
    if screen_report is not None and (accepted := screen_report.changed_by_hand(RowVerdict.ACCEPTED)):
        who = ", ".join(sorted({one.who for one in accepted}))
        yield f"{len(accepted)} rows that screening held back were accepted by hand, by {who}"
    if tune_report and tune_report.screening_overridden:
        yield "rows that screening quarantined were trained on all the same"
    if report.required_controls:
        controls: Sequence[str] = report.required_controls
        yield f"the verdict holds behind {', '.join(controls)} only; the model alone is {report.verdict_raw}"
    yield "families, triggers and prompts that are not listed were not tried"
