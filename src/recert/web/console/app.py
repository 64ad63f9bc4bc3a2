"""
The console's application: every page that is answered, and nothing else. Read this first.

A request is answered in this order: signed in or by a shared link (`signing_in.py`) → right of the page (`rights.py`) →
for a form its token → the answer, in a thread. Every answer carries headers that allow no script, style or frame from
elsewhere.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recert.errors import RecertError
from recert.policy import Policy
from recert.store.systems_index import IndexedSystem
from recert.web.console.acts import Acts
from recert.web.console.pages import Page
from recert.web.console.visiting import SEE_OTHER, PageError, Visit, Visitor

log = logging.getLogger("recert.console")

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
MOST_FORM_BYTES: Final = 2**20
"""Of a form; a certificate that was signed elsewhere is the largest thing that is sent."""
_SAFE: Final = ("GET", "HEAD")


class SignIn(Protocol):
    """Who a request comes from, and the pages with which people sign in and out."""

    def visitor(self, request: Request) -> Visitor | None:
        """Return who this is, or None. Called in a thread."""

    def routes(self) -> Sequence[BaseRoute]:
        """Return routes that answer without a visitor, such as `/console/sign-in`."""


class Systems(Protocol):
    """The systems that pages are about."""

    def find(self, id_: str, /) -> IndexedSystem | None:
        """Return one by its id."""

    def page(self, *, after: str = "", limit: int = 50) -> SomeSystems:
        """Return some of them, and what `after` is to be for those behind them."""


class SomeSystems(Protocol):
    """A page of systems."""

    @property
    def systems(self) -> tuple[IndexedSystem, ...]:
        """Those on it."""

    @property
    def next(self) -> str:
        """What `after` is to be for those behind them; empty where these are the last."""


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
    systems: Systems | None = None
    """Every system whose records lie in the folders that are indexed."""
    trust: Path | None = None
    """Trusted keys, as `recert verify --trust` takes them; without them nothing is verified or signed here."""
    status: Path | None = None
    """Newest signed status list; by default `status.json` beside each certificate."""
    transparency_log: Path | None = None
    """Folder of `recert log init`: what is signed here is appended to it, and proven from it."""
    logs: tuple[Path, ...] = ()
    """Audit logs of gateways."""


def make_console(console: Console, pages: Sequence[Page]) -> list[BaseRoute]:
    """Return the routes of these pages, of the sign-in and of the static files, for an app to hold."""
    tabs = [page for page in pages if page.tab]
    console.templates.globals["tabs"] = [(ROOT + page.path, page.tab, page.right) for page in tabs]
    routes: list[BaseRoute] = [*console.sign_in.routes()]
    routes += [Route(ROOT + page.path, _endpoint(console, page), methods=[page.method]) for page in pages]
    routes.append(Mount(ROOT + "/static", StaticFiles(packages=[("recert.web", "static")])))
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
            await send(message)

        await self._app(scope, receive, sent)


def make_app(console: Console, pages: Sequence[Page]) -> Starlette:
    """Return the console as an ASGI application of its own, with `/` leading to it."""

    async def missing(request: Request, _: Exception) -> Response:
        return problem(console, None, PageError("there is no such page", status=404), request.url.path)

    async def home(_: Request) -> Response:
        return RedirectResponse(ROOT + "/", SEE_OTHER)

    return Starlette(
        routes=[Route("/", home, methods=["GET"]), *make_console(console, pages)],
        middleware=[Middleware(_Guarded)],
        exception_handlers={404: missing, 405: missing},
    )


def problem(console: Console, visitor: Visitor | None, error: PageError, url: str) -> Response:
    """Return the page that says what is wrong, and the way out."""
    made = console.templates.get_template("console/problem.html.j2").render(
        title=error.told, visitor=visitor, url=url, said="", error=error
    )
    return HTMLResponse(made, error.status)


def _endpoint(console: Console, page: Page) -> Callable[[Request], Any]:
    async def called(request: Request) -> Response:
        visitor = await run_in_threadpool(console.sign_in.visitor, request)
        if visitor is None:
            return _to_sign_in(request)
        try:
            _require(page, visitor, request)
            form = {} if request.method in _SAFE else await _form(request, visitor)
            visit = Visit(
                console,
                visitor,
                request.path_params,
                request.query_params,
                form,
                request.client.host if request.client else "",
                request.url.path,
            )
            return await run_in_threadpool(page.answer, visit)
        except PageError as exc:
            return problem(console, visitor, exc, request.url.path)
        except RecertError as exc:
            log.error("%s", exc)
            words = PageError(
                str(exc).splitlines()[0], status=500, hint="nothing was changed by this request"
            )
            return problem(console, visitor, words, request.url.path)
        except Exception:
            log.exception("a page failed")
            words = PageError("this page could not be made", status=500, hint="the server's log says why")
            return problem(console, visitor, words, request.url.path)

    return called


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
    size = request.headers.get("content-length", "")
    if not size.isdigit() or int(size) > MOST_FORM_BYTES:
        raise PageError("this form is too large", status=413)
    fields: dict[str, Any] = {}
    async with request.form(max_files=4, max_fields=64, max_part_size=MOST_FORM_BYTES) as form:
        for name, value in form.multi_items():
            fields[name] = value if isinstance(value, str) else await value.read()
    given = fields.pop("csrf", "")
    if not (
        visitor.csrf and isinstance(given, str) and hmac.compare_digest(given.encode(), visitor.csrf.encode())
    ):
        raise PageError(
            "this form is not from this sign-in", status=403, hint="open the page again, and send it anew"
        )
    return fields
