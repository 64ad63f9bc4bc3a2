"""The parts of a policy that make it a document: its change log, whom to ask, what is kept, for which deployment."""

from __future__ import annotations

from datetime import date as Date
from typing import Final, Literal, get_args

from pydantic import Field

from recert.records.record import Part

DeploymentName = Literal["internal", "external", "high-risk"]
"""Who meets the model: people of the house, anyone, or anyone where harm weighs most."""

DEPLOYMENTS: Final[tuple[DeploymentName, ...]] = get_args(DeploymentName)
"""From the least risk to the most: what one demands, those after it demand too."""


class Change(Part):
    """One entry of a policy's change log."""

    version: str = Field(min_length=1)
    """The version that the change made."""
    date: Date
    by: str = Field(min_length=1)
    """Who answers for the change."""
    why: str = Field(min_length=1)


class Contact(Part):
    """Whom to ask or to tell about a policy, as `explain`, `diff` and `affected` print it."""

    role: str = Field(min_length=1)
    """Such as `risk owner`."""
    reach: str = Field(min_length=1)
    """An address: e-mail, page or telephone."""
    name: str = ""


class Retention(Part):
    """For how many days what is behind a decision is kept. A field that is left out promises nothing."""

    evidence_days: int | None = Field(default=None, ge=1)
    """Reports, outcomes and certificates, from the day on which the certificate ends. At least so long."""
    audit_days: int | None = Field(default=None, ge=1)
    """Lines of the gateway's audit log. At least so long."""
    texts_days: int | None = Field(default=None, ge=1)
    """Requests and replies kept beside it. At most so long: `recert audit forget --policy` deletes older ones."""
