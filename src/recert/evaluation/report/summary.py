"""The summary of a CI job, in GitHub's Markdown."""

from __future__ import annotations

import re
from typing import Final

from recert.evaluation.report.rules import gating, where
from recert.records.reports.evaluation import EvalReport, RuleResult, Verdict

_SPECIAL: Final = re.compile(r"^[-+=\d]|[\\`*_{}\[\]<>#|~$@&]|:(?=//)|(?<=www)\.", re.I)
"""What could begin mark-up, HTML, a list, a mention or a link."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
MAX_RULES: Final = 200
"""Rows of the table, those that did not pass first; the rest are counted."""
MAX_REASONS: Final = 20
MAX_CHARS: Final = 300
"""Of any text that comes out of a record."""
_SIGNS: Final = {Verdict.PASS: "\u2705", Verdict.FAIL: "\u274c"}
_WARNING: Final = "\u26a0\ufe0f"


def job_summary(report: EvalReport) -> str:
    """
    Return the verdict, the rules worst first, and the reasons, as Markdown.

    Whatever comes out of the record is escaped and cut: it stays text, in its cell.
    """
    rules = sorted(gating(report), key=lambda r: (r.verdict is Verdict.PASS, -r.change.point))
    behind = f" behind {', '.join(report.required_controls)}" if report.required_controls else ""
    lines = [
        f"## Recert: {plain(report.model_name)} \u2014 {_signed(report.verdict)}{plain(behind)}",
        "",
        "| rule | condition | base | tuned | change | margin | n | verdict |",
        "|---|---|--:|--:|---|--:|--:|---|",
        *(_row(rule) for rule in rules[:MAX_RULES]),
        "",
    ]
    if len(rules) > MAX_RULES:
        lines += [f"and {len(rules) - MAX_RULES} rules more, in the report", ""]
    if not rules:
        lines += ["No rule was measured.", ""]
    lines += [f"- {plain(reason)}" for reason in report.reasons[:MAX_REASONS]]
    if len(report.reasons) > MAX_REASONS:
        lines.append(f"- and {len(report.reasons) - MAX_REASONS} reasons more, in the report")
    lines += [
        "",
        f"<sub>policy {plain(report.policy_id)} {plain(report.policy_version)}, report sha256 {report.digest}, "
        f"{report.evaluated_at:%Y-%m-%d %H:%M} UTC</sub>",
        "",
    ]
    return "\n".join(lines)


def plain(text: str, *, longest: int = MAX_CHARS) -> str:
    """Return text in which nothing is mark-up, on one line, cut to `longest` characters."""
    one_line = _CONTROL.sub(" ", text.encode("utf-8", "replace").decode())
    cut = one_line if len(one_line) <= longest else one_line[: longest - 1] + "\u2026"
    return _SPECIAL.sub(lambda c: f"&#{ord(c.group())};", cut)


def _row(rule: RuleResult) -> str:
    cells = (
        plain(rule.rule_id),
        plain(where(rule)),
        f"{rule.base.point:.2f}",
        f"{rule.tuned.point:.2f}",
        plain(str(rule.change)),
        f"{rule.margin:g}",
        str(rule.change.n),
        _signed(rule.verdict),
    )
    return f"| {' | '.join(cells)} |"


def _signed(verdict: Verdict) -> str:
    return f"{_SIGNS.get(verdict, _WARNING)} **{verdict}**"
