"""People of the console: local accounts with a password, and those who sign in with a provider elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sql

from recert.digest import sha256_bytes
from recert.errors import InputError
from recert.store.console.database import ConsolePlace
from recert.store.sql import insert_new
from recert.store.tables import CONSOLE_ACCOUNTS, CONSOLE_SESSIONS

ELSEWHERE: Final = "sso:"
"""What names begin with of people whose provider says who they are; no local account has such a name."""
ADMINISTRATOR: Final = "administrator"
OWN_ROLES: Final = ("reader", "auditor", "labeller", "operator", ADMINISTRATOR)
"""Roles of the console itself; any other is one of the policy."""
SIGNING: Final = frozenset({"evaluator", "approver", "risk-owner"})
"""Roles of Recert in which a certificate is signed or an exception accepted; a policy may ask for others."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,99}")
_ROLE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Account:
    """One person."""

    name: str
    roles: frozenset[str]
    disabled: bool
    must_change: bool
    """Whether the password was set by somebody else, and opens nothing but the page where it is changed."""
    password: str
    """Hash of it; empty for people whose provider says who they are."""
    issuer: str
    """Of their provider; empty for local accounts."""
    created_s: int
    signed_in_s: int | None


def account_name(given: str) -> str:
    """
    Return a local account's name as it is kept: in small letters.

    Raises:
        InputError: it may not be one.
    """
    name = given.strip().lower()
    if not _NAME.fullmatch(name):
        raise InputError(
            "not a name for an account", facts={"given": given[:100]}, hint="give letters, digits, . _ @ + -"
        )
    return name


def role_names(given: Iterable[str]) -> frozenset[str]:
    """
    Return roles as they are kept.

    Raises:
        InputError: one may not be a role's name, or there is none.
    """
    roles = frozenset(role.strip() for role in given if role.strip())
    wrong = sorted(role for role in roles if not _ROLE.fullmatch(role))
    if wrong or not roles:
        raise InputError(
            "not a role" if wrong else "an account needs a role",
            facts={"given": ", ".join(wrong)[:100]} if wrong else None,
            hint=f"of the console: {', '.join(OWN_ROLES)}; or a role of the policy, such as approver",
        )
    return roles


def require_known(roles: frozenset[str], known: Collection[str]) -> frozenset[str]:
    """
    Return roles that are all known.

    Raises:
        InputError: one is not: an account with it could do nothing, or not what was meant.
    """
    if unknown := sorted(roles - set(known)):
        raise InputError(
            "no such role",
            facts={"given": ", ".join(unknown)[:100], "known": ", ".join(sorted(known))},
            hint="a role that only your policy asks for: --custom-role on the command line",
        )
    return roles


class Accounts:
    """Accounts in the console's database. Names are unique, whatever provider they come from."""

    def __init__(self, place: ConsolePlace) -> None:
        self._place = place

    def add(self, name: str, roles: Iterable[str], *, password: str, must_change: bool = False) -> str:
        """
        Make a local account; return its name.

        Args:
            name: of the person.
            roles: of the console or the policy.
            password: hash of the password.
            must_change: whether it must be changed before anything is seen.

        Raises:
            InputError: name or roles cannot be used, or there is such an account.
            StoreError: it cannot be written.
        """
        row = self._row(account_name(name), role_names(roles), password=password, must_change=must_change)
        self._insert(row)
        return str(row["name"])

    def from_elsewhere(self, issuer: str, subject: str, claimed: str, roles: frozenset[str]) -> Account:
        """
        Return the account of a person that a provider tells about, with the roles that it tells; made where new.

        The person is known by issuer and subject. The name is what the provider claims; where another person has that
        already, some letters of a digest are added, so that nobody gets another's name.

        Raises:
            StoreError: it cannot be read or written.
        """
        table = CONSOLE_ACCOUNTS
        is_theirs = sql.and_(table.c.issuer == issuer, table.c.subject == subject)
        plain = re.sub(r"[^a-z0-9._@+-]", "-", claimed.strip().lower())[:100].lstrip("._@+-") or "person"
        mark = sha256_bytes(json.dumps([issuer, subject]).encode())[:12]
        with self._place.writing() as link:
            for name in (f"{ELSEWHERE}{plain}", f"{ELSEWHERE}{plain}-{mark}"):
                row = self._row(name, roles, issuer=issuer, subject=subject)
                link.execute(insert_new(self._place.engine, table).values(row))
                found = link.execute(sql.select(table).where(is_theirs)).one_or_none()
                if found is not None:
                    break
            assert found is not None
            link.execute(table.update().where(is_theirs).values(roles=_packed(roles)))
            return _account(link.execute(sql.select(table).where(is_theirs)).one())

    def find(self, name: str) -> Account | None:
        """Return an account. Raises StoreError where it cannot be read."""
        with self._place.reading() as link:
            row = link.execute(
                sql.select(CONSOLE_ACCOUNTS).where(CONSOLE_ACCOUNTS.c.name == name)
            ).one_or_none()
        return _account(row) if row is not None else None

    def known(self, name: str) -> Account:
        """
        Return an account.

        Raises:
            InputError: there is none of this name.
            StoreError: it cannot be read.
        """
        found = self.find(name)
        if found is None:
            raise InputError("no such account", facts={"account": name[:100]})
        return found

    def all(self) -> list[Account]:
        """Return every account by name. Raises StoreError where they cannot be read."""
        with self._place.reading() as link:
            return [
                _account(row)
                for row in link.execute(sql.select(CONSOLE_ACCOUNTS).order_by(CONSOLE_ACCOUNTS.c.name))
            ]

    def set_roles(self, name: str, roles: Iterable[str]) -> None:
        """
        Give an account other roles.

        Raises:
            InputError: there is no such account, the roles cannot be used, or nobody would be left to manage accounts.
            StoreError: it cannot be written.
        """
        given = role_names(roles)
        if self.known(name).issuer:
            raise InputError("this person's provider says which roles they have", facts={"account": name})
        self._change(name, keeps=ADMINISTRATOR in given, roles=_packed(given))

    def set_password(self, name: str, password: str, *, must_change: bool = False) -> None:
        """
        Give a local account the hash of another password.

        Raises:
            InputError: there is no such account, or it has none here.
            StoreError: it cannot be written.
        """
        if self.known(name).issuer:
            raise InputError("this person has no password here", facts={"account": name})
        self._change(name, password=password, must_change=must_change)

    def disable(self, name: str, *, disabled: bool = True) -> None:
        """
        Shut an account, or open it again.

        Raises:
            InputError: there is no such account, or nobody would be left to manage accounts.
            StoreError: it cannot be written.
        """
        self._change(name, keeps=not disabled, disabled=disabled)

    def signed_in(self, name: str) -> None:
        """Remember when somebody signed in. Raises StoreError where it cannot be written."""
        self._change(name, signed_in_s=self._place.now_s())

    def remove(self, name: str) -> None:
        """
        Remove an account and end its sessions.

        Raises:
            InputError: there is no such account, or nobody would be left to manage accounts.
            StoreError: it cannot be written.
        """
        with self._place.writing() as link:
            link.execute(CONSOLE_SESSIONS.delete().where(CONSOLE_SESSIONS.c.account == name))
            done = link.execute(CONSOLE_ACCOUNTS.delete().where(CONSOLE_ACCOUNTS.c.name == name))
            if not done.rowcount:
                raise InputError("no such account", facts={"account": name[:100]})
            self._require_manager(link)

    def _change(self, name: str, *, keeps: bool = True, **values: Any) -> None:
        with self._place.writing() as link:
            done = link.execute(
                CONSOLE_ACCOUNTS.update().where(CONSOLE_ACCOUNTS.c.name == name).values(values)
            )
            if not done.rowcount:
                raise InputError("no such account", facts={"account": name[:100]})
            if not keeps:
                self._require_manager(link)

    def _require_manager(self, link: sql.Connection) -> None:
        """Somebody must be left who may give roles; else the change is taken back."""
        table = CONSOLE_ACCOUNTS
        rows = link.execute(sql.select(table.c.roles).where(~table.c.disabled)).scalars()
        if not any(ADMINISTRATOR in json.loads(roles) for roles in rows):
            raise InputError(
                "nobody would be left to manage accounts", hint="make another account an administrator first"
            )

    def _insert(self, row: dict[str, Any]) -> None:
        with self._place.writing() as link:
            insert = insert_new(self._place.engine, CONSOLE_ACCOUNTS).values(row)
            if link.execute(insert.returning(CONSOLE_ACCOUNTS.c.name)).one_or_none() is None:
                raise InputError("there is such an account", facts={"account": row["name"]})

    def _row(self, name: str, roles: frozenset[str], **values: Any) -> dict[str, Any]:
        row = {"name": name, "password": "", "must_change": False, "roles": _packed(roles), "disabled": False}
        return {**row, "created_s": self._place.now_s(), **values}


def _packed(roles: frozenset[str]) -> str:
    return json.dumps(sorted(roles))


def _account(row: Any) -> Account:
    return Account(
        name=row.name,
        roles=frozenset(json.loads(row.roles)),
        disabled=row.disabled,
        must_change=row.must_change,
        password=row.password,
        issuer=row.issuer or "",
        created_s=row.created_s,
        signed_in_s=row.signed_in_s,
    )
