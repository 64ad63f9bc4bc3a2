"""Where the parts of a plot of a watch lie: evidence of a rise over time, with what warns and what suspends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from recert.console.gateways.watch_history import EvidenceAt
from recert.records.live.watching import OverTime

WIDTH, HEIGHT = 440, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 432, 14, 150
_LOWEST: Final = -1.0
_ROOM: Final = 1.2
_MOST_POINTS: Final = 200


@dataclass(frozen=True)
class WatchPlot:
    """A plot to draw; positions are pixels."""

    ever: str
    recent: str
    suspend: float
    warn: float
    y_ticks: tuple[tuple[float, str], ...]
    x_ticks: tuple[tuple[float, str, str], ...]
    """Place, time, and on which side of the place the text stands."""
    said: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = _RIGHT
    bottom: int = _BOTTOM


def watch_plot(points: Sequence[EvidenceAt], found: OverTime) -> WatchPlot | None:
    """Lay out evidence over time; None where there is none."""
    if not points:
        return None
    suspend, warn = math.log10(found.suspend_at), math.log10(found.warn_at)
    highest = _ROOM * max(suspend, warn)
    first, last = points[0].at, points[-1].at
    span_s = max(1.0, (last - first).total_seconds())

    def y(order: float) -> float:
        inside = min(max(order, _LOWEST), highest)
        return round(_BOTTOM - (inside - _LOWEST) / (highest - _LOWEST) * (_BOTTOM - _TOP), 1)

    def x(at: datetime) -> float:
        if len(points) == 1:
            return float(_RIGHT)
        return round(_LEFT + (at - first).total_seconds() / span_s * (_RIGHT - _LEFT), 1)

    step = max(1, math.ceil(len(points) / _MOST_POINTS))
    drawn = [*points[::step], points[-1]]
    return WatchPlot(
        ever=" ".join(f"{x(p.at)},{y(p.ever)}" for p in drawn),
        recent=" ".join(f"{x(p.at)},{y(p.recent)}" for p in drawn),
        suspend=y(suspend),
        warn=y(warn),
        y_ticks=tuple((y(order), f"10^{order}") for order in range(0, math.floor(highest) + 1)),
        x_ticks=(
            (float(_LEFT), f"{first:%Y-%m-%d %H:%M}", "start"),
            (float(_RIGHT), f"{last:%Y-%m-%d %H:%M}", "end"),
        ),
        said=f"Evidence of a rise over {len(points)} runs from {first:%Y-%m-%d} to {last:%Y-%m-%d}: the most ever is "
        f"10^{points[-1].ever:.1f}, 10^{suspend:.1f} suspends; of a recent rise 10^{points[-1].recent:.1f}, "
        f"10^{warn:.1f} warns.",
    )
