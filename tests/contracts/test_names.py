"""One word per idea: a stage's verb is its function, its command, its docs page and its test folder."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import typer

from recert.cli.app import app

ROOT = Path(__file__).parents[2]
STAGES = {
    "screening": ("screen",),
    "tuning": ("tune",),
    "evaluation": ("evaluate",),
    "certification": ("certify", "approve", "verify", "renew", "revoke"),
    "gateway": ("serve",),
    "monitoring": ("watch",),
}
VERBS = [(stage, verb) for stage, verbs in STAGES.items() for verb in verbs]


def _public_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


@pytest.mark.parametrize(("stage", "verb"), VERBS)
def test_the_verb_is_a_function_of_the_stage(stage: str, verb: str) -> None:
    """Every stage has a `stage.py`, to be read first, and offers its verbs there or as a package."""
    package = ROOT / "src" / "recert" / stage
    first = _public_names(package / "stage.py")

    assert STAGES[stage][0] in first
    assert verb in first | _public_names(package / "__init__.py")


@pytest.mark.parametrize(("stage", "verb"), VERBS)
def test_the_verb_is_a_command(stage: str, verb: str) -> None:
    """Every stage can be run by its verb from the command line."""
    assert verb in typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize(("stage", "verb"), VERBS)
def test_the_verb_has_its_docs(stage: str, verb: str) -> None:
    """Every verb has its section in the command reference, and is spoken of on a page of concepts."""
    concepts = "\n".join(page.read_text() for page in (ROOT / "docs" / "concepts").glob("*.md"))

    assert f"## recert {verb}\n" in (ROOT / "docs" / "reference" / "commands.md").read_text()
    assert f"`{verb}`" in concepts or f"`recert {verb}`" in concepts


@pytest.mark.parametrize("stage", STAGES)
def test_the_stage_has_its_tests(stage: str) -> None:
    """Every stage has a folder of tests."""
    assert list((ROOT / "tests" / stage).glob("test_*.py"))


@pytest.mark.parametrize(("stage", "verb"), VERBS)
def test_a_package_never_has_the_name_of_its_verb(stage: str, verb: str) -> None:
    """`from recert.screening import screen` cannot hide a module: packages are nouns, verbs are functions."""
    assert not (ROOT / "src" / "recert" / verb).exists()
    assert not (ROOT / "src" / "recert" / stage / f"{verb}.py").exists() or stage == "certification"
