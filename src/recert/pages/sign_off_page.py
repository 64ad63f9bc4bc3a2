"""
The sign-off report of a certificate: one page to read, print and file, without scripts or anything from elsewhere.

Whatever comes out of the certificate is escaped by the templates. It proves nothing by itself: it says how to verify.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from recert.pages import formatting
from recert.pages.environment import page_environment
from recert.pages.pdf import print_pdf
from recert.records.reports.evaluation import RuleResult
from recert.store.files.writing import write_atomic
from recert.workflows.certificates.sign_off import SignOff
from recert.workflows.certificates.source import beside, deciding
from recert.workflows.certificates.verifying import steps


def write_sign_off(path: Path, sign_off: SignOff) -> None:
    """
    Write the report to a file, as a page or as PDF.

    Raises:
        StoreError: the file cannot be written. An older one stays.
        MissingExtraError: it is to be PDF, and there is no Chromium to print it.
    """
    page = sign_off_page(sign_off).encode()
    write_atomic(path, print_pdf(page) if sign_off.pdf else page)


def sign_off_page(sign_off: SignOff) -> str:
    """Return the report as one HTML page, which prints on A4 with the serial and the digest on every sheet."""
    source = sign_off.source
    return (
        _environment()
        .get_template("sign_off.html.j2")
        .render(
            said=source.certificate,
            source=source,
            evaluation=sign_off.evaluation,
            version=sign_off.version,
            passed=not source.why_not,
            results=deciding(source.certificate),
            beside=beside(source.certificate),
            steps=steps(source),
        )
    )


def css_text(text: str) -> str:
    """Return text as a CSS string that cannot end early, whatever is in it."""
    return '"' + "".join(c if c.isascii() and (c.isalnum() or c in " -:.") else _code(c) for c in text) + '"'


def _code(sign: str) -> str:
    return f"\\{ord(sign):06x} "


def value_text(value: Any) -> str:
    """Return a JSON value as people read it: text as it is, anything else indented."""
    return (
        value if isinstance(value, str) else json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    )


def filters() -> dict[str, Any]:
    """Return the filters that the parts of this report need wherever they are included."""
    return {
        "exact": lambda value: f"{100 * value:.1f}\u00a0%",
        "threshold": _asked_for,
        "value_text": value_text,
    }


def _asked_for(result: RuleResult) -> str:
    said = f"change below {100 * result.margin:g} points"
    return said if result.max_tuned is None else f"{said}, tuned at most {100 * result.max_tuned:g}\u00a0%"


def _environment() -> jinja2.Environment:
    environment = page_environment()
    environment.filters |= {
        "change": formatting.change,
        "condition": lambda name: formatting.condition(name, longest=60),
        "css_text": lambda text: Markup(css_text(text)),  # noqa: S704 - every other sign is escaped
        "estimand": formatting.estimand,
        "moment": formatting.moment,
        "rate": formatting.rate,
        "short": formatting.short,
        "size": formatting.size,
    } | filters()
    return environment
