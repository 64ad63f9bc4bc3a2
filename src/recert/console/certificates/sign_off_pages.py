"""
Signing a certificate, or refusing to, with a key that never leaves the browser of who holds it.

Here too: what somebody signs in the console: the sheet of `recert approve`, what must be ticked, and whose turn it is.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from starlette.responses import Response

from recert.certification import Envelope, PublicKey, TrustStore, keep_refusal, pae, refuse
from recert.certification.signing.approving import (
    approve_file,
    given_signer,
    require_agreed,
    require_whole,
    shown_sha256,
)
from recert.certification.signing.keys import decode_base64
from recert.certification.signing.refusals import read_refusal, refusal_bytes
from recert.certification.signing.signoff import own_refusals, signoff_sheet
from recert.certification.signing.signoff_words import exception_words
from recert.console.accounts.rights import Right
from recert.console.app import ROOT, Console
from recert.console.certificates.held import Held, find_held, policy_of, trust_of
from recert.console.pages import Page
from recert.console.visiting import PageError, Visit, Visitor
from recert.digest import sha256_bytes
from recert.errors import InputError, RecordError, SigningKeyError, StoreError
from recert.records.record import now
from recert.records.signed.certificate import PAYLOAD_TYPE, Approval, Certificate
from recert.records.signed.refusal import REFUSAL_PAYLOAD_TYPE
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


_REFUSAL_TIME: Final = timedelta(hours=1)
"""Within which a refusal that was begun is signed."""


def shown(visit: Visit) -> Response:
    """Show what is signed, who has signed, and the forms of who may sign or refuse."""
    seen = _look(visit)
    account = Signers(visit.console, seen.sheet.certificate_sha256)
    return visit.page(
        "sign_off.html.j2",
        title=f"Sign-off of {seen.held.system.name}",
        system=seen.held.system,
        seen=seen,
        sheet=seen.sheet,
        certificate=seen.certificate,
        digest=sha256_bytes(seen.message),
        message=base64.b64encode(seen.message).decode(),
        signed_before=account.other_key(visit.visitor.name, "") != "",
        trusts=visit.console.trust is not None,
    )


def signed(visit: Visit) -> Response:
    """Take a signature over the certificate, from the browser or in a file that was signed elsewhere."""
    seen = _look(visit)
    _require_same(visit, seen)
    upload = visit.form.get("signed")
    with _told(visit, seen):
        if isinstance(upload, bytes) and upload:
            if Envelope.from_json(upload).payload_type == REFUSAL_PAYLOAD_TYPE:
                return _keep_signed_refusal(visit, seen, upload)
            key_id, signature = _new_signature(seen, upload)
        else:
            key_id, signature = _given(visit)
        place, key = _require_turn(visit, seen, key_id)
        _require_ticked(visit, seen)
        _require_ready(seen, key_id)
        signers = Signers(visit.console, seen.sheet.certificate_sha256)
        if signers.other_key(visit.visitor.name, key_id):
            raise InputError(
                "you signed this certificate already, with another key",
                hint="somebody else signs in the other role",
            )

        def told() -> None:
            visit.act("approved", **_facts(seen, place))
            signers.keep(visit.visitor.name, key_id)

        approve_file(
            seen.held.path,
            given_signer(key, signature),
            shown=seen.held.envelope,
            log=visit.console.transparency_log,
            told=told,
        )
    return _back(visit, seen, f"Signed as {place.approval.role}.")


def refusal(visit: Visit) -> Response:
    """Show the refusal that is to be signed."""
    seen = _look(visit)
    _require_same(visit, seen)
    reason, key_id = str(visit.form.get("reason", "")).strip(), str(visit.form.get("key_id", ""))
    with _told(visit, seen):
        place, key = _require_turn(visit, seen, key_id, refusing=True)
        at = now()
        message = refusal_bytes(seen.held.envelope, key, reason, now=at)
    return visit.page(
        "refusal.html.j2",
        title=f"Refuse {seen.held.system.name}",
        system=seen.held.system,
        seen=seen,
        place=place,
        reason=reason,
        at=at.isoformat(),
        digest=sha256_bytes(message),
        message=base64.b64encode(message).decode(),
        said_bytes=message.partition(b" {")[2],
    )


def refused(visit: Visit) -> Response:
    """Keep a refusal whose signature came from the browser."""
    seen = _look(visit)
    _require_same(visit, seen)
    with _told(visit, seen):
        key_id, signature = _given(visit)
        place, key = _require_turn(visit, seen, key_id, refusing=True)
        at = _begun(str(visit.form.get("at", "")))
        reason = str(visit.form.get("reason", ""))
        envelope = refuse(seen.held.envelope, given_signer(key, signature), reason, now=at)
        visit.act("refused", **_facts(seen, place))
        keep_refusal(seen.held.refusals_folder, envelope)
    return _back(visit, seen, f"Your refusal as {place.approval.role} is kept, and counts.")


def _look(visit: Visit) -> Shown:
    seen = look(visit.console, find_held(visit), visit.visitor)
    if seen is None:
        visit.missing(
            "this file is no certificate, so nothing can be signed", "its certificate's page says why"
        )
    return seen


def _back(visit: Visit, seen: Shown, said: str) -> Response:
    return visit.go(f"{ROOT}/systems/{seen.held.system.id}/sign-off?said={said.replace(' ', '+')}")


@contextmanager
def _told(visit: Visit, seen: Shown) -> Iterator[None]:
    """Turn a no into a page of words; that somebody tried is kept too."""
    try:
        yield
    except (InputError, RecordError, SigningKeyError) as exc:
        visit.act("sign-off-not-taken", serial=seen.certificate.serial, because=exc.message)
        hint = exc.hint or "open the sign-off again"
        raise PageError(f"{exc.message}; nothing was written", status=409, hint=hint) from exc
    except PageError as exc:
        visit.act("sign-off-not-taken", serial=seen.certificate.serial, because=exc.told)
        raise


def _require_same(visit: Visit, seen: Shown) -> None:
    if visit.form.get("shown") != seen.sha256:
        visit.act("sign-off-not-taken", serial=seen.certificate.serial, because="something else was shown")
        raise PageError(
            "the certificate, a refusal or the policy was changed since you looked; nothing was written",
            status=409,
            hint="open the sign-off again, and decide about what it says now",
        )


def _require_turn(
    visit: Visit, seen: Shown, key_id: str, *, refusing: bool = False
) -> tuple[Place, PublicKey]:
    """The place that a key is named for, once the visitor may take it with this key."""
    place = seen.place(key_id)
    if place is None:
        raise PageError(
            "the certificate does not name this key as one of its signers; nothing was written",
            status=403,
            hint="use the key that it names for your role, or certify again and name yours as an approver",
        )
    if not place.mine:
        raise PageError(
            f"your roles do not allow this ({place.approval.role}); nothing was written",
            status=403,
            hint="an administrator gives roles",
        )
    if place.key is None:
        raise PageError(
            f"this key is not trusted as {place.approval.role}; nothing was written",
            status=403,
            hint="whoever keeps the trusted keys adds its .pub file",
        )
    if place.state == "signed" and not refusing:
        raise PageError("this signature is there already; nothing was written", status=409)
    return place, place.key


def _require_ticked(visit: Visit, seen: Shown) -> None:
    left = [tick.words for tick in seen.ticks if visit.form.get(tick.name) != "yes"]
    if left:
        raise PageError(
            f"{len(left)} of {len(seen.ticks)} things are not ticked; nothing was written",
            status=409,
            hint=f"say yes to each, or refuse; the first is: {left[0]}",
        )


def _require_ready(seen: Shown, key_id: str) -> None:
    require_whole(seen.sheet)
    if seen.sheet.missing:
        raise InputError(
            "the policy asks for what is not there",
            facts={item.asked: item.words for item in seen.sheet.missing},
            hint=f"{seen.sheet.missing[0].asked}: {seen.sheet.missing[0].words}",
        )
    if seen.refused_by(key_id):
        require_agreed(
            [one.refusal for one in seen.sheet.refusals if one.refusal.approval.key_id == key_id],
            withdrawn=False,
            folder=seen.held.refusals_folder,
        )


def _given(visit: Visit) -> tuple[str, bytes]:
    """The key's id and the signature that the browser made."""
    signature = decode_base64(str(visit.form.get("signature", "")))
    if not signature:
        raise InputError(
            "there is no signature",
            hint="choose your key's file, or upload what `recert approve` signed",
        )
    return str(visit.form.get("key_id", "")), signature


def _new_signature(seen: Shown, upload: bytes) -> tuple[str, bytes]:
    """The one signature that an uploaded certificate has and the one here has not."""
    here, there = Envelope.from_json(seen.held.envelope), Envelope.from_json(upload)
    if (there.payload_type, there.payload) != (here.payload_type, here.payload):
        raise InputError(
            "the file that was uploaded says something else than this certificate",
            hint="take the certificate from its page, sign that file with `recert approve`, and upload it",
        )
    new = [one for one in there.signatures if one not in here.signatures]
    if len(new) != 1:
        raise InputError(
            "the file that was uploaded has no new signature"
            if not new
            else "the file that was uploaded has several new signatures",
            hint="each person uploads their own",
        )
    return new[0].key_id, new[0].value


def _keep_signed_refusal(visit: Visit, seen: Shown, upload: bytes) -> Response:
    said = read_refusal(upload)
    if said.certificate_sha256 != seen.sheet.certificate_sha256:
        raise InputError("the refusal that was uploaded is of another certificate")
    place, key = _require_turn(visit, seen, said.approval.key_id, refusing=True)
    if said.approval.role != place.approval.role or not Envelope.from_json(upload).proven_by(key):
        raise SigningKeyError("the refusal that was uploaded is not signed by the key that it names")
    visit.act("refused", **_facts(seen, place))
    keep_refusal(seen.held.refusals_folder, upload)
    return _back(visit, seen, f"Your refusal as {place.approval.role} is kept, and counts.")


def _begun(text: str) -> datetime:
    """When a refusal was begun, which was not long ago."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise InputError("the refusal has no time", hint="begin it again") from exc
    if at.tzinfo is None or not now() - _REFUSAL_TIME <= at <= now():
        raise InputError("the refusal was begun too long ago", hint="begin it again")
    return at


def _facts(seen: Shown, place: Place) -> dict[str, str]:
    return {
        "serial": seen.certificate.serial,
        "certificate_sha256": seen.sheet.certificate_sha256,
        "role": place.approval.role,
        "key": place.approval.key_id,
    }


PAGES: Final = (
    Page("GET", "/systems/{id}/sign-off", Right.READ, shown),
    Page("POST", "/systems/{id}/sign-off", Right.SIGN, signed),
    Page("POST", "/systems/{id}/sign-off/refusal", Right.SIGN, refusal),
    Page("POST", "/systems/{id}/sign-off/refused", Right.SIGN, refused),
)
