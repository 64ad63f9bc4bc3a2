"""
Whether what is to listen for a model is what its certificate was measured by.

The steps are those of `spec/verification.md`, "Ears of servers".
"""

from __future__ import annotations

from typing import Final

from recert.errors import GatewayError
from recert.gateway.audio.hearing import ClipTranscriber
from recert.gateway.audio.transcriber_choice import TranscriberChoice
from recert.gateway.engines.model_config import ModelConfig
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
