"""A patient client for HTTP APIs: tries again what may get better, and says plainly what will not."""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import random
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from recert.errors import EndpointError, InputError, RecordError
from recert.models.remote.pacing import Pace
from recert.records.record import parse_json

ATTEMPTS: Final = 4
_LONGEST_PAUSE_S: Final = 30.0
_LONGEST_ASKED_PAUSE_S: Final = 120.0
_LARGEST_REPLY_BYTES: Final = 8_000_000
_FOR_GOOD: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Codes that come with 429 and will not go away by waiting."""


class ApiClient:
    """
    Asks one API, with a key that is in no error.

    "Busy" (429), "failed" (5xx), lost connections, time-outs and replies that are cut short are tried
    again after a pause: at random between nothing and a bound that doubles each time, so that many
    clients do not come back at once; never before the time that `Retry-After` names.

    Args:
        url: where the API begins.
        api_key: sent as a bearer token.
        timeout_s: for one attempt.
        first_pause_s: bound of the pause before the second attempt.
        pace: limits of the endpoint.

    Raises:
        InputError: the address is not one, or holds a user name or a query.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 120,
        first_pause_s: float = 0.5,
        pace: Pace | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise InputError(
                "endpoint must be an http or https address without a user name or query",
                facts={"given": parts._replace(netloc=parts.hostname or "", query="").geturl()},
                hint="give the start of the API, such as https://api.example.com/v1, and the key apart",
            )
        self.url = url.rstrip("/")
        self.host = parts.hostname
        self.pace = pace or Pace()
        self._key = api_key
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._first_pause_s = first_pause_s
        self._use_proxy = not _is_loopback(parts.hostname)

    def session(self) -> aiohttp.ClientSession:
        """Return what requests are sent through; to be closed by whoever asked for it."""
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        return aiohttp.ClientSession(headers=headers, timeout=self._timeout, trust_env=self._use_proxy)

    async def ask(
        self, session: aiohttp.ClientSession, path: str, body: Mapping[str, Any], *, tokens: int = 0
    ) -> Any:
        """
        Post JSON and return the JSON that came back.

        Raises:
            EndpointError: refused, or failed in every attempt. `facts` hold the status and the error's code.
        """
        data = await self.send(session, "POST", path, tokens=tokens, parse=True, json=body)
        return parse_json(data)

    async def send(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        *,
        tokens: int = 0,
        parse: bool = False,
        most_bytes: int = _LARGEST_REPLY_BYTES,
        attempts: int = ATTEMPTS,
        **more: Any,
    ) -> bytes:
        """
        Send a request until it is answered, and return the answer's body.

        Args:
            session: of `session()`.
            method: of HTTP.
            path: behind the API's address, or a whole address.
            tokens: about how many tokens it will use, for the pace.
            parse: whether the answer must be JSON; what is not is tried again.
            most_bytes: the largest answer that is read.
            attempts: how often it is sent at most.
            more: as aiohttp takes it, such as `json`. A `data` that is a function is called for each attempt.

        Raises:
            EndpointError: refused, or failed in every attempt. `facts` hold the `status` of an answer; without one,
                the cause is the failure of the last attempt.
        """
        url = path if "://" in path else f"{self.url}{path}"
        for attempt in range(1, attempts + 1):
            pause_s = random.uniform(0, min(_LONGEST_PAUSE_S, self._first_pause_s * 2**attempt))  # noqa: S311
            await self.pace.turn(tokens)
            given = {k: v() if k == "data" and callable(v) else v for k, v in more.items()}
            try:
                async with session.request(method, url, **given) as response:
                    data = await _read(response, most_bytes)
                    if response.status < 300:
                        if parse:
                            parse_json(data)
                        return data
                    code, said = _message(data)
                    failed = self.error("endpoint refused", status=response.status, code=code, said=said)
                    again = response.status in (408, 429) or response.status >= 500
                    if not again or code in _FOR_GOOD:
                        raise failed
                    asked_s = _seconds(response.headers)
                    if asked_s:
                        self.pace.hold(asked_s)
            except (aiohttp.ClientError, OSError, UnicodeError) as exc:
                failed = self.error("endpoint does not answer", because=str(exc) or type(exc).__name__)
                failed.__cause__ = exc
            except RecordError as exc:
                failed = self.error(
                    "endpoint's reply is not JSON", because=exc.facts.get("because", ""), bytes=len(data)
                )
            if attempt < attempts:
                await asyncio.sleep(pause_s)
        raise failed

    def error(self, message: str, *, hint: str = "", **facts: object) -> EndpointError:
        """Return an error that names the endpoint and never the key."""
        said = {k: self._hidden(v) for k, v in facts.items() if v not in ("", None)}
        return EndpointError(message, facts={"endpoint": self.url, **said}, hint=hint)

    def _hidden(self, value: object) -> str:
        return str(value).replace(self._key, "[key]") if self._key else str(value)


async def _read(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """The whole body: `read(n)` of aiohttp may give less than there is."""
    parts, size = [], 0
    async for part in response.content.iter_chunked(1 << 16):
        size += len(part)
        if size > most_bytes:
            raise aiohttp.ClientPayloadError(f"reply is longer than {most_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _message(data: bytes) -> tuple[str, str]:
    """The error's code and its own words, short; never a whole page."""
    try:
        error = parse_json(data)["error"]
        code = str(error.get("code") or error.get("type") or "") if isinstance(error, dict) else ""
        said = error.get("message", "") if isinstance(error, dict) else error
    except (RecordError, LookupError, TypeError):
        code, said = "", ""
    return " ".join(code.split())[:60], " ".join(str(said).split())[:200] or "no reason given"


def _seconds(headers: Mapping[str, str]) -> float:
    """How long an endpoint asks to be left alone: seconds, or a date."""
    exact, given = headers.get("Retry-After-Ms", ""), headers.get("Retry-After", "")
    try:
        seconds = float(exact) / 1000 if exact else float(given)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(given).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return min(seconds, _LONGEST_ASKED_PAUSE_S) if seconds > 0 else 0.0


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
