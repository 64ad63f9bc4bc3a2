"""What the console's sign-in keeps, in SQLite and in PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postgres import server
from recert.errors import InputError, StoreError
from recert.store.console.accounts import Accounts, account_name
from recert.store.console.database import ConsolePlace, open_console
from recert.store.console.failures import PAIR_MOST, Failures, network_of
from recert.store.console.passwords import LEAST_LETTERS, Passwords, require_password
from recert.store.console.pending import Pending
from recert.store.console.sessions import Sessions
from recert.store.console.shares import Shares
from recert.store.database import upgrade

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORDS = Passwords(QUICK)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A PostgreSQL database with the tables."""
    with server() as running:
        made = running.database()
        upgrade(made)
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ConsolePlace]:
    """An open database with no accounts."""
    where = tmp_path / "console.sqlite" if request.param == "sqlite" else request.getfixturevalue("url")
    made = open_console(where)
    with made.writing() as link:
        from recert.store.console import database as tables

        for table in tables._TABLES:
            link.execute(table.delete())
    yield made
    made.close()


def test_an_account_is_made_once(place: ConsolePlace) -> None:
    """Of many who make the same name at once one does; the others are told."""
    accounts = Accounts(place)

    def add(_: int) -> str:
        try:
            return accounts.add("Ada", ["reader"], password="hash")
        except InputError as exc:
            return exc.message

    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(add, range(6)))

    assert sorted(said) == ["ada", *["there is such an account"] * 5]
    assert accounts.known("ada").roles == {"reader"}


def test_somebody_is_left_to_manage_accounts(place: ConsolePlace) -> None:
    """The last administrator is neither removed, shut nor given other roles; one who is shut does not count."""
    accounts = Accounts(place)
    accounts.add("ada", ["administrator"], password="hash")
    accounts.add("bob", ["administrator"], password="hash")
    accounts.disable("bob")
    for change in (
        lambda: accounts.remove("ada"),
        lambda: accounts.disable("ada"),
        lambda: accounts.set_roles("ada", ["reader"]),
    ):
        with pytest.raises(InputError, match="nobody would be left"):
            change()
    accounts.disable("bob", disabled=False)
    accounts.remove("ada")

    assert [one.name for one in accounts.all()] == ["bob"]


def test_a_session_lasts_while_it_is_used_and_its_account_is_open(place: ConsolePlace) -> None:
    """It is found by its id alone, ends with the account's, and one of many can be ended."""
    accounts, sessions = Accounts(place), Sessions(place, idle_s=60, longest_s=3600)
    accounts.add("ada", ["administrator"], password="hash")
    accounts.add("bob", ["reader"], password="hash")
    first, second = (sessions.begin("bob", address="::1", program="p" * 900) for _ in range(2))
    found = sessions.find(first)
    assert found is not None
    sessions.end_all("bob", only=found[0].sha256)
    after = sessions.find(first), sessions.find(second) is not None
    accounts.disable("bob")

    assert (found[1].name, len(found[0].program)) == ("bob", 200)
    assert after == (None, True)
    assert sessions.find(second) is None
    assert sessions.find(found[0].sha256) is None


def test_tries_at_once_are_counted_one_after_the_other(place: ConsolePlace) -> None:
    """However many come together, no more passwords are looked at than may be."""
    failures = Failures(place)
    with ThreadPoolExecutor(8) as pool:
        allowed = list(pool.map(lambda _: failures.begin("ada", "192.0.2.7"), range(24)))

    assert sum(allowed) == PAIR_MOST
    failures.went_well("ada", "192.0.2.7")
    assert failures.begin("ada", "192.0.2.7")


def test_what_comes_back_from_a_provider_is_taken_once(place: ConsolePlace) -> None:
    """Also where two ask for it at the same moment."""
    pending = Pending(place)
    given_id = pending.begin({"state": "s", "nonce": "n"})
    with ThreadPoolExecutor(4) as pool:
        taken = [one for one in pool.map(lambda _: pending.take(given_id), range(8)) if one is not None]

    assert taken == [{"state": "s", "nonce": "n"}]


def test_a_link_is_known_by_what_stands_in_it_alone(place: ConsolePlace) -> None:
    """Its id and its digest open nothing; it may not last for ever, nor lead out of the console."""
    shares = Shares(place)
    made, token = shares.make("/console/systems/a/evaluation", made_by="ada", lasts_s=60)

    assert shares.open(token) == made
    assert shares.open(made.id) is None
    assert shares.open(token[:-1]) is None
    for path, lasts_s in (
        ("https://evil.example", 60),
        ("/console/a b", 60),
        ("/console/a", 0),
        ("/console/a", 10**8),
    ):
        with pytest.raises(InputError):
            shares.make(path, made_by="ada", lasts_s=lasts_s)


def test_a_database_that_fails_is_an_error_of_ours(tmp_path: Path) -> None:
    """A file that is no database is told, and nothing of it is changed."""
    file = tmp_path / "console.sqlite"
    file.write_bytes(b"this is no database, though it is long enough to look like one" * 40)
    before = file.read_bytes()

    with pytest.raises(StoreError, match="the console's tables"):
        open_console(file)
    assert file.read_bytes() == before


def test_a_database_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Nobody else on the machine can read it."""
    place = open_console(tmp_path / "console.sqlite")
    Accounts(place).add("ada", ["administrator"], password=PASSWORDS.hashed("a long password"))
    place.close()
    kept = (
        sqlite3.connect(tmp_path / "console.sqlite")
        .execute("SELECT password FROM console_accounts")
        .fetchone()[0]
    )

    assert (tmp_path / "console.sqlite").stat().st_mode & 0o777 == 0o600
    assert kept.startswith("$argon2id$")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(min_size=LEAST_LETTERS, max_size=80), st.text(max_size=80))
def test_a_hash_fits_its_password_and_no_other(password: str, other: str) -> None:
    """Whatever letters it has; no hash fits nothing."""
    kept = PASSWORDS.hashed(password)

    assert PASSWORDS.fits(password, kept)
    assert PASSWORDS.fits(other, kept) == (other == password)
    assert not PASSWORDS.fits(password, "")
    assert not PASSWORDS.fits(password, "no hash")


def test_hashes_take_the_memory_that_the_standard_asks() -> None:
    """Argon2id with 64 MiB and three passes, as RFC 9106 says for little memory."""
    kept = Passwords().hashed("a long password")

    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert PASSWORDS.outdated(kept)


@pytest.mark.parametrize("password", ["", "eleven char", "x" * 1025, "ä" * 600])
def test_a_password_has_twelve_letters_and_a_kilobyte_at_most(password: str) -> None:
    """There is no other rule, and an error never shows it."""
    with pytest.raises(InputError) as caught:
        require_password(password)
    require_password("twelve chars")

    assert len(password) < 5 or password not in str(caught.value)


@given(st.text(max_size=30))
def test_a_name_is_kept_in_one_form_or_refused(given_name: str) -> None:
    """What is a name stays that name; none looks like one of a provider's people, or hides letters."""
    try:
        name = account_name(given_name)
    except InputError:
        return

    assert account_name(name) == name
    assert name.isascii()
    assert name.isprintable()
    assert ":" not in name
    assert " " not in name


@pytest.mark.parametrize(
    ("address", "place_of"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_neighbours_in_ipv6_count_as_one(address: str, place_of: str) -> None:
    """Whoever has a /64 has 2^64 addresses."""
    assert network_of(address) == place_of
