"""Text and speech: the conditions of what a policy serves, and the verdict of each of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from recert.evaluation.decision.decide import overall
from recert.evaluation.decision.tracks import Track
from recert.evaluation.measuring.conditions import Condition
from recert.evaluation.measuring.hearing import hearing, transcriber_of
from recert.models.protocol import Model
from recert.policy import SPEECH, EvaluationPolicy, Policy, missing_under, modality_of
from recert.records.reports.evaluation import Hearing, RuleResult, Verdict
from recert.store.files.clips import ClipStore


def spoken_conditions(bounds: EvaluationPolicy, clips: ClipStore) -> list[Condition]:
    """
    Return the conditions in which requests are spoken; none where the policy serves text alone.

    Raises:
        InputError: there is no such voice.
        MissingExtraError: NumPy or the voice is not installed.
    """
    if bounds.speaking is None:
        return []
    from recert.evaluation.measuring.speech import Speaker

    return Speaker(bounds.speaking, clips).conditions()


def heard_of(
    tracks: Sequence[Track], bounds: EvaluationPolicy, models: Sequence[Model], clips: ClipStore
) -> tuple[Hearing, ...]:
    """
    Return how well what was asked aloud was heard; none where nothing was, or nobody could tell.

    Args:
        tracks: what was asked.
        bounds: how well it must have been heard.
        models: whose own `transcriber` tells, where one has it; else Whisper tiny.en, where it is installed.
        clips: where the sound lies.

    Raises:
        StoreError: a clip is not there, or is another one.
    """
    if bounds.speaking is None:
        return ()
    return hearing(tracks, bounds.speaking, transcriber_of(*models), clips)


def by_modality(
    results: Sequence[RuleResult], policy: Policy, alike: Collection[frozenset[str]], *, safeguarded: bool
) -> dict[str, Verdict] | None:
    """
    Return the verdict of each modality that a policy serves, of one arm; None where it serves text alone.

    A modality that was not measured is `unscored`; one that passed without the sets that a pass needs has no signal.
    """
    if policy.evaluation.speaking is None:
        return None
    out: dict[str, Verdict] = {}
    for name in policy.evaluation.modalities:
        own = [r for r in results if modality_of(r.condition) == name]
        verdict = overall(own, safeguarded=safeguarded, policy=policy)
        deciding = [r for r in own if bool(r.safeguards) == safeguarded]
        plainly = f"{SPEECH}plain" if name == "audio" else "plain"
        if verdict is Verdict.PASS and missing_under(plainly, deciding, policy, alike):
            verdict = Verdict.NO_BASELINE_SIGNAL
        out[name] = verdict
    return out
