"""What can be changed of a root of trust: its keys, its root keys, its status list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from recert.certification.signing.envelope import Envelope
from recert.certification.signing.keys import PublicKey
from recert.certification.trust.root_chain import public_key
from recert.errors import InputError, RecordError
from recert.records.signed.certificate import STATUS_PAYLOAD_TYPE, StatusList
from recert.records.signed.trust_root import ROOT_ROLE, RootKey, TrustRoot


def add_keys(root: TrustRoot, keys: Sequence[PublicKey]) -> TrustRoot:
    """
    Return the root with more keys, each in the roles of its `.pub` file.

    Raises:
        InputError: a key is there already, perhaps revoked, or is a root key.
    """
    for key in keys:
        if any(key.key_id == there.key_id for there in root.keys):
            raise InputError("the key is there already", facts={"key": key.key_id, "name": key.name})
        if ROOT_ROLE in key.roles:
            raise InputError(
                "a root key is not added, the root keys are named anew",
                facts={"key": key.key_id, "name": key.name},
                hint="recert trust rotate",
            )
    return root.model_copy(update={"keys": (*root.keys, *(root_key(key) for key in keys))})


def drop_keys(root: TrustRoot, named: Sequence[str], *, revoked_at: datetime | None) -> TrustRoot:
    """
    Return the root without keys, or with these revoked.

    Args:
        root: the root.
        named: key ids, or beginnings of them with at least 8 digits.
        revoked_at: when they were revoked; None takes them out as if they had never been there.

    Raises:
        InputError: none or several keys begin so.
    """
    gone = set()
    for start in named:
        found = [key.key_id for key in root.keys if key.key_id.startswith(start)]
        if len(found) != 1 or len(start) < 8:
            raise InputError(
                "that names no key, or several",
                facts={"given": start, "keys": len(found)},
                hint="give the key's id, or its first 16 digits: recert trust show",
            )
        gone.add(found[0])
    revoked = {"revoked_at": revoked_at}
    keys = tuple(
        key if key.key_id not in gone or key.revoked_at else key.model_copy(update=revoked)
        for key in root.keys
        if key.key_id not in gone or revoked_at is not None
    )
    roots = tuple(key_id for key_id in root.root_key_ids if key_id not in gone)
    return root.model_copy(update={"keys": keys, "root_key_ids": roots})


def rotate_keys(root: TrustRoot, root_keys: Sequence[PublicKey], threshold: int | None) -> TrustRoot:
    """
    Return the root with these root keys and no others; the former ones are taken out.

    Args:
        root: the root.
        root_keys: all root keys from now on, those that stay too.
        threshold: how many people must sign from now on; None leaves it.
    """
    others = tuple(key for key in root.keys if key.key_id not in root.root_key_ids)
    return root.model_copy(
        update={
            "keys": (*(root_key(key) for key in root_keys), *others),
            "root_key_ids": tuple(key.key_id for key in root_keys),
            "root_threshold": threshold or root.root_threshold,
        }
    )


def root_key(key: PublicKey) -> RootKey:
    """Return a key as a root names it; nothing is checked yet."""
    return RootKey.model_construct(**{name: getattr(key, name) for name in PublicKey.model_fields})


def public_keys_of(root: TrustRoot) -> list[PublicKey]:
    """Return the keys that count by a root, without those that were revoked."""
    return [public_key(key) for key in root.keys if key.revoked_at is None]


def list_id_of(given: bytes | str, keys: Sequence[PublicKey]) -> str | None:
    """
    Return the id of a status list.

    Args:
        given: the list's envelope, or the id itself, which may be empty: then there is none.
        keys: whose key with the role `status` must have signed a list.

    Raises:
        InputError: it is no id, or not a list that one of these signed.
    """
    if isinstance(given, str):
        if given and not re.fullmatch(r"[0-9a-f]{32}", given):
            raise InputError("neither a file nor the id of a status list", facts={"given": given})
        return given or None
    try:
        opened = Envelope.from_json(given)
        listed = StatusList.from_json(opened.payload)
    except RecordError as exc:
        raise InputError("not a status list", facts={"because": exc}) from exc
    signed = any("status" in key.roles and opened.proven_by(key) for key in keys)
    if opened.payload_type != STATUS_PAYLOAD_TYPE or not signed or listed.list_id is None:
        raise InputError(
            "not a status list with an id, signed by a key with the role status that is trusted here",
            hint="add that key first",
        )
    return listed.list_id
