"""Roots of trust: chains of versions that keys made in memory sign, in a folder."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from builders import NOW
from recert.certification import PublicKey, SigningKey
from recert.certification.signing.algorithms import new_private, raw_public, signing
from recert.certification.signing.envelope import Envelope
from recert.certification.trust.root_chain import SignedRoot, public_key
from recert.certification.trust.root_edits import root_key
from recert.digest import sha256_bytes
from recert.records.signed.trust_root import ROOT_PAYLOAD_TYPE, TrustRoot

ROOT_ID = "0123456789abcdef" * 2


def make_key(role: str, name: str, **more: Any) -> SigningKey:
    """Make a key in memory."""
    private = new_private("ed25519")
    found = raw_public(private.public_key())
    assert found is not None
    public = PublicKey(
        key_id=sha256_bytes(found[1]),
        name=name,
        public_key=base64.b64encode(found[1]).decode(),
        roles=(role,),
        **more,
    )
    return SigningKey(public=public, sign=signing(private))


def make_root(roots: Sequence[SigningKey], keys: Sequence[SigningKey] = (), **changes: Any) -> TrustRoot:
    """Make a first version, with changes; it is what a record may be, and signed by nobody."""
    said = TrustRoot(
        root_id=ROOT_ID,
        version=1,
        issued_at=NOW - timedelta(days=1),
        expires_at=NOW + timedelta(days=300),
        keys=tuple(root_key(key.public) for key in (*roots, *keys)),
        root_threshold=1,
        root_key_ids=tuple(key.key_id for key in roots),
    )
    return TrustRoot.from_json(said.model_copy(update=changes).to_json())


def next_root(before: SignedRoot, **changes: Any) -> TrustRoot:
    """Return the version after one, with changes."""
    update = {"version": before.root.version + 1, "previous_sha256": before.sha256, **changes}
    return TrustRoot.from_json(before.root.model_copy(update=update).to_json())


def signed_root(root: TrustRoot, by: Iterable[SigningKey]) -> SignedRoot:
    """Sign a version."""
    envelope = Envelope(ROOT_PAYLOAD_TYPE, root.to_json(), ())
    for key in by:
        envelope = envelope.signed_by(key)
    return SignedRoot(root, envelope, tuple(public_key(key) for key in root.keys))


def write_chain(folder: Path, chain: Sequence[SignedRoot]) -> Path:
    """Write versions as they are kept: the last one as `root.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in chain[:-1]:
        (folder / f"{one.root.version}.root.json").write_bytes(one.envelope.to_json())
    (folder / "root.json").write_bytes(chain[-1].envelope.to_json())
    return folder
