"""Accounts and who has which role, for administrators."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from starlette.responses import Response

from recert.console.accounts.people import People
from recert.console.accounts.rights import OWN_ROLES, Right, apart, signing_roles, signing_roles_at_odds
from recert.console.pages import Page
from recert.console.visiting import Visit
from recert.store.console.accounts import Account, account_name, require_known, role_names
from recert.store.console.sessions import Session

_FIRST_BYTES: Final = 15
_BROWSERS: Final = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
"""In this order: Edge also says that it is Chrome, and Chrome that it is Safari."""
_SYSTEMS: Final = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)
_MEANINGS: Final = {
    "reader": "sees systems, evaluations, certificates and logs",
    "auditor": "a reader who may also look at redacted texts; each look is logged",
    "labeller": "a reader who also labels replies of evaluations, which are shown whole",
    "operator": "an auditor who accepts or quarantines rows, stops gateways, suspends, and shares pages",
    "administrator": "a reader who manages accounts and shares pages",
}


def accounts(visit: Visit) -> Response:
    """Everybody who may sign in."""
    return _listed(visit)


def add(visit: Visit) -> Response:
    """Make an account. Its first password is shown once, and opens nothing but the page where it is changed."""
    people = people_of(visit)
    name, roles = account_name(visit.text("name")), _roles_given(visit)
    first = secrets.token_urlsafe(_FIRST_BYTES)
    hashed = people.passwords.hashed(first)
    visit.act("account-added", account=name, roles=", ".join(sorted(roles)))
    people.accounts.add(name, roles, password=hashed, must_change=True)
    return _listed(visit, shown_once=first, shown_for=name)


def account(visit: Visit) -> Response:
    """One person, and what can be changed about them."""
    return _one(visit, _found(visit))


def change_roles(visit: Visit) -> Response:
    """Give somebody other roles."""
    found, roles = _found(visit), _roles_given(visit)
    visit.act(
        "roles-changed",
        account=found.name,
        roles=", ".join(sorted(roles)),
        before=", ".join(sorted(found.roles)),
    )
    people_of(visit).accounts.set_roles(found.name, roles)
    return _back(visit, found, f"{found.name} now has: {', '.join(sorted(roles))}.")


def shut(visit: Visit) -> Response:
    """Shut an account, and end its sessions; or open it again."""
    found, people = _found(visit), people_of(visit)
    visit.act("account-opened" if found.disabled else "account-shut", account=found.name)
    people.accounts.disable(found.name, disabled=not found.disabled)
    people.sessions.end_all(found.name)
    return _back(
        visit, found, f"{found.name} may sign in again." if found.disabled else f"{found.name} is shut out."
    )


def end_sessions(visit: Visit) -> Response:
    """Sign somebody out everywhere."""
    found = _found(visit)
    visit.act("sessions-ended", account=found.name)
    people_of(visit).sessions.end_all(found.name)
    return _back(visit, found, f"{found.name} is signed out everywhere.")


def reset(visit: Visit) -> Response:
    """Set a password anew, shown once; sessions end."""
    found, people = _found(visit), people_of(visit)
    first = secrets.token_urlsafe(_FIRST_BYTES)
    hashed = people.passwords.hashed(first)
    visit.act("password-reset", account=found.name)
    people.accounts.set_password(found.name, hashed, must_change=True)
    people.sessions.end_all(found.name)
    return _one(visit, people.accounts.known(found.name), shown_once=first)


def people_of(visit: Visit) -> People:
    """Return what the console keeps about people; its pages are missing where it keeps nothing."""
    if visit.console.people is None:
        visit.missing("this console keeps no accounts")
    return visit.console.people


def when(seconds: int | None) -> datetime | None:
    """Return a moment as pages show it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def session_rows(sessions: Iterable[Session]) -> list[tuple[Session, datetime | None, datetime | None, str]]:
    """Return sessions as pages show them: since when, last seen when, in which browser."""
    return [(one, when(one.created_s), when(one.seen_s), program_words(one.program)) for one in sessions]


def program_words(given: str) -> str:
    """Return what a browser calls itself in few words: which it says it is, and on what."""
    browser = next((name for mark, name in _BROWSERS if mark in given), "")
    system = next((name for mark, name in _SYSTEMS if mark in given), "")
    return f"{browser} on {system}" if browser and system else browser or given[:60] or "not said"


def at_odds(visit: Visit, roles: Iterable[str]) -> tuple[str, ...]:
    """Return the roles of one person that the policy wants to be held by several."""
    return signing_roles_at_odds(roles, apart(visit.console.policy))


def _found(visit: Visit) -> Account:
    found = people_of(visit).accounts.find(visit.path["name"])
    return found or visit.missing("there is no such account")


def _roles_given(visit: Visit) -> frozenset[str]:
    given = role_names(name.removeprefix("role-") for name in visit.form if name.startswith("role-"))
    return require_known(given, {*OWN_ROLES, *signing_roles(visit.console.policy)})


def _choices(visit: Visit, has: Iterable[str] = ()) -> list[tuple[str, str, bool]]:
    """Roles that can be given: name, meaning, whether this person has it."""
    asked = [rule.role for rule in visit.console.policy.certification.roles]
    names = dict.fromkeys([*OWN_ROLES, *asked, *sorted(set(has) & signing_roles(visit.console.policy))])
    return [
        (name, _MEANINGS.get(name, "signs certificates in this role of the policy"), name in has)
        for name in names
    ]


def _listed(visit: Visit, *, shown_once: str = "", shown_for: str = "") -> Response:
    people = people_of(visit)
    sessions = people.sessions.counts()
    rows = [
        (one, sessions.get(one.name, 0), when(one.signed_in_s), at_odds(visit, one.roles))
        for one in people.accounts.all()
    ]
    return visit.page(
        "accounts.html.j2",
        title="Accounts",
        rows=rows,
        choices=_choices(visit),
        shown_once=shown_once,
        shown_for=shown_for,
    )


def _one(visit: Visit, found: Account, shown_once: str = "") -> Response:
    people = people_of(visit)
    return visit.page(
        "account.html.j2",
        title=found.name,
        account=found,
        made=when(found.created_s),
        signed_in=when(found.signed_in_s),
        sessions=session_rows(people.sessions.of(found.name)),
        choices=_choices(visit, found.roles),
        odd=at_odds(visit, found.roles),
        shown_once=shown_once,
    )


def _back(visit: Visit, found: Account, said: str) -> Response:
    return visit.go(f"/console/accounts/{quote(found.name, safe='')}?said={quote(said, safe='')}")


PAGES: Final = (
    Page("GET", "/accounts", Right.MANAGE, accounts, tab="Accounts"),
    Page("POST", "/accounts", Right.MANAGE, add),
    Page("GET", "/accounts/{name}", Right.MANAGE, account),
    Page("POST", "/accounts/{name}/roles", Right.MANAGE, change_roles),
    Page("POST", "/accounts/{name}/shut", Right.MANAGE, shut),
    Page("POST", "/accounts/{name}/sessions", Right.MANAGE, end_sessions),
    Page("POST", "/accounts/{name}/password", Right.MANAGE, reset),
)
