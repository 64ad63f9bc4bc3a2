"""Sign-off on the command line: what is shown, who refuses, and what is never signed."""

from __future__ import annotations

from pathlib import Path

from .conftest import Run
from .world import COMMANDS, files

APPROVE = COMMANDS["approve"]


def test_a_refusal_is_recorded_shown_and_stops_the_certificate(world: Path, run: Run) -> None:
    """Refusing leaves the draft as it was; others see it first; verification says no until it is taken back."""
    draft = (world / "draft.json").read_bytes()
    said = run(world, f"{APPROVE} --refuse too-early")
    kept = (world / "draft.json").read_bytes()
    shown = run(world, APPROVE.replace("approver.pem", "evaluator.pem"))
    refused = run(world, COMMANDS["verify"])
    again = run(world, APPROVE)
    back = run(world, f"{APPROVE} --withdraw searched-again")
    after = run(world, COMMANDS["verify"])

    assert said.code == 0
    assert said.out.startswith("refusals/")
    assert shown.err.index("REFUSED") < shown.err.index("You are about to sign")
    assert "too-early" in shown.err
    assert kept == draft
    assert (refused.code, "(refused)" in refused.err) == (1, True)
    assert (again.code, "does not take that back" in again.err) == (2, True)
    assert back.code == 0
    assert after.code == 0


def test_an_unclear_answer_records_nothing(world: Path, run: Run) -> None:
    """Neither a refusal nor a signature is written where it is not clear which is meant."""
    before = files(world)

    assert run(world, f"{APPROVE} --refuse why --withdraw why").code == 2
    assert run(world, f"{APPROVE} --withdraw why").code == 2
    assert files(world) == before


def test_a_folder_of_refusals_that_was_given_must_be_there(world: Path, run: Run) -> None:
    """A misspelt folder is no answer, not a yes."""
    said = run(world, f"{COMMANDS['verify']} --refusals elsewhere")

    assert said.code == 2
    assert "no such folder of refusals" in said.err
