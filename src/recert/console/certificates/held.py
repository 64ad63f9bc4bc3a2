"""A system's certificate as the pages need it: its bytes, what it says, what it is checked against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from recert.certification import Presented, TrustStore, Verifier, read_refusals, read_unverified
from recert.certification.log.checking import LogDemand, proof_path, require_included
from recert.certification.log.checkpoints import LogCheckpoint
from recert.certification.log.memory import NOTHING_SEEN
from recert.certification.log.proving import prove_logged
from recert.certification.signing.refusals import FOLDER
from recert.certification.verifier import Check
from recert.console.app import Console
from recert.console.visiting import Visit
from recert.errors import InputError, RecordError, StoreError, VerificationError
from recert.policy import Policy, load_policy, profiles, shipped_policy
from recert.records.record import now
from recert.records.signed.certificate import Certificate
from recert.records.signed.transparency import LogProof
from recert.store.files.writing import read_bytes
from recert.store.systems.systems_index import IndexedSystem


@dataclass(frozen=True)
class Held:
    """A system and its certificate."""

    system: IndexedSystem
    path: Path
    envelope: bytes
    certificate: Certificate | None
    """None where the file is no certificate."""
    unreadable: str
    """Why it is none."""
    refusals: tuple[bytes, ...]

    @property
    def refusals_folder(self) -> Path:
        """Where refusals of it are kept."""
        return self.path.parent / FOLDER


def find_system(visit: Visit) -> IndexedSystem:
    """Return the system that the path names, or raise the page that says that there is none."""
    found = visit.console.systems.find(str(visit.path["id"]))
    if found is None:
        visit.missing(
            "there is no such system", "its records may have been moved; the list is made from them"
        )
    return found


def find_held(visit: Visit) -> Held:
    """
    Return the certificate of the system that the path names.

    Raises:
        PageError: there is no such system, or it has no certificate.
        StoreError: its file cannot be read.
    """
    system = find_system(visit)
    path = system.records.get("certificate")
    if path is None or not path.is_file():
        visit.missing(
            f"{system.name} has no certificate",
            "an evaluation that passed is certified with `recert certify`",
        )
    envelope = read_bytes(path, "certificate")
    certificate, why = _read(envelope)
    return Held(system, path, envelope, certificate, why, read_refusals(path.parent / FOLDER))


@lru_cache(maxsize=64)
def _read(envelope: bytes) -> tuple[Certificate | None, str]:
    """What an envelope says, and why it says nothing. The same bytes say the same, so that they are read once."""
    try:
        return read_unverified(envelope), ""
    except RecordError as exc:
        return None, "; ".join((exc.message, *(f"{name} {value}" for name, value in exc.facts.items())))


def trust_of(console: Console) -> TrustStore | None:
    """Return the trusted keys as they are now; None where the console was given none."""
    return TrustStore.load(console.trust) if console.trust is not None else None


def status_of(console: Console, path: Path) -> bytes | None:
    """Return the newest status list for a certificate; None where there is none."""
    where = console.status or path.parent / "status.json"
    return read_bytes(where, "status list") if where.is_file() else None


def checks_of(console: Console, held: Held, *, at: datetime) -> Sequence[Check]:
    """Return the steps of verification under the console's policy; none where it has no trusted keys."""
    trust = trust_of(console)
    if trust is None:
        return ()
    asked = console.policy.certification.logged
    verifier = Verifier(trust=trust, policy=console.policy, status=status_of(console, held.path))
    demand = LogDemand(logged_of(console, held).proof if asked else None, required=asked)
    return verifier.explain(Presented(held.envelope, held.refusals, demand), now=at)


@dataclass(frozen=True)
class Logged:
    """Whether a certificate is in the transparency log, as far as it is known here."""

    proof: bytes | None
    words: str
    proven: bool = False
    """The proof was checked under a checkpoint whose key is trusted."""


def logged_of(console: Console, held: Held) -> Logged:
    """Return the proof that a certificate is in the log, from the log or beside the file, and what it says."""
    beside, where = proof_path(held.path), console.transparency_log
    try:
        if where is not None:
            proof = prove_logged(where, held.envelope)
        elif beside.is_file():
            proof = LogProof.from_json(read_bytes(beside, "proof of a log"))
        else:
            return Logged(None, "")
        data = proof.to_json() + b"\n"
        trust = trust_of(console)
        size = LogCheckpoint.parse(proof.checkpoint.encode()).size
        said = f"It is entry {proof.index} of a log of {size} entries"
        if trust is None:
            return Logged(
                data, f"{said}; who signed the checkpoint was not checked, as no keys are trusted here."
            )
        require_included(held.envelope, data, trust=trust, memory=NOTHING_SEEN, now=now())
        return Logged(data, f"{said}; the path to the root and the checkpoint's signature hold.", proven=True)
    except VerificationError as no:
        return Logged(None, f"The proof does not hold: {no.message}.")
    except (InputError, RecordError, StoreError) as exc:
        hint = f" ({exc.hint})" if exc.hint else ""
        return Logged(None, f"There is no proof: {exc.message}{hint}.")


def policy_of(console: Console, certificate: Certificate) -> Policy | None:
    """Return the policy that a certificate was decided by: the console's, else a shipped profile with its digest."""
    if certificate.policy_sha256 == console.policy.digest:
        return console.policy
    return _shipped(certificate.policy_sha256)


@lru_cache(maxsize=64)
def _shipped(sha256: str) -> Policy | None:
    return shipped_policy(sha256)


@lru_cache(maxsize=8)
def policy_name(sha256: str) -> str:
    """Return what commands call a policy: a profile's name, else words in capitals to be filled in."""
    return next((name for name in profiles() if load_policy(name).digest == sha256), "POLICY.toml")
