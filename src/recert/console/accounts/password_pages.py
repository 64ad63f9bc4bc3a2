"""Signing in with a password of the console's own, and changing one that somebody else set."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from recert.console.accounts.cookies import SESSION
from recert.console.accounts.redirects import safe_path
from recert.console.accounts.signing_in import SIGN_IN_PATH, PeopleSignIn, home_or
from recert.console.answering import Asked
from recert.console.visiting import SEE_OTHER, PageError
from recert.errors import InputError
from recert.store.console.accounts import Account
from recert.store.console.passwords import LEAST_LETTERS

NEW_PASSWORD_PATH: Final = "/console/new-password"  # noqa: S105 - a path
WRONG: Final = "Name or password is wrong, or this account is shut."
TOO_MANY: Final = "Too many sign-ins failed. Wait 15 minutes, and try again."


def password_routes(sign_in: PeopleSignIn, *, elsewhere: str = "") -> list[BaseRoute]:
    """
    Return the sign-in page and what its forms are sent to.

    Args:
        sign_in: who lets people in.
        elsewhere: what the page calls the provider where people may sign in too; empty where there is none.
    """
    pages = _PasswordPages(sign_in, elsewhere)
    routes: list[BaseRoute] = [Route(SIGN_IN_PATH, sign_in.answers(pages.shown), methods=["GET"])]
    if sign_in.people.settings.local_accounts:
        routes += [
            Route(SIGN_IN_PATH, sign_in.answers(pages.given), methods=["POST"]),
            Route(NEW_PASSWORD_PATH, sign_in.answers(pages.changed), methods=["POST"]),
        ]
    return routes


class _PasswordPages:
    def __init__(self, sign_in: PeopleSignIn, elsewhere: str) -> None:
        self._sign_in, self._people, self._elsewhere = sign_in, sign_in.people, elsewhere

    def shown(self, asked: Asked, _: dict[str, Any]) -> Response:
        to = asked.request.query_params.get("to", "")
        session = self._people.cookies.read(asked.request, SESSION)
        if session and self._people.sessions.find(session):
            return RedirectResponse(safe_path(to), SEE_OTHER)
        return self._page(asked, to)

    def given(self, asked: Asked, form: dict[str, Any]) -> Response:
        name, to = _name(form), _text(form, "to")
        account, why = self._who(asked, name, _text(form, "password"))
        if account is None:
            return self._page(asked, to, name=name, error=why, status=429 if why == TOO_MANY else 403)
        if account.must_change:
            return self._renewing(asked, name, to)
        return self._sign_in.let_in(asked, account, to, how="password")

    def changed(self, asked: Asked, form: dict[str, Any]) -> Response:
        """A password that somebody else set is changed for one that only this person knows."""
        name, old, new, to = _name(form), _text(form, "password"), _text(form, "new"), _text(form, "to")
        account, why = self._who(asked, name, old)
        if account is None:
            return self._renewing(asked, name, to, error=why, status=429 if why == TOO_MANY else 403)
        if new == old or new != _text(form, "again"):
            why = "The new password is the old one." if new == old else "The two new passwords differ."
            return self._renewing(asked, name, to, error=why, status=400)
        try:
            hashed = self._people.passwords.hashed(new)
        except InputError as exc:
            return self._renewing(
                asked, name, to, error=f"{exc.message[:1].upper()}{exc.message[1:]}.", status=400
            )
        self._sign_in.acts.write(account.name, "password-changed", {}, address=asked.address)
        self._people.accounts.set_password(account.name, hashed)
        self._people.sessions.end_all(account.name)
        return self._sign_in.let_in(asked, account, to, how="password")

    def _who(self, asked: Asked, name: str, password: str) -> tuple[Account | None, str]:
        """Whose name and password these are. As much work, and the same words, whether there is such an account."""
        people, acts = self._people, self._sign_in.acts
        account = people.accounts.find(name)
        facts = {"account": name if account is not None else "unknown"}
        if not people.failures.begin(name, asked.address):
            acts.write("", "sign-in-held-off", facts, address=asked.address)
            return None, TOO_MANY
        fits = people.passwords.fits(password, account.password if account is not None else "")
        if account is None or not fits or account.disabled:
            acts.write("", "sign-in-failed", facts, address=asked.address)
            return None, WRONG
        people.failures.went_well(name, asked.address)
        if people.passwords.outdated(account.password):
            people.accounts.set_password(
                name, people.passwords.hashed(password), must_change=account.must_change
            )
        return account, ""

    def _page(self, asked: Asked, to: str, *, name: str = "", error: str = "", status: int = 200) -> Response:
        return self._sign_in.page(
            asked,
            "sign_in.html.j2",
            title="Sign in",
            status=status,
            to=home_or(to),
            name=name,
            error=error,
            local=self._people.settings.local_accounts,
            elsewhere=self._elsewhere,
        )

    def _renewing(self, asked: Asked, name: str, to: str, *, error: str = "", status: int = 200) -> Response:
        return self._sign_in.page(
            asked,
            "new_password.html.j2",
            title="Choose a password of your own",
            status=status,
            to=home_or(to),
            name=name,
            error=error,
            least=LEAST_LETTERS,
        )


def _name(form: dict[str, Any]) -> str:
    return _text(form, "name").strip().lower()[:200]


def _text(form: dict[str, Any], field: str) -> str:
    given = form.get(field, "")
    if not isinstance(given, str) or "\x00" in given:
        raise PageError("this form cannot be read", status=400)
    return given
