"""Cookies of the console: what they are called, and how they are bound to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

SESSION: Final = "recert-session"
SIGN_IN: Final = "recert-sign-in"
ELSEWHERE: Final = "recert-elsewhere"
SHARED: Final = "recert-shared-"
_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Cookies:
    """
    Sets and reads cookies that no script and no other site can read.

    Args:
        https: whether browsers reach the console by https. Then a cookie is sent by https alone, and its name begins
            with `__Host-`, which browsers let nobody but this host set.
    """

    https: bool

    def name(self, cookie: str) -> str:
        """Return what a cookie is called here."""
        return f"__Host-{cookie}" if self.https else cookie

    def read(self, request: Request, cookie: str) -> str:
        """Return the value of a cookie that looks like one of ours, or nothing."""
        given = request.cookies.get(self.name(cookie), "")
        return given if _VALUE.fullmatch(given) else ""

    def shared(self, request: Request) -> list[str]:
        """Return what shared links left in this browser, 16 at most."""
        begin = self.name(SHARED)
        found = [value for name, value in request.cookies.items() if name.startswith(begin)]
        return [value for value in found if _VALUE.fullmatch(value)][:16]

    def set(self, response: Response, cookie: str, value: str, *, lasts_s: int | None = None) -> None:
        """Give a browser a cookie, until it is closed or for a while."""
        response.set_cookie(
            self.name(cookie),
            value,
            max_age=lasts_s,
            path="/",
            secure=self.https,
            httponly=True,
            samesite="lax",
        )

    def drop(self, response: Response, cookie: str) -> None:
        """Take a cookie back."""
        response.delete_cookie(self.name(cookie), path="/", secure=self.https, httponly=True, samesite="lax")
