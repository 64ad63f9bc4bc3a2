"""The gateways' pages: what they count, what they say of what is unreachable, and the switch that stops."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from builders import make_policy
from console_world import OneVisitor
from gateways import MODEL
from live_gateways import BLOCKED_WORD, LiveGateway, live_gateway
from recert.console.acts import Acts
from recert.console.app import Console, make_app
from recert.console.assembling import console_environment
from recert.console.gateways import gateway_pages
from recert.console.gateways.gateway_counts import LogCounts, Minutes, Name
from recert.console.gateways.gateways import Gateways, read_metrics
from recert.console.settings import ConsoleSettings, GatewaySettings
from recert.console.visiting import Visitor
from recert.errors import SettingsError, StoreError
from recert.gateway.access.kill_switch import read_orders
from recert.gateway.serving.state import StateFolder


@contextmanager
def client(folder: Path, gateways: Gateways, *roles: str) -> Iterator[TestClient]:
    """A browser of one who signed in with these roles; its token is `token`."""
    acts = Acts(folder / "acts.jsonl")
    who = OneVisitor(Visitor("Mara", frozenset(roles or ("operator",)), "token"))
    console = Console(folder, make_policy(), acts, who, console_environment(), gateways=gateways)
    yield TestClient(make_app(console, gateway_pages.PAGES), follow_redirects=False)
    gateways.close()
    acts.close()


def settled(client: TestClient, path: str, wanted: str) -> str:
    """The page once it says what is wanted, or after 5 s."""
    end = time.monotonic() + 5
    while True:
        text: str = client.get(path).text
        if re.search(wanted, text) or time.monotonic() > end:
            return text
        time.sleep(0.1)


def acts(folder: Path) -> list[tuple[str, dict[str, str]]]:
    """What was done, by the log."""
    bodies = [json.loads(line)["body"] for line in (folder / "acts.jsonl").read_text().splitlines()]
    return [(body["what"], body["facts"]) for body in bodies if "what" in body]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    """A gateway that answered twice, and blocked once."""
    with live_gateway(tmp_path_factory.mktemp("gateway")) as made:
        made.ask()
        made.ask(BLOCKED_WORD)
        made.ask()
        yield made


def known(running: LiveGateway, folder: Path, *, audit: bool = True) -> Gateways:
    """What a console knows of it."""
    (folder / "console.toml").write_text(running.settings(audit=audit))
    return Gateways(ConsoleSettings.read(folder).gateways)


def test_a_page_says_what_a_gateway_does_and_blocks(running: LiveGateway, tmp_path: Path) -> None:
    """Requests, blocks by control and category, the certificate with its end, and the plot in words."""
    with client(tmp_path, known(running, tmp_path), "reader") as browser:
        text = settled(browser, "/console/gateways/main", "word</th>")
        listed = browser.get("/console/gateways").text

    assert 'chip yes">serving' in text
    assert "<strong>3</strong> requests, <strong>1</strong> blocked" in text
    assert "0123456789abcdef" in text
    assert ">hate</th>" in text
    assert "2 answered, 1 blocked, 0 refused" in text
    assert "An operator can stop this gateway here." in text
    assert "/console/gateways/main/stop" not in text
    assert "<strong>1</strong> blocked of 3" in listed


@pytest.mark.slow
def test_without_its_log_a_gateway_is_counted_by_its_metrics(running: LiveGateway, tmp_path: Path) -> None:
    """From the first look on, by what `/metrics` says between two looks."""
    with client(tmp_path, known(running, tmp_path, audit=False)) as browser:
        settled(browser, "/console/gateways/main", "counted from its metrics")
        running.ask(BLOCKED_WORD)
        text = settled(browser, "/console/gateways/main", "word</th>")

    assert "<strong>1</strong> requests, <strong>1</strong> blocked" in text
    assert "Metrics name no categories" in text


@pytest.mark.slow
def test_the_switch_stops_a_running_gateway_within_a_second(running: LiveGateway, tmp_path: Path) -> None:
    """Requests are refused at once and after; the order names who and why; resumed, it answers again; all is logged."""
    with client(tmp_path, known(running, tmp_path)) as browser:
        form = {"csrf": "token", "model": MODEL, "reason": "it said something", "sure": "yes"}
        before = running.ask()
        asked_at = time.monotonic()
        done = browser.post("/console/gateways/main/stop", data=form)
        took_s = time.monotonic() - asked_at
        refused = [running.ask(), running.ask()]
        order = read_orders(running.folder / "state").orders[0]
        page = settled(browser, "/console/gateways/main", "stopped-by-operator")
        again = browser.post(
            "/console/gateways/main/resume", data={"csrf": "token", "model": MODEL, "reason": "looked at"}
        )
        after = running.ask()

    assert before == "Hello there"
    assert done.status_code == 303
    assert took_s < 1.5
    assert refused == ["stopped-by-operator"] * 2
    assert (order.kind, order.name, order.reason, order.by) == (
        "stop",
        MODEL,
        "it said something",
        "Mara (console)",
    )
    assert "it said something" in page
    assert again.status_code == 303
    assert after == "Hello there"
    assert acts(tmp_path) == [
        ("gateway-stopped", {"gateway": "main", "model": MODEL, "reason": "it said something"}),
        ("gateway-resumed", {"gateway": "main", "model": MODEL, "reason": "looked at"}),
    ]


def idle(folder: Path) -> Gateways:
    """A gateway that does not run, known by its state folder."""
    StateFolder(folder / "state").close()
    return Gateways([GatewaySettings(name="main", state=folder / "state")])


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"sure": ""}, 400),
        ({"reason": "  "}, 400),
        ({"reason": "x" * 501}, 400),
        ({"model": ""}, 400),
        ({"csrf": "another"}, 403),
    ],
)
def test_nothing_is_stopped_by_half_a_form(tmp_path: Path, fields: dict[str, str], status: int) -> None:
    """Without the tick, a reason, a model or the form's own token there is no order and no act."""
    full = {"csrf": "token", "model": "*", "reason": "why", "sure": "yes"}
    with client(tmp_path, idle(tmp_path)) as browser:
        answer = browser.post("/console/gateways/main/stop", data=full | fields)

    assert answer.status_code == status
    assert read_orders(tmp_path / "state").orders == ()
    assert acts(tmp_path) == []


@pytest.mark.parametrize("role", ["reader", "auditor", "approver", "administrator"])
def test_only_an_operator_stops_and_resumes(tmp_path: Path, role: str) -> None:
    """Everybody else is refused, and nothing is written."""
    form = {"csrf": "token", "model": "*", "reason": "why", "sure": "yes"}
    with client(tmp_path, idle(tmp_path), role) as browser:
        answers = [
            browser.post(f"/console/gateways/main/{act}", data=form).status_code for act in ("stop", "resume")
        ]

    assert answers == [403, 403]
    assert read_orders(tmp_path / "state").orders == ()


def test_nothing_is_stopped_that_cannot_be_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the console's log cannot be written the order is not given."""

    def full(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    with client(tmp_path, idle(tmp_path)) as browser:
        monkeypatch.setattr(Acts, "write", full)
        form = {"csrf": "token", "model": "*", "reason": "why", "sure": "yes"}
        answer = browser.post("/console/gateways/main/stop", data=form)

    assert answer.status_code >= 500
    assert read_orders(tmp_path / "state").orders == ()


def test_an_order_for_a_gateway_that_does_not_run_says_so(tmp_path: Path) -> None:
    """It holds from its next start on."""
    with client(tmp_path, idle(tmp_path)) as browser:
        form = {"csrf": "token", "model": "*", "reason": "why", "sure": "yes"}
        answer = browser.post("/console/gateways/main/stop", data=form)
        page = browser.get(answer.headers["location"]).text

    assert "no gateway runs here" in page
    assert "Every model is stopped since" in page


def test_damaged_orders_are_shown_and_begun_anew_only_for_every_model(tmp_path: Path) -> None:
    """While they are damaged nothing is served; resuming one model does not hide that."""
    with client(tmp_path, idle(tmp_path)) as browser:
        (tmp_path / "state" / "orders.json").write_bytes(b"{")
        page = browser.get("/console/gateways/main").text
        form = {"csrf": "token", "model": "sql", "reason": "why"}
        one = browser.post("/console/gateways/main/resume", data=form)
        every = browser.post("/console/gateways/main/resume", data=form | {"model": "*"})

    assert "every model is stopped until orders are given anew" in page
    assert one.status_code == 409
    assert every.status_code == 303
    assert read_orders(tmp_path / "state").orders == ()


def test_what_is_unreachable_says_so_and_since_when(tmp_path: Path) -> None:
    """Nothing is claimed about it, and it cannot be stopped where its state folder is not known."""
    gone = Gateways([GatewaySettings(name="main", url="http://127.0.0.1:9")])
    with client(tmp_path, gone) as browser:
        page = settled(browser, "/console/gateways/main", "cannot be reached")
        form = {"csrf": "token", "model": "*", "reason": "why", "sure": "yes"}
        stopped = browser.post("/console/gateways/main/stop", data=form)

    assert f"It cannot be reached since {datetime.now(UTC):%Y-%m-%d}" in page
    assert 'chip no">unreachable' in page
    assert "What it does now is not known." in page
    assert stopped.status_code == 409


def test_a_wrong_key_is_told_from_silence(running: LiveGateway, tmp_path: Path) -> None:
    """The page says that the key may not ask."""
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text("another-key-0123456789012345")
    wrong = Gateways([GatewaySettings(name="main", url=running.server.url, key_file=key)])
    with client(tmp_path, wrong) as browser:
        page = settled(browser, "/console/gateways/main", "cannot be reached")

    assert "the key may not ask /status (401)" in page


def test_without_gateways_the_page_says_how_to_name_some(tmp_path: Path) -> None:
    """The empty state is a sentence, and one that is not there is 404."""
    with client(tmp_path, Gateways()) as browser:
        page = browser.get("/console/gateways").text
        missing = browser.get("/console/gateways/none").status_code

    assert "No gateway is known." in page
    assert missing == 404


def line(at: datetime, decision: str = "released", **body: object) -> bytes:
    """A line of an audit log as the counts read it."""
    inner = {"certificate_serial": "ab", "model_name": "m", "decision": decision, "scores": [], **body}
    return json.dumps({"kind": "exchange", "at": at.isoformat(), "body": inner}).encode() + b"\n"


def test_a_log_is_followed_as_it_grows_and_over_its_rotation(tmp_path: Path) -> None:
    """Half a line waits for its end; a new file under the name is read from its beginning; junk is passed over."""
    at, path, counts = datetime.now(UTC), tmp_path / "audit.jsonl", Minutes()
    log = LogCounts(path, counts)
    log.look()
    missing = log.trouble
    whole = line(at)
    path.write_bytes(whole + b"junk\n[]\n" + whole[:20])
    log.look()
    first = counts.window(at.timestamp(), hours=1).requests
    with path.open("ab") as file:
        file.write(whole[20:])
    log.look()
    second = counts.window(at.timestamp(), hours=1).requests
    path.rename(tmp_path / "audit.jsonl.000000000001")
    path.write_bytes(whole + line(at, "opened"))
    log.look()
    third = counts.window(at.timestamp(), hours=1).requests
    log.close()

    assert "cannot be read" in missing
    assert (first, second, third) == (1, 2, 3)


def test_a_large_log_is_read_from_its_end_in_pieces(tmp_path: Path) -> None:
    """One look reads some megabytes at most; what is far back is left."""
    at, path, counts = datetime.now(UTC), tmp_path / "audit.jsonl", Minutes()
    old = line(at - timedelta(days=3), padding="x" * 1000)
    path.write_bytes(old * (20 * 2**20 // len(old)) + line(at))
    log = LogCounts(path, counts)
    log.look()
    behind = log.behind
    looks = 1
    while log.behind:
        log.look()
        looks += 1
    log.close()

    assert behind
    assert looks <= 6
    assert counts.window(at.timestamp(), hours=24).requests == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 3000), st.sampled_from(["answered", "blocked", "refused"])), max_size=60
    )
)
def test_a_window_holds_what_happened_in_it_and_nothing_else(happened: list[tuple[int, str]]) -> None:
    """Bars and totals agree, for the hour and for the day."""
    now_s, counts = 1_800_000_000.0, Minutes()
    counts.begin(now_s - 200_000)
    for ago_minutes, kind in sorted(happened, reverse=True):
        counts.add(now_s - 60 * ago_minutes, Name("end", kind))

    for hours in (1, 24):
        window = counts.window(now_s, hours=hours)

        assert window.requests == sum(ago < hours * 60 for ago, _ in happened)
        assert sum(sum(span.values()) for span in window.spans) == window.requests
        assert len(window.spans) == 60


@given(st.text(max_size=200))
def test_no_page_of_metrics_breaks_the_reader(page: str) -> None:
    """It is read, or it is told from one by an error that the asking knows."""
    try:
        counts, _ = read_metrics(page)
    except (ValueError, LookupError):
        return

    assert all(n >= 0 for n in counts.values())


@pytest.mark.parametrize(
    "text",
    [
        '[[gateways]]\nname = "a"\n[[gateways]]\nname = "a"\n',
        '[[gateways]]\nname = "a/b"\n',
        '[[gateways]]\nname = "a"\nurl = "http://models.example.org"\n',
        '[[gateways]]\nname = "live"\n',
    ],
)
def test_settings_that_could_mislead_are_refused(tmp_path: Path, text: str) -> None:
    """Two of one name, a name that is no part of a path, a key sent in the clear."""
    (tmp_path / "console.toml").write_text(text)

    with pytest.raises(SettingsError):
        ConsoleSettings.read(tmp_path)
