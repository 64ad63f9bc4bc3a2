"""The guide to the root of trust: its commands run as they stand, and print what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from recert.certification import load_key
from recert.records.record import now
from trust_roots import make_key, make_root, signed_root, write_chain

from .conftest import Run
from .test_tutorial import ROOT, commands_of, run_commands
from .world import COMMANDS

PAGE = ROOT / "docs" / "guides" / "trust.md"


@pytest.mark.slow
def test_the_guide_works(tmp_path: Path) -> None:
    """Every command exits as announced and prints the lines that are shown."""
    steps = commands_of(PAGE)

    assert len(steps) > 12
    run_commands(steps, tmp_path)


@pytest.mark.slow
def test_a_certificate_is_verified_under_a_root_of_trust(world: Path, run: Run) -> None:
    """Under a folder of `.pub` files `verify` and `approve` say that it is unsafe; under a root they do not."""
    root = make_key("root", "Ada")
    keys = [
        load_key(world / "keys" / f"{role}.pem") for role in ("evaluator", "approver", "trainer", "status")
    ]
    write_chain(world / "trust", [signed_root(make_root([root], keys, issued_at=now()), [root])])
    unsafe, safe = (
        run(world, COMMANDS["verify"].replace("--trust keys", f"--trust {at}")) for at in ("keys", "trust")
    )
    asked = [run(world, f"{COMMANDS['approve']} --trust {at}") for at in ("keys", "trust")]

    assert (unsafe.code, "recert trust init" in unsafe.err) == (0, True)
    assert (safe.code, safe.out, "unsafe" in safe.err) == (0, unsafe.out, False)
    assert [(said.code, "unsafe trust store" in said.err) for said in asked] == [(0, True), (0, False)]


def test_what_a_root_does_not_sign_for_is_no_yes(world: Path, run: Run) -> None:
    """A root that was edited is a no with its reason, whatever keys lie beside it."""
    root = make_key("root", "Ada")
    keys = [load_key(world / "keys" / f"{role}.pem") for role in ("evaluator", "approver", "status")]
    write_chain(
        world / "keys", [signed_root(make_root([root], keys, issued_at=now()), [make_key("root", "Ada")])]
    )
    said = run(world, COMMANDS["verify"])

    assert (said.code, said.out, "(root-unsigned)" in said.err) == (1, "", True)
