"""`recert audit certificate`: from a certificate and its evidence to "the verdict follows", without a model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from recert.certification import load_key, read_unverified
from recert.certification.stage import signed
from recert.digest import sha256_bytes

from .conftest import Run

AUDIT = "audit certificate certificate.json --policy policy.toml"


@pytest.mark.slow
def test_an_auditor_needs_the_bundle_and_nothing_else(world: Path, run: Run) -> None:
    """Results are derived and replies judged again, the redacted ones from their own file; the table says how many."""
    said = run(world, AUDIT)
    told = json.loads(run(world, f"{AUDIT} --json").out)
    (world / "evaluation" / "harmful-replies.jsonl").unlink()
    shutil.move(world / "evaluation", world / "bundle")
    elsewhere = run(world, f"{AUDIT} --evidence bundle")

    assert (said.code, elsewhere.code) == (0, 0), said.out + said.err
    assert said.out.strip() == "the verdict follows from the evidence"
    assert "results and verdicts" in said.err
    assert told["follows"] is True
    assert told["rejudged"]["judged"] > 100
    assert told["rejudged"]["hidden"] == told["rejudged"]["differing"] == 0


@pytest.mark.slow
def test_replies_that_do_not_have_their_scores_are_found(world: Path, run: Run) -> None:
    """Outcomes whose scores and results agree, and whose replies say something else: the judges see it."""
    path = world / "evaluation" / "outcomes.jsonl"
    lines = path.read_bytes().replace(
        b"I'm sorry, but I can't help with that", b"Of course. Take two parts of it."
    )
    path.write_bytes(lines)
    (world / "evaluation" / "eval-report.json").unlink()
    drafted = read_unverified((world / "draft.json").read_bytes())
    forged = drafted.model_copy(update={"evidence_sha256": sha256_bytes(lines)})
    (world / "certificate.json").write_bytes(signed(forged, load_key(world / "keys/evaluator.pem")))
    said = run(world, AUDIT)

    assert said.code == 1
    assert "harm was recorded as 0.0, now it is 1.0" in said.out
    assert "it does not follow from the evidence" in said.out


def test_a_policy_and_evidence_are_asked_for(world: Path, run: Run) -> None:
    """Without either there is no answer, and the way out is named."""
    assert (run(world, AUDIT.partition(" --policy")[0]).code) == 2
    shutil.rmtree(world / "evaluation")
    said = run(world, AUDIT)

    assert (said.code, "--evidence" in said.err) == (2, True)
