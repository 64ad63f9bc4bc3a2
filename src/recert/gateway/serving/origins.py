"""Which web pages may ask from a browser (CORS): none, unless they are listed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from recert.errors import SettingsError

ANY: Final = "*"
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+")
_TAKEN: Final = (
    "authorization",
    "content-type",
    "x-client-request-id",
    "x-recert-conversation",
    "x-request-id",
    "traceparent",
)
_CLIENTS_OWN: Final = re.compile(r"x-stainless-[a-z-]{1,40}")
"""Headers that OpenAI's clients add; they mean nothing here."""
_SHOWN: Final = (
    "retry-after, x-client-request-id, x-recert-certificate, x-request-id, x-ratelimit-limit-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens, "
    "x-ratelimit-reset-requests, x-ratelimit-reset-tokens"
)
_REMEMBER_S: Final = 600

Headers = list[tuple[bytes, bytes]]


class Origins:
    """
    The origins whose pages may read replies.

    Args:
        allowed: such as `https://app.example.org`; `*` for all.

    Raises:
        SettingsError: one is no origin.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(one.rstrip("/") for one in allowed)
        for one in self._allowed - {ANY}:
            if not _ORIGIN.fullmatch(one):
                raise SettingsError(
                    "not an origin",
                    facts={"given": one},
                    hint="scheme, host and port: https://app.example.org",
                )

    def __bool__(self) -> bool:
        return bool(self._allowed)

    @property
    def any(self) -> bool:
        """Whether every page may."""
        return ANY in self._allowed

    def reply(self, origin: bytes) -> Headers:
        """Return the headers of a reply to a page of an origin; none where it may not read it."""
        if not origin or not self._allowed:
            return []
        vary = [(b"vary", b"Origin")]
        if not self.any and origin.decode("latin-1") not in self._allowed:
            return vary
        return [
            (b"access-control-allow-origin", b"*" if self.any else origin),
            (b"access-control-expose-headers", _SHOWN.encode()),
            *vary,
        ]

    def preflight(self, origin: bytes, method: str, wanted: bytes) -> Headers:
        """Return the headers of the answer to a browser that asks first; `wanted` are the headers that it will send."""
        found = self.reply(origin)
        if not any(name == b"access-control-allow-origin" for name, _ in found):
            return found
        names = [name.strip().lower() for name in wanted.decode("latin-1").split(",")]
        taken = [name for name in names if name in _TAKEN or _CLIENTS_OWN.fullmatch(name)]
        return [
            *found,
            (b"access-control-allow-methods", method.encode()),
            (b"access-control-allow-headers", ", ".join(taken).encode()),
            (b"access-control-max-age", str(_REMEMBER_S).encode()),
        ]
