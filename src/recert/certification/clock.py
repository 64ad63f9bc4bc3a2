"""The time that a decision is made at."""

from __future__ import annotations

from datetime import UTC, datetime

from recert.errors import InputError
from recert.records.record import now as present


def moment(given: datetime | None) -> datetime:
    """
    Return the given time in UTC, or the present.

    Raises:
        InputError: it has no UTC offset, so nobody can say when it is.
    """
    if given is None:
        return present()
    if given.tzinfo is None:
        raise InputError("time has no UTC offset", facts={"now": given.isoformat()})
    return given.astimezone(UTC)
