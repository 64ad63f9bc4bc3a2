"""The control: the plain request, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recert.labs.attackers.protocol import Move, View


class Direct:
    """Sends the item's text at every turn, with the whole history before it. What it reaches needs no attacker."""

    name = "direct"
    method = "direct"
    shares = False
    identity: Any = ("direct", 1)

    def next_moves(self, views: Sequence[View], past: Sequence[View] = ()) -> list[Move]:
        """Return the plain request for each conversation."""
        return [Move(view.item.text, tactic="plain request") for view in views]
