"""Replies kept by content: what a model said once under the same conditions is not asked again."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final, Self

import sqlalchemy as sql
from sqlalchemy.exc import SQLAlchemyError

from recert import settings
from recert.errors import SettingsError, StoreError
from recert.store.files.private import own_mac_key
from recert.store.places import is_url, shown
from recert.store.sql import insert_new, open_engine
from recert.store.tables import FINGERPRINTS, META, REPLIES

_AT_ONCE = 500
_PURPOSE: Final = b"recert cached replies 1\n"


@dataclass(frozen=True)
class CachedReply:
    """One reply as it was made: its text, why it ended, tokens."""

    text: str
    stop_reason: str
    tokens: int


@dataclass(frozen=True)
class MadeBy:
    """The model that a reply is of: what it is called in keys (files, engine), and how it behaved when it answered."""

    model: str
    fingerprint: str


class GenerationCache:
    """
    Replies by key, in a database that survives being killed at any moment.

    A key is the sha256 of everything that decides a reply: model files, engine, sampling, conversation.
    The database also remembers each model's fingerprint, so that a model that changed under the same
    name is noticed. The file may hold harmful replies, and only its owner may read it.

    Who can write to the database cannot make a reply count: every row carries an HMAC-SHA256 under a key that lies
    elsewhere. A row that does not authenticate is as if it were not there, and is replaced.

    Args:
        where: a file for SQLite, or a database URL such as `postgresql://...`, made by `recert db upgrade`.
        key: authenticates rows; by default the one in the file that `RECERT_CACHE_KEY` names, which is made.

    Raises:
        StoreError: the database cannot be opened, or the key cannot be read or made.
        SettingsError: the URL is of a database that is not supported, or the key lies in the cache's own folder.
        SigningKeyError: the key's file is open to others.
        MissingExtraError: the driver for PostgreSQL is not installed.
    """

    def __init__(self, where: Path | str, *, key: bytes | None = None) -> None:
        self._where = str(where)
        self.of_one_run = False
        """Nobody else ever had the key, so every reply that authenticates was made by this process."""
        self._refused: set[str] = set()
        self._mac_key = _key_beside(where) if key is None else key
        try:
            self._engine = open_engine(where)
            if not is_url(where) or self._engine.dialect.name == "sqlite":
                META.create_all(self._engine, tables=[REPLIES, FINGERPRINTS])
                self._add_macs()
        except (SQLAlchemyError, OSError) as exc:
            raise self._failed("open", exc) from exc

    @property
    def not_authentic(self) -> int:
        """How many rows were found that we did not write, or that were changed since."""
        return len(self._refused)

    def read(self, keys: Sequence[str], made_by: MadeBy) -> dict[str, CachedReply]:
        """
        Return the replies that are there and that this model made, by key.

        Raises:
            StoreError: the database cannot be read.
        """
        return {key: reply for key, reply in self._rows(keys, made_by).items() if reply is not None}

    def write(self, replies: Mapping[str, CachedReply], made_by: MadeBy) -> None:
        """
        Keep replies, all or none. A key that is there already keeps its reply, where that is authentic.

        Raises:
            StoreError: the disk is full, or the database cannot be written.
        """
        present = self._rows(list(replies), made_by)
        rows = [
            {
                "key": key,
                "text": _stored(reply.text),
                "stop_reason": reply.stop_reason,
                "tokens": reply.tokens,
                "mac": self._mac(*_reply_parts(key, reply, made_by)),
            }
            for key, reply in replies.items()
            if present.get(key) is None
        ]
        self._replace(REPLIES, REPLIES.c.key, [key for key, reply in present.items() if reply is None], rows)

    def fingerprint(self, model: str) -> str | None:
        """
        Return the fingerprint that a model had when its replies were kept, or None.

        Raises:
            StoreError: the database cannot be read.
        """
        try:
            with self._engine.connect() as link:
                row = link.execute(
                    sql.select(FINGERPRINTS).where(FINGERPRINTS.c.model == model)
                ).one_or_none()
        except SQLAlchemyError as exc:
            raise self._failed("read", exc) from exc
        if row is None:
            return None
        if self._is_authentic(row.mac, "fingerprint", model, row.fingerprint):
            return str(row.fingerprint)
        self._refused.add(f"fingerprint {model}")
        return None

    def remember_fingerprint(self, model: str, fingerprint: str) -> None:
        """
        Keep a model's fingerprint; the first one that is authentic stays.

        Raises:
            StoreError: the database cannot be written.
        """
        if self.fingerprint(model) is None:
            mac = self._mac("fingerprint", model, fingerprint)
            row = {"model": model, "fingerprint": fingerprint, "mac": mac}
            self._replace(FINGERPRINTS, FINGERPRINTS.c.model, [model], [row])

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def _rows(self, keys: Sequence[str], made_by: MadeBy) -> dict[str, CachedReply | None]:
        """What is there; None where a row does not authenticate."""
        found: dict[str, CachedReply | None] = {}
        try:
            with self._engine.connect() as link:
                for start in range(0, len(keys), _AT_ONCE):
                    some = keys[start : start + _AT_ONCE]
                    for row in link.execute(sql.select(REPLIES).where(REPLIES.c.key.in_(some))):
                        reply = CachedReply(_read(row.text), row.stop_reason, row.tokens)
                        authentic = self._is_authentic(row.mac, *_reply_parts(row.key, reply, made_by))
                        found[row.key] = reply if authentic else None
        except SQLAlchemyError as exc:
            raise self._failed("read", exc) from exc
        self._refused.update(key for key, reply in found.items() if reply is None)
        return found

    def _is_authentic(self, mac: object, *said: object) -> bool:
        """SQLite holds anything in any column, and JSON not everything: what has no MAC has no right one."""
        try:
            return isinstance(mac, str) and hmac.compare_digest(mac.encode(), self._mac(*said).encode())
        except (TypeError, ValueError):
            return False

    def _mac(self, *said: object) -> str:
        # JSON keeps fields apart, and escapes what UTF-8 cannot hold
        return hmac.digest(self._mac_key, _PURPOSE + json.dumps(said).encode("ascii"), "sha256").hex()

    def _replace(
        self,
        table: sql.Table,
        key: sql.ColumnElement[str],
        stale: Sequence[str],
        rows: Sequence[dict[str, Any]],
    ) -> None:
        """Take rows away that did not authenticate, and put new ones there."""
        if not rows:
            return
        try:
            with self._engine.begin() as link:
                for name in stale:
                    link.execute(sql.delete(table).where(key == name))
                link.execute(insert_new(self._engine, table), rows)
        except (SQLAlchemyError, OSError) as exc:
            raise self._failed("write", exc) from exc

    def _add_macs(self) -> None:
        """Give a file from before rows were authenticated the place for it: none of its rows counts any more."""
        for table in (REPLIES, FINGERPRINTS):
            if any(column["name"] == "mac" for column in sql.inspect(self._engine).get_columns(table.name)):
                continue
            with self._engine.begin() as link:
                link.execute(
                    sql.text(f"ALTER TABLE {table.name} ADD COLUMN mac VARCHAR(64) DEFAULT '' NOT NULL")
                )

    def _failed(self, doing: str, exc: Exception) -> StoreError:
        because = getattr(exc, "orig", None) or exc
        return StoreError(
            f"cannot {doing} the cache of replies",
            facts={"cache": shown(self._where), "because": because},
            hint="run `recert db upgrade` if its tables are missing or old"
            if is_url(self._where)
            else "free some disk space or give another file; replies kept so far are used again",
        )


@contextmanager
def temporary_cache() -> Iterator[GenerationCache]:
    """Give a cache for one run alone, so that replies lie on the disk and not in memory."""
    with (
        TemporaryDirectory(prefix="recert-") as folder,
        GenerationCache(Path(folder) / "replies.sqlite", key=secrets.token_bytes(64)) as cache,
    ):
        cache.of_one_run = True
        yield cache


def _reply_parts(key: str, reply: CachedReply, made_by: MadeBy) -> tuple[object, ...]:
    return "reply", key, reply.text, reply.stop_reason, reply.tokens, made_by.model, made_by.fingerprint


def _key_beside(where: Path | str) -> bytes:
    """The key of this user's cache. One that lies with the cache would tell nothing."""
    path = settings.cache_key()
    places = [settings.cache_dir()] if is_url(where) else [settings.cache_dir(), Path(where).parent]
    inside = path.resolve().is_relative_to(places[0].resolve())
    if inside or path.resolve().parent in (place.resolve() for place in places):
        raise SettingsError(
            "the key that authenticates cached replies lies in the cache's own folder",
            facts={"key": path, "cache": shown(str(where))},
            hint="let RECERT_CACHE_KEY name a file elsewhere, that only this user can read",
        )
    return own_mac_key(path, "key of cached replies")


_ESCAPED = "\x01"


def _stored(text: str) -> str:
    """A text as every database takes it: PostgreSQL stores no NUL, which a model may say."""
    return _ESCAPED + json.dumps(text) if "\x00" in text or text.startswith(_ESCAPED) else text


def _read(stored: Any) -> Any:
    """A text as it was said. What nobody wrote so, or is no text, does not authenticate."""
    if not isinstance(stored, str) or not stored.startswith(_ESCAPED):
        return stored
    try:
        return str(json.loads(stored[len(_ESCAPED) :]))
    except ValueError:
        return stored
