"""What several gateways share in PostgreSQL, against a real server."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sql
from sqlalchemy.exc import DBAPIError

from logs import audit_key, exchange, plan
from postgres import Server, server
from recert.errors import RecordError, SettingsError, StoreError
from recert.store.audit.log import AuditLog
from recert.store.audit.reading import check_log, open_log
from recert.store.audit.texts import TextStore
from recert.store.cache import CachedReply, GenerationCache, MadeBy
from recert.store.claims import Claim
from recert.store.database import require_current, upgrade
from recert.store.shared import Counters, States
from recert.store.sql import open_engine
from recert.store.tables import META

WRITER = """
import sys
sys.path.insert(0, "tests")
from logs import exchange
from recert.store.audit.log import AuditLog
with AuditLog(sys.argv[1], node=sys.argv[2]) as log:
    number = 0
    while True:
        number += 1
        print(log.append(exchange(number)), flush=True)
"""


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    """One server for the tests of this file."""
    with server() as made:
        yield made


@pytest.fixture(scope="module")
def migrated(running: Server) -> str:
    """A database with the tables, to be copied."""
    made = running.database()
    upgrade(made)
    return made


@pytest.fixture
def url(running: Server, migrated: str) -> str:
    """A database with empty tables."""
    return running.database(like=migrated)


@pytest.mark.slow
def test_the_migrations_make_the_tables_that_the_code_uses(running: Server) -> None:
    """Tables, columns and indexes are the same; running it again, or twice at once, changes nothing."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    made = running.database()
    with pytest.raises(StoreError, match="recert db upgrade"):
        require_current(made)
    with ThreadPoolExecutor(2) as pool:
        versions = set(pool.map(upgrade, [made, made]))
    upgrade(made)
    require_current(made)
    with open_engine(made, one_link=True).connect() as link:
        differences = compare_metadata(MigrationContext.configure(link), META)

    assert len(versions) == 1
    assert differences == []


@pytest.mark.slow
def test_each_gateway_has_a_chain_of_its_own(url: str) -> None:
    """Several gateways write at once, and each chain holds by itself, over restarts."""

    def write(node: str) -> None:
        for _ in range(2):
            with AuditLog(url, node=node) as log, ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda n: log.append(exchange(n, client=node)), range(60)))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, ["a", "b", "c"]))

    for node in ("a", "b", "c"):
        assert check_log(url, source=node).lines == 120
        assert {line.body["client"] for line in open_log(url, node)} == {node}
    with pytest.raises(RecordError):
        check_log(url)
    with pytest.raises(RecordError):
        check_log(url, source="d")


@pytest.mark.slow
def test_a_second_process_under_the_same_name_is_refused(url: str) -> None:
    """Two gateways that call themselves alike cannot fork a chain."""
    with AuditLog(url, node="a") as log:
        log.append(exchange())
        with pytest.raises(StoreError, match="another process"):
            AuditLog(url, node="a")

    with AuditLog(url, node="a") as log:
        assert log.append(exchange()) == 2


def test_lines_in_the_database_are_never_changed_or_taken_out(url: str) -> None:
    """The database itself refuses, whoever asks without taking the trigger away first."""
    with AuditLog(url, node="a") as log:
        log.append(exchange())
    engine = open_engine(url, one_link=True)
    for statement in ("DELETE FROM audit_lines", "UPDATE audit_lines SET line = ''", "TRUNCATE audit_lines"):
        with pytest.raises(DBAPIError), engine.begin() as link:
            link.execute(sql.text(statement))

    assert check_log(url).lines == 1


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM audit_lines WHERE seq = 30",
        "DELETE FROM audit_lines WHERE seq > 20; UPDATE audit_heads SET seq = 20",
        "DELETE FROM audit_lines WHERE seq > 20",
        "UPDATE audit_lines SET line = replace(line, 'released', 'refused!') WHERE seq = 12",
        "UPDATE audit_lines SET node = 'b'; UPDATE audit_heads SET node = 'b'",
    ],
)
def test_what_an_administrator_changes_is_found(
    url: str, tmp_path_factory: pytest.TempPathFactory, damage: str
) -> None:
    """Signed checkpoints kept elsewhere show what was done behind the trigger's back."""
    folder = tmp_path_factory.mktemp("copies")
    key = audit_key(folder)
    with AuditLog(url, node="a", checkpoints=plan(key, folder / "copies")) as log:
        for number in range(35):
            log.append(exchange(number))
    whole = check_log(url, keys=[key.public], copies=[folder / "copies"], source="a")
    with open_engine(url, one_link=True).begin() as link:
        link.execute(sql.text("ALTER TABLE audit_lines DISABLE TRIGGER ALL"))
        for statement in damage.split(";"):
            link.execute(sql.text(statement))

    assert (whole.lines, whole.unsigned) == (35, 0)
    with pytest.raises(RecordError):
        check_log(url, keys=[key.public], copies=[folder / "copies"], source="a")


def test_a_chain_whose_end_was_taken_is_not_gone_on_with(url: str) -> None:
    """A gateway does not start on a chain whose last lines and head differ."""
    with AuditLog(url, node="a") as log:
        for number in range(5):
            log.append(exchange(number))
    with open_engine(url, one_link=True).begin() as link:
        link.execute(sql.text("ALTER TABLE audit_lines DISABLE TRIGGER ALL"))
        link.execute(sql.text("DELETE FROM audit_lines WHERE seq = 5"))

    with pytest.raises(RecordError):
        AuditLog(url, node="a")


@pytest.mark.slow
def test_a_killed_gateway_has_every_line_that_it_acknowledged(url: str) -> None:
    """SIGKILL under load: what was told is there, at most what was being written comes after, and it goes on."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, url, "a"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(50)]
    process.kill()
    told += [int(line) for line in process.stdout.read().split()]
    process.wait()
    process.stdout.close()
    with AuditLog(url, node="a") as log:
        went_on = log.append(exchange())

    assert told == list(range(1, len(told) + 1))
    assert went_on - 1 - told[-1] in (0, 1)
    assert check_log(url).lines == went_on


@pytest.mark.slow
def test_a_database_that_was_away_is_gone_on_with() -> None:
    """While it is down every line is refused at once; when it is back the chain goes on where it was."""
    with server() as own:
        url = own.database()
        upgrade(url)
        with AuditLog(url, node="a") as log:
            log.append(exchange(1))
            own.stop()
            started = time.monotonic()
            for _ in range(5):
                with pytest.raises(StoreError):
                    log.append(exchange(2))
            took_s = time.monotonic() - started
            own.start()
            until = time.monotonic() + 10
            while True:
                try:
                    log.append(exchange(3))
                    break
                except StoreError:
                    assert time.monotonic() < until
                    time.sleep(0.1)
        requests = [line.body["request_id"] for line in open_log(url)]

    assert took_s < 3
    assert requests[0] == "r1"
    assert requests[-1] == "r3"
    assert len(requests) <= 3


@pytest.mark.slow
def test_a_database_that_hangs_stops_service_in_time(
    running: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that gets no answer fails after some seconds, and the chain holds when the database wakes up."""
    monkeypatch.setattr("recert.store.audit.table.STATEMENT_S", 0)
    with AuditLog(url, node="a") as log:
        log.append(exchange(1))
        with running.frozen():
            started = time.monotonic()
            with pytest.raises(StoreError):
                log.append(exchange(2))
            took_s = time.monotonic() - started
        until = time.monotonic() + 10
        while True:
            try:
                last = log.append(exchange(3))
                break
            except StoreError:
                assert time.monotonic() < until
                time.sleep(0.1)

    assert took_s < 3
    assert check_log(url).lines == last


def test_somebody_else_going_on_with_the_chain_ends_this_writer(url: str) -> None:
    """A process that lost its lock unnoticed adds nothing once another one has written."""
    with AuditLog(url, node="a") as log:
        log.append(exchange(1))
        with open_engine(url, one_link=True).begin() as link:
            link.execute(
                sql.text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
            )
        with AuditLog(url, node="a") as other:
            other.append(exchange(2))
            with pytest.raises(StoreError):
                log.append(exchange(3))
        time.sleep(0.3)
        with pytest.raises(StoreError, match=r"somebody else|away|another"):
            log.append(exchange(3))

    assert [line.body["request_id"] for line in open_log(url)] == ["r1", "r2"]


def test_texts_are_shared_and_can_be_deleted(url: str) -> None:
    """A line names its texts by digest; deleting them leaves the chain as it is."""
    with AuditLog(url, node="a", keep_texts=True) as log:
        log.append(exchange(), {"aa": b"question", "bb": b"answer"})
        log.append(exchange(), {"aa": b"question"})
    store = TextStore(url)

    assert store.read(["aa", "bb", "cc"]) == {"aa": b"question", "bb": b"answer"}
    assert store.forget(digests=["aa"]) == 1
    assert store.forget(before="9999") == 1
    assert store.read(["aa", "bb"]) == {}
    assert check_log(url).lines == 2
    store.close()


def test_replies_are_cached_for_all(url: str) -> None:
    """A reply that one run made is not asked for by another; the first one stays, and one that was changed goes."""
    by = MadeBy("m", "f")
    with GenerationCache(url) as one, GenerationCache(url) as other:
        one.write({"k": CachedReply("a", "stop", 1)}, by)
        other.write({"k": CachedReply("b", "stop", 2)}, by)
        one.remember_fingerprint("m", "f")

        assert other.read(["k"], by) == {"k": CachedReply("a", "stop", 1)}
        assert other.fingerprint("m") == "f"
    with open_engine(url, one_link=True).begin() as link:
        link.execute(sql.text("UPDATE replies SET text = 'forged'"))
        link.execute(sql.text("UPDATE fingerprints SET fingerprint = 'forged'"))
    with GenerationCache(url) as cache:
        assert (cache.read(["k"], by), cache.fingerprint("m"), cache.not_authentic) == ({}, None, 2)
        cache.write({"k": CachedReply("c", "stop", 1)}, by)
        cache.remember_fingerprint("m", "g")

        assert cache.read(["k"], by) == {"k": CachedReply("c", "stop", 1)}
        assert cache.fingerprint("m") == "g"


def test_sums_lose_nothing_when_many_add(url: str) -> None:
    """Four threads of two gateways add to one budget."""
    gateways = [Counters(url), Counters(url)]
    with ThreadPoolExecutor(4) as pool:
        totals = list(pool.map(lambda n: gateways[n % 2].add("tokens", "team-a", 7, 1), range(100)))

    assert sorted(totals) == list(range(1, 101))
    assert gateways[0].read("tokens", "team-a", 7) == 100
    assert gateways[0].read("tokens", "team-a", 8) == 0
    assert gateways[0].forget("tokens", 8) == 1
    for gateway in gateways:
        gateway.close()


def test_several_sums_are_taken_together_or_not_at_all(url: str) -> None:
    """Eight threads of two gateways take of two budgets: none is overdrawn, what is refused takes nothing."""
    gateways = [Counters(url), Counters(url)]
    claims = [Claim("requests", "team-a", 7, 1, 100), Claim("tokens", "team-a", 7, 10, 55)]
    with ThreadPoolExecutor(8) as pool:
        over = [one for _, one in pool.map(lambda n: gateways[n % 2].take(claims), range(40))]

    assert (over.count(None), over.count(claims[1])) == (5, 35)
    assert [gateways[0].read(scope, "team-a", 7) for scope in ("requests", "tokens")] == [5, 50]
    for gateway in gateways:
        gateway.close()


def test_no_change_of_a_state_is_lost(url: str) -> None:
    """Who changes a value names the version that it read; the second of two at once is told to read again."""
    states = States(url)

    def add_one(_: int) -> None:
        while True:
            known = states.read("risk", "c")
            value = str(int(known.value) + 1 if known else 1).encode()
            if states.write("risk", "c", value, version=known.version if known else 0, keep_s=60):
                return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add_one, range(40)))
    known = states.read("risk", "c")

    assert known is not None
    assert known.value == b"40"
    assert not states.write("risk", "c", b"0", version=0, keep_s=60)
    states.close()


def test_other_databases_and_wrong_urls_are_refused(url: str) -> None:
    """What cannot be used is said, without the password in it."""
    for wrong in ("mysql://u:secret@h/d", "sqlite:///x.db", "://"):
        with pytest.raises(SettingsError) as caught:
            AuditLog(wrong)
        assert "secret" not in str(caught.value)
    with pytest.raises(StoreError) as missing:
        AuditLog("postgresql://u:secret@127.0.0.1:9/d")
    assert "secret" not in str(missing.value)
    assert "/nowhere" not in url


def test_nothing_waits_for_a_log_that_is_closed(url: str) -> None:
    """Lines that come after the end are refused, and threads end."""
    before = threading.active_count()
    log = AuditLog(url, node="a")
    log.close()

    with pytest.raises(StoreError):
        log.append(exchange())
    assert threading.active_count() <= before


@pytest.mark.parametrize("text", ["a\x00b", "\x00", "\x01", '\x01"x"', "\x01a\x00"])
def test_a_reply_of_any_letters_is_kept(url: str, text: str) -> None:
    """A model may say NUL, which PostgreSQL stores in no text; what was kept comes back as it was said."""
    reply, made_by = CachedReply(text, "end", 3), MadeBy("m", "f")
    with GenerationCache(url) as one:
        one.write({f"letters {text!r}": reply}, made_by)

        assert one.read([f"letters {text!r}"], made_by) == {f"letters {text!r}": reply}
