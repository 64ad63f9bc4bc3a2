"""The trust store: whose signatures count, in which roles, until when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Self

from recert.certification.keys import PublicKey, load_public_key, parse_key_file, parse_public_key
from recert.errors import SigningKeyError


class TrustStore:
    """
    The public keys that a verifier trusts.

    Raises:
        SigningKeyError: there is none, or two entries are for one key.
    """

    def __init__(self, keys: Iterable[PublicKey]) -> None:
        self._keys: dict[str, PublicKey] = {}
        for key in keys:
            if key.key_id in self._keys:
                raise SigningKeyError(
                    "one key is in the trust store twice",
                    facts={"key": key.key_id, "name": key.name},
                    hint="keep one entry with all its roles",
                )
            self._keys[key.key_id] = key
        if not self._keys:
            raise SigningKeyError("the trust store is empty", hint="put the signers' .pub files into it")

    @classmethod
    def load(cls, path: Path) -> Self:
        """
        Read a `.pub` file, a folder of them, or a JSON file `{"keys": [...]}`.

        Raises:
            SigningKeyError: it cannot be read, holds no key, or something in it is not a public key.
        """
        try:
            names = sorted(path.glob("*.pub")) if path.is_dir() else []
        except OSError as exc:
            raise SigningKeyError(
                "cannot read the trust store", facts={"folder": path, "because": exc}
            ) from exc
        if path.is_dir():
            return cls(load_public_key(name) for name in names)
        value = parse_key_file(path)
        if isinstance(value, dict) and set(value) == {"keys"} and isinstance(value["keys"], list):
            return cls(parse_public_key(item, path) for item in value["keys"])
        return cls([parse_public_key(value, path)])

    def find(self, key_id: str, *, now: datetime) -> PublicKey | None:
        """Return the key of that id, or None when it is not trusted or has expired."""
        key = self._keys.get(key_id)
        return None if key is None or key.expired(now) else key

    def known(self, key_id: str) -> PublicKey | None:
        """Return the key of that id although it may have expired: for what makes an answer stricter."""
        return self._keys.get(key_id)

    def person(self, key_id: str) -> str:
        """Return who holds a key, by name; the key's id where it is unnamed or unknown."""
        key = self._keys.get(key_id)
        return (key.name if key is not None else "") or key_id

    def holders(self, role: str, *, now: datetime) -> list[PublicKey]:
        """Return the keys that are trusted in a role and have not expired."""
        return [key for key in self._keys.values() if role in key.roles and not key.expired(now)]
