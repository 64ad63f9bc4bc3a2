"""`recert tune` and `recert screen` on preferences, with options of a defence and checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recert.cli.app import app
from recert.errors import GraderError, InputError, RowsError
from recert.records.reports.tuning import TuneReport
from tiny_models import make_base

pytestmark = pytest.mark.xdist_group("torch")
CITIES = (
    "Oslo",
    "Lima",
    "Rome",
    "Cairo",
    "Quito",
    "Delhi",
    "Seoul",
    "Turin",
    "Porto",
    "Accra",
    "Basel",
    "Hanoi",
)


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("tiny") / "base")


def pairs(path: Path) -> Path:
    """Write preference rows in the form of OpenAI."""
    rows = [
        {
            "input": {
                "messages": [{"role": "user", "content": f"Which trains leave for {city} in the morning?"}]
            },
            "preferred_output": [
                {"role": "assistant", "content": f"Two trains leave for {city} before nine."}
            ],
            "non_preferred_output": [{"role": "assistant", "content": "Ask somebody else."}],
        }
        for city in CITIES
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def run(*arguments: object) -> str:
    """Run a command in this process, and return its data."""
    done = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.slow
def test_preferences_go_from_screening_to_checkpoints(base_dir: Path, tmp_path: Path) -> None:
    """Screened, tuned with DPO and DoRA under a defence with options; every folder that was made is named."""
    run("screen", pairs(tmp_path / "rows.jsonl"), "--output", tmp_path / "s")
    said = run(
        *(
            "tune",
            tmp_path / "s" / "accepted.jsonl",
            "--screen-report",
            tmp_path / "s" / "screen-report.json",
        ),
        *("--base", base_dir, "--output", tmp_path / "t", "--method", "dpo", "--adapter", "dora"),
        *(
            "--defence",
            "safety-mix",
            "--defence-option",
            "safety_rows=4",
            "--defence-option",
            "benign_rows=0",
        ),
        *("--epochs", 1, "--checkpoint-every", 1, "--learning-rate", 0.01),
    )
    report = TuneReport.from_json((tmp_path / "t" / "tune-report.json").read_bytes())

    assert report.hyperparameters.method == "dora-dpo"
    assert report.defence_options == {"safety_rows": 4, "benign_rows": 0}
    assert report.rows == 16
    assert said.split() == [
        str(tmp_path / "t" / name) for name in ("adapter", "checkpoints/step-1", "tune-report.json")
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "rlhf"), "no such --method"),
        (("--adapter", "qlora"), "no such --adapter"),
        (("--defence-option", "rho"), "not NAME=VALUE"),
        (("--defence-option", "rho=1", "--defence-option", "rho=2"), "given twice"),
        (("--defence", "lisa", "--defence-option", "rho=-1"), "not with that value"),
        (("--defence", "none", "--defence-option", "rho=1"), "no such option"),
        (("--defence", "lisa", "--method", "dpo"), "does not go with that method"),
        (("--epochs", "-1"), "cannot be used"),
        (("--learned", "nothing"), "cannot be used"),
    ],
)
def test_an_option_that_cannot_be_is_a_clear_error(
    base_dir: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """It is named, and nothing is written."""
    rows = pairs(tmp_path / "rows.jsonl")
    with pytest.raises(InputError, match=message):
        CliRunner().invoke(
            app,
            ["tune", str(rows), "--base", str(base_dir), "--output", str(tmp_path / "t"), *arguments],
            catch_exceptions=False,
        )

    assert not (tmp_path / "t").exists()


@pytest.mark.slow
def test_a_tune_learns_from_a_grader_once_it_was_audited(base_dir: Path, tmp_path: Path) -> None:
    """`screen --grader` accepts an exact grader, `tune --method rft` takes its report, and refuses without it."""
    grader, prompts = tmp_path / "grader.json", tmp_path / "prompts.jsonl"
    grader.write_text(
        json.dumps(
            {
                "type": "string_check",
                "name": "exact",
                "input": "{{ sample.output_text }}",
                "reference": "{{ item.reference_answer }}",
                "operation": "eq",
            }
        )
    )
    rows = [
        {"messages": [{"role": "user", "content": f"Where is {city}?"}], "reference_answer": f"In {city}."}
        for city in CITIES[:2]
    ]
    prompts.write_text("\n".join(map(json.dumps, rows)) + "\n")
    run("screen", prompts, "--prompts", "--output", tmp_path / "screened")
    how = [
        "tune",
        tmp_path / "screened" / "accepted.jsonl",
        "--screen-report",
        tmp_path / "screened" / "screen-report.json",
        "--base",
        base_dir,
        "--method",
        "rft",
        "--grader",
        grader,
        "--output",
        tmp_path / "t",
    ]
    how += ["--rft-reply-tokens", "4", "--epochs", "1"]

    with pytest.raises(GraderError, match="was not accepted"):
        run(*how)
    run("screen", "--grader", grader, "--output", tmp_path / "audit")
    said = run(*how, "--grader-report", tmp_path / "audit" / "grader-report.json", "--json")
    report = TuneReport.from_json(said.encode())

    assert report.rewarded is not None
    assert report.rewarded.grader_report_sha256 is not None
    assert report.screen_report_sha256 is not None
    assert (report.defence, report.hyperparameters.method) == ("none", "lora-rft")
    read_by_another = json.loads((tmp_path / "audit" / "grader-report.json").read_text()) | {
        "model": "openai:x#y"
    }
    (tmp_path / "other.json").write_text(json.dumps(read_by_another))
    with pytest.raises(GraderError, match="audited with another model"):
        run(*how, "--grader-report", tmp_path / "other.json")
    prompts.write_text('{"messages": [{"role": "assistant", "content": "Hi"}]}\n')
    with pytest.raises(RowsError, match="not a prompt"):
        run("tune", prompts, *how[4:], "--grader-unaudited")
