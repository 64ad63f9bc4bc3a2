"""The guide for auditors: its commands run as they stand, from a certificate and its evidence to the verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recert.certification import load_key
from recert.certification.signing.links import sign_link_of
from recert.records.reports.evaluation import EvalReport

from .conftest import Run
from .test_tutorial import ROOT, commands_of, run_commands

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "guides" / "audit.md"
AUDIT = "audit certificate certificate.json --policy policy.toml --trust keys"


def test_the_guide_works(world: Path) -> None:
    """Every command exits as announced and prints the lines that are shown."""
    steps = commands_of(PAGE)

    assert len(steps) == 5
    run_commands(steps, world)


def test_a_link_that_another_key_signed_is_named(world: Path, run: Run) -> None:
    """The evaluator's link replaced by a later one, or damaged, does not count; one that is not there is said."""
    path = world / "evaluation" / "evaluate.link.json"
    report = EvalReport.from_json((world / "evaluation" / "eval-report.json").read_bytes())
    whole = path.read_bytes()
    path.write_bytes(sign_link_of(report, load_key(world / "keys" / "evaluator.pem")))
    later = run(world, AUDIT)
    path.write_bytes(whole.replace(b'"sig":"', b'"sig":"AAAA', 1))
    broken = run(world, AUDIT)
    path.unlink()
    without = run(world, AUDIT)

    assert (later.code, "another link than the certificate names" in later.out) == (1, True), later.out
    assert broken.code == 1
    assert (without.code, "not at hand: evaluate" in " ".join(without.err.split())) == (0, True), without.err
    assert json.loads(run(world, f"{AUDIT} --json").out)["follows"] is True
