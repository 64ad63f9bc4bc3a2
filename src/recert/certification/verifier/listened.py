"""What listened where requests were spoken: it must be named, and be what will listen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from recert.errors import VerificationError
from recert.policy import Policy, modality_of
from recert.records.live.transcriber import EarsManifest
from recert.records.reports.evaluation import EvalReport, RuleResult
from recert.records.signed.certificate import Certificate

AUDIO: Final = "audio"


def why_not_listened(
    ears: EarsManifest | None, results: Sequence[RuleResult], policy: Policy | None
) -> Iterator[str]:
    """
    Yield why what was measured by ear does not hold for what will listen: step 6.11 of `spec/verification.md`.

    Args:
        ears: what listened before the model, where it is named.
        results: what was measured.
        policy: where given, it says whether the model will read what a transcriber heard, or hear the clip itself.
    """
    spoken = any(modality_of(result.condition) == AUDIO for result in results)
    if ears is not None and not spoken:
        yield "a transcriber is named, and nothing was measured by ear"
    if policy is None or AUDIO not in policy.evaluation.modalities:
        return
    passes_on_clips = policy.gateway.audio is not None and policy.gateway.audio.passes_on == "clip"
    if passes_on_clips and ears is not None:
        yield "it was measured through a transcriber, and by the policy the model hears the clips itself"
    if spoken and ears is None and not passes_on_clips:
        yield "requests were spoken, and what listened is not named by its files"


def why_not_heard_alike(report: EvalReport, policy: Policy) -> Iterator[str]:
    """Yield why an evaluation by ear cannot be certified: `code: words`."""
    seen = {arm.ears_sha256 for arm in report.arms}
    if len(seen) > 1:
        yield "ears: both arms did not hear with the same ears"
    if report.ears is not None and seen != {report.ears.digest}:
        yield "ears: the arms heard with other ears than the report names"
    yield from (f"ears: {words}" for words in why_not_listened(report.ears, report.rules, policy))


def require_listened(certificate: Certificate, policy: Policy | str | None) -> None:
    """
    Return when what was measured by ear holds for what will listen: step 6.11 of `spec/verification.md`.

    Raises:
        VerificationError: `ears`.
    """
    whole = policy if isinstance(policy, Policy) else None
    reasons = tuple(why_not_listened(certificate.ears, certificate.results, whole))
    if reasons:
        raise VerificationError(
            "ears",
            "certificate does not hold for what is spoken",
            facts={str(number): words for number, words in enumerate(reasons, start=1)},
            hint="evaluate both models as `cascade:TRANSCRIBER+MODEL`, and certify; one that hears by itself needs a "
            'policy with gateway.audio.passes_on = "clip"',
        )
