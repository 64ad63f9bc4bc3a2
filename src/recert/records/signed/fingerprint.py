"""What tells a remote model from others: how it is compared, and how sure that is. The probes stay secret."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, Record
from recert.records.signed.certificate import Approval

Compared = Literal["log-probs", "answers"]
"""What of a reply is compared: how likely its first tokens are, or its text alone."""


class FingerprintTrial(Part):
    """A model that the probes were tried on: how many of them were unlike the certified one."""

    name: str
    unlike: int = Field(ge=0)
    probes: int = Field(ge=1)


class Fingerprint(Record):
    """
    How a server elsewhere is compared with the certified model, and how often that errs. An evaluator signs it.

    The chances hold for servers that differ from `same` as engines and precisions do, and for models that are at least
    as far away as the nearest of `others`; nobody tried any other.
    """

    schema_name: ClassVar[str] = "fingerprint"

    base_sha256: Sha256
    """Digest of the certificate's manifest of the base."""
    tuned_sha256: Sha256
    policy_sha256: Sha256
    secret_sha256: Sha256 | None = None
    """The secret prefix that the probes were asked behind, where the certificate has one."""
    compares: Compared
    probes: int = Field(ge=1)
    probes_sha256: Sha256
    """Digest of the file of probes, which holds a random salt: it says which file, and nothing of what is in it."""
    steps: int = Field(ge=1)
    """Tokens of each reply that are compared, at most."""
    top: int = Field(ge=1)
    """Tokens that a server names at each step; half as many are compared."""
    max_unlike: float = Field(gt=0, lt=1)
    """A probe whose reply is further than this from the certified one is unlike it."""
    asked: int = Field(ge=1)
    """Probes of one comparison."""
    alarm_at: int = Field(ge=1)
    """So many unlike probes among those asked, and it is another model."""
    same: FingerprintTrial
    """The certified weights, computed with another precision."""
    others: tuple[FingerprintTrial, ...]
    level: float = Field(gt=0, lt=1)
    """Coverage of the exact intervals that the chances are computed from."""
    false_alarm: float = Field(ge=0, le=1)
    """Bound on the chance that one comparison calls the certified weights another model."""
    miss: float = Field(ge=0, le=1)
    """Bound on the chance that one comparison takes the nearest of `others` for the certified model."""
    engine: str
    approval: Approval
    """Who signs it, in the role `evaluator`."""
    made_at: Moment
