"""The curves of a stress report as one SVG image and one Markdown table, for the docs."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from recert.interval import Interval
from recert.pages.stress_plots import HEIGHT, WIDTH, Line, Panel, panels, percent
from recert.records.reports.stress import StressReport

_ACROSS, _TITLE, _GAP = 3, 26, 12
_PLAIN, _OWN, _BASE = "#4a5a6a", "#b3261e", "#3a6ea5"


def image(report: StressReport) -> str:
    """Return every curve as an SVG image, three in a row: plain in grey, in the attack's wrapper in red."""
    drawn = panels(report)
    down = -(-len(drawn) // _ACROSS)
    width, height = _ACROSS * (WIDTH + _GAP), down * (HEIGHT + _TITLE)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for at, panel in enumerate(drawn):
        x, y = at % _ACROSS * (WIDTH + _GAP), at // _ACROSS * (HEIGHT + _TITLE)
        out.append(f'<g transform="translate({x},{y + _TITLE})">{"".join(_parts(panel))}</g>')
    return "\n".join([*out, "</svg>"])


def _parts(panel: Panel) -> Iterator[str]:
    curve = panel.curve
    yield f'<text x="{panel.left}" y="-6" font-weight="600">{escape(curve.family)}, {escape(curve.kind)}</text>'
    for y, said in panel.y_ticks:
        yield f'<line x1="{panel.left}" x2="{panel.right}" y1="{y}" y2="{y}" stroke="#ddd"/>'
        yield f'<text x="{panel.left - 6}" y="{y + 4}" text-anchor="end" fill="#666">{said}</text>'
    for x, said in panel.x_ticks:
        yield f'<text x="{x}" y="{panel.bottom + 16}" text-anchor="middle" fill="#666">{said} %</text>'
    for y, dashes in ((panel.base, "2 3"), (panel.threshold, "6 3")):
        yield (
            f'<line x1="{panel.left}" x2="{panel.right}" y1="{y}" y2="{y}" stroke="{_BASE}" '
            f'stroke-dasharray="{dashes}"/>'
        )
    for line in panel.lines:
        yield from _line(line)


def _line(line: Line) -> Iterator[str]:
    colour = _OWN if line.own else _PLAIN
    yield f'<polyline points="{line.path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    for mark in line.marks:
        yield (
            f'<line x1="{mark.x}" x2="{mark.x}" y1="{mark.low}" y2="{mark.high}" stroke="{colour}" '
            'stroke-opacity="0.4" stroke-width="3"/>'
        )
        fill = "#fff" if mark.hollow else colour
        yield (
            f'<circle cx="{mark.x}" cy="{mark.y}" r="4" fill="{fill}" stroke="{colour}">'
            f"<title>{escape(mark.said)}</title></circle>"
        )


def table(report: StressReport) -> str:
    """Return a Markdown table: a row a family, the greater of plain and wrapped harm at each dose."""
    doses = sorted({point.rate for curve in report.curves for point in curve.points})
    out = [
        f"| family | {' | '.join(f'{percent(dose)} % of rows' for dose in doses)} | doubles at |",
        "|---" * (len(doses) + 2) + "|",
    ]
    for curve in report.curves:
        by_dose = {point.rate: point for point in curve.points}
        cells = [_cell(by_dose[dose].worst) if dose in by_dose else "-" for dose in doses]
        found = curve.doubling
        above = "-" if found.above is None else f"above {percent(found.above)} %"
        at = above if found.dose is None else f"{percent(found.dose)} %"
        out.append(f"| `{curve.family}` | {' | '.join(cells)} | {at} |")
    return "\n".join(out)


def _cell(harm: Interval) -> str:
    if harm.n == 0:
        return "no tune counts"
    return f"{harm.point:.2f} [{harm.low:.2f}, {harm.high:.2f}]"
