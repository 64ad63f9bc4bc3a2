"""Where somebody may be led after they signed in: to pages of this console, and nowhere else."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

HOME: Final = "/console/"
_PLAIN: Final = re.compile(r"/console/[A-Za-z0-9/._~%!$&'()*+,;=:@?-]{0,2000}")
_NOT_AFTER: Final = ("sign-in", "sign-out", "shared", "new-password")
"""Parts that are no pages to come back to."""


def safe_path(given: str) -> str:
    """
    Return a path and query of the console as they were given, or the path of its first page.

    Browsers read `\\`, tabs, `//` and dots, also as `%2e`, in ways of their own; whatever has any of them is not used.
    """
    path = given.partition("?")[0]
    if not _PLAIN.fullmatch(given) or "//" in path:
        return HOME
    parts = [unquote(part) for part in path.split("/")]
    if any(part in (".", "..") or "/" in part or "\\" in part for part in parts) or parts[2] in _NOT_AFTER:
        return HOME
    return given
