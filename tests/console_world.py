"""A console over folders of records, and a browser-like client of one who signed in with given roles."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.testclient import TestClient

from recert.console.assembling import ConsoleOptions, all_pages, assemble
from recert.console.pages import Page
from recert.console.visiting import Visitor
from recert.store.console.passwords import Passwords


@dataclass(frozen=True)
class OneVisitor:
    """Whoever asks is this person: for tests of pages, where signing in is not the subject."""

    who: Visitor

    def visitor(self, _: Request) -> Visitor | None:
        """Return this person."""
        return self.who

    def routes(self) -> Sequence[BaseRoute]:
        """Return none."""
        return ()


QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Argon2id with next to no work: tests sign in often."""
ADA, BOB = "an aged password of ada", "the other password of bob"


class People:
    """A console in a folder, with an administrator `ada` and an approver `bob`, and browsers that ask it."""

    def __init__(
        self,
        folder: Path,
        *,
        url: str = "http://127.0.0.1",
        pages: Sequence[Page] = (),
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.assembled = assemble(
            ConsoleOptions(folder),
            public_url=url,
            passwords=Passwords(QUICK),
            clock=self.clock,
            pages=[*pages, *all_pages()],
        )
        self.url, self.folder = url, folder
        people = self.assembled.console.people
        assert people is not None
        self.people = people
        people.accounts.add("ada", ["administrator"], password=people.passwords.hashed(ADA))
        people.accounts.add("bob", ["approver"], password=people.passwords.hashed(BOB))

    def browser(self, *, address: str = "127.0.0.1") -> Browser:
        """A browser in which nobody is signed in."""
        return Browser(
            TestClient(
                self.assembled.app,
                base_url=self.url,
                client=(address, 50000),
                follow_redirects=False,
                raise_server_exceptions=False,
            )
        )

    def acts(self) -> list[tuple[str, str]]:
        """Who did what, by the console's log."""
        lines = (self.folder / "audit.jsonl").read_text().splitlines()
        bodies = [json.loads(line)["body"] for line in lines]
        return [(body["who"], body["what"]) for body in bodies if "what" in body]

    def close(self) -> None:
        """Let go of log and database."""
        self.assembled.end()


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def __call__(self) -> float:
        """Return seconds since 1970."""
        return self.at


class Browser:
    """Asks as a browser does: with cookies, and with the token that the last page's forms had."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.token = ""

    def get(self, path: str, **more: Any) -> Any:
        """Open a page."""
        return self._seen(self.client.get(path, **more))

    def post(self, path: str, /, *, token: str | None = None, **fields: str) -> Any:
        """Send a form of the page that was opened last."""
        return self._seen(
            self.client.post(path, data={"csrf": self.token if token is None else token, **fields})
        )

    def sign_in(self, name: str, password: str, *, to: str = "") -> Any:
        """Sign in from the sign-in page."""
        self.get("/console/sign-in")
        done = self.post("/console/sign-in", name=name, password=password, to=to)
        if done.status_code == 303:
            self.get("/console/me")
        return done

    def _seen(self, answer: Any) -> Any:
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', answer.text)
        self.token = found.group(1) if found else self.token
        return answer
