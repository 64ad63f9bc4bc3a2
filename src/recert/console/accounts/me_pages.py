"""A person's own page: their roles, their password, where they are signed in."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from recert.console.accounts.account_pages import at_odds, people_of, session_rows
from recert.console.accounts.cookies import SESSION
from recert.console.accounts.rights import Right
from recert.console.pages import Page
from recert.console.visiting import PageError, Visit
from recert.store.console.passwords import LEAST_LETTERS

_CAN: Final = {
    Right.READ: "see systems, evaluations, certificates and logs",
    Right.REVEAL: "look at texts that were judged harmful; each look is logged",
    Right.QUARANTINE: "accept or quarantine screened rows by hand",
    Right.SIGN: "approve or refuse certificates, with a key of your own",
    Right.STOP: "stop gateways, suspend certificates, and let them go on",
    Right.SHARE: "make links with which others read one report",
    Right.MANAGE: "manage accounts and roles",
}


def me(visit: Visit) -> Response:
    """Who is signed in, and what they may do."""
    people = people_of(visit)
    account = people.accounts.known(visit.visitor.name)
    return visit.page(
        "me.html.j2",
        title="Your account",
        account=account,
        can=[words for right, words in _CAN.items() if visit.visitor.may(right)],
        odd=at_odds(visit, account.roles),
        sessions=session_rows(people.sessions.of(account.name)),
        least=LEAST_LETTERS,
    )


def change_password(visit: Visit) -> Response:
    """Change one's own password; every other session ends, and this one goes on under a new id."""
    people, name = people_of(visit), visit.visitor.name
    account = people.accounts.known(name)
    if account.issuer:
        raise PageError("you have no password here", status=400, hint="your provider keeps it")
    if visit.text("new") != visit.text("again"):
        raise PageError("the two new passwords differ", status=400, hint="go back, and give it once more")
    if not people.failures.begin(name, visit.address):
        raise PageError("too many passwords were wrong", status=429, hint="wait 15 minutes, and try again")
    if not people.passwords.fits(visit.text("password"), account.password):
        visit.act("password-not-changed", account=name)
        raise PageError(
            "your password is another", status=403, hint="go back, and give the one that you have now"
        )
    people.failures.went_well(name, visit.address)
    hashed = people.passwords.hashed(visit.text("new"))
    visit.act("password-changed")
    people.accounts.set_password(name, hashed)
    program = next(
        (one.program for one in people.sessions.of(name) if one.sha256 == visit.visitor.session), ""
    )
    people.sessions.end_all(name)
    session = people.sessions.begin(name, address=visit.address, program=program)
    response = visit.go("/console/me?said=Your+password+is+changed.+Other+sessions+have+ended.")
    people.cookies.set(response, SESSION, session)
    return response


def end_session(visit: Visit) -> Response:
    """End one other session of one's own, or all others."""
    only = visit.text("session")
    visit.act("own-session-ended", all=not only)
    people_of(visit).sessions.end_all(visit.visitor.name, but=visit.visitor.session, only=only)
    return visit.go("/console/me?said=Ended.")


PAGES: Final = (
    Page("GET", "/me", Right.READ, me),
    Page("POST", "/me/password", Right.READ, change_password),
    Page("POST", "/me/sessions", Right.READ, end_session),
)
