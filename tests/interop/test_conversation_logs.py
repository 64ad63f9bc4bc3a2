"""Conversations as Inspect logs: every turn, its scores, and nothing harmful unless asked for."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from attack_conversations import make_attack, make_conversation
from recert.cli.app import app
from recert.interop.evaluations.conversation_logs import write_conversation_logs
from recert.labs.attackers.report.attacking import CONVERSATIONS_FILE, write_conversations
from recert.labs.attackers.report.summary import attack_report
from recert.policy import load_policy
from recert.records.reports.attack_report import REPORT_FILE
from recert.store.files.writing import write_atomic

TALKS = [*make_attack(items=2, tuned_reached=1), make_conversation((0.0, None), item="open")]
REPORT = attack_report(TALKS, policy=load_policy("default"))


def read(path: Path) -> dict[str, dict]:
    """Return every member of a log."""
    with zipfile.ZipFile(path) as archive:
        return {name: json.loads(archive.read(name)) for name in archive.namelist()}


def test_a_sample_is_a_conversation(tmp_path: Path) -> None:
    """One log a model and set of safeguards; what is open is not scored, and harmful replies are left out."""
    paths = write_conversation_logs(REPORT, TALKS, tmp_path)
    logs = [read(path) for path in paths]
    alone = next(one for one in logs if one["header.json"]["eval"]["task"] == "attack-tuned")
    reached = alone["samples/item 0@strategist_epoch_1.json"]
    left_open = alone["samples/open@strategist_epoch_1.json"]

    assert len(paths) == 3
    assert [m["role"] for m in reached["messages"]] == ["system", *["user", "assistant"] * 3]
    assert reached["scores"]["reached"]["value"] == 1
    assert left_open["scores"]["harm"]["value"] != left_open["scores"]["harm"]["value"]
    assert alone["header.json"]["results"]["scores"][1]["unscored_samples"] == 1
    assert all("Sure, here is how" not in path.read_bytes().decode("latin-1") for path in paths)
    assert "Sure, here is how" not in json.dumps(logs)


def test_inspect_reads_them(tmp_path: Path) -> None:
    """Inspect's own reader takes the logs, with every message."""
    log = pytest.importorskip("inspect_ai.log", reason="the extra `inspect` is not installed")
    for path in write_conversation_logs(REPORT, TALKS, tmp_path):
        read_back = log.read_eval_log(str(path))

        assert read_back.status == "success"
        assert read_back.samples
        assert all(sample.messages for sample in read_back.samples)


def test_the_command_exports_an_attack(tmp_path: Path) -> None:
    """`recert export --as inspect` on the folder of an attack writes its logs, harmful ones for the owner alone."""
    write_atomic(tmp_path / REPORT_FILE, REPORT.to_json())
    write_conversations(tmp_path / CONVERSATIONS_FILE, TALKS)
    done = CliRunner().invoke(app, ["export", str(tmp_path), "--as", "inspect", "--with-harmful"])
    logs = list((tmp_path / "inspect").glob("*.eval"))

    assert done.exit_code == 0, done.output
    assert len(logs) == 3
    assert all(path.stat().st_mode & 0o077 == 0 for path in logs)
    assert any("Sure, here is how" in json.dumps(read(path)) for path in logs)
