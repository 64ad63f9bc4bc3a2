"""The models behind one gateway: each with its certificate, its controls and what runs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recert.errors import GatewayError
from recert.gateway.controls import Controls
from recert.gateway.service import Service, Stopped
from recert.gateway.upstream import Upstream
from recert.models.secret import SecretPrefix
from recert.policy import Policy
from recert.records import Certificate


@dataclass(frozen=True)
class Served:
    """One certified model, ready to answer."""

    service: Service
    controls: Controls
    upstream: Upstream
    policy: Policy
    secret: SecretPrefix | None = None

    @property
    def certificate(self) -> Certificate:
        """The certificate in force."""
        return self.service.certificate

    @property
    def name(self) -> str:
        """What clients call the model."""
        return self.certificate.model_name


class ServedModels:
    """
    Every model of one gateway, by name.

    Raises:
        GatewayError: `no-model`, or `same-name`: two models would answer to one name.
    """

    def __init__(self, models: Sequence[Served]) -> None:
        if not models:
            raise GatewayError("no-model", "a gateway needs a model to serve")
        self._models = {served.name: served for served in models}
        if len(self._models) < len(models):
            raise GatewayError(
                "same-name",
                "two models of one gateway have the same name",
                facts={"names": ", ".join(served.name for served in models)},
            )

    def __iter__(self) -> Iterator[Served]:
        return iter(self._models.values())

    @property
    def only(self) -> Served | None:
        """The model, where there is one; None where there are several."""
        return next(iter(self)) if len(self._models) == 1 else None

    def find(self, name: str) -> Served | None:
        """Return the model of that name."""
        return self._models.get(name)

    def names(self) -> str:
        """Return the names, for people."""
        return ", ".join(self._models)

    def require_any(self) -> None:
        """
        Return when at least one model may answer.

        Raises:
            Stopped: none may; the reason is that of the first.
        """
        reasons = [served.service.reason for served in self]
        if all(reasons):
            raise Stopped(reasons[0])
