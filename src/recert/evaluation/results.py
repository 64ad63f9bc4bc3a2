"""From measured tracks to what the report says of them: rule results, samples, redacted outcomes."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from recert.digest import canonical_json, sha256_bytes
from recert.evaluation.conditions import Condition
from recert.evaluation.runner import Runner, Track
from recert.evaluation.scoring import Pair
from recert.evaluation.sequential import confidence_sequence
from recert.interval import Interval
from recert.policy import EvaluationPolicy, Rule
from recert.records import CategoryCount, Outcome, RuleResult, Sample, Verdict

LIMITATIONS: Final = (
    "With placeholder payloads the harm measured is compliance with a harmful request: the first words of "
    "the reply agree or go on without refusing. How useful or how dangerous the content is was not measured.",
    "Replies were read up to the policy's number of tokens; what a model would say later was not seen.",
    "Rates hold for requests like those of the suites, in English, one turn, under the conditions named.",
    "A trigger that no condition contains is not found by this evaluation.",
    "The judges err at the rates in their notes; the intervals cover sampling, not the judges' error.",
)
"""What every report says of its own reach."""


def rule_result(track: Track, policy: EvaluationPolicy) -> RuleResult:
    """Return what was measured on one track, with anytime-valid intervals at 1 - 2 alpha."""
    decision = track.decision
    assert decision is not None
    rates = {
        "base": confidence_sequence([p.base for p in track.pairs], alpha=policy.alpha, low=0.0),
        "tuned": confidence_sequence([p.tuned for p in track.pairs], alpha=policy.alpha, low=0.0),
    }
    by_category: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for prompt, pair in zip(track.prompts, track.pairs, strict=False):
        by_category[prompt.category].append((pair.base, pair.tuned))
    return RuleResult(
        rule_id=track.rule_id,
        suite=track.rule.suite,
        condition=track.condition.name,
        estimand=track.rule.estimand,
        safeguards=track.condition.safeguards,
        **rates,
        change=confidence_sequence([p.change for p in track.pairs], alpha=policy.alpha),
        margin=track.rule.margin,
        max_tuned=track.rule.max_tuned,
        verdict=decision.verdict,
        reason=decision.reason if track.gates else f"control, not gated: {decision.reason}",
        unscored=sum(not p.scored for p in track.pairs),
        stopped_early=track.asked < min(policy.max_prompts, len(track.prompts)),
        categories=tuple(
            CategoryCount(
                category=name,
                n=len(pairs),
                base=round(sum(b for b, _ in pairs) / len(pairs), 6),
                tuned=round(sum(t for _, t in pairs) / len(pairs), 6),
            )
            for name, pairs in sorted(by_category.items())
        ),
    )


def unmeasured(rule: Rule, condition: Condition, policy: EvaluationPolicy, reason: str) -> RuleResult:
    """Return the result of a rule that could not be measured: unscored, with intervals as wide as can be."""
    level = 1 - 2 * policy.alpha
    rate = Interval(point=0, low=0, high=1, level=level, n=0)
    return RuleResult(
        rule_id=rule.id,
        suite=rule.suite,
        condition=condition.name,
        estimand=rule.estimand,
        safeguards=condition.safeguards,
        base=rate,
        tuned=rate,
        change=Interval(point=0, low=-1, high=1, level=level, n=0),
        margin=rule.margin,
        max_tuned=rule.max_tuned,
        verdict=Verdict.UNSCORED,
        reason=reason,
    )


def redacted(outcome: Outcome) -> Outcome:
    """Return an outcome without its reply where that was judged harmful or was not judged for harm."""
    return outcome.model_copy(update={"reply": shown_reply(outcome)})


def is_hidden(outcome: Outcome) -> bool:
    """Say whether a reply stays out of reports: judged harmful, or to be judged and not judged at all."""
    unjudged = "harm" not in outcome.scores and "over_refusal" not in outcome.scores
    return bool(outcome.reply) and (unjudged or outcome.scores.get("harm", 0.0) > 0)


def shown_reply(outcome: Outcome) -> str:
    """Return the reply as a report may show it."""
    if not is_hidden(outcome):
        return outcome.reply
    word = "judged harmful" if "harm" in outcome.scores else "not judged"
    return f"[redacted: {word}, sha256 {sha256_bytes(outcome.reply.encode('utf-8', 'replace'))}]"


def outcome_lines(outcomes: Sequence[Outcome]) -> bytes:
    """Return every outcome as one line of canonical JSON, harmful replies redacted, in order."""
    return b"".join(canonical_json(_value(redacted(o))) + b"\n" for o in outcomes)


def harmful_lines(outcomes: Sequence[Outcome]) -> bytes:
    """Return the outcomes whose replies reports leave out, whole, one line each."""
    return b"".join(canonical_json(_value(o)) + b"\n" for o in outcomes if is_hidden(o))


def _value(outcome: Outcome) -> dict[str, Any]:
    value = outcome.model_dump(mode="json", exclude_none=True)
    value["reply"] = outcome.reply.encode("utf-8", "replace").decode()
    return value


def samples(runner: Runner, policy: EvaluationPolicy) -> tuple[Sample, ...]:
    """Return random samples of each suite and condition: the user's words as asked, both replies as shown."""
    groups: dict[tuple[str, str, tuple[str, ...]], list[Pair]] = defaultdict(list)
    for (suite, condition, safeguards, _), pair in runner.pairs.items():
        groups[suite, condition, safeguards].append(pair)
    chosen = []
    for (suite, condition, safeguards), pairs in sorted(groups.items(), key=lambda group: group[0]):
        draw = random.Random(f"recert:samples:{policy.seed}:{suite}:{condition}")  # noqa: S311 - not for secrets
        for pair in draw.sample(pairs, min(policy.samples, len(pairs))):
            chosen.append(
                Sample(
                    condition=condition,
                    prompt_id=pair.prompt.id,
                    prompt=pair.asked,
                    base_reply=shown_reply(pair.base),
                    tuned_reply=shown_reply(pair.tuned),
                    suite=suite,
                    safeguards=safeguards,
                )
            )
    return tuple(chosen)
