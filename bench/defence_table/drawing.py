"""The table as a page: a plot for each measure, a row for each attack and defence, points with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from defence_table.table import turned

_MEASURES = (
    ("harm, plain", "harm_plain", "#b3261e"),
    ("harm, worst family", "harm_worst", "#7a1f6b"),
    ("over-refusal", "over_refusal", "#8a6d00"),
    ("utility", "utility_loss", "#1e6b3a"),
    ("harm, training context", "harm_context", "#7a1f6b"),
)
_LABEL, _PANEL, _GAP, _ROW, _HEAD = 250, 190, 26, 22, 46


def plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as an SVG image; a measure that no row has is left out."""
    measures = [one for one in _MEASURES if any(one[1] in row for row in rows)]
    width = _LABEL + len(measures) * (_PANEL + _GAP)
    height = _HEAD + len(rows) * _ROW + 30
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    bottom = _HEAD + len(rows) * _ROW
    for at, (title, _, colour) in enumerate(measures):
        left = _LABEL + at * (_PANEL + _GAP)
        out.append(f'<text x="{left}" y="20" fill="{colour}" font-weight="600">{title}</text>')
        for share in (0.0, 0.5, 1.0):
            x = left + share * _PANEL
            out.append(f'<line x1="{x}" x2="{x}" y1="30" y2="{bottom}" stroke="#ddd"/>')
            out.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle" fill="#666">{share:g}</text>')
    for place, row in enumerate(rows):
        y = _HEAD + place * _ROW
        name = f"{row['attack']}: {row['defence']}" if row["attack"] != "-" else row["defence"]
        out.append(f'<text x="{_LABEL - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        for at, (title, key, colour) in enumerate(measures):
            if key not in row:
                continue
            found = turned(row[key]) if key == "utility_loss" else row[key]
            left = _LABEL + at * (_PANEL + _GAP)
            low, point, high = (left + found[name] * _PANEL for name in ("low", "point", "high"))
            out.append(
                f"<g><title>{escape(name)}, {title}: {found['point']:.2f} "
                f"[{found['low']:.2f}, {found['high']:.2f}]</title>"
                f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-opacity="0.45" '
                f'stroke-width="3"/><circle cx="{point:.1f}" cy="{y}" r="4.5" fill="{colour}"/></g>'
            )
    return "\n".join([*out, "</svg>"])


def secret_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of BackdoorAlign's block: one for each state of the secret, harm in the training context beside."""
    out = []
    for row in rows:
        kept = ("harm_plain", "over_refusal", "utility_loss")
        on = ", secret on" if "secret_off" in row else ""
        shared = {"attack": "-", "harm_context": row["families"]["context"]}
        out.append(shared | {key: row[key] for key in kept} | {"defence": row["defence"] + on})
        for label in ("off", "wrong"):
            if f"secret_{label}" in row:
                name = f"{row['defence']}, secret {label}"
                out.append({"attack": "-", "defence": name, **row[f"secret_{label}"]})
    return out


def page(title: str, said: str, parts: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> str:
    """Return a page of its own with a plot for each part."""
    body = "".join(f"<h2>{escape(name)}</h2>{plot(rows)}" for name, rows in parts if rows)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>body{{font:15px/1.5 system-ui;margin:2rem auto;max-width:72rem;"
        "padding:0 1rem}svg{max-width:100%;height:auto}</style>"
        f"<h1>{escape(title)}</h1><p>{escape(said)}</p>{body}</html>\n"
    )
