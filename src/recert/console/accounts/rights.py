"""What a person may do in the console, by their roles. The policy's roles sign; the console's own roles run it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import Final

from recert.policy import Policy
from recert.store.console.accounts import ADMINISTRATOR, OWN_ROLES, SIGNING

__all__ = [
    "ADMINISTRATOR",
    "AUDITOR",
    "LABELLER",
    "OPERATOR",
    "OWN_ROLES",
    "READER",
    "SIGNING",
    "Right",
    "apart",
    "rights_of",
    "signing_roles",
    "signing_roles_at_odds",
]


class Right(StrEnum):
    """One thing that somebody may do."""

    READ = "read"
    """See systems, evaluations, certificates and logs, without texts that were judged harmful."""
    REVEAL = "reveal"
    """See one such text; each look is logged."""
    QUARANTINE = "quarantine"
    """Accept or quarantine a screened row by hand."""
    LABEL = "label"
    """Say what replies of an evaluation did, which are shown whole; looks at those that reports redact are logged."""
    SIGN = "sign"
    """Approve or refuse a certificate, with a key of their own in a role of the policy."""
    STOP = "stop"
    """Stop a gateway, suspend a certificate, and let it go on."""
    SHARE = "share"
    """Make a link with which others read one report."""
    MANAGE = "manage"
    """Accounts, and who has which role."""


READER: Final = "reader"
AUDITOR: Final = "auditor"
LABELLER: Final = "labeller"
OPERATOR: Final = "operator"

_OF: Final = {
    READER: frozenset({Right.READ}),
    AUDITOR: frozenset({Right.READ, Right.REVEAL}),
    LABELLER: frozenset({Right.READ, Right.LABEL}),
    OPERATOR: frozenset({Right.READ, Right.REVEAL, Right.QUARANTINE, Right.STOP, Right.SHARE}),
    ADMINISTRATOR: frozenset({Right.READ, Right.MANAGE, Right.SHARE}),
}
_SIGNERS: Final = frozenset({Right.READ, Right.REVEAL, Right.LABEL, Right.SIGN})


def rights_of(roles: Iterable[str], signing: Collection[str] = SIGNING) -> frozenset[Right]:
    """
    Return what roles allow together. A role that nobody knows allows nothing.

    Args:
        roles: of one person.
        signing: in which a certificate can be signed: those of Recert, and those that the policy asks for.
    """
    return frozenset(
        right for role in roles for right in _OF.get(role, _SIGNERS if role in signing else frozenset())
    )


def signing_roles(policy: Policy) -> frozenset[str]:
    """Return the roles in which a certificate can be signed under a policy."""
    return frozenset({*SIGNING, *(rule.role for rule in policy.certification.roles)})


def signing_roles_at_odds(roles: Iterable[str], asked: Iterable[str]) -> tuple[str, ...]:
    """
    Return the roles of one person who would sign for several, where a policy asks different people.

    Args:
        roles: the person's.
        asked: in which the policy asks for a signature, and `trainer` where the evaluator must be another.
    """
    both = sorted(set(roles) & set(asked))
    return tuple(both) if len(both) > 1 else ()


def apart(policy: Policy) -> tuple[str, ...]:
    """Return the roles that a policy wants to be held by different people."""
    asked = tuple(dict.fromkeys(rule.role for rule in policy.certification.roles))
    return (*asked, "trainer") if policy.certification.evaluator_differs_from_trainer else asked
