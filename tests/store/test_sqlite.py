"""The same tables in SQLite, for one node."""

from __future__ import annotations

from pathlib import Path

import pytest

from disks import full_disk
from logs import exchange
from recert.errors import SettingsError, StoreError
from recert.store.audit.log import AuditLog, verify_log
from recert.store.audit.texts import TextStore, texts_path
from recert.store.database import NEWEST, require_current, upgrade
from recert.store.places import shown
from recert.store.shared import Counters, States
from recert.store.sql import open_engine


def test_texts_lie_beside_the_log_for_its_owner_alone(tmp_path: Path) -> None:
    """The log names texts by digest; they are kept only where asked for, and can be deleted."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path) as log:
        log.append(exchange(), {"aa": b"question"})
    kept_nothing = texts_path(path).exists()
    with AuditLog(path, keep_texts=True) as log:
        keeps = log.keeps_texts
        log.append(exchange(), {"aa": b"question", "bb": b"an\xffswer"})
    store = TextStore(path, existing=True)
    found = store.read(["aa", "bb", "cc"])
    gone = store.forget(before="9999")
    left = store.read(["aa", "bb"])
    store.close()

    assert (kept_nothing, keeps) == (False, True)
    assert found == {"aa": b"question", "bb": b"an\xffswer"}
    assert (gone, left) == (2, {})
    assert texts_path(path).stat().st_mode & 0o077 == 0
    assert verify_log(path) == 2


def test_without_its_text_no_line_is_written(tmp_path: Path) -> None:
    """Where texts are to be kept and cannot be, nothing is answered."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, keep_texts=True) as log:
        log.append(exchange(), {"aa": b"question"})
        with full_disk(100_000), pytest.raises(StoreError):
            log.append(exchange(), {"bb": b"another" * 100_000})
        refused = verify_log(path)
        log.append(exchange(), {"bb": b"another" * 100_000})

    assert (refused, verify_log(path)) == (1, 2)


def test_no_texts_are_no_empty_texts(tmp_path: Path) -> None:
    """Asking for texts that were never kept is an error, and makes no file."""
    with pytest.raises(StoreError):
        TextStore(tmp_path / "audit.jsonl", existing=True)
    assert list(tmp_path.iterdir()) == []


def test_migrations_run_on_sqlite_too(tmp_path: Path) -> None:
    """One node may use a database by URL as well."""
    pytest.importorskip("alembic")
    url = f"sqlite:///{tmp_path / 'recert.db'}"

    assert upgrade(url) == upgrade(url) == NEWEST
    require_current(url)


def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    """An older Recert neither changes nor uses the tables of a newer one."""
    pytest.importorskip("alembic")
    import sqlalchemy as sql

    url = f"sqlite:///{tmp_path / 'recert.db'}"
    upgrade(url)
    with open_engine(url, one_link=True).begin() as link:
        link.execute(sql.text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(StoreError, match="newer"):
        upgrade(url)
    with pytest.raises(StoreError):
        require_current(url)


def test_sums_and_states_outlive_the_process(tmp_path: Path) -> None:
    """A budget that was used stays used, and a change names the version that it read."""
    counters = Counters(tmp_path / "shared.db")
    assert (counters.add("tokens", "a", 1, 5), counters.add("tokens", "a", 1, 2)) == (5, 7)
    counters.close()
    again = Counters(tmp_path / "shared.db")
    assert again.read("tokens", "a", 1) == 7
    again.close()

    states = States(tmp_path / "shared.db")
    assert states.read("risk", "c") is None
    assert states.write("risk", "c", b"1", version=0, keep_s=60)
    assert not states.write("risk", "c", b"2", version=0, keep_s=60)
    assert states.write("risk", "c", b"2", version=1, keep_s=-1)
    assert states.read("risk", "c") is None
    assert states.write("risk", "c", b"3", version=0, keep_s=60)
    known = states.read("risk", "c")
    assert known is not None
    assert (known.value, known.version) == (b"3", 3)
    assert states.forget_expired() == 0
    states.close()


def test_places_are_shown_without_secrets() -> None:
    """No user, password or option of a URL reaches an error."""
    assert shown("postgresql+psycopg://me:secret@h:5/db?password=secret") == "postgresql://h/db"
    assert shown("x://[") == "x"
    assert shown(Path("a/b")) == "a/b"
    with pytest.raises(SettingsError):
        open_engine("mysql://h/d")
