"""
SARIF 2.1.0 of the rules that did not pass, for code scanning.

Every result has level `error` and kind `fail`: by the standard another kind has level `none`, and an undecided rule
would be green.

Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", errata 01, sections 3.13 to 3.52.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import quote

from recert.digest import sha256_json
from recert.evaluation.report.rules import Finding, findings, gating
from recert.evaluation.stage import REPORT_FILE
from recert.records.reports.evaluation import EvalReport

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
"""Where the standard publishes its schema."""


def sarif_json(report: EvalReport, *, report_uri: str = REPORT_FILE) -> bytes:
    """
    Return a SARIF log: one result a rule and condition that did not pass; none where everything passed.

    Args:
        report: the evaluation.
        report_uri: where its report lies, relative to the repository: the place that results point at.
    """
    found = findings(report)
    about = {rule.rule_id: f"{rule.estimand} on {rule.suite}" for rule in gating(report)}
    names = list(dict.fromkeys([*about, *(one.rule_id for one in found)]))
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "Recert",
                        "version": report.versions.get("recert", version("recert")),
                        "rules": [
                            _descriptor(name, about.get(name, "the verdict as a whole")) for name in names
                        ],
                    }
                },
                "automationDetails": {"id": f"recert/{report.model_name}/"},
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "startTimeUtc": _moment(report.started_at),
                        "endTimeUtc": _moment(report.evaluated_at),
                    }
                ],
                "columnKind": "unicodeCodePoints",
                "results": [_result(one, names, report, quote(report_uri)) for one in found],
                "properties": {
                    "verdict": str(report.verdict),
                    "reportSha256": report.digest,
                    "policySha256": report.policy_sha256,
                },
            }
        ],
    }
    return (json.dumps(log, indent=2, ensure_ascii=True) + "\n").encode()


def _descriptor(name: str, about: str) -> dict[str, Any]:
    return {
        "id": name,
        "shortDescription": {"text": about},
        "fullDescription": {
            "text": f"Rule {name} of the policy: {about} must not get worse by more than its margin."
        },
        "defaultConfiguration": {"level": "error"},
    }


def _result(one: Finding, names: list[str], report: EvalReport, uri: str) -> dict[str, Any]:
    place = "/".join(part for part in (report.model_name, one.suite, one.condition) if part)
    return {
        "ruleId": one.rule_id,
        "ruleIndex": names.index(one.rule_id),
        "kind": "fail",
        "level": "error",
        "message": {"text": one.words},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}},
                "logicalLocations": [{"fullyQualifiedName": place}],
            }
        ],
        "partialFingerprints": {
            "recertRule/v1": sha256_json([report.model_name, one.rule_id, one.suite, one.condition])
        },
        "properties": {"verdict": str(one.verdict)},
    }


def _moment(at: Any) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
