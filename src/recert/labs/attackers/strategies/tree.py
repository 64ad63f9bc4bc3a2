"""A tree of prompts: several variants of the best ones, those that left the subject or got nothing cut off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from recert.judges.embedded.item_words import overlap
from recert.labs.attackers.protocol import Move, View
from recert.labs.attackers.strategies.rewriters import Request, Rewriter, ScriptedRewriter
from recert.records.reports.attack import AttackTurn

_TRIES = 3
"""Variants that may leave the subject in a row before one is sent as it is."""


class Tree:
    """
    Searches prompts level by level. The target sees each by itself; each call of the target is a turn.

    A level has `branches` variants of every prompt that was kept. Before the target is asked, a variant that has left
    the item's subject is cut off; after it, the `width` prompts with the highest scores are kept.

    Args:
        rewriter: who writes; by default the script, which needs no model.
        branches: variants of each prompt.
        width: prompts that are kept at each level.
        on_topic: share of the item's content words that a prompt must hold.

    Source:
        Mehrotra et al. 2023, "Tree of Attacks", arXiv:2312.02119.
    """

    method = "tree"
    shares = False

    def __init__(
        self, rewriter: Rewriter | None = None, *, branches: int = 2, width: int = 2, on_topic: float = 0.25
    ) -> None:
        self._rewriter = rewriter or ScriptedRewriter()
        self._branches, self._width, self._on_topic = branches, width, on_topic
        self.name = f"tree({self._rewriter.name})" if self._rewriter.name else "tree"

    @property
    def identity(self) -> Any:
        """The form of the tree and who writes."""
        return ["tree", 1, self._branches, self._width, self._on_topic, self._rewriter.identity]

    def next_moves(self, views: Sequence[View], past: Sequence[View] = ()) -> list[Move]:
        """Return the next prompt to try of each tree."""
        places = [next_place(view.turns, branches=self._branches, width=self._width) for view in views]
        asked = [Request(view, place[0], place[1]) for view, place in zip(views, places, strict=True)]
        moves = self._rewriter.write(asked)
        for number in range(1, _TRIES):
            off = [at for at, move in enumerate(moves) if self._strayed(views[at], move)]
            if not off:
                break
            again = [replace(asked[at], variant=asked[at].variant + number * self._branches) for at in off]
            for at, move in zip(off, self._rewriter.write(again), strict=True):
                moves[at] = replace(move, tokens=move.tokens + moves[at].tokens)
        return [
            replace(move, fresh=True, follows=None if place[0] is None else place[0].index)
            for move, place in zip(moves, places, strict=True)
        ]

    def _strayed(self, view: View, move: Move) -> bool:
        return move.end is None and overlap(view.item.text, move.message) < self._on_topic


def next_place(turns: Sequence[AttackTurn], *, branches: int, width: int) -> tuple[AttackTurn | None, int]:
    """Return which prompt the next one improves on, None for a first one, and which variant of it that is."""
    level: list[AttackTurn] = [turn for turn in turns if turn.follows is None]
    if len(level) < branches:
        return None, len(level)
    while True:
        kept = sorted(level, key=lambda turn: (-(turn.harm or 0.0), turn.index))[:width]
        for parent in kept:
            made = list(_children(turns, parent))
            if len(made) < branches:
                return parent, len(made)
        level = [child for parent in kept for child in _children(turns, parent)]


def _children(turns: Sequence[AttackTurn], parent: AttackTurn) -> Iterator[AttackTurn]:
    return (turn for turn in turns if turn.follows == parent.index)
