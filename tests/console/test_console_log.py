"""The audit log's pages: what is asked for is found, and a line is shown with what proves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from certified_folders import Certified
from logs import audit_key, exchange, plan, write_log
from pages import Page
from recert.certification import generate_key
from recert.cli.app import app
from recert.console.gateways.log_pages import logs_of, sentence
from recert.records.live.console import ConsoleAct
from recert.store.audit.log import AuditLog
from signing_console import client_of, console_of

AT = "/console/log"


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """A certified model, whose trusted keys include one that signs checkpoints."""
    made = Certified(tmp_path_factory.mktemp("certified"))
    generate_key(made.trust / "audit.pem", "audit", "Gateway")
    return made


@pytest.fixture(scope="module")
def log(certified: Certified) -> Path:
    """A gateway's log of 130 lines, signed every ten."""
    from recert.certification import load_key

    path = certified.folder / "gateway" / "audit.jsonl"
    key = load_key(certified.trust / "audit.pem")
    with AuditLog(path, node="node-a", checkpoints=plan(key, every_lines=10)) as audit:
        for number in range(130):
            odd: dict[str, Any] = {"decision": "blocked-input", "reason": "input-judge"} if number % 3 else {}
            serial = {"certificate_serial": f"serial-{number % 2}"}
            audit.append(exchange(number, client=f"team-{number % 5}", **odd, **serial))
    return path


@pytest.fixture
def client(certified: Certified, log: Path) -> TestClient:
    """A client of a console that is given the log."""
    return client_of(console_of(certified, logs=(log,)))


def numbers(client: TestClient, query: str = "") -> list[int]:
    """Return the numbers of all lines that a search finds, over all pages."""
    found: list[int] = []
    address = f"{AT}?{query}"
    for _ in range(20):
        page = Page(client.get(address).text)
        links = [a for tag, a in page.tags if tag == "a"]
        hrefs = [str(a["href"]) for a in links if "/console/log/" in str(a.get("href"))]
        found += [int(href.rpartition("/")[2]) for href in hrefs]
        older = [str(a["href"]) for a in links if a.get("rel") == "next"]
        if not older:
            return found
        address = older[0]
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", list(range(130, 0, -1))),
        ("request_id=r7", [8]),
        ("client=team-3", list(range(129, 0, -5))),
        ("decision=released", list(range(130, 0, -3))),
        ("serial=serial-1&client=team-0", list(range(126, 0, -10))),
        ("kind=console_act", []),
        ("request_id=r", []),
        ("until=2020-01-01", []),
        ("since=2020-01-01&request_id=r0", [1]),
    ],
)
def test_a_search_finds_the_lines_that_meet_it_over_its_pages(
    client: TestClient, query: str, expected: list[int]
) -> None:
    """
    By request, client, serial, decision, kind and time: every line that meets it, the newest first, and no other.
    """
    assert numbers(client, query) == expected


def test_a_line_is_shown_in_words_with_its_proof(client: TestClient, certified: Certified, log: Path) -> None:
    """
    A line's page says what happened, that the chain leads to a signed checkpoint, and the command that says so too.
    """
    [chosen] = [one for one in logs_of(console_of(certified, logs=(log,))) if one.path == log]
    text = Page(client.get(f"{AT}/{chosen.id}/8").text).text
    key = str(certified.trust / "audit.pub")

    done = CliRunner().invoke(app, ["audit", "verify", str(log), "--key", key])

    assert "team-2 asked m: the request was blocked before the model, because of input-judge." in text
    assert "The chain leads over 2 lines to the one that a trusted key signed" in text
    assert f"recert audit verify {log} --key audit.pub" in text
    assert done.exit_code == 0


def test_a_line_that_was_changed_says_so(certified: Certified, tmp_path: Path) -> None:
    """
    A changed line no longer fits the one after it, and its page says that in words.
    """
    path = write_log(tmp_path / "audit.jsonl", 6)
    path.write_bytes(path.read_bytes().replace(b'"request_id":"r2"', b'"request_id":"rX"'))
    console = console_of(certified, logs=(path,))
    [chosen] = [one for one in logs_of(console) if one.path == path]

    text = Page(client_of(console).get(f"{AT}/{chosen.id}/3").text).text

    assert "do not fit together: one was changed" in text
    assert "the line after names another" in text


def test_a_log_without_a_trusted_key_is_not_called_proven(certified: Certified, tmp_path: Path) -> None:
    """
    Checkpoints by a key that the console does not trust count for nothing.
    """
    path = write_log(tmp_path / "audit.jsonl", 6, checkpoints=plan(audit_key(tmp_path), every_lines=2))
    console = console_of(certified, logs=(path,))
    [chosen] = [one for one in logs_of(console) if one.path == path]

    text = Page(client_of(console).get(f"{AT}/{chosen.id}/3").text).text

    assert "does not count: its key is not trusted in the role audit" in text
    assert "nobody has changed this line since" not in text


def test_what_people_did_here_is_found_too(certified: Certified, log: Path) -> None:
    """
    The console's own log is listed and searched by person and act.
    """
    console = console_of(certified, logs=(log,))
    console.acts.write("Ada", "approved", {"serial": "abc"})
    console.acts.write("Bo", "revealed", {"row": 3})
    own = logs_of(console)[-1]
    client = client_of(console)

    assert own.name == "this console"
    assert numbers(client, f"log={own.id}&client=Ada") == [1]
    assert numbers(client, f"log={own.id}&decision=revealed") == [2]
    assert numbers(client, f"log={own.id}&serial=abc") == [1]
    assert "Ada signed a certificate." in client.get(f"{AT}?log={own.id}").text


@pytest.mark.parametrize("path", ["nothing/1", "{id}/0", "{id}/131", "{id}/x", "{id}/" + "9" * 30, "{id}/-1"])
def test_a_line_that_is_not_there_is_a_page_that_says_so(
    client: TestClient, certified: Certified, log: Path, path: str
) -> None:
    """
    Unknown logs and numbers are not found; nothing of the address reaches a file's name.
    """
    first = logs_of(console_of(certified, logs=(log,)))[0]

    assert client.get(f"{AT}/{path.format(id=first.id)}").status_code == 404


def test_what_a_client_wrote_is_text_on_the_page(certified: Certified, tmp_path: Path) -> None:
    """
    Names of clients and ids of requests with markup in them are shown, not run, in lists, fields and commands.
    """
    evil = "<img src=x onerror=alert(1)>'\""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, node="n") as audit:
        audit.append(exchange(1, client=evil, request_id=evil))
    console = console_of(certified, logs=(path,))
    [chosen] = [one for one in logs_of(console) if one.path == path]
    client = client_of(console)

    pages = [
        client.get(AT, params={"log": chosen.id, "client": evil}).text,
        client.get(f"{AT}/{chosen.id}/1").text,
    ]

    assert "<img" not in "".join(pages)
    assert all("&lt;img" in page for page in pages)


def test_without_a_log_the_page_says_what_to_do(certified: Certified) -> None:
    """
    Where there is no log in a file there is a sentence, and no error.
    """
    console = console_of(certified)
    console.acts.close()
    (console.folder / "acts.jsonl").unlink()

    assert "There is no audit log in a file here yet." in client_of(console).get(AT).text


def test_a_damaged_log_is_told_in_words(certified: Certified, tmp_path: Path) -> None:
    """
    A line that is none is said to be there, not passed over.
    """
    path = write_log(tmp_path / "audit.jsonl", 3)
    path.write_bytes(path.read_bytes().replace(b'"body":{', b'"body":[', 1))

    text = client_of(console_of(certified, logs=(path,))).get(AT).text

    assert "This log cannot be read: audit log has a line that is none" in text


def test_acts_without_words_of_their_own_are_sentences_too(tmp_path: Path) -> None:
    """
    An act that this page does not know by name is told by it.
    """
    with AuditLog(tmp_path / "log", node="n") as audit:
        audit.append(ConsoleAct(who="", what="made-a-link", facts={"because": "an audit"}))
    from recert.store.audit.log import read_log

    [line] = read_log(tmp_path / "log")

    assert sentence(line) == "Somebody who was not signed in made a link, because an audit."
