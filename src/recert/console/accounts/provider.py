"""A provider of OpenID Connect: where it is, what it is asked, and whom its signed answer names."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

from recert.console.settings import OidcSettings, require_https
from recert.errors import MissingExtraError, RecertError
from recert.gateway.access.keys import is_loopback

log = logging.getLogger("recert.console")

_TIMEOUT_S: Final = 10
_KEPT_S: Final = 3600
_KEYS_AGAIN_S: Final = 60
_LEEWAY_S: Final = 60
_SIGNED_BY: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "Ed25519",
    "EdDSA",
)
"""Algorithms with a public key: the client's secret is never a key, and `none` is no signature."""


class ProviderError(RecertError):
    """The provider cannot be asked, or what it says cannot be trusted."""


@dataclass(frozen=True)
class Person:
    """Somebody whom a provider vouches for."""

    issuer: str
    subject: str
    claimed: str
    """Name that the provider gives them."""
    groups: tuple[str, ...]


@dataclass(frozen=True)
class _Kept:
    value: dict[str, Any]
    at: float


class Provider:
    """
    One provider, asked with the authorisation code flow and PKCE.

    Args:
        settings: which, and how it knows this console.

    Raises:
        MissingExtraError: Authlib is not installed.
        StoreError, SigningKeyError: the client's secret cannot be read.
    """

    def __init__(self, settings: OidcSettings) -> None:
        try:
            from authlib.integrations.httpx_client import OAuth2Client
        except ImportError as exc:
            raise MissingExtraError("Authlib is not installed", hint="pip install 'recert[console]'") from exc
        self._client_class = OAuth2Client
        self.settings = settings
        self._secret = settings.secret
        self._about: _Kept | None = None
        self._keys: _Kept | None = None
        self._lock = Lock()

    def ask_url(self, *, back: str, state: str, nonce: str, verifier: str) -> str:
        """
        Return where a browser is sent to.

        Args:
            back: address of this console that the provider sends it back to.
            state: comes back with it.
            nonce: stands in the signed answer.
            verifier: shown when the answer is fetched; its digest goes with the question.

        Raises:
            ProviderError: the provider cannot be reached, or is another.
        """
        try:
            about = self._metadata()
            with self._client(back) as client:
                url, _ = client.create_authorization_url(
                    about["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier
                )
        except Exception as exc:
            raise _refused("the sign-in provider cannot be asked", exc) from exc
        return str(url)

    def person(self, *, code: str, back: str, nonce: str, verifier: str) -> Person:
        """
        Return whom a code stands for, once the provider's signature, and every claim about the sign-in, holds.

        Raises:
            ProviderError: anything else.
        """
        try:
            about = self._metadata()
            with self._client(back) as client:
                token = client.fetch_token(about["token_endpoint"], code=code, code_verifier=verifier)
                claims = self._claims(token, nonce)
                groups = claims.get(self.settings.roles_claim)
                if groups is None and about.get("userinfo_endpoint"):
                    asked = client.get(about["userinfo_endpoint"])
                    asked.raise_for_status()
                    more = asked.json()
                    if more.get("sub") != claims["sub"]:
                        raise ValueError("the provider tells about somebody else")
                    claims = {**more, **claims}
                    groups = claims.get(self.settings.roles_claim)
            return Person(self.settings.issuer, _text(claims["sub"]), self._name(claims), _texts(groups))
        except Exception as exc:
            raise _refused("the provider's answer cannot be trusted", exc) from exc

    def _claims(self, token: Any, nonce: str) -> dict[str, Any]:
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import InvalidKeyIdError
        from joserfc.jws import JWSRegistry

        raw, issuer, client = str(token["id_token"]), self.settings.issuer, self.settings.client_id
        registry = JWSRegistry(algorithms=list(_SIGNED_BY), strict_check_header=False)
        try:
            decoded = jwt.decode(raw, self._key_set(), registry=registry)
        except (InvalidKeyIdError, ValueError):
            if not self._forget_keys():
                raise
            decoded = jwt.decode(raw, self._key_set(), registry=registry)
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            {"iss": {"essential": True, "values": [issuer]}, "aud": {"essential": True, "values": [client]}},
            {"nonce": nonce, "client_id": client, "access_token": token.get("access_token")},
        )
        claims.validate(leeway=_LEEWAY_S)
        if not nonce or claims.get("nonce") != nonce:
            raise ValueError("the answer is to another question")
        return dict(claims)

    def _name(self, claims: dict[str, Any]) -> str:
        for claim in (self.settings.name_claim, "email", "sub"):
            given = claims.get(claim)
            if isinstance(given, str) and given:
                return given
        raise ValueError("the answer names nobody")

    def _client(self, back: str = "") -> Any:
        settings = self.settings
        return self._client_class(
            settings.client_id,
            self._secret or None,
            token_endpoint_auth_method=self._shown_by(),
            scope=" ".join(settings.scopes),
            redirect_uri=back,
            code_challenge_method="S256",
            timeout=_TIMEOUT_S,
            follow_redirects=False,
            trust_env=not is_loopback(urlsplit(settings.issuer).hostname or ""),
        )

    def _shown_by(self) -> str:
        """How the client's secret is shown: in the header, unless the provider takes it in the form alone."""
        if not self._secret:
            return "none"
        taken = (self._about.value if self._about else {}).get("token_endpoint_auth_methods_supported")
        header = taken is None or "client_secret_basic" in taken
        return "client_secret_basic" if header else "client_secret_post"

    def _metadata(self) -> dict[str, Any]:
        with self._lock:
            if self._about is None or time.monotonic() - self._about.at > _KEPT_S:
                found = self._get(f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration")
                if found.get("issuer") != self.settings.issuer:
                    raise ValueError(f"the provider calls itself {str(found.get('issuer'))[:200]!r}")
                for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    require_https(_text(found.get(name)).partition("?")[0], f"the provider's {name}")
                self._about = _Kept(found, time.monotonic())
            return self._about.value

    def _key_set(self) -> Any:
        from joserfc.jwk import KeySet

        about = self._metadata()
        with self._lock:
            if self._keys is None or time.monotonic() - self._keys.at > _KEPT_S:
                self._keys = _Kept(self._get(about["jwks_uri"]), time.monotonic())
            found: dict[str, Any] = self._keys.value
        return KeySet.import_key_set(found)  # type: ignore[arg-type]  # a set as JSON

    def _forget_keys(self) -> bool:
        """Fetch keys anew next time, as when a provider has new ones; at most once a minute."""
        with self._lock:
            if self._keys is None or time.monotonic() - self._keys.at < _KEYS_AGAIN_S:
                return False
            self._keys = None
            return True

    def _get(self, url: str) -> dict[str, Any]:
        with self._client() as client:
            answer = client.request("GET", url, withhold_token=True)
        answer.raise_for_status()
        found = answer.json()
        if not isinstance(found, dict):
            raise ValueError("the provider's answer is no object")
        return found


def _refused(what: str, because: Exception) -> ProviderError:
    if isinstance(because, ProviderError):
        return because
    return ProviderError(what, facts={"because": f"{type(because).__name__}: {str(because)[:300]}"})


def _text(given: Any) -> str:
    if not isinstance(given, str) or not given:
        raise ValueError("a text is missing")
    return given


def _texts(given: Any) -> tuple[str, ...]:
    if isinstance(given, str):
        return (given,)
    return tuple(one for one in given if isinstance(one, str)) if isinstance(given, list) else ()
