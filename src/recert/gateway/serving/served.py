"""The models behind one gateway: each with its certificate, its controls and what runs it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from recert.errors import GatewayError
from recert.gateway.audio.hearing import Hearing
from recert.gateway.controls import Controls
from recert.gateway.service import Service, Stopped
from recert.gateway.serving.aliases import Alias, Aliases, no_aliases
from recert.gateway.upstream.client import Upstream
from recert.models.chat.secret import SecretPrefix
from recert.policy import Policy
from recert.records.signed.certificate import Certificate


@dataclass(frozen=True)
class ServedModel:
    """
    One certified model, ready to answer.

    `called` is what clients call it, where that is not the name in its certificate. `hearing` hears what is spoken;
    None where only text is served.
    """

    service: Service
    controls: Controls
    upstream: Upstream
    policy: Policy
    secret: SecretPrefix | None = None
    called: str = ""
    hearing: Hearing | None = None

    @property
    def max_body_bytes(self) -> int:
        """Largest body of a request, whatever is in it."""
        written = self.policy.gateway.max_body_bytes
        return written if self.hearing is None else max(written, self.hearing.bounds.max_body_bytes)

    @property
    def certificate(self) -> Certificate:
        """The certificate in force."""
        return self.service.certificate

    @property
    def name(self) -> str:
        """What clients call the model."""
        return self.called or self.certificate.model_name


class ServedModels:
    """
    Every model of one gateway, by name.

    Args:
        models: those that are served.
        aliases: further names that lead to them.
        refused: models that were asked for and did not start, with the reason that their clients get.

    Raises:
        GatewayError: `no-model`, or `same-name`: two models would answer to one name.
    """

    def __init__(
        self,
        models: Sequence[ServedModel],
        *,
        aliases: Aliases | None = None,
        refused: Mapping[str, str] | None = None,
    ) -> None:
        if not models:
            raise GatewayError("no-model", "a gateway needs a model to serve")
        self._models = {served.name: served for served in models}
        self.refused = dict(refused or {})
        """Models that did not start, with the reason."""
        self.aliases = aliases or no_aliases()
        names = [*(served.name for served in models), *self.refused]
        if len(set(names)) < len(names):
            raise GatewayError(
                "same-name",
                "two models of one gateway have the same name",
                facts={"names": ", ".join(names)},
            )

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    @property
    def only(self) -> ServedModel | None:
        """The model, where there is one; None where there are several."""
        return next(iter(self)) if len(self._models) == 1 and not self.refused else None

    def find(self, name: str, client: str = "") -> ServedModel | None:
        """
        Return the model that answers a client under a name, which may be an alias; None where there is no such name.

        A client of a canary that is stopped is the stable model's until the canary is served again.

        Raises:
            Stopped: the name is known, and no model answers to it now.
        """
        served = self._models.get(name)
        if served is not None:
            return served
        if name in self.refused:
            raise Stopped(self.refused[name])
        alias = self.aliases.find(name)
        if alias is None:
            return None
        if self.aliases.problem:
            raise Stopped(self.aliases.problem)
        return self._behind(alias, client)

    def is_promoted(self, alias: Alias) -> bool:
        """Say whether all clients of an alias are its canary's: by order, and with the files that the order names."""
        canary = self._models.get(alias.canary)
        return canary is not None and self.aliases.promoted(alias.name) == canary.certificate.tuned.digest

    def _behind(self, alias: Alias, client: str) -> ServedModel:
        tries = alias.leads_to_canary(client) or self.is_promoted(alias)
        if tries and not self.aliases.is_rolled_back(alias.name):
            canary = self._models.get(alias.canary)
            if canary is not None and not canary.service.reason:
                return canary
        stable = self._models.get(alias.stable)
        if stable is None:
            raise Stopped(self.refused.get(alias.stable, "engine-down"))
        return stable

    def listed(self, client: str) -> list[tuple[str, ServedModel]]:
        """Return every name under which a client is answered now, and by which model."""
        found = [(served.name, served) for served in self if not served.service.reason]
        for name in self.aliases.names():
            with contextlib.suppress(Stopped):
                served = self.find(name, client)
                if served is not None and not served.service.reason:
                    found.append((name, served))
        return found

    def names(self, may_ask: Callable[[str], bool] = lambda _: True) -> str:
        """Return the names that one may ask for, for people."""
        return ", ".join(filter(may_ask, [*self._models, *self.refused, *self.aliases.names()]))

    def require_any(self) -> None:
        """
        Return when at least one model may answer.

        Raises:
            Stopped: none may; the reason is that of the first.
        """
        reasons = [served.service.reason for served in self]
        if all(reasons):
            raise Stopped(reasons[0])
