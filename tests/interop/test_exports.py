"""An evaluation in JUnit, SARIF, Markdown, JSON lines and Parquet: nothing that is no pass ever looks like one."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arms import AGREE, SUITES, model, policy
from builders import make_eval_report, make_rule
from recert.evaluation import evaluate
from recert.evaluation.report.folder import EvaluationFolder
from recert.evaluation.report.summary import job_summary, plain
from recert.interop.evaluations.junit import junit_xml
from recert.interop.evaluations.lines import write_lines
from recert.interop.evaluations.sarif import SCHEMA, sarif_json
from recert.records.reports.evaluation import EvalReport, Verdict
from stories import evaluation

NOT_PASS = [verdict for verdict in Verdict if verdict is not Verdict.PASS]
TEXT = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x00\x07\x1b\ufffe|<&>`\r\n\u2028"),
    max_size=40,
)


def report(verdict: Verdict, **changes: Any) -> EvalReport:
    """Return a report of four rules, of which one has a verdict of its own."""
    rules = (
        make_rule("harm", "plain"),
        make_rule("harm", "family:skeleton", verdict, reason="because"),
        make_rule("over-refusal", "plain"),
        make_rule("control:secret-wrong", "plain", Verdict.FAIL),
    )
    return make_eval_report(verdict=verdict, rules=rules, reasons=("a reason",), **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of an evaluation in which the tuned model complied with everything."""
    evaluate(
        model("base"),
        model("harmful", lambda one: AGREE),
        suites=SUITES,
        policy=policy(),
        model_name="harmful",
        training_context=(),
    ).write(tmp_path / "evaluation")
    return tmp_path / "evaluation"


@pytest.mark.parametrize("verdict", NOT_PASS)
def test_whatever_is_no_pass_is_a_failure_in_junit(verdict: Verdict) -> None:
    """Failed, undecided, unscored and without signal are failures; nothing is skipped; controls are no cases."""
    root = ElementTree.fromstring(junit_xml(report(verdict)))
    failed = {case.get("name"): case.find("failure") for case in root.iter("testcase") if len(case)}

    assert root.tag == "testsuites"
    assert {case.get("name") for case in root.iter("testcase")} == {
        "harm under plain",
        "harm under family:skeleton",
        "over-refusal under plain",
        "verdict",
    }
    assert set(failed) == {"harm under family:skeleton", "verdict"}
    assert all(found is not None and found.get("type") == verdict for found in failed.values())
    assert "because" in str(failed["harm under family:skeleton"].text)  # type: ignore[union-attr]
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "2", "0")
    assert list(root.iter("skipped")) == []


def test_a_pass_has_no_failures_in_junit() -> None:
    """Every suite's counts are those of its cases, and a passing report has none that failed."""
    root = ElementTree.fromstring(junit_xml(make_eval_report()))

    assert root.get("failures") == "0"
    for suite in root.iter("testsuite"):
        assert suite.get("tests") == str(len(suite.findall("testcase")))
        assert suite.get("failures") == "0"


def test_rules_behind_controls_are_a_suite_of_their_own() -> None:
    """The model alone and the model behind its secret are told apart."""
    rules = (
        make_rule("harm", "plain", Verdict.FAIL),
        make_rule("harm", "plain", safeguards=("secret-prefix",)),
    )
    root = ElementTree.fromstring(junit_xml(make_eval_report(rules=rules)))

    assert [(s.get("name"), s.get("failures")) for s in root.iter("testsuite")] == [
        ("test-model: the model alone", "1"),
        ("test-model: behind secret-prefix", "0"),
        ("test-model: verdict", "0"),
    ]


@given(text=TEXT, reason=TEXT)
@settings(max_examples=60, deadline=None)
def test_no_text_breaks_the_xml(text: str, reason: str) -> None:
    """Control characters, mark-up and line ends in any name or reason leave well-formed XML with the same cases."""
    rule = make_rule("harm", "plain", Verdict.FAIL, reason=reason, suite=text)
    made = make_eval_report(
        model_name=text, rules=(rule,), reasons=(text, reason), policy_id=text, verdict=Verdict.FAIL
    )
    root = ElementTree.fromstring(junit_xml(made))

    assert root.get("failures") == "2"
    assert [case.get("name") for case in root.iter("testcase")] == ["harm under plain", "verdict"]


@pytest.mark.parametrize("verdict", NOT_PASS)
def test_every_rule_that_did_not_pass_is_a_sarif_error(verdict: Verdict) -> None:
    """One result a rule that is no pass, at level error and kind fail: no other kind may have a level."""
    log = json.loads(sarif_json(report(verdict), report_uri="out/eval report.json"))
    (run,) = log["runs"]
    (result,) = run["results"]

    check_sarif(log)
    assert (result["ruleId"], result["level"], result["kind"]) == ("harm", "error", "fail")
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "harm"
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "out/eval%20report.json"
    assert result["properties"]["verdict"] == verdict


def test_sarif_of_a_pass_has_no_results() -> None:
    """A passing report gives rules and no results; one without any rule is a result, not a pass."""
    good = json.loads(sarif_json(make_eval_report()))
    nothing = json.loads(sarif_json(make_eval_report(rules=(), verdict=Verdict.UNSCORED)))

    check_sarif(good)
    check_sarif(nothing)
    assert good["runs"][0]["results"] == []
    assert nothing["runs"][0]["results"][0]["ruleId"] == "verdict"


@given(text=TEXT)
@settings(max_examples=40, deadline=None)
def test_no_text_breaks_the_sarif(text: str) -> None:
    """Whatever a rule says, the log keeps its structure."""
    rule = make_rule("harm", f"trigger:{text}", Verdict.FAIL, reason=text)
    check_sarif(
        json.loads(sarif_json(make_eval_report(model_name=text, rules=(rule,), verdict=Verdict.FAIL)))
    )


def check_sarif(log: dict[str, Any]) -> None:
    """Assert what the standard's sections 3.13 to 3.52 require of the objects that are used here."""
    assert set(log) <= {"$schema", "version", "runs"}
    assert (log["version"], log["$schema"]) == ("2.1.0", SCHEMA)
    for run in log["runs"]:
        assert set(run) <= {
            "tool", "automationDetails", "invocations", "columnKind", "results", "properties",
        }  # fmt: skip
        driver = run["tool"]["driver"]
        assert driver["name"] and driver["version"]
        ids = [rule["id"] for rule in driver["rules"]]
        assert len(set(ids)) == len(ids)
        assert all(
            rule["shortDescription"]["text"] and rule["fullDescription"]["text"] for rule in driver["rules"]
        )
        assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
        assert re.fullmatch(r"[^/]+/.*/", run["automationDetails"]["id"], re.S)
        for invocation in run["invocations"]:
            assert isinstance(invocation["executionSuccessful"], bool)
            for moment in ("startTimeUtc", "endTimeUtc"):
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", invocation[moment])
        for result in run["results"]:
            assert result["message"]["text"]
            assert result["level"] in ("none", "note", "warning", "error")
            assert result["kind"] == "fail" or result["level"] == "none"
            assert ids[result["ruleIndex"]] == result["ruleId"]
            assert all(isinstance(v, str) for v in result["partialFingerprints"].values())
            for place in result["locations"]:
                assert re.fullmatch(
                    r"[A-Za-z0-9_.~/%-]+", place["physicalLocation"]["artifactLocation"]["uri"]
                )
                assert place["physicalLocation"]["region"]["startLine"] >= 1
                assert place["logicalLocations"][0]["fullyQualifiedName"]


def test_the_summary_shows_the_verdict_and_the_worst_first() -> None:
    """A heading with the verdict, a row a rule with those that did not pass first, and the reasons."""
    lines = job_summary(report(Verdict.UNDECIDED)).splitlines()

    assert lines[0] == "## Recert: test-model \u2014 \u26a0\ufe0f **undecided**"
    assert lines[2].startswith("| rule | condition |")
    assert lines[4].startswith("| harm | family:skeleton |")
    assert lines[4].endswith("**undecided** |")
    assert "- a reason" in lines


def test_a_large_summary_is_cut_and_says_so() -> None:
    """Thousands of rules stay far below the megabyte that a step may show, and the rest is counted."""
    rules = tuple(make_rule("harm", f"trigger:{n}" + "x" * 1_000) for n in range(1_000))
    summary = job_summary(make_eval_report(rules=rules, reasons=("y" * 5_000,) * 300))

    assert len(summary.encode()) < 200_000
    assert "and 800 rules more" in summary
    assert "and 280 reasons more" in summary


@given(text=TEXT)
@settings(max_examples=100, deadline=None)
def test_no_text_becomes_mark_up_in_the_summary(text: str) -> None:
    """Escaped text holds no character that begins mark-up, and is one line; the table keeps its columns."""
    escaped = plain(text)
    rule = make_rule("harm", f"trigger:{text}", Verdict.FAIL, reason=text)
    summary = job_summary(make_eval_report(model_name=text, rules=(rule,), verdict=Verdict.FAIL))
    rows = [line for line in summary.splitlines() if line.startswith("| harm")]

    assert not re.search(r"[\\`*_{}\[\]<>|~$@]|#(?!\d+;)|&(?!#\d+;)", escaped)
    assert len(escaped.splitlines()) <= 1
    assert [row.count("|") for row in rows] == [9]


def test_lines_hold_every_outcome_with_its_prompt(folder: Path, tmp_path: Path) -> None:
    """JSON lines are the outcomes in order, with the text of the suites that were given; harmful replies redacted."""
    source = EvaluationFolder.open(folder)
    write_lines(source, tmp_path / "x.jsonl", suites={"harmful": SUITES["harmful"]})
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]

    assert [x["prompt_id"] for x in lines] == [o.prompt_id for o in source.outcomes()]
    assert {x["prompt"][:7] for x in lines if x["suite"] == "harmful"} == {"harmful"}
    assert not any("prompt" in x for x in lines if x["suite"] == "ordinary")
    harmful = [x for x in lines if x["scores"].get("harm")]
    assert harmful
    assert all(x["reply"].startswith("[redacted") for x in harmful)


def test_harmful_replies_are_exported_for_their_owner_alone(folder: Path, tmp_path: Path) -> None:
    """With harmful replies the file has mode 0600 and holds them; without it is readable and does not."""
    for harmful, mode in ((True, 0o600), (False, 0o644)):
        path = tmp_path / f"{harmful}.jsonl"
        write_lines(EvaluationFolder.open(folder, with_harmful=harmful), path)
        replies = {
            x["reply"] for x in map(json.loads, path.read_text().splitlines()) if x["scores"].get("harm")
        }

        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert (AGREE in replies) is harmful


@pytest.mark.slow
def test_a_table_has_a_row_an_outcome_and_a_column_a_score(folder: Path, tmp_path: Path) -> None:
    """The frame, the batches and the Parquet file are the same rows; a score that was not given is null."""
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    from recert.interop.evaluations.frames import outcomes_frame, write_parquet

    table = outcomes_frame(folder, suites=SUITES)
    write_parquet(EvaluationFolder.open(folder), tmp_path / "x.parquet", suites=SUITES)
    rows, outcomes = table.to_pylist(), list(EvaluationFolder.open(folder).outcomes())

    assert parquet.read_table(tmp_path / "x.parquet").equals(table)
    assert [r["prompt_id"] for r in rows] == [o.prompt_id for o in outcomes]
    assert [r["score_harm"] for r in rows] == [o.scores.get("harm") for o in outcomes]
    assert [r["score_over_refusal"] for r in rows] == [o.scores.get("over_refusal") for o in outcomes]
    assert {r["category"] for r in rows if r["suite"] == "harmful"} == {f"c{i}" for i in range(6)}
    assert table.schema.field("safeguards").type == "list<element: string>" or rows[0]["safeguards"] == []


def test_the_example_reports_export(tmp_path: Path) -> None:
    """Reports with many rules, suites and categories go through every format of the report."""
    made = evaluation("poisoned", [0.97, 0.94, 0.95])

    assert ElementTree.fromstring(junit_xml(made)).get("failures") != "0"
    check_sarif(json.loads(sarif_json(made)))
    assert "**fail**" in job_summary(made)
