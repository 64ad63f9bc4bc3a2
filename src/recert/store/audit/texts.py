"""Requests and replies by their digests, kept apart from the audit log, so that they can be deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import sqlalchemy as sql

from recert.errors import StoreError
from recert.records.record import now
from recert.store.places import is_url
from recert.store.sql import failing, insert_new, open_engine
from recert.store.tables import META, TEXTS

_AT_ONCE = 500


def texts_path(path: Path) -> Path:
    """Return where the texts of a log in files lie."""
    return path.with_name(path.name + ".texts")


class TextStore:
    """
    Texts by digest: the audit log names them by digest only, and holds whether they are here or not.

    Args:
        where: the audit log's file, beside which they lie in a SQLite file of mode 0600, or a database URL.
        existing: make no file where there is none.

    Raises:
        StoreError: the database cannot be opened, or there is none.
    """

    def __init__(self, where: Path | str, *, existing: bool = False) -> None:
        self._where = where if is_url(where) else texts_path(Path(where))
        if existing and not is_url(where) and not Path(self._where).exists():
            raise StoreError("no requests and replies were kept with this log", facts={"log": where})
        self._engine = open_engine(self._where)
        if not is_url(where):
            with failing("open the texts of the audit log", self._where):
                META.create_all(self._engine, tables=[TEXTS])

    def keep(self, texts: Mapping[str, bytes]) -> None:
        """
        Keep texts by digest; those that are there stay as they are.

        Raises:
            StoreError: the database cannot be written; then none is kept.
        """
        at = now().isoformat()
        rows = [{"sha256": digest, "text": text, "kept_at": at} for digest, text in texts.items()]
        if rows:
            with failing("keep the texts of the audit log", self._where), self._engine.begin() as link:
                link.execute(insert_new(self._engine, TEXTS), rows)

    def read(self, digests: Sequence[str]) -> dict[str, bytes]:
        """
        Return the texts that are here, by digest.

        Raises:
            StoreError: the database cannot be read.
        """
        found: dict[str, bytes] = {}
        with failing("read the texts of the audit log", self._where), self._engine.connect() as link:
            for start in range(0, len(digests), _AT_ONCE):
                some = digests[start : start + _AT_ONCE]
                for row in link.execute(sql.select(TEXTS).where(TEXTS.c.sha256.in_(some))):
                    found[row.sha256] = bytes(row.text)
        return found

    def forget(self, *, digests: Sequence[str] = (), before: str = "") -> int:
        """
        Delete texts by digest, or those kept before a time (UTC, RFC 3339); return how many there were.

        Raises:
            StoreError: the database cannot be written.
        """
        with failing("delete texts of the audit log", self._where), self._engine.begin() as link:
            gone = 0
            if before:
                gone += link.execute(sql.delete(TEXTS).where(TEXTS.c.kept_at < before)).rowcount
            for start in range(0, len(digests), _AT_ONCE):
                some = digests[start : start + _AT_ONCE]
                gone += link.execute(sql.delete(TEXTS).where(TEXTS.c.sha256.in_(some))).rowcount
        return gone

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()
