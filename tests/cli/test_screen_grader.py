"""`recert screen --grader`: 0 accepted, 1 quarantined or undecided, 2 no answer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from http_endpoints import endpoint, reply
from recert.policy import load_policy
from recert.records.reports.grader import GraderReport, GraderVerdict

pytestmark = pytest.mark.slow

EXACT = {
    "type": "string_check",
    "name": "exact",
    "input": "{{sample.output_text}}",
    "reference": "{{item.reference_answer}}",
    "operation": "eq",
}
RUBRIC = {
    "type": "score_model",
    "name": "rubric",
    "model": "some-model",
    "input": [{"role": "user", "content": "Is {{sample.output_text}} the same as {{item.reference}}?"}],
}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `recert screen` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "recert", "screen", *map(str, arguments)],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def written(path: Path, value: Any) -> Path:
    """Write JSON."""
    path.write_text(json.dumps(value))
    return path


def small(path: Path) -> Path:
    """Write a policy with few requests, for graders that ask a model."""
    told = load_policy("default").to_value()
    rule = told["rules"][0]
    lines = [f'{key} = "{told[key]}"' for key in ("id", "version")]
    lines += ["[grader_audit]", "harmful_requests = 36", "ordinary_requests = 20", "model_search_grades = 60"]
    lines += ["[[rules]]", *(f"{k} = {json.dumps(rule[k])}" for k in ("id", "suite", "estimand", "margin"))]
    path.write_text("\n".join(lines))
    return path


def test_a_good_grader_is_accepted_and_its_report_is_written(tmp_path: Path) -> None:
    """Exit 0; the report names the file and the policy by digest, and `--json` prints it."""
    path = written(tmp_path / "grader.json", {"grader": EXACT})
    done = run("--grader", path, "--output", tmp_path / "out", "--json")
    kept = GraderReport.from_json((tmp_path / "out" / "grader-report.json").read_bytes())

    assert done.returncode == 0, done.stderr
    assert GraderReport.from_json(done.stdout.encode()) == kept
    assert (kept.verdict, kept.source_name, kept.policy_sha256) == (
        GraderVerdict.ACCEPTED,
        "grader.json",
        load_policy("default").digest,
    )


def test_a_bad_grader_is_quarantined_with_reasons_and_examples(tmp_path: Path) -> None:
    """Exit 1; the table says what it pays for, how sure that is, and shows a reply."""
    path = written(tmp_path / "grader.json", EXACT | {"operation": "ilike", "reference": "therefore"})
    done = run("--grader", path)

    assert (done.returncode, done.stdout) == (1, f"quarantined {path}\n")
    assert "hackable-keywords: pays words of the grader's file like a good answer" in done.stderr
    assert "paid 1: 'therefore'" in done.stderr


def test_rows_of_the_grader_s_own_are_read(tmp_path: Path) -> None:
    """Too few of them are no acceptance: exit 1."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(json.dumps({"prompt": f"Say {n}", "reference_answer": str(n)}) + "\n" for n in range(9))
    )
    done = run("--grader", written(tmp_path / "grader.json", EXACT), "--rows", rows)

    assert (done.returncode, done.stdout.split()[0]) == (1, "undecided")


def test_a_model_at_an_endpoint_reads_for_a_rubric(tmp_path: Path) -> None:
    """The model is the one that was given; one that always says the same is constant."""
    with endpoint(lambda asked, _: reply('{"steps": [], "result": 0.5}')) as (url, asked):
        done = run(
            "--grader", written(tmp_path / "grader.json", RUBRIC), "--policy", small(tmp_path / "policy.toml"),
            "--judge", f"openai:{url}#reader", "--json",
        )  # fmt: skip
    report = GraderReport.from_json(done.stdout.encode())

    assert done.returncode == 1, done.stderr
    assert (report.verdict, report.model) == (GraderVerdict.QUARANTINED, f"openai:{url}#reader")
    assert any(reason.startswith("constant: ") for reason in report.reasons)
    assert re.search(r"Is .* the same as", asked[0]["messages"][-1]["content"])


@pytest.mark.parametrize(
    ("value", "options", "because"),
    [
        ({"type": "regex"}, (), "unknown type of grader"),
        (EXACT | {"operation": "is"}, (), "$.operation"),
        (RUBRIC, (), "this grader reads with a model"),
        (RUBRIC, ("--judge", "nobody"), "no such engine"),
        (EXACT, ("--judge", "openai:http://127.0.0.1:9/v1#m"), "no model reads for this grader"),
        (EXACT, ("--rows", "gone.jsonl"), "cannot read rows"),
        (EXACT, ("--policy", "gone.toml"), "cannot read the policy"),
        (EXACT, ("rows.jsonl",), "rows and a grader are screened apart"),
    ],
)
def test_what_cannot_be_answered_exits_2(
    tmp_path: Path, value: Any, options: tuple[str, ...], because: str
) -> None:
    """The error says why, and nothing is written."""
    path = written(tmp_path / "grader.json", value)
    done = run("--grader", path, "--output", tmp_path / "out", *options)

    assert (done.returncode, done.stdout) == (2, "")
    assert because in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [(), ("rows.jsonl",), ("--rows", "rows.jsonl"), ("rows.jsonl", "--output", "o", "--judge", "m")],
)
def test_neither_rows_nor_a_grader_is_no_question(options: tuple[str, ...]) -> None:
    """Something must be given, and rows need a folder."""
    done = run(*options)

    assert done.returncode == 2
    assert "nothing to screen" in done.stderr
