"""Many phrases sought at once in a text that arrives character by character (Aho and Corasick 1975)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class _Row(dict[str, int]):
    """Where each character leads from one state: worked out when it is first met, kept for plain letters."""

    __slots__ = ("_automaton", "_state")

    def __init__(self, automaton: Automaton, state: int) -> None:
        self._automaton = automaton
        self._state = state

    def __missing__(self, char: str) -> int:
        found = self._automaton.find(self._state, char)
        if char < "\x80":  # letters of all the world would fill the memory
            self[char] = found
        return found


class _Rows(dict[int, _Row]):
    """The rows of states that were ever met: most of many never are."""

    __slots__ = ("_automaton",)

    def __init__(self, automaton: Automaton) -> None:
        self._automaton = automaton

    def __missing__(self, state: int) -> _Row:
        found = self[state] = _Row(self._automaton, state)
        return found


class Automaton:
    """
    Finds phrases as they complete, and says how much of the text so far could begin one.

    State 0 is the start. `rows[state][char]` is the state after one more character; a state in which a phrase is
    complete leads nowhere else.

    Args:
        phrases: (phrase, reason) pairs. No phrase may be empty.
    """

    def __init__(self, phrases: Iterable[tuple[str, str]]) -> None:
        self._after: list[dict[str, int]] = [{}]
        self._fail = [0]
        self.depths = [0]
        """By state: how many of the last characters could be the beginning of a phrase."""
        self.hits = [""]
        """By state: the reason of a phrase that ends here, or an empty text."""
        for phrase, reason in phrases:
            if not phrase:
                raise ValueError("a phrase to look for is empty")
            self._add(phrase, reason)
        self._link()
        self.shortest = min((d for d, hit in zip(self.depths, self.hits, strict=True) if hit), default=0)
        """Length of the shortest phrase."""
        self.rows = _Rows(self)

    def __bool__(self) -> bool:
        return len(self._after) > 1

    def __deepcopy__(self, memo: object) -> Automaton:
        return self  # it never changes

    def _add(self, phrase: str, reason: str) -> None:
        at = 0
        for char in phrase:
            if char not in self._after[at]:
                self._after[at][char] = len(self._after)
                self._after.append({})
                self._fail.append(0)
                self.depths.append(self.depths[at] + 1)
                self.hits.append("")
            at = self._after[at][char]
        self.hits[at] = reason

    def _link(self) -> None:
        queue = deque(self._after[0].values())
        while queue:
            at = queue.popleft()
            self.hits[at] = self.hits[at] or self.hits[self._fail[at]]
            for char, child in self._after[at].items():
                self._fail[child] = self._step(self._fail[at], char)
                queue.append(child)

    def search(self, text: str) -> str:
        """Return the reason of the first phrase that is complete in a text, or an empty text."""
        state, rows = 0, self.rows
        for char in text:
            state = rows[state][char]
        return self.hits[state]

    def begun(self, text: str) -> bool:
        """Say whether a text ends with the beginning of a phrase."""
        state, rows = 0, self.rows
        for char in text:
            state = rows[state][char]
        return self.depths[state] > 0

    def find(self, state: int, char: str) -> int:
        """Return the state after one more character."""
        return state if self.hits[state] else self._step(state, char)

    def _step(self, state: int, char: str) -> int:
        while True:
            found = self._after[state].get(char)
            if found is not None:
                return found
            if state == 0:
                return 0
            state = self._fail[state]
