"""A server elsewhere that is served only while it answers as its fingerprint says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recert.certification.fingerprint import read_fingerprint
from recert.certification.trust.store import TrustStore
from recert.errors import GatewayError, InputError
from recert.gateway.upstream.fingerprint import FingerprintUpstream, Serving
from recert.models.probes import ProbeSet
from recert.policy.sections.fingerprint import why_too_weak
from recert.records.signed.certificate import Certificate
from recert.store.files.writing import read_bytes

FINGERPRINT: Final = "fingerprint="
"""How `--upstream` names such a server: this, its URL, and `#` with its own name of the model."""


@dataclass(frozen=True)
class FingerprintedUpstream:
    """
    A server that gives no files, and what it is known by.

    Args:
        url: where its API begins.
        fingerprint: file that `recert fingerprint` signed.
        probes: file of the secret probes, mode 0600.
        model: what the server calls the model; by default the name that clients ask by.
        api_key: sent as a bearer token, if any.
    """

    url: str
    fingerprint: Path
    probes: Path
    model: str = ""
    api_key: str = ""


def fingerprinted(
    spec: str, fingerprint: Path | None, probes: Path | None, api_key: str
) -> FingerprintedUpstream:
    """
    Return the server that `fingerprint=URL#model` names.

    Raises:
        InputError: it is no address, or a file is not given.
    """
    url, _, model = spec.removeprefix(FINGERPRINT).partition("#")
    if not url.startswith(("http://", "https://")):
        raise InputError("not an address", facts={"given": url}, hint="--upstream fingerprint=URL#model")
    if fingerprint is None or probes is None:
        raise InputError(
            "a server elsewhere needs its fingerprint and the secret probes",
            hint="give --fingerprint and --probes, which `recert fingerprint` wrote",
        )
    return FingerprintedUpstream(url, fingerprint, probes, model, api_key)


def compare_first(
    declared: FingerprintedUpstream, certificate: Certificate, trust: TrustStore, serving: Serving
) -> FingerprintUpstream:
    """
    Return the client for a server that was compared now, and is the certified model as far as that shows.

    Raises:
        VerificationError: the fingerprint is not accepted, or is of another system.
        GatewayError: it is weaker than the policy asks (`fingerprint-too-weak`), the probes are others, or the server
            does not answer as the certified model does.
        StoreError, SigningKeyError, RecordError: the probes cannot be read, or others can read them.
    """
    found = read_fingerprint(read_bytes(declared.fingerprint, "fingerprint"), certificate, trust=trust)
    # F4
    weak = why_too_weak(found, serving.policy.gateway.fingerprint)
    if weak:
        raise GatewayError(
            "fingerprint-too-weak",
            "the fingerprint is weaker than the policy asks",
            facts={"because": weak},
            hint="make it again with `recert fingerprint`, with more probes",
        )
    # F5
    upstream = FingerprintUpstream(
        declared.url,
        found,
        ProbeSet.read(declared.probes),
        serving,
        model=declared.model,
        api_key=declared.api_key,
    )
    upstream.compare()
    return upstream
