"""How the missing parts of Recert are installed: from the place that this Recert was installed from."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

_FROM_INDEX: Final = re.compile(r"pip install 'recert\[([a-z0-9,-]+)\]'")
_NEEDED: Final = re.compile(r"""([A-Za-z0-9._-]+).*extra == ["']([a-z0-9-]+)["']""")

_FIRST: Final = ("local", "train")
"""Extras that are named before others that bring the same module."""


def install_hint(hint: str, source: dict[str, Any] | None = None) -> str:
    """
    Return a hint whose `pip install 'recert[EXTRA]'` works where Recert did not come from an index.

    Args:
        hint: any hint.
        source: the installation's `direct_url.json`; by default that of this installation. Without one Recert came
            from an index, and the hint stays as it is.
    """
    where = _direct_url() if source is None else source
    if not where.get("url"):
        return hint
    return _FROM_INDEX.sub(lambda found: f"pip install {_requirement(found[1], where)}", hint)


def extra_of(module: str, requires: Iterable[str] | None = None) -> str:
    """
    Return the extra that brings a module, or an empty text.

    Args:
        module: its top-level name, such as `torch`.
        requires: requirements of Recert, by default those of this installation.
    """
    name, found = module.replace("_", "-").lower(), []
    for one in _requires() if requires is None else requires:
        needed = _NEEDED.match(one)
        if needed and needed[2] != "dev" and needed[1].replace("_", "-").lower() == name:
            found.append(needed[2])
    return next((extra for extra in _FIRST if extra in found), found[0] if found else "")


def _requirement(extras: str, source: dict[str, Any]) -> str:
    url = str(source["url"])
    if not url.startswith("file:"):
        vcs = source.get("vcs_info", {}).get("vcs")
        return shlex.quote(f"recert[{extras}] @ {f'{vcs}+' if vcs else ''}{url}")
    path = unquote(urlsplit(url).path)
    editable = "-e " if source.get("dir_info", {}).get("editable") else ""
    return editable + shlex.quote(f"{path}[{extras}]")


def _direct_url() -> dict[str, Any]:
    try:
        found = json.loads(distribution("recert").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError, OSError):
        return {}
    if not isinstance(found, dict):
        return {}
    gone = (
        str(found.get("url", "")).startswith("file:")
        and not Path(unquote(urlsplit(found["url"]).path)).exists()
    )
    return {} if gone else found


def _requires() -> list[str]:
    try:
        return distribution("recert").requires or []
    except PackageNotFoundError:
        return []
