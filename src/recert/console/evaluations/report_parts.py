"""What templates of the reports need to stand in the console's pages: the same words, plots and bounds."""

from __future__ import annotations

from collections.abc import Iterable

import jinja2

from recert.pages import formatting
from recert.pages.attack_page import attack_environment
from recert.pages.forest import forest
from recert.pages.heatmap import heat_maps
from recert.pages.hunt_page import hunt_environment
from recert.pages.reasoning_page import reasoning_environment
from recert.pages.stress_page import stress_environment


def furnish(environment: jinja2.Environment) -> None:
    """Give an environment the filters, tests and names of the reports' templates; what it has stays."""
    for other in (
        hunt_environment(),
        attack_environment(),
        stress_environment(),
        reasoning_environment(),
    ):
        environment.filters = {**other.filters, **environment.filters}
        environment.tests = {**other.tests, **environment.tests}
        environment.globals = {**other.globals, **environment.globals}
    environment.filters["verdict"] = lambda verdict: formatting.VERDICTS[verdict]
    environment.filters["said_as"] = said_as
    environment.globals |= {"forest": forest, "heat_maps": heat_maps, "unanswered": formatting.unanswered}


def said_as(values: Iterable[str], how: str) -> list[tuple[str, str]]:
    """Return values with their words, for a list to choose from: as a `condition`, as `words`, or as they are."""
    if how == "condition":
        return [(value, formatting.condition(value)) for value in values]
    if how == "words":
        return [(value, value.replace("_", " ").replace("-", " ")) for value in values]
    return [(value, value) for value in values]
