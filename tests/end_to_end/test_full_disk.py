"""A disk that is full in the middle of writing: exit 2, and no half of an output, an old file or a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from disks import full_disk
from recert.certification import TrustStore, load_key, read_status, revoke
from recert.errors import StoreError
from recert.records.record import now
from recert.store.audit.log import AuditLog, verify_log
from recert.tuning.stage import finished_tune

from .conftest import Run
from .world import COMMANDS, endpoint, files


@pytest.mark.parametrize(
    ("command", "limit_bytes"),
    [
        ("keygen", 0),
        ("keygen", 150),  # the private half fits, the public half does not
        ("certify", 500),
        ("approve", 500),
        ("renew", 500),
        ("revoke", 100),
        ("status", 100),
    ],
)
def test_nothing_new_and_nothing_lost_on_a_full_disk(
    world: Path, run: Run, command: str, limit_bytes: int
) -> None:
    """A certificate, status list or key that cannot be written whole is not there, and an old one stays."""
    before = files(world)

    with full_disk(limit_bytes):
        ended = run(world, COMMANDS[command])

    assert (ended.code, ended.out) == (2, "")
    assert "File too large" in ended.err
    assert files(world) == before


@pytest.mark.slow
def test_screening_leaves_no_report_without_its_rows(world: Path, run: Run) -> None:
    """Where the accepted rows do not fit there is no report that names them."""
    with full_disk(1000):
        ended = run(world, COMMANDS["screen"])

    assert (ended.code, ended.out) == (2, "")
    assert "cannot write file" in ended.err
    assert not [p for p in (world / "out").iterdir() if p.stat().st_size]


def test_a_gateway_without_room_for_its_log_does_not_start(world: Path, run: Run) -> None:
    """No log, no service; with room again the log is taken up as if nothing had been."""
    with full_disk(0):
        ended = run(world, COMMANDS["serve"])

    assert (ended.code, ended.out) == (2, "")
    assert "cannot open the audit log" in ended.err
    AuditLog(world / "audit.jsonl").close()
    assert verify_log(world / "audit.jsonl") == 0


def listing(world: Path) -> dict[str, str]:
    """Return what the world's status list says of each serial."""
    trust = TrustStore.load(world / "keys")
    listed = read_status((world / "status.json").read_bytes(), trust=trust, now=now())
    return {entry.serial: entry.status for entry in listed.entries}


@pytest.mark.slow
def test_a_report_that_cannot_be_written_keeps_no_suspension_up(world: Path, run: Run) -> None:
    """A watch suspends on the newest list, what was revoked meanwhile included, and then writes its report."""

    def revoke_another(_: bytes) -> int:
        if "4567" * 8 not in listing(world):
            path, key = world / "status.json", load_key(world / "keys" / "status.pem")
            trust = TrustStore.load(world / "keys")
            path.write_bytes(
                revoke(path.read_bytes(), "4567" * 8, "meanwhile", key=key, trust=trust, validity_hours=1)
            )
        return 404

    (world / "out.json").mkdir()
    with endpoint(revoke_another) as url:
        ended = run(world, COMMANDS["watch"].replace("http://127.0.0.1:9", url))
    listed = listing(world)

    assert (ended.code, ended.out) == (2, "")
    assert "cannot write file" in ended.err
    assert sorted(listed.values()) == ["revoked", "suspended"]
    assert "(suspended)" in run(world, COMMANDS["verify"]).err


@pytest.mark.slow
@pytest.mark.xdist_group("torch")
def test_an_evaluation_that_cannot_be_written_is_none(tiny: Path, run: Run) -> None:
    """
    Without room for the private copy of the base or for the replies, or later for the evidence, there is no report;
    with room there is one.
    """
    with full_disk(16_000):
        no_replies = run(tiny, COMMANDS["evaluate"])
    assert not (tiny / "out").exists()
    whole = run(tiny, COMMANDS["evaluate"])
    (tiny / "out").rename(tiny / "whole")
    with full_disk(50_000):
        no_evidence = run(tiny, COMMANDS["evaluate"])

    assert [no_replies.code, no_evidence.code] == [2, 2]
    full = (
        "cannot open the cache of replies",
        "cannot write the cache of replies",
        "cannot make the private copy",  # it may be there from before
    )
    assert any(words in no_replies.err for words in full)
    # another attempt asks in another order, so it may already lack the room for a reply
    assert any(words in no_evidence.err for words in ("cannot write file", *full))
    assert whole.code in (0, 1)
    assert (tiny / "whole" / "eval-report.json").exists()
    assert not (tiny / "out" / "eval-report.json").exists()


@pytest.mark.slow
@pytest.mark.xdist_group("torch")
def test_a_tune_without_room_for_its_adapter_is_none(tiny: Path, run: Run) -> None:
    """An adapter that does not fit leaves no tune, nor anything hidden beside it, and an old one whole."""
    first = run(tiny, COMMANDS["tune"])
    before = files(tiny)
    with full_disk(60_000):
        again = run(tiny, COMMANDS["tune"] + " --seed 1")

    assert (first.code, again.code) == (0, 2)
    assert "cannot write the adapter" in again.err
    assert files(tiny) == before
    assert finished_tune(tiny / "out") is not None


@pytest.mark.xdist_group("torch")
def test_a_base_without_room_is_not_merged(tiny: Path) -> None:
    """The aligned base is made in one piece or not at all, whichever of its files does not fit."""
    from recert.models.embedded import merge_adapter

    for limit_bytes in (100, 10_000, 60_000):
        with full_disk(limit_bytes), pytest.raises(StoreError, match="cannot write"):
            merge_adapter(tiny / "base", tiny / "tuned", tiny / "made" / "merged")

    assert list((tiny / "made").iterdir()) == []
