"""Notices: a signed POST and an e-mail over TLS, tried again, and never a reason for another outcome."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from builders import SOME_SHA, make_watch_report
from http_endpoints import serving
from mail_server import MailServer, own_certificate
from recert.errors import SettingsError
from recert.records.live.watching import WatchOutcome, WatchReport
from recert.workflows.watching import notices
from recert.workflows.watching.notices import SIGNATURE, Notices, signature

SUSPENDED = make_watch_report(
    serial="0123", certificate_sha256=SOME_SHA, outcome=WatchOutcome.SUSPEND, reasons=("it has risen",)
)
CLEAN = make_watch_report(serial="0123", certificate_sha256=SOME_SHA)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts are short here."""
    monkeypatch.setattr(notices, "_FIRST_PAUSE_S", 0.01)
    for name in ("RECERT_SMTP", "RECERT_SMTP_PASSWORD", "RECERT_WEBHOOK_KEY", "RECERT_MAIL_FROM"):
        monkeypatch.delenv(name, raising=False)


def post(
    report: WatchReport, statuses: list[int], **headers: str
) -> tuple[list[str], list[tuple[Any, bytes]]]:
    """Send to a webhook that answers with these statuses in turn; return what could not be told, and what came."""
    came: list[tuple[Any, bytes]] = []

    async def take(request: web.Request) -> web.Response:
        came.append((request.headers, await request.read()))
        return web.Response(status=statuses[min(len(came), len(statuses)) - 1], headers=headers)

    with serving(("POST", "/hook", take)) as url:
        untold = Notices(f"{url}/hook").send(report, model="sql", did=["stopped sql"], failed=[])
    return untold, came


def test_a_webhook_gets_the_report_and_can_tell_that_it_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signature is the HMAC of time and body; the body holds outcome, what was done, and the whole report."""
    monkeypatch.setenv("RECERT_WEBHOOK_KEY", "a key")
    untold, [(headers, body)] = post(SUSPENDED, [204])
    at, _, made = headers[SIGNATURE].partition(",v1=")
    at = at.removeprefix("t=")
    said = json.loads(body)

    assert untold == []
    assert made == hmac.new(b"a key", at.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert abs(int(at) - time.time()) < 60
    assert (said["outcome"], said["model_name"], said["did"]) == ("suspend", "sql", ["stopped sql"])
    assert WatchReport.from_json(json.dumps(said["report"]).encode()) == SUSPENDED
    assert said["report_sha256"] == SUSPENDED.digest
    assert signature("another key", body, int(at)) != headers[SIGNATURE]


def test_a_clean_watch_is_posted_too_and_unsigned_without_a_key() -> None:
    """A webhook that hears nothing knows that the watcher is gone."""
    untold, [(headers, body)] = post(CLEAN, [200])

    assert (untold, json.loads(body)["outcome"]) == ([], "renew")
    assert SIGNATURE not in headers


@pytest.mark.parametrize(
    ("statuses", "asked", "untold"),
    [
        ([500, 503, 200], 3, []),
        ([429, 200], 2, []),
        ([500], 3, ["webhook 127.0.0.1: HTTPError 500"]),
        ([404], 1, ["webhook 127.0.0.1: HTTPError 404"]),
        ([302], 1, ["webhook 127.0.0.1: HTTPError 302"]),
    ],
)
def test_what_fails_is_tried_again_and_said(statuses: list[int], asked: int, untold: list[str]) -> None:
    """A busy or failing receiver is asked three times; one that refuses, or sends us elsewhere, once."""
    told, came = post(SUSPENDED, statuses, location="/elsewhere")

    assert told == untold
    assert len(came) == asked


def test_a_receiver_that_is_not_there_or_hangs_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection, and no answer: both are said, within the time that there is."""
    monkeypatch.setattr(notices, "_MOST_S", 0.5)

    async def hang(_: web.Request) -> web.Response:
        import asyncio

        await asyncio.sleep(5)
        return web.Response()

    began = time.monotonic()
    gone = Notices("http://127.0.0.1:9/hook").send(SUSPENDED, model="sql", did=[], failed=[])
    with serving(("POST", "/hook", hang)) as url:
        late = Notices(f"{url}/hook").send(SUSPENDED, model="sql", did=[], failed=[])

    assert [len(gone), len(late)] == [1, 1]
    assert "not done within" in late[0]
    assert time.monotonic() - began < 4


@pytest.fixture
def mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    """A server whose certificate is trusted."""
    with MailServer(own_certificate(tmp_path / "mail.pem")).running() as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        monkeypatch.setenv("RECERT_SMTP", f"smtp+starttls://watcher@127.0.0.1:{server.port}")
        monkeypatch.setenv("RECERT_SMTP_PASSWORD", "a password")
        monkeypatch.setenv("RECERT_MAIL_FROM", "recert@example.com")
        yield server


def mailed(report: WatchReport, model: str = "sql", failed: tuple[str, ...] = ()) -> list[str]:
    """Send by e-mail; return what could not be told."""
    return Notices(mail_to=("a@example.com", "b@example.com")).send(
        report, model=model, did=["stopped"], failed=failed
    )


def test_an_e_mail_goes_over_tls_with_a_password(mail: MailServer) -> None:
    """It says outcome, why, what was done, and what was not."""
    untold = mailed(SUSPENDED, failed=("cannot write file",))

    assert untold == []
    assert (mail.secure, mail.logins) == ([True], ["watcher a password"])
    (one,) = mail.mails
    text = one.get_content().replace("\r\n", "\n")
    assert one["Subject"] == "recert watch: suspend sql (0123)"
    assert (one["From"], one["To"]) == ("recert@example.com", "a@example.com, b@example.com")
    for words in (
        "Why:\n  it has risen\n",
        "Done:\n  stopped\n",
        "NOT done:\n  cannot write file\n",
        SUSPENDED.digest,
    ):
        assert words in text


def test_a_clean_watch_is_no_e_mail(mail: MailServer) -> None:
    """Nobody reads one every night; but a renewal that failed is told."""
    untold = [mailed(CLEAN), mailed(CLEAN, failed=("a signer is missing",))]

    assert untold == [[], []]
    assert len(mail.mails) == 1


def test_a_name_adds_no_header(mail: MailServer) -> None:
    """Line breaks in what a model is called end nowhere but in the subject."""
    untold = mailed(SUSPENDED, model="sql\r\nBcc: c@example.com")

    assert untold == []
    assert mail.mails[0]["Bcc"] is None


def test_an_address_that_is_none_is_said(mail: MailServer) -> None:
    """It ends no watch."""
    untold = Notices(mail_to=("a@example.com\nBcc: b@example.com",)).send(
        SUSPENDED, model="sql", did=[], failed=[]
    )

    assert untold == ["e-mail: ValueError"]
    assert mail.mails == []


def test_a_server_without_tls_or_of_somebody_else_gets_no_password(
    mail: MailServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without STARTTLS, or with a certificate that nobody trusts, nothing is sent, and that is said."""
    mail.offers_tls = False
    no_tls = mailed(SUSPENDED)
    mail.offers_tls = True
    monkeypatch.setenv("SSL_CERT_FILE", str(own_certificate(tmp_path / "another.pem")))
    not_trusted = mailed(SUSPENDED)

    assert no_tls == ["e-mail: SMTPNotSupportedError"]
    assert not_trusted == ["e-mail: SSLCertVerificationError"]
    assert (mail.mails, mail.logins) == ([], [])


@pytest.mark.parametrize(
    ("server", "password"),
    [
        ("", ""),
        ("mail.example.com", ""),
        ("http://mail.example.com", ""),
        ("smtp://me@mail.example.com", "a password"),
        ("smtps://me:a-password@mail.example.com", ""),
    ],
)
def test_a_server_that_cannot_be_used_is_said_before_the_watch(
    monkeypatch: pytest.MonkeyPatch, server: str, password: str
) -> None:
    """No server, no scheme, a password in clear or in the address: an error of the settings."""
    monkeypatch.setenv("RECERT_SMTP", server)
    monkeypatch.setenv("RECERT_SMTP_PASSWORD", password)

    with pytest.raises(SettingsError, match="e-mail"):
        Notices(mail_to=("a@example.com",))


def test_a_webhook_is_a_url() -> None:
    """A file or a bare word is none."""
    for given in ("file:///etc/passwd", "example.com"):
        with pytest.raises(SettingsError, match="webhook"):
            Notices(given)
