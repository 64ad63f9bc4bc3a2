"""`/v1/recert/certificates/{model}`: a certificate goes out to who signs it elsewhere, and comes back signed."""

from __future__ import annotations

import io
import threading
import zipfile
from pathlib import Path
from typing import Any, Final

from starlette.responses import Response

from recert.certification.signing.envelope import Envelope
from recert.certification.signing.refusals import FOLDER, keep_refusal, objections, refusals_beside
from recert.certification.signing.statement import read_statement
from recert.errors import RecordError
from recert.evaluation.stage import OUTCOMES_FILE, REPORT_FILE
from recert.gateway.protocol.errors import BadRequest, HttpError
from recert.records.record import now
from recert.records.signed.certificate import PAYLOAD_TYPE, Certificate
from recert.records.signed.refusal import REFUSAL_PAYLOAD_TYPE, WITHDRAWAL_PAYLOAD_TYPE
from recert.service.api.app_context import AppContext, Call, reply
from recert.service.api.models import found_system
from recert.service.api.requests import missing
from recert.service.storage.systems import CERTIFIED, System
from recert.service.workers.assessing import CERTIFICATE_FILE
from recert.store.files.writing import read_bytes, write_atomic

_EVIDENCE: Final = (REPORT_FILE, OUTCOMES_FILE, "evaluate.link.json")
_SIGNING: Final = threading.Lock()
"""Two signatures that come at once are both kept."""


def retrieve(desk: AppContext, call: Call) -> Response:
    """Return a model's certificate as it stands, byte for byte: what `recert approve` shows and signs."""
    envelope = read_bytes(_place(desk, _found(desk, call)) / CERTIFICATE_FILE, "certificate")
    return Response(envelope, media_type="application/json")


def evidence(desk: AppContext, call: Call) -> Response:
    """
    Return the evaluation that a model's certificate follows from, as a zip: `recert approve --evidence` wants it.

    It holds the report, who signed for it, every outcome and suites that do not come with Recert. Harmful replies are
    redacted; they do not leave the service.
    """
    system = _found(desk, call)
    place = _place(desk, system)
    desk.files.storage.fetch(place)
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(place.rglob("*")):
            name = path.relative_to(place).as_posix()
            if path.is_file() and (name in _EVIDENCE or name.startswith("suites/")):
                packed.writestr(name, read_bytes(path, "evidence"))
    return Response(held.getvalue(), media_type="application/zip")


def sign(desk: AppContext, call: Call) -> Response:
    """
    Take what `recert approve` wrote elsewhere: the certificate with a signature more, a refusal or a withdrawal.

    Whoever sends it, only what a trusted key has signed is taken, and the certificate itself cannot be another one.
    """
    system = _found(desk, call)
    try:
        sent = Envelope.from_json(call.body)
    except RecordError as exc:
        raise BadRequest(f"not an envelope: {exc.message}", code="invalid_envelope") from exc
    trusted = sent.proven_signers(desk.gates.trust, now=now())
    if not trusted:
        raise HttpError(
            "signed by nobody who is trusted here",
            status=403,
            kind="invalid_request_error",
            code="signature_not_trusted",
        )
    with _SIGNING:
        place = _place(desk, system)
        if sent.payload_type == PAYLOAD_TYPE:
            _add(desk, place, sent, set(trusted))
        elif sent.payload_type in (REFUSAL_PAYLOAD_TYPE, WITHDRAWAL_PAYLOAD_TYPE):
            _object(desk, place, call.body, sent)
        else:
            raise BadRequest("neither a certificate nor a refusal", code="invalid_envelope")
        return reply(_standing(system, place))


def _add(desk: AppContext, place: Path, sent: Envelope, trusted: set[str]) -> None:
    """Add the signatures that count; what is there already stays."""
    path = place / CERTIFICATE_FILE
    kept = Envelope.from_json(read_bytes(path, "certificate"))
    if kept.payload != sent.payload:
        raise BadRequest(
            "that is not the certificate of this model as it stands", code="certificate_differs", status=409
        )
    new = [s for s in sent.signatures if s.key_id in trusted and not kept.names(s.key_id)]
    if new:
        write_atomic(path, Envelope(kept.payload_type, kept.payload, (*kept.signatures, *new)).to_json())
        desk.files.storage.keep(path)


def _object(desk: AppContext, place: Path, body: bytes, sent: Envelope) -> None:
    """Keep a refusal of this certificate, or what takes one back."""
    certificate = _certificate(place)
    known = refusals_beside(place / CERTIFICATE_FILE)
    try:
        before, after = objections(certificate, known), objections(certificate, (*known, body))
    except RecordError as exc:
        raise BadRequest(f"the refusal cannot be read: {exc.message}", code="invalid_envelope") from exc
    if before == after and sent.payload_type == REFUSAL_PAYLOAD_TYPE and body not in known:
        raise BadRequest("that is a refusal of another certificate", code="certificate_differs", status=409)
    keep_refusal(place / FOLDER, body)
    desk.files.storage.keep(place / FOLDER)


def _standing(system: System, place: Path) -> dict[str, Any]:
    """Who has signed, who has not, and who refuses. Whether it holds is what verification says, at each request."""
    envelope = Envelope.from_json(read_bytes(place / CERTIFICATE_FILE, "certificate"))
    certificate = read_statement(envelope.payload)
    found = objections(certificate, refusals_beside(place / CERTIFICATE_FILE))
    said = {True: "signed", False: "waiting"}
    return {
        "model": system.name,
        "object": "recert.certificate",
        "serial": certificate.serial,
        "signers": [
            {"role": one.role, "name": one.name, "state": said[envelope.names(one.key_id)]}
            for one in certificate.approvals
        ],
        "refusals": [
            {"role": o.refusal.approval.role, "reason": o.refusal.reason, "withdrawn": o.withdrawn}
            for o in found
        ],
    }


def _certificate(place: Path) -> Certificate:
    return read_statement(Envelope.from_json(read_bytes(place / CERTIFICATE_FILE, "certificate")).payload)


def _found(desk: AppContext, call: Call) -> System:
    system = found_system(desk, call, call.path["id"])
    if system.state != CERTIFIED:
        raise missing("certificate", system.name)
    desk.gates.fetch_signed(system)
    return system


def _place(desk: AppContext, system: System) -> Path:
    return desk.settings.job_folder(system.job) / str(system.value["place"])
