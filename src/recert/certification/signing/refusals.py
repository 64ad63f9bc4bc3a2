"""Refusals: who will not sign says so, signed like a signature, and it stands until they take it back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from recert.certification.clock import moment
from recert.certification.signing.envelope import Envelope, sign
from recert.certification.signing.keys import PublicKey, SigningKey
from recert.certification.signing.statement import read_statement
from recert.certification.trust.store import TrustStore
from recert.digest import canonical_json, sha256_bytes
from recert.errors import InputError, RecordError, SigningKeyError, StoreError, VerificationError
from recert.records.record import parse_json
from recert.records.signed.certificate import PAYLOAD_TYPE, Approval, Certificate, StatusEntry, is_serial
from recert.records.signed.refusal import REFUSAL_PAYLOAD_TYPE, WITHDRAWAL_PAYLOAD_TYPE, Refusal, Withdrawal
from recert.store.files.writing import read_bytes, write_atomic

FOLDER: Final = "refusals"
"""Name of the folder beside a certificate."""

_SIGN_NOTHING: Final = frozenset({"trainer", "status", "audit"})
"""Roles that sign no certificate."""


@dataclass(frozen=True)
class Objection:
    """One refusal as it was read, to be shown. Nothing about it is proven."""

    refusal: Refusal
    sha256: str
    """Of its payload: what a withdrawal names."""
    withdrawn: bool


def refuse(envelope: bytes, key: SigningKey, reason: str, *, now: datetime | None = None) -> bytes:
    """
    Return a signed refusal of a certificate, in the role that it names the key for, else in the key's only one.

    Args:
        envelope: the certificate's.
        key: of who refuses.
        reason: why, in words.
        now: the time; the present by default.

    Raises:
        RecordError: it is not a certificate's envelope.
        SigningKeyError: the key has not the role that the certificate names it for, or is not named and has several.
        InputError: there is no reason.
    """
    if not reason.strip():
        raise InputError("a refusal needs a reason", hint="say what would have to change")
    opened = Envelope.from_json(envelope)
    if opened.payload_type != PAYLOAD_TYPE:
        raise RecordError(
            "not a certificate", facts={"expected": PAYLOAD_TYPE, "actual": opened.payload_type}
        )
    certificate = read_statement(opened.payload)
    refusal = Refusal(
        serial=certificate.serial,
        certificate_sha256=sha256_bytes(opened.payload),
        eval_report_sha256=certificate.eval_report_sha256,
        model_name=certificate.model_name,
        tuned_sha256=certificate.tuned.digest,
        approval=_approval(certificate, key),
        reason=reason.strip(),
        refused_at=moment(now),
    )
    return sign(REFUSAL_PAYLOAD_TYPE, refusal.to_json(), [key]).to_json()


def withdraw(refusal: bytes, key: SigningKey, reason: str, *, now: datetime | None = None) -> bytes:
    """
    Return a signed withdrawal of a refusal, by who made it.

    Args:
        refusal: its envelope.
        key: the one that signed it.
        reason: what changed, in words.
        now: the time; the present by default.

    Raises:
        RecordError: it is no refusal's envelope.
        SigningKeyError: somebody else refused.
        InputError: there is no reason.
    """
    if not reason.strip():
        raise InputError("a withdrawal needs a reason", hint="say what has changed")
    opened, said = _read(refusal)
    if not isinstance(said, Refusal):
        raise RecordError("not a refusal", facts={"actual": opened.payload_type})
    if said.approval.key_id != key.key_id:
        raise SigningKeyError(
            "only who refused can take a refusal back",
            facts={"refused by": said.approval.key_id, "key": key.key_id},
        )
    withdrawal = Withdrawal(
        refusal_sha256=sha256_bytes(opened.payload),
        approval=said.approval,
        reason=reason.strip(),
        withdrawn_at=moment(now),
    )
    return sign(WITHDRAWAL_PAYLOAD_TYPE, withdrawal.to_json(), [key]).to_json()


def withdrawals(
    refusals: Iterable[bytes], own: Sequence[Refusal], key: SigningKey, reason: str
) -> tuple[bytes, ...]:
    """Return the withdrawal of each of these refusals that is among the envelopes. Raises as `withdraw`."""
    return tuple(withdraw(envelope, key, reason) for envelope in refusals if _read(envelope)[1] in own)


def objections(certificate: Certificate, refusals: Iterable[bytes]) -> tuple[Objection, ...]:
    """
    Return the refusals that count against a certificate, and those of models by the same name, to be shown.

    Whose they really are is not checked: `require_unrefused` does that.

    Raises:
        RecordError: one cannot be read.
    """
    read = [_read(envelope) for envelope in refusals]
    taken_back = {(s.refusal_sha256, s.approval.key_id) for _, s in read if isinstance(s, Withdrawal)}
    return tuple(
        Objection(said, digest, (digest, said.approval.key_id) in taken_back)
        for opened, said in read
        if isinstance(said, Refusal)
        and (said.is_about(certificate) or said.model_name == certificate.model_name)
        for digest in [sha256_bytes(opened.payload)]
    )


def require_unrefused(
    certificate: Certificate, refusals: Sequence[bytes], *, trust: TrustStore, now: datetime
) -> None:
    """
    Return when nobody in a role that must sign refuses a certificate: steps 8.9 and 8.10 of `spec/verification.md`.

    Raises:
        VerificationError: `refused`, or `refusal-unreadable`.
    """
    # 8.9
    standing = _standing(refusals, trust, now)
    # 8.10
    roles = {"evaluator", "approver", *certificate.required_roles, *(a.role for a in certificate.approvals)}
    for said in standing:
        who = said.approval
        key = trust.known(who.key_id)
        counts = key is not None and who.role in key.roles and who.role in roles
        if counts and said.is_about(certificate):
            raise VerificationError(
                "refused",
                f"the {who.role} refuses to sign for this model",
                facts={
                    "by": f"{who.name} {who.key_id}".strip(),
                    "because": said.reason,
                    "refused at": said.refused_at.isoformat(),
                    "serial": said.serial,
                },
                hint="evaluate again, or let who refused take it back with `recert approve --withdraw`",
            )


def suspensions(
    refusals: Iterable[bytes], *, trust: TrustStore, now: datetime | None = None
) -> tuple[StatusEntry, ...]:
    """
    Return an entry of the status list for each certificate that stands refused: a file can be lost, an entry cannot.

    Args:
        refusals: as `refusals_beside` reads them.
        trust: whose refusals count, in which roles; those of `trainer`, `status` and `audit` sign no certificate.
        now: the time; the present by default.

    Raises:
        VerificationError: `refusal-unreadable`.
    """
    at = moment(now)
    entries = {}
    for said in _standing(refusals, trust, at):
        key = trust.known(said.approval.key_id)
        signs = key is not None and said.approval.role in set(key.roles) - _SIGN_NOTHING
        if signs and is_serial(said.serial):  # no certificate has another
            reason = f"refused by the {said.approval.role} {said.approval.name}: {said.reason}"
            entries[said.serial] = StatusEntry(
                serial=said.serial, status="suspended", reason=reason, since=at
            )
    return tuple(entries.values())


def read_refusals(folder: Path, *, required: bool = False) -> tuple[bytes, ...]:
    """
    Return every envelope of a folder of refusals; none where there is no such folder and none is required.

    Raises:
        StoreError: the folder or a file cannot be read, or the folder is required and missing.
    """
    try:
        names = sorted(path.name for path in folder.iterdir() if path.suffix == ".json")
    except FileNotFoundError as exc:
        if not required:
            return ()
        raise StoreError("no such folder of refusals", facts={"folder": folder}) from exc
    except OSError as exc:
        raise StoreError("cannot read refusals", facts={"folder": folder, "because": exc.strerror}) from exc
    return tuple(read_bytes(folder / name, "refusal") for name in names)


def refusals_beside(certificate: Path) -> tuple[bytes, ...]:
    """Return what lies in the folder `refusals` beside a certificate's file. Raises as `read_refusals`."""
    return read_refusals(certificate.parent / FOLDER)


def read_refusal(envelope: bytes) -> Refusal:
    """
    Return what a refusal says. Nothing about it is proven: `Envelope.proven_by` says whether its key signed it.

    Raises:
        RecordError: it is no refusal's envelope.
    """
    _, said = _read(envelope)
    if not isinstance(said, Refusal):
        raise RecordError("not a refusal", facts={"actual": "a withdrawal of one"})
    return said


def refusal_bytes(envelope: bytes, key: PublicKey, reason: str, *, now: datetime) -> bytes:
    """
    Return the bytes that somebody signs who refuses a certificate, for a key that is somewhere else.

    `refuse` with a key that gives that signature, the same reason and time makes the refusal. Raises as `refuse`.
    """
    asked: list[bytes] = []

    def sign_later(message: bytes) -> bytes:
        asked.append(message)
        return b""

    refuse(envelope, SigningKey(public=key, sign=sign_later), reason, now=now)
    return asked[0]


def keep_refusal(folder: Path, envelope: bytes) -> Path:
    """
    Write a refusal or a withdrawal into a folder, named by its payload's digest, and return where.

    Raises:
        StoreError: it cannot be written.
    """
    path = folder / f"{sha256_bytes(Envelope.from_json(envelope).payload)}.json"
    write_atomic(path, envelope)
    return path


def _approval(certificate: Certificate, key: SigningKey) -> Approval:
    role = next((a.role for a in certificate.approvals if a.key_id == key.key_id), None)
    if role is not None:
        key.require_role(role)
    elif len(key.public.roles) > 1:
        raise SigningKeyError(
            "the certificate does not name this key, and it has several roles",
            facts={"key": key.key_id, "roles": ", ".join(key.public.roles)},
        )
    return Approval(role=role or key.public.roles[0], key_id=key.key_id, name=key.public.name)


def _read(envelope: bytes) -> tuple[Envelope, Refusal | Withdrawal]:
    opened = Envelope.from_json(envelope)
    kinds: dict[str, type[Refusal | Withdrawal]] = {
        REFUSAL_PAYLOAD_TYPE: Refusal,
        WITHDRAWAL_PAYLOAD_TYPE: Withdrawal,
    }
    kind = kinds.get(opened.payload_type)
    if kind is None:
        raise RecordError("not a refusal", facts={"actual": opened.payload_type})
    said = kind.from_json(opened.payload)
    if not canonical_json(parse_json(opened.payload)) == opened.payload == said.to_json():
        raise RecordError("refusal lacks a field, or holds one in another form")
    if said.schema_version != 1:
        raise RecordError(
            "refusal is of another schema version", facts={"expected": 1, "actual": said.schema_version}
        )
    return opened, said


def _standing(refusals: Iterable[bytes], trust: TrustStore, now: datetime) -> list[Refusal]:
    """The refusals that are not taken back. A withdrawal counts while its key does."""
    read = [_read_proven(envelope, trust) for envelope in refusals]
    taken_back = {
        (said.refusal_sha256, said.approval.key_id)
        for _, said in read
        if isinstance(said, Withdrawal) and trust.find(said.approval.key_id, now=now) is not None
    }
    return [
        said
        for digest, said in read
        if isinstance(said, Refusal) and (digest, said.approval.key_id) not in taken_back
    ]


def _read_proven(envelope: bytes, trust: TrustStore) -> tuple[str, Refusal | Withdrawal]:
    """A refusal that may have been damaged is no silence: what names a known key must be signed by it."""
    try:
        opened, said = _read(envelope)
        for key_id in {said.approval.key_id, *(s.key_id for s in opened.signatures)}:
            key = trust.known(key_id)
            if key is not None and not opened.proven_by(key):
                raise RecordError("refusal is not what was signed", facts={"key": key_id})
    except RecordError as exc:
        raise VerificationError(
            "refusal-unreadable",
            "a refusal cannot be read",
            facts={"because": exc},
            hint="get it again from who wrote it; without it nobody knows who refused",
        ) from exc
    return sha256_bytes(opened.payload), said
