"""
The console's application: every page that is answered, and nothing else. Read this first.

A request is answered in this order: signed in or by a shared link (`signing_in.py`) → right of the page (`rights.py`) →
for a form its token → the answer, in a thread. Every answer carries headers that allow no script, style or frame from
elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send

from recert.console.accounts.people import People
from recert.console.acts import Acts
from recert.console.answering import Asked, answered, problem, read_form, require_token
from recert.console.evaluations.runs import Jobs, NoJobs, Runs
from recert.console.gateways.gateways import Gateways
from recert.console.pages import Page, sharable_in
from recert.console.visiting import SEE_OTHER, PageError, Visit, Visitor
from recert.policy import Policy
from recert.store.systems.systems_index import SystemsIndex

ROOT: Final = "/console"
HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
"""Of every answer: no inline script or style, nothing from elsewhere, in no frame, kept by no cache."""
_SAFE: Final = ("GET", "HEAD")


class SignIn(Protocol):
    """Who a request comes from, and the pages with which people sign in and out."""

    def visitor(self, request: Request) -> Visitor | None:
        """Return who this is, or None. Called in a thread."""

    def routes(self) -> Sequence[BaseRoute]:
        """Return routes that answer without a visitor, such as `/console/sign-in`."""


@dataclass(frozen=True)
class Console:
    """Everything that pages are made from."""

    folder: Path
    """The console's own: its tables, its log."""
    policy: Policy
    """Under which certificates are signed."""
    acts: Acts
    sign_in: SignIn
    templates: jinja2.Environment
    systems: SystemsIndex = field(default_factory=SystemsIndex)
    """Every system that is listed, with its outcomes; by default none."""
    roots: tuple[Path, ...] = ()
    """Folders whose records are shown."""
    trust: Path | None = None
    """Trusted keys, as `recert verify --trust` takes them; without them nothing is verified or signed here."""
    status: Path | None = None
    """Newest signed status list; by default `status.json` beside each certificate."""
    transparency_log: Path | None = None
    """Folder of `recert log init`: what is signed here is appended to it, and proven from it."""
    logs: tuple[Path, ...] = ()
    """Audit logs of gateways."""
    service_folder: Path | None = None
    """Of the tuning service whose jobs are shown."""
    people: People | None = None
    """Accounts, sessions and shared links; None where others sign in, as in tests of pages."""
    gateways: Gateways = field(default_factory=Gateways)
    """Gateways that are shown, and stopped where they are of this machine."""
    runs: Runs = field(default_factory=Runs)
    """Runs below the folders whose records are shown."""
    jobs: Jobs = field(default_factory=NoJobs)
    """Jobs of the tuning service."""


def make_console(console: Console, pages: Sequence[Page]) -> list[BaseRoute]:
    """Return the routes of these pages, of the sign-in and of the static files, for an app to hold."""
    tabs = [page for page in pages if page.tab]
    console.templates.globals["tabs"] = [(ROOT + page.path, page.tab, page.right) for page in tabs]
    console.templates.globals["sharable"] = sharable_in(pages, ROOT)
    routes: list[BaseRoute] = [*console.sign_in.routes()]
    routes += [Route(ROOT + page.path, _endpoint(console, page), methods=[page.method]) for page in pages]
    routes.append(Mount(ROOT + "/static", StaticFiles(packages=[("recert.pages", "static")])))
    return routes


class _Guarded:
    """Puts the headers on everything, whoever answered, and turns what went wrong into a page of words."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("strict-transport-security", "max-age=31536000")
            await send(message)

        await self._app(scope, receive, sent)


def make_app(
    console: Console, pages: Sequence[Page], *, lifespan: Lifespan[Starlette] | None = None
) -> Starlette:
    """
    Return the console as an ASGI application of its own, with `/` leading to it.

    Args:
        console: what pages are made from.
        pages: all of them.
        lifespan: what runs beside the answers.
    """

    async def missing(request: Request, _: Exception) -> Response:
        words = PageError("there is no such page", status=404)
        return problem(console.templates, None, words, request.url.path)

    async def home(_: Request) -> Response:
        return RedirectResponse(ROOT + "/", SEE_OTHER)

    first = [Route(path, home, methods=["GET"]) for path in ("/", ROOT)]
    app = Starlette(
        routes=[*first, *make_console(console, pages)],
        middleware=[Middleware(_Guarded)],
        exception_handlers={404: missing, 405: missing},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # it would lead to whatever host a request names
    return app


def _endpoint(console: Console, page: Page) -> Callable[[Request], Any]:
    async def answer(asked: Asked) -> Response:
        request = asked.request
        asked.visitor = visitor = await run_in_threadpool(console.sign_in.visitor, request)
        if visitor is None:
            return _to_sign_in(request)
        _require(page, visitor, request)
        form = {} if request.method in _SAFE else await _form(request, visitor)
        visit = Visit(
            console,
            visitor,
            request.path_params,
            _query(request),
            form,
            asked.address,
            request.url.path,
        )
        return await run_in_threadpool(page.answer, visit)

    async def called(request: Request) -> Response:
        return await answered(console.templates, request, answer)

    return called


def _query(request: Request) -> Mapping[str, str]:
    """The query; without what a page would say of an act, where a link from elsewhere says so."""
    ours = request.headers.get("sec-fetch-site", "same-origin") == "same-origin"
    return {name: value for name, value in request.query_params.items() if ours or name != "said"}


def _require(page: Page, visitor: Visitor, request: Request) -> None:
    if visitor.shared and not (
        page.sharable and visitor.shared == request.url.path and request.method in _SAFE
    ):
        raise PageError("this link opens one report alone", status=403, hint="sign in to see more")
    if page.right not in visitor.rights:
        raise PageError(
            f"your roles do not allow this ({page.right.value})",
            status=403,
            hint="an administrator gives roles",
        )


def _to_sign_in(request: Request) -> Response:
    if request.method not in _SAFE:
        return RedirectResponse(f"{ROOT}/sign-in", SEE_OTHER)
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"{ROOT}/sign-in?to={quote(wanted, safe='')}", SEE_OTHER)


async def _form(request: Request, visitor: Visitor) -> dict[str, Any]:
    """The fields of a form that this visitor was given, and no other site made."""
    fields = await read_form(request)
    require_token(fields, visitor.csrf)
    return fields
