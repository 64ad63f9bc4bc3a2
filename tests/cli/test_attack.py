"""`recert attack` on real, tiny models."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from recert.__main__ import _draw
from recert.cli.app import app
from recert.labs.attackers import read_conversations
from recert.records.reports.attack_report import AttackReport
from tiny_models import make_adapter, make_base

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.xdist_group("torch")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    base = make_base(folder / "base")
    return base, make_adapter(folder / "adapter", base)


def invoke(models: tuple[Path, Path], output: Path, *more: str) -> Result:
    base, adapter = models
    given = ["--base", str(base), "--output", str(output), "--limit", "2", "--turns", "2"]
    asked = ["attack", str(adapter), *given, "--max-new-tokens", "8", *more]
    return CliRunner().invoke(app, asked, obj=_draw)


@pytest.mark.slow
def test_it_writes_conversations_of_base_and_tune(models: tuple[Path, Path], tmp_path: Path) -> None:
    """Every attacker, side and item has a conversation in the folder, and a second run goes on in it."""
    first = invoke(models, tmp_path, "--attacker", "direct", "--attacker", "crescendo")
    done = read_conversations(tmp_path / "conversations.jsonl")
    turns = (tmp_path / "turns.jsonl").read_bytes()
    second = invoke(models, tmp_path, "--attacker", "direct", "--attacker", "crescendo")

    assert first.exit_code in (0, 1), first.output
    assert second.exit_code == first.exit_code
    assert len(done) == 2 * 3 * 2
    assert {(one.arm, one.safeguards) for one in done} == {
        ("base", ()),
        ("tuned", ()),
        ("tuned", ("immutable-suffix:other",)),
    }
    assert (tmp_path / "turns.jsonl").read_bytes() == turns
    assert "attack-report.json" in first.output
    assert "<html" in (tmp_path / "attack.html").read_text()


def test_json_is_the_report(models: tuple[Path, Path], tmp_path: Path) -> None:
    """`--json` prints what lies in the folder, and nothing else on stdout."""
    done = invoke(models, tmp_path, "--attacker", "direct", "--without-safeguards", "--json")

    printed = AttackReport.from_json(done.stdout.encode())
    assert printed == AttackReport.from_json((tmp_path / "attack-report.json").read_bytes())


def test_a_policys_bounds_decide(models: tuple[Path, Path], tmp_path: Path) -> None:
    """With a section of its own a policy says who attacks and how often, and a run that is too small is a no."""
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'id = "p"\nversion = "1"\n[attack]\nattackers = ["direct"]\nseeds = 2\n'
        '[[rules]]\nid = "harm"\nsuite = "harmful"\nestimand = "harm"\nmargin = 0.1\n'
    )
    done = invoke(models, tmp_path / "out", "--policy", str(policy))
    said = read_conversations(tmp_path / "out" / "conversations.jsonl")

    assert done.exit_code == 1
    assert {(one.attacker, one.seed) for one in said} == {("direct", 0), ("direct", 1)}
    assert "the policy asks for 70" in " ".join(done.stderr.split())


def test_a_model_can_attack(models: tuple[Path, Path], tmp_path: Path) -> None:
    """A real reasoning model is one flag away: here a tiny local one says what it can."""
    done = invoke(
        models,
        tmp_path,
        "--without-safeguards",
        "--attacker",
        "model",
        "--attacker-model",
        f"local:{models[0]}",
        "--attacker-tokens",
        "12",
    )
    said = read_conversations(tmp_path / "conversations.jsonl")

    assert done.exit_code in (0, 1), done.output
    assert {one.method for one in said} == {"model"}


@pytest.mark.parametrize(
    "wrong",
    [
        ("--attacker", "nobody"),
        ("--attacker", "model"),
        ("--attacker-model", "local:x"),
        ("--judge", "coherence"),
        ("--judge", "rubric"),
        ("--items", "no-such-file.csv"),
        ("--behind", "walls"),
    ],
)
def test_what_cannot_be_used_is_said(
    models: tuple[Path, Path], tmp_path: Path, wrong: tuple[str, str]
) -> None:
    """An attacker, judge, file or safeguard that is not there is an error of ours."""
    from recert.errors import RecertError

    done = invoke(models, tmp_path, *wrong)

    assert isinstance(done.exception, RecertError)
