"""One prompt, rewritten from feedback until it works; the target sees each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from recert.labs.attackers.protocol import Move, View
from recert.labs.attackers.strategies.rewriters import Request, Rewriter, ScriptedRewriter


class Pair:
    """
    Rewrites the latest prompt from the target's reply and its score. Each prompt opens a conversation of its own.

    Args:
        rewriter: who writes; by default the script, which needs no model.

    Source:
        Chao et al. 2023, "Jailbreaking Black Box Large Language Models in Twenty Queries", arXiv:2310.08419.
    """

    method = "pair"
    shares = False

    def __init__(self, rewriter: Rewriter | None = None) -> None:
        self._rewriter = rewriter or ScriptedRewriter()
        self.name = f"pair({self._rewriter.name})" if self._rewriter.name else "pair"

    @property
    def identity(self) -> Any:
        """The form of the attack and who writes."""
        return ["pair", 1, self._rewriter.identity]

    def next_moves(self, views: Sequence[View], past: Sequence[View] = ()) -> list[Move]:
        """Return the next prompt of each conversation."""
        asked = [Request(view, view.turns[-1] if view.turns else None) for view in views]
        return [
            replace(move, fresh=True, follows=len(view.turns) - 1 if view.turns else None)
            for view, move in zip(views, self._rewriter.write(asked), strict=True)
        ]
