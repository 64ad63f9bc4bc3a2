"""What goes wrong becomes a page of words, and what a form holds is read, for pages and for the sign-in alike."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import jinja2
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from recert.console.visiting import PageError, Visitor
from recert.errors import InputError, RecertError

log = logging.getLogger("recert.console")

MOST_FORM_BYTES: Final = 2**20
"""Of a form; a certificate that was signed elsewhere is the largest thing that is sent."""
_TOO_MANY: Final = 429


def problem(templates: jinja2.Environment, visitor: Visitor | None, error: PageError, url: str) -> Response:
    """Return the page that says what is wrong, and the way out."""
    made = templates.get_template("console/problem.html.j2").render(
        title=error.told, visitor=visitor, url=url, said="", error=error
    )
    return HTMLResponse(made, error.status, {"retry-after": "60"} if error.status == _TOO_MANY else None)


class Asked:
    """One request that is being answered: whoever it is from is known as soon as that is found out."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.visitor: Visitor | None = None

    @property
    def address(self) -> str:
        """Where it comes from."""
        return self.request.client.host if self.request.client else ""


async def answered(
    templates: jinja2.Environment, request: Request, answer: Callable[[Asked], Awaitable[Response]]
) -> Response:
    """Return what `answer` makes of a request, or the page that says why there is nothing."""
    asked = Asked(request)
    try:
        return await answer(asked)
    except PageError as exc:
        words = exc
    except InputError as exc:
        words = PageError(exc.message, status=400, hint=exc.hint or "go back, and change what was given")
    except RecertError as exc:
        log.error("%s", exc)
        words = PageError(exc.message, status=500, hint="nothing was changed by this request")
    except Exception:
        log.exception("a page failed")
        words = PageError("this page could not be made", status=500, hint="the server's log says why")
    return problem(templates, asked.visitor, words, request.url.path)


async def read_form(request: Request) -> dict[str, Any]:
    """
    Return the fields of a form: text, or `bytes` of an uploaded file.

    Raises:
        PageError: it is too large, or is no form.
    """
    size = request.headers.get("content-length", "")
    if not size.isdigit() or int(size) > MOST_FORM_BYTES:
        raise PageError("this form is too large", status=413)
    fields: dict[str, Any] = {}
    try:
        async with request.form(max_files=4, max_fields=512, max_part_size=MOST_FORM_BYTES) as form:
            for name, value in form.multi_items():
                fields[name] = value if isinstance(value, str) else await value.read()
    except (HTTPException, LookupError, ValueError) as exc:  # no form, too many fields, an unknown charset
        raise PageError("this form cannot be read", status=400) from exc
    return fields


def require_token(fields: dict[str, Any], token: str) -> None:
    """
    Take the token out of a form's fields. Return when it is the one that the form was given.

    Raises:
        PageError: it is another, or there is none.
    """
    given = fields.pop("csrf", "")
    fits = isinstance(given, str) and hmac.compare_digest(given.encode(errors="replace"), token.encode())
    if not (token and fits):
        raise PageError(
            "this form is not from this sign-in", status=403, hint="open the page again, and send it anew"
        )
