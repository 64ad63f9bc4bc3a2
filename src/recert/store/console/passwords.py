"""Passwords of local accounts: Argon2id, and as much work for an account that is not there."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Final

from recert.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

LEAST_LETTERS: Final = 12
MOST_BYTES: Final = 1024
_AT_ONCE: Final = 4
"""Hashes that are made at once: each takes 64 MiB."""


def require_password(password: str) -> None:
    """
    Return when a password may be used: 12 letters at least, of any kind.

    Raises:
        InputError: it is too short or too long. It is not shown.
    """
    if len(password) < LEAST_LETTERS:
        raise InputError(f"a password needs {LEAST_LETTERS} letters at least", hint="several words do well")
    if len(password.encode(errors="surrogatepass")) > MOST_BYTES:
        raise InputError(f"a password has {MOST_BYTES} bytes at most")


class Passwords:
    """
    Hashes and checks passwords with Argon2id and the parameters of RFC 9106 for little memory (64 MiB, 3 passes).

    Args:
        hasher: other parameters, as for tests.

    Raises:
        MissingExtraError: argon2-cffi is not installed.
    """

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        try:
            from argon2 import PasswordHasher
        except ImportError as exc:
            raise MissingExtraError(
                "argon2-cffi is not installed", hint="pip install 'recert[console]'"
            ) from exc
        self._hasher = hasher or PasswordHasher()
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        self._nobody = self._hasher.hash(secrets.token_hex(32))

    def hashed(self, password: str) -> str:
        """
        Return the hash of a new password.

        Raises:
            InputError: it may not be used.
        """
        require_password(password)
        with self._room:
            return self._hasher.hash(password.encode(errors="surrogatepass"))

    def fits(self, password: str, kept: str) -> bool:
        """Say whether a password is the one of a hash. Where there is no hash the answer is no, after as much work."""
        from argon2.exceptions import InvalidHashError, VerificationError

        given = password.encode(errors="surrogatepass")[: MOST_BYTES + 1]
        with self._room:
            try:
                right = self._hasher.verify(kept or self._nobody, given)
            except (VerificationError, InvalidHashError):
                return False
        return bool(kept) and right and len(given) <= MOST_BYTES

    def outdated(self, kept: str) -> bool:
        """Say whether a hash has other parameters than new ones."""
        return self._hasher.check_needs_rehash(kept)
