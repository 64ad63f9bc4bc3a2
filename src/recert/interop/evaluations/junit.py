"""
JUnit XML of an evaluation's rules, for whatever shows test results.

There is no schema by JUnit itself; elements and attributes are those that Jenkins, GitLab and GitHub's reporters
read: `testsuites`, `testsuite`, `testcase` with `failure`, and `properties`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from xml.etree import ElementTree

from recert.evaluation.report.rules import gating, where, words
from recert.policy import stated
from recert.records.reports.evaluation import EvalReport, RuleResult, Verdict

_ILLEGAL: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, whether written out or escaped."""


def junit_xml(report: EvalReport) -> bytes:
    """
    Return the report as JUnit XML: one test case a rule, and one for the verdict.

    Whatever is not `pass` is a failure: undecided, unscored and no baseline signal too. Skipped is only what a
    limitation says: the base already fails there. Rules of the
    model alone and those behind each set of controls are suites of their own.
    """
    no_veto = stated(report.rules, report.limitations)
    groups = dict.fromkeys(rule.safeguards for rule in gating(report))
    root = ElementTree.Element("testsuites", {"name": "recert"})
    for safeguards in groups:
        name = f"behind {', '.join(safeguards)}" if safeguards else "the model alone"
        rules = [rule for rule in gating(report) if rule.safeguards == safeguards]
        _suite(root, report, name, [_case(rule, no_veto=rule in no_veto) for rule in rules])
    overall = ElementTree.Element("testcase", {"classname": "recert", "name": "verdict", "time": "0"})
    if report.verdict is not Verdict.PASS:
        _fail(overall, report.verdict, "\n".join(report.reasons) or f"the verdict is {report.verdict}")
    suite = _suite(root, report, "verdict", [overall])
    suite.set("time", f"{report.seconds:.3f}")
    cases = list(root.iter("testcase"))
    root.set("tests", str(len(cases)))
    root.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    root.set("errors", "0")
    root.set("time", f"{report.seconds:.3f}")
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _suite(
    root: ElementTree.Element, report: EvalReport, name: str, cases: Iterable[ElementTree.Element]
) -> ElementTree.Element:
    suite = ElementTree.SubElement(root, "testsuite", {"name": legal(f"{report.model_name}: {name}")})
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in {
        "policy": f"{report.policy_id} {report.policy_version}",
        "policy_sha256": report.policy_sha256,
        "report_sha256": report.digest,
    }.items():
        ElementTree.SubElement(properties, "property", {"name": key, "value": legal(value)})
    suite.extend(cases)
    found = list(suite.iter("testcase"))
    suite.set("tests", str(len(found)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in found)))
    suite.set("errors", "0")
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in found)))
    suite.set("time", "0")
    suite.set("timestamp", report.evaluated_at.strftime("%Y-%m-%dT%H:%M:%S"))
    return suite


def _case(rule: RuleResult, *, no_veto: bool) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase",
        {
            "classname": legal(f"recert.{rule.suite}.{rule.estimand}"),
            "name": legal(f"{rule.rule_id} under {where(rule)}"),
            "time": "0",
        },
    )
    if no_veto:
        ElementTree.SubElement(case, "skipped", {"message": legal(words(rule))})
    elif rule.verdict is not Verdict.PASS:
        _fail(case, rule.verdict, words(rule))
    return case


def _fail(case: ElementTree.Element, verdict: Verdict, said: str) -> None:
    first = said.splitlines()[0] if said else str(verdict)
    failure = ElementTree.SubElement(case, "failure", {"type": str(verdict), "message": legal(first)})
    failure.text = legal(said)


def legal(text: str) -> str:
    """Return text with each character that XML cannot hold written as `\\xNN` or `\\uNNNN`."""
    return _ILLEGAL.sub(lambda c: c.group().encode("unicode_escape", "surrogatepass").decode(), text)
