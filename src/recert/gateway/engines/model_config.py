"""A model as it is offered to the gateway, before anything is checked or started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from recert.gateway.audio.hearing import ClipTranscriber
from recert.gateway.audio.transcriber_choice import TranscriberChoice
from recert.gateway.controls import Controls
from recert.gateway.engines.managed_commands import ManagedUpstream
from recert.gateway.upstream.client import UnsafeDeclaredUpstream, Upstream
from recert.models.chat.secret import SecretPrefix
from recert.policy import Policy
from recert.records.signed.certificate import VerifiedCertificate


@dataclass(frozen=True)
class ModelConfig:
    """
    One certified model, with all that it is to be served with.

    Args:
        certificate: what `verify()` gave.
        recheck: verifies again; whatever it raises stops this model within 5 s, running streams included.
        policy: the policy that the certificate names.
        controls: what guards it.
        secret: the BackdoorAlign secret, when the certificate requires `secret-prefix`.
        upstream: an engine that the gateway starts itself; or a server that is only declared to run the model; or any
            other `Upstream`.
        called: what clients call it; by default the name in its certificate.
        transcriber: who hears what is spoken; None where only text is served.
    """

    certificate: VerifiedCertificate
    recheck: Callable[[], VerifiedCertificate]
    policy: Policy
    controls: Controls
    secret: SecretPrefix | None = None
    upstream: ManagedUpstream | UnsafeDeclaredUpstream | Upstream = field(default_factory=ManagedUpstream)
    called: str = ""
    transcriber: TranscriberChoice | ClipTranscriber | None = None

    @property
    def name(self) -> str:
        """What clients call the model."""
        return self.called or self.certificate.certificate.model_name
