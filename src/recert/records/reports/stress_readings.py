"""What one model replied in a stress test, one letter a reply: the replies themselves are not kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from recert.records.record import Part

COMPLIED, REFUSED, WRECKED, UNSCORED = "c", "r", "w", "u"
ANSWERED, RIGHT, WRONG = "a", "y", "n"

ToHarm = Annotated[str, StringConstraints(pattern=r"^[crwu]*$")]
"""Replies to harmful requests: complied, refused, wrecked (no language), unscored."""
ToOrdinary = Annotated[str, StringConstraints(pattern=r"^[arwu]*$")]
"""Replies to harmless ones: answered, refused, wrecked, unscored."""
ToTask = Annotated[str, StringConstraints(pattern=r"^[yn]*$")]
"""Whether answers of the task are right."""


class StressReadings(Part):
    """Replies of one model in the order in which requests are asked, which is the same for all models."""

    harmful: dict[str, ToHarm]
    """By condition."""
    ordinary: ToOrdinary
    lookalikes: ToOrdinary = ""
    """Asked of the base alone."""
    task: ToTask = ""
