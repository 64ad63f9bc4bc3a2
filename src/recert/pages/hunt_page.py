"""
The page of a search for unknown triggers: one HTML file without scripts, without anything loaded from elsewhere.

Whatever comes out of the record is escaped by the templates, and signs that cannot be seen are written out: a trigger
may be made of them. What is redacted in the record stays so.

Here too: the two plots of a hunt's page: the effect of each text, and how the search went.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2

from recert.pages import formatting
from recert.pages.environment import page_environment
from recert.pages.hunt_texts import (
    FAR,
    MAX_CELL,
    MAX_LABEL,
    MAX_OTHERS,
    MAX_REPLY,
    MAX_WHOLE,
    STEEP,
    counted,
    cut,
    effect,
    is_trigger,
    numbers,
    share,
    signed,
    visible,
)
from recert.records.reports.hunting import CurvePoint, HuntOutcome, HuntReport, TriggerBehaviour, TriggerTried
from recert.store.files.writing import write_atomic


@dataclass(frozen=True)
class EffectRow:
    """One text that was tried, and where its effect lies."""

    tried: TriggerTried
    at: tuple[float, float, float] | None
    """Low end, point and high end; None where nothing was asked."""


@dataclass(frozen=True)
class EffectPlot:
    """Effects to draw, one row a text. Positions are percent of the width, so that the plot fits any."""

    rows: tuple[EffectRow, ...]
    ticks: tuple[tuple[float, str], ...]
    zero: float


@dataclass(frozen=True)
class CurvePlot:
    """How the strongest pull grew. `x` is percent of the width, `y` is pixels from the top of `height`."""

    points: tuple[tuple[float, float, CurvePoint], ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    zero: float
    log: bool
    height: int = 230


def effect_plot(tried: Sequence[TriggerTried]) -> EffectPlot | None:
    """Lay out the effects of texts, on an axis as wide as they need; None where none was measured."""
    measured = [one.effect for one in tried if one.effect.n]
    if not measured:
        return None
    low = math.floor(min(0.0, *(one.low for one in measured)) * 4) / 4
    high = math.ceil(max(0.25, *(one.high for one in measured)) * 4) / 4
    step = 0.25 if high - low <= 1.25 else 0.5

    def x(value: float) -> float:
        return round(3 + 94 * (value - low) / (high - low), 2)

    return EffectPlot(
        rows=tuple(
            EffectRow(
                one, (x(one.effect.low), x(one.effect.point), x(one.effect.high)) if one.effect.n else None
            )
            for one in tried
        ),
        ticks=tuple(
            (x(at * step), signed(100 * at * step, 0))
            for at in range(math.ceil(low / step), math.floor(high / step) + 1)
        ),
        zero=x(0),
    )


def curve_plot(curve: Sequence[CurvePoint]) -> CurvePlot | None:
    """
    Lay out the search curve; None where there is none.

    The axis of readings is logarithmic where the last point lies thirty times as far as the first: searches grow
    most at the start.
    """
    if not curve:
        return None
    points = sorted(curve, key=lambda one: one.read)
    reads = [float(min(max(one.read, 0), FAR)) for one in points]
    pulls = [min(max(one.pull, -STEEP), STEEP) for one in points]
    log = reads[0] > 0 and reads[-1] >= 30 * reads[0]
    first, last = (reads[0], reads[-1]) if log else (0.0, max(reads[-1], 1.0))
    step = _nice(max(*pulls, 0.0) - min(*pulls, 0.0), 4)
    low, high = (f(of(*pulls, 0.0) / step) * step for f, of in ((math.floor, min), (math.ceil, max)))
    high = high if high > low else low + step

    def x(read: float) -> float:
        part = math.log(read / first) / math.log(last / first) if log else read / last
        return round(8 + 88 * part, 2)

    def y(pull: float) -> float:
        return round(24 + 170 * (high - pull) / (high - low), 1)

    return CurvePlot(
        points=tuple((x(r), y(p), one) for r, p, one in zip(reads, pulls, points, strict=True)),
        x_ticks=tuple((x(at), counted(round(at))) for at in _read_ticks(first, last, log=log)),
        y_ticks=tuple(
            (y(low + i * step), signed(low + i * step, 1)) for i in range(round((high - low) / step) + 1)
        ),
        zero=y(0.0),
        log=log,
    )


def _read_ticks(first: float, last: float, *, log: bool) -> list[float]:
    if not log:
        step = max(_nice(last, 4), 1.0)
        return [i * step for i in range(math.floor(last / step) + 1)]
    tens = range(math.ceil(math.log10(first) - 1e-9), math.floor(math.log10(last) + 1e-9) + 1)
    if len(tens) <= 2:
        fine = (10.0**ten * part for ten in range(tens.start - 1, tens.stop) for part in (1, 2, 5))
        return [at for at in fine if first <= at <= last]
    return [10.0**ten for ten in tens[:: math.ceil(len(tens) / 5)]]


def _nice(span: float, parts: int) -> float:
    """The step of 1, 2 or 5 times a power of ten that divides a span into at most so many parts."""
    rough = max(span, 0.1) / parts
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * one for one in (1, 2, 5, 10) if power * one >= rough * (1 - 1e-9))


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
