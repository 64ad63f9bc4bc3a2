"""
The page of an attack: one HTML file without scripts, without anything loaded from elsewhere.

Whatever comes out of the records is escaped by the templates. Replies that may do harm are left out unless asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from recert.evaluation.report.conversations import redacted
from recert.pages import formatting
from recert.pages.attack_plots import BAR_WIDTH, HEIGHT, WIDTH, bars, line_kinds, panels, setting_words
from recert.pages.environment import page_environment
from recert.pages.hunt_texts import FAR, MAX_CELL, MAX_REPLY, MAX_WHOLE, cut, effect, share
from recert.records.reports.attack import Conversation, ConversationEnd
from recert.records.reports.attack_report import ANY, AttackOutcome, AttackReport, HarmMean
from recert.store.files.writing import write_atomic

MOST_TALKS = 60
"""Conversations that the page shows turn by turn, those that did most harm first."""
MOST_TACTICS = 24
_NEVER = "Coverage is no rate, and no bound on what others reach: only these attackers, items and turns were tried."
_ENDS = {
    ConversationEnd.REACHED: "reached the bound",
    ConversationEnd.EXHAUSTED: "turns spent",
    ConversationEnd.ATTACKER_REFUSED: "attacker refused",
    ConversationEnd.ATTACKER_FAILED: "attacker failed",
    ConversationEnd.TARGET_FAILED: "target failed",
    ConversationEnd.UNSCORED: "not scored",
    ConversationEnd.BUDGET: "budget spent",
}


@dataclass(frozen=True)
class AttackAnswer:
    """What an attack came to, in words: `kind` is the chip's colour, `no`, `quiet` or empty for neither."""

    kind: str
    chip: str
    what: str
    meaning: tuple[str, ...]


@dataclass(frozen=True)
class HeatRow:
    """One domain: what each attacker reached on it; None where it was not tried."""

    domain: str
    cells: tuple[AttackOutcome | None, ...]


@dataclass(frozen=True)
class Heat:
    """Domains by attackers on one model and set of safeguards."""

    title: str
    attackers: tuple[str, ...]
    rows: tuple[HeatRow, ...]


def write_attack_page(
    path: Path, report: AttackReport, conversations: Sequence[Conversation], *, with_harmful: bool = False
) -> None:
    """
    Write the page of an attack to one HTML file; with harmful replies only its owner may read it.

    Raises:
        StoreError: the file cannot be written. An older page stays.
    """
    page = attack_page(report, conversations, with_harmful=with_harmful)
    write_atomic(path, page.encode(), mode=0o600 if with_harmful else 0o644)


def attack_page(
    report: AttackReport, conversations: Sequence[Conversation], *, with_harmful: bool = False
) -> str:
    """
    Return an attack as one HTML page, readable without scripts or network.

    Args:
        report: what it came to.
        conversations: those of the report, of which the page shows the most harmful turn by turn.
        with_harmful: whether replies are shown in which a judge found harm or that none scored.
    """
    shown = sorted(conversations, key=_first)[:MOST_TALKS]
    return (
        attack_environment()
        .get_template("attack.html.j2")
        .render(
            attack_values(report),
            talks=shown if with_harmful else [redacted(one) for one in shown],
            left_out=len(conversations) - len(shown),
            with_harmful=with_harmful,
        )
    )


def attack_values(report: AttackReport) -> dict[str, Any]:
    """Return what the templates of this page are given, the conversations apart."""
    return {
        "report": report,
        "answer": attack_answer(report),
        "tiles": [o for o in report.outcomes if o.attacker == ANY and o.domain == ANY],
        "panels": panels(report),
        "lines": line_kinds(report),
        "bars": bars(report),
        "heats": heats(report),
        "tactics": report.tactics[:MOST_TACTICS],
        "width": WIDTH,
        "height": HEIGHT,
        "bar_width": BAR_WIDTH,
    }


def attack_answer(report: AttackReport) -> AttackAnswer:
    """Return what an attack came to and what that means. What was left open is never called withstood."""
    alone = report.outcome("tuned") or report.outcome("base")
    found = alone or next(iter(report.outcomes), None)
    if found is None:
        return AttackAnswer("", "nothing attacked", "No conversation is in the report.", (_NEVER,))
    who = setting_words(found.arm, found.safeguards)
    count = round(found.coverage.point * found.coverage.n)
    what = (
        f"On {count} of {found.items} items {who} was brought to a harm of {report.bound:g} or more by any of "
        f"{len(report.attackers)} attackers within {report.turns} turns; {found.reached} of {found.conversations} "
        f"conversations got there."
    )
    meaning = [_open_words(found), _change_words(report), _effect_words(report), _NEVER]
    if found.reached:
        return AttackAnswer("no", "it was reached", what, tuple(filter(None, meaning)))
    if found.open:
        return AttackAnswer("", "not shown", what, tuple(filter(None, meaning)))
    return AttackAnswer("quiet", "not reached by these attackers", what, tuple(filter(None, meaning)))


def heats(report: AttackReport) -> tuple[Heat, ...]:
    """Return a map of domains by attackers for each model and set of safeguards, the tuned model's first."""
    settings = sorted(report.settings, key=lambda one: (one[0] != "tuned", len(one[1])))
    names = tuple(note.name for note in report.attackers)
    found = {(o.arm, o.safeguards, o.attacker, o.domain): o for o in report.outcomes}
    return tuple(
        Heat(
            setting_words(arm, safeguards),
            names,
            tuple(
                HeatRow(
                    domain or "all domains", tuple(found.get((arm, safeguards, n, domain)) for n in names)
                )
                for domain in (ANY, *report.domains)
            ),
        )
        for arm, safeguards in settings
    )


def harm_words(harm: HarmMean) -> str:
    """Return a mean of harm with its interval, or that there is none."""
    if harm.replies == harm.unscored:
        return "not known"
    return f"{harm.mean:.2f} [{harm.low:.2f}, {harm.high:.2f}]".replace("-", "\u2212")


def ends_words(ends: dict[str, int]) -> str:
    """Return how conversations ended, the most frequent first."""
    said = sorted(ends.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{count} {_ENDS[ConversationEnd(end)]}" for end, count in said)


def _open_words(found: AttackOutcome) -> str:
    if not found.open:
        return ""
    return (
        f"{found.open} of {found.conversations} conversations are open ({ends_words(found.ends)}): they never count as "
        f"safe, and coverage may be up to {formatting.rate(found.coverage_at_most.point)}."
    )


def _change_words(report: AttackReport) -> str:
    change = next((c for c in report.changes if c.attacker == ANY and not c.safeguards), None)
    if change is None:
        return "The base was not attacked on the same items: nothing is shown about tuning."
    return (
        f"Against its base, on the same items, attackers and seeds, {effect(change.change)} percentage points more "
        f"conversations got there."
    )


def _effect_words(report: AttackReport) -> str:
    arm = "tuned" if any(one.arm == "tuned" for one in report.safeguard_effects) else "base"
    said = [
        f"behind {', '.join(one.safeguards)} {effect(one.change)} percentage points, mean harm {one.harm_before:.2f} "
        f"to {one.harm_after:.2f}"
        for one in report.safeguard_effects
        if one.attacker == ANY and one.arm == arm
    ]
    return f"Safeguards of the {arm} model: {'; '.join(said)}." if said else ""


def _first(one: Conversation) -> tuple[bool, float, str, str, str, int]:
    """The most harmful first, the tuned model's before the base's."""
    return (
        one.arm != "tuned",
        -(one.most or 0.0),
        one.item.id,
        one.attacker,
        "".join(one.safeguards),
        one.seed,
    )


def attack_environment() -> jinja2.Environment:
    """Return the environment of this page's templates."""
    environment = page_environment()
    environment.filters |= {
        "cut": cut,
        "duration": lambda seconds: formatting.duration(min(seconds, FAR)),
        "effect": effect,
        "ends": ends_words,
        "harm": harm_words,
        "moment": formatting.moment,
        "rate": formatting.rate,
        "setting": lambda one: setting_words(one.arm, one.safeguards),
        "share": share,
    }
    environment.globals |= {
        "end_words": lambda end: _ENDS[end],
        "max_cell": MAX_CELL,
        "max_reply": MAX_REPLY,
        "max_whole": MAX_WHOLE,
    }
    return environment
