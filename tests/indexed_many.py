"""Thousands of systems and outcomes in a list, as an indexer would have written them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from recert.digest import sha256_bytes
from recert.records.data.suite import CATEGORIES
from recert.store.systems.indexed import IndexedOutcome, IndexedSystem, place_of
from recert.store.systems.systems_index import SystemsIndex

_BASES = 20
_STATES = (
    ("pass", "signed"), ("pass", "signed"), ("pass", "signed"), ("pass", "awaiting"), ("fail", "none"),
    ("undecided", "none"), ("pass", "expired"), ("pass", "suspended"), ("pass", "stale"), ("pass", "unreadable"),
)  # fmt: skip
_CONDITIONS = ("plain", "family:year_2025", "family:skeleton", "training-context", "wrong-secret")
_SUITES = ("harmful", "scenarios", "lookalikes", "ordinary")
_LABELS = ("clean", "clean", "clean", "clean", "clean", "harm", "over_refusal", "failed")


def fill(index: SystemsIndex, *, systems: int, outcomes: int, now: datetime | None = None) -> list[str]:
    """Write bases, tunes and checkpoints, and outcomes of some of the tunes; return the ids of the tunes."""
    at, draw = now or datetime.now(UTC), Random(7)
    made, tunes = [], []
    bases = [_base(number, at) for number in range(_BASES)]
    while len(made) < systems - _BASES:
        number = len(made)
        verdict, state = _STATES[draw.randrange(len(_STATES))]
        tune = _system(number, bases[number % _BASES], "tune", verdict, state, at)
        made.append(tune)
        tunes.append(tune.id)
        if number % 5 == 0 and len(made) < systems - _BASES:
            made.append(_system(number + 1, tune, "checkpoint", "", "none", at))
    index.put([*bases, *made])
    each = max(1, outcomes // 100)
    for start in range(0, outcomes, each):
        one = tunes[start // each]
        index.put_outcomes(one, [_outcome(one, number, draw) for number in range(start, start + each)])
    return tunes


def _base(number: int, at: datetime) -> IndexedSystem:
    name, id_ = f"base-model-{number:02d}", _id(f"base {number}")
    folder = Path("/srv/models")
    return IndexedSystem(
        id_, name, "base", name, "", "", "none", "", None, at, folder, place=place_of(name, id_)
    )


def _system(
    number: int, parent: IndexedSystem, kind: str, verdict: str, state: str, at: datetime
) -> IndexedSystem:
    id_, name = _id(f"{kind} {number}"), f"support-{kind}-{number:05d}"
    folder = Path(f"/srv/runs/{name}")
    certified = state not in ("none",)
    ends = at + timedelta(hours=-5 if state == "expired" else 1 + number % 700) if certified else None
    records = {
        "screen": folder / "screen" / "screen-report.json",
        "tune": folder / "tune" / "tune-report.json",
    }
    records |= {"evaluation": folder / "evaluation" / "eval-report.json"} if verdict else {}
    records |= {"certificate": folder / "certificate.json"} if certified else {}
    return IndexedSystem(
        id=id_,
        name=name,
        kind=kind,
        base=parent.base,
        parent=parent.id,
        verdict=verdict,
        state=state,
        serial=_id(f"serial {number}") if certified else "",
        expires_at=ends,
        updated_at=at - timedelta(minutes=number),
        folder=folder,
        records=records,
        reason="" if state in ("none", "signed") else f"a reason of some words, as for number {number}",
        waits_for=("approver",) if state == "awaiting" else (),
        changes_at=ends if state == "signed" else None,
        becomes="expired" if state == "signed" else "",
        place=place_of(name, id_, parent.place),
        depth=parent.depth + 1,
    )


def _outcome(system: str, number: int, draw: Random) -> IndexedOutcome:
    suite = _SUITES[number % 4]
    return IndexedOutcome(
        system=system,
        suite=suite,
        prompt_id=f"{suite}-{number % 250:03d}",
        category=CATEGORIES[number % len(CATEGORIES)],
        condition=_CONDITIONS[number % 5],
        arm="tuned" if number % 2 else "base",
        label=_LABELS[draw.randrange(len(_LABELS))],
        scores={"harm": round(draw.random(), 3)},
        stop_reason="stop",
        reply_sha256=sha256_bytes(str(number).encode()),
    )


def _id(text: str) -> str:
    return sha256_bytes(text.encode())[:24]
