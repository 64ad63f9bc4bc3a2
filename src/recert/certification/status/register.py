"""The certificates that lie in a folder, with the reports beside them: what a change of policy is held against."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from recert.certification.signing.envelope import MAX_ENVELOPE_BYTES, Envelope
from recert.certification.signing.statement import read_statement
from recert.certification.status.reading import read_status, require_in_force
from recert.certification.trust.store import TrustStore
from recert.digest import canonical_json
from recert.errors import InputError, RecordError, VerificationError
from recert.records.record import parse_json
from recert.records.reports.evaluation import EvalReport
from recert.records.signed.certificate import PAYLOAD_TYPE, PREDICATE_TYPE, Certificate
from recert.store.files.writing import read_bytes

_REPORT: Final = "eval-report.json"


@dataclass(frozen=True)
class FoundCertificate:
    """A certificate's file, what it says, and the evaluation behind it where that lies beside it."""

    path: Path
    certificate: Certificate
    report: EvalReport | None
    ended: str
    """Why it is not live: it has expired, is revoked or suspended; empty for one that is."""
    doubt: str = ""
    """Why this version of Recert cannot verify it, though it reads what it says; empty where it can."""


def find_certificates(
    folder: Path, *, trust: TrustStore | None, status: bytes | None, now: datetime
) -> tuple[FoundCertificate, ...]:
    """
    Return every certificate in a folder and those below it, in the order of their paths.

    What this gives is for planning. Without `trust` nobody's signature was checked, and in no case the files of the
    models: `verify` does that.

    Args:
        folder: the folder, or one certificate's file.
        trust: whose signatures count.
        status: the newest status list's envelope; None takes none as revoked.
        now: the time.

    Raises:
        InputError: there is no such folder, or no certificate in it.
        StoreError: a file cannot be read.
        RecordError: a file is a certificate's, and cannot be read as one.
        VerificationError: nobody trusted signed one, or the status list cannot be relied on.
    """
    if status is not None and trust is None:
        raise InputError("a status list needs the keys that count", hint="give --trust as well")
    root = folder if folder.is_dir() else folder.parent
    reports = _reports(root)
    paths = [folder] if folder.is_file() else sorted(root.rglob("*.json"))
    found = [one for path in paths if (one := _found(path, reports, trust, status, now)) is not None]
    if not found:
        raise InputError("there is no certificate", facts={"folder": folder})
    return tuple(found)


def _found(
    path: Path,
    reports: dict[str, EvalReport],
    trust: TrustStore | None,
    status: bytes | None,
    now: datetime,
) -> FoundCertificate | None:
    """What lies in a file; None where that is no certificate and never was one."""
    if not path.is_file() or path.stat().st_size > MAX_ENVELOPE_BYTES:
        return None
    data = read_bytes(path)
    if PAYLOAD_TYPE.encode() not in data:
        return None
    try:
        value = parse_json(data)
        if not isinstance(value, dict) or value.get("payloadType") != PAYLOAD_TYPE:
            return None  # such as a bundle around an envelope of another tool
        opened = Envelope.from_json(data)
        statement = parse_json(opened.payload)
        if isinstance(statement, dict) and statement.get("predicateType", PREDICATE_TYPE) != PREDICATE_TYPE:
            return None
        certificate, doubt = _read(opened.payload, statement)
    except RecordError as exc:
        raise RecordError(exc.message, facts={"file": path, **exc.facts}, hint=exc.hint) from exc
    if trust is not None and not opened.proven_signers(trust, now=now):
        raise VerificationError(
            "untrusted-key", "certificate is signed by nobody you trust", facts={"file": path}
        )
    ended = _ended(certificate, trust, status, now)
    return FoundCertificate(path, certificate, reports.get(certificate.eval_report_sha256), ended, doubt)


def _read(payload: bytes, statement: Any) -> tuple[Certificate, str]:
    """A certificate, and why it is not to be relied on: one of another version says more or less than this knows."""
    try:
        return read_statement(payload), ""
    except RecordError as exc:
        if not isinstance(statement, dict) or "predicate" not in statement:
            raise
        certificate = Certificate.from_json(canonical_json(statement["predicate"]))
        return certificate, f"this version cannot verify it: {exc.message}"


def _ended(certificate: Certificate, trust: TrustStore | None, status: bytes | None, now: datetime) -> str:
    if now >= certificate.expires_at:
        return "expired"
    if status is None or trust is None:
        return ""
    try:
        require_in_force(certificate, read_status(status, trust=trust, now=now))
    except VerificationError as exc:
        if exc.reason in ("revoked", "suspended"):
            return exc.reason
        raise
    return ""


def _reports(root: Path) -> dict[str, EvalReport]:
    """Evaluations below a folder, by digest. One that cannot be read is no report: the answer knows less then."""
    out: dict[str, EvalReport] = {}
    for path in sorted(root.rglob(_REPORT)):
        try:
            report = EvalReport.from_json(read_bytes(path))
        except RecordError:
            continue
        out[report.digest] = report
    return out
