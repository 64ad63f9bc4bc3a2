"""Evidence that a merge or a quantisation takes over from its parent's certificate, and what must be so before."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from recert.certification.verifier.ancestry import CertifiedBase
from recert.certification.verifier.decision import CONTROL
from recert.interval import Interval
from recert.models.chat.prompting import around
from recert.models.folders import ADAPTER_CONFIG
from recert.policy import Policy, comparison_policy
from recert.records.data.manifest import Manifest
from recert.records.reports.evaluation import EvalReport, RuleResult, Verdict, where_applies
from recert.records.signed.carried import CarriedEvidence, ParentComparison
from recert.records.signed.certificate import Certificate

_WORDS: Final = {8: "int8", 4: "int4"}


@dataclass(frozen=True)
class CarriedFrom:
    """The certificate that a report carries evidence over from, which holds, and the report of the comparison."""

    parent: CertifiedBase
    comparison: EvalReport


def why_no_parent(parent: Certificate, policy: Policy, base: Manifest | None, transform: str) -> str:
    """
    Return why nothing can be carried over from a certificate, in words, or an empty text.

    That it holds now is for `read_certified_base` to say.

    Args:
        parent: the certificate of the model that the child was made of.
        policy: the one that decides about the child.
        base: the base that the child is compared with.
        transform: what was done to the parent.
    """
    section = policy.certification.carry_over
    front = around(policy.gateway.system_instruction, policy.gateway.immutable_suffix)
    checks = (
        (section is None, "the policy lets no evidence be carried over"),
        (
            section is not None and transform not in section.transforms,
            f"the policy does not allow {transform}",
        ),
        (parent.policy_sha256 != policy.digest, "the parent is certified under another policy"),
        (base is None or parent.base.digest != base.digest, "the parent is certified against another base"),
        (parent.carried is not None, "the parent's own evidence is carried over, and is not carried further"),
        (bool(parent.required_controls or front), "the parent's verdict holds behind controls only"),
        (
            transform == "merge" and not _is_adapter(parent.tuned),
            "the parent is no adapter, so nothing was merged",
        ),
    )
    return next((words for failed, words in checks if failed), "")


def why_not_made_so(transform: str, parent: Manifest, child: Path) -> str:
    """
    Return why a child's files are not what a transform makes of a parent's, in words, or an empty text.

    Only the form is looked at: whole weights, in the precision that is named. How the child behaves is measured.
    """
    if (child / ADAPTER_CONFIG).exists():
        return "the child is an adapter: neither a merge nor a quantisation makes one"
    if transform == "merge":
        return "" if _is_adapter(parent) else "the parent is no adapter, so nothing was merged"
    found, named = _precision(child), transform.partition(":")[2]
    return "" if found == named else f"the child's files say {found or 'no precision'}, not {named}"


def carry_over(
    parent: Certificate, comparison: EvalReport, policy: Policy
) -> tuple[tuple[RuleResult, ...], tuple[ParentComparison, ...], tuple[str, ...]]:
    """
    Return the results that are carried over, what shows each of them, and every reason why they cannot be.

    All of the parent's results on the suites that the policy names, or none: with a reason nothing counts. Rates and
    changes of both measurements are added, their intervals too, and so are the chances that these do not hold.

    Args:
        parent: the parent's certificate.
        comparison: the child against the parent, by `comparison_policy`.
        policy: the one that decides about the child.
    """
    section = policy.certification.carry_over
    assert section is not None  # see why_no_parent
    results, shown, reasons = [], [], []
    for old in parent.results:
        if old.suite not in section.suites or old.rule_id.startswith(CONTROL) or old.safeguards:
            continue
        where = where_applies(old)
        change = _compared(old, comparison.rules)
        if old.verdict is not Verdict.PASS:
            reasons.append(f"{where} is {old.verdict} for the parent")
        elif change is None:
            reasons.append(f"{where} was not compared with the parent")
        elif change.verdict is not Verdict.PASS or change.change.high > section.margin:
            reasons.append(f"{where} between parent and child is {change.verdict}: {change.reason}")
        else:
            new = _sum(old, change, parent.serial, section.margin)
            if new.max_tuned is not None and new.tuned.point > new.max_tuned:
                reasons.append(f"{where}: the rate may be {new.tuned.point:.3f}, above {new.max_tuned:.3f}")
            results.append(new)
            shown.append(_shown(change))
    if not results:
        reasons.append("the parent's certificate has no result on a suite that may be carried over")
    return tuple(results), tuple(shown), tuple(reasons)


def carried_evidence(
    parent: CertifiedBase,
    comparison: EvalReport,
    compared: Sequence[ParentComparison],
    *,
    transform: str,
    reason: str,
    distance: float,
    probes: int,
) -> CarriedEvidence:
    """Return what a report says of what it carries over."""
    said = parent.certificate
    ends = dict.fromkeys(said.lineage)
    if said.base_certificate is not None:
        ends[said.base_certificate.serial] = None
    return CarriedEvidence(
        parent_serial=said.serial,
        parent_certificate_sha256=parent.reference.certificate_sha256,
        parent_tuned_sha256=said.tuned.digest,
        parent_expires_at=said.expires_at,
        ends_with=tuple(ends),
        transform=transform,
        reason=reason,
        distance=distance,
        probes=probes,
        compared=tuple(compared),
        comparison_sha256=comparison.digest,
    )


def why_not_carried_over(
    report: EvalReport, policy: Policy, shown_by: CarriedFrom | None, tuned_dir: Path
) -> Iterator[str]:
    """
    Yield why what a report carries over is not what a parent's certificate and a comparison show, as `code: words`.

    Everything is computed again: from the certificate, which holds now, and from the report of the comparison.
    """
    evidence = report.carried
    if evidence is None:
        if any(r.carried_from is not None for r in report.rules):
            yield "carry-over: a result is carried over, and nothing says from where"
        return
    if shown_by is None:
        yield "carry-over: the parent's certificate and the comparison with it are needed"
        return
    parent, comparison = shown_by.parent, shown_by.comparison
    why = why_no_parent(parent.certificate, policy, report.base, evidence.transform) or why_not_made_so(
        evidence.transform, parent.certificate.tuned, tuned_dir
    )
    if why:
        yield f"carry-over: {why}"
        return
    yield from (f"carry-over: {words}" for words in _why_not_compared(report, parent, comparison, policy))
    results, shown, reasons = carry_over(parent.certificate, comparison, policy)
    yield from (f"carry-over: {words}" for words in reasons)
    again = carried_evidence(
        parent,
        comparison,
        shown,
        transform=evidence.transform,
        reason=evidence.reason,
        distance=evidence.distance,
        probes=evidence.probes,
    )
    if again != evidence or results != tuple(r for r in report.rules if r.carried_from is not None):
        yield "carry-over: the report does not carry over what the parent's certificate says"


def _why_not_compared(
    report: EvalReport, parent: CertifiedBase, comparison: EvalReport, policy: Policy
) -> Iterator[str]:
    if comparison.policy_sha256 != comparison_policy(policy).digest:
        yield "parent and child were compared by other bounds than this policy's"
    if comparison.base is None or comparison.base.digest != parent.certificate.tuned.digest:
        yield "the comparison is with another model than the parent's certificate names"
    if comparison.tuned is None or report.tuned is None or comparison.tuned.digest != report.tuned.digest:
        yield "the comparison is of another model than was evaluated"
    if not report.ears == comparison.ears == parent.certificate.ears:
        yield "parent and child were not heard by the same ears"
    named = policy.certification.carry_over
    for suite in named.suites if named else ():
        if suite in comparison.suites and comparison.suites[suite] != report.suites.get(suite):
            yield f"the comparison asked other prompts of {suite}"


def _compared(old: RuleResult, rules: Sequence[RuleResult]) -> RuleResult | None:
    wanted = (old.rule_id, old.suite, old.condition, old.category, old.estimand)
    found = [
        r
        for r in rules
        if (r.rule_id, r.suite, r.condition, r.category, r.estimand) == wanted and not r.safeguards
    ]
    return found[0] if len(found) == 1 else None


def _shown(change: RuleResult) -> ParentComparison:
    return ParentComparison(
        rule_id=change.rule_id,
        condition=change.condition,
        category=change.category,
        change=change.change,
        margin=change.margin,
    )


def _sum(old: RuleResult, change: RuleResult, serial: str, margin: float) -> RuleResult:
    return old.model_copy(
        update={
            "tuned": _added(old.tuned, change.change, least=0.0),
            "change": _added(old.change, change.change, least=-1.0),
            "margin": round(old.margin + margin, 9),
            "evidence_within": min(old.evidence_within, change.evidence_within),
            "evidence_beyond": max(old.evidence_beyond, change.evidence_beyond),
            "reason": f"carried over: {old.reason}; {change.reason} from its parent".replace(": ;", ":"),
            "unscored": old.unscored + change.unscored,
            "planned": None,
            "worse": None,
            "better": None,
            "states": {},
            "categories": (),
            "carried_from": serial,
        }
    )


def _added(one: Interval, other: Interval, *, least: float) -> Interval:
    """The sum of two intervals: it fails to hold only where one of them does."""
    point, low, high = (
        round(min(1.0, max(least, a + b)), 9)
        for a, b in ((one.point, other.point), (one.low, other.low), (one.high, other.high))
    )
    level = max(0.001, round(one.level + other.level - 1, 9))
    return Interval(point=point, low=low, high=high, level=level, n=min(one.n, other.n))


def _is_adapter(manifest: Manifest) -> bool:
    return any(f.name == ADAPTER_CONFIG for f in manifest.files)


def _precision(folder: Path) -> str:
    """The precision that a model's `config.json` names; empty where it names none."""
    try:
        config: Any = json.loads((folder / "config.json").read_bytes())
        packed = config.get("quantization_config") or {}
        bits = packed.get("bits") or (
            8 if packed.get("load_in_8bit") else 4 if packed.get("load_in_4bit") else 0
        )
        if packed:
            return _WORDS.get(bits, "")
        return str(config.get("dtype") or config.get("torch_dtype") or "").removeprefix("torch.")
    except (OSError, ValueError, AttributeError, TypeError):
        return ""
