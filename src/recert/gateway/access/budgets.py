"""How much clients have asked: taken before a model is asked, corrected by what it used, kept over restarts."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recert.errors import StoreError
from recert.gateway.access.grants import Budget, Grant
from recert.gateway.protocol.errors import HttpError, stopped
from recert.store.claims import Claim

if TYPE_CHECKING:
    from recert.store.shared import Counters

log = logging.getLogger("recert.gateway")

_WORKERS: Final = 4
_MINUTE_S: Final = 60
_DAY_S: Final = 86_400
REQUESTS: Final = "requests"
TOKENS: Final = "tokens"


@dataclass(frozen=True)
class Taken:
    """
    What one request took of a client's budget.

    `headers` tell the client how much is left.
    """

    client: str
    claims: tuple[Claim, ...] = ()
    tokens: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = field(default=(), compare=False)


def _open(where: Path | str) -> Counters:
    from recert.store.shared import Counters  # a database library takes 13 MB: only where one is used

    return Counters(where)


class Budgets:
    """
    Counts what clients use.

    Args:
        where: a SQLite file, or the URL of a database that several gateways share; None where no client has a
            budget that outlives this process.
        clock: seconds since 1970.

    Raises:
        StoreError: the database cannot be opened.
    """

    def __init__(self, where: Path | str | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._counters = _open(where) if where is not None else None
        self._clock = clock
        self._running: Counter[str] = Counter()
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="budgets") if where else None

    async def take(self, grant: Grant, tokens: int) -> Taken:
        """
        Take a request, and as many tokens as it may use, out of a client's budget. `settle` gives back the rest.

        Raises:
            HttpError: the budget is used up (429), or the database does not answer (503).
        """
        most = grant.budget.requests_at_once
        if most is not None and self._running[grant.client] >= most:
            raise _refusal("requests at once", most, 1, "rate_limit_exceeded", REQUESTS)
        self._running[grant.client] += 1
        try:
            return await self._take(grant, tokens)
        except BaseException:
            self._let_go(grant.client)
            raise

    async def _take(self, grant: Grant, tokens: int) -> Taken:
        if not grant.budget.counted:
            return Taken(grant.client)
        if self._counters is None or self._workers is None:
            raise stopped("budget-unavailable")
        at = self._clock()
        claims = _claims(grant, tokens, at)
        try:
            sums, over = await asyncio.get_running_loop().run_in_executor(
                self._workers, self._counters.take, claims
            )
        except StoreError as exc:
            log.error("%s", exc)
            raise stopped("budget-unavailable") from exc
        headers = tuple(_headers(claims, sums, at))
        if over is None:
            return Taken(grant.client, tuple(claims), tokens, headers)
        kind, length_s = _window(over)
        left_s = math.ceil((over.period + 1) * length_s - at)
        code = "rate_limit_exceeded" if length_s == _MINUTE_S else "insufficient_quota"
        what = f"{kind} a {'minute' if length_s == _MINUTE_S else 'day'}"
        raise _refusal(what, over.limit, left_s, code, kind, headers)

    def settle(self, taken: Taken, tokens: int) -> None:
        """
        End a request that used so many tokens. Waits for nothing.

        Where that cannot be written, what was taken stays taken.
        """
        self._let_go(taken.client)
        change = tokens - taken.tokens
        claims = [claim for claim in taken.claims if _window(claim)[0] == TOKENS]
        if claims and change and self._workers is not None:
            self._workers.submit(self._correct, claims, change)

    def _correct(self, claims: list[Claim], change: int) -> None:
        assert self._counters is not None
        try:
            for claim in claims:
                self._counters.add(claim.scope, claim.key, claim.period, change)
        except StoreError as exc:
            log.error("tokens that were not used stay counted: %s", exc)

    def _let_go(self, client: str) -> None:
        self._running[client] -= 1
        if self._running[client] <= 0:
            del self._running[client]

    def close(self) -> None:
        """Write what is under way, forget what is long over, and let go of the database."""
        if self._workers is not None and self._counters is not None:
            self._workers.shutdown()
            try:
                for kind in (REQUESTS, TOKENS):
                    for length_s in (_MINUTE_S, _DAY_S):
                        before = int(self._clock() // length_s) - 1
                        self._counters.forget(_scope(kind, length_s), before)
            except StoreError as exc:
                log.error("%s", exc)
            self._counters.close()


def _scope(kind: str, length_s: int) -> str:
    return f"{kind}/{length_s}"


def _window(claim: Claim) -> tuple[str, int]:
    """Return what a claim counts, and how many seconds its period has."""
    kind, _, length = claim.scope.partition("/")
    return kind, int(length)


def _claims(grant: Grant, tokens: int, at: float) -> list[Claim]:
    """What a request takes; always in this order, so that two gateways never wait for each other."""
    budget: Budget = grant.budget
    bounds = (
        (REQUESTS, _MINUTE_S, 1, budget.requests_per_minute),
        (REQUESTS, _DAY_S, 1, budget.requests_per_day),
        (TOKENS, _MINUTE_S, tokens, budget.tokens_per_minute),
        (TOKENS, _DAY_S, tokens, budget.tokens_per_day),
    )
    return [
        Claim(_scope(kind, length_s), grant.client, int(at // length_s), amount, limit)
        for kind, length_s, amount, limit in bounds
        if limit is not None
    ]


def _headers(claims: list[Claim], sums: list[int], at: float) -> list[tuple[bytes, bytes]]:
    """What OpenAI clients read: of each kind the shortest window that was counted."""
    found: dict[str, tuple[bytes, bytes]] = {}
    for claim, used in zip(claims, sums, strict=False):
        kind, length_s = _window(claim)
        if f"limit-{kind}" not in found:
            left_s = math.ceil((claim.period + 1) * length_s - at)
            for name, value in (
                ("limit", str(claim.limit)),
                ("remaining", str(max(0, claim.limit - used))),
                ("reset", f"{left_s}s"),
            ):
                found[f"{name}-{kind}"] = (f"x-ratelimit-{name}-{kind}".encode(), value.encode())
    return list(found.values())


def _refusal(
    what: str, limit: int, retry_s: int, code: str, kind: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> HttpError:
    return HttpError(
        f"this key may use {limit} {what}: ask again in {retry_s} s",
        status=429,
        kind=kind,
        code=code,
        retry_after_s=retry_s,
        further=headers,
    )
