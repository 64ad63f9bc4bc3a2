"""Signing a certificate, or refusing to, with a key that never leaves the browser of who holds it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from starlette.responses import Response

from recert.certification import Envelope, PublicKey, keep_refusal, refuse
from recert.certification.signing.approving import approve_file, given_signer, require_agreed, require_whole
from recert.certification.signing.keys import decode_base64
from recert.certification.signing.refusals import read_refusal, refusal_bytes
from recert.console.accounts.rights import Right
from recert.console.app import ROOT
from recert.console.certificates.held import find_held
from recert.console.certificates.signing import Place, Shown, Signers, look
from recert.console.pages import Page
from recert.console.visiting import PageError, Visit
from recert.digest import sha256_bytes
from recert.errors import InputError, RecordError, SigningKeyError
from recert.records.record import now
from recert.records.signed.refusal import REFUSAL_PAYLOAD_TYPE

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
