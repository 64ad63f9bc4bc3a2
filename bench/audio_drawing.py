"""Harm and over-refusal of a base and its tunes, in text and spoken, as one SVG of points with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from recert.interval import Interval

ROW, LEFT, WIDTH, TOP = 15, 190, 300, 34
COLOURS = ("#444", "#2a7f62", "#b3402a")


def image(panels: Mapping[str, Mapping[str, Mapping[str, Interval]]]) -> str:
    """
    Return an SVG with a panel for each name: conditions down the side, a point for each arm, its interval as a line.

    Args:
        panels: by the panel's name, condition and arm, the rate with its interval.
    """
    parts: list[str] = []
    across, height = 0, 0
    for title, conditions in panels.items():
        drawn, tall = _panel(title, conditions, across)
        parts += drawn
        across += LEFT + WIDTH + 30
        height = max(height, tall)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across} {height + 24}" font-family="sans-serif" '
        f'font-size="11" role="img"><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>'
    )


def _panel(
    title: str, conditions: Mapping[str, Mapping[str, Interval]], across: int
) -> tuple[list[str], int]:
    out = [f'<text x="{across + LEFT}" y="16" font-weight="bold">{escape(title)}</text>']
    y = TOP
    for condition, arms in conditions.items():
        out.append(
            f'<text x="{across + LEFT - 8}" y="{y + ROW}" text-anchor="end">{escape(condition)}</text>'
        )
        for n, rate in enumerate(arms.values()):
            out += _point(rate, across, y + n * ROW // 2 + 6, COLOURS[n % 3])
        y += max(2, len(arms)) * ROW // 2 + 14
    for tick in (0, 0.5, 1):
        x = across + LEFT + tick * WIDTH
        out.append(f'<line x1="{x}" y1="{TOP - 8}" x2="{x}" y2="{y}" stroke="#ddd"/>')
        out.append(f'<text x="{x}" y="{y + 12}" text-anchor="middle">{tick:g}</text>')
    arms = next(iter(conditions.values()), {})
    out += [
        f'<circle cx="{across + LEFT + 105 * n}" cy="{y + 28}" r="4" fill="{COLOURS[n % 3]}"/>'
        f'<text x="{across + LEFT + 8 + 105 * n}" y="{y + 32}">{escape(arm)}</text>'
        for n, arm in enumerate(arms)
    ]
    return out, y + 30


def _point(rate: Interval, across: int, y: int, colour: str) -> Sequence[str]:
    low, point, high = (across + LEFT + WIDTH * max(0.0, v) for v in (rate.low, rate.point, rate.high))
    return (
        f'<line x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}" stroke="{colour}" stroke-width="2" opacity="0.4"/>',
        f'<circle cx="{point:.1f}" cy="{y}" r="3.5" fill="{colour}"/>',
    )
