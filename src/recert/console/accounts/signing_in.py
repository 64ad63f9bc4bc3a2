"""
Who a request comes from, and how people sign in and out.

A browser keeps a random id of its session; requests are known by it (`visitor`). It is made anew at each sign-in, ends
with sign-out, after some time in which nobody did anything and after some hours in any case. Without an account a
browser may keep what a shared link gave it, which opens one page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from recert.console.accounts.cookies import SESSION, SHARED, SIGN_IN
from recert.console.accounts.people import People
from recert.console.accounts.redirects import HOME, safe_path
from recert.console.accounts.rights import SIGNING
from recert.console.acts import Acts
from recert.console.answering import Asked, answered, read_form, require_token
from recert.console.visiting import SEE_OTHER, PageError, Visitor
from recert.store.console.accounts import Account
from recert.store.console.database import digest_of, new_secret
from recert.store.console.sessions import form_token

SIGN_IN_PATH: Final = "/console/sign-in"
LIVE: Final = "/live"
"""Ends the paths of parts that pages fetch by themselves: a tab that stays open keeps nobody signed in."""
_TOO_MANY: Final = 429
_SHARED_S: Final = 8 * 3600

Handler = Callable[[Asked, dict[str, Any]], Response]
"""Answers in a thread, with the fields of a form whose token is the right one."""


class PeopleSignIn:
    """
    Signs people in who have an account here, and lets those read one page who have a link to it.

    Args:
        people: accounts, sessions, links.
        acts: where it is written who signed in, and who could not.
        templates: of the pages.
        signing: roles in which a certificate can be signed here.
    """

    def __init__(
        self,
        people: People,
        acts: Acts,
        templates: jinja2.Environment,
        signing: frozenset[str] = SIGNING,
    ) -> None:
        self.people, self.acts, self.templates, self._signing = people, acts, templates, signing
        self._more: list[BaseRoute] = []

    def visitor(self, request: Request) -> Visitor | None:
        """
        Return who this is, or None. Called in a thread.

        Raises:
            PageError: too many requests.
            StoreError: it cannot be looked up.
        """
        people = self.people
        given = people.cookies.read(request, SESSION)
        by_hand = not request.url.path.endswith(LIVE)
        found = people.sessions.find(given, by_hand=by_hand) if given else None
        if found is not None:
            session, account = found
            if not people.pace.may(session.sha256):
                raise PageError("too many requests", status=_TOO_MANY, hint="wait a minute, and go on")
            return Visitor(
                account.name,
                account.roles,
                csrf=form_token(given),
                session=session.sha256,
                signing=self._signing,
            )
        for token in people.cookies.shared(request):
            share = people.shares.open(token)
            if share is not None and share.path == request.url.path:
                self._require_pace(request)
                return Visitor(f"link {share.id}", frozenset(), shared=share.path)
        return None

    def routes(self) -> Sequence[BaseRoute]:
        """Return what answers without a visitor: shared links, and signing out."""
        return [
            Route("/console/sign-out", self._sign_out, methods=["POST"]),
            Route("/console/shared/{token}", self.answers(self._shared), methods=["GET"]),
            *self._more,
        ]

    def add(self, routes: Sequence[BaseRoute]) -> None:
        """Answer further paths, such as those with which people sign in."""
        self._more += routes

    def answers(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint for people who are not signed in. A form of theirs must be one that they were given."""

        async def answer(asked: Asked) -> Response:
            self._require_pace(asked.request)
            fields: dict[str, Any] = {}
            if asked.request.method == "POST":
                fields = await read_form(asked.request)
                given = self.people.cookies.read(asked.request, SIGN_IN)
                require_token(fields, form_token(given) if given else "")
            return await run_in_threadpool(handler, asked, fields)

        async def called(request: Request) -> Response:
            return await answered(self.templates, request, answer)

        return called

    def page(self, asked: Asked, template: str, *, title: str, status: int = 200, **values: Any) -> Response:
        """Return a page with a form for people who are not signed in; its token is bound to their browser."""
        cookie = self.people.cookies.read(asked.request, SIGN_IN)
        secret = cookie or new_secret()
        made = self.templates.get_template(f"console/{template}").render(
            title=title, visitor=None, url=asked.request.url.path, said="", csrf=form_token(secret), **values
        )
        response = HTMLResponse(made, status)
        if not cookie:
            self.people.cookies.set(response, SIGN_IN, secret)
        return response

    def let_in(self, asked: Asked, account: Account, to: str, *, how: str) -> Response:
        """
        Sign somebody in whose identity is shown, and lead them on.

        Raises:
            StoreError: it cannot be written. Then they are not signed in.
        """
        request, people = asked.request, self.people
        self.acts.write(account.name, "signed-in", {"how": how}, address=asked.address)
        people.accounts.signed_in(account.name)
        before = people.cookies.read(request, SESSION)
        session = people.sessions.begin(
            account.name,
            address=asked.address,
            program=request.headers.get("user-agent", ""),
            instead_of=digest_of(before) if before else "",
        )
        response = RedirectResponse(safe_path(to), SEE_OTHER)
        people.cookies.set(response, SESSION, session)
        people.cookies.drop(response, SIGN_IN)
        return response

    def _require_pace(self, request: Request) -> None:
        if not self.people.stranger_may(request.client.host if request.client else ""):
            raise PageError("too many requests", status=_TOO_MANY, hint="wait a minute, and go on")

    async def _sign_out(self, request: Request) -> Response:
        async def answer(asked: Asked) -> Response:
            asked.visitor = visitor = await run_in_threadpool(self.visitor, request)
            if visitor is not None and not visitor.shared:
                require_token(await read_form(request), visitor.csrf)
                await run_in_threadpool(self._end, asked, visitor)
            response = RedirectResponse(SIGN_IN_PATH, SEE_OTHER)
            self.people.cookies.drop(response, SESSION)
            response.headers["clear-site-data"] = '"cache"'
            return response

        return await answered(self.templates, request, answer)

    def _end(self, asked: Asked, visitor: Visitor) -> None:
        self.acts.write(visitor.name, "signed-out", {}, address=asked.address)
        self.people.sessions.end(self.people.cookies.read(asked.request, SESSION))

    def _shared(self, asked: Asked, _: dict[str, Any]) -> Response:
        """What a shared link leads to: its page, which the browser may see for some hours."""
        token = str(asked.request.path_params["token"])
        share = self.people.shares.open(token)
        if share is None:
            raise PageError(
                "this link opens nothing",
                status=404,
                hint="it has expired, or was withdrawn: ask whoever sent it",
            )
        self.acts.write("", "shared-opened", {"link": share.id, "path": share.path}, address=asked.address)
        self.people.shares.open(token, count=True)
        response = RedirectResponse(share.path, SEE_OTHER)
        lasts = min(_SHARED_S, share.ends_s - self.people.place.now_s())
        self.people.cookies.set(response, SHARED + share.id, token, lasts_s=max(1, lasts))
        return response


def home_or(to: str) -> str:
    """Return where to go after a sign-in, as a page shows it: nothing where it is the first page."""
    found = safe_path(to)
    return "" if found == HOME else found
