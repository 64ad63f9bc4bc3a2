"""Sign-off on the command line: what is shown, who refuses, and what is never signed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recert.certification import Envelope, load_key
from recert.certification.envelope import sign
from recert.cli.printing import plain
from recert.digest import canonical_json
from recert.records import SignoffSheet
from recert.records.certificate import PAYLOAD_TYPE

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


def test_the_sheet_comes_before_the_signature(world: Path, run: Run) -> None:
    """What is signed, what is asked for and who is still to sign are all there, and as JSON too."""
    said = run(world, f"{APPROVE} --trust keys --json")
    sheet = SignoffSheet.from_json(said.out.encode())

    assert said.code == 0
    assert sheet.missing == sheet.unshown == ()
    for line in (*sheet.lines, *sheet.results):
        assert line.heading in said.err
    assert "[ ] to come" in said.err
    assert "signature of the approver" in said.err


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (APPROVE.replace(" --policy policy.toml", ""), 2, "the policy is not at hand"),
        (APPROVE.replace("policy.toml", "default"), 1, "under another policy"),
    ],
)
def test_what_cannot_be_shown_or_lacks_something_is_not_signed(
    world: Path, run: Run, command: str, code: int, words: str
) -> None:
    """Without the policy, or against it, `--yes` signs nothing."""
    before = files(world)
    said = run(world, command)

    assert said.code == code
    assert words in said.out + said.err
    assert files(world) == before


def test_a_certificate_of_a_later_version_is_not_signed(world: Path, run: Run) -> None:
    """A field that this version cannot show is a reason not to sign."""
    value = json.loads(Envelope.from_json((world / "draft.json").read_bytes()).payload)
    value["predicate"]["waives"] = "everything"
    payload = canonical_json(value)
    (world / "draft.json").write_bytes(
        sign(PAYLOAD_TYPE, payload, [load_key(world / "keys/evaluator.pem")]).to_json()
    )
    before = files(world)
    said = run(world, APPROVE)

    assert (said.code, files(world)) == (2, before)
    assert "a field that this version does not know: waives" in said.err


def test_what_does_not_print_is_spelt_out() -> None:
    """Nothing on a sheet moves the cursor, changes colours or turns letters round."""
    assert plain("a\x1b[2Kb\u202ec\u200bd\n\u00e4") == "a\\x1b[2Kb\\u202ec\\u200bd\n\u00e4"
