"""Whether the reports that ask to be certified belong together, and to what lies on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from recert.certification.signing.content import delta_kind
from recert.certification.verifier.decision import why_not_pass
from recert.policy import Policy
from recert.records.data.manifest import Manifest
from recert.records.reports.attack_report import AttackReport, AttackSearch
from recert.records.reports.evaluation import EvalReport
from recert.records.reports.screening import ScreenReport
from recert.records.reports.stress import BaseStress, StressReport
from recert.records.reports.tuning import TuneReport
from recert.records.signed.certificate import RuleException

_NOTHING: Final = "0" * 64
"""A digest that is none."""
ADDED_ROWS: Final = ("safety_rows", "benign_rows", "alignment_rows")
"""Rows that defences add, among their figures."""


def why_not_decided(
    report: EvalReport,
    policy: Policy,
    stress_report: StressReport | None = None,
    exceptions: Sequence[RuleException] = (),
    attack_report: AttackReport | None = None,
) -> Iterator[str]:
    """Yield why an evaluation, the stress of its base and attacks on it are no pass under a policy: `code: words`."""
    if report.policy_sha256 != policy.digest:
        yield (
            f"wrong-policy: evaluated under {report.policy_id} sha256:{report.policy_sha256}, "
            f"to be certified under {policy.id} sha256:{policy.digest}"
        )
    said = why_not_pass(
        raw=report.verdict_raw,
        safeguarded=report.verdict_safeguarded,
        required_controls=report.required_controls,
        results=report.rules,
        policy=policy,
        search=report.trigger_search,
        stress=BaseStress.of(stress_report) if stress_report is not None else None,
        attacker=AttackSearch.of(attack_report) if attack_report is not None else None,
        tuned_sha256=report.tuned.digest if report.tuned else None,
        base_sha256=report.base.digest if report.base else None,
        exceptions=exceptions,
        alike=[frozenset(pair) for pair in report.suites_alike or ()],
    )
    yield from (f"verdict-not-pass: {words}" for words in said)


def why_not_compared(report: EvalReport) -> Iterator[str]:
    """Yield why it is not shown that each arm was the model it claims to be, and that they differ."""
    if sorted(a.arm for a in report.arms) != ["base", "tuned"]:
        yield "arms: expected one check of the base arm and one of the tuned arm"
        return
    for arm in report.arms:
        manifest = report.base if arm.arm == "base" else report.tuned
        if manifest is None:
            yield (
                f"behaviour-only: the {arm.arm} model was reached at an endpoint; a certificate binds files, and none "
                "were seen"
            )
        elif arm.manifest_sha256 != manifest.digest:
            yield f"arms: the {arm.arm} arm ran other files than the report names"
        if not arm.fingerprint_at_start or arm.fingerprint_at_start != arm.fingerprint_at_end:
            yield f"arms: the {arm.arm} arm was another model at the end than at the start"
        if not arm.arms_differ:
            yield "arms: both arms behave the same, so nothing was compared"
    if len({a.fingerprint_at_start for a in report.arms}) == 1:
        yield "arms: both arms have one fingerprint, so nothing was compared"


def why_not_linked(
    report: EvalReport,
    tune_report: TuneReport | None,
    screen_report: ScreenReport | None,
    stress_report: StressReport | None = None,
) -> Iterator[str]:
    """Yield where the chain from rows to evaluation is broken. Tuning elsewhere is no break."""
    if stress_report is not None and (report.base is None or stress_report.base.digest != report.base.digest):
        yield "chain: the stress report is of another base than the model was compared with"
    if "secret-prefix" in report.required_controls and report.secret_sha256 is None:
        yield "chain: the verdict needs a secret prefix, and the evaluation does not say which"
    if (
        screen_report is not None
        and screen_report.system_prompts
        and not any(result.condition == "training-context" and result.change.n for result in report.rules)
    ):
        yield "chain: the tuning data have a system prompt, and nothing was asked under it"
    if tune_report is None:
        return
    kind = delta_kind(tune_report.tuned)
    if tune_report.delta_kind != kind:
        yield f"chain: the tune report says {tune_report.delta_kind}, and its files are {kind}"
    if report.base is None or tune_report.base.digest != report.base.digest:
        yield "chain: the model was tuned from another base than it was compared with"
    if report.tuned is None or tune_report.tuned.digest != report.tuned.digest:
        yield "chain: tuning made other files than were evaluated"
    if report.secret_sha256 is not None and tune_report.secret_sha256 != report.secret_sha256:
        yield "chain: it was evaluated with another secret than it was tuned with"
    named = tune_report.screen_report_sha256
    if named is not None and screen_report is None:
        yield "chain: tuning names a screening report, which was not given"
    if screen_report is not None and named != screen_report.digest:
        yield f"chain: tuning names screening report {named or 'none'}, given was {screen_report.digest}"
    yield from _why_not_these_rows(tune_report, screen_report)


def _why_not_these_rows(tuned: TuneReport, screened: ScreenReport | None) -> Iterator[str]:
    """Yield why a tune is not shown to have learned from the rows that screening accepted, and a defence's own."""
    if _NOTHING in (tuned.rows_sha256, tuned.accepted_sha256) or tuned.rows < 1:
        yield "chain: the tune report does not say which rows were learned from"
    if screened is None:
        return
    given, held = screened.accepted, tuned.held_out
    all_sha256 = held.of_rows_sha256 if held is not None else tuned.accepted_sha256
    if tuned.screening_overridden:
        given += screened.quarantined
    elif all_sha256 is None or all_sha256 != screened.accepted_rows_sha256:
        yield "chain: tuning was given other rows than screening accepted"
    given -= held.rows + held.copies if held is not None else 0
    counts = [tuned.defence_details.get(name) for name in ADDED_ROWS] if tuned.defence != "none" else []
    added = sum(count for count in counts if isinstance(count, int) and count > 0)
    if tuned.rows > given + added:
        yield f"chain: tuning learned from {tuned.rows} rows, and was given {given} with {added} of its defence"


def why_not_on_disk(report: EvalReport, found: dict[str, Manifest]) -> Iterator[str]:
    """Yield how the folders differ from the files that were evaluated."""
    for arm, manifest in (("base", report.base), ("tuned", report.tuned)):
        for words in manifest.differences(found[arm]) if manifest else ():
            yield f"{words.partition(':')[0].replace(' ', '-')}: {arm}/{words.partition(': ')[2]}"
