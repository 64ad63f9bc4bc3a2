"""Signing in with a provider elsewhere: asked, and what it sends back."""

from __future__ import annotations

import hmac
from typing import Any, Final

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from recert.console.accounts.cookies import ELSEWHERE
from recert.console.accounts.provider import Person, Provider, ProviderError
from recert.console.accounts.redirects import safe_path
from recert.console.accounts.signing_in import SIGN_IN_PATH, PeopleSignIn
from recert.console.answering import Asked, log
from recert.console.visiting import SEE_OTHER, PageError
from recert.store.console.database import new_secret

BACK_PATH: Final = f"{SIGN_IN_PATH}/back"
_HINT: Final = (
    "sign in once more; if that does not help, an administrator finds the reason in the server's log"
)


def provider_routes(sign_in: PeopleSignIn, provider: Provider) -> list[BaseRoute]:
    """Return what asks a provider, and what it sends people back to: `/console/sign-in/back`."""
    pages = _ProviderPages(sign_in, provider)
    return [
        Route(f"{SIGN_IN_PATH}/elsewhere", sign_in.answers(pages.asked), methods=["GET"]),
        Route(BACK_PATH, sign_in.answers(pages.back), methods=["GET"]),
    ]


class _ProviderPages:
    def __init__(self, sign_in: PeopleSignIn, provider: Provider) -> None:
        self._sign_in, self._people, self._provider = sign_in, sign_in.people, provider
        self._back = self._people.public_url + BACK_PATH

    def asked(self, asked: Asked, _: dict[str, Any]) -> Response:
        """Lead a browser to the provider. What must come back is kept here, for this browser alone."""
        kept = {"state": new_secret(), "nonce": new_secret(), "verifier": new_secret()}
        question = {name: kept[name] for name in ("state", "nonce", "verifier")}
        try:
            url = self._provider.ask_url(back=self._back, **question)
        except ProviderError as exc:
            log.error("%s", exc)
            raise PageError(exc.message, status=502, hint="try again later") from exc
        kept["to"] = safe_path(asked.request.query_params.get("to", ""))
        response = RedirectResponse(url, SEE_OTHER)
        self._people.cookies.set(response, ELSEWHERE, self._people.pending.begin(kept), lasts_s=600)
        return response

    def back(self, asked: Asked, _: dict[str, Any]) -> Response:
        """Let somebody in whom the provider vouches for, and whose groups have a role here."""
        given = asked.request.query_params
        cookie = self._people.cookies.read(asked.request, ELSEWHERE)
        kept = self._people.pending.take(cookie) if cookie else None
        if kept is None or not hmac.compare_digest(given.get("state", "").encode(), kept["state"].encode()):
            raise self._refused(asked, "this sign-in was not begun here, or is over", "state")
        if "iss" in given and given["iss"] != self._provider.settings.issuer:
            raise self._refused(asked, "this answer is from another provider", "issuer")
        if not given.get("code"):
            raise self._refused(asked, "the provider did not sign you in", "no code")
        try:
            person = self._provider.person(
                code=given["code"], back=self._back, nonce=kept["nonce"], verifier=kept["verifier"]
            )
        except ProviderError as exc:
            log.error("%s", exc)
            raise self._refused(asked, exc.message, "answer") from exc
        return self._let_in(asked, person, kept["to"])

    def _let_in(self, asked: Asked, person: Person, to: str) -> Response:
        given = self._provider.settings.roles
        roles = frozenset(role for group in person.groups for role in given.get(group, ()))
        if not roles:
            raise self._refused(
                asked,
                "none of your groups has a role here",
                "no role",
                hint="ask an administrator of this console",
            )
        account = self._people.accounts.from_elsewhere(person.issuer, person.subject, person.claimed, roles)
        if account.disabled:
            raise self._refused(
                asked, "this account is shut", "shut", hint="ask an administrator of this console"
            )
        response = self._sign_in.let_in(asked, account, to, how="provider")
        self._people.cookies.drop(response, ELSEWHERE)
        return response

    def _refused(self, asked: Asked, words: str, why: str, *, hint: str = _HINT) -> PageError:
        self._sign_in.acts.write("", "sign-in-failed", {"how": "provider", "why": why}, address=asked.address)
        return PageError(words, status=403, hint=hint)
