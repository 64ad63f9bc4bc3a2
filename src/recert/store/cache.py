"""Replies kept by content: what a model said once under the same conditions is not asked again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sql
from sqlalchemy.exc import SQLAlchemyError

from recert.errors import StoreError
from recert.store.places import is_url, shown
from recert.store.sql import insert_new, open_engine
from recert.store.tables import FINGERPRINTS, META, REPLIES

_AT_ONCE = 500


@dataclass(frozen=True)
class CachedReply:
    """One reply as it was made: its text, why it ended, tokens."""

    text: str
    stop_reason: str
    tokens: int


class GenerationCache:
    """
    Replies by key, in a database that survives being killed at any moment.

    A key is the sha256 of everything that decides a reply: model files, engine, sampling, conversation.
    The database also remembers each model's fingerprint, so that a model that changed under the same
    name is noticed. The file may hold harmful replies, and only its owner may read it.

    Args:
        where: a file for SQLite, or a database URL such as `postgresql://...`, made by `recert db upgrade`.

    Raises:
        StoreError: the database cannot be opened.
        SettingsError: the URL is of a database that is not supported.
        MissingExtraError: the driver for PostgreSQL is not installed.
    """

    def __init__(self, where: Path | str) -> None:
        self._where = str(where)
        try:
            self._engine = open_engine(where)
            if not is_url(where) or self._engine.dialect.name == "sqlite":
                META.create_all(self._engine, tables=[REPLIES, FINGERPRINTS])
        except (SQLAlchemyError, OSError) as exc:
            raise self._failed("open", exc) from exc

    def read(self, keys: Sequence[str]) -> dict[str, CachedReply]:
        """
        Return the replies that are there, by key.

        Raises:
            StoreError: the database cannot be read.
        """
        found: dict[str, CachedReply] = {}
        try:
            with self._engine.connect() as link:
                for start in range(0, len(keys), _AT_ONCE):
                    some = keys[start : start + _AT_ONCE]
                    for row in link.execute(sql.select(REPLIES).where(REPLIES.c.key.in_(some))):
                        found[row.key] = CachedReply(row.text, row.stop_reason, row.tokens)
        except SQLAlchemyError as exc:
            raise self._failed("read", exc) from exc
        return found

    def write(self, replies: Mapping[str, CachedReply]) -> None:
        """
        Keep replies, all or none. A key that is there already keeps its reply.

        Raises:
            StoreError: the disk is full, or the database cannot be written.
        """
        present = self.read(list(replies))
        rows = [
            {"key": key, "text": r.text, "stop_reason": r.stop_reason, "tokens": r.tokens}
            for key, r in replies.items()
            if key not in present
        ]
        self._insert(REPLIES, rows)

    def fingerprint(self, model: str) -> str | None:
        """
        Return the fingerprint that a model had when its replies were kept, or None.

        Raises:
            StoreError: the database cannot be read.
        """
        try:
            with self._engine.connect() as link:
                query = sql.select(FINGERPRINTS.c.fingerprint).where(FINGERPRINTS.c.model == model)
                found = link.execute(query).scalar_one_or_none()
        except SQLAlchemyError as exc:
            raise self._failed("read", exc) from exc
        return None if found is None else str(found)

    def remember_fingerprint(self, model: str, fingerprint: str) -> None:
        """
        Keep a model's fingerprint; the first one stays.

        Raises:
            StoreError: the database cannot be written.
        """
        if self.fingerprint(model) is None:
            self._insert(FINGERPRINTS, [{"model": model, "fingerprint": fingerprint}])

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def _insert(self, table: sql.Table, rows: Iterable[dict[str, Any]]) -> None:
        rows = list(rows)
        if not rows:
            return
        try:
            with self._engine.begin() as link:
                link.execute(insert_new(self._engine, table), rows)
        except (SQLAlchemyError, OSError) as exc:
            raise self._failed("write", exc) from exc

    def _failed(self, doing: str, exc: Exception) -> StoreError:
        because = getattr(exc, "orig", None) or exc
        return StoreError(
            f"cannot {doing} the cache of replies",
            facts={"cache": shown(self._where), "because": because},
            hint="free some disk space or give another file; replies kept so far are used again",
        )


@contextmanager
def temporary_cache() -> Iterator[GenerationCache]:
    """Give a cache for one run alone, so that replies lie on the disk and not in memory."""
    with (
        TemporaryDirectory(prefix="recert-") as folder,
        GenerationCache(Path(folder) / "replies.sqlite") as cache,
    ):
        yield cache
