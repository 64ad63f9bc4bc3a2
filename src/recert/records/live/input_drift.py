"""What live requests look like beside the distribution that a certificate holds."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, Record


class ControlInputDrift(Part):
    """One control of requests: how its scores of live requests differ from the certified ones."""

    control: str
    certified: tuple[int, ...]
    """Requests of the certified sample in each bin of scores; then those without a score, and those not asked about."""
    now: tuple[int, ...]
    """Live requests in the same bins."""
    distance: float = Field(ge=0, le=1)
    """Jensen-Shannon divergence of both in bits: 0 where they are alike, 1 where they have no bin in common."""
    p_value: float = Field(ge=0, le=1)
    """Chance of such a distance or a larger one where all requests are drawn alike, by permutation."""
    p_adjusted: float = Field(ge=0, le=1)
    """The same for all controls together, by Holm's method."""
    changed: bool


class InputDrift(Record):
    """Live requests of an audit log since some time, compared with the certified distribution of inputs."""

    schema_name: ClassVar[str] = "input-drift"

    certificate_serial: str
    policy_sha256: Sha256
    since: Moment
    certified_requests: int
    """Requests of the certified sample."""
    live_requests: int
    """Requests since then that a control of requests was asked about."""
    left_out: int
    """Exchanges since then that no control of requests was asked about, such as refused bodies."""
    alpha: float
    """The policy's `exchange_alpha`: from an adjusted p-value of this or less, a control counts as changed."""
    edges: tuple[float, ...]
    """Where bins of scores begin."""
    controls: tuple[ControlInputDrift, ...]
    not_compared: tuple[str, ...] = ()
    """Controls that scored live requests and are not in the certified distribution."""
    looked_at: Moment

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of the controls whose scores changed."""
        return tuple(one.control for one in self.controls if one.changed)
