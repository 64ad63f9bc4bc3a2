"""Decide whether a certificate is in a log. The step numbers are those of `spec/verification.md`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from recert.certification.log.checkpoints import LogCheckpoint, read_checkpoint
from recert.certification.log.logged import entry_of
from recert.certification.log.memory import follow, remember
from recert.certification.trust.store import TrustStore
from recert.errors import RecordError, VerificationError
from recert.policy import Policy
from recert.records.signed.transparency import ConsistencyProof, LogEntry, LogProof, VerifierMemory
from recert.store.files.writing import read_bytes
from recert.store.transparency.merkle import is_consistent, is_included, leaf_hash

_MOST_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True)
class LogDemand:
    """
    What is asked of a certificate's being logged.

    Args:
        proof: a file of `recert log prove`; one that is given must hold.
        required: without a proof the answer is no, whatever the policy says.
    """

    proof: bytes | None = None
    required: bool = False


NOTHING_ASKED: Final = LogDemand()
"""No proof, and none required but by the policy."""


def proof_path(certificate: Path) -> Path:
    """Return where a certificate's proof lies by default: `NAME.log-proof.json` beside it."""
    return certificate.with_suffix(".log-proof.json")


def read_demand(
    certificate: Path,
    *,
    policy: Policy | str | None,
    proof: Path | None = None,
    required: bool = False,
) -> LogDemand:
    """
    Return what is asked of a certificate's being logged, with the proof from a file.

    Args:
        certificate: the certificate's file.
        policy: a whole one may require a proof.
        proof: the proof's file; by default, and only where one is required, that beside the certificate.
        required: whether there must be one, whatever the policy says.

    Raises:
        StoreError: a proof that was given cannot be read.
    """
    needed = required or (isinstance(policy, Policy) and policy.certification.logged)
    path = proof or (proof_path(certificate) if needed and proof_path(certificate).exists() else None)
    return LogDemand(
        read_bytes(path, "proof of a log") if path else None, required=needed or proof is not None
    )


def require_logged(
    envelope: bytes,
    serial: str,
    demand: LogDemand,
    *,
    policy: Policy | str | None,
    trust: TrustStore,
    memory: VerifierMemory,
    now: datetime,
) -> VerifierMemory:
    """
    Return the memory afterwards, when a certificate is logged as is asked for: steps L1 to L7.

    Args:
        envelope: the certificate's, with all its signatures.
        serial: the certificate's.
        demand: the proof, and whether there must be one.
        policy: a whole one may require it, and witnesses.
        trust: whose checkpoints count.
        memory: what was seen before.
        now: the time.

    Raises:
        VerificationError: `not-logged`, `proof-malformed`, `checkpoint-malformed`, `checkpoint-untrusted`,
            `too-few-witnesses`, `not-in-log`, `log-equivocation`, `log-rollback` or `log-unlinked`.
    """
    rules = policy.certification if isinstance(policy, Policy) else None
    # L1
    if demand.proof is None:
        if demand.required or (rules is not None and rules.logged):
            raise VerificationError(
                "not-logged",
                "nothing shows that the certificate is in a log",
                facts={"serial": serial},
                hint="get a proof from whoever runs the log: recert log prove",
            )
        return memory
    return require_included(
        envelope,
        demand.proof,
        witnesses=rules.log_witnesses if rules is not None else 0,
        trust=trust,
        memory=memory,
        now=now,
    )


def require_included(
    envelope: bytes,
    data: bytes,
    *,
    trust: TrustStore,
    memory: VerifierMemory,
    now: datetime,
    witnesses: int = 0,
) -> VerifierMemory:
    """
    Return the memory afterwards, when a proof shows that an envelope of any kind is in a log: steps L2 to L7.

    Args:
        envelope: a certificate, status list or other signed record, with all its signatures.
        data: the proof.
        trust: whose checkpoints count.
        memory: what was seen before.
        now: the time.
        witnesses: trusted witnesses that must have cosigned the checkpoint.

    Raises:
        VerificationError: as `require_logged`.
        RecordError: it is not an envelope of Recert's.
    """
    # L2
    proof, entry = _read_proof(data)
    # L3
    checkpoint = read_checkpoint(proof.checkpoint.encode(), trust=trust, now=now)
    # L4
    witnessed = checkpoint.witnessed(trust, now=now)
    if len(witnessed) < witnesses:
        raise VerificationError(
            "too-few-witnesses",
            "too few trusted witnesses have seen this checkpoint",
            facts={"expected": witnesses, "actual": len(witnessed)},
            hint="let witnesses cosign it: recert log cosign",
        )
    # L5
    expected = entry_of(envelope, now=entry.logged_at)
    if any(
        getattr(entry, name) != getattr(expected, name) for name in ("kind", "sha256", "serial", "version")
    ):
        raise VerificationError(
            "not-logged",
            "the proof is of another envelope",
            facts={
                "in the log": f"{entry.kind} {entry.serial} sha256:{entry.sha256}",
                "given": f"{expected.kind} {expected.serial} sha256:{expected.sha256}",
            },
            hint="with another signature it is another envelope: log the one with all of them",
        )
    # L6
    path = [bytes.fromhex(p) for p in proof.path]
    if not is_included(leaf_hash(proof.leaf.encode()), proof.index, checkpoint.size, path, checkpoint.root):
        raise VerificationError(
            "not-in-log",
            "the proof does not lead to the log's root",
            facts={"entry": proof.index, "entries": checkpoint.size, "root": checkpoint.root.hex()},
            hint="get the proof again: recert log prove",
        )
    # L7
    trees = follow(memory, checkpoint, proof.earlier)
    return remember(memory, times=[*witnessed.values()], log=(checkpoint.origin, trees))


def require_consistent(old: LogCheckpoint, new: LogCheckpoint, proof: ConsistencyProof | None) -> None:
    """
    Return when one checkpoint of a log goes on from another.

    Args:
        old: the one with fewer entries.
        new: the other; with as many entries it must be the same tree, and no proof is needed.
        proof: what shows it.

    Raises:
        VerificationError: `other-log`, `log-equivocation` or `log-unlinked`.
    """
    facts: dict[str, object] = {
        "entries": f"{old.size} and {new.size}",
        "root of the first": old.root.hex(),
        "root of the second": new.root.hex(),
    }
    if old.origin != new.origin:
        raise VerificationError(
            "other-log", "the checkpoints are of two logs", facts={"first": old.origin, "second": new.origin}
        )
    facts = {"log": old.origin, **facts}
    if old.size == new.size:
        if old.root == new.root:
            return
        raise VerificationError(
            "log-equivocation",
            "equivocation: the log has signed two different trees of one size",
            facts=facts,
            hint="keep both checkpoints: together they prove it to anybody; trust neither",
        )
    path = [bytes.fromhex(p) for p in proof.earlier.path] if proof is not None else None
    if path is not None and is_consistent(old.size, old.root, new.size, new.root, path):
        return
    if proof is not None and path is not None and proof.earlier.size == old.size:
        other = bytes.fromhex(proof.earlier.root_sha256)
        if is_consistent(old.size, other, new.size, new.root, path):
            raise VerificationError(
                "log-equivocation",
                "equivocation: the second tree begins with another tree of the first one's size",
                facts=facts | {"root of so many entries in the second": other.hex()},
                hint="keep both checkpoints and the proof: together they prove it to anybody; trust neither",
            )
    raise VerificationError(
        "log-unlinked",
        "nothing shows that the second checkpoint goes on from the first",
        facts=facts,
        hint="get a proof that does: recert log prove --from; if the log cannot give one, two logs go by one name",
    )


def read_consistency(data: bytes) -> ConsistencyProof:
    """
    Return what a file of `recert log prove --from` says.

    Raises:
        VerificationError: `proof-malformed`.
    """
    try:
        return ConsistencyProof.from_json(data)
    except RecordError as exc:
        raise _malformed(exc) from exc


def _read_proof(data: bytes) -> tuple[LogProof, LogEntry]:
    try:
        if len(data) > _MOST_BYTES:
            raise RecordError("proof is too large", facts={"bytes": len(data), "at most": _MOST_BYTES})
        proof = LogProof.from_json(data)
        entry = LogEntry.from_json(proof.leaf.encode())
        versions = {proof.schema_version, entry.schema_version}
        if versions != {1} or entry.to_json() != proof.leaf.encode():
            raise RecordError("of another version, or its leaf is not in canonical JSON")
    except (RecordError, UnicodeEncodeError) as exc:
        raise _malformed(exc) from exc
    return proof, entry


def _malformed(exc: RecordError | UnicodeEncodeError) -> VerificationError:
    return VerificationError(
        "proof-malformed",
        "not a proof of a log",
        facts={"because": exc},
        hint="get it again; it was damaged, or is of a later version",
    )
