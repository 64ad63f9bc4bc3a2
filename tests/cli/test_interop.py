"""`recert import`, `recert compare` and `recert export`: exit codes, data on stdout, talk on stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recert.evaluation.interop.imports import import_results
from recert.records import Comparison, ImportedResults


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
