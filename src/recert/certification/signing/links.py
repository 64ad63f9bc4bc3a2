"""
Links: who ran a step of the chain, on what, with which result. Nothing unsigned is evidence.

A link is an in-toto Statement with the link predicate, in a DSSE envelope of one signature. What went in are its
materials, what came out its products, each by name and sha256: `spec/links.md`.
Source: in-toto Attestation Framework, predicate link v0.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from recert import __version__
from recert.certification.clock import moment
from recert.certification.signing.envelope import Envelope, sign
from recert.certification.signing.keys import SigningKey
from recert.certification.signing.materials import USUAL_NAMES, Digests, step_of, what_went_in
from recert.certification.trust.store import TrustStore
from recert.digest import canonical_json, sha256_bytes
from recert.errors import RecordError, StoreError, VerificationError
from recert.records.record import Record, parse_json
from recert.records.signed.certificate import PAYLOAD_TYPE, STATEMENT_TYPE, STEP_ROLES, Step, StepEvidence
from recert.store.files.writing import read_bytes, write_atomic

LINK_TYPE: Final = "https://in-toto.io/attestation/link/v0.3"

_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_HINT: Final = "run the step again with --key"


@dataclass(frozen=True)
class Link:
    """A link that somebody trusted in the step's role signed."""

    step: Step
    materials: Digests
    products: Digests
    record_sha256: str
    """Of the report that the step made."""
    finished_at: datetime
    recert: str
    """Version of Recert that ran the step."""
    key_id: str
    name: str
    """Who signed, by the trust store."""
    sha256: str
    """Of the signed payload."""

    @property
    def evidence(self) -> StepEvidence:
        """The step as a certificate names it."""
        return StepEvidence(
            step=self.step,
            key_id=self.key_id,
            name=self.name,
            record_sha256=self.record_sha256,
            link_sha256=self.sha256,
        )


def link_path(report: Path, step: Step) -> Path:
    """Return where the link of a report lies: `STEP.link.json` beside it, or `X-STEP.link.json` for `X-STEP-report`."""
    usual = USUAL_NAMES[step]
    before = report.name.removesuffix(usual) if report.name.endswith(usual) else ""
    return report.parent / f"{before}{step}.link.json"


def sign_link(
    step: Step,
    *,
    materials: Mapping[str, str],
    products: Mapping[str, str],
    record_sha256: str,
    key: SigningKey,
    now: datetime | None = None,
) -> bytes:
    """
    Return the signed link of a step.

    Args:
        step: what was run.
        materials, products: the sha256 of what went in, and of what came out, by name.
        record_sha256: digest of the report that the step made.
        key: of who ran it, with the step's role.
        now: when it ended; the present by default.

    Raises:
        SigningKeyError: the key has another role.
        RecordError: a name is empty, or a digest is none.
    """
    key.require_role(STEP_ROLES[step])
    finished_at = moment(now).astimezone(UTC).strftime(_TIME)
    payload = _payload(step, dict(materials), dict(products), record_sha256, finished_at, __version__)
    _read(payload)
    return sign(PAYLOAD_TYPE, payload, [key]).to_json()


def sign_link_of(report: Record, key: SigningKey, *, now: datetime | None = None) -> bytes:
    """
    Return the signed link of the step that made a report.

    Raises:
        SigningKeyError: the key has another role.
        InputError: no step makes such a record.
    """
    materials, products = what_went_in(report)
    step, record = step_of(report), report.digest
    return sign_link(step, materials=materials, products=products, record_sha256=record, key=key, now=now)


def write_link(path: Path, report: Record, key: SigningKey | None) -> None:
    """
    Write the link of a report beside it, last of all; without a key remove an earlier one.

    Args:
        path: where the report was written.
        report: what was written.
        key: of who ran the step.

    Raises:
        SigningKeyError: the key has another role, or did not sign.
        StoreError: the folder cannot be written.
    """
    beside = link_path(path, step_of(report))
    try:
        beside.unlink(missing_ok=True)  # of an earlier report, whatever comes
    except OSError as exc:
        raise StoreError("cannot write file", facts={"file": beside, "because": exc.strerror}) from exc
    if key is not None:
        write_atomic(beside, sign_link_of(report, key))


def read_links(reports: Mapping[Step, Path]) -> dict[Step, bytes]:
    """
    Return the links that lie beside reports, by step; none for a report without one.

    Raises:
        StoreError: one is there and cannot be read.
    """
    beside = {step: link_path(path, step) for step, path in reports.items()}
    return {step: read_bytes(path, "link") for step, path in beside.items() if path.exists()}


def read_link(envelope: bytes, *, step: Step, trust: TrustStore, now: datetime) -> Link:
    """
    Return what a link says, which somebody trusted in the step's role signed.

    Args:
        envelope: the link.
        step: the one that it must be of.
        trust: whose signatures count.
        now: the time.

    Raises:
        VerificationError: `link-malformed`, or `link-untrusted`.
    """
    opened, said = _opened(envelope)
    if said["step"] != step:
        raise VerificationError(
            "link-malformed",
            "this is the link of another step",
            facts={"expected": step, "actual": said["step"]},
            hint=_HINT,
        )
    role = STEP_ROLES[step]
    proven = opened.proven_signers(trust, now=now)
    signer = next((key for key in proven.values() if role in key.roles), None)
    if signer is None:
        raise VerificationError(
            "link-untrusted",
            f"nobody trusted in the role {role} signed that they ran the step {step}",
            facts={"step": step, "role": role, "signed by": ", ".join(s.key_id for s in opened.signatures)},
            hint="add the .pub file of who ran it to the trust store, if you do trust them",
        )
    return Link(**said, key_id=signer.key_id, name=signer.name, sha256=sha256_bytes(opened.payload))


def step_named(envelope: bytes) -> Step:
    """
    Return the step that a link says it is of. Nothing about it is proven: only `read_link` does that.

    Raises:
        VerificationError: `link-malformed`.
    """
    step: Step = _opened(envelope)[1]["step"]
    return step


def _opened(envelope: bytes) -> tuple[Envelope, dict[str, Any]]:
    try:
        opened = Envelope.from_json(envelope)
        if opened.payload_type != PAYLOAD_TYPE:
            raise RecordError("not a statement", facts={"actual": opened.payload_type})
        if len(opened.signatures) != 1:
            raise RecordError("one signature is expected", facts={"actual": len(opened.signatures)})
        return opened, _read(opened.payload)
    except RecordError as exc:
        because = "; ".join([exc.message, *(f"{name}: {fact}" for name, fact in exc.facts.items())])
        raise VerificationError(
            "link-malformed", "not the link of a step", facts={"because": because}, hint=_HINT
        ) from exc


def why_not_link_of(link: Link, report: Record) -> str:
    """Return why a link is not of a report, in words, or an empty text."""
    if link.step != step_of(report):
        return f"the link is of the step {link.step}"
    if link.record_sha256 != report.digest:
        return f"the link is of another report, {link.record_sha256}"
    for kind, expected, found in zip(
        ("materials", "products"), what_went_in(report), (link.materials, link.products), strict=True
    ):
        other = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        if other:
            return f"the link names other {kind} than the report: {', '.join(other)}"
    return ""


def _payload(
    step: str, materials: Digests, products: Digests, record_sha256: str, finished_at: str, recert: str
) -> bytes:
    def listed(digests: Digests) -> list[dict[str, Any]]:
        return [{"name": name, "digest": {"sha256": digests[name]}} for name in sorted(digests)]

    return canonical_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": listed(products),
            "predicateType": LINK_TYPE,
            "predicate": {
                "name": step,
                "command": [],
                "materials": listed(materials),
                "byproducts": {
                    "finished_at": finished_at,
                    "recert": recert,
                    "record_sha256": record_sha256,
                },
                "environment": {},
            },
        }
    )


def _read(payload: bytes) -> dict[str, Any]:
    """The fields of a link. The only payload accepted is the one that `_payload` makes of them."""
    match parse_json(payload):
        case {
            "subject": [_, *_] as subjects,
            "predicateType": str(kind),
            "predicate": {
                "name": str(step),
                "materials": [*materials],
                "byproducts": {
                    "finished_at": str(finished_at),
                    "recert": str(recert),
                    "record_sha256": str(record_sha256),
                },
            },
        } if kind == LINK_TYPE and step in STEP_ROLES and _SHA256.fullmatch(record_sha256):
            made, given = _digests(subjects), _digests(materials)
            if _payload(step, given, made, record_sha256, finished_at, recert) != payload:
                raise RecordError("link lacks a field, or holds one too many or in another form")
            return {
                "step": step,
                "materials": given,
                "products": made,
                "record_sha256": record_sha256,
                "finished_at": _time(finished_at),
                "recert": recert,
            }
    raise RecordError("not a link", hint="expected an in-toto Statement with the predicate link v0.3")


def _digests(listed: list[Any]) -> Digests:
    found: Digests = {}
    for item in listed:
        match item:
            case {"name": str(name), "digest": {"sha256": str(sha256)}} if name and _SHA256.fullmatch(sha256):
                found[name] = sha256
            case _:
                raise RecordError("a material or product must be exactly a name and its sha256")
    return found


def _time(text: str) -> datetime:
    try:
        found = datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError as exc:
        raise RecordError("not a time", facts={"given": text}) from exc
    if found.strftime(_TIME) != text:
        raise RecordError("not a time", facts={"given": text})
    return found
