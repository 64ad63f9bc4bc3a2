"""An audit log in PostgreSQL: one chain for each gateway, each with one writer."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sql

from recert.errors import RecordError, SettingsError, StoreError
from recert.store.audit.chain import GENESIS, walk
from recert.store.places import shown
from recert.store.sql import STATEMENT_S, failing, open_engine
from recert.store.tables import AUDIT_HEADS, AUDIT_LINES

_LOCK: Final = sql.text("SELECT pg_try_advisory_lock(hashtextextended('recert audit ' || :node, 0))")
_LOCK_S: Final = 2.0
_ADVANCE: Final = sql.text(
    """
    WITH head AS (
        UPDATE audit_heads SET seq = :seq, sha256 = :head
        WHERE node = :node AND seq = :was AND sha256 = :was_head
        RETURNING node
    )
    INSERT INTO audit_lines (node, seq, line)
    SELECT head.node, new.seq, new.line
    FROM head, unnest(CAST(:seqs AS bigint[]), CAST(:lines AS text[])) AS new (seq, line)
    """
)
"""Moves the head and adds the lines, or does neither: it adds none where the head is not what we know."""
_LOOKED_AT: Final = 1000
_AT_ONCE: Final = 5000
_BETWEEN_TRIES_S: Final = 0.25


class LogTable:
    """
    The chain of one gateway in a database that several share.

    An advisory lock keeps a second process with the same name out; and since every write names the head that
    it goes on from, a process that lost its lock unnoticed cannot fork the chain. After the database was
    away, the head is read again: lines whose commit was not heard of are there or not, and either is fine,
    as no reply was released for them.

    Args:
        url: of a PostgreSQL database, upgraded by `recert db upgrade`.
        node: name of this gateway.

    Raises:
        StoreError: the database cannot be used, or another process writes under this name.
        RecordError: the end of the chain is not what was written.
        SettingsError: the database is another one than PostgreSQL.
    """

    torn = b""

    def __init__(self, url: str, node: str) -> None:
        self._url = url
        self._node = node
        self._engine = open_engine(url, one_link=True)
        if self._engine.dialect.name != "postgresql":
            raise SettingsError(
                "an audit log is kept in a file, or in PostgreSQL", facts={"given": shown(url)}
            )
        self._link: sql.Connection | None = None
        self._attempted: tuple[int, str] | None = None
        self._failed_at = 0.0
        self.seq, self.head = self._connect(wait_s=_LOCK_S)
        try:
            self._check_end()
        except BaseException:
            self.close()
            raise

    def _connect(self, *, wait_s: float) -> tuple[int, str]:
        """Connect, take the lock, and return where the chain stands."""
        with failing("open the audit log", self._url):
            link = self._engine.connect()
            try:
                until = time.monotonic() + wait_s
                while not link.execute(_LOCK, {"node": self._node}).scalar_one():
                    if time.monotonic() >= until:  # the session of a killed gateway takes a moment to end
                        raise StoreError(
                            "another process writes this audit log",
                            facts={"database": shown(self._url), "node": self._node},
                            hint="give each gateway its own name: RECERT_NODE",
                        )
                    time.sleep(_BETWEEN_TRIES_S)
                query = sql.select(AUDIT_HEADS).where(AUDIT_HEADS.c.node == self._node)
                row = link.execute(query).one_or_none()
                if row is None:
                    link.execute(sql.insert(AUDIT_HEADS), {"node": self._node, "seq": 0, "sha256": GENESIS})
                link.commit()
            except BaseException:
                link.close()
                raise
        self._link = link
        return (0, GENESIS) if row is None else (row.seq, row.sha256)

    def _check_end(self) -> None:
        """Check the last lines and that they end at the head."""
        assert self._link is not None
        query = (
            sql.select(AUDIT_LINES.c.line)
            .where(AUDIT_LINES.c.node == self._node, AUDIT_LINES.c.seq > self.seq - _LOOKED_AT)
            .order_by(AUDIT_LINES.c.seq)
        )
        with failing("read the audit log", self._url):
            lines = [row.line.encode() + b"\n" for row in self._link.execute(query)]
            self._link.commit()
        whole = self.seq <= _LOOKED_AT
        end = 0, GENESIS
        for line in walk(lines, shown(self._url), prev=GENESIS if whole else None):
            end = line.seq, line.sha256
        if end != (self.seq, self.head):
            raise RecordError(
                "audit log and its head differ",
                facts={"node": self._node, "last line": end[0], "head": self.seq},
                hint="lines were taken out, or put in",
            )

    def ready(self) -> None:
        """
        Return when the next line can go on from `seq` and `head`, after connecting again where that is needed.

        Raises:
            StoreError: the database is away, or somebody else went on with this chain.
        """
        if self._link is not None:
            return
        if time.monotonic() - self._failed_at < _BETWEEN_TRIES_S:
            raise StoreError("the audit log's database is away", facts={"database": shown(self._url)})
        try:
            found = self._connect(wait_s=0)
        except BaseException:
            self._failed_at = time.monotonic()
            raise
        if found not in ((self.seq, self.head), self._attempted):
            self._drop()
            raise StoreError(
                "somebody else wrote to this audit log",
                facts={"node": self._node, "expected": self.seq, "actual": found[0]},
                hint="give each gateway its own name, and look at what was written",
            )
        self.seq, self.head = found
        self._attempted = None

    def append(self, lines: Sequence[bytes], seq: int, head: str) -> None:
        """
        Commit lines, all or none; the last has number `seq` and digest `head`.

        Raises:
            StoreError: the database is away or refuses.
        """
        assert self._link is not None
        values = {
            "node": self._node,
            "seq": seq,
            "head": head,
            "was": self.seq,
            "was_head": self.head,
            "seqs": list(range(self.seq + 1, seq + 1)),
            "lines": [line[:-1].decode() for line in lines],
        }
        self._attempted = seq, head
        try:
            with failing("write the audit log", self._url), _within(self._link, STATEMENT_S + 1):
                added = self._link.execute(_ADVANCE, values).rowcount
                if added != len(lines):
                    raise StoreError(
                        "somebody else wrote to this audit log",
                        facts={"node": self._node, "expected": f"head at {self.seq}"},
                    )
                self._link.commit()
        except BaseException:
            self._failed_at = time.monotonic()
            self._drop()
            raise
        self.seq, self.head, self._attempted = seq, head, None

    def full(self) -> bool:
        """A table is never full."""
        return False

    def rotate(self) -> None:
        """A table needs no rotation."""

    def close(self) -> None:
        """Let go of the database and the lock."""
        self._drop()
        self._engine.dispose()

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            try:
                link.invalidate()
                link.close()
            except Exception:  # it is away: there is nothing left to let go of
                return


def read_table(url: str, node: str) -> tuple[tuple[int, str], Iterator[bytes]]:
    """
    Return where the chain of a gateway stands, and its raw lines.

    Args:
        url: of the database.
        node: name of the gateway; may be empty where there is only one.

    Raises:
        StoreError: the database cannot be read.
        RecordError: there is no such chain, or there are several and none is named.
    """
    engine = open_engine(url, one_link=True)
    with failing("read the audit log", url), engine.connect() as link:
        heads = {row.node: (row.seq, row.sha256) for row in link.execute(sql.select(AUDIT_HEADS))}
    name = node or (next(iter(heads)) if len(heads) == 1 else "")
    if name not in heads:
        raise RecordError(
            "there is no such chain in this database",
            facts={"node": node or "not given", "there are": ", ".join(sorted(heads)) or "none"},
            hint="say with --of which gateway's",
        )
    return heads[name], _raw(engine, url, name)


def _raw(engine: sql.Engine, url: str, node: str) -> Iterator[bytes]:
    seq = 0
    while True:
        query = (
            sql.select(AUDIT_LINES.c.seq, AUDIT_LINES.c.line)
            .where(AUDIT_LINES.c.node == node, AUDIT_LINES.c.seq > seq)
            .order_by(AUDIT_LINES.c.seq)
            .limit(_AT_ONCE)
        )
        with failing("read the audit log", url), engine.connect() as link:
            rows = link.execute(query).all()
        for row in rows:
            yield row.line.encode() + b"\n"
        if len(rows) < _AT_ONCE:
            return
        seq = rows[-1].seq


@contextmanager
def _within(link: sql.Connection, limit_s: float) -> Iterator[None]:
    """Cut the connection when a database that hangs does not answer in time."""
    raw = link.connection.driver_connection
    assert raw is not None
    copy = socket.socket(fileno=os.dup(raw.fileno()))
    timer = threading.Timer(limit_s, copy.shutdown, [socket.SHUT_RDWR])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        copy.close()
