"""The attacker that needs no model: scripted techniques, chosen by what worked before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from recert.digest import sha256_json
from recert.labs.attackers.matter import matter_of
from recert.labs.attackers.protocol import Move, View, is_refused, opening
from recert.labs.attackers.strategies.bandit import Bandit
from recert.labs.attackers.strategies.tactics import TACTICS, Tactic, tactics_after
from recert.records.reports.attack import MOST_HARM, AttackTurn


class Strategist:
    """
    Picks a technique of persuasion at every turn by Thompson sampling over the judges' scores.

    A conversation is `new`, `engaged` or `refused` by its last reply; each state has its techniques and its counts.
    Conversations of one run learn from each other's earlier turns. The last call of a conversation that engaged asks
    for the whole once more. Words are templates: a person or a model that reasons does better.
    """

    name = "strategist"
    method = "strategist"
    shares = True

    @property
    def identity(self) -> Any:
        """The techniques, with their words."""
        words = [[one.name, list(one.wordings), list(one.after)] for one in TACTICS.values()]
        return ["strategist", 1, sha256_json(words)]

    def next_moves(self, views: Sequence[View], past: Sequence[View] = ()) -> list[Move]:
        """Return the next message of each conversation."""
        bandits: dict[str, Bandit] = {}
        seen = list(_seen(past))
        for state in {_state(view.turns) for view in views}:
            bandits[state] = Bandit((tactic, reward) for at, tactic, reward in seen if at == state)
        return [opening(view) or self._move(view, bandits[_state(view.turns)]) for view in views]

    def _move(self, view: View, bandit: Bandit) -> Move:
        state = _state(view.turns)
        choices = tactics_after(state)
        if view.calls_left == 1 and state == "engaged":
            tactic = TACTICS["summary"]
        else:
            last = view.turns[-1].tactic if view.turns else ""
            names = [one.name for one in choices if one.name != last] or [one.name for one in choices]
            tactic = TACTICS[bandit.choose(names, view.draw_key)]
        thought = f"state {state}; tries {tactic.name}"
        return Move(worded(tactic, view), thought=thought, tactic=tactic.name)


def worded(tactic: Tactic, view: View) -> str:
    """Return a technique in the words that this conversation has not seen yet, as long as there are any."""
    used = sum(turn.tactic == tactic.name for turn in view.turns)
    wording = tactic.wordings[used % len(tactic.wordings)]
    return wording.replace("{matter}", matter_of(view.item.text)).replace("{request}", view.item.text)


def _state(turns: Sequence[AttackTurn]) -> str:
    """Whether a conversation is new, or what its last reply was."""
    talked = [turn for turn in turns if turn.tactic in TACTICS]
    if not talked:
        return "new"
    return "refused" if is_refused(talked[-1]) else "engaged"


def _seen(past: Sequence[View]) -> Iterator[tuple[str, str, float]]:
    """State, technique and reward of every earlier turn that has a score."""
    for view in past:
        for at, turn in enumerate(view.turns):
            if turn.tactic in TACTICS and turn.harm is not None:
                yield _state(view.turns[:at]), turn.tactic, turn.harm / MOST_HARM
