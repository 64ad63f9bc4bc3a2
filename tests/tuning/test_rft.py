"""Reinforcement tuning: what a grader pays becomes likelier, and only a grader that was accepted may pay."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from builders import NOW, SOME_SHA
from recert.errors import GraderError, InputError, RowsError
from recert.labs.graders import Grader, load_grader
from recert.models.engines.engines import folder_arms
from recert.records.data.rows import PromptRow
from recert.records.data.suite import Message
from recert.records.reports.grader import GraderReport, GraderVerdict
from recert.records.reports.tuning import Hyperparameters
from recert.tuning.rft import Rewards
from recert.tuning.stage import finished_tune, tune
from recert.workflows.demo.sql_task import sql_rows
from tiny_models import make_base

pytestmark = pytest.mark.xdist_group("torch")
HOW = Hyperparameters(
    method="lora-rft", lora_rank=4, learning_rate=5e-2, epochs=14, batch_size=8,
    rft_samples=4, rft_reply_tokens=12, rft_beta=0.0,
)  # fmt: skip
PROMPTS = tuple(
    PromptRow.model_validate(
        {"messages": [{"role": "user", "content": f"Say it {n} times."}], "letter": "e" if n % 2 else "E"}
    )
    for n in range(4)
)
PAYS_FOR_A_LETTER = """
def grade(sample, item):
    text = sample["output_text"].lower()
    return text.count(item["letter"].lower()) / max(1, len(text))
"""


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("tiny") / "base")


def grader_of(folder: Path, source: str) -> Grader:
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / "grader.json"
    path.write_text(json.dumps({"type": "python", "name": "letters", "source": source}))
    return load_grader(path)


def audit_of(grader: Grader, verdict: GraderVerdict = GraderVerdict.ACCEPTED) -> GraderReport:
    return GraderReport(
        grader_name=grader.name, grader_type="python", grader_sha256=grader.sha256, source_name="grader.json",
        policy_id="p", policy_sha256=SOME_SHA, verdict=verdict, reasons=(), harmful_requests=1,
        ordinary_requests=1, grades=8, failed=0, screened_at=NOW,
    )  # fmt: skip


@pytest.mark.slow
def test_what_is_paid_for_becomes_likelier(base_dir: Path, tmp_path: Path) -> None:
    """The report holds each step's mean reward, the grader's digest and its audit, and the adapter loads."""
    told: list[float] = []
    with grader_of(tmp_path, PAYS_FOR_A_LETTER) as grader:
        audit = audit_of(grader)
        report = tune(
            base_dir, PROMPTS, tmp_path / "t", hyperparameters=HOW, grader=grader, grader_report=audit,
            progress=lambda step, steps, reward: told.append(reward),
        )  # fmt: skip
    rewarded = report.rewarded
    base, tuned = folder_arms(base_dir, tmp_path / "t" / "adapter")

    assert rewarded is not None
    assert statistics.fmean(rewarded.rewards[-6:]) > 3 * statistics.fmean(rewarded.rewards[:6])
    assert told == pytest.approx(rewarded.rewards, abs=1e-6)
    assert (rewarded.grader_sha256, rewarded.grader_report_sha256) == (grader.sha256, audit.digest)
    assert (rewarded.grades, rewarded.failed) == (8 * report.steps, 0)
    assert report.tokens > 8 * report.steps
    assert finished_tune(tmp_path / "t") == report
    assert base.fingerprint() != tuned.fingerprint()


@pytest.mark.slow
@pytest.mark.parametrize("verdict", [GraderVerdict.QUARANTINED, GraderVerdict.UNDECIDED, None])
def test_a_grader_that_was_not_accepted_pays_nobody(
    base_dir: Path, tmp_path: Path, verdict: GraderVerdict | None
) -> None:
    """Nor does one that was audited under another digest; told to go on all the same, the report says so."""
    with (
        grader_of(tmp_path, PAYS_FOR_A_LETTER) as grader,
        grader_of(tmp_path / "o", "def grade(s, i): return 1") as other,
    ):
        given = audit_of(grader, verdict) if verdict else None
        for report in (given, audit_of(other)):
            with pytest.raises(GraderError, match="not accepted"):
                tune(
                    base_dir,
                    PROMPTS,
                    tmp_path / "t",
                    hyperparameters=HOW,
                    grader=grader,
                    grader_report=report,
                )
        assert not (tmp_path / "t").exists()
        once = HOW.model_copy(update={"epochs": 1})
        made = tune(
            base_dir, PROMPTS, tmp_path / "t", hyperparameters=once, grader=grader, grader_report=given,
            screening_overridden=True,
        )  # fmt: skip

    assert made.screening_overridden
    assert made.rewarded is not None
    assert made.rewarded.grader_report_sha256 is None


def test_a_grade_that_failed_is_paid_like_the_worst_of_its_prompt(tmp_path: Path) -> None:
    """Breaking the grader is never the way to be paid, and of a reasoning model the answer alone is graded."""
    source = """
def grade(sample, item):
    text = sample["output_text"]
    if text == "break":
        raise ValueError(text)
    return len(text)
"""
    with grader_of(tmp_path, source) as grader:
        rewards = Rewards(grader, PROMPTS, max_failed=0.5)
        paid = rewards.of(
            [0, 0, 0, 1, 1], ["four", "break", "<think>long thoughts</think>ab", "break", "break"]
        )

    assert paid == [4.0, 2.0, 2.0, 0.0, 0.0]
    assert (rewards.grades, rewards.failed) == (5, 3)


@pytest.mark.slow
def test_a_grader_that_fails_too_often_ends_the_tune_and_leaves_nothing(
    base_dir: Path, tmp_path: Path
) -> None:
    """The error says how often, and what went wrong last."""
    with (
        grader_of(tmp_path, "def grade(sample, item): raise KeyError('reference')") as grader,
        pytest.raises(GraderError, match="fails too often") as raised,
    ):
        tune(
            base_dir,
            PROMPTS,
            tmp_path / "t",
            hyperparameters=HOW,
            grader=grader,
            grader_report=audit_of(grader),
        )

    assert "32 of 32" in str(raised.value)
    assert "reference" in str(raised.value)
    assert not (tmp_path / "t").exists()


def test_rows_and_methods_that_do_not_go_together_are_refused(base_dir: Path, tmp_path: Path) -> None:
    """Rows with replies, prompts for SFT, no grader, one too many, a defence, and a batch of half a prompt."""
    odd = HOW.model_copy(update={"batch_size": 6})
    plain = HOW.model_copy(update={"method": "lora-sft"})
    with grader_of(tmp_path, PAYS_FOR_A_LETTER) as grader:
        audit = audit_of(grader)
        for problem, error, rows, how, more in (
            ("have some", RowsError, sql_rows(4, seed=1), HOW, {"grader": grader, "grader_report": audit}),
            ("no reply", RowsError, PROMPTS, plain, {}),
            ("learns from a grader", InputError, PROMPTS, HOW, {}),
            ("learns from a grader", InputError, sql_rows(4, seed=1), plain, {"grader": grader}),
            ("does not go with", InputError, PROMPTS, HOW, {"grader": grader, "defence": "lisa"}),
            ("whole number", InputError, PROMPTS, odd, {"grader": grader, "grader_report": audit}),
        ):
            with pytest.raises(error, match=problem):
                tune(base_dir, rows, tmp_path / "t", hyperparameters=how, **more)  # type: ignore[arg-type]

    assert not (tmp_path / "t").exists()


def test_a_prompt_waits_for_a_reply_and_keeps_what_the_grader_reads() -> None:
    """A row that ends with the assistant's is no prompt."""
    assert PROMPTS[1].item["letter"] == "e"
    assert PROMPTS[1].request == "Say it 1 times."
    with pytest.raises(ValueError, match="last message must be the user's"):
        PromptRow(messages=(Message(role="user", content="a"), Message(role="assistant", content="b")))
