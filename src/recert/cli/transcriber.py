"""From the name of a transcriber to what hears for models of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recert.errors import InputError

if TYPE_CHECKING:
    from recert.models.speech.transcribing import Transcriber
    from recert.policy import Policy


def load_transcriber(name: str, policy: Policy) -> Transcriber | None:
    """
    Return what hears for models of files under a policy; None where only text is served.

    Raises:
        InputError: the policy serves audio and no transcriber is named, or the other way round; or there is none such.
        MissingExtraError: it is not installed.
        ModelError: it cannot be loaded.
    """
    from recert.models.speech.transcribing import open_transcriber

    facts = {"policy": policy.id, "modalities": ", ".join(policy.evaluation.modalities)}
    if policy.evaluation.speaking is None:
        if name:
            raise InputError(
                "a transcriber is given, and the policy serves text alone",
                facts=facts,
                hint="leave --transcriber out, or serve audio too: [evaluation] modalities",
            )
        return None
    if not name:
        raise InputError(
            "the policy serves audio, and models of files read text alone",
            facts=facts,
            hint="say who hears for them: --transcriber whisper-tiny",
        )
    return open_transcriber(name)
