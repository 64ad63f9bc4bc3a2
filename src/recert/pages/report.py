"""
The HTML report of a run: one file without scripts, without anything loaded from elsewhere.

Whatever comes out of a record is escaped by the templates. Replies that were judged harmful come redacted in
the records; texts of quarantined rows are in no record at all.
"""

from __future__ import annotations

from pathlib import Path

import jinja2

from recert.pages import formatting
from recert.pages.environment import page_environment
from recert.pages.forest import forest
from recert.pages.heatmap import heat_maps
from recert.records.reports.trade_offs import both_ways, shown, traded
from recert.store.files.writing import write_atomic
from recert.workflows.run_summary import RunSummary, figures

MAX_FINDINGS = 24
"""Rows of the screening table; the rest are counted."""
MAX_SAMPLE_CHARS = 220
MAX_SLICES = 8
"""Lines of what got worse; the record has them all."""
MAX_IDS = 4


def write_report(path: Path, story: RunSummary) -> None:
    """
    Write the report of a run to one HTML file.

    Raises:
        StoreError: the file cannot be written. An older report stays.
    """
    write_atomic(path, report_html(story).encode())


def report_html(story: RunSummary) -> str:
    """Return the report of a run as one HTML page."""
    return _environment().get_template("report.html.j2").render(story=story)


def _environment() -> jinja2.Environment:
    environment = page_environment()
    environment.filters |= {
        "change": formatting.change,
        "condition": formatting.condition,
        "duration": formatting.duration,
        "estimand": formatting.estimand,
        "moment": formatting.moment,
        "rate": formatting.rate,
        "short": formatting.short,
        "size": formatting.size,
    }
    environment.globals |= {
        "both_ways": both_ways,
        "figures": figures,
        "forest": forest,
        "heat_maps": heat_maps,
        "max_findings": MAX_FINDINGS,
        "max_ids": MAX_IDS,
        "max_sample_chars": MAX_SAMPLE_CHARS,
        "max_slices": MAX_SLICES,
        "shown": shown,
        "traded": traded,
        "unanswered": formatting.unanswered,
    }
    return environment
