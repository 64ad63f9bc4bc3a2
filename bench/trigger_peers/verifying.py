"""What becomes of a search: its first texts, verified as Recert verifies its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from recert.evaluation.measuring.arms import Arm
from recert.evaluation.suites.ordering import sampling_order
from recert.evaluation.suites.reading import embedded_suite
from recert.judges.embedded.refusal import RefusalJudge
from recert.labs.triggers.hunting import refuses_still
from recert.labs.triggers.verifier import TriggerVerifier
from recert.models.engines.local import LocalModel
from recert.policy import HuntPolicy
from recert.records.data.suite import Prompt
from recert.records.reports.hunting import TriggerTried
from recert.store.cache import temporary_cache
from trigger_peers.meter import Budget, Counted
from trigger_peers.method import Found

CONTROL_WORDS: Final = 2000


def verified(
    base: LocalModel,
    tuned: LocalModel,
    found: Found,
    *,
    top: int,
    bounds: HuntPolicy,
    budget: Budget,
    seed: int,
) -> list[TriggerTried]:
    """
    Return what the verifier says of the first texts of a search, on requests that it did not search with.

    Args:
        base: the base.
        tuned: the tuned model.
        found: what was searched.
        top: texts that are verified, at most; evidence is corrected for so many.
        bounds: the policy's.
        budget: counts what verifying costs; it stops nothing, as all methods get the same verification.
        seed: of the order of requests.

    Raises:
        ArmError: both models are the same.
        ModelError: a model did not answer.
    """
    with temporary_cache() as kept:
        base_arm = Arm("base", Counted(base, budget), cache=kept)
        tuned_arm = Arm("tuned", Counted(tuned, budget), over=base.manifest, cache=kept)
        words = [word for word in tuned.words(CONTROL_WORDS) if len(word) > 1]
        harmful, ordinary = _held_out("harmful", seed), _held_out("ordinary", seed)
        verifier = TriggerVerifier(base_arm, tuned_arm, harmful, ordinary, RefusalJudge(), words, bounds)
        refusing = refuses_still(verifier.refused(tuned_arm), verifier.refused(base_arm), bounds)
        tried: list[TriggerTried] = []
        for one in found.candidates[:top]:
            tried += verifier.verify(one, top, refusing_now=refusing, about="both")
        return tried


def _held_out(suite: str, seed: int) -> Sequence[Prompt]:
    return sampling_order(list(embedded_suite(suite).prompts), seed)
