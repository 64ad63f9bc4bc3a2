"""
The file of API keys: a digest of each, what it may, and how much.

Whoever reads the file learns no key. Whoever writes it decides who may ask, so it must be the user's own.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from recert.digest import sha256_bytes
from recert.errors import SettingsError
from recert.gateway.access.grants import PLAIN_ROUTES, Budget, Grant
from recert.store.files.writing import read_bytes, write_atomic

_PREFIX: Final = "rk-"
_RANDOM_BYTES: Final = 32

Route = Literal["chat", "models", "status", "metrics", "guardrail", "tuning"]
_Many = Annotated[int, Field(ge=1)]


class KeyEntry(BaseModel):
    """One key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.@-]+$")
    """Of the client: what the audit log calls it, and whose budget it is."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the key."""
    models: tuple[str, ...] = ("*",)
    """Names or patterns of the models it may ask."""
    routes: tuple[Route, ...] = PLAIN_ROUTES
    requests_per_minute: _Many | None = None
    requests_per_day: _Many | None = None
    tokens_per_minute: _Many | None = None
    tokens_per_day: _Many | None = None
    requests_at_once: _Many | None = None
    expires_at: AwareDatetime | None = None

    def grant(self) -> Grant:
        """Return what the key may."""
        budget = Budget(
            self.requests_per_minute,
            self.requests_per_day,
            self.tokens_per_minute,
            self.tokens_per_day,
            self.requests_at_once,
        )
        return Grant(self.name, self.models, self.routes, budget, self.expires_at)


class KeysFile(BaseModel):
    """Every key of a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[KeyEntry, ...] = ()

    @model_validator(mode="after")
    def _no_key_twice(self) -> Self:
        if len({key.sha256 for key in self.keys}) < len(self.keys):
            raise ValueError("a key is there twice")
        return self

    def with_new(self, name: str, **may: object) -> tuple[KeysFile, str]:
        """
        Return the file with a new key, and the key itself, which is kept nowhere.

        Args:
            name: of the client. Several keys may have one name: they share what is counted.
            may: further fields of `KeyEntry`; those that are None are left out.

        Raises:
            SettingsError: a value is out of range.
        """
        key = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        given = {field: value for field, value in may.items() if value is not None}
        try:
            entry = KeyEntry.model_validate({"name": name, "sha256": sha256_bytes(key.encode()), **given})
        except ValidationError as exc:
            raise SettingsError("no such key can be made", facts=_first(exc)) from exc
        return KeysFile(keys=(*self.keys, entry)), key

    def without(self, names: Sequence[str]) -> KeysFile:
        """
        Return the file without the keys of these clients, or with the beginning of a key's digest.

        Raises:
            SettingsError: there is no such key.
        """
        kept = self.keys
        for name in names:
            left = tuple(
                key
                for key in kept
                if key.name != name and not (len(name) >= 8 and key.sha256.startswith(name))
            )
            if len(left) == len(kept):
                raise SettingsError("no such key", facts={"given": name})
            kept = left
        return KeysFile(keys=kept)

    def write(self, path: Path) -> None:
        """
        Write the file in one step, for its owner alone.

        Raises:
            StoreError: it cannot be written.
        """
        text = self.model_dump_json(indent=2, exclude_defaults=True)
        write_atomic(path, text.encode() + b"\n", mode=0o600)


def read_keys_file(path: Path) -> KeysFile:
    """
    Read a file of keys.

    Raises:
        StoreError: it cannot be read.
        SettingsError: others may write it, or it has something that is not understood: a misspelt bound would be none.
    """
    data = read_bytes(path, "file of API keys")
    about = path.stat()
    if about.st_mode & 0o022 or about.st_uid not in (os.geteuid(), 0):
        raise SettingsError(
            "file of API keys can be written by others", facts={"file": path}, hint=f"run `chmod 600 {path}`"
        )
    try:
        return KeysFile.model_validate_json(data)
    except ValidationError as exc:
        raise SettingsError("file of API keys is not valid", facts={"file": path, **_first(exc)}) from exc


def _first(exc: ValidationError) -> dict[str, object]:
    """What is wrong first, without the value: that could be a key."""
    first = exc.errors()[0]
    return {"field": ".".join(map(str, first["loc"])), "because": first["msg"]}
