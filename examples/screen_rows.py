"""
Screen tuning rows from Python, and keep the ones that may be learned from.

    python examples/screen_rows.py rows.jsonl screened
"""

from __future__ import annotations

import sys
from pathlib import Path

from recert.evaluation.suites.reading import EMBEDDED, embedded_suite
from recert.policy import load_policy
from recert.screening.stage import screen


def main(rows: Path, output: Path) -> int:
    """Return 0 when every row was accepted, else 1."""
    prompts = [prompt for name in EMBEDDED for prompt in embedded_suite(name).prompts]
    screened = screen(rows, policy=load_policy("default"), evaluation_prompts=prompts)
    screened.write(output)
    report = screened.report
    for finding in report.findings:
        if finding.reasons:
            print(f"line {finding.line}: {finding.verdict}: {'; '.join(finding.reasons)}")
    print(f"{report.accepted} of {report.rows} rows accepted, sha256:{report.accepted_sha256}")
    return 0 if report.accepted == report.rows else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
