"""What somebody signs in the console: the sheet of `recert approve`, what must be ticked, and whose turn it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from recert.certification import Envelope, PublicKey, TrustStore, pae
from recert.certification.signing.approving import shown_sha256
from recert.certification.signing.signoff import own_refusals, signoff_sheet
from recert.certification.signing.signoff_words import exception_words
from recert.console.app import Console
from recert.console.certificates.held import Held, policy_of, trust_of
from recert.console.visiting import Visitor
from recert.digest import sha256_bytes
from recert.errors import StoreError
from recert.records.record import now
from recert.records.signed.certificate import PAYLOAD_TYPE, Approval, Certificate
from recert.records.signed.signoff import SignoffSheet
from recert.store.files.writing import read_bytes, write_atomic
from recert.workflows.deriving import why_not_from_beside


@dataclass(frozen=True)
class Tick:
    """One thing that a signer says yes to."""

    name: str
    """Of its field in the form."""
    words: str


@dataclass(frozen=True)
class Place:
    """One signature that the certificate asks for."""

    approval: Approval
    state: str
    """`signed`, `waiting`, or `doubtful` where the signature that is there is not by a key trusted in the role."""
    key: PublicKey | None
    """As it is trusted in this role; None where it is not."""
    mine: bool
    """Whether the visitor has the role."""
    labelled: bool = False
    """Whether the signer, or the account that gave the signature here, also labelled replies of the evaluation."""


@dataclass(frozen=True)
class Shown:
    """Everything about a certificate that is put before somebody who may sign it."""

    held: Held
    certificate: Certificate
    sheet: SignoffSheet
    stale: bool
    """It was decided by another policy than the console's."""
    ticks: tuple[Tick, ...]
    places: tuple[Place, ...]
    message: bytes
    """What a signature is over: DSSE's encoding of the payload and its type."""
    sha256: str
    """Of all that was shown: with another one, somebody looked at something else."""

    @property
    def turns(self) -> tuple[Place, ...]:
        """Signatures to come that the visitor may give."""
        return tuple(one for one in self.places if one.mine and one.key and one.state != "signed")

    @property
    def refusers(self) -> tuple[Place, ...]:
        """The roles in which the visitor may refuse; who signed may refuse later."""
        return tuple(one for one in self.places if one.mine and one.key)

    def place(self, key_id: str) -> Place | None:
        """Return the signature that a key is named for."""
        return next((one for one in self.places if one.approval.key_id == key_id), None)

    def refused_by(self, key_id: str) -> bool:
        """Say whether this key refuses, and has not taken it back."""
        return bool(own_refusals(self.sheet, self.certificate, key_id))


def look(console: Console, held: Held, visitor: Visitor, *, at: datetime | None = None) -> Shown | None:
    """Return what a signer is to see of a certificate; None where it cannot be read."""
    said = held.certificate
    if said is None:
        return None
    when, trust, policy = at or now(), trust_of(console), policy_of(console, said)
    underived = why_not_from_beside(said, held.path, policy) if policy is not None else None
    sheet = signoff_sheet(
        held.envelope, policy=policy, trust=trust, refusals=held.refusals, underived=underived, now=when
    )
    stale = said.policy_sha256 != console.policy.digest
    payload = Envelope.from_json(held.envelope).payload
    return Shown(
        held=held,
        certificate=said,
        sheet=sheet,
        stale=stale,
        ticks=tuple(
            _tick(words) for words in dict.fromkeys(_words(said, sheet, console, visitor, stale=stale))
        ),
        places=tuple(_places(said, sheet, trust, visitor, when, Signers(console, sheet.certificate_sha256))),
        message=pae(PAYLOAD_TYPE, payload),
        sha256=shown_sha256(held.envelope, held.refusals, policy),
    )


def _tick(words: str) -> Tick:
    return Tick(f"tick-{sha256_bytes(words.encode())[:16]}", words)


def _words(
    said: Certificate, sheet: SignoffSheet, console: Console, visitor: Visitor, *, stale: bool
) -> Iterator[str]:
    """Each sentence that is ticked: what weighs most first, then what the policy asks for, then that all was read."""
    if stale:
        yield (
            f"It is under {said.policy_id} {said.policy_version}, and not under {console.policy.id} "
            f"{console.policy.version}, which holds now: gateways that ask for that will not serve it."
        )
    for exception in said.exceptions or ():
        yield f"I accept what is no pass: {exception_words(exception)}"
    if said.carried is not None:
        yield (
            f"Results of another model count here: carried over from certificate {said.carried.parent_serial} by "
            f"{said.carried.transform}, because: {said.carried.reason}"
        )
    for one in sheet.refusals:
        taken = " and took it back" if one.withdrawn else ""
        who = one.refusal.approval
        yield f"I have read that the {who.role} {who.name} refused{taken}, because: {one.refusal.reason}"
    for item in sheet.checklist[: len(sheet.checklist) - len(said.approvals)]:
        if item.state == "done":
            yield f"{item.asked[:1].upper()}{item.asked[1:]}{f': {item.words}' if item.words else ''}"
    if said.labels is not None and said.labels.by(visitor.name):
        yield f"I labelled replies of this evaluation myself, as {visitor.name}, and sign what they decided."
    yield f"I have read every result above, {len(sheet.results)} of them."
    limits = len(said.limitations) + len(said.invalid_when)
    yield f"I have read what it does not promise and what ends it, {limits} sentences."


def _places(
    said: Certificate,
    sheet: SignoffSheet,
    trust: TrustStore | None,
    visitor: Visitor,
    at: datetime,
    signers: Signers,
) -> Iterator[Place]:
    states = sheet.checklist[len(sheet.checklist) - len(said.approvals) :]
    for approval, item in zip(said.approvals, states, strict=True):
        key = trust.find(approval.key_id, now=at) if trust is not None else None
        trusted = key if key is not None and approval.role in key.roles else None
        state = {"done": "signed", "waiting": "waiting"}.get(item.state, "doubtful")
        names = (approval.name, signers.account(approval.key_id))
        yield Place(
            approval,
            state,
            trusted,
            mine=approval.role in visitor.roles and not visitor.shared,
            labelled=said.labels is not None and any(map(said.labels.by, names)),
        )


class Signers:
    """Which account signed a certificate with which key: one person does not sign for two."""

    def __init__(self, console: Console, certificate_sha256: str) -> None:
        self._where: Path = console.folder / "signers" / f"{certificate_sha256}.json"

    def other_key(self, account: str, key_id: str) -> str:
        """Return another key with which this account signed; empty where there is none."""
        return next((k for k, who in self._read().items() if who == account and k != key_id), "")

    def account(self, key_id: str) -> str:
        """Return the account that signed with this key here; empty where none did."""
        return self._read().get(key_id, "")

    def keep(self, account: str, key_id: str) -> None:
        """Keep who signed. Raises StoreError."""
        write_atomic(
            self._where, json.dumps(self._read() | {key_id: account}, sort_keys=True).encode(), mode=0o600
        )

    def _read(self) -> dict[str, str]:
        if not self._where.exists():
            return {}
        try:
            value = json.loads(read_bytes(self._where, "list of who signed"))
        except ValueError as exc:
            raise StoreError("the list of who signed is damaged", facts={"file": self._where}) from exc
        return {str(key): str(who) for key, who in value.items()}
