"""How the console's pages are made of their templates: the frame, and the words that all of them use."""

from __future__ import annotations

import jinja2

from recert.web import sign_off_page, words
from recert.web.console.report_parts import furnish
from recert.web.environment import page_environment
from recert.web.hunt_texts import visible


def console_environment() -> jinja2.Environment:
    """Return the environment of the console's templates; pages add what only they need."""
    environment = page_environment()
    environment.filters |= {
        "change": words.change,
        "condition": words.condition,
        "duration": words.duration,
        "estimand": words.estimand,
        "moment": words.moment,
        "rate": words.rate,
        "short": words.short,
        "size": words.size,
        "visible": visible,
    } | sign_off_page.filters()
    environment.globals["tabs"] = []
    environment.globals["sharable"] = _nothing
    furnish(environment)
    return environment


def _nothing(_: str) -> bool:
    return False
