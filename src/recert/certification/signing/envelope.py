"""DSSE envelopes: bytes that several people signed. Source: secure-systems-lab/dsse, protocol 1.0.2."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from recert.certification.signing.keys import PublicKey, SigningKey, decode_base64
from recert.digest import canonical_json
from recert.errors import RecordError
from recert.records.record import parse_json

if TYPE_CHECKING:
    from recert.certification.trust.store import TrustStore

MAX_ENVELOPE_BYTES: Final = 16 * 1024 * 1024


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True)
class Signature:
    """One signature: the id of the key it says it is by, and its bytes. Neither is proven."""

    key_id: str
    value: bytes


@dataclass(frozen=True)
class Envelope:
    """A payload, its type, and its signatures."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    @classmethod
    def from_json(cls, data: bytes) -> Envelope:
        """
        Read an envelope, strictly: exactly the fields of `spec/certificate.md` §1, canonical base64.

        Raises:
            RecordError: it is too large or anything else.
        """
        if len(data) > MAX_ENVELOPE_BYTES:
            raise RecordError(
                "envelope is too large", facts={"bytes": len(data), "at most": MAX_ENVELOPE_BYTES}
            )
        match parse_json(data):
            case {
                "payloadType": str(kind),
                "payload": str(text),
                "signatures": [_, *_] as listed,
                **rest,
            } if not rest:
                payload = decode_base64(text)
                if payload is None:
                    raise RecordError("payload is not canonical base64")
                return cls(kind, payload, tuple(_signature(item) for item in listed))
        raise RecordError("not an envelope", hint="expected payloadType, payload and at least one signature")

    def to_json(self) -> bytes:
        """Return the envelope as canonical JSON."""
        return canonical_json(
            {
                "payloadType": self.payload_type,
                "payload": base64.b64encode(self.payload).decode(),
                "signatures": [
                    {"keyid": s.key_id, "sig": base64.b64encode(s.value).decode()} for s in self.signatures
                ],
            }
        )

    def signed_by(self, key: SigningKey) -> Envelope:
        """Return the envelope with one more signature; an earlier one of the same key is replaced."""
        value = key.sign(pae(self.payload_type, self.payload))
        others = tuple(s for s in self.signatures if s.key_id != key.key_id)
        return Envelope(self.payload_type, self.payload, (*others, Signature(key.key_id, value)))

    def names(self, key_id: str) -> bool:
        """Say whether some signature claims to be by this key. That proves nothing."""
        return any(s.key_id == key_id for s in self.signatures)

    def proven_signers(self, trust: TrustStore, *, now: datetime) -> dict[str, PublicKey]:
        """
        Return the trusted keys that did sign, by key id.

        Signatures that do not count are passed over, so that taking one away changes nothing.
        """
        candidates = {s.key_id: trust.find(s.key_id, now=now) for s in self.signatures}
        return {k: key for k, key in candidates.items() if key is not None and self.proven_by(key)}

    def proven_by(self, key: PublicKey) -> bool:
        """Say whether one of the signatures is really by this key."""
        message = pae(self.payload_type, self.payload)
        return any(key.signed(s.value, message) for s in self.signatures if s.key_id == key.key_id)


def sign(payload_type: str, payload: bytes, keys: Iterable[SigningKey]) -> Envelope:
    """Return an envelope of the payload, signed by each key."""
    envelope = Envelope(payload_type, payload, ())
    for key in keys:
        envelope = envelope.signed_by(key)
    return envelope


def _signature(item: object) -> Signature:
    match item:
        case {"keyid": str(key_id), "sig": str(text), **rest} if not rest:
            value = decode_base64(text)
            if value is None:
                raise RecordError("signature is not canonical base64")
            return Signature(key_id, value)
    raise RecordError("a signature must be exactly keyid and sig")
