"""Everything a user can meet is in the docs."""

from __future__ import annotations

import re
from pathlib import Path

import typer

import recert.errors
from recert.cli.app import app
from recert.gateway.guardrail.requests import ROUTE as GUARDRAIL
from recert.gateway.protocol.routes import INSTEAD, ROUTES
from recert.records.every import RECORDS

ROOT = Path(__file__).parents[2]
SOURCE = "\n".join(p.read_text() for p in (ROOT / "src" / "recert").rglob("*.py"))
DOCS = "\n".join(
    p.read_text() for p in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "spec").glob("*.md")]
)


def _missing(names: set[str], form: str = "`{}`") -> set[str]:
    return {name for name in names if form.format(name) not in DOCS}


def test_every_setting_is_documented() -> None:
    """Every environment variable that the code reads is in the docs."""
    assert _missing(set(re.findall(r"\bRECERT_[A-Z_]+\b", SOURCE))) == set()


def test_every_error_is_documented() -> None:
    """Every error class that can reach a user is in the docs."""
    classes = {
        name
        for name, value in vars(recert.errors).items()
        if isinstance(value, type)
        and issubclass(value, recert.errors.RecertError)
        and not name.startswith("_")
    }

    assert _missing(classes) == set()


def test_every_command_is_documented() -> None:
    """Every command of `recert` has its section."""
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]

    assert commands
    assert _missing(commands, "## recert {}\n") == set()


def test_every_record_field_is_documented() -> None:
    """Every field of every record is in the docs."""
    assert _missing({field for record in RECORDS for field in record.model_fields}) == set()


def test_every_route_is_documented() -> None:
    """Every path that the gateway answers, or knows and refuses, is in the docs."""
    assert _missing({route.path for route in ROUTES} | set(INSTEAD) | {GUARDRAIL}) == set()


def test_every_link_between_pages_leads_somewhere() -> None:
    """A relative link in the docs names a file that exists."""
    pages = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text())
        if not (page.parent / target).exists()
    ]

    assert broken == []
