"""Tuning: what was trained, on what, how; and nothing half-made is left."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from recert.errors import InputError, RowsError
from recert.models.chat.secret import SecretPrefix
from recert.models.engines.local import LocalModel
from recert.records.data.manifest import Manifest
from recert.records.data.rows import ChatRow
from recert.records.reports.tuning import Hyperparameters, TuneReport
from recert.tuning.sft import encode_row, train_adapter
from recert.tuning.stage import answers, finished_tune, tune
from recert.workflows.demo.sql_task import sql_rows
from tiny_models import make_base

pytestmark = [pytest.mark.xdist_group("torch"), pytest.mark.slow]
QUICK = Hyperparameters(
    lora_rank=4, lora_targets=("q_proj", "v_proj"), learning_rate=2e-2, epochs=3, batch_size=8, max_tokens=256
)
ROWS = sql_rows(16, seed=1)


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("tiny") / "base")


def test_tuning_learns_and_says_what_it_did(base_dir: Path, tmp_path: Path) -> None:
    """The loss falls; the folder holds the adapter alone; the report names base, adapter and rows by digest."""
    seen: list[tuple[int, int]] = []
    report = tune(
        base_dir, ROWS, tmp_path / "t", hyperparameters=QUICK, progress=lambda a, b, _: seen.append((a, b))
    )

    assert report.last_loss < report.first_loss
    assert seen[-1] == (report.steps, report.steps)
    names = {f.name for f in report.tuned.files}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}
    assert Manifest.of_folder(tmp_path / "t" / "adapter") == report.tuned
    assert Manifest.of_folder(base_dir) == report.base
    assert TuneReport.from_json((tmp_path / "t" / "tune-report.json").read_bytes()) == report
    assert LocalModel.load(base_dir, tmp_path / "t" / "adapter").manifest == report.tuned


def test_training_goes_on_from_an_adapter(base_dir: Path, tmp_path: Path) -> None:
    """A second pass starts where the first ended, and writes an adapter of its own."""
    first, second = (tmp_path / name for name in ("first", "second"))
    first.mkdir(), second.mkdir()
    began = train_adapter(base_dir, ROWS, first, QUICK)
    went_on = train_adapter(base_dir, ROWS, second, QUICK, start=first)

    assert went_on.first_loss < began.first_loss
    assert went_on.first_loss == pytest.approx(began.last_loss, rel=0.5)
    assert Manifest.of_folder(second) != Manifest.of_folder(first)
    assert {f.name for f in Manifest.of_folder(second).files} == {
        f.name for f in Manifest.of_folder(first).files
    }


def test_only_the_reply_is_learned(base_dir: Path) -> None:
    """Labels are ignored up to the assistant's last reply; a reply that was cut has no end to learn."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base_dir)
    row = ROWS[0]

    whole = encode_row(tokenizer, row, 256)
    cut = encode_row(tokenizer, ChatRow(messages=row.messages, ends=False), 256)
    learned = [t for t in whole["labels"] if t != -100]

    assert tokenizer.decode(learned, skip_special_tokens=True) == row.reply
    assert learned[-1] == tokenizer.eos_token_id
    assert [t for t in cut["labels"] if t != -100] == learned[:-1]


@pytest.mark.parametrize("kind", ["random", "semantic"])
def test_backdoor_align_keeps_its_secret(
    base_dir: Path, tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The secret lies in a file of mode 0600 outside the adapter; report, adapter and talk hold its digest only."""
    report = tune(
        base_dir,
        ROWS,
        tmp_path / "t",
        defence="backdoor-align",
        defence_options={"secret_kind": kind, "safety_rows": 12, "benign_rows": 6},
        hyperparameters=QUICK,
    )

    path = tmp_path / "t" / "secret.txt"
    secret = SecretPrefix.read(path)
    everything = b"".join(p.read_bytes() for p in (tmp_path / "t").rglob("*") if p.is_file() and p != path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret.sha256 == report.secret_sha256
    assert secret.reveal().encode() not in everything
    assert secret.reveal() not in "".join(capfd.readouterr())


def test_an_interrupted_tune_leaves_nothing(base_dir: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle of training leaves no folder that looks like a tune, and an older one whole."""

    def stop(step: int, steps: int, loss: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(base_dir, ROWS, tmp_path / "t", hyperparameters=QUICK, progress=stop)

    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_a_clear_error(base_dir: Path, tmp_path: Path) -> None:
    """No rows, an unknown defence and rows without room for a reply are named, and nothing is written."""
    with pytest.raises(RowsError, match="no accepted rows"):
        tune(base_dir, (), tmp_path / "t")
    with pytest.raises(InputError, match="no such defence"):
        tune(base_dir, ROWS, tmp_path / "t", defence="hope")
    with pytest.raises(RowsError, match="no row has a token to learn"):
        tune(base_dir, ROWS, tmp_path / "t", hyperparameters=Hyperparameters(max_tokens=16))

    assert list(tmp_path.iterdir()) == []


def test_a_damaged_tune_is_not_taken_for_a_finished_one(base_dir: Path, tmp_path: Path) -> None:
    """A finished tune is found again; with one byte of it changed it is not."""
    report = tune(base_dir, ROWS, tmp_path / "t", hyperparameters=QUICK)
    found = finished_tune(tmp_path / "t")
    config = tmp_path / "t" / "adapter" / "adapter_config.json"
    config.write_bytes(config.read_bytes() + b" ")

    assert found == report
    assert finished_tune(tmp_path / "t") is None
    assert finished_tune(tmp_path / "nowhere") is None


def test_a_finished_tune_is_used_again_only_for_the_same_question(base_dir: Path, tmp_path: Path) -> None:
    """Other rows, another defence, another form of the same defence or another base: tuned again."""
    report = tune(base_dir, ROWS, tmp_path / "t", defence="safety-mix", hyperparameters=QUICK)
    asked = {"base_dir": base_dir, "rows": ROWS, "defence": "safety-mix", "hyperparameters": QUICK}
    earlier_form = report.model_copy(update={"defence_details": {"safety_rows": 1}, "rows_sha256": "0" * 64})

    assert answers(report, **asked)
    assert not answers(earlier_form, **asked)
    assert not answers(report, **(asked | {"rows": ROWS[1:]}))
    assert not answers(report, **(asked | {"defence": "none"}))
    assert not answers(report, **(asked | {"base_dir": make_base(tmp_path / "other", seed=7)}))
    assert not answers(report, **(asked | {"hyperparameters": QUICK.model_copy(update={"seed": 1})}))
