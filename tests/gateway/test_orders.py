"""The kill switch's file: obeyed within a second, never lifted by damage, only its owner's."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.errors import GatewayError, InputError, RecertError
from recert.gateway.access.kill_switch import KillSwitch, give, make_order, read_orders
from recert.gateway.serving.state import StateFolder, is_in_use
from recert.records.live.orders import OrderNote, StandingOrders
from recert.records.record import now
from recert.records.signed.transparency import SeenStatus, VerifierMemory
from recert.workflows.deploy.ordering import stop_model

STOP = StandingOrders(orders=(make_order("stop", "sql", "it said something"),))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder that a gateway has used."""
    StateFolder(tmp_path / "state").close()
    return tmp_path / "state"


def test_an_order_stops_its_model_and_no_other(state: Path) -> None:
    """By name, by an alias that leads to it, or all of them; lifted, it is served again; each is noted once."""
    told: list[OrderNote] = []
    book = KillSwitch(state, told.append)
    before = book.reason("sql")
    give(state, STOP)
    book.look()
    book.look()
    named = (book.reason("sql"), book.reason("other"), book.reason("other", ("sql",)))
    give(state, StandingOrders(orders=(make_order("stop", "*", "all of it"),)))
    book.look()
    every = (book.reason("sql"), book.reason("other"))
    give(state, StandingOrders())
    book.look()

    assert before == ""
    assert named == ("stopped-by-operator", "", "stopped-by-operator")
    assert every == ("stopped-by-operator", "stopped-by-operator")
    assert book.reason("sql") == ""
    assert [note.event for note in told] == ["in-force", "in-force", "lifted", "lifted"]
    assert told[0].order and told[0].order.reason == "it said something"


def test_a_rollback_is_of_an_alias_and_stops_nothing(state: Path) -> None:
    """The alias is rolled back; models of any name are served."""
    give(state, StandingOrders(orders=(make_order("rollback", "assistant", "worse"),)))
    book = KillSwitch(state)

    assert book.is_rolled_back("assistant")
    assert not book.is_rolled_back("other")
    assert book.reason("assistant") == ""


def missing(path: Path) -> None:
    """Take the file away."""
    path.unlink()


def emptied(path: Path) -> None:
    """Empty the file, as a full disk might."""
    path.write_bytes(b"")


def cut(path: Path) -> None:
    """Cut it in half."""
    path.write_bytes(path.read_bytes()[:20])


def others(path: Path) -> None:
    """Let others write it."""
    path.chmod(0o666)


def linked(path: Path) -> None:
    """Put a link in its place."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def later(path: Path) -> None:
    """Of a version that is not known."""
    path.write_bytes(path.read_bytes().replace(b'"schema_version":1', b'"schema_version":2'))


def odd(path: Path) -> None:
    """With an order of an unknown kind."""
    path.write_bytes(STOP.to_json().replace(b'"kind":"stop"', b'"kind":"slow"'))


def blocked(path: Path) -> None:
    """Put a pipe in its place: reading one would hang."""
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("damage", [missing, emptied, cut, others, linked, later, odd, blocked])
@pytest.mark.parametrize("running", [True, False])
def test_damage_stops_everything_and_lifts_nothing(
    state: Path, damage: Callable[[Path], None], *, running: bool
) -> None:
    """Whether the gateway runs or starts afterwards: every model is stopped, until orders are given anew."""
    book = KillSwitch(state) if running else None
    damage(state / "orders.json")
    book = book or KillSwitch(state)
    book.look()
    damaged = book.reason("anything")
    with contextlib.suppress(OSError):
        (state / "orders.json").unlink()
    give(state, StandingOrders())
    book.look()

    assert damaged == "orders-unreadable"
    assert book.reason("anything") == ""


@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_whatever_is_in_the_file_the_answer_is_an_order_or_a_stop(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """No content gets past with another error, and nothing but whole orders lifts a stop."""
    folder = tmp_path_factory.mktemp("state")
    give(folder, STOP)
    book = KillSwitch(folder)
    (folder / "orders.json").write_bytes(data)
    book.look()
    try:
        expected = "" if not StandingOrders.from_json(data).orders else None
    except RecertError:
        expected = "stopped-by-operator"  # the last order that could be read, and everything else besides

    assert expected is None or book.reason("sql") == expected
    assert expected == "" or book.reason("other")


def test_the_file_of_a_gateway_that_never_ran_is_made(tmp_path: Path) -> None:
    """A first start makes the folder, closed to others, and an empty list of orders: from then on it must be there."""
    state = StateFolder(tmp_path / "a" / "state")
    state.close()

    assert (tmp_path / "a" / "state").stat().st_mode & 0o777 == 0o700
    assert read_orders(tmp_path / "a" / "state") == StandingOrders()


def test_a_stop_that_was_ordered_before_the_first_start_holds(tmp_path: Path) -> None:
    """An order may come before the gateway."""
    give(tmp_path / "state", STOP)
    state = StateFolder(tmp_path / "state")
    book = KillSwitch(state.folder)
    state.close()

    assert book.reason("sql") == "stopped-by-operator"


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    """Who can write in it could resume: it must be this user's alone."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    for use in (StateFolder, read_orders):
        with pytest.raises(GatewayError) as caught:
            use(folder)

        assert caught.value.reason == "state-unsafe"


def test_one_gateway_has_the_folder_at_a_time(state: Path) -> None:
    """A second is told; when the first has ended it may."""
    first = StateFolder(state)
    used = is_in_use(state)
    with pytest.raises(GatewayError) as caught:
        StateFolder(state)
    first.close()
    StateFolder(state).close()

    assert used
    assert not is_in_use(state)
    assert caught.value.reason == "state-in-use"


def test_a_command_is_told_when_the_gateway_obeys(state: Path) -> None:
    """Confirmed by a running gateway within a second; nobody confirms where none runs, or where it does not look."""
    absent = give(state, STOP)
    held = StateFolder(state)
    book = KillSwitch(state)
    book.start()
    begun = time.monotonic()
    confirmed = give(state, StandingOrders())
    took_s = time.monotonic() - begun
    book.stop()
    held.close()

    assert absent is None
    assert confirmed is True
    assert took_s < 2


def test_orders_that_nobody_looks_at_stop_service(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs hides orders: after a few seconds without a look nothing is served."""
    book = KillSwitch(state)
    before = book.reason("sql")
    later = time.monotonic() + 5
    monkeypatch.setattr(time, "monotonic", lambda: later)

    assert before == ""
    assert book.reason("sql") == "orders-unchecked"


def test_what_was_seen_is_remembered_over_a_restart(state: Path) -> None:
    """The highest version of each status list, and the latest time; damage is an error, not a new beginning."""
    first = StateFolder(state)
    for name, version in (("sql", 7), ("other", 2)):
        known = SeenStatus(version=version, issued_at=now(), sha256="cd" * 32, key_ids=("ef" * 32,))
        first.remember(name, VerifierMemory(status_lists={"0" * 32: known}))
    first.close()
    second = StateFolder(state)
    seen = [
        [one.version for one in second.seen(name).status_lists.values()] for name in ("sql", "other", "third")
    ]
    latest = second.latest
    second.close()
    (state / "seen.json").write_bytes(b"{}")
    with pytest.raises(GatewayError) as caught:
        StateFolder(state)

    assert seen == [[7], [2], []]
    assert latest is not None and now() - latest < timedelta(minutes=1)
    assert caught.value.reason == "state-damaged"


def test_a_model_that_is_not_served_cannot_be_stopped(tmp_path: Path) -> None:
    """A typing mistake names what is served, and leaves no order; a known name, or no knowledge, gives the order."""
    state = StateFolder(tmp_path / "state")
    state.note_names(["toy", "assistant"])
    book = KillSwitch(state.folder)
    book.start()
    try:
        with pytest.raises(InputError, match="nothing was stopped") as refused:
            stop_model(state.folder, "toyy", "it said something")
        left = read_orders(state.folder).orders
        obeyed = stop_model(state.folder, "assistant", "it said something")
    finally:
        book.stop()
        state.close()

    assert refused.value.facts["served"] == "assistant, toy"
    assert left == ()
    assert obeyed is True
    assert stop_model(state.folder, "later", "no gateway runs") is None
