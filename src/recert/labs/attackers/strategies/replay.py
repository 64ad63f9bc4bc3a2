"""Stored conversations, said again word for word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from recert.digest import sha256_json
from recert.errors import InputError, RecordError
from recert.labs.attackers.protocol import Move, View
from recert.records.reports.attack import AttackTurn, Conversation, ConversationEnd
from recert.store.files.writing import read_bytes

_NONE: Final = "no stored conversation on this item"


class Replay:
    """
    Sends what an attacker sent before, whatever the target replies now: the same attack on another model.

    Of several conversations on an item the one with the run's seed is replayed, else the most harmful one.

    Args:
        stored: conversations, as `recert attack` writes them.
    """

    method = "replay"
    shares = False

    def __init__(self, stored: Sequence[Conversation], *, name: str = "replay") -> None:
        self.name = name
        self._by_item: dict[str, list[Conversation]] = {}
        for one in stored:
            if one.turns:
                self._by_item.setdefault(one.item.id, []).append(one)
        for found in self._by_item.values():
            found.sort(key=lambda one: (-(one.most or 0.0), one.arm, one.safeguards, one.attacker, one.seed))

    @property
    def identity(self) -> Any:
        """What is sent."""
        sent = {
            item: [[one.seed, [_kept(turn) for turn in one.turns]] for one in found]
            for item, found in self._by_item.items()
        }
        return ["replay", sha256_json(sent)]

    def next_moves(self, views: Sequence[View], past: Sequence[View] = ()) -> list[Move]:
        """Return the stored message of each conversation's turn; an end where there are no more."""
        return [self._move(view) for view in views]

    def _move(self, view: View) -> Move:
        found = self._by_item.get(view.item.id, [])
        if not found:
            return Move("", end=ConversationEnd.ATTACKER_FAILED, because=_NONE)
        one = next((c for c in found if c.seed == view.seed), found[0])
        if len(view.turns) >= len(one.turns):
            return Move("", end=ConversationEnd.EXHAUSTED, because="the stored conversation ends here")
        turn = one.turns[len(view.turns)]
        return Move(
            turn.sent, thought=turn.thought, tactic=turn.tactic, fresh=turn.fresh, follows=turn.follows
        )


def read_conversations(path: Path) -> list[Conversation]:
    """
    Read conversations, one record a line.

    Raises:
        StoreError: the file cannot be read.
        InputError: a line is not a conversation, or there is none.
    """
    out = []
    for number, line in enumerate(read_bytes(path, "conversations").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            out.append(Conversation.from_json(line))
        except RecordError as exc:
            raise InputError("not a conversation", facts={"file": path, "line": number, **exc.facts}) from exc
    if not out:
        raise InputError("no conversation in the file", facts={"file": path})
    return out


def _kept(turn: AttackTurn) -> list[Any]:
    return [turn.sent, turn.tactic, turn.fresh, turn.follows]
