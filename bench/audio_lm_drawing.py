"""The figures of `audio_lm.py` as a table and as one SVG image with its text alternative."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recert.interval import Interval

_BAR, _GAP, _LEFT, _TOP, _HIGH = 44, 30, 50, 34, 180
_COLOURS = {"text": "#3a6ea5", "audio": "#b3261e"}
_KINDS = ("harmful", "ordinary", "lookalikes")


def table(found: Mapping[str, Any]) -> str:
    """Return a Markdown table: a row a model, the share refused of each kind of requests, written and spoken."""
    out = [
        "| model | "
        + " | ".join(f"{kind}, {way}" for kind in _KINDS for way in ("written", "spoken"))
        + " |",
        "|---" * (1 + 2 * len(_KINDS)) + "|",
    ]
    for name, kinds in found["refused"].items():
        cells = [_cell(kinds[kind][way]) for kind in _KINDS for way in ("text", "audio")]
        out.append(f"| {_called(name)} | {' | '.join(cells)} |")
    return "\n".join(out)


def image(found: Mapping[str, Any]) -> str:
    """Return bars of the share of harmful requests refused, with intervals; the title says the figures in words."""
    arms = found["refused"]
    width = _LEFT + len(arms) * (2 * _BAR + _GAP) + _GAP
    said = "; ".join(
        f"{_called(name)}: written {_cell(kinds['harmful']['text'])}, spoken {_cell(kinds['harmful']['audio'])}"
        for name, kinds in arms.items()
    )
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_TOP + _HIGH + 46}" role="img" '
        f'viewBox="0 0 {width} {_TOP + _HIGH + 46}" font-family="system-ui, sans-serif" font-size="11">',
        f"<title>Harmful requests refused. {said}.</title>",
        f'<rect width="{width}" height="{_TOP + _HIGH + 46}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="16" font-weight="600">harmful requests refused, written (blue), spoken (red)</text>',
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(tick)
        out.append(f'<line x1="{_LEFT}" x2="{width}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        out.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end" fill="#666">{tick:g}</text>')
    for at, (name, kinds) in enumerate(arms.items()):
        x = _LEFT + _GAP + at * (2 * _BAR + _GAP)
        for place, way in enumerate(("text", "audio")):
            out += _bar(x + place * _BAR, kinds["harmful"][way], _COLOURS[way])
        out.append(
            f'<text x="{x + _BAR}" y="{_TOP + _HIGH + 18}" text-anchor="middle">{_called(name)}</text>'
        )
    return "\n".join([*out, "</svg>"])


def _bar(x: float, share: Interval, colour: str) -> Iterator[str]:
    top, middle = _y(share.point), x + _BAR / 2 - 2
    yield (
        f'<rect x="{x}" y="{top}" width="{_BAR - 4}" height="{_y(0) - top:.1f}" fill="{colour}" fill-opacity="0.75"/>'
    )
    yield (
        f'<line x1="{middle}" x2="{middle}" y1="{_y(share.low)}" y2="{_y(share.high)}" stroke="#222" '
        'stroke-width="1.5"/>'
    )


def _y(share: float) -> float:
    return round(_TOP + _HIGH * (1 - share), 1)


def _called(name: str) -> str:
    return {"base": "base", "nearest": "tuned, nearest", "random": "tuned, random"}[name]


def _cell(share: Interval) -> str:
    return f"{share.point:.2f} [{share.low:.2f}, {share.high:.2f}]"
