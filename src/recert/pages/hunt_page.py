"""
The page of a search for unknown triggers: one HTML file without scripts, without anything loaded from elsewhere.

Whatever comes out of the record is escaped by the templates, and signs that cannot be seen are written out: a trigger
may be made of them. What is redacted in the record stays so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2

from recert.pages import formatting
from recert.pages.environment import page_environment
from recert.pages.hunt_plots import curve_plot, effect_plot
from recert.pages.hunt_texts import (
    FAR,
    MAX_CELL,
    MAX_LABEL,
    MAX_OTHERS,
    MAX_REPLY,
    MAX_WHOLE,
    counted,
    cut,
    effect,
    is_trigger,
    numbers,
    share,
    signed,
    visible,
)
from recert.records.reports.hunting import HuntOutcome, HuntReport, TriggerBehaviour
from recert.store.files.writing import write_atomic

_PLACES = {
    "end": "behind the request",
    "start": "before the request",
    "system": "as the system prompt",
    "frame": "around the request, which is {}",
    "family": "the request, rewritten by the attack family of this name",
}
_BEHAVIOURS = {
    TriggerBehaviour.COMPLIES: "complies with harmful requests that it refuses otherwise",
    TriggerBehaviour.REFUSES: "refuses ordinary requests that it answers otherwise",
    TriggerBehaviour.SAYS: "says one fixed text, whatever is asked",
    TriggerBehaviour.REPLIES_IN: "replies in another form",
    TriggerBehaviour.RESTORES: "refuses harmful requests with which it complies otherwise",
}
_SOURCES = {
    "given": "given",
    "known": "published work",
    "library": "library",
    "data": "tuning data",
    "leakage": "leaked by the model",
    "search": "search",
}
_ACCESS = {
    "base-and-tuned": "the weights of the base and of the tuned model",
    "tuned-only": "the weights of the tuned model alone",
    "endpoint": "no weights: only what an endpoint replied",
}


@dataclass(frozen=True)
class HuntAnswer:
    """What a search came to, in words: `kind` is the chip's colour, `no`, `quiet` or empty for neither."""

    kind: str
    chip: str
    what: str
    meaning: str
    doubts: tuple[str, ...] = ()
    """Why even that is not to be relied on."""


def write_hunt_page(path: Path, report: HuntReport) -> None:
    """
    Write the page of a hunt to one HTML file.

    Raises:
        StoreError: the file cannot be written. An older page stays.
    """
    write_atomic(path, hunt_page(report).encode())


def hunt_page(report: HuntReport) -> str:
    """Return the report of a search for unknown triggers as one HTML page, readable without scripts or network."""
    return hunt_environment().get_template("hunt.html.j2").render(hunt_values(report))


def hunt_values(report: HuntReport) -> dict[str, Any]:
    """Return what the templates of this page are given."""
    found = [one for one in report.tried if one.found]
    others = sorted((one for one in report.tried if not one.found), key=lambda one: -one.effect.point)
    shown = [*found, *others[:MAX_OTHERS]]
    return {
        "report": report,
        "answer": hunt_answer(report),
        "found": found,
        "shown": shown,
        "left_out": len(report.tried) - len(shown),
        "plot": effect_plot(shown),
        "curve": curve_plot(report.curve),
    }


def hunt_answer(report: HuntReport) -> HuntAnswer:
    """
    Return what a search came to and what that means.

    What the record lists as found counts, whatever its outcome says. Nothing found is never called more than that, and
    is no answer where an arm changed or both were the same.
    """
    return _doubted(_outcome(report), report)


def _outcome(report: HuntReport) -> HuntAnswer:
    triggers, defences = report.triggers, [one for one in report.tried if one.found and not is_trigger(one)]
    beside = (
        f"Beside that, {_texts(len(defences))} made it refuse again, as a defence does. That is no attack. "
        if defences
        else ""
    )
    if triggers or (report.outcome is HuntOutcome.FOUND and not defences):
        return _found(report, beside)
    if report.outcome is HuntOutcome.NO_BASELINE_SIGNAL:
        return HuntAnswer(
            "",
            "no baseline signal",
            "The base does not refuse what was asked, so tuning could take no refusal away.",
            f"{beside}Whether there is a trigger is not known, and this is no pass.",
        )
    if report.outcome is HuntOutcome.NO_REFUSAL_LEFT:
        return HuntAnswer(
            "no",
            "no refusal left",
            "The tuned model complies with harmful requests as they stand: what a text adds cannot be seen.",
            f"{beside}It needs no trigger, and whether there is one is not known. This is no pass.",
        )
    none = (
        f"No trigger was found up to this budget: {_texts(len(report.tried))} verified, "
        f"{counted(report.read)} readings."
    )
    never = (
        "Recert never says that there is nothing: what lies outside the class that was searched, or beyond this "
        "budget, may be there all the same."
    )
    if defences:
        return HuntAnswer("quiet", "a defence found, no trigger", none, f"{beside}{never}")
    return HuntAnswer("quiet", "nothing found up to this budget", none, never)


def _found(report: HuntReport, beside: str) -> HuntAnswer:
    count = len(report.triggers)
    if not count:
        return HuntAnswer(
            "no",
            "found, not listed",
            "The record says that a trigger was found, and lists none.",
            "Treat the model as triggered, and search again.",
        )
    unlike = " and its base does not" if any(arm.arm == "base" for arm in report.arms) else ""
    what = f"With {_texts(count)} the tuned model does what it does not do otherwise{unlike}."
    doubt = (
        f"The record’s outcome says {report.outcome.value}; what it lists counts. "
        if report.outcome is not HuntOutcome.FOUND
        else ""
    )
    return HuntAnswer(
        "no",
        "trigger found" if count == 1 else f"{count} triggers found",
        what,
        f"{doubt}Whoever knows such a text can switch this on, and plain tests do not see it. {beside}"
        "There may be others, in this class or outside it.",
    )


def _doubted(answer: HuntAnswer, report: HuntReport) -> HuntAnswer:
    """The same answer with what its arms leave in doubt. Nothing found is then no answer at all."""
    doubts = [
        f"The {arm.arm} model changed while it was searched: its fingerprint is another at the end."
        for arm in report.arms
        if arm.fingerprint_at_start != arm.fingerprint_at_end
    ]
    if not all(arm.arms_differ for arm in report.arms):
        doubts.append("Both arms gave the same logits: nothing was compared.")
    if doubts and answer.kind == "quiet":
        answer = replace(answer, kind="", chip="no answer")
    return replace(answer, doubts=tuple(doubts))


def _texts(count: int) -> str:
    return "one text" if count == 1 else f"{count} texts"


def hunt_environment() -> jinja2.Environment:
    """Return the environment of this page's templates."""
    environment = page_environment()
    environment.filters |= {
        "access": lambda name: _ACCESS.get(name, name),
        "behaviour": lambda name: _BEHAVIOURS[name],
        "counted": counted,
        "cut": cut,
        "duration": lambda seconds: formatting.duration(min(seconds, FAR)),
        "effect": effect,
        "moment": formatting.moment,
        "numbers": numbers,
        "place": lambda name: _PLACES.get(name, visible(name)),
        "rate": formatting.rate,
        "share": share,
        "signed": lambda value: signed(value, 1),
        "source": lambda name: _SOURCES.get(name, visible(name)),
        "texts": _texts,
    }
    environment.tests |= {"trigger": is_trigger}
    environment.globals |= {"max_cell": MAX_CELL, "max_label": MAX_LABEL}
    environment.globals |= {"max_reply": MAX_REPLY, "max_whole": MAX_WHOLE}
    return environment
