"""Engines for models: one process each, and one for all adapters that lie on the same base."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recert.errors import GatewayError, VerificationError
from recert.gateway.engines.managed_commands import EMBEDDED, VLLM, ManagedUpstream
from recert.gateway.engines.managed_engine import MERGED, EngineUpstream, ManagedEngine
from recert.records.signed.certificate import VerifiedCertificate

_SHARING = (EMBEDDED, VLLM)
"""Engines that hold several adapters on one base."""


@dataclass(frozen=True)
class Wanted:
    """A model that is to run on an engine of ours."""

    name: str
    certificate: VerifiedCertificate
    upstream: ManagedUpstream


@dataclass
class Launched:
    """What was started: a client by the model's name, and the reason for each that was not."""

    upstreams: dict[str, EngineUpstream] = field(default_factory=dict)
    refused: dict[str, VerificationError | GatewayError] = field(default_factory=dict)
    engines: list[ManagedEngine] = field(default_factory=list)

    def end(self) -> None:
        """End every engine."""
        for engine in self.engines:
            engine.end()


def launch(
    wanted: Sequence[Wanted],
    *,
    copies: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Launched:
    """
    Start engines for models, one after the other. An engine that does not start is told, and keeps none from starting.

    Args:
        wanted: the models.
        copies: folder for private copies of the certified files, with room for them; by default a temporary one.
        progress: called with a sentence at each step.
    """
    done = Launched()
    try:
        for group in groups(wanted):
            names = {f"m{number}": one for number, one in enumerate(group)}
            certificates = {name: one.certificate for name, one in names.items()}
            try:
                engine = ManagedEngine(certificates, group[0].upstream, copies=copies, progress=progress)
                engine.start()
            except (VerificationError, GatewayError) as exc:
                done.refused |= {one.name: exc for one in group}
                continue
            done.engines.append(engine)
            done.upstreams |= {one.name: engine.upstream(name) for name, one in names.items()}
    except BaseException:
        done.end()
        raise
    return done


def groups(wanted: Sequence[Wanted]) -> list[list[Wanted]]:
    """Return models in groups that one process serves: adapters of one base, on the same engine with the same words."""
    found: dict[object, list[Wanted]] = {}
    for one in wanted:
        certificate = one.certificate.certificate
        alone = certificate.delta_kind == MERGED or one.upstream.engine not in _SHARING
        key: object = one.name if alone else (one.upstream, certificate.base.digest)
        found.setdefault(key, []).append(one)
    return list(found.values())
