"""Signing a certificate's file once it was shown: alone, unchanged since, and with keys that are somewhere else."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from recert.certification.log.logged import Appended, log_envelope
from recert.certification.signing.algorithms import readings
from recert.certification.signing.keys import PublicKey, SigningKey
from recert.certification.stage import approve
from recert.digest import canonical_json, sha256_bytes
from recert.errors import InputError, SigningKeyError, StoreError
from recert.policy import Policy
from recert.records.signed.refusal import Refusal
from recert.records.signed.signoff import SignoffSheet
from recert.store.files.writing import read_bytes, write_atomic


def given_signer(public: PublicKey, signature: bytes) -> SigningKey:
    """
    Return a key that has signed already: it gives this signature for the one message that it is of.

    Args:
        public: its public half, from the trust store.
        signature: raw, or of ECDSA in DER or as `r` and `s`. Asked for another message, the key raises
            SigningKeyError.
    """

    def sign(message: bytes) -> bytes:
        for reading in readings(public.algorithm, signature):
            if public.signed(reading, message):
                return reading
        raise SigningKeyError(
            "this is not the key's signature over what was to be signed",
            facts={"key": public.key_id, "message": f"sha256:{sha256_bytes(message)}"},
            hint="sign what is shown, with the key whose public half is trusted",
        )

    return SigningKey(public=public, sign=sign)


def shown_sha256(envelope: bytes, refusals: Sequence[bytes], policy: Policy | None) -> str:
    """Return the digest of all that a sign-off sheet is made from: with another one, something else was shown."""
    return sha256_bytes(
        canonical_json(
            {
                "envelope": sha256_bytes(envelope),
                "refusals": sorted(map(sha256_bytes, refusals)),
                "policy": policy.digest if policy is not None else "",
            }
        )
    )


def require_whole(sheet: SignoffSheet) -> None:
    """
    Return when all of what would be signed can be shown.

    Raises:
        InputError: it cannot.
    """
    if sheet.unshown:
        raise InputError(
            "not signed: not all of what would be signed can be shown",
            facts={str(number): words for number, words in enumerate(sheet.unshown, start=1)},
            hint="give the policy with --policy, or sign with the version of Recert that made the certificate",
        )


def require_agreed(own: Sequence[Refusal], *, withdrawn: bool, folder: Path) -> None:
    """
    Return when somebody who signs does not refuse at once, and who takes a refusal back has one.

    Args:
        own: their refusals that stand.
        withdrawn: whether they take them back.
        folder: where refusals lie.

    Raises:
        InputError: they do not agree with themselves.
    """
    if own and not withdrawn:
        raise InputError(
            "you refused this model, and a signature alone does not take that back",
            facts={"because": own[0].reason},
            hint="give --withdraw with what has changed",
        )
    if withdrawn and not own:
        raise InputError("you refused nothing of this model", facts={"folder": folder})


def approve_file(
    path: Path,
    key: SigningKey,
    *,
    shown: bytes,
    log: Path | None = None,
    told: Callable[[], None] = lambda: None,
) -> Appended | None:
    """
    Add a signature to a certificate's file, unless the file is another one than was shown.

    Args:
        path: the certificate.
        key: of who signs, as `approve` takes it.
        shown: the envelope that they saw.
        log: transparency log that is appended to before the file is written.
        told: called once all is well, before anything is written; what it raises stops the signing.

    Returns:
        Where it is in the log; None without one.

    Raises:
        InputError: the file was changed meanwhile.
        RecordError, SigningKeyError: as `approve`.
        StoreError: it cannot be read, logged or written; then it is as it was.
    """
    with alone(path):
        if read_bytes(path, "certificate") != shown:
            raise InputError(
                "the certificate was changed since it was shown",
                facts={"file": path},
                hint="look at it again, and sign what it says now",
            )
        signed = approve(shown, key)
        told()
        appended = log_envelope(log, signed) if log is not None else None
        write_atomic(path, signed)
    return appended


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """
    Let one process at a time sign a file; others wait. It locks the file's folder, so that nothing is left behind.

    Raises:
        StoreError: the folder cannot be opened.
    """
    try:
        handle = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise StoreError("cannot lock the file", facts={"file": path, "because": exc.strerror}) from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
