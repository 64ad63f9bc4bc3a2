"""
Issuing status lists: every list goes on from the one before, and from what is remembered of those issued here.

An older list that was put in place is signed no more, and no revocation is ever dropped. What verifiers do with a list
is in status.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final, Literal, Required, TypedDict, Unpack

from recert.certification.clock import moment
from recert.certification.signing.content import new_serial
from recert.certification.signing.envelope import Envelope, sign
from recert.certification.signing.issued import HeldMemory
from recert.certification.signing.keys import SigningKey
from recert.certification.trust.store import TrustStore
from recert.digest import canonical_json, sha256_bytes
from recert.errors import InputError, RecordError, VerificationError
from recert.policy import Policy
from recert.records.record import parse_json
from recert.records.signed.certificate import STATUS_PAYLOAD_TYPE, StatusEntry, StatusList, is_serial
from recert.records.signed.issued import IssuedList, IssuerMemory

LONGEST_VALIDITY_HOURS: Final = 31 * 24.0
"""
No list holds longer where no policy says how long it may. Until a list ends, whoever keeps the next one back keeps what
it revokes alive: a month is longer than any shipped policy allows, and short enough to be issued anew by hand.
"""
_RECOVER: Final = (
    "get the newest list back; or issue one that has both what this one and what the memory knows: "
    "`recert status --recover`"
)
_Entries = dict[str, StatusEntry]


def why_too_long(status: StatusList, policy: Policy | None) -> str:
    """Return why a status list holds for longer than it may; empty where it does not."""
    hours = (status.expires_at - status.issued_at).total_seconds() / 3600
    most, said = _most_hours(policy)
    return f"it holds for {hours:g} hours, and may for {most:g}, {said}" if hours > most else ""


class Issuing(TypedDict, total=False):
    """Who issues a list, and how: the same for every kind of change."""

    key: Required[SigningKey]
    """With the role `status`."""
    trust: Required[TrustStore]
    """Who may have signed the previous list."""
    validity_hours: Required[float]
    """How long the new list holds."""
    policy: Policy | None
    """Says how long a list may hold; without it a month at most."""
    memory: HeldMemory | None
    """What was issued before. Without it nobody can tell that the previous list is not the newest."""
    recover: bool
    """Go on although the previous list is not the newest, or gone: from it and from all that is remembered."""
    now: datetime | None
    """The time; the present by default."""


def issue_status(
    previous: bytes | None,
    *,
    entries: Iterable[StatusEntry] = (),
    new_list: bool = False,
    **how: Unpack[Issuing],
) -> bytes:
    """
    Return a new signed status list: the previous one's entries and the given ones, one version up.

    An entry for a serial that is suspended already replaces it; a revocation is never replaced. Call it
    without entries to lengthen a list's life. Write the list while its memory is held.

    Args:
        previous: the newest list's envelope; None only for the very first list.
        entries: certificates to revoke or suspend.
        new_list: begin another list with a key that has issued one; what the key revoked is in it too.
        how: see `Issuing`.

    Raises:
        SigningKeyError: the key has not the role `status`.
        InputError: the list would hold for too long, or a list is given and another to be begun.
        VerificationError: the previous list is not one, or was signed by nobody trusted; `status-rollback` or
            `status-equivocation`: it is not the newest that was issued here.
        StoreError: what is issued cannot be remembered.
    """
    given = tuple(entries)

    def add(kept: _Entries) -> None:
        for entry in given:
            earlier = kept.get(entry.serial)
            if earlier is None or earlier.status != "revoked":
                kept[entry.serial] = entry

    return _issue(previous, add, new_list=new_list, **how)


def revoke(previous: bytes | None, serial: str, reason: str, **how: Unpack[Issuing]) -> bytes:
    """
    Return a new list in which a certificate is revoked, for good.

    Raises:
        InputError: this is no serial.
        SigningKeyError, VerificationError, StoreError: as `issue_status`.
    """
    how["now"] = at = moment(how.get("now"))
    return issue_status(previous, entries=[_entry(serial, "revoked", reason, at)], **how)


def suspend(previous: bytes | None, serial: str, reason: str, **how: Unpack[Issuing]) -> bytes:
    """Return a new list in which a certificate is suspended. Raises as `revoke`."""
    how["now"] = at = moment(how.get("now"))
    return issue_status(previous, entries=[_entry(serial, "suspended", reason, at)], **how)


def reinstate(previous: bytes, serial: str, **how: Unpack[Issuing]) -> bytes:
    """
    Return a new status list in which a certificate is no longer suspended.

    Raises:
        InputError: it is not suspended, or it is revoked, which is for good.
        SigningKeyError, VerificationError, StoreError: as `issue_status`.
    """

    def lift(kept: _Entries) -> None:
        named = kept.get(serial)
        if named is None or named.status != "suspended":
            raise InputError(
                "certificate is revoked, which is for good" if named else "certificate is not suspended",
                facts={"serial": serial},
                hint="certify the model again" if named else "",
            )
        del kept[serial]

    return _issue(previous, lift, new_list=False, **how)


def _entry(serial: str, status: Literal["revoked", "suspended"], reason: str, at: datetime) -> StatusEntry:
    if not is_serial(serial):
        raise InputError(
            "not a certificate's serial", facts={"given": ascii(serial)}, hint="32 lower-case hex digits"
        )
    return StatusEntry(serial=serial, status=status, reason=reason, since=at)


@dataclass(frozen=True)
class _Before:
    """What the next list goes on from."""

    version: int = 0
    list_id: str | None = None
    sha256: str | None = None
    """Of the payload that was given."""
    entries: _Entries = field(default_factory=dict)
    unfinished: IssuedList | None = None
    """A list that was signed after it and is nowhere: the next one must say the same."""


def _issue(
    previous: bytes | None,
    change: Callable[[_Entries], None],
    *,
    new_list: bool,
    **how: Unpack[Issuing],
) -> bytes:
    key, at, hours = how["key"], moment(how.get("now")), how["validity_hours"]
    key.require_role("status")
    memory, recover = how.get("memory"), how.get("recover", False)
    known = memory.content if memory is not None else IssuerMemory()
    if new_list and previous is not None:
        raise InputError("there is a status list already", hint="give a file that is not there yet")
    if previous is None:
        before = _without_list(known, key.key_id, recover=recover, new_list=new_list)
    else:
        before = _with_list(previous, how["trust"], known, key.key_id, recover=recover, now=at)
    kept = dict(before.entries)
    change(kept)
    unfinished = before.unfinished
    if unfinished is not None and _said(kept.values()) != _said(unfinished.entries):
        raise _set_back(
            "the command before this one did not end well, and this one says something else",
            unfinished,
            before.version,
        )
    status = StatusList(
        version=max(before.version, unfinished.version if unfinished else 0) + 1,
        list_id=before.list_id or new_serial(),
        issued_at=at,
        expires_at=at + _lasting(hours, how.get("policy")),
        entries=tuple(kept.values()),
    )
    envelope = sign(STATUS_PAYLOAD_TYPE, status.to_json(), [key])
    if memory is not None:
        memory.keep(_remembering(known, status, before, key.key_id))
    return envelope.to_json()


def _lasting(hours: float, policy: Policy | None) -> timedelta:
    most, said = _most_hours(policy)
    if not 0 < hours <= most:
        raise InputError(
            "status list would hold for too long, or not at all",
            facts={"hours": hours, "at most": f"{most:g}, {said}"},
            hint="issue it anew in time, by a timer: that is what a short life is for",
        )
    return timedelta(hours=hours)


def _most_hours(policy: Policy | None) -> tuple[float, str]:
    if policy is None:
        return LONGEST_VALIDITY_HOURS, "where no policy says more"
    return policy.certification.status_validity_hours, f"by the policy {policy.id}"


def _remembering(known: IssuerMemory, status: StatusList, before: _Before, key_id: str) -> IssuerMemory:
    assert status.list_id is not None
    earlier = known.status_lists.get(status.list_id)
    issued = IssuedList(
        version=status.version,
        sha256=sha256_bytes(status.to_json()),
        key_ids=tuple(sorted({key_id, *(earlier.key_ids if earlier else ())})),
        pending=True,
        based_on=before.sha256,
        entries=status.entries,
    )
    return known.model_copy(update={"status_lists": {**known.status_lists, status.list_id: issued}})


def _without_list(known: IssuerMemory, key_id: str, *, recover: bool, new_list: bool) -> _Before:
    """A first list; or one that goes on from what is remembered alone."""
    mine = _issued_with(key_id, known)
    if new_list:
        return _Before(entries=_merged(*(_revoked(one) for one in mine.values())))
    if not mine and not recover:
        return _Before()
    lists = mine or known.status_lists  # of a key that was changed meanwhile
    if not lists:
        raise InputError("no status list was issued here", hint="begin one: `recert status --first`")
    name, newest = _the_only(lists, "there is no status list")
    if recover:
        return _Before(newest.version, name, entries=_merged(newest.entries))
    if newest.pending and newest.based_on is None:
        return _Before(0, name, entries=_merged(_revoked(newest)), unfinished=newest)
    raise VerificationError(
        "status-rollback",
        "there is no status list, and this key has issued one",
        facts={"its id": name, "version": newest.version, "entries": len(newest.entries)},
        hint=f"{_RECOVER}; or begin another list for other certificates: `recert status --new-list`",
    )


def _with_list(
    previous: bytes, trust: TrustStore, known: IssuerMemory, key_id: str, *, recover: bool, now: datetime
) -> _Before:
    """What a given list and the memory say together; refused where the list is not the newest."""
    payload, old = _read(previous, trust, now=now, repair=recover)
    list_id, newest, sha256 = old.list_id, None, sha256_bytes(payload)
    if list_id is not None:
        newest = known.status_lists.get(list_id)
    elif mine := _issued_with(key_id, known):
        list_id, newest = _the_only(mine, "status list is of before lists had ids")
    if newest is None:
        return _Before(old.version, list_id, sha256, _merged(old.entries))
    if recover:
        version = max(old.version, newest.version)
        return _Before(version, list_id, sha256, _merged(newest.entries, old.entries))
    unfinished = newest if newest.pending and newest.based_on == sha256 else None
    if unfinished is None and old.list_id is None:
        raise _set_back("status list is of before its issuer gave lists an id", newest, old.version)
    if unfinished is None and old.version < newest.version:
        raise _set_back("status list is older than one that was issued here", newest, old.version)
    if old.version == newest.version and sha256 != newest.sha256:
        raise VerificationError(
            "status-equivocation",
            "another status list with this version was issued here",
            facts={"version": old.version, "issued here": newest.sha256, "given": sha256},
            hint=f"find out who else issues with this key; {_RECOVER}",
        )
    entries = _merged(old.entries, _revoked(newest))
    return _Before(old.version, list_id, sha256, entries, unfinished)


def _issued_with(key_id: str, known: IssuerMemory) -> dict[str, IssuedList]:
    return {name: one for name, one in known.status_lists.items() if key_id in one.key_ids}


def _the_only(lists: Mapping[str, IssuedList], because: str) -> tuple[str, IssuedList]:
    if len(lists) > 1:
        raise InputError(
            f"{because}, and several were issued here",
            facts={"their ids": ", ".join(sorted(lists))},
            hint="put any copy of the one that you mean in its place: it says which it is; then `--recover`",
        )
    return next(iter(lists.items()))


def _merged(*groups: Iterable[StatusEntry]) -> _Entries:
    """Entries by serial: of two the revocation, else the first."""
    kept: _Entries = {}
    for entry in chain.from_iterable(groups):
        earlier = kept.get(entry.serial)
        if earlier is None or (earlier.status, entry.status) == ("suspended", "revoked"):
            kept[entry.serial] = entry
    return kept


def _revoked(issued: IssuedList) -> list[StatusEntry]:
    return [entry for entry in issued.entries if entry.status == "revoked"]


def _said(entries: Iterable[StatusEntry]) -> set[tuple[str, str, str]]:
    return {(entry.serial, entry.status, entry.reason) for entry in entries}


def _set_back(message: str, newest: IssuedList, version: int) -> VerificationError:
    return VerificationError(
        "status-rollback",
        message,
        facts={"issued here": newest.version, "given": version, "entries then": len(newest.entries)},
        hint=_RECOVER,
    )


def _read(envelope: bytes, trust: TrustStore, *, now: datetime, repair: bool) -> tuple[bytes, StatusList]:
    """
    Return the payload of a list that somebody trusted signed, expired or not, and what it says.

    With `repair`, serials in another case or with spaces around them are set right, and others left out: no
    certificate has such a serial, and no verifier takes a list with one.
    """
    try:
        opened = Envelope.from_json(envelope)
        if opened.payload_type != STATUS_PAYLOAD_TYPE:
            raise RecordError("of another type", facts={"actual": opened.payload_type})
        if not any("status" in key.roles for key in opened.proven_signers(trust, now=now).values()):
            raise VerificationError(
                "status-untrusted",
                "nobody trusted in the role status signed this status list",
                facts={"signed by": ", ".join(s.key_id for s in opened.signatures)},
                hint="add the issuer's .pub file to the trust store, if you do trust it",
            )
        value = parse_json(opened.payload)
        payload = canonical_json(_repaired(value)) if repair else opened.payload
        status = StatusList.from_json(payload)
        if status.to_json() != payload or status.schema_version != 1:
            raise RecordError("it lacks a field, or is of another version")
    except RecordError as exc:
        raise VerificationError(
            "status-malformed", "not a status list", facts={"because": exc}, hint=_RECOVER
        ) from exc
    return opened.payload, status


def _repaired(value: Any) -> Any:
    match value:
        case {"entries": list(entries), **rest}:
            right = [
                {**entry, "serial": serial}
                for entry in entries
                if isinstance(entry, dict)
                and is_serial(serial := str(entry.get("serial", "")).strip().lower())
            ]
            return {**rest, "entries": right}
    return value
