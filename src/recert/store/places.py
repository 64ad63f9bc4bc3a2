"""Files and database URLs: telling them apart, and showing them without secrets. Imports no database library."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit


def is_url(where: Path | str) -> bool:
    """Say whether this names a database by URL, and not a file."""
    return "://" in str(where)


def shown(where: Path | str) -> str:
    """Return what errors and logs may show of a file or URL: no user, no password, no options."""
    if not is_url(where):
        return str(where)
    try:
        parts = urlsplit(str(where))
        return f"{parts.scheme.partition('+')[0]}://{parts.hostname or ''}{parts.path}"
    except ValueError:
        return str(where).split("://", 1)[0]
