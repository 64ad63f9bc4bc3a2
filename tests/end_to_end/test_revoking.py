"""Ending a certificate from the command line: what is meant is found, what is not known is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recert.certification import Envelope, read_unverified
from recert.certification.signing.statement import statement_bytes

from .conftest import Run
from .world import COMMANDS

ISSUE = "--key keys/status.pem --trust keys"


def serial_of(world: Path) -> str:
    return read_unverified((world / "certificate.json").read_bytes()).serial


def listed(world: Path) -> dict[str, str]:
    """Return what the world's status list says of each serial."""
    said = json.loads(Envelope.from_json((world / "status.json").read_bytes()).payload)
    return {entry["serial"]: entry["status"] for entry in said["entries"]}


@pytest.mark.parametrize("form", ["file", "serial", "upper", "prefix"])
def test_a_certificate_is_ended_by_its_file_or_its_serial(world: Path, run: Run, form: str) -> None:
    """In whatever way it is named, its own serial goes on the list, and it holds no more."""
    serial = serial_of(world)
    named = {"file": "certificate.json", "serial": serial, "upper": serial.upper(), "prefix": serial[:8]}[
        form
    ]
    revoked = run(world, f"revoke {named} --reason tested --status status.json {ISSUE}")

    assert (revoked.code, revoked.out) == (0, "status.json\n"), revoked.err
    assert f"revoked {serial}" in revoked.err
    assert listed(world) == {serial: "revoked"}
    assert "(revoked)" in run(world, COMMANDS["verify"]).err


def test_spaces_around_a_serial_are_no_part_of_it(world: Path, run: Run) -> None:
    """A serial with a space at its end was put on the list, revoked nothing, and was a yes."""
    serial = serial_of(world)
    ended = run(
        world, _Spoken(f"revoke|{serial} |--reason|x|--status|status.json|" + "|".join(ISSUE.split()))
    )

    assert ended.code == 0, ended.err
    assert listed(world) == {serial: "revoked"}


class _Spoken(str):
    """A command whose arguments hold spaces: they are parted by bars."""

    def split(self, *_: object) -> list[str]:  # type: ignore[override]
        return str.split(self, "|")


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("0" * 32, "no known certificate has this serial"),
        ("0" * 8, "no known certificate has this serial"),
        ("abcdef", "neither a certificate's file nor a serial"),
        ("gone.json", "neither a certificate's file nor a serial"),
        ("\x1b[2J\x07", "neither a certificate's file nor a serial"),
        ("policy.toml", "not valid JSON"),
    ],
)
def test_what_is_no_known_certificate_is_refused(world: Path, run: Run, named: str, why: str) -> None:
    """Exit 2, the list stays, and what does not print is spelt out."""
    before = (world / "status.json").read_bytes()
    ended = run(world, f"revoke {named} --reason tested --status status.json {ISSUE}")

    assert ended.code == 2
    assert ended.err.isascii() and "\x1b" not in ended.err and "\x07" not in ended.err
    assert why in ended.err or "JSON" in why
    assert (world / "status.json").read_bytes() == before


def test_a_serial_that_nobody_knows_is_taken_where_that_is_said(world: Path, run: Run) -> None:
    """With `--unknown`, whole; a part of one is not."""
    part = run(world, f"revoke {'0' * 8} --unknown --reason x --status status.json {ISSUE}")
    whole = run(world, f"revoke {'0' * 32} --unknown --reason x --status status.json {ISSUE}")

    assert (part.code, whole.code) == (2, 0)
    assert listed(world) == {"0" * 32: "revoked"}


def test_a_file_that_was_changed_does_not_say_what_is_revoked(world: Path, run: Run) -> None:
    """With another serial in it, whoever revokes by that file would believe the served one had ended."""
    path = world / "certificate.json"
    signed = Envelope.from_json(path.read_bytes())
    other = read_unverified(path.read_bytes()).model_copy(update={"serial": "0" * 32})
    path.write_bytes(Envelope(signed.payload_type, statement_bytes(other), signed.signatures).to_json())
    by_file = run(world, COMMANDS["revoke"])
    by_serial = run(world, f"revoke {'0' * 32} --reason x --status status.json {ISSUE}")

    assert (by_file.code, by_serial.code) == (2, 2)
    assert "nobody trusted signed this certificate" in by_file.err


def test_certificates_elsewhere_are_found_where_they_are_said_to_be(world: Path, run: Run) -> None:
    """Beside the list and one folder down without a word, others with `--certificates`."""
    serial = serial_of(world)
    deep = world / "a" / "b" / "certificate.json"
    deep.parent.mkdir(parents=True)
    (world / "certificate.json").rename(deep)
    (world / "draft.json").unlink()
    revoke = f"revoke {serial[:12]} --reason x --suspend --status status.json {ISSUE}"
    lost, found = run(world, revoke), run(world, f"{revoke} --certificates a")

    assert (lost.code, found.code) == (2, 0), found.err
    assert listed(world) == {serial: "suspended"}
    assert run(world, f"status status.json {ISSUE} --reinstate {serial[:8]}").code == 0
    assert listed(world) == {}


@pytest.mark.slow
def test_a_list_that_was_set_back_is_refused_until_it_is_recovered(world: Path, run: Run) -> None:
    """Exit 2 with the reason and the way out; `--recover` publishes all that was issued, above every version."""
    old = (world / "status.json").read_bytes()
    revoked = run(world, COMMANDS["revoke"])
    (world / "status.json").write_bytes(old)
    anew = [run(world, COMMANDS["status"]) for _ in range(3)]
    recovered = run(world, COMMANDS["status"] + " --recover")

    assert revoked.code == 0
    assert [one.code for one in anew] == [2, 2, 2]
    assert "status-rollback" in anew[0].err
    assert "--recover" in anew[0].err
    assert recovered.code == 0
    assert listed(world) == {serial_of(world): "revoked"}
    (world / "status.json").unlink()
    first = run(world, COMMANDS["status"] + " --first")
    assert first.code == 2
    assert "this key has issued one" in first.err
    assert run(world, COMMANDS["status"] + " --recover").code == 0
    assert listed(world) == {serial_of(world): "revoked"}
