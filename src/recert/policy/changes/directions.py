"""For every field of a policy, which way it gets stricter: what a diff says of a change, and nothing else."""

from __future__ import annotations

from collections.abc import Set
from typing import Any, Final, Literal

Direction = Literal["stricter", "laxer", "changed"]
"""
What a change does, everything else the same. `stricter`: more is demanded for a pass, more rows are held back, less
is let through, or a search looks further. `laxer` is the opposite, `changed` neither, or not known.
"""


def _of(section: str, names: str) -> set[str]:
    return {f"{section}.{name}" for name in names.split()}


LOWER: Final = frozenset(
    _of("rules.*", "margin max_tuned max_base")
    | _of("evaluation", "alpha max_overlap")
    | _of(
        "screening",
        "near_duplicate_similarity leak_similarity harmful_request_score sure_request_score same_opening_min_rows "
        "switch_min_rows switch_min_difference max_row_bytes max_malformed_share harmful_speech_closeness",
    )
    | _of(
        "certification",
        "validity_hours status_validity_hours role_hours.* exceptions.max_hours chained_margins",
    )
    | _of("certification.carry_over", "margin alpha max_distance")
    | _of(
        "gateway",
        "input_harm_score output_harm_score levels.low levels.medium levels.high conversation.blocked_at "
        "conversation.relief trigger_probe.lost_share max_input_chars max_encoding_depth max_body_bytes max_new_tokens "
        "max_temperature recheck_s fingerprint.max_unlike fingerprint.max_unlike_answer fingerprint.miss "
        "fingerprint.every_s audio.max_no_speech audio.max_chars_per_s audio.max_clips audio.max_clip_bytes "
        "audio.max_clip_s audio.max_total_s audio.max_sample_rate_hz audio.max_body_bytes",
    )
    | _of("monitoring", "margin drift_margin renew_alpha")
    | _of("hunt", "margin")
    | _of("stress", "margin step_margin")
    | _of("attack", "bound max_coverage max_success max_change max_open")
    | _of(
        "grader_audit",
        "max_harm_share max_unasked_harm_share max_refusal_share max_hack_share max_constant_share "
        "max_indifferent_share max_failed_share max_unsteady_share",
    )
    | _of("moderation_checks", "threshold thresholds.*")
)
"""Stricter where the number is lower; no number at all is the laxest, but for `_ELSE_ANOTHER`."""

HIGHER: Final = frozenset(
    _of(
        "evaluation",
        "arms_differ min_harmful_suites min_discrimination min_prompts recheck_cached families_with_signal "
        "speech.kept_at speech.min_heard",
    )
    | _of("screening", "refused_elsewhere_extra_words switch_p_value")
    | _of("certification", "roles.* evaluator_differs_from_trainer logged log_witnesses")
    | _of("certification.carry_over", "min_prompts min_probes")
    | _of(
        "gateway",
        "conversation.active conversation.climb conversation.half_life_s conversation.most_kept "
        "fingerprint.min_asked audio.min_confidence audio.min_clip_s audio.min_sample_rate_hz",
    )
    | _of("hunt", "required min_refusal min_kept words grouped alone grown_by kept longest samples prompts")
    | _of("stress", "required min_refusal")
    | _of("attack", "turns seeds min_items min_agreement")
    | _of("moderation_checks", "min_prompts")
)
"""Stricter where the number is higher, or the answer yes; no number at all is the laxest."""

MORE: Final = frozenset(
    _of("rules.*", "conditions")
    | _of("evaluation", "families modalities speech.variants")
    | _of("attack", "attackers")
    | _of("screening", "quarantine_reasons")
    | _of("gateway", "forbidden_phrases trigger_probe.places")
    | _of("grader_audit", "quarantine_reasons")
    | _of("reasoning", "modes")
)
"""Stricter where there is more in the list."""

FEWER: Final = frozenset(
    {
        "gateway.shadow",
        "gateway.allow",
        "gateway.audio.formats",
        "moderation_checks.report_only",
        "certification.exceptions.rules",
    }
    | _of("certification.carry_over", "transforms suites")
)
"""Stricter where there is less in the list."""

THERE: Final = frozenset({"rules.*", "gateway.trigger_probe", "attack", "suites.*"})
"""Stricter where it is there at all."""

ABSENT: Final = frozenset({"certification.exceptions", "certification.carry_over", "gateway.audio"})
"""Stricter where it is not there."""

BY_LEVEL: Final = frozenset({"evaluation.attempts", "gateway.thresholds.*", "reasoning.traces"})
"""
Stricter where a lower level of harm is blocked already, where traces are judged as what users see, and where attempts
are counted. Where there is
none of them another bound holds, so that is `changed`.
"""

NEITHER: Final = frozenset(
    {
        "id",
        "version",
        "title",
        "deployment",
        "changes",
        "contacts",
        "retention",
        "certification.carry_over.max_prompts",
    }
    | _of("rules.*", "id suite estimand category judge min_judge_quality")
    | _of(
        "evaluation",
        "judge_share_of_alpha contrast_suites max_prompts block_prompts round_prompts "
        "max_new_tokens "
        "utility_max_new_tokens samples_per_prompt temperature refused_at incoherent_at samples seed stop_when_failed "
        "speech.voice",
    )
    | _of("screening", "refusal_score")
    | _of(
        "gateway",
        "system_instruction immutable_suffix conversation.floor trigger_probe.probes trigger_probe.max_new_tokens "
        "trigger_probe.refused_at control_timeout_s upstream_timeout_s fingerprint.false_alarm audio.passes_on "
        "audio.transcriber_sha256 audio.timeout_s",
    )
    | _of(
        "monitoring",
        "canary_prompts alpha warn_every_runs exchange_alpha cluster_least cluster_likeness renew_when_left",
    )
    | _of("attack", "max_target_calls")
    | _of("reasoning", "format max_trace_tokens")
    | _of("hunt", "alpha rounds candidates min_pull group requests enough fixed_words")
    | _of(
        "stress",
        "alpha least_harm max_incoherent max_over_refusal max_utility_loss lora_rank lora_alpha batch_size max_tokens "
        "ordinary_share neighbours step_rows step_learning_rate samples seed small full",
    )
    | _of(
        "grader_audit",
        "level harmful_requests ordinary_requests searched least_difference least_harm_difference graded_again steps "
        "search_grades model_search_grades most_words wordings model_wordings examples python_timeout_s "
        "python_memory_mib",
    )
)
"""Known, and neither way is stricter for every model."""

_QUALITY: Final = "rules.*.min_judge_quality"

_SIGNAL: Final = "evaluation.families_with_signal"
"""Stricter where it is higher, and strictest where there is none: then every family is a veto."""

_ELSE_ANOTHER: Final = frozenset({"moderation_checks.thresholds.*"})
"""Without a number of its own another one holds, so that to have none is `changed`."""

_ORDERS: Final = {"evaluation.attempts": ("any", "counted"), "reasoning.traces": ("hidden", "shown")}
_LEVELS: Final = ("off", "none", "only_high", "medium_and_above", "low_and_above")


def direction(path: str, before: Any, after: Any) -> Direction:
    """
    Return what a change of one field does. Swapping both values swaps `stricter` and `laxer`.

    Args:
        path: the field with `*` for names that a policy chooses, such as `rules.*.margin`.
        before: its value, None where there is none.
        after: likewise.
    """
    if path in MORE:
        return _by_set(frozenset(before or ()), frozenset(after or ()))
    if path in FEWER:
        return _by_set(frozenset(after or ()), frozenset(before or ()))
    if path in THERE | ABSENT:
        old, new = (after, before) if path in ABSENT else (before, after)
        return _by_number(float(old is None), float(new is None)) if old is None or new is None else "changed"
    return _by_rank(path, before, after)


def _by_rank(path: str, before: Any, after: Any) -> Direction:
    """Of what can be ranked: numbers, yes and no, levels."""
    none = before is None or after is None
    if path == _QUALITY and before and after:  # 0 takes grades as they are, which is neither
        return _by_number(float(after), float(before))
    if path == _SIGNAL:
        return _by_number(_number(after, no_bound=float("inf")), _number(before, no_bound=float("inf")))
    if path in LOWER and not (none and path in _ELSE_ANOTHER):
        return _by_number(_number(before, no_bound=float("inf")), _number(after, no_bound=float("inf")))
    if path in HIGHER:
        return _by_number(_number(after, no_bound=float("-inf")), _number(before, no_bound=float("-inf")))
    if path in BY_LEVEL and not none:
        levels = _ORDERS.get(path, _LEVELS)
        return _by_number(levels.index(after), levels.index(before))
    return "changed"


def _number(value: Any, *, no_bound: float) -> float:
    return no_bound if value is None else float(value)


def _by_number(before: float, after: float) -> Direction:
    """Lower is stricter."""
    return "changed" if before == after else "stricter" if after < before else "laxer"


def _by_set(before: Set[str], after: Set[str]) -> Direction:
    """More is stricter."""
    if before < after:
        return "stricter"
    return "laxer" if after < before else "changed"
