"""The signed steps behind a certificate, as an auditor finds them: each link against what the certificate names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recert.certification.signing.envelope import Envelope
from recert.certification.signing.links import read_link, step_named
from recert.certification.trust.store import TrustStore
from recert.digest import sha256_bytes
from recert.errors import RecertError, VerificationError
from recert.records.record import now
from recert.records.signed.certificate import Certificate, Step, StepEvidence
from recert.store.files.writing import read_bytes

_CODE: Final = "step-not-signed"


@dataclass(frozen=True)
class AuditedSteps:
    """What the links at hand say of a certificate's steps."""

    reasons: tuple[str, ...]
    """Why one of them is not what the certificate names, as `code: words`."""
    signed: tuple[Step, ...]
    """Steps whose link is the one that the certificate names."""
    missing: tuple[Step, ...]
    """Steps whose link is not at hand."""
    checked: bool
    """Whether signatures were checked against trusted keys."""

    @property
    def row(self) -> tuple[str, str, str]:
        """The line of the audit's table: what, answer, how."""
        how = "signatures checked" if self.checked else "give --trust to check the signatures"
        missing = f"; not at hand: {', '.join(self.missing)}" if self.missing else ""
        answer = "do not hold" if self.reasons else ", ".join(self.signed) or "none at hand"
        return "signed steps", answer, how + missing


def read_audited_steps(certificate: Certificate, paths: Sequence[Path], trust: Path | None) -> AuditedSteps:
    """
    Return what the links at hand say of the steps that a certificate names.

    Args:
        certificate: what was said.
        paths: files of links; of each step one.
        trust: trusted keys; without them links are compared by their digests, and no signature is checked.

    Raises:
        SigningKeyError, VerificationError: the trusted keys cannot be read or do not count.
        StoreError: a link cannot be read.
    """
    store = TrustStore.load(trust) if trust is not None else None
    named = {one.step: one for one in certificate.steps or ()}
    signed: list[Step] = []
    reasons: list[str] = []
    for path in paths:
        envelope = read_bytes(path, "link")
        try:
            step = step_named(envelope)
            why = list(_why_not(envelope, named.get(step), step, certificate, store))
        except RecertError as exc:
            reasons.append(f"{_CODE}: {path.name}: {exc.message}")
            continue
        reasons += [f"{_CODE}: {path.name}: {words}" for words in why]
        if not why:
            signed.append(step)
    missing = tuple(step for step in named if step not in signed)
    return AuditedSteps(tuple(reasons), tuple(dict.fromkeys(signed)), missing, store is not None)


def _why_not(
    envelope: bytes,
    named: StepEvidence | None,
    step: Step,
    certificate: Certificate,
    trust: TrustStore | None,
) -> Iterator[str]:
    """Why a link is not the one behind a step of the certificate."""
    if named is None:
        yield f"the certificate names no step {step}"
        return
    if sha256_bytes(Envelope.from_json(envelope).payload) != named.link_sha256:
        yield f"it is another link than the certificate names for {step}"
        return
    if trust is None:
        return
    try:
        link = read_link(envelope, step=step, trust=trust, now=now())
    except VerificationError as no:
        yield no.message
        return
    if (link.key_id, link.record_sha256) != (named.key_id, named.record_sha256):
        yield "another key or report than the certificate names"
    elif step == "evaluate" and link.products.get("outcomes.jsonl") != certificate.evidence_sha256:
        yield "it is about other outcomes than the certificate's"
