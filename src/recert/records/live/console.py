"""What people do in the console, and what its list of systems says of one."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from recert.records.record import Record


class ConsoleAct(Record):
    """One act of a person, or of somebody who could not sign in: a line of the console's log."""

    schema_name: ClassVar[str] = "console_act"

    who: str
    """Name of the account; empty where nobody was signed in."""
    what: str
    """Such as `signed-in`, `sign-in-failed`, `revealed`, `approved`, `stopped`."""
    facts: dict[str, str | int | bool] = Field(default_factory=dict)
    """What it was done to. Never a text that was revealed, a password or a key."""
    address: str = ""
    """Where the request came from."""
