"""Who asks, what was asked, and how a page is made of it: all that an answer is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

from starlette.responses import HTMLResponse, RedirectResponse, Response

from recert.console.accounts.rights import SIGNING, Right, rights_of
from recert.errors import RecertError

if TYPE_CHECKING:
    from recert.console.app import Console

SEE_OTHER: Final = 303


@dataclass(frozen=True)
class Visitor:
    """A person who signed in, or who came by a shared link."""

    name: str
    roles: frozenset[str]
    csrf: str = ""
    """What every form of theirs must send back."""
    shared: str = ""
    """The one path that a shared link opens; empty for people who signed in."""
    session: str = ""
    """Digest of their session's id; safe to show."""
    signing: frozenset[str] = SIGNING
    """Roles in which a certificate can be signed here; any other that is not the console's allows nothing."""

    @property
    def rights(self) -> frozenset[Right]:
        """What they may do."""
        return frozenset({Right.READ}) if self.shared else rights_of(self.roles, self.signing)

    def may(self, right: str) -> bool:
        """Say whether they may do this; for templates."""
        return right in self.rights


class PageError(RecertError):
    """An answer that is a page of words: not found, not allowed, not understood."""

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status, self.told, self.way_out = status, message, hint


@dataclass(frozen=True)
class Visit:
    """One request of one visitor."""

    console: Console
    visitor: Visitor
    path: Mapping[str, Any]
    """Parts of the path, by name."""
    query: Mapping[str, str]
    form: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a POST: text, or `bytes` of an uploaded file."""
    address: str = ""
    url: str = ""
    """Path of this page, without the query."""

    def page(self, template: str, *, title: str, status: int = 200, **values: Any) -> Response:
        """Return a page made of `templates/console/TEMPLATE`, which extends `console/frame.html.j2`."""
        made = self.console.templates.get_template(f"console/{template}").render(
            title=title,
            visitor=self.visitor,
            visit=self,
            url=self.url,
            said=self.query.get("said", ""),
            **values,
        )
        return HTMLResponse(made, status)

    def written(
        self, *, title: str, sentences: Sequence[str] = (), table: Sequence[Sequence[str]] = ()
    ) -> Response:
        """
        Return a page of words in the console's frame: for pages that bring no template of their own, as plug-ins do.

        Args:
            title: of the page.
            sentences: each a paragraph; text, never HTML.
            table: rows of text, the first one names the columns.
        """
        return self.page("written.html.j2", title=title, sentences=sentences, table=table)

    def go(self, path: str) -> Response:
        """Return a redirect to a page of the console after a form, as in `visit.go("/console/systems")`."""
        return RedirectResponse(path, SEE_OTHER)

    def act(self, what: str, **facts: str | int | bool) -> None:
        """
        Write into the audit log what this visitor does. Call it before it is done.

        Raises:
            StoreError: it cannot be written. Then nothing may be done.
        """
        self.console.acts.write(self.visitor.name, what, facts, address=self.address)

    def missing(self, what: str, hint: str = "") -> NoReturn:
        """Raise the page that says that something is not there."""
        raise PageError(what, status=404, hint=hint)

    def text(self, name: str) -> str:
        """
        Return a field of the form as text; nothing where it is missing.

        Raises:
            PageError: it is a file, or no text that can be kept.
        """
        given = self.form.get(name, "")
        if not isinstance(given, str) or "\x00" in given:
            raise PageError("this form cannot be read", status=400)
        return given

    def number(self, name: str, default: int, *, most: int) -> int:
        """Return a number of the query, such as a page; anything that is none is the default."""
        given = self.query.get(name, "")
        return min(int(given), most) if given.isascii() and given.isdigit() and len(given) < 10 else default
