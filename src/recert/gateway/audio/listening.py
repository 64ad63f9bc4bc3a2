"""
Which transcriber listens for a gateway, and for which of its models.

Here too: whether what is to listen for a model is what its certificate was measured by.

The steps are those of `spec/verification.md`, "Ears of servers".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from recert.errors import GatewayError
from recert.gateway.audio.hearing import ClipTranscriber, Hearing
from recert.gateway.audio.transcriber_choice import TranscriberChoice
from recert.gateway.audio.transcriber_process import ManagedTranscriber
from recert.gateway.engines.managed_commands import EMBEDDED, LLAMA_CPP, ManagedUpstream
from recert.gateway.engines.model_config import ModelConfig
from recert.policy import Policy
from recert.policy.sections.gateway_audio import GatewayAudioPolicy
from recert.records.live.transcriber import EarsManifest

NOT_CERTIFIED: Final = "audio-not-certified"
_SHOWN: Final = 5


def require_named_ears(offer: ModelConfig, bounds: GatewayAudioPolicy) -> None:
    """
    Return when a certificate says what may listen, and what was chosen can be held to it. Nothing is started for this.

    Raises:
        GatewayError: `audio-not-certified`: the certificate names no ears, and the model would read what they hear;
            or it names them, and the model would hear by itself; `ears-unknown`: what was chosen is elsewhere.
    """
    certified = offer.certificate.certificate.ears
    reads = bounds.passes_on == "transcript"
    # E1
    if reads and certified is None:
        raise GatewayError(
            NOT_CERTIFIED,
            "the certificate does not name what listened, so nothing that is spoken is served by it",
            facts={"model": offer.name, "certified": "no transcriber", "given": _chosen(offer)},
            hint="evaluate both models as `cascade:TRANSCRIBER+MODEL` and certify; or serve text alone",
        )
    if not reads and certified is not None:
        raise GatewayError(
            NOT_CERTIFIED,
            "the model was measured through a transcriber, and would hear the clips itself",
            facts={"model": offer.name, "certified": _in_words(certified)},
            hint='certify it under a policy with gateway.audio.passes_on = "transcript"',
        )
    # E2
    if reads and isinstance(offer.transcriber, TranscriberChoice) and offer.transcriber.is_remote:
        raise _unknown(offer, _chosen(offer))


def require_same_ears(offer: ModelConfig, found: ClipTranscriber, bounds: GatewayAudioPolicy) -> None:
    """
    Return when the files that a transcriber has loaded, what runs them and how they decode are the certified ones.

    Where the model hears by itself, anything may listen for the controls.

    Raises:
        GatewayError: `ears-unknown`: it does not say what it loaded; `ears-differ`: it loaded something else.
    """
    certified = offer.certificate.certificate.ears
    if bounds.passes_on != "transcript" or certified is None:
        return
    # E2
    if found.ears is None:
        raise _unknown(offer, found.name)
    # E3
    said = certified.differences(found.ears)
    if said or certified.digest != found.ears.digest:
        shown = {str(number): words for number, words in enumerate(said[:_SHOWN], start=1)}
        more = {"and more": len(said) - _SHOWN} if len(said) > _SHOWN else {}
        raise GatewayError(
            "ears-differ",
            "the transcriber is not the one that the model was certified with",
            facts={
                "model": offer.name,
                "certified": _in_words(certified),
                "on disk": _in_words(found.ears),
                **shown,
                **more,
            },
            hint="give the certified files and versions, or evaluate and certify with these",
        )


def _unknown(offer: ModelConfig, given: str) -> GatewayError:
    certified = offer.certificate.certificate.ears
    return GatewayError(
        "ears-unknown",
        "the transcriber shows no files, and the certificate names those that must listen",
        facts={
            "model": offer.name,
            "certified": _in_words(certified) if certified else "no transcriber",
            "given": given,
        },
        hint="run the certified files here: --transcriber whisper-tiny, or their folder",
    )


def _chosen(offer: ModelConfig) -> str:
    given = offer.transcriber
    return given.spec if isinstance(given, TranscriberChoice) else given.name if given else "none"


def _in_words(ears: EarsManifest) -> str:
    return f"{len(ears.files)} files sha256:{ears.digest}, {ears.engine}"


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
