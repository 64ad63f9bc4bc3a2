"""Sign-ins that failed lately: how many more may be tried, for an account and from an address."""

from __future__ import annotations

import ipaddress
from typing import Final

import sqlalchemy as sql

from recert.store.console.database import ConsolePlace, digest_of
from recert.store.tables import CONSOLE_FAILURES

WINDOW_S: Final = 900
_LOCK: Final = 0x7265636572740003
PAIR_MOST: Final = 5
"""Failures in the window of one account from one address."""
ACCOUNT_MOST: Final = 30
"""Of one account from everywhere."""
ADDRESS_MOST: Final = 30
"""Of all accounts from one address, or one /64 of IPv6."""


class Failures:
    """Counts failed sign-ins in a sliding window. Accounts that are not there count like those that are."""

    def __init__(self, place: ConsolePlace) -> None:
        self._place = place

    def begin(self, account: str, address: str) -> bool:
        """
        Count a try as failed, before its password is looked at; say whether it may be made.

        Tries that come at once are counted one after the other. One that may not be made is not counted: who waits
        for the window to pass may try again.

        Raises:
            StoreError: it cannot be written. Then no password may be tried.
        """
        table, now = CONSOLE_FAILURES, self._place.now_s()
        keys = _keys(account, address)
        with self._place.writing() as link:
            link.execute(table.delete().where(table.c.at_s <= now - WINDOW_S))
            if (
                self._place.engine.dialect.name == "postgresql"
            ):  # SQLite has one writer, which the line above made
                link.execute(sql.select(sql.func.pg_advisory_xact_lock(_LOCK)))
            for key, most in keys:
                query = sql.select(sql.func.count()).where(table.c.key == key)
                if link.execute(query).scalar_one() >= most:
                    return False
            link.execute(table.insert(), [{"key": key, "at_s": now} for key, _ in keys])
        return True

    def went_well(self, account: str, address: str) -> None:
        """
        Take back the last try, and the failures of this account from this address.

        Raises:
            StoreError: it cannot be written.
        """
        table = CONSOLE_FAILURES
        pair, *others = [key for key, _ in _keys(account, address)]
        with self._place.writing() as link:
            link.execute(table.delete().where(table.c.key == pair))
            for key in others:
                last = sql.select(sql.func.max(table.c.number)).where(table.c.key == key).scalar_subquery()
                link.execute(table.delete().where(table.c.number == last))


def _keys(account: str, address: str) -> list[tuple[str, int]]:
    near = network_of(address)
    return [
        (digest_of(f"pair {account} {near}"), PAIR_MOST),
        (digest_of(f"account {account}"), ACCOUNT_MOST),
        (digest_of(f"address {near}"), ADDRESS_MOST),
    ]


def network_of(address: str) -> str:
    """Return what counts as one place: an address of IPv4, a /64 of IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)
