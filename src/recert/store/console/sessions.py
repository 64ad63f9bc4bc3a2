"""Who is signed in. A browser keeps a random id; here its digest alone is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sql

from recert.digest import sha256_bytes
from recert.store.console.accounts import Account, Accounts
from recert.store.console.database import ConsolePlace, digest_of, new_secret
from recert.store.tables import CONSOLE_SESSIONS

_SEEN_EVERY_S: Final = 30
"""How exactly it is kept when somebody was here last."""
_PROGRAM_LETTERS: Final = 200


@dataclass(frozen=True)
class Session:
    """One browser in which somebody is signed in."""

    sha256: str
    """Digest of its id; safe to show."""
    account: str
    address: str
    program: str
    """What the browser calls itself."""
    created_s: int
    seen_s: int
    ends_s: int


class Sessions:
    """
    Sessions in the console's database.

    Args:
        place: the database.
        idle_s: after so long without a request a session has ended.
        longest_s: after so long it has ended in any case.
    """

    def __init__(self, place: ConsolePlace, *, idle_s: int, longest_s: int) -> None:
        self._place, self._idle_s, self._longest_s = place, idle_s, longest_s
        self._accounts = Accounts(place)

    def begin(self, account: str, *, address: str, program: str, instead_of: str = "") -> str:
        """
        Sign somebody in; return the id for their browser, which is new each time.

        Args:
            account: who.
            address: where from.
            program: what their browser calls itself.
            instead_of: digest of the session that the browser had before; it ends.

        Raises:
            StoreError: it cannot be written.
        """
        made, now = new_secret(), self._place.now_s()
        table = CONSOLE_SESSIONS
        with self._place.writing() as link:
            link.execute(table.delete().where(sql.or_(*self._over(now), table.c.sha256 == instead_of)))
            row = {"sha256": digest_of(made), "account": account, "address": address[:64], "created_s": now}
            row |= {"program": program[:_PROGRAM_LETTERS], "seen_s": now, "ends_s": now + self._longest_s}
            link.execute(table.insert().values(row))
        return made

    def find(self, given: str, *, by_hand: bool = True) -> tuple[Session, Account] | None:
        """
        Return the session of an id and whose it is, while both hold.

        Args:
            given: the id that the browser keeps.
            by_hand: whether somebody did something; what a page fetches by itself keeps no session alive.

        Raises:
            StoreError: it cannot be read.
        """
        table, now = CONSOLE_SESSIONS, self._place.now_s()
        with self._place.reading() as link:
            row = link.execute(sql.select(table).where(table.c.sha256 == digest_of(given))).one_or_none()
        found = _session(row) if row is not None else None
        if found is None or found.ends_s <= now or found.seen_s + self._idle_s <= now:
            return None
        account = self._accounts.find(found.account)
        if account is None or account.disabled:
            return None
        if by_hand and found.seen_s + min(_SEEN_EVERY_S, self._idle_s // 4) <= now:
            with self._place.writing() as link:
                link.execute(table.update().where(table.c.sha256 == found.sha256).values(seen_s=now))
        return found, account

    def of(self, account: str) -> list[Session]:
        """Return the sessions of an account, the newest first. Raises StoreError where they cannot be read."""
        table = CONSOLE_SESSIONS
        query = sql.select(table).where(
            table.c.account == account, *(~one for one in self._over(self._place.now_s()))
        )
        with self._place.reading() as link:
            return [_session(row) for row in link.execute(query.order_by(table.c.created_s.desc()))]

    def counts(self) -> dict[str, int]:
        """Return how many sessions each account has. Raises StoreError where they cannot be read."""
        table = CONSOLE_SESSIONS
        query = sql.select(table.c.account, sql.func.count()).where(
            *(~one for one in self._over(self._place.now_s()))
        )
        with self._place.reading() as link:
            return {name: count for name, count in link.execute(query.group_by(table.c.account))}

    def end(self, given: str) -> None:
        """End the session of an id. Raises StoreError where it cannot be written."""
        self._end(CONSOLE_SESSIONS.c.sha256 == digest_of(given))

    def end_all(self, account: str, *, but: str = "", only: str = "") -> None:
        """
        End sessions of an account.

        Args:
            account: whose.
            but: digest of one that goes on.
            only: digest of the one that ends; empty for all.

        Raises:
            StoreError: it cannot be written.
        """
        table = CONSOLE_SESSIONS
        those = [table.c.account == account, table.c.sha256 != but]
        self._end(*those, *([table.c.sha256 == only] if only else []))

    def _end(self, *those: Any) -> None:
        with self._place.writing() as link:
            link.execute(CONSOLE_SESSIONS.delete().where(*those))

    def _over(self, now: int) -> tuple[Any, Any]:
        table = CONSOLE_SESSIONS
        return table.c.ends_s <= now, table.c.seen_s <= now - self._idle_s


def form_token(session: str) -> str:
    """Return what forms of a session send back: it follows from the id, and is kept nowhere."""
    return sha256_bytes(f"form {session}".encode())


def _session(row: Any) -> Session:
    return Session(row.sha256, row.account, row.address, row.program, row.created_s, row.seen_s, row.ends_s)
