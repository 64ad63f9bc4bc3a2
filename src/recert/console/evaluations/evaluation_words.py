"""An evaluation in words, before any figure: what the verdict is, what it rests on, and what it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from recert.errors import RecertError
from recert.evaluation.suites.hierarchy import hierarchy_suite
from recert.evaluation.suites.reading import EMBEDDED, embedded_suite
from recert.pages import formatting
from recert.policy import stated
from recert.records.data.suite import Prompt
from recert.records.reports.evaluation import EvalReport, JudgeNote, RuleResult, Verdict

_WORST: Final = 3
_CHIPS: Final = {Verdict.PASS: "yes", Verdict.FAIL: "no"}


@dataclass(frozen=True)
class EvaluationAnswer:
    """What an evaluation came to: `kind` is the chip's colour, `yes`, `no`, or empty for neither."""

    kind: str
    chip: str
    what: str
    meaning: tuple[str, ...]


def evaluation_answer(report: EvalReport) -> EvaluationAnswer:
    """Return the verdict that decides, in words. Only `pass` is called within the policy."""
    verdict, rules = report.verdict, deciding(report)
    no_veto = stated(rules, report.limitations)
    not_passed = [rule for rule in rules if rule.verdict is not Verdict.PASS and rule not in no_veto]
    failed = [rule for rule in rules if rule.verdict is Verdict.FAIL]
    where = f"behind {', '.join(report.required_controls)}" if report.required_controls else "on its own"
    said = {
        Verdict.PASS: f"Within the policy: {where}, each of {len(rules) - len(no_veto)} results is "
        "shown to stay within its margin.",
        Verdict.FAIL: f"Outside the policy: {where}, {len(failed)} of {len(rules)} results are shown to be worse than "
        "the policy allows.",
        Verdict.UNDECIDED: f"Not decided: {len(not_passed)} of {len(rules)} results cannot be told on so few prompts. "
        "That is no pass.",
        Verdict.NO_BASELINE_SIGNAL: "The base does not refuse enough for a loss to be seen. That is no pass.",
        Verdict.UNSCORED: "Not everything that the policy asks for was judged. What was not judged never counts as "
        "safe, so that is no pass.",
    }
    return EvaluationAnswer(
        kind=_CHIPS.get(verdict, ""),
        chip=formatting.VERDICTS[verdict],
        what=said[verdict],
        meaning=tuple(
            filter(
                None,
                (_worst(failed or not_passed), *map(_already, no_veto), _alone(report), *_beside(report)),
            )
        ),
    )


def deciding(report: EvalReport) -> tuple[RuleResult, ...]:
    """Return the results that the verdict rests on: the rules, behind required controls if there are any."""
    behind = bool(report.required_controls)
    return tuple(
        rule
        for rule in report.rules
        if bool(rule.safeguards) == behind and not rule.rule_id.startswith("control:")
    )


def share_words(found: int | None, of: int | None, rate: float | None) -> str:
    """Return how often a judge is right on what it should find or pass over, or that nobody measured it."""
    if found is not None and of is not None:
        return f"{found} of {of}" + (f" ({formatting.rate(found / of)})" if of else "")
    return formatting.rate(rate) if rate is not None else "not measured"


def judged_for(note: JudgeNote) -> str:
    """Return what a judge looks for, in words."""
    return note.estimand.replace("_", " ") or "not said"


def known_prompts(report: EvalReport) -> dict[tuple[str, str], Prompt]:
    """Return the prompts whose texts are in hand, by suite and id: those of suites that come with Recert, unchanged."""
    ours = _embedded()
    found: dict[tuple[str, str], Prompt] = {}
    for name, digest in report.suites.items():
        for prompt in ours.get(digest, ()):
            found[name, prompt.id] = prompt
    return found


def categories_of(report: EvalReport) -> dict[tuple[str, str], str]:
    """Return the hazard category of prompts, by suite and id, as far as suites in hand and slices say it."""
    said = {
        (one.suite, prompt_id): one.category
        for one in report.slices
        if one.category
        for prompt_id in one.prompt_ids
    }
    return said | {key: prompt.category for key, prompt in known_prompts(report).items() if prompt.category}


@cache
def _embedded() -> dict[str, tuple[Prompt, ...]]:
    """Prompts by the digest of their suite."""
    try:
        ours = [*(embedded_suite(name) for name in EMBEDDED), hierarchy_suite()]
    except RecertError:  # pragma: no cover - a damaged installation has no texts to show
        return {}
    return {suite.digest: suite.every_prompt for suite in ours}


def _worst(rules: Sequence[RuleResult]) -> str:
    if not rules:
        return ""
    worst = sorted(rules, key=lambda rule: -rule.change.point)[:_WORST]
    return f"Worst of these: {'; '.join(map(_one, worst))}."


def _one(rule: RuleResult) -> str:
    about = rule.category.replace("_", " ") or rule.suite
    measured = f"{formatting.change(rule.change)} percentage points" if rule.change.n else "not measured"
    what = formatting.estimand(rule.estimand).partition(":")[0].lower()
    return f"{what} on {about}, asked {_asked(rule.condition)}: {measured}"


def _already(rule: RuleResult) -> str:
    return (
        f"The base already fails when asked {_asked(rule.condition)}: harm {formatting.rate(rule.base.point)}, and "
        f"{formatting.rate(rule.tuned.point)} after tuning. The verdict does not rest on that."
    )


def _asked(condition: str) -> str:
    return "plainly" if condition == "plain" else f"with {formatting.condition(condition)}"


def _alone(report: EvalReport) -> str:
    if not report.required_controls:
        return ""
    return f"The model alone is {formatting.VERDICTS[report.verdict_raw]}: it may be served behind these controls only."


def _beside(report: EvalReport) -> tuple[str, ...]:
    said = []
    if report.modalities:
        each = ", ".join(
            f"{name} {formatting.VERDICTS[one]}" for name, one in sorted(report.modalities.items())
        )
        said.append(f"By modality: {each}. Each must pass.")
    if report.trigger_search is not None:
        found = len(report.trigger_search.triggers)
        said.append(
            f"The search for triggers found {found}."
            if found
            else "The search for triggers found none within its budget."
        )
    if report.carried is not None:
        said.append(
            "Some results were measured on the model that this one was made of, and are marked below."
        )
    return tuple(said)
