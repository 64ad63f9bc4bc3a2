"""How the console's pages are made of their templates: the frame, and the words that all of them use."""

from __future__ import annotations

import jinja2

from recert.console.evaluations.report_parts import furnish
from recert.pages import formatting, sign_off_page
from recert.pages.environment import page_environment
from recert.pages.hunt_texts import visible


def console_environment() -> jinja2.Environment:
    """Return the environment of the console's templates; pages add what only they need."""
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
        "visible": visible,
    } | sign_off_page.filters()
    environment.globals["tabs"] = []
    environment.globals["sharable"] = _nothing
    furnish(environment)
    return environment


def _nothing(_: str) -> bool:
    return False
