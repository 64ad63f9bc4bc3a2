"""Share out of service and time to a verdict against workers, as one SVG image."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

_LEFT, _WIDE, _TALL, _TOP, _GAP = 60, 330, 200, 44, 92
_COLOURS = ("#3b5bdb", "#b3261e", "#8a6d00", "#1e6b3a")
Lines = Mapping[str, Sequence[tuple[int, float]]]
"""Points of each line: workers, and a value."""


def image(lapsed: Lines, verdict_h: Lines) -> str:
    """Return both panels beside each other; `lapsed` in fractions, `verdict_h` in hours, drawn on a scale of powers."""
    top = 0.25 if max((y for points in lapsed.values() for _, y in points), default=1) <= 0.25 else 1.0
    width, height = 2 * (_LEFT + _WIDE) + 24, _TOP + _TALL + _GAP
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        *_panel(
            _LEFT,
            "share of the fleet out of service",
            lapsed,
            [top * at / 5 for at in range(6)],
            "{:.0%}".format,
            lambda out: out / top,
        ),
        *_panel(
            2 * _LEFT + _WIDE,
            "hours to a verdict, 95th percentile",
            verdict_h,
            (0.1, 1, 10, 100, 1000),
            "{:g}".format,
            lambda hours: (math.log10(min(max(hours, 0.03), 1000)) + 1.5229) / 4.5229,
        ),
    ]
    for at, name in enumerate(lapsed):
        x, y = _LEFT + at % 2 * (_LEFT + _WIDE), height - 34 + at // 2 * 20
        out.append(f'<circle cx="{x}" cy="{y}" r="5" fill="{_COLOURS[at]}"/>')
        out.append(f'<text x="{x + 11}" y="{y + 4}">{escape(name)}</text>')
    return "\n".join([*out, "</svg>"])


def _panel(
    left: int,
    title: str,
    lines: Lines,
    ticks: Sequence[float],
    said: Callable[[float], str],
    height: Callable[[float], float],
) -> list[str]:
    workers = sorted({x for points in lines.values() for x, _ in points})
    places = {x: left + 12 + at * (_WIDE - 24) / max(1, len(workers) - 1) for at, x in enumerate(workers)}
    out = [f'<text x="{left}" y="20" font-weight="600">{escape(title)}</text>']
    for tick in ticks:
        y = _TOP + _TALL * (1 - height(tick))
        out.append(f'<line x1="{left}" x2="{left + _WIDE}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#666">{said(tick)}</text>')
    for x, place in places.items():
        out.append(
            f'<text x="{place:.1f}" y="{_TOP + _TALL + 18}" text-anchor="middle" fill="#666">{x}</text>'
        )
    out.append(
        f'<text x="{left + _WIDE / 2}" y="{_TOP + _TALL + 36}" text-anchor="middle" fill="#666">workers</text>'
    )
    for colour, points in zip(_COLOURS, lines.values(), strict=False):
        dots = [
            (places[x], _TOP + _TALL * (1 - height(value))) for x, value in points if math.isfinite(value)
        ]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
        out.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in dots]
    return out
