"""Everything that the console keeps about people: what sign-in, accounts and shared links are made from."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from recert.console.accounts.cookies import Cookies
from recert.console.settings import ConsoleSettings
from recert.store.console.accounts import Accounts
from recert.store.console.database import ConsolePlace
from recert.store.console.failures import Failures, network_of
from recert.store.console.passwords import Passwords
from recert.store.console.pending import Pending
from recert.store.console.sessions import Sessions
from recert.store.console.shares import Shares

_STRANGERS_PER_MINUTE: Final = 120
_MOST_KEYS: Final = 50_000


@dataclass
class Pace:
    """How much one session, or one address, may ask: so much a minute, and as much at once."""

    per_minute: int
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def may(self, key: str, now: float | None = None) -> bool:
        """Count one more request; say whether it may be answered."""
        at = time.monotonic() if now is None else now
        with self._lock:
            if len(self._left) > _MOST_KEYS:
                self._left = {k: v for k, v in self._left.items() if at - v[1] < 60}
            left, since = self._left.get(key, (float(self.per_minute), at))
            left = min(float(self.per_minute), left + (at - since) * self.per_minute / 60)
            allowed = left >= 1
            self._left[key] = (left - 1 if allowed else left, at)
        return allowed


class People:
    """
    What is kept about people, in one database.

    Args:
        place: the database.
        settings: of the console.
        public_url: how browsers reach it.
        passwords: how passwords are hashed.
    """

    def __init__(
        self,
        place: ConsolePlace,
        settings: ConsoleSettings,
        *,
        public_url: str,
        passwords: Passwords | None = None,
    ) -> None:
        self.place, self.settings, self.public_url = place, settings, public_url
        self.passwords = passwords or Passwords()
        self.cookies = Cookies(https=public_url.startswith("https:"))
        self.accounts = Accounts(place)
        self.failures = Failures(place)
        self.pending = Pending(place)
        self.shares = Shares(place)
        self.sessions = Sessions(
            place, idle_s=settings.sessions.idle_minutes * 60, longest_s=settings.sessions.hours * 3600
        )
        self.pace = Pace(settings.sessions.requests_per_minute)
        self._strangers = Pace(_STRANGERS_PER_MINUTE)

    def stranger_may(self, address: str) -> bool:
        """Count a request of somebody who is not signed in; say whether it may be answered."""
        return self._strangers.may(network_of(address))
