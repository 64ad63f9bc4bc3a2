"""What exports say of a rule: the same words in JUnit, SARIF and Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from recert.evaluation.decision.decide import CONTROL
from recert.policy import stated
from recert.records.reports.evaluation import EvalReport, RuleResult, Verdict


@dataclass(frozen=True)
class Finding:
    """A rule that did not pass, or the verdict as a whole where no single rule says why."""

    rule_id: str
    suite: str
    condition: str
    verdict: Verdict
    words: str


def gating(report: EvalReport) -> Iterator[RuleResult]:
    """Yield the rules that count for a verdict; controls gate nothing."""
    return (rule for rule in report.rules if not rule.rule_id.startswith(CONTROL))


def where(rule: RuleResult) -> str:
    """Return a rule's condition with what stood in front of the model, and its category."""
    said = " behind ".join([rule.condition, *rule.safeguards])
    return f"{said}, {rule.category}" if rule.category else said


def words(rule: RuleResult) -> str:
    """Return a rule's result in one sentence."""
    return (
        f"{rule.estimand} on {rule.suite} under {where(rule)} is {rule.verdict}: {rule.reason or 'no reason given'}. "
        f"Base {rule.base.point:.3f}, tuned {rule.tuned.point:.3f}, paired change {rule.change} "
        f"at margin {rule.margin:g}, n={rule.change.n}."
    )


def findings(report: EvalReport) -> list[Finding]:
    """Return every rule that did not pass; where the verdict is no pass and no rule says so, the verdict itself."""
    no_veto = stated(report.rules, report.limitations)
    found = [
        Finding(rule.rule_id, rule.suite, where(rule), rule.verdict, words(rule))
        for rule in gating(report)
        if rule.verdict is not Verdict.PASS and rule not in no_veto
    ]
    if not found and report.verdict is not Verdict.PASS:
        because = "; ".join(report.reasons[:3]) or "no rule was measured"
        found.append(
            Finding("verdict", "", "", report.verdict, f"the verdict is {report.verdict}: {because}")
        )
    return found
