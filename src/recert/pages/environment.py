"""How every page is made of its template."""

from __future__ import annotations

import jinja2


def page_environment() -> jinja2.Environment:
    """Return an environment over the package's templates that escapes what it is given, and knows no missing name."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("recert.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
