"""Whether the gateway may answer now: the certificate's clock, the recheck loop, and the streams to cut."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from recert.errors import GatewayError, VerificationError
from recert.records.signed.certificate import Certificate, VerifiedCertificate

TICK_S: Final = 0.25
LONGEST_UNCHECKED_S: Final = 4.5
"""A recheck that gives no answer for this long stops service: within the 5 s that a stop may take."""
CLOCK_TOLERANCE_S: Final = 300.0
"""How far the clock may be set back, as time servers do, before nothing is believed that depends on it."""
_MOST_BETWEEN_S: Final = 2.0


class Stopped(Exception):
    """Service is stopped; `reason` is the code that clients get."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Clock:
    """
    Seconds UTC that never go back: a clock that is set back does not make a certificate live longer.

    Args:
        latest: the latest time that was seen before, such as by an earlier run.
    """

    def __init__(self, latest: datetime | None = None) -> None:
        self._ahead = max(time.time(), latest.timestamp() if latest else 0) - time.monotonic()

    def look(self) -> tuple[float, bool]:
        """Return the time, and whether the machine's clock was set back by more than time servers do."""
        wall, at_least = time.time(), self._ahead + time.monotonic()
        return max(wall, at_least), wall < at_least - CLOCK_TOLERANCE_S


class Service:
    """
    The state that every request asks first.

    Args:
        certificate: what was verified before the start.
        recheck: verifies again; called every `recheck_s` in a thread. Whatever it raises stops service,
            until a later call succeeds.
        engine_down: gives the reason why the engine cannot answer, or an empty text.
        stopped: gives the reason why an operator stopped it, or an empty text.
        latest: the latest time that was seen before: with a clock behind it nothing is served.
    """

    def __init__(
        self,
        certificate: VerifiedCertificate,
        recheck: Callable[[], VerifiedCertificate],
        *,
        recheck_s: float,
        engine_down: Callable[[], str] = lambda: "",
        stopped: Callable[[], str] = lambda: "",
        latest: datetime | None = None,
    ) -> None:
        self._hold(certificate)
        self._recheck = recheck
        self._recheck_s = min(recheck_s, _MOST_BETWEEN_S)
        self._engine_down = engine_down
        self._stopped = stopped
        self._clock = _Clock(latest)
        self._refused = ""
        self._ending = ""
        self._last_answer = time.monotonic()
        self._running: set[asyncio.Timeout] = set()
        self._ended = threading.Event()
        self._cutter: asyncio.Task[None] | None = None

    @property
    def certificate(self) -> Certificate:
        """The certificate in force, which a renewal may have replaced."""
        return self._verified.certificate

    @property
    def reason(self) -> str:
        """Why service is stopped now, or an empty text. Asked for every text that leaves: about a microsecond."""
        at, behind = self._clock.look()
        return (
            self._ending
            or self._stopped()
            or ("clock-behind" if behind else "")
            or ("expired" if at >= self._ends_at else "not-yet-valid" if at < self._begins_at else "")
            or self._refused
            or ("recheck-timeout" if time.monotonic() - self._last_answer > LONGEST_UNCHECKED_S else "")
            or self._engine_down()
        )

    def require(self) -> None:
        """
        Return when service runs.

        Raises:
            Stopped: it does not.
        """
        reason = self.reason
        if reason:
            raise Stopped(reason)

    @contextlib.contextmanager
    def running(self, deadline: asyncio.Timeout) -> Iterator[None]:
        """Register a request's deadline while it runs, so that a stop can cut it short."""
        self._running.add(deadline)
        try:
            yield
        finally:
            self._running.discard(deadline)

    def end(self, reason: str) -> None:
        """Stop service for good, because the gateway itself ends."""
        self._ending = reason

    def start(self) -> None:
        """Begin to recheck (in a thread) and to watch the clock (in the running event loop)."""
        self._last_answer = time.monotonic()
        threading.Thread(target=self._recheck_loop, name="recheck", daemon=True).start()
        self._cutter = asyncio.create_task(self._cut_loop())

    async def stop(self) -> None:
        """End both loops, without waiting for a recheck that hangs."""
        self._ended.set()
        if self._cutter:
            self._cutter.cancel()
            await asyncio.gather(self._cutter, return_exceptions=True)

    def _hold(self, verified: VerifiedCertificate) -> None:
        self._verified = verified
        self._begins_at = verified.certificate.not_before.timestamp()
        self._ends_at = verified.certificate.expires_at.timestamp()

    def _recheck_loop(self) -> None:
        while not self._ended.wait(self._recheck_s):
            try:
                found = self._same_system(self._recheck())
            except (VerificationError, GatewayError) as exc:
                self._refused = exc.reason
            except Exception:  # whatever it is, it was not a yes
                self._refused = "recheck-failed"
            else:
                self._hold(found)
                self._refused = ""
            self._last_answer = time.monotonic()

    async def _cut_loop(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if self.reason:
                at = asyncio.get_running_loop().time()
                for deadline in self._running:
                    if not deadline.expired():
                        deadline.reschedule(at)

    def _same_system(self, found: VerifiedCertificate) -> VerifiedCertificate:
        """A renewal may change dates and serial, never what is loaded, how it is guarded or what is accepted."""
        if not isinstance(found, VerifiedCertificate):
            raise GatewayError("not-verified", "recheck did not give a VerifiedCertificate")
        was, is_now = self.certificate, found.certificate
        for name in (
            "base",
            "tuned",
            "delta_kind",
            "policy_sha256",
            "required_controls",
            "secret_sha256",
            "model_name",
            "ears",
        ):
            if getattr(was, name) != getattr(is_now, name):
                raise GatewayError(
                    "system-changed", "the certificate is now for another system", facts={"field": name}
                )
        if any(one not in (was.exceptions or ()) for one in is_now.exceptions or ()):
            raise GatewayError(
                "system-changed",
                "the certificate now excepts what it did not before",
                hint="start again: an exception is said at the start",
            )
        return found
