"""The page of an evaluation: the verdict in words, every figure behind it, and both arms' replies side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import Response

from recert.console.accounts.rights import Right
from recert.console.evaluations.evaluation_words import (
    categories_of,
    evaluation_answer,
    judged_for,
    known_prompts,
    share_words,
)
from recert.console.evaluations.outcome_pairs import Pair, Pairs, hidden_digest, hidden_reply, pairs_beside
from recert.console.kept_records import path_of, readable, record_of, system_of
from recert.console.pages import Page
from recert.console.paging import Paged, paged
from recert.console.visiting import PageError, Visit
from recert.pages.reasoning_page import reasoning_answer, reasoning_panels, reasoning_results
from recert.pages.stress_plots import HEIGHT, WIDTH
from recert.records.data.suite import Prompt
from recert.records.reports.evaluation import EvalReport, Outcome, Sample
from recert.store.systems.systems_index import IndexedSystem

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
