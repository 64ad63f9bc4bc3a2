"""Many phrases sought at once in a text that arrives character by character (Aho and Corasick 1975)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class _Node:
    after: dict[str, int] = field(default_factory=dict)
    fail: int = 0
    depth: int = 0
    hit: str = ""
    """Reason of a phrase that ends here; empty when none does."""


class Automaton:
    """
    Finds phrases as they complete, and says how much of the text so far could begin one.

    Args:
        phrases: (phrase, reason) pairs. No phrase may be empty.
    """

    def __init__(self, phrases: Iterable[tuple[str, str]]) -> None:
        self._nodes = [_Node()]
        for phrase, reason in phrases:
            if not phrase:
                raise ValueError("a phrase to look for is empty")
            self._add(phrase, reason)
        self._link()

    def __bool__(self) -> bool:
        return len(self._nodes) > 1

    def _add(self, phrase: str, reason: str) -> None:
        at = 0
        for char in phrase:
            node = self._nodes[at]
            if char not in node.after:
                node.after[char] = len(self._nodes)
                self._nodes.append(_Node(depth=node.depth + 1))
            at = node.after[char]
        self._nodes[at].hit = reason

    def _link(self) -> None:
        queue = deque(self._nodes[0].after.values())
        while queue:
            node = self._nodes[queue.popleft()]
            node.hit = node.hit or self._nodes[node.fail].hit
            for char, child in node.after.items():
                self._nodes[child].fail = self.step(node.fail, char)
                queue.append(child)

    def step(self, state: int, char: str) -> int:
        """Return the state after one more character; state 0 is the start."""
        nodes = self._nodes
        while True:
            found = nodes[state].after.get(char)
            if found is not None:
                return found
            if state == 0:
                return 0
            state = nodes[state].fail

    def depth(self, state: int) -> int:
        """Return how many of the last characters could be the beginning of a phrase."""
        return self._nodes[state].depth

    def hit(self, state: int) -> str:
        """Return the reason of a phrase that ends in this state, or an empty text."""
        return self._nodes[state].hit
