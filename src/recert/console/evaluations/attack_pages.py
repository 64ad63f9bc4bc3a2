"""Pages of an attack: what it came to, its conversations as a list, and one of them turn by turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, cast

from starlette.responses import Response

from recert.console.accounts.rights import Right
from recert.console.kept_records import path_of, readable, record_of, stamp, system_of
from recert.console.pages import Page
from recert.console.paging import paged
from recert.console.visiting import PageError, Visit
from recert.digest import sha256_bytes
from recert.evaluation.report.conversations import REDACTED, is_shown, redacted
from recert.labs.attackers import read_conversations
from recert.labs.attackers.report.attacking import CONVERSATIONS_FILE
from recert.labs.attackers.report.files import conversations_digest
from recert.pages.attack_page import attack_values
from recert.pages.attack_plots import setting_words
from recert.records.reports.attack import AttackTurn, Conversation
from recert.records.reports.attack_report import AttackReport
from recert.store.systems.systems_index import IndexedSystem

PATH: Final = "/systems/{id}/attack"
EACH: Final = 25
"""Conversations on one page."""
_DIGITS: Final = 16
"""Of a conversation's digest, by which a page names it."""
_GONE: Final = "The file of conversations is not beside the report, so they cannot be shown."
_OTHERS: Final = (
    "The conversations beside the report are not those that it names by digest, so none of them is shown: restore the "
    "file that was written with it."
)
PartName = Literal["sent", "thought", "reply", "trace"]
_PARTS: Final[dict[PartName, str]] = {
    "reply": "the target's reply",
    "trace": "the target's reasoning",
    "sent": "the attacker's message",
    "thought": "the attacker's reasoning",
}


@dataclass(frozen=True)
class Talks:
    """The conversations of a report by name, or why there are none."""

    by_name: dict[str, Conversation]
    told: str = ""


@dataclass(frozen=True)
class TurnShown:
    """One turn as it may be shown, and which of its parts are held back."""

    turn: AttackTurn
    harmless: bool
    held_back: tuple[tuple[PartName, str], ...]


def shown(visit: Visit) -> Response:
    """Return what an attack came to, with its conversations as a list."""
    system = system_of(visit)
    report = record_of(visit, system, "attack", AttackReport)
    talks = _talks(visit, system, report)
    names = ("item", "attacker", "end", "setting")
    chosen = {name: visit.query.get(name, "") for name in names}
    rows = [
        (name, one) for name, one in talks.by_name.items() if _wanted(one, chosen)
    ]  # those that did most harm come first
    rows.sort(key=lambda row: (row[1].arm != "tuned", -(row[1].most or 0.0), row[1].item.id, row[0]))
    every = tuple(talks.by_name.values())
    return visit.page(
        "attack.html.j2",
        title=f"Attack on {system.name}",
        system=system,
        **attack_values(report),
        talks=(),
        told=talks.told,
        chosen=chosen,
        choices={
            "item": sorted({one.item.id for one in every}),
            "attacker": sorted({one.attacker for one in every}),
            "end": sorted({one.end.value for one in every}),
            "setting": sorted({setting_words(one.arm, one.safeguards) for one in every}),
        },
        part=paged(visit, rows, each=EACH),
        all=len(every),
    )


def conversation(visit: Visit) -> Response:
    """Return one conversation turn by turn, without what may do harm."""
    system, report, name, whole = _one(visit)
    safe = redacted(whole)
    turns = [_turn(turn, before) for turn, before in zip(safe.turns, whole.turns, strict=True)]
    return visit.page(
        "conversation.html.j2",
        title=f"A conversation with {system.name}",
        system=system,
        report=report,
        talk=safe,
        turns=turns,
        name=name,
        digest=whole.digest,
    )


def revealed(visit: Visit) -> Response:
    """Return one part of one turn that was redacted. The look is logged before the text is sent."""
    system, report, name, whole = _one(visit)
    number, part = visit.form.get("turn", ""), visit.form.get("part", "")
    found = [turn for turn in whole.turns if str(turn.index) == number]
    if len(found) != 1 or part not in _PARTS:
        visit.missing("there is no such turn in this conversation")
    turn, named = found[0], cast(PartName, part)
    text = str(getattr(turn, named))
    digest = sha256_bytes(text.encode("utf-8", "replace"))
    visit.act(
        "revealed",
        system=system.id,
        report=report.digest,
        conversation=whole.digest,
        prompt=whole.item.id,
        arm=whole.arm,
        turn=turn.index,
        part=part,
        sha256=digest,
    )
    marks = [(f"Mark of {mark.judge}", _mark(mark.score, mark.failed, mark.because)) for mark in turn.marks]
    return visit.page(
        "revealed.html.j2",
        title="One text that was redacted",
        system=system,
        back=f"/console/systems/{system.id}/attack/{name}#turn-{turn.index}",
        about=[
            ("Text", f"{_PARTS[named]}, turn {turn.index + 1}"),
            ("Item", f"{whole.item.id}, {whole.item.domain}"),
            ("Attacker", whole.attacker),
            ("Model", setting_words(whole.arm, whole.safeguards)),
            *(marks if named == "reply" else ()),
        ],
        sha256=digest,
        text=text,
        because="",
    )


def _one(visit: Visit) -> tuple[IndexedSystem, AttackReport, str, Conversation]:
    system = system_of(visit)
    report = record_of(visit, system, "attack", AttackReport)
    talks = _talks(visit, system, report)
    if talks.told:
        raise PageError(talks.told.rstrip("."), status=404)
    name = visit.path["conversation"]
    if name not in talks.by_name:
        visit.missing("there is no such conversation in this attack")
    return system, report, name, talks.by_name[name]


def _talks(visit: Visit, system: IndexedSystem, report: AttackReport) -> Talks:
    path = path_of(visit, system, "attack").parent / CONVERSATIONS_FILE
    if not path.is_file():
        return Talks({}, _GONE)
    every, digest = readable("file of conversations", lambda: _read(path, *stamp(path)))
    return Talks(every) if digest == report.conversations_sha256 else Talks({}, _OTHERS)


@lru_cache(maxsize=4)
def _read(path: Path, _changed_ns: int, _size_bytes: int) -> tuple[dict[str, Conversation], str]:
    every = tuple(read_conversations(path))
    return {one.digest[:_DIGITS]: one for one in every}, conversations_digest(every)


def _wanted(one: Conversation, chosen: dict[str, str]) -> bool:
    said = {
        "item": one.item.id,
        "attacker": one.attacker,
        "end": one.end.value,
        "setting": setting_words(one.arm, one.safeguards),
    }
    return all(not wanted or said[name] == wanted for name, wanted in chosen.items())


def _turn(turn: AttackTurn, before: AttackTurn) -> TurnShown:
    """A turn whose texts are those of `before`, but for what is held back."""
    names: Sequence[PartName] = tuple(_PARTS)
    held = [
        (name, _PARTS[name])
        for name in names
        if getattr(turn, name) == REDACTED and getattr(before, name) != REDACTED
    ]
    return TurnShown(turn, is_shown(before), tuple(held))


def _mark(score: float | None, failed: str, because: str) -> str:
    said = f"{score:.1f} of 5" if score is not None else f"none: {failed}"
    return f"{said}. It says: {because}" if because else said


PAGES: Final = (
    Page("GET", PATH, Right.READ, shown, sharable=True),
    Page("GET", PATH + "/{conversation}", Right.READ, conversation),
    Page("POST", PATH + "/{conversation}/reveal", Right.REVEAL, revealed),
)
