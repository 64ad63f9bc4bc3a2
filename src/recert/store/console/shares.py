"""Links that open one page for people without an account. Of what stands in a link the digest alone is kept."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sql

from recert.errors import InputError
from recert.store.console.database import ConsolePlace, digest_of, new_secret
from recert.store.tables import CONSOLE_SHARES

LONGEST_S: Final = 90 * 86_400
_PATH: Final = re.compile(r"/console/[A-Za-z0-9/._~-]{1,1000}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Share:
    """One link."""

    id: str
    """Short, and safe to show: it opens nothing."""
    path: str
    """The one page that it opens."""
    made_by: str
    made_s: int
    ends_s: int
    withdrawn_s: int | None
    opened: int
    """How often it was opened."""

    def holds(self, now_s: int) -> bool:
        """Say whether it opens its page."""
        return self.withdrawn_s is None and now_s < self.ends_s


class Shares:
    """Links in the console's database."""

    def __init__(self, place: ConsolePlace) -> None:
        self._place = place

    def make(self, path: str, *, made_by: str, lasts_s: int) -> tuple[Share, str]:
        """
        Make a link; return it, and what stands in it, which is shown this once.

        Raises:
            InputError: the path is none of the console, or it would last longer than 90 days.
            StoreError: it cannot be written.
        """
        if not _PATH.fullmatch(path):
            raise InputError("not a page of the console", facts={"given": path[:100]})
        if not 0 < lasts_s <= LONGEST_S:
            raise InputError("a link lasts 90 days at most")
        token, now = new_secret(), self._place.now_s()
        made = Share(secrets.token_hex(6), path, made_by, now, now + lasts_s, None, 0)
        with self._place.writing() as link:
            link.execute(CONSOLE_SHARES.insert().values({**vars(made), "sha256": digest_of(token)}))
        return made, token

    def open(self, token: str, *, count: bool = False) -> Share | None:
        """
        Return the link of a token while it holds.

        Args:
            token: what stands in the link.
            count: whether this is somebody who opens it, and not one more request of theirs.

        Raises:
            StoreError: it cannot be read or written.
        """
        if not _TOKEN.fullmatch(token):
            return None
        table = CONSOLE_SHARES
        with self._place.reading() as link:
            row = link.execute(sql.select(table).where(table.c.sha256 == digest_of(token))).one_or_none()
        found = _share(row) if row is not None else None
        if found is None or not found.holds(self._place.now_s()):
            return None
        if count:
            with self._place.writing() as link:
                link.execute(table.update().where(table.c.id == found.id).values(opened=table.c.opened + 1))
        return found

    def all(self) -> list[Share]:
        """Return links, the newest first, 500 at most. Raises StoreError where they cannot be read."""
        query = sql.select(CONSOLE_SHARES).order_by(CONSOLE_SHARES.c.made_s.desc()).limit(500)
        with self._place.reading() as link:
            return [_share(row) for row in link.execute(query)]

    def withdraw(self, share: str) -> None:
        """
        Let a link open nothing any more.

        Raises:
            InputError: there is no such link.
            StoreError: it cannot be written.
        """
        table = CONSOLE_SHARES
        its = table.update().where(table.c.id == share, table.c.withdrawn_s.is_(None))
        with self._place.writing() as link:
            if not link.execute(its.values(withdrawn_s=self._place.now_s())).rowcount:
                raise InputError("no such link, or it is withdrawn already", facts={"link": share[:32]})


def _share(row: Any) -> Share:
    return Share(row.id, row.path, row.made_by, row.made_s, row.ends_s, row.withdrawn_s, row.opened)
