"""A certified adapter on a base that really run: tiny random weights, keys, certificate and status list."""

from __future__ import annotations

from pathlib import Path

from certified_folders import Certified
from recert.policy import Policy
from tiny_models import make_adapter, make_base


def certify_tiny(folder: Path, policy: Policy) -> Certified:
    """Return a certified tiny model; `folder/other` is another adapter on its base."""
    base = make_base(folder / "made" / "base")
    tuned = make_adapter(folder / "made" / "tuned", base, seed=1)
    make_adapter(folder / "other", base, seed=2)
    return Certified(
        folder / "certified", tuned_files=_files(tuned), base_files=_files(base), policy=policy, name="tiny"
    )


def _files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
