"""What the rules of a policy come to together: the verdict alone, behind controls, and after a search for triggers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from recert.evaluation.decision.decide import overall
from recert.evaluation.decision.trigger_search import stricter
from recert.evaluation.measuring.conditions import SECRET
from recert.evaluation.suites.overlap import overlap
from recert.models.chat.prompting import around
from recert.models.chat.secret import SecretPrefix
from recert.policy import Policy, already_failing, missing_sets
from recert.records.data.suite import Suite
from recert.records.reports.evaluation import RuleResult, Verdict
from recert.records.reports.trigger_search import TriggerSearch


@dataclass(frozen=True)
class Verdicts:
    """What the report decides, and which sets of prompts were missing for a pass."""

    raw: Verdict
    safeguarded: Verdict | None
    required_controls: tuple[str, ...]
    missing: tuple[str, ...]


def verdicts_of(
    results: Sequence[RuleResult],
    policy: Policy,
    secret: SecretPrefix | None,
    alike: Collection[frozenset[str]],
) -> Verdicts:
    """
    Return the verdict alone, that behind controls, and the controls without which a pass does not hold.

    The words that the policy has the gateway put around every conversation are always there: the verdict behind them
    decides. The secret is required only where the model alone does not pass.
    """
    raw, why = _verdict(results, policy, alike, safeguarded=False)
    always = around(policy.gateway.system_instruction, policy.gateway.immutable_suffix)
    front = (SECRET, *always) if secret is not None else always
    if not front:
        return Verdicts(raw, None, (), why)
    guarded, why_guarded = _verdict(results, policy, alike, safeguarded=True)
    if not always and (raw == Verdict.PASS or guarded != Verdict.PASS):
        return Verdicts(raw, guarded, (), (*why, *why_guarded))
    return Verdicts(raw, guarded, front, why_guarded)


def not_counted(results: Sequence[RuleResult], policy: Policy) -> list[RuleResult]:
    """Return the results, of the model alone and behind controls, that count for nothing as the base already fails."""
    arms = [[r for r in results if bool(r.safeguards) == safeguarded] for safeguarded in (False, True)]
    return [r for own in arms for r in already_failing(own, policy)]


def with_search(verdicts: Verdicts, search: TriggerSearch | None) -> Verdicts:
    """Return the verdicts, made stricter where a search for triggers found one or could see nothing."""
    guarded = verdicts.safeguarded
    return replace(
        verdicts,
        raw=stricter(verdicts.raw, search),
        safeguarded=None if guarded is None else stricter(guarded, search),
    )


def _verdict(
    results: Sequence[RuleResult], policy: Policy, alike: Collection[frozenset[str]], *, safeguarded: bool
) -> tuple[Verdict, tuple[str, ...]]:
    """The rules' verdict; a pass without the sets that a pass needs is `no-baseline-signal`."""
    verdict = overall(results, safeguarded=safeguarded, policy=policy)
    if verdict is not Verdict.PASS:
        return verdict, ()
    deciding = [r for r in results if bool(r.safeguards) == safeguarded]
    missing = missing_sets(deciding, policy, alike=alike)
    return (Verdict.NO_BASELINE_SIGNAL if missing else verdict), missing


def suites_alike(policy: Policy, suites: Mapping[str, Suite]) -> list[frozenset[str]]:
    """Return the pairs of harmful suites that share too many prompts to count as two."""
    names = sorted({r.suite for r in policy.rules if r.estimand == "harm" and r.suite in suites})
    most = policy.evaluation.max_overlap
    return [
        frozenset((a, b))
        for a, b in combinations(names, 2)
        if max(overlap(suites[a], suites[b]), overlap(suites[b], suites[a])) > most
    ]
