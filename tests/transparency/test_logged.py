"""Proofs that a certificate is in a log: what is refused, and that no loss makes a yes of a no."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import NOW
from recert.certification import Envelope, TrustStore, approve, generate_key, issue_status
from recert.certification.log.checking import (
    LogDemand,
    proof_path,
    read_demand,
    require_consistent,
    require_included,
)
from recert.certification.log.checkpoints import LogCheckpoint, read_checkpoint
from recert.certification.log.logged import log_checkpoint, log_envelope
from recert.certification.log.memory import NOTHING_SEEN
from recert.certification.log.proving import prove_consistent, prove_logged, require_both_of
from recert.digest import canonical_json, sha256_bytes
from recert.errors import InputError, RecordError, SigningKeyError, VerificationError
from recert.records.signed.transparency import LogEntry, LogProof, SeenTree
from recert.store.transparency.folder import ENTRIES, LogFolder, create_log
from transparency.conftest import ORIGIN, Logged, make_logged, strict_world


def test_a_logged_certificate_holds_with_its_proof(logged: Logged) -> None:
    """The proof is checked offline; what was seen of the log is handed on."""
    proof = logged.prove()
    verified = logged.verify(proof)

    assert proof.index == 4
    assert [(t.size, t.root_sha256) for t in verified.memory.logs[ORIGIN]][-1] == (
        7,
        LogCheckpoint.parse(proof.checkpoint.encode()).root.hex(),
    )
    assert {t.size for t in verified.memory.logs[ORIGIN]} == {3, 7}
    assert LogProof.from_json(proof.to_json()).to_json() == proof.to_json()


def test_logging_is_required_by_the_policy_or_by_who_asks(logged: Logged) -> None:
    """Then nothing else than a proof makes a yes; without either none is needed."""
    strict = strict_world(logged)

    assert logged.world.verify().certificate.serial
    assert logged.refusal(None) == "not-logged"
    assert strict.world.refusal().reason == "not-logged"
    assert strict.verify(strict.prove()).certificate.serial
    assert strict.refusal(logged.prove()) == "not-logged"


def test_a_policy_can_ask_for_witnesses(logged: Logged) -> None:
    """As many trusted witnesses as it says must have cosigned, by the time that it is."""
    strict = strict_world(logged, log_witnesses=1)
    bare = strict.prove()
    checkpoint = LogCheckpoint.parse(bare.checkpoint.encode()).cosigned(strict.witness, now=NOW)
    witnessed = bare.model_copy(update={"checkpoint": checkpoint.to_bytes().decode()})
    early = LogCheckpoint.parse(bare.checkpoint.encode()).cosigned(
        strict.witness, now=NOW + timedelta(hours=1)
    )
    untrusted = TrustStore([k.public for k in (*strict.world.keys.values(), strict.log_key)])

    assert strict.refusal(bare) == "too-few-witnesses"
    assert strict.verify(witnessed).memory.latest_at == NOW
    assert (
        strict.refusal(bare.model_copy(update={"checkpoint": early.to_bytes().decode()}))
        == "too-few-witnesses"
    )
    assert strict.refusal(witnessed, trust=untrusted) == "too-few-witnesses"


def test_every_refusal_has_its_reason(logged: Logged, tmp_path: Path) -> None:
    """Steps L2 to L6 of the specification, each by a proof that fails there."""
    proof = logged.prove()
    stranger = generate_key(tmp_path / "x.pem", "log", "example.com/else")
    entry = LogEntry.from_json(proof.leaf.encode())
    others = prove_logged(logged.folder, logged.world.status or b"")
    unsigned = TrustStore([k.public for k in logged.world.keys.values()])
    checkpoint = LogCheckpoint.parse(proof.checkpoint.encode())
    cut = proof.checkpoint.partition("\n\n")[0] + "\n"

    def changed(**fields: Any) -> LogProof:
        return proof.model_copy(update=fields)

    assert logged.refusal(b"{}") == "proof-malformed"
    assert logged.refusal(b"x" * 5_000_000) == "proof-malformed"
    assert logged.refusal(changed(leaf=" " + proof.leaf)) == "proof-malformed"
    assert logged.refusal(changed(schema_version=2)) == "proof-malformed"
    assert logged.refusal(changed(checkpoint=cut)) == "checkpoint-malformed"
    assert logged.refusal(proof, trust=unsigned) == "checkpoint-untrusted"
    assert (
        logged.refusal(
            changed(
                checkpoint=checkpoint.note.signed_by("z", stranger).to_bytes().decode().replace(ORIGIN, "z")
            )
        )
        == "checkpoint-untrusted"
    )
    assert logged.refusal(others) == "not-logged"
    assert (
        logged.refusal(changed(leaf=entry.model_copy(update={"serial": "0" * 32}).to_json().decode()))
        == "not-logged"
    )
    assert (
        logged.refusal(changed(leaf=entry.model_copy(update={"kind": "refusal"}).to_json().decode()))
        == "not-logged"
    )
    assert (
        logged.refusal(
            changed(leaf=entry.model_copy(update={"logged_at": NOW - timedelta(1)}).to_json().decode())
        )
        == "not-in-log"
    )
    assert logged.refusal(changed(index=3)) == "not-in-log"
    assert logged.refusal(changed(path=proof.path[1:])) == "not-in-log"


def test_a_status_list_can_be_proven_too(logged: Logged) -> None:
    """Whatever is in a log has a proof, which holds for it and for nothing else."""
    status, world = logged.world.status or b"", logged.world
    proof = prove_logged(logged.folder, status).to_json()
    asked: dict[str, Any] = {"trust": world.trust, "memory": NOTHING_SEEN, "now": NOW}
    newer = issue_status(status, key=world.keys["status"], trust=world.trust, validity_hours=24, now=NOW)

    assert require_included(status, proof, **asked).logs[ORIGIN][-1].size == 7
    assert _why(lambda: require_included(newer, proof, **asked)) == "not-logged"
    assert _why(lambda: require_included(world.envelope, proof, **asked)) == "not-logged"
    assert _why(lambda: require_included(status, proof, witnesses=1, **asked)) == "too-few-witnesses"
    with pytest.raises(RecordError):
        require_included(b"{}", proof, **asked)


def test_another_signature_makes_another_envelope(logged: Logged) -> None:
    """A certificate is logged with all of its signatures: one that somebody added later is not the one in the log."""
    more = Envelope.from_json(logged.world.envelope).signed_by(logged.world.keys["trainer"]).to_json()

    assert logged.world.verify(envelope=more).certificate.serial
    assert logged.refusal(logged.prove(), envelope=more) == "not-logged"
    with pytest.raises(InputError, match="does not hold"):
        prove_logged(logged.folder, more)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every part of a JSON value is."""
    inner = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    return [place for key, part in inner for place in [(*path, key), *_places(part, (*path, key))]]


def _without(value: Any, place: tuple[Any, ...]) -> Any:
    made = json.loads(json.dumps(value))
    holder = made
    for key in place[:-1]:
        holder = holder[key]
    del holder[place[-1]]
    return made


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_loss_from_a_proof_makes_a_yes_of_a_no(shared: Logged, data: st.DataObject) -> None:
    """
    For a verifier that remembers and one that does not, and for a proof that is good and several that are not: taking
    any part out of it, or any line out of its checkpoint, never turns a refusal into a yes.
    """
    good = shared.prove().to_value()
    spoilt = data.draw(
        st.sampled_from(
            [
                {},
                {"index": 3},
                {"path": good["path"][::-1]},
                {"earlier": []},
                {"earlier": [{**good["earlier"][0], "root_sha256": "ab" * 32}]},
                {"checkpoint": good["checkpoint"].replace("\n7\n", "\n6\n")},
            ]
        )
    )
    value = good | spoilt
    seen = shared.verify(shared.prove()).memory
    some = seen.model_copy(update={"logs": {ORIGIN: seen.logs[ORIGIN][:1]}})
    fork = seen.model_copy(update={"logs": {ORIGIN: (SeenTree(size=5, root_sha256="ab" * 32),)}})
    memory = data.draw(st.sampled_from([{}, {"memory": seen}, {"memory": some}, {"memory": fork}]))
    before = _says(shared, canonical_json(value), memory)
    lines = value["checkpoint"].splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1))
    cut = [
        _without(value, data.draw(st.sampled_from(_places(value)))),
        value | {"checkpoint": "".join(lines[:at] + lines[at + 1 :])},
    ]

    unlinked = memory.get("memory") == fork or (memory.get("memory") == some and "earlier" in spoilt)
    assert (before == "yes") == (set(spoilt) <= {"earlier"} and not unlinked)
    for less in cut:
        assert before == "yes" or _says(shared, canonical_json(less), memory) != "yes"


def _says(shared: Logged, proof: bytes, memory: dict[str, Any]) -> str:
    try:
        shared.verify(proof, **memory)
    except VerificationError as exc:
        return exc.reason
    return "yes"


@pytest.mark.slow
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=300, deadline=None)
def test_a_damaged_proof_is_refused_or_says_the_same(shared: Logged, place: float, bit: int) -> None:
    """One flipped bit is refused with VerificationError, or the proof still is of this certificate in this log."""
    damaged = bytearray(shared.prove().to_json())
    damaged[int(place * len(damaged))] ^= 1 << bit
    whole = shared.verify(shared.prove()).memory.logs
    try:
        verified = shared.verify(bytes(damaged))
    except VerificationError:
        return

    assert set(verified.memory.logs[ORIGIN]) <= set(whole[ORIGIN])
    assert verified.memory.logs[ORIGIN][-1] == whole[ORIGIN][-1]


@pytest.mark.slow
@given(
    data=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(["leaf", "index", "path", "checkpoint", "earlier", "schema_version"]), x
            )
        ),
    ).map(lambda v: json.dumps(v).encode())
)
@settings(max_examples=150, deadline=None)
def test_anything_else_is_no_proof(shared: Logged, data: bytes) -> None:
    """Whatever bytes are given as a proof, the answer is a reason and no other error."""
    assert _says(shared, data, {}) == "proof-malformed"


def test_a_log_that_was_set_back_or_forked_is_refused(logged: Logged, tmp_path: Path) -> None:
    """A verifier that saw a checkpoint takes only what goes on from it, or what it saw to lead to it."""
    old = logged.prove()
    first = logged.verify(old).memory
    logged.more(3)
    newer = logged.prove()
    memory = logged.verify(newer, memory=first).memory
    unlinked = newer.model_copy(update={"earlier": ()})
    fork = make_logged(tmp_path / "fork")
    forked = fork.prove().model_copy(update={"checkpoint": old.checkpoint})
    trust = TrustStore([*(k.public for k in fork.world.keys.values()), fork.log_key.public])

    assert {t.size for t in memory.logs[ORIGIN]} == {3, 7, 10}
    assert logged.verify(old, memory=memory).memory.logs == memory.logs
    assert logged.refusal(unlinked, memory=first) == "log-unlinked"
    assert fork.refusal(forked) == "checkpoint-untrusted"
    assert fork.refusal(fork.prove(), memory=first, trust=trust) == "log-equivocation"
    fork.more(9)
    assert fork.refusal(fork.prove(), memory=first, trust=trust) == "log-unlinked"
    without = memory.model_copy(update={"logs": {ORIGIN: memory.logs[ORIGIN][-1:]}})
    assert logged.refusal(old, memory=without) == "log-rollback"


def test_a_proof_can_begin_where_a_verifier_is(logged: Logged) -> None:
    """Who remembers what is no longer among the latest sixteen checkpoints asks for a proof from there."""
    memory = logged.verify(logged.prove()).memory
    for _ in range(18):
        logged.more(1)

    assert logged.refusal(logged.prove(), memory=memory) == "log-unlinked"
    assert logged.verify(logged.prove(earlier=[7]), memory=memory).memory.logs[ORIGIN][-1].size == 25


def test_what_was_signed_is_logged_once_and_covered_by_a_checkpoint_later(logged: Logged) -> None:
    """Appending again gives the same entry; a proof waits for the next checkpoint."""
    decision = logged.world.certify()
    assert decision.envelope is not None
    first = log_envelope(logged.folder, decision.envelope, now=NOW)
    again = log_envelope(logged.folder, decision.envelope, now=NOW)
    with pytest.raises(InputError, match="no checkpoint covers"):
        prove_logged(logged.folder, decision.envelope)
    signed = log_checkpoint(logged.folder, logged.log_key)

    assert (first.index, first.added) == (7, True)
    assert (again.index, again.added) == (7, False)
    assert signed.size == 8
    assert prove_logged(logged.folder, decision.envelope).index == 7


def test_entries_say_what_was_signed(logged: Logged) -> None:
    """Kind, serial and version come from what was signed; what is no envelope of ours is refused."""
    with LogFolder(logged.folder) as log:
        status, certificate = (LogEntry.from_json(log.leaf(i)) for i in (3, 4))
    odd = Envelope("application/x", b"{}", Envelope.from_json(logged.world.envelope).signatures)
    refusal = Envelope("application/vnd.recert.refusal+json", b'{"serial":"s"}', odd.signatures)
    index = log_envelope(logged.folder, refusal.to_json(), now=NOW).index
    with LogFolder(logged.folder) as log:
        refused = LogEntry.from_json(log.leaf(index))

    assert (status.kind, status.version, status.serial) == ("status-list", 1, "")
    assert (certificate.kind, certificate.serial) == (
        "certificate",
        logged.world.verify().certificate.serial,
    )
    assert (refused.kind, refused.serial) == ("refusal", "s")
    for data in (
        b"",
        b"{}",
        odd.to_json(),
        Envelope("application/vnd.recert.x+json", b"[]", odd.signatures).to_json(),
    ):
        with pytest.raises(RecordError):
            log_envelope(logged.folder, data, now=NOW)


def test_a_log_is_not_gone_on_with_when_it_does_not_meet_its_checkpoint(logged: Logged) -> None:
    """Nothing is appended to, signed for or proven from a log that lost or changed what was signed."""
    with pytest.raises(SigningKeyError):
        log_checkpoint(logged.folder, logged.witness)
    data = (logged.folder / ENTRIES).read_bytes()
    for name in ("offsets", "hashes"):
        (logged.folder / name).unlink()
    (logged.folder / ENTRIES).write_bytes(b"".join(data.splitlines(keepends=True)[:5]))
    for attempt in (
        lambda: log_envelope(logged.folder, logged.world.envelope),
        lambda: log_checkpoint(logged.folder, logged.log_key),
        logged.prove,
    ):
        with pytest.raises(RecordError, match="shorter than its checkpoint"):
            attempt()
    (logged.folder / ENTRIES).write_bytes(data)
    with LogFolder(logged.folder, write=True) as log:
        serial = LogEntry.from_json(log.leaf(1)).serial.encode()
    for name in ("offsets", "hashes"):
        (logged.folder / name).unlink()
    (logged.folder / ENTRIES).write_bytes(data.replace(serial, b"0" * 32))
    with pytest.raises(RecordError, match="not what was signed"):
        log_checkpoint(logged.folder, logged.log_key)


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_no_change_of_the_log_proves_what_was_not_in_it(shared: Logged, data: st.DataObject) -> None:
    """Entries taken out, changed or put in after a checkpoint give no proof of another certificate, nor spoil one."""
    entries = (shared.folder / ENTRIES).read_bytes()
    lines = entries.splitlines(keepends=True)
    other = approve(shared.world.envelope, shared.world.keys["approver"])
    more = Envelope.from_json(other).signed_by(shared.world.keys["trainer"]).to_json()
    entry = (
        LogEntry.from_json(lines[4][:-1]).model_copy(update={"sha256": sha256_bytes(more)}).to_json() + b"\n"
    )
    at = data.draw(st.integers(0, len(lines) - 1))
    kept = data.draw(st.sampled_from([lines[:at], [*lines[:at], *lines[at + 1 :]], lines]))
    place = data.draw(st.integers(0, len(kept)))
    put = data.draw(st.sampled_from([[], [entry]]))
    quick = {name: (shared.folder / name).read_bytes() for name in ("offsets", "hashes")}
    try:
        (shared.folder / ENTRIES).write_bytes(b"".join([*kept[:place], *put, *kept[place:]]))
        if data.draw(st.booleans()):
            for name in quick:
                (shared.folder / name).unlink()
        logged, never = _proven(shared, shared.world.envelope), _proven(shared, more)
    finally:
        (shared.folder / ENTRIES).write_bytes(entries)
        for name, bytes_ in quick.items():
            (shared.folder / name).write_bytes(bytes_)

    assert never == "no proof"
    assert logged in ("no proof", "yes")
    assert _proven(shared, shared.world.envelope) == "yes"


def _proven(shared: Logged, envelope: bytes) -> str:
    """What a verifier says of the proof that the log gives."""
    try:
        proof = prove_logged(shared.folder, envelope).to_json()
    except (RecordError, InputError):
        return "no proof"
    try:
        shared.verify(proof, envelope=envelope)
    except VerificationError as exc:
        return exc.reason
    return "yes of another" if envelope != shared.world.envelope else "yes"


def test_two_checkpoints_are_compared(logged: Logged, tmp_path: Path) -> None:
    """Of one log they agree, by a proof or a copy; two trees of one size, or a tree that begins otherwise, are told."""
    at, trust = NOW, logged.world.trust
    first = read_checkpoint((logged.folder / "checkpoint").read_bytes(), trust=trust, now=at)
    logged.more(4)
    second = read_checkpoint((logged.folder / "checkpoint").read_bytes(), trust=trust, now=at)
    proof = prove_consistent(logged.folder, first)
    fork = tmp_path / "fork"
    create_log(fork, ORIGIN)
    other = Logged(logged.world, fork, logged.log_key, logged.witness)
    other.more(7)
    same_size = log_checkpoint(fork, logged.log_key)
    other.more(4)
    longer = log_checkpoint(fork, logged.log_key)

    require_consistent(first, first, None)
    require_consistent(first, second, proof)
    require_both_of(logged.folder, first, second)
    assert _why(lambda: require_consistent(first, second, None)) == "log-unlinked"
    assert _why(lambda: require_consistent(first, same_size, None)) == "log-equivocation"
    assert _why(lambda: require_consistent(first, longer, proof)) == "log-unlinked"
    assert (
        _why(lambda: require_consistent(first, longer, prove_consistent(fork, same_size)))
        == "log-equivocation"
    )
    assert _why(lambda: require_both_of(fork, first, longer)) == "log-equivocation"
    assert _why(lambda: require_both_of(logged.folder, first, longer)) == "log-unlinked"
    with pytest.raises(RecordError, match="does not go on"):
        prove_consistent(fork, first)


def _why(attempt: Any) -> str:
    with pytest.raises(VerificationError) as caught:
        attempt()
    return caught.value.reason


def test_a_proof_beside_the_certificate_is_read_where_it_is_needed(logged: Logged, tmp_path: Path) -> None:
    """One that lies there changes nothing where none is asked for, so that removing it never helps."""
    certificate = tmp_path / "certificate.json"
    strict = strict_world(logged)
    nothing = read_demand(certificate, policy=strict.world.policy)
    proof_path(certificate).write_bytes(b"proof")

    assert proof_path(certificate).name == "certificate.log-proof.json"
    assert nothing == LogDemand(None, required=True)
    assert read_demand(certificate, policy=strict.world.policy) == LogDemand(b"proof", required=True)
    assert read_demand(certificate, policy=None) == LogDemand(None, required=False)
    assert read_demand(certificate, policy=None, required=True) == LogDemand(b"proof", required=True)
    assert read_demand(certificate, policy=None, proof=proof_path(certificate)) == LogDemand(
        b"proof", required=True
    )
