"""Where the bars of a gateway's requests lie: one a span of time, by how requests ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from recert.console.gateways.gateway_counts import KINDS, Window

WIDTH, HEIGHT = 480, 120
_LEFT, _TOP, _BOTTOM = 34, 8, 98
_GAP: Final = 0.2


@dataclass(frozen=True)
class Bar:
    """A part of a bar, in pixels."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True)
class Bars:
    """A plot to draw."""

    bars: tuple[Bar, ...]
    x_ticks: tuple[tuple[float, str], ...]
    most: int
    """What the highest bar stands for."""
    said: str
    """The plot in words."""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    top: int = _TOP
    bottom: int = _BOTTOM


def bars(window: Window) -> Bars:
    """Lay out the requests of a window."""
    spans = window.spans
    most = max((sum(span.values()) for span in spans), default=0)
    step = (WIDTH - _LEFT) / max(1, len(spans))
    drawn = []
    for at, span in enumerate(spans):
        y = float(_BOTTOM)
        for kind in KINDS:
            if not span.get(kind):
                continue
            height = round((_BOTTOM - _TOP) * span[kind] / most, 2)
            y = round(y - height, 2)
            drawn.append(Bar(round(_LEFT + at * step, 2), y, round(step * (1 - _GAP), 2), height, kind))
    ticks = tuple(
        (round(_LEFT + at * step, 1), _clock(window.begins_s + at * window.span_s))
        for at in range(0, len(spans), 15)
    )
    counts = ", ".join(f"{window.ended(kind)} {kind}" for kind in KINDS)
    return Bars(
        tuple(drawn),
        ticks,
        most,
        f"Requests from {ticks[0][1] if ticks else ''} UTC on: {counts}. At most {most} in {_span(window.span_s)}.",
    )


def _clock(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%H:%M}"


def _span(span_s: int) -> str:
    return "a minute" if span_s == 60 else f"{span_s // 60} minutes"
