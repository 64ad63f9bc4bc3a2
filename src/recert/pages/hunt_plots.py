"""The two plots of a hunt's page: the effect of each text, and how the search went."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from recert.pages.hunt_texts import FAR, STEEP, counted, signed
from recert.records.reports.hunting import CurvePoint, TriggerTried


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
