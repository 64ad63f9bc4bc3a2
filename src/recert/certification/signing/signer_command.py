"""Keys that nobody can read: a command signs, on a hardware token, in a module or in a cloud's key service."""

from __future__ import annotations

import base64
import binascii
import shlex
import subprocess
from typing import Final

from recert.certification.signing.algorithms import readings
from recert.certification.signing.keys import PublicKey, SigningKey
from recert.errors import SigningKeyError

TIMEOUT_S: Final = 120.0
"""Time for a PIN to be typed and a token to be touched."""

_MOST_BYTES: Final = 4096


def command_signer(public: PublicKey, command: str, *, timeout_s: float = TIMEOUT_S) -> SigningKey:
    """
    Return a key whose signatures a command makes: the message on its stdin, the signature on its stdout.

    The command is run without a shell, with this process's environment, terminal and stderr, so that it can ask for a
    PIN. It gives back raw bytes or base64: an Ed25519 signature of 64 bytes; or an ECDSA one, in DER or as `r` and `s`
    of 32 bytes each, over the SHA-256 of the message. Whatever it gives is verified before it is used.

    Args:
        public: the public half, from a `.pub` file.
        command: as it would be typed.
        timeout_s: how long it may take; then it is killed.

    Raises:
        SigningKeyError: the command cannot be understood. Signing raises it where the command cannot be run, fails,
            takes too long, or gives back no signature by this key.
    """
    try:
        words = shlex.split(command)
    except ValueError as exc:
        raise SigningKeyError(
            "the signer command cannot be understood", facts={"command": command, "because": exc}
        ) from exc
    if not words:
        raise SigningKeyError("the signer command is empty", hint="give a command that signs its stdin")

    def sign(message: bytes) -> bytes:
        given = _ask(words, message, timeout_s)
        for said in (given, _decoded(given)):
            for signature in readings(public.algorithm, said) if said is not None else ():
                if public.signed(signature, message):
                    return signature
        raise SigningKeyError(
            "the signer command gave back no signature by this key",
            facts={
                "command": words[0],
                "key": f"{public.name} {public.key_id}".strip(),
                "algorithm": public.algorithm,
                "bytes given": len(given),
            },
            hint="it must sign its whole stdin, with the key of this .pub file",
        )

    return SigningKey(public=public, sign=sign)


def _ask(words: list[str], message: bytes, timeout_s: float) -> bytes:
    facts = {"command": words[0]}
    try:
        done = subprocess.run(  # noqa: S603
            words, input=message, stdout=subprocess.PIPE, check=False, timeout=timeout_s
        )
    except OSError as exc:
        raise SigningKeyError(
            "cannot run the signer command", facts=facts | {"because": str(exc.strerror)}
        ) from exc
    except subprocess.TimeoutExpired as exc:
        raise SigningKeyError(
            "the signer command took too long", facts=facts | {"at most": f"{timeout_s:g} s"}
        ) from exc
    if done.returncode != 0:
        raise SigningKeyError(
            "the signer command failed",
            facts=facts | {"exit": str(done.returncode)},
            hint="what it said is above",
        )
    return done.stdout[: _MOST_BYTES + 1]


def _decoded(given: bytes) -> bytes | None:
    try:
        return base64.b64decode(b"".join(given.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
