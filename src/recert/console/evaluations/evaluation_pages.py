"""
The page of an evaluation: the verdict in words, every figure behind it, and both arms' replies side by side.

Here too: an evaluation in words, before any figure: what the verdict is, what it rests on, and what it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from starlette.responses import Response

from recert.console.accounts.rights import Right
from recert.console.evaluations.outcome_pairs import Pair, Pairs, hidden_digest, hidden_reply, pairs_beside
from recert.console.kept_records import path_of, readable, record_of, system_of
from recert.console.pages import Page
from recert.console.paging import Paged, paged
from recert.console.visiting import PageError, Visit
from recert.errors import RecertError
from recert.evaluation.suites.hierarchy import hierarchy_suite
from recert.evaluation.suites.reading import EMBEDDED, embedded_suite
from recert.pages import formatting
from recert.pages.reasoning_page import reasoning_answer, reasoning_panels, reasoning_results
from recert.pages.stress_plots import HEIGHT, WIDTH
from recert.policy import stated
from recert.records.data.suite import Prompt
from recert.records.reports.evaluation import EvalReport, JudgeNote, Outcome, RuleResult, Sample, Verdict
from recert.store.systems.systems_index import IndexedSystem

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


PATH: Final = "/systems/{id}/evaluation"
EACH: Final = 10
"""Pairs on one page."""
_NOTHING: Final = "The outcomes are not beside the report, so there are no examples to show."
_OTHERS: Final = (
    "The outcomes beside the report are not those that it names by digest, so none of them is shown: restore the file "
    "that was written with it."
)
_CHANGES: Final = ("worse", "better", "same", "not judged")


@dataclass(frozen=True)
class Example:
    """One pair with its texts, as they may be shown."""

    pair: Pair
    category: str
    asked: str
    """What was asked, where it is in hand; else empty."""
    as_asked: bool
    """Whether that is word for word; else it is the prompt, which the condition rewrote."""
    arms: tuple[tuple[str, int, Outcome | None, str | None], ...]
    """Name, place in the file, reply, and digest of what was redacted."""


def shown(visit: Visit) -> Response:
    """Return the page of a system's evaluation."""
    system = system_of(visit)
    report = record_of(visit, system, "evaluation", EvalReport)
    pairs = _pairs(visit, system)
    told = _told(pairs, report)
    examples = _examples(visit, report, pairs) if pairs is not None and not told else None
    return visit.page(
        "evaluation.html.j2",
        title=f"Evaluation of {system.name}",
        system=system,
        report=report,
        page={"name": system.name},
        seen=report,
        answer=evaluation_answer(report),
        judges=[(note, judged_for(note), *_errors(note)) for note in report.judges],
        reasoning=_reasoning(report),
        examples=examples,
        no_examples=told,
        outcomes_sha256=pairs.sha256 if pairs else "",
        width=WIDTH,
        height=HEIGHT,
    )


def revealed(visit: Visit) -> Response:
    """Return one reply that was redacted. The look is logged before the text is read."""
    system = system_of(visit)
    report = record_of(visit, system, "evaluation", EvalReport)
    path = path_of(visit, system, "evaluation")
    pairs = _pairs(visit, system)
    if pairs is None or _told(pairs, report):
        visit.missing(_told(pairs, report))
    if visit.form.get("outcomes") != pairs.sha256:
        raise PageError(
            "the outcomes are others than those that were shown", status=409, hint="open the page again"
        )
    at = _place(visit, pairs)
    outcome = readable("outcomes", lambda: pairs.outcome(at))
    digest = hidden_digest(outcome)
    if digest is None:
        raise PageError("this reply is not redacted", status=400, hint="it stands on the page itself")
    visit.act(
        "revealed",
        system=system.id,
        report=report.digest,
        suite=outcome.suite,
        condition=outcome.condition,
        prompt=outcome.prompt_id,
        arm=outcome.arm,
        sample=outcome.sample,
        sha256=digest,
    )
    text = readable("harmful replies", lambda: hidden_reply(path, outcome))
    return visit.page(
        "revealed.html.j2",
        title="One reply that was redacted",
        system=system,
        back=f"/console/systems/{system.id}/evaluation",
        about=[
            ("Prompt", outcome.prompt_id),
            ("Suite", outcome.suite),
            ("Condition", outcome.condition),
            (
                "Model",
                f"{outcome.arm}{' behind ' + ', '.join(outcome.safeguards) if outcome.safeguards else ''}",
            ),
            (
                "Scores",
                ", ".join(f"{name} {value:g}" for name, value in sorted(outcome.scores.items())) or "none",
            ),
        ],
        sha256=digest,
        text=text,
        because="No text with this digest is beside the evaluation: `harmful-replies.jsonl` was not kept with it, or "
        "is not the one that was written with it. Nothing can be shown.",
    )


def _pairs(visit: Visit, system: IndexedSystem) -> Pairs | None:
    path = path_of(visit, system, "evaluation")
    return readable("file of outcomes", lambda: pairs_beside(path))


def _told(pairs: Pairs | None, report: EvalReport) -> str:
    """Why there are no examples; empty where there are."""
    if pairs is None:
        return _NOTHING
    return "" if pairs.sha256 == report.outcomes_sha256 else _OTHERS


def _place(visit: Visit, pairs: Pairs) -> int:
    """Where the asked line begins; only a line that is one of a pair is read."""
    given = visit.form.get("at", "")
    at = (
        int(given)
        if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) < 16
        else -1
    )
    if not any(at in (pair.base_at, pair.tuned_at) for pair in pairs.pairs):
        visit.missing("there is no such reply in this evaluation")
    return at


def _examples(visit: Visit, report: EvalReport, pairs: Pairs) -> Mapping[str, Any]:
    categories, prompts = categories_of(report), known_prompts(report)
    chosen = {name: visit.query.get(name, "") for name in ("suite", "condition", "category", "change")}
    found = [pair for pair in pairs.pairs if _wanted(pair, categories, chosen)]
    part = paged(visit, found, each=EACH)
    samples = {(s.suite, s.condition, s.safeguards, s.prompt_id): s for s in report.samples}
    return {
        "chosen": chosen,
        "choices": {
            "suite": pairs.suites,
            "condition": pairs.conditions,
            "category": sorted({categories.get(prompt, "") for prompt in pairs.prompts} - {""}),
            "change": [one for one in _CHANGES if one in pairs.changes],
        },
        "all": len(pairs.pairs),
        "part": part,
        "items": readable("outcomes", lambda: list(_read(part, pairs, categories, prompts, samples))),
    }


def _wanted(pair: Pair, categories: Mapping[tuple[str, str], str], chosen: Mapping[str, str]) -> bool:
    key, (suite, condition, category, change) = pair.key, chosen.values()
    return (
        (not suite or suite == key.suite)
        and (not condition or condition == key.condition)
        and (
            not change
            or change == pair.change
            or (change == "changed" and pair.change in ("worse", "better"))
        )
        and (not category or category == categories.get((key.suite, key.prompt_id), ""))
    )


def _read(
    part: Paged[Pair],
    pairs: Pairs,
    categories: Mapping[tuple[str, str], str],
    prompts: Mapping[tuple[str, str], Prompt],
    samples: Mapping[tuple[str, str, tuple[str, ...], str], Sample],
) -> Iterator[Example]:
    for pair in part.items:
        key = pair.key
        sample = samples.get((key.suite, key.condition, pair.safeguards, key.prompt_id))
        prompt = prompts.get((key.suite, key.prompt_id))
        arms = []
        for name, at in (("base", pair.base_at), ("tuned", pair.tuned_at)):
            outcome = pairs.outcome(at) if at is not None else None
            arms.append((name, at or 0, outcome, hidden_digest(outcome) if outcome else None))
        yield Example(
            pair,
            categories.get((key.suite, key.prompt_id), ""),
            sample.prompt if sample else prompt.text if prompt else "",
            sample is not None or key.condition == "plain",
            tuple(arms),
        )


def _errors(note: Any) -> tuple[str, str]:
    if note.exact:
        return "exact", "exact"
    return (
        share_words(note.true_positives, note.positives, note.sensitivity),
        share_words(note.true_negatives, note.negatives, note.specificity),
    )


def _reasoning(report: EvalReport) -> Mapping[str, Any] | None:
    results = reasoning_results(report)
    if not results:
        return None
    return {"answer": reasoning_answer(report), "panels": reasoning_panels(report), "results": results}


PAGES: Final = (
    Page("GET", PATH, Right.READ, shown, sharable=True),
    Page("POST", f"{PATH}/reveal", Right.REVEAL, revealed),
)
