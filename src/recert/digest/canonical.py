"""Canonical JSON, and the sha256 of it and of bytes."""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785

from recert.errors import RecordError


def canonical_json(value: Any) -> bytes:
    """
    Return the one canonical byte form of a JSON value (RFC 8785).

    Raises:
        RecordError: the value holds NaN, infinity, an integer beyond 2**53, or is not JSON.
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError, UnicodeError) as exc:
        raise RecordError("value has no canonical JSON form", facts={"because": exc}) from exc


def sha256_bytes(data: bytes) -> str:
    """Return the sha256 of some bytes, as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    """Return the sha256 of a JSON value's canonical form, as 64 lower-case hex digits."""
    return sha256_bytes(canonical_json(value))
