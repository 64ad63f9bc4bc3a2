"""JSON brought to an address that somebody configured, such as a webhook."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

REQUEST_S: Final = 10.0


def is_web_url(url: str) -> bool:
    """Say whether `deliver` takes an address: it is `http` or `https`."""
    return urlsplit(url).scheme in ("http", "https")


def deliver(url: str, body: bytes, *, method: str, headers: Mapping[str, str]) -> None:
    """
    Send JSON once, within 10 seconds. A redirect is an error: what is delivered elsewhere than said is not delivered.

    Args:
        url: for which `is_web_url` holds.
        body: JSON.
        method: of HTTP.
        headers: besides the content type.

    Raises:
        OSError, http.client.HTTPException: it was not taken; `urllib.error.HTTPError` where the answer says so.
    """
    more = {"content-type": "application/json", **headers}
    request = urllib.request.Request(url, body, more, method=method)  # noqa: S310 - the scheme was checked
    _OPENER.open(request, timeout=REQUEST_S).close()


def failure_words(exc: Exception) -> str:
    """Return the kind of a failure, and the status where there is one; never an address."""
    return f"{type(exc).__name__}{f' {exc.code}' if isinstance(exc, urllib.error.HTTPError) else ''}"


class _StayHere(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER: Final = urllib.request.build_opener(_StayHere)
