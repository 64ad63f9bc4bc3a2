"""How a certificate stands, in words: what is wrong with it, and how to get out of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from recert.certification.verifier import Check, first_failed

Told = tuple[str, str]

_TOLD: Final[dict[str, Told]] = {
    "revoked": (
        "It is revoked, for good.",
        "No gateway serves it. Mend what it was revoked for, then evaluate and certify the model again.",
    ),
    "suspended": (
        "It is suspended.",
        "No gateway serves it. Once the reason is gone, whoever issues the status list lifts it: "
        "`recert status status.json --key status.pem --trust keys --reinstate {serial}`.",
    ),
    "refused": (
        "Somebody who must sign refuses.",
        "Evaluate again, or let who refused take it back: "
        '`recert approve {file} --key KEY.pem --withdraw "what has changed"`.',
    ),
    "refusal-unreadable": (
        "A refusal cannot be read, so nobody knows who refused.",
        "Get the file again from who wrote it; it lies in the folder `refusals` beside the certificate.",
    ),
    "expired": (
        "It has expired.",
        "A watch renews only what has not ended. Evaluate and certify the model again: replies that the cache holds "
        "are not made again.",
    ),
    "not-yet-valid": ("It does not hold yet.", "Wait for its time, or set this machine's clock."),
    "exception-expired": (
        "An exception that it needs is over.",
        "Bring the result below its bound, or let a risk owner accept it anew: certify again.",
    ),
    "wrong-policy": (
        "It is stale: it is not under the policy that holds now.",
        "Decide, certify and sign again under this policy; the page of the policy says how much of the evidence still "
        "counts.",
    ),
    "status-expired": (
        "The status list is too old to rely on.",
        "Whoever issues it makes a new one: `recert status status.json --key status.pem --trust keys`.",
    ),
    "status-other-list": (
        "The status list here is not the one that can end it.",
        "Get the list that the certificate names, from whoever issues it.",
    ),
    "not-as-ruled": (
        "Its numbers are not those that the policy asks for.",
        "Do not sign it. Evaluate the model again under this policy, and certify.",
    ),
    "evidence-missing": (
        "It does not say what it follows from.",
        "Certify again: certificates name suites, judges, engine, sampling and every signed step.",
    ),
    "status-missing": (
        "There is no status list, so nobody knows whether it was revoked.",
        "Whoever issues it makes one: `recert status status.json --key status.pem --trust keys`.",
    ),
    "missing-role": (
        "It is a draft: not everyone who must sign has signed.",
        "Who is named below signs, in the console or with `recert approve`.",
    ),
    "not-logged": (
        "Nothing shows that it is in the transparency log.",
        "Append it and sign a checkpoint: `recert log append LOG {file}`, `recert log checkpoint LOG --key log.pem`.",
    ),
}
_GRAVEST: Final = ("revoked", "suspended", "refused", "expired")
_WAITING: Final = ("missing-role", "not-yet-valid", "not-logged")


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong with a certificate."""

    reason: str
    words: str
    because: str
    way_out: str


@dataclass(frozen=True)
class Standing:
    """The answer at the top of a certificate's page."""

    kind: str
    """`yes`, `no`, or `wait` where something is still to come or was not looked at."""
    chip: str
    words: str
    more: str = ""
    troubles: tuple[Trouble, ...] = ()


def standing(made: Sequence[Check], *, serial: str, file: str) -> Standing:
    """
    Return how a certificate stands by the steps that were made; the gravest trouble comes first.

    Args:
        made: the steps; none where the console has no trusted keys.
        serial: the certificate's.
        file: its file's name, for commands.
    """
    if not made:
        return Standing(
            "wait",
            "not verified here",
            "Nothing was verified here.",
            "The console was given no trusted keys. The commands below do it.",
        )
    failed = [check for check in made if check.answer == "failed"]
    if not failed:
        return Standing(
            "yes",
            "holds",
            "It holds, for the files that it names.",
            "Every step that needs no model passes: signatures, roles, policy, verdicts, time, status and refusals. "
            "Whether the files that you have are those that were certified, the command below says.",
        )
    first = first_failed(made)
    assert first is not None
    order = [*_GRAVEST, first.reason]
    failed.sort(key=lambda check: order.index(check.reason) if check.reason in order else len(order))
    waits = all(check.reason in _WAITING for check in failed)
    told = tuple(_trouble(check, serial=serial, file=file) for check in failed)
    return Standing(
        "wait" if waits else "no",
        told[0].reason.replace("-", " ") if told[0].reason != "missing-role" else "awaits signatures",
        told[0].words,
        "",
        told,
    )


def _trouble(check: Check, *, serial: str, file: str) -> Trouble:
    words, way_out = _TOLD.get(check.reason, (f"{check.words[:1].upper()}{check.words[1:]}.", ""))
    if not way_out and check.hint:
        way_out = f"{check.hint[:1].upper()}{check.hint[1:]}."
    if said := check.facts.get("because"):
        words = f"{words} Because: {said.rstrip('.')}."
    facts = ", ".join(f"{name} {value}" for name, value in check.facts.items())
    because = f"Step {check.step} of verification says: {check.words}{f' ({facts})' if facts else ''}."
    return Trouble(check.reason, words, because, way_out.format(serial=serial, file=file))
