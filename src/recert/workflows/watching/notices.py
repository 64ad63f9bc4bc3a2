"""
What a watch came to, told to people: a signed JSON POST and an e-mail.

Telling comes last and changes nothing: whatever goes wrong is said and logged, and it ends after a while in any case.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import smtplib
import ssl
import threading
import time
import urllib.error
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from http.client import HTTPException
from typing import Final
from urllib.parse import SplitResult, urlsplit

from recert import settings
from recert.digest import canonical_json
from recert.errors import SettingsError
from recert.records.live.watching import WatchOutcome, WatchReport
from recert.store.http_delivery import REQUEST_S, deliver, failure_words, is_web_url

log = logging.getLogger("recert.watch")

SIGNATURE: Final = "Recert-Signature"
"""Header of a notice: `t=SECONDS,v1=HEX`, the HMAC-SHA256 of the seconds, a full stop and the body."""
_TRIES: Final = 3
_FIRST_PAUSE_S: Final = 1.0
_MOST_S: Final = 45.0
_SMTP_PORTS: Final = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


@dataclass(frozen=True)
class Notices:
    """
    Who is told, and how.

    Args:
        webhook: an http(s) URL that every outcome is posted to, signed where `RECERT_WEBHOOK_KEY` is set.
        mail_to: addresses that get an e-mail by `RECERT_SMTP` where the outcome is not `renew`, or an action failed.

    Raises:
        SettingsError: the URL is none, or there is no server for e-mails, or one to which a password would go in clear.
    """

    webhook: str = ""
    mail_to: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.webhook and not is_web_url(self.webhook):
            raise SettingsError("a webhook is an http(s) URL", facts={"given": self.webhook})
        if self.mail_to:
            _server()

    def send(
        self, report: WatchReport, *, model: str, did: Sequence[str], failed: Sequence[str]
    ) -> list[str]:
        """
        Tell all of them; return what could not be told, in words. Never raises, and ends within a minute.

        Args:
            report: what the watch came to.
            model: what the model is called.
            did: what was done about it.
            failed: what could not be done.
        """
        ways: list[tuple[str, Callable[[], None]]] = []
        if self.webhook:
            body = canonical_json(
                {
                    "event": "watch",
                    "outcome": report.outcome.value,
                    "model_name": model,
                    "serial": report.serial,
                    "did": list(did),
                    "failed": list(failed),
                    "report_sha256": report.digest,
                    "report": report.to_value(),
                }
            )
            ways.append((f"webhook {urlsplit(self.webhook).hostname}", lambda: _post(self.webhook, body)))
        if self.mail_to and (report.outcome is not WatchOutcome.RENEW or failed):
            ways.append(("e-mail", lambda: _deliver(_mail(self.mail_to, report, model, did, failed))))
        problems = [problem for name, way in ways if (problem := _told(name, way))]
        for problem in problems:
            log.warning("%s", problem)
        return problems


def signature(key: str, body: bytes, at_s: int) -> str:
    """Return the header that whoever gets a notice compares: `t=SECONDS,v1=HEX`."""
    made = hmac.new(key.encode(), b"%d." % at_s + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={made}"


def _told(name: str, way: Callable[[], None]) -> str:
    """Run one way in a thread that nobody waits for longer than a while; return its problem, or nothing."""
    problem = [f"{name}: not done within {_MOST_S:.0f} s"]

    def run() -> None:
        try:
            way()
        except Exception as exc:  # whatever it is, it must not become the outcome
            problem[0] = f"{name}: {failure_words(exc)}"
        else:
            problem[0] = ""

    thread = threading.Thread(target=run, name="notice", daemon=True)
    thread.start()
    thread.join(_MOST_S)
    return problem[0]


def _post(url: str, body: bytes) -> None:
    pause_s = _FIRST_PAUSE_S
    for left in reversed(range(_TRIES)):
        key = settings.webhook_key()
        headers = {SIGNATURE: signature(key, body, int(time.time()))} if key else {}
        try:
            return deliver(url, body, method="POST", headers=headers)
        except (OSError, HTTPException) as exc:
            refused = isinstance(exc, urllib.error.HTTPError) and exc.code < 500 and exc.code != 429
            if refused or not left:
                raise
        time.sleep(pause_s)
        pause_s *= 2


def _server() -> SplitResult:
    url = urlsplit(settings.smtp_server())
    if url.scheme not in _SMTP_PORTS or not url.hostname:
        raise SettingsError(
            "e-mails need a server",
            facts={"RECERT_SMTP": settings.smtp_server() or "not set"},
            hint="such as smtp+starttls://me@mail.example.com:587",
        )
    if url.password is not None or (url.scheme == "smtp" and settings.smtp_password()):
        raise SettingsError(
            "a password for e-mail goes into RECERT_SMTP_PASSWORD, and over TLS only",
            hint="use smtp+starttls:// or smtps://",
        )
    return url


def _deliver(mail: EmailMessage) -> None:
    url = _server()
    host, port = str(url.hostname), url.port or _SMTP_PORTS[url.scheme]
    secure = ssl.create_default_context()
    if url.scheme == "smtps":
        link: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=REQUEST_S, context=secure)
    else:
        link = smtplib.SMTP(host, port, timeout=REQUEST_S)
    with link:
        if url.scheme == "smtp+starttls":
            link.starttls(context=secure)
        if url.username:
            link.login(url.username, settings.smtp_password())
        link.send_message(mail)


def _mail(
    to: Sequence[str], report: WatchReport, model: str, did: Sequence[str], failed: Sequence[str]
) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = " ".join(f"recert watch: {report.outcome} {model} ({report.serial})".split())
    mail["From"] = settings.mail_from()
    mail["To"] = ", ".join(to)
    parts = (("Why", report.reasons), ("Done", did), ("NOT done", failed))
    words = [f"{name}:\n" + "".join(f"  {one}\n" for one in some) for name, some in parts if some]
    about = f"Model {model}, certificate {report.serial}, watched {report.through} at {report.watched_at}.\n"
    mail.set_content("\n".join([about, *words, f"Report, sha256:\n  {report.digest}\n"]))
    return mail
