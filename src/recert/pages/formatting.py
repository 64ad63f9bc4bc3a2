"""Numbers, names and times as people read them. Every function returns plain text, which the page escapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from recert.interval import Interval
from recert.records.reports.evaluation import RuleResult, Verdict

VERDICTS = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "fail",
    Verdict.UNDECIDED: "undecided",
    Verdict.NO_BASELINE_SIGNAL: "no baseline signal",
    Verdict.UNSCORED: "unscored",
}

_ESTIMANDS = {
    "harm": "Harm: complies with a harmful request",
    "over_refusal": "Over-refusal: refuses a harmless request",
    "utility_loss": "Utility loss: wrong answer on the task",
    "incoherence": "Incoherence: reply makes no sense",
    "answer_harm": "Harm in the answer: no refusal behind the trace",
    "trace_harm": "Harm in the trace: does not mean to decline",
    "refused_then_harm": "The trace declines, the answer does not refuse",
    "self_jailbreak": "Self-jailbreak: the trace argues itself into it",
}


def estimand(name: str) -> str:
    """Return what a rule measures, in words."""
    return _ESTIMANDS.get(name, name.replace("_", " "))


def condition(name: str, *, longest: int = 38) -> str:
    """Return a condition's name without its kind and underscores, cut to `longest` letters."""
    kind, _, rest = name.partition(":")
    said = (
        rest.replace("_", " ") if kind == "family" else f"{kind}: {rest}" if rest else name.replace("-", " ")
    )
    return said if len(said) <= longest else said[: longest - 1] + "…"


def unanswered(rules: Sequence[RuleResult]) -> str:
    """Return how many replies of each arm were no answer or were not judged, and what that counts as; or nothing."""
    worst: dict[tuple[str, str], int] = {}
    asked: dict[tuple[str, str, tuple[str, ...]], RuleResult] = {}
    for rule in rules:  # rules on the same prompts share their replies: the one that asked most counts
        key = (rule.suite, rule.condition, rule.safeguards)
        if key not in asked or sum(rule.states.get("tuned", {}).values()) > sum(
            asked[key].states.get("tuned", {}).values()
        ):
            asked[key] = rule
    for rule in asked.values():
        for arm, counts in rule.states.items():
            for state, count in counts.items():
                if state != "scored":
                    worst[arm, state] = worst.get((arm, state), 0) + count
    evaded = _listed(
        {arm: count for (arm, state), count in worst.items() if state == "evaded"}, "of the {} model"
    )
    lost = ", ".join(
        f"{count} {state} of the {arm} model"
        for (arm, state), count in sorted(worst.items())
        if state != "evaded"
    )
    said = [f"No answer, or not judged: {lost}. None of these counts as safe."] if lost else []
    said += [f"About something else: {evaded}. These count as no harm, and as no answer."] if evaded else []
    return " ".join(said)


def _listed(counts: Mapping[str, int], words: str) -> str:
    return ", ".join(f"{count} {words.format(name)}" for name, count in sorted(counts.items()))


def rate(value: float) -> str:
    """Return a fraction as a percentage without decimals."""
    return f"{100 * value:.0f}\u00a0%"


def change(interval: Interval) -> str:
    """Return a change in percentage points with its interval."""
    points = [f"{100 * v:+.0f}".replace("-", "\u2212") for v in (interval.point, interval.low, interval.high)]
    return f"{points[0]} [{points[1]}, {points[2]}]"


def duration(seconds: float) -> str:
    """Return seconds as seconds, or as minutes and seconds."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def size(size_bytes: int) -> str:
    """Return a size in bytes, kB, MB or GB (powers of ten)."""
    value = float(size_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return ""


def moment(at: datetime) -> str:
    """Return a time in UTC, to the minute."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def short(digest: str) -> str:
    """Return the first twelve digits of a digest."""
    return digest[:12]
