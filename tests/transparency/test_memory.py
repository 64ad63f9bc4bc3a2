"""What a verifier remembers of status lists, signed times and logs, and refuses because of it."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import NOW
from certification.conftest import World, make_world
from recert.certification import Envelope, Presented, TrustStore, Verifier, generate_key, revoke
from recert.certification.log.memory import ProcessMemory
from recert.certification.log.memory_file import MemoryFile, read_memory
from recert.certification.signing.envelope import sign
from recert.errors import RecordError, StoreError, VerificationError
from recert.records.signed.certificate import STATUS_PAYLOAD_TYPE, StatusList
from recert.records.signed.transparency import SeenStatus, SeenTree, VerifierMemory


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def listed(world: World, key: str = "status", **changes: Any) -> bytes:
    """The world's status list, with other values, signed by one of its keys."""
    assert world.status is not None
    old = StatusList.from_json(Envelope.from_json(world.status).payload)
    return sign(STATUS_PAYLOAD_TYPE, old.model_copy(update=changes).to_json(), [world.keys[key]]).to_json()


def test_a_status_list_that_was_set_back_is_refused(world: World) -> None:
    """What was revoked stays so for whoever saw the list; the newer list goes on with the same id."""
    assert world.status is not None
    newer = revoke(
        world.status, "a" * 32, "x", key=world.keys["status"], trust=world.trust, validity_hours=24, now=NOW
    )
    memory = world.verify(status=newer).memory
    ids = {StatusList.from_json(Envelope.from_json(data).payload).list_id for data in (world.status, newer)}

    assert len(ids) == 1
    assert [s.version for s in memory.status_lists.values()] == [2]
    assert world.refusal(memory=memory).reason == "status-rollback"
    assert world.verify(status=newer, memory=memory).status_version == 2


def test_a_list_that_is_held_back_ends_by_itself(world: World) -> None:
    """Freeze: showing the last list for ever stops service when it expires, and not before."""
    memory = world.verify().memory

    assert world.verify(now=NOW + timedelta(hours=23, minutes=59), memory=memory).status_version == 1
    assert world.refusal(now=NOW + timedelta(hours=24), memory=memory).reason == "status-expired"


def test_two_lists_of_one_version_are_noticed(world: World) -> None:
    """A second list with a version that was seen, and other content, is refused whoever signed it."""
    memory = world.verify().memory

    assert world.refusal(status=listed(world, issued_at=NOW - timedelta(hours=1)), memory=memory).reason == (
        "status-equivocation"
    )


def test_a_list_implausibly_far_ahead_is_refused(world: World) -> None:
    """A stolen key cannot make every true list look old in one step; true lists rise by one."""
    memory = world.verify().memory
    hour = NOW + timedelta(hours=1)

    assert world.refusal(status=listed(world, version=2**50), memory=memory).reason == "status-fast-forward"
    assert world.refusal(status=listed(world, version=1002), memory=memory).reason == "status-fast-forward"
    assert world.verify(status=listed(world, version=1001), memory=memory).status_version == 1001
    later = listed(world, version=4601, issued_at=hour)
    assert world.verify(status=later, memory=memory, now=hour).status_version == 4601
    assert world.refusal(
        status=listed(world, version=4602, issued_at=hour), memory=memory, now=hour
    ).reason == ("status-fast-forward")
    assert world.refusal(
        status=listed(world, version=1002, issued_at=NOW - timedelta(days=1)), memory=memory
    ).reason == ("status-fast-forward")


def test_a_stolen_key_takes_its_versions_with_it(world: World, tmp_path: Path) -> None:
    """Recovery from a fast-forward: out of the trust store with the key, and a new key's list counts at any version."""
    stolen = listed(world, version=900)
    memory = world.verify(status=stolen).memory
    fresh = generate_key(tmp_path / "fresh.pem", "status", "New")
    keys = [k.public for role, k in world.keys.items() if role != "status"]
    without = TrustStore([*keys, fresh.public])
    issued = listed(World(**(vars(world) | {"keys": {**world.keys, "fresh": fresh}})), key="fresh", version=5)
    both = TrustStore([*keys, fresh.public, world.keys["status"].public])
    after = world.verify(status=issued, trust=without, memory=memory)

    assert world.refusal(status=issued, trust=both, memory=memory).reason == "status-rollback"
    assert after.status_version == 5
    assert world.refusal(status=stolen, trust=without, memory=after.memory).reason == "status-untrusted"
    assert world.refusal(status=listed(world), trust=both, memory=after.memory).reason == "status-rollback"


def test_a_list_of_before_there_were_ids_counts_no_more(world: World) -> None:
    """Certificates name their list: one without an id is not it, and is older than any with an id by its key."""
    old = listed(world, list_id=None, version=7)

    assert world.refusal(status=old).reason == "status-other-list"
    assert world.refusal(status=old, memory=world.verify().memory).reason == "status-rollback"


def test_lists_of_one_issuer_are_told_apart(world: World) -> None:
    """The versions of one list say nothing of another's, which ends no certificate of this one."""
    memory = ProcessMemory(world.verify(status=listed(world, version=50)).memory)
    other = listed(world, list_id="0" * 32)
    verifier = Verifier(trust=world.trust, status=other, memory=memory)

    with pytest.raises(VerificationError) as caught:
        verifier.read(Presented(world.envelope), now=NOW)

    assert caught.value.reason == "status-other-list"
    assert sorted(s.version for s in memory.read().status_lists.values()) == [1, 50]


def test_a_clock_that_was_moved_back_is_noticed(world: World) -> None:
    """No certificate lives again by setting the clock to when it did, once a later signed time was believed."""
    later = NOW + timedelta(hours=20)
    status = listed(world, version=2, issued_at=later, expires_at=later + timedelta(hours=24))
    memory = world.verify(status=status, now=later).memory

    assert memory.latest_at == later
    assert world.verify(status=status, now=later - timedelta(minutes=5), memory=memory).status_version == 2
    assert world.refusal(
        status=status, now=later - timedelta(minutes=5, seconds=1), memory=memory
    ).reason == ("clock-behind")
    assert world.refusal(now=NOW, memory=memory).reason == "clock-behind"


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_remembering_more_never_makes_a_yes_of_a_no(shared_world: World, data: st.DataObject) -> None:
    """
    What is accepted with a memory is accepted with none, so that only forgetting can help, and a refusal changes
    nothing that is remembered.
    """
    world = shared_world
    seen: VerifierMemory = VerifierMemory()
    for _ in range(data.draw(st.integers(1, 4))):
        version = data.draw(st.sampled_from([1, 2, 3, 900, 5000]))
        hours = data.draw(st.sampled_from([0, 1, 12]))
        status = listed(world, version=version, issued_at=NOW + timedelta(hours=hours))
        now = NOW + timedelta(hours=data.draw(st.sampled_from([0, 1, 12, 23])))
        with_memory, without = (_memory_after(world, status, now, m) for m in (seen, VerifierMemory()))
        if with_memory is not None:
            assert without is not None
            before = {k: s.version for k, s in seen.status_lists.items()}
            assert all(with_memory.status_lists[k].version >= v for k, v in before.items())
            assert seen.latest_at is None or (with_memory.latest_at or NOW) >= seen.latest_at
            seen = with_memory


def _memory_after(world: World, status: bytes, now: Any, memory: VerifierMemory) -> VerifierMemory | None:
    try:
        return world.verify(status=status, now=now, memory=memory).memory
    except VerificationError:
        return None


def some_memory(version: int = 3, logs: Sequence[int] = (4, 9)) -> VerifierMemory:
    """A memory with something of everything."""
    trees = tuple(SeenTree(size=size, root_sha256="ab" * 32) for size in logs)
    known = SeenStatus(version=version, issued_at=NOW, sha256="cd" * 32, key_ids=("ef" * 32,))
    return VerifierMemory(latest_at=NOW, status_lists={"0" * 32: known}, logs={"example.com/models": trees})


def test_a_memory_is_kept_between_runs_for_its_owner_only(tmp_path: Path) -> None:
    """It reads as it was written, in mode 0600; nothing is remembered where there is no file."""
    path = tmp_path / "cache" / "seen.json"
    nothing = read_memory(path)
    MemoryFile(path).keep(lambda now: some_memory())

    assert nothing == VerifierMemory()
    assert read_memory(path) == some_memory()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_another_process_saw_meanwhile_is_not_lost(tmp_path: Path) -> None:
    """Where the file changed, it is decided again with what is in it now; a refusal then writes nothing."""
    path = tmp_path / "seen.json"
    asked: list[VerifierMemory] = []

    def ours(now: VerifierMemory) -> VerifierMemory:
        asked.append(now)
        if len(asked) == 1:  # another process writes after this one has read
            MemoryFile(path).keep(lambda before: some_memory(3))
        return some_memory(5)

    MemoryFile(path).keep(ours)

    def refuse(now: VerifierMemory) -> VerifierMemory:
        raise VerificationError("status-rollback", "older")

    with pytest.raises(VerificationError):
        MemoryFile(path).keep(refuse)

    assert asked == [VerifierMemory(), some_memory(3)]
    assert read_memory(path) == some_memory(5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'{"schema_version":2}',
        b'{"logs":{"a":[{"size":1}]}}',
        b'{"latest_at":"yesterday"}',
        b'{"a":1,"a":1}',
    ],
)
def test_a_damaged_memory_is_no_new_beginning(tmp_path: Path, data: bytes) -> None:
    """What cannot be read is an error and not an empty memory."""
    path = tmp_path / "seen.json"
    path.write_bytes(data)

    with pytest.raises(RecordError, match="cannot be read"):
        read_memory(path)


@given(place=st.floats(0, 1, exclude_max=True), count=st.integers(0, 400), put=st.binary(max_size=2))
@settings(max_examples=200, deadline=None)
def test_no_loss_or_change_of_what_was_seen_goes_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, place: float, count: int, put: bytes
) -> None:
    """Bytes cut out of the file, put into it, or all of it gone: an error, or the same memory."""
    path = tmp_path_factory.getbasetemp() / "changed" / "seen.json"
    if not path.exists():
        MemoryFile(path).keep(lambda now: some_memory())
    whole = path.read_bytes()
    at = int(place * len(whole))
    try:
        path.write_bytes(whole[:at] + put + whole[at + count :])
        try:
            said = read_memory(path)
        except RecordError:
            said = some_memory()
        path.unlink()
        with pytest.raises(RecordError, match="is gone"):
            read_memory(path)
    finally:
        path.write_bytes(whole)

    assert said == some_memory()


def test_a_memory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """What cannot be remembered is no yes."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreError):
        MemoryFile(tmp_path / "file" / "seen.json").keep(lambda now: some_memory())
