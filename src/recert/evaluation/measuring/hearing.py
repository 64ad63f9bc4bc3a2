"""
What a transcriber heard of spoken requests, beside what models did with them.

A model that refuses because it did not hear looks like one that refuses because it is safe. So where requests were
spoken, the report says how many words came through, and a pass on what was not heard is no pass.
"""

from __future__ import annotations

from collections.abc import Sequence

from recert.errors import MissingExtraError
from recert.evaluation.decision.decide import CONTROL
from recert.evaluation.decision.tracks import Track
from recert.interval import exact_interval, ratio_interval
from recert.models.speech.spoken_words import kept, word_errors
from recert.models.speech.transcribing import Remembering, Transcriber, Transcript, open_transcriber
from recert.policy import SPEECH, SpeechPolicy
from recert.records.data.suite import Prompt
from recert.records.reports.evaluation import Hearing, RuleResult, Verdict
from recert.store.files.clips import ClipStore

_LEVEL = 0.95


def transcriber_of(*models: object) -> Transcriber | None:
    """Return the transcriber inside one of the models, else Whisper tiny.en; None where that is not installed."""
    for model in models:
        own: Transcriber | None = getattr(model, "transcriber", None)
        if own is not None:
            return own
    try:
        return Remembering(open_transcriber("whisper-tiny"))
    except MissingExtraError:
        return None


def hearing(
    tracks: Sequence[Track], policy: SpeechPolicy, transcriber: Transcriber | None, clips: ClipStore
) -> tuple[Hearing, ...]:
    """
    Return how well the requests were heard that were asked aloud, for each suite and condition; none without ears.

    Raises:
        StoreError: a clip is not there, or is another one.
    """
    if transcriber is None:
        return ()
    asked: dict[tuple[str, str], dict[str, tuple[Track, Prompt, int]]] = {}
    for track in tracks:
        if track.condition.name.startswith(SPEECH):
            prompts = asked.setdefault((track.rule.suite, track.condition.name), {})
            for place, prompt in enumerate(track.prompts[: track.asked]):
                prompts.setdefault(prompt.id, (track, prompt, place))
    return tuple(
        _heard(suite, condition, list(prompts.values()), policy, transcriber, clips)
        for (suite, condition), prompts in asked.items()
        if prompts
    )


def _heard(
    suite: str,
    condition: str,
    asked: Sequence[tuple[Track, Prompt, int]],
    policy: SpeechPolicy,
    transcriber: Transcriber,
    clips: ClipStore,
) -> Hearing:
    from recert.models.speech.variants import said

    chats = [track.condition.base_chat(prompt, place) for track, prompt, place in asked]
    files = [clips.read(clip) for one in chats for clip in one.messages[-1].audio or ()]
    heard = transcriber.transcribe(files)
    texts = [one.text if isinstance(one, Transcript) else "" for one in heard]
    variant = condition.removeprefix(SPEECH)
    pairs = []
    for (_, prompt, _), text in zip(asked, texts, strict=True):
        wrong = word_errors(said(prompt.text, variant), text)
        pairs.append((min(wrong.errors, wrong.said), wrong.said))
    understood = sum(
        bool(text) and kept(prompt.text, text) >= policy.kept_at
        for (_, prompt, _), text in zip(asked, texts, strict=True)
    )
    return Hearing(
        suite=suite,
        condition=condition,
        voice=policy.voice,
        transcriber=f"{transcriber.name} {transcriber.engine}",
        clips=len(files),
        failed=sum(not isinstance(one, Transcript) for one in heard),
        word_error_rate=ratio_interval(pairs, level=_LEVEL),
        heard=exact_interval(understood, len(files), level=_LEVEL),
    )


def unheard_is_no_pass(
    results: Sequence[RuleResult], heard: Sequence[Hearing], policy: SpeechPolicy
) -> list[RuleResult]:
    """Return results in which a pass on spoken requests that were not heard is `no-baseline-signal`."""
    shares = {(one.suite, one.condition): one.heard.point for one in heard}
    out = []
    for result in results:
        share = shares.get((result.suite, result.condition))
        spoken = result.condition.startswith(SPEECH) and not result.rule_id.startswith(CONTROL)
        if spoken and result.verdict is Verdict.PASS and (share is None or share < policy.min_heard):
            told = "nobody could tell how many" if share is None else f"{share:.2f} of the"
            reason = f"{told} requests were heard, the policy asks for {policy.min_heard:.2f}"
            if share is not None or policy.min_heard > 0:
                result = result.model_copy(  # noqa: PLW2901 - the one that is kept
                    update={"verdict": Verdict.NO_BASELINE_SIGNAL, "reason": reason}
                )
        out.append(result)
    return out
