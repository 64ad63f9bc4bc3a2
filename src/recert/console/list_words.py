"""What lists say of a system: states, ends and next steps, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from recert.pages.formatting import moment
from recert.store.systems.systems_index import IndexedSystem

SOON: Final = timedelta(days=7)
"""A certificate that ends within this time is shown as expiring."""


class Shown(NamedTuple):
    """A word for a state or label, and the chip that it is shown on."""

    words: str
    chip: str


STATES: Final = {
    "none": Shown("no certificate", "quiet"),
    "awaiting": Shown("awaiting signatures", "undecided"),
    "signed": Shown("signed", "yes"),
    "expired": Shown("expired", "no"),
    "suspended": Shown("suspended", "no"),
    "revoked": Shown("revoked", "no"),
    "stale": Shown("stale", "undecided"),
    "refused": Shown("refused", "no"),
    "unreadable": Shown("cannot be told", "no"),
}
LABELS: Final = {
    "clean": Shown("nothing found", "yes"),
    "harm": Shown("harm", "no"),
    "answer_harm": Shown("harm in the answer", "no"),
    "trace_harm": Shown("harm in the trace", "no"),
    "refused_then_harm": Shown("declined, then complied", "no"),
    "self_jailbreak": Shown("argued itself into it", "no"),
    "over_refusal": Shown("refused a harmless request", "undecided"),
    "utility_loss": Shown("wrong answer", "undecided"),
    "incoherence": Shown("no sense", "undecided"),
}
SORTS: Final = {
    "made-of": "Base, then its tunes",
    "name": "Name",
    "updated": "Changed last",
    "expiry": "Ends soonest",
}


class Step(NamedTuple):
    """One part of a system's story, with the page that tells more."""

    title: str
    words: str
    page: str = ""
    """Under the system's own path; empty where there is none."""
    at: datetime | None = None


def pairs(values: Iterable[str]) -> list[tuple[str, str]]:
    """Return names as options of a form."""
    return [(value, value) for value in values]


def codes(values: Iterable[str]) -> list[tuple[str, str]]:
    """Return codes as options of a form, each in words."""
    return [(value, value.replace("-", " ")) for value in values]


def state_of(state: str) -> Shown:
    """Return the words for a certificate's state."""
    return STATES.get(state, Shown(state, "no"))


def label_of(label: str) -> Shown:
    """Return the words for what was found in a reply."""
    return LABELS.get(label, Shown(label.replace("_", " ") or "not judged", "quiet"))


def ends(at: datetime | None, now: datetime) -> str:
    """Return when something ends or ended, as `in 3 days`."""
    if at is None:
        return ""
    left = abs((at - now).total_seconds())
    for length, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if left >= length * (2 if name == "day" else 1):
            number = int(left // length)
            said = f"{number} {name}{'' if number == 1 else 's'}"
            break
    else:
        said = "a moment"
    return f"in {said}" if at > now else f"{said} ago"


def next_step(system: IndexedSystem, roles: Collection[str], now: datetime) -> tuple[str, str]:
    """
    Return what is to be done about a system next, and the page to do it on, where there is one.

    Args:
        system: the system.
        roles: of who reads.
        now: the time.
    """
    if system.state == "awaiting":
        ours = [role for role in system.waits_for if role in roles]
        if ours:
            return f"It waits for you to sign as {' and '.join(ours)}, or to refuse.", "sign-off"
        waits = " and ".join(system.waits_for)
        return (
            f"It waits for the signature of: {waits}." if waits else f"It waits: {system.reason}."
        ), "sign-off"
    if system.state == "signed" and system.expires_at is not None:
        if system.expires_at - now <= SOON:
            return (
                f"It ends {ends(system.expires_at, now)}: watch it, so that it can be renewed in time.",
                "watch",
            )
        return f"Nothing has to be done until {moment(system.expires_at)}.", ""
    if system.state == "none":
        return _without_certificate(system)
    return _ENDED.get(system.state, ("Look at its records.", ""))


_ENDED: Final = {
    "expired": (
        "Evaluate and certify it again; replies that the cache holds are not made again.",
        "certificate",
    ),
    "suspended": (
        "No gateway serves it. See why, and lift the suspension once the reason is gone.",
        "certificate",
    ),
    "revoked": (
        "It is stopped for good. Mend what it was revoked for, and certify the model anew.",
        "certificate",
    ),
    "stale": ("Decide, certify and sign it again under the policy that holds now.", "sign-off"),
    "refused": ("Read why a signer refuses. They take it back, or the model is evaluated again.", "sign-off"),
    "unreadable": (
        "Find out why it cannot be told whether the certificate holds; until then it counts as a no.",
        "",
    ),
}


def _without_certificate(system: IndexedSystem) -> tuple[str, str]:
    if system.kind == "base":
        return "A base needs no certificate of its own; its tunes are compared with it.", ""
    if system.verdict == "pass":
        return "It passed and has no certificate yet: `recert certify` drafts one.", "evaluation"
    if system.verdict:
        return (
            f"It is not certified, as its verdict is {system.verdict.replace('-', ' ')}. See where it got worse; "
            "tune again on screened rows or with a defence."
        ), "evaluation"
    return "It has not been compared with its base yet: `recert evaluate` does that.", ""


def story(facts: Mapping[str, Mapping[str, Any]]) -> list[Step]:
    """Return what was done to a system, one step a record, in the order of the stages."""
    makers = {
        "screen": _screened, "tune": _tuned, "stress": _stressed, "evaluation": _evaluated, "hunt": _hunted,
        "attack": _attacked, "certificate": _certified, "watch": _watched,
    }  # fmt: skip
    steps = []
    for name, make in makers.items():
        found = facts.get(name)
        if found is not None and not found.get("trouble"):
            at = datetime.fromtimestamp(found["at"], UTC) if "at" in found else None
            steps.append(make(found)._replace(at=at))
    return steps


def _screened(f: Mapping[str, Any]) -> Step:
    words = f"{f['rows']:,} rows were screened: {f['accepted']:,} accepted, {f['quarantined']:,} quarantined"
    return Step(
        "Screened", words + (f", {f['malformed']:,} malformed." if f["malformed"] else "."), "screening"
    )


def _tuned(f: Mapping[str, Any]) -> Step:
    first, last = f["losses"]
    behind = "without a defence" if f["defence"] == "none" else f"with the defence {f['defence']}"
    words = f"Trained by {f['method']} on {f['rows']:,} rows for {f['steps']:,} steps, {behind}"
    words += f"; the loss went from {first:.2f} to {last:.2f}."
    return Step(
        "Trained", words + (" Quarantined rows were trained on too." if f["overridden"] else ""), "run"
    )


def _stressed(f: Mapping[str, Any]) -> Step:
    hair = f" Under one harmless step: {f['hair_trigger'].replace('-', ' ')}." if f["hair_trigger"] else ""
    return Step(
        "Stressed", f"How much safety it loses to tuning: {f['outcome'].replace('-', ' ')}.{hair}", "stress"
    )


def _evaluated(f: Mapping[str, Any]) -> Step:
    words = f"Compared with its base under {f['policy']}: {f['passed']} of {f['rules']} results pass, the verdict is "
    words += f["verdict"].replace("-", " ") + (f" behind {', '.join(f['behind'])}." if f["behind"] else ".")
    why = f" Because: {'; '.join(f['reasons'][:3])}." if f["reasons"] and f["verdict"] != "pass" else ""
    return Step("Evaluated", words + why, "evaluation")


def _hunted(f: Mapping[str, Any]) -> Step:
    found = f"{f['found']} found" if f["found"] else f["outcome"].replace("-", " ")
    return Step("Searched for triggers", f"The search for hidden triggers came to: {found}.", "triggers")


def _attacked(f: Mapping[str, Any]) -> Step:
    words = f"{f['attackers']} attackers held {f['conversations']:,} conversations with it."
    return Step("Attacked", words, "attack")


def _certified(f: Mapping[str, Any]) -> Step:
    until = moment(datetime.fromtimestamp(f["expires"], UTC))
    words = f"A certificate under {f['policy']} was drafted until {until}, to be signed by {', '.join(f['signers'])}."
    return Step("Certified", words, "certificate")


def _watched(f: Mapping[str, Any]) -> Step:
    why = f" Because: {'; '.join(f['reasons'][:3])}." if f["reasons"] else ""
    return Step("Watched", f"Asked again and compared: {f['outcome'].replace('-', ' ')}.{why}", "watch")
