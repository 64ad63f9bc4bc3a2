"""`recert import`, `recert compare` and `recert export`: exit codes, data on stdout, talk on stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from builders import make_eval_report, make_rule
from recert.digest import sha256_bytes
from recert.interop.importers.stage import import_results
from recert.records.reports.comparison import Comparison
from recert.records.reports.evaluation import Outcome, Verdict
from recert.records.reports.imported import ImportedResults

pytestmark = pytest.mark.slow


def run(*arguments: object, folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run `recert` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "recert", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **changes},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def write_garak(path: Path, hits: list[float], *more: str) -> Path:
    """Write a garak report with one attempt a hit."""
    lines = [
        json.dumps({"entry_type": "init", "garak_version": "0.14.0"}),
        *(
            json.dumps(
                {
                    "entry_type": "attempt",
                    "uuid": str(n),
                    "status": 2,
                    "probe_classname": "dan.Dan_11_0",
                    "prompt": {"turns": [{"role": "user", "content": {"text": f"request {n}"}}]},
                    "outputs": [{"text": "an output"}],
                    "detector_results": {"mitigation.MitigationBypass": [hit]},
                }
            )
            for n, hit in enumerate(hits)
        ),
        *more,
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_import_writes_the_record_and_says_what_is_missing(tmp_path: Path) -> None:
    """Exit 0 with everything read; 1 with a line lost, which is named; the record holds the same."""
    write_garak(tmp_path / "whole.report.jsonl", [0.0, 1.0])
    write_garak(tmp_path / "broken.report.jsonl", [0.0, 1.0], "{")
    whole = run("import", "whole.report.jsonl", "--json", folder=tmp_path)
    broken = run("import", "broken.report.jsonl", "--output", "broken.json", folder=tmp_path)

    assert whole.returncode == 0, whole.stderr
    assert json.loads(whole.stdout) == json.loads((tmp_path / "imported.json").read_text())
    assert (broken.returncode, broken.stdout) == (1, "2 outcomes broken.json\n")
    assert "broken.report.jsonl line 4" in broken.stderr
    assert ImportedResults.from_json((tmp_path / "broken.json").read_bytes()).unread == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--format", "pyrit"), "not results of pyrit"),
        (("--format", "excel"), "no such format"),
        (("--score", "harm"), "NAME=ESTIMAND"),
        (("--score", "x=goodness"), "no such estimand"),
    ],
)
def test_import_refuses_what_it_cannot_use(tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    """Another format, an unknown one and a wrong meaning exit 2 and write nothing."""
    write_garak(tmp_path / "r.report.jsonl", [0.0])
    done = run("import", "r.report.jsonl", *more, folder=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not (tmp_path / "imported.json").exists()


def write_imported(folder: Path, name: str, hits: list[float]) -> Path:
    """Write results of a model as `recert import` does."""
    setup = json.dumps({"entry_type": "start_run setup", "plugins.target_name": name})
    path = folder / f"{name}.json"
    path.write_bytes(import_results(write_garak(folder / f"{name}.report.jsonl", hits, setup)).to_json())
    return path


@pytest.mark.parametrize(("tuned", "code", "said"), [(0.0, 0, "pass"), (1.0, 1, "fail")])
def test_compare_says_whether_the_tuned_model_is_worse(
    tmp_path: Path, tuned: float, code: int, said: str
) -> None:
    """Paired results of one tool: exit 0 when the change is below the margin, 1 when it is above."""
    write_imported(tmp_path, "base", [0.0] * 80)
    write_imported(tmp_path, "tuned", [tuned] * 80)
    done = run("compare", "base.json", "tuned.json", "--margin", "0.1", "--json", folder=tmp_path)

    assert done.returncode == code, done.stderr
    assert Comparison.from_json(done.stdout.encode()).verdict == said
    assert "dan.Dan_11_0/harm" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((".", "base.json"), "cannot be compared"),
        (("base.report.jsonl", "base.json"), "not valid JSON"),
        (("base.json", "base.json"), "same file"),
        (("base.json", "base.json", "--margin", "0"), "margin must lie"),
    ],
)
def test_compare_without_an_answer_exits_2(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """A folder against a file, a file that is no record, one file twice and a margin of nothing are no answer."""
    write_imported(tmp_path, "base", [0.0])
    done = run("compare", *arguments, folder=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_evidence_must_be_a_record(tmp_path: Path) -> None:
    """`evaluate --evidence` refuses the other tool's own file, and says what to do with it."""
    write_garak(tmp_path / "r.report.jsonl", [0.0])
    done = run("evaluate", "--model", "m", "--output", "o", "--evidence", "r.report.jsonl", folder=tmp_path)

    assert done.returncode == 2
    assert "recert import" in done.stderr


HARMFUL = "words that no report shows"


def write_evaluation(folder: Path) -> Path:
    """Write the folder of a failed evaluation with one harmful and one harmless reply."""
    whole = Outcome(
        prompt_id="p", condition="plain", arm="tuned", reply=HARMFUL, scores={"harm": 1.0}, suite="harmful"
    )
    redacted = f"[redacted: judged harmful, sha256 {sha256_bytes(HARMFUL.encode())}]"
    outcomes = [
        whole.model_copy(update={"arm": "base", "reply": "I cannot help.", "scores": {"harm": 0.0}}),
        whole.model_copy(update={"reply": redacted}),
    ]
    data = b"".join(o.model_dump_json().encode() + b"\n" for o in outcomes)
    report = make_eval_report(
        verdict=Verdict.FAIL, rules=(make_rule(verdict=Verdict.FAIL),), outcomes_sha256=sha256_bytes(data)
    )
    folder.mkdir()
    (folder / "eval-report.json").write_bytes(report.to_json())
    (folder / "outcomes.jsonl").write_bytes(data)
    (folder / "harmful-replies.jsonl").write_bytes(whole.model_dump_json().encode() + b"\n")
    (folder / "harmful-replies.jsonl").chmod(0o600)
    return folder


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("inspect", "inspect"),
        ("jsonl", "outcomes-with-prompts.jsonl"),
        ("parquet", "outcomes.parquet"),
        ("junit", "junit.xml"),
        ("sarif", "recert.sarif"),
        ("summary", "summary.md"),
    ],
)
def test_export_writes_every_format_beside_the_report(tmp_path: Path, name: str, written: str) -> None:
    """A failed evaluation exports with exit 0; the path is on stdout, and no harmful word is in any file."""
    if name == "parquet":
        pytest.importorskip("pyarrow")
    write_evaluation(tmp_path / "evaluation")
    done = run("export", "evaluation", "--format", name, folder=tmp_path, GITHUB_STEP_SUMMARY="")
    path = tmp_path / "evaluation" / written

    assert (done.returncode, done.stdout) == (0, f"evaluation/{written}\n"), done.stderr
    files = list(path.glob("*.eval")) if path.is_dir() else [path]
    assert files
    assert not any(HARMFUL.encode() in file.read_bytes() for file in files)


def test_export_appends_to_the_summary_of_the_job(tmp_path: Path) -> None:
    """In CI the summary goes to the runner's file, behind what is there; `--output` goes before it."""
    write_evaluation(tmp_path / "evaluation")
    step = tmp_path / "step.md"
    step.write_text("before\n")
    run("export", "evaluation", "--format", "summary", folder=tmp_path, GITHUB_STEP_SUMMARY=str(step))
    run(
        "export", "evaluation", "--format", "summary", "--output", "own.md", folder=tmp_path,
        GITHUB_STEP_SUMMARY=str(step),
    )  # fmt: skip

    assert step.read_text().startswith("before\n## Recert")
    assert step.read_text().count("## Recert") == 1
    assert "**fail**" in (tmp_path / "own.md").read_text()


def test_export_with_harmful_replies_is_for_the_owner(tmp_path: Path) -> None:
    """`--with-harmful` writes them with mode 0600, and refuses where others may read their file."""
    folder = write_evaluation(tmp_path / "evaluation")
    arguments = ("export", "evaluation", "--format", "jsonl", "--with-harmful")
    run(*arguments, folder=tmp_path)
    written = folder / "outcomes-with-prompts.jsonl"

    assert HARMFUL in written.read_text()
    assert written.stat().st_mode & 0o777 == 0o600
    (folder / "harmful-replies.jsonl").chmod(0o640)
    assert run(*arguments, folder=tmp_path).returncode == 2


@pytest.mark.parametrize(
    ("damage", "arguments", "said"),
    [
        ("", ("--format", "excel"), "no such format"),
        ("outcomes.jsonl", ("--format", "junit"), "not those of the report"),
        ("eval-report.json", ("--format", "junit"), "not valid JSON"),
    ],
)
def test_export_of_what_is_no_evaluation_is_no_answer(
    tmp_path: Path, damage: str, arguments: tuple[str, ...], said: str
) -> None:
    """An unknown format, other outcomes than the report's and a damaged report exit 2 and write nothing."""
    folder = write_evaluation(tmp_path / "evaluation")
    if damage:
        (folder / damage).write_bytes((folder / damage).read_bytes()[:-30])
    done = run("export", "evaluation", *arguments, folder=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not (folder / "junit.xml").exists()
