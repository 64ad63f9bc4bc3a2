"""What a console is told by the file `console.toml` in its folder. What is safe is the policy's to say."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from recert import settings
from recert.errors import SettingsError
from recert.gateway.access.keys import is_loopback
from recert.store.files.private import read_private
from recert.store.files.writing import read_bytes

FILE: Final = "console.toml"
_SECRET_BYTES: Final = 4096


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SessionSettings(_Part):
    """How long people stay signed in, and how much they may ask."""

    idle_minutes: int = Field(default=30, ge=1, le=1440)
    """After so long without a request a session has ended."""
    hours: int = Field(default=12, ge=1, le=168)
    """After so long it has ended in any case."""
    requests_per_minute: int = Field(default=300, ge=10, le=100_000)
    """Of one session; more are answered with 429."""


class OidcSettings(_Part):
    """A provider of OpenID Connect where people sign in."""

    issuer: str
    """Its address, as its tokens name it; `https`, but on this machine."""
    client_id: str
    client_secret_file: Path | None = None
    """File of mode 0600 with the client's secret; else `RECERT_OIDC_SECRET`, or none for a public client."""
    called: str = "your organisation"
    """What the sign-in page calls it."""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    name_claim: str = "preferred_username"
    """Claim that names the person in lists and logs; `email` and `sub` where it is missing."""
    roles_claim: str = "groups"
    """Claim with the groups that a person is in: a list of texts, or one text."""
    roles: dict[str, tuple[str, ...]] = Field(min_length=1)
    """Roles of the console and the policy, by group. Who gets none is refused."""

    @field_validator("issuer")
    @classmethod
    def _secured(cls, given: str) -> str:
        require_https(given, "the issuer")
        return given

    @property
    def secret(self) -> str:
        """
        Return the client's secret; empty for a public client.

        Raises:
            StoreError, SigningKeyError: its file cannot be read, or others may.
        """
        if self.client_secret_file is None:
            return settings.oidc_secret()
        kept = read_private(self.client_secret_file, "client secret", most_bytes=_SECRET_BYTES)
        return kept.decode(errors="replace").strip()


class GatewaySettings(_Part):
    """A gateway that is shown, and stopped where its state folder is on this machine."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """What the console calls it."""
    url: str = ""
    """Where it answers, as `https://models.example.org`; empty where it is known by its files alone."""
    metrics: str = ""
    """Where it answers `/metrics`, where that is an address of its own; by default below `url`."""
    key_file: Path | None = None
    """File of mode 0600 with an API key that may ask `/status` and `/metrics`."""
    state: Path | None = None
    """Its state folder: orders to stop and resume are written there."""
    audit: Path | None = None
    """Its audit log, from which blocks are counted."""

    @field_validator("url", "metrics")
    @classmethod
    def _secured(cls, given: str) -> str:
        if given:
            require_https(given, "a gateway's address")
        return given.rstrip("/")

    def beside(self, folder: Path) -> GatewaySettings:
        """Return it with its files as seen from a folder."""
        files = {name: getattr(self, name) for name in ("key_file", "state", "audit")}
        return self.model_copy(update={name: folder / file for name, file in files.items() if file})


class ConsoleSettings(_Part):
    """Of one console."""

    public_url: str = ""
    """How browsers reach it, as `https://console.example.org`; by default where it listens."""
    local_accounts: bool = True
    """Whether people may sign in with a password of the console's own."""
    index_every_s: int = Field(default=60, ge=5, le=86_400)
    """How often folders are looked through for new records."""
    sessions: SessionSettings = SessionSettings()
    oidc: OidcSettings | None = None
    gateways: tuple[GatewaySettings, ...] = ()
    """Gateways that are shown, beside those whose audit logs are given and those of the tuning service."""

    @field_validator("gateways")
    @classmethod
    def _told_apart(cls, given: tuple[GatewaySettings, ...]) -> tuple[GatewaySettings, ...]:
        if len({one.name for one in given} | {"live"}) <= len(given):
            raise ValueError("two gateways have the same name, or one is called live")
        return given

    @field_validator("public_url")
    @classmethod
    def _secured(cls, given: str) -> str:
        if given:
            require_https(given, "the console's address")
        return given.rstrip("/")

    @classmethod
    def read(cls, folder: Path) -> ConsoleSettings:
        """
        Read `console.toml` of a folder; what is not there is as by default.

        Raises:
            SettingsError: it cannot be understood.
            StoreError: it cannot be read.
        """
        file = folder / FILE
        if not file.exists():
            return cls()
        try:
            found = tomllib.loads(read_bytes(file, "the console's settings").decode())
            made = cls.model_validate(found)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
            raise SettingsError(
                "the console's settings are no TOML", facts={"file": file, "because": exc}
            ) from exc
        except ValidationError as exc:
            first = exc.errors(include_input=False)[0]
            at = ".".join(str(part) for part in first["loc"])
            raise SettingsError(
                "the console's settings cannot be used",
                facts={"file": file, "at": at, "because": first["msg"]},
            ) from exc
        return made._beside(folder)

    def _beside(self, folder: Path) -> ConsoleSettings:
        """With files as seen from the folder."""
        found = self.model_copy(update={"gateways": tuple(one.beside(folder) for one in self.gateways)})
        if self.oidc is None or self.oidc.client_secret_file is None:
            return found
        file = folder / self.oidc.client_secret_file
        return found.model_copy(update={"oidc": self.oidc.model_copy(update={"client_secret_file": file})})


def require_https(url: str, what: str) -> None:
    """Raise ValueError unless this is an address with `https`, or one on this machine, without anything else in it."""
    parts = urlsplit(url)
    near = parts.scheme == "http" and is_loopback(parts.hostname or "")
    if not parts.hostname or not (parts.scheme == "https" or near):
        raise ValueError(f"{what} needs https")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{what} has no user, query or fragment")
