"""Which transcriber listens for a gateway, and for which of its models."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from recert.errors import GatewayError
from recert.gateway.audio.hearing import ClipTranscriber, Hearing
from recert.gateway.audio.transcriber import NOT_CERTIFIED, require_named_ears, require_same_ears
from recert.gateway.audio.transcriber_choice import TranscriberChoice
from recert.gateway.audio.transcriber_process import ManagedTranscriber
from recert.gateway.engines.managed_commands import EMBEDDED, LLAMA_CPP, ManagedUpstream
from recert.gateway.engines.model_config import ModelConfig
from recert.policy import Policy
from recert.policy.sections.gateway_audio import GatewayAudioPolicy

log = logging.getLogger("recert.gateway")

AUDIO: Final = "audio"
_DEAF: Final = (EMBEDDED, LLAMA_CPP)
"""Engines that are started as they are here read text alone."""


def audio_of(policy: Policy) -> GatewayAudioPolicy | None:
    """Return the bounds of what is spoken, where a policy serves it: by a section, and by naming the modality."""
    return policy.gateway.audio if AUDIO in policy.evaluation.modalities else None


@dataclass
class Transcribers:
    """
    The transcribers of one gateway: one of each kind, whichever models it listens for.

    Args:
        progress: called with a sentence at each step.
    """

    progress: Callable[[str], None] | None = None
    _open: dict[TranscriberChoice, ClipTranscriber] = field(default_factory=dict)

    def hearing(self, offer: ModelConfig) -> Hearing | None:
        """
        Return what hears the clips of requests to a model; None where it is served text alone.

        Raises:
            GatewayError: `audio-not-certified`: a transcriber is there for what the policy or the certificate does not
                serve; `engine-deaf`: clips are to be passed on to an engine that reads text; `ears-unknown`,
                `ears-differ`: the certificate was measured with others; `wrong-transcriber`: the policy names others;
                or the transcriber does not start.
        """
        bounds = audio_of(offer.policy)
        if offer.transcriber is None:
            if bounds is not None:
                log.warning("model %s: spoken requests are refused, as no transcriber is given", offer.name)
            return None
        if bounds is None:
            raise GatewayError(
                NOT_CERTIFIED,
                "a transcriber is given, and the model is not certified for spoken requests",
                facts={"model": offer.name},
                hint="certify it under a policy with `audio` in evaluation.modalities and a section [gateway.audio]",
            )
        require_named_ears(offer, bounds)
        given = offer.upstream
        if bounds.passes_on == "clip" and isinstance(given, ManagedUpstream) and given.engine in _DEAF:
            raise GatewayError(
                "engine-deaf",
                "clips are to be passed on as they came, and the engine reads text alone",
                facts={"engine": given.engine},
                hint='pass on what was heard: gateway.audio.passes_on = "transcript"',
            )
        found = self._listening(offer.transcriber, bounds)
        require_same_ears(offer, found, bounds)
        return Hearing(found, bounds)

    def _listening(
        self, wanted: TranscriberChoice | ClipTranscriber, bounds: GatewayAudioPolicy
    ) -> ClipTranscriber:
        if isinstance(wanted, TranscriberChoice):
            if wanted not in self._open:
                self._open[wanted] = wanted.open(self.progress)
            found = self._open[wanted]
        else:
            found = wanted
        if bounds.transcriber_sha256 and found.sha256 not in bounds.transcriber_sha256:
            raise GatewayError(
                "wrong-transcriber",
                "the policy names other transcribers",
                facts={"given": f"{found.name} sha256:{found.sha256}"},
                hint="serve with one that gateway.audio.transcriber_sha256 names",
            )
        return found

    def end(self) -> None:
        """End every process that was started."""
        for one in self._open.values():
            if isinstance(one, ManagedTranscriber):
                one.end()


def listening(hearings: Iterable[Hearing | None]) -> list[ClipTranscriber]:
    """Return each transcriber once."""
    found = {id(one.transcriber): one.transcriber for one in hearings if one is not None}
    return list(found.values())
