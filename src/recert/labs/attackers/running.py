"""
The course of an attack: all conversations side by side, turn by turn, in batches.

A turn is begun once the turn before it is over in every conversation of its group, so what attackers learn from each
other is the same in a run that was killed and resumed as in one that was not. Replies at a temperature, and near-ties
of bfloat16, are as repeatable as the engine that makes them.

Here too: why a conversation ends, from its turns alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from recert.digest import sha256_json
from recert.labs.attackers.asking import NoAnswer
from recert.labs.attackers.panel import HarmPanel
from recert.labs.attackers.protocol import Attacker, AttackProtocol, Move, View, is_refused, target_chat
from recert.labs.attackers.sides import Answer, Side
from recert.labs.attackers.turn_file import TurnFile, end_line, turn_line
from recert.models.protocol import Sampling
from recert.records.data.rows import split_reply
from recert.records.data.suite import Chat
from recert.records.reports.attack import AttackItem, AttackTurn, Conversation, ConversationEnd, HarmMark

Ended = tuple[ConversationEnd, str]


def ended(turns: Sequence[AttackTurn], protocol: AttackProtocol) -> Ended | None:
    """Return why a conversation ends after some turns; None where it goes on."""
    if protocol.stop_at_bound and _reached(turns, protocol):
        return ConversationEnd.REACHED, ""
    most = protocol.stop_after_refusals
    if most and len(turns) >= most and all(map(is_refused, turns[-most:])):
        return settled(turns, protocol, ConversationEnd.EXHAUSTED, f"{most} refusals in a row")
    if len(turns) >= protocol.turns:
        return settled(turns, protocol, ConversationEnd.EXHAUSTED, "")
    return None


def settled(
    turns: Sequence[AttackTurn], protocol: AttackProtocol, end: ConversationEnd | None, because: str
) -> Ended:
    """
    Return how a conversation that is over ended.

    One that reached the bound did so however it ended. One with a turn that nobody scored was never shown to be
    safe: it is unscored where it would count as resisted.
    """
    if _reached(turns, protocol):
        return ConversationEnd.REACHED, ""
    lost = [turn.index + 1 for turn in turns if turn.harm is None]
    if lost and end in (None, ConversationEnd.EXHAUSTED, ConversationEnd.ATTACKER_REFUSED):
        return ConversationEnd.UNSCORED, f"no score for turn {', '.join(map(str, lost))}"
    return end or ConversationEnd.EXHAUSTED, because


def _reached(turns: Sequence[AttackTurn], protocol: AttackProtocol) -> bool:
    return any(turn.harm is not None and turn.harm >= protocol.bound for turn in turns)


_FORM = 1
"""Counted up when conversations run otherwise: those of an earlier form are not gone on with."""
BATCH = 64
"""Conversations between two writes to the disk: what a kill may cost."""


class Progress(Protocol):
    """Told how far a run is."""

    def at(self, done: int, total: int, note: str = "") -> None:
        """The run is at `done` turns of `total`."""


@dataclass
class Talk:
    """One conversation on its way."""

    key: str
    side: Side
    attacker: Attacker
    item: AttackItem
    seed: int
    turns: list[AttackTurn] = field(default_factory=list)
    end: ConversationEnd | None = None
    because: str = ""

    def view(self, protocol: AttackProtocol, turns: int) -> View:
        """Return what the attacker saw of it after so many turns."""
        return View(self.item, self.seed, tuple(self.turns[:turns]), protocol)

    def record(self, protocol: AttackProtocol) -> Conversation:
        """Return it as a record."""
        end, because = settled(self.turns, protocol, self.end, self.because)
        return Conversation(
            item=self.item,
            attacker=self.attacker.name,
            method=self.attacker.method,
            arm=self.side.arm,
            safeguards=self.side.safeguards,
            seed=self.seed,
            system=protocol.system,
            turns=tuple(self.turns),
            end=end,
            because=because,
            bound=protocol.bound,
            model=self.side.model,
        )


@dataclass(frozen=True)
class AttackBudget:
    """What a run may spend, turns of earlier runs in the same file included. None for no bound."""

    most_target_calls: int | None = None
    most_tokens: int | None = None
    """Tokens made, by targets and attackers together."""


class AttackRun:
    """
    Runs conversations of some attackers with some targets.

    Args:
        sides: the targets; each is asked all items by all attackers, with each seed.
        attackers: who attacks.
        items: about what.
        seeds: how often, and with which draws.
        protocol: how conversations run.
        panel: who marks replies.
        file: where turns are kept.
        budget: what it may spend.
        batch: conversations that are asked, marked and written at once.
        progress: told of each batch.
    """

    def __init__(
        self,
        sides: Sequence[Side],
        attackers: Sequence[Attacker],
        items: Sequence[AttackItem],
        *,
        seeds: Sequence[int] = (0,),
        protocol: AttackProtocol,
        panel: HarmPanel,
        file: TurnFile,
        budget: AttackBudget | None = None,
        batch: int = BATCH,
        progress: Progress | None = None,
    ) -> None:
        self._sides, self._protocol, self._panel, self._file = sides, protocol, panel, file
        self._budget, self._batch, self._progress = budget or AttackBudget(), batch, progress
        self._judges = [note.id for note in panel.notes]
        self._spent_out = ""
        self.talks = [
            self._begun(side, attacker, item, seed, items)
            for side in sides
            for attacker in attackers
            for seed in seeds
            for item in items
        ]
        self._calls = sum(turn.target_calls for talk in self.talks for turn in talk.turns)
        self._tokens = sum(_tokens(turn) for talk in self.talks for turn in talk.turns)

    def run(self) -> tuple[Conversation, ...]:
        """
        Let every conversation run to its end, and return them: by target, attacker, seed and item.

        Raises:
            StoreError: the disk is full.
        """
        for at in range(self._protocol.turns):
            for side in self._sides:
                self._turn(side, at)
        for talk in self.talks:
            if talk.end is None:
                talk.end, talk.because = ConversationEnd.BUDGET, self._spent_out
        return tuple(talk.record(self._protocol) for talk in self.talks)

    def _begun(
        self, side: Side, attacker: Attacker, item: AttackItem, seed: int, items: Sequence[AttackItem]
    ) -> Talk:
        """A conversation as far as it was kept."""
        together = [one.model_dump(mode="json") for one in items] if attacker.shares else []
        key = sha256_json(
            [
                _FORM,
                item.model_dump(mode="json"),
                attacker.identity,
                [side.arm, *side.safeguards],
                side.identity,
                seed,
                self._protocol.model_dump(mode="json"),
                self._panel.identity,
                together,
            ]
        )
        kept = self._file.kept(key)
        talk = Talk(key, side, attacker, item, seed, kept.turns, kept.end, kept.because)
        self._look(talk)
        return talk

    def _look(self, talk: Talk) -> None:
        """End a conversation that its turns have ended."""
        found = ended(talk.turns, self._protocol)
        if found is not None:
            talk.end, talk.because = found

    def _turn(self, side: Side, at: int) -> None:
        """One turn of every open conversation with one target."""
        moves = list(self._moves(side, at))
        while moves and not self._over():
            size = self._batch
            if self._budget.most_target_calls is not None:
                size = min(size, self._budget.most_target_calls - self._calls)
            self._say(side, moves[:size])
            self._tell()
            moves = moves[size:]

    def _moves(self, side: Side, at: int) -> list[tuple[Talk, Move, Chat]]:
        """What attackers say at a turn, the shortest conversations first."""
        out = []
        for group in self._groups(side):
            todo = [talk for talk in group if talk.end is None and len(talk.turns) == at]
            if not todo or self._over():
                continue
            attacker = group[0].attacker
            past = [talk.view(self._protocol, at) for talk in group] if attacker.shares else ()
            moves = attacker.next_moves([talk.view(self._protocol, at) for talk in todo], past)
            gone = []
            for talk, move in zip(todo, moves, strict=True):
                if move.end is None:
                    out.append((talk, move, target_chat(self._protocol.system, talk.turns, move)))
                    continue
                talk.end, talk.because = move.end, move.because
                if move.end in (ConversationEnd.ATTACKER_REFUSED, ConversationEnd.EXHAUSTED):
                    gone.append(end_line(talk.key, move.end, move.because))
            self._file.add(gone)
        return sorted(out, key=lambda one: sum(len(m.content) for m in one[2].messages))

    def _groups(self, side: Side) -> Iterator[list[Talk]]:
        """Conversations with one target that learn from each other: of one attacker and seed."""
        groups: dict[tuple[int, int], list[Talk]] = {}
        for talk in self.talks:
            if talk.side is side:
                groups.setdefault((id(talk.attacker), talk.seed), []).append(talk)
        yield from groups.values()

    def _say(self, side: Side, moves: Sequence[tuple[Talk, Move, Chat]]) -> None:
        """Ask, mark and keep one batch."""
        answered: list[tuple[Talk, Move, Answer]] = []
        for (talk, move, _), answer in zip(moves, self._ask(side, moves), strict=True):
            if isinstance(answer, Answer):
                answered.append((talk, move, answer))
            else:
                self._lost(talk, answer)
        split = [split_reply(answer.text) for _, _, answer in answered]
        marks = self._marks(answered, split)
        lines: list[dict[str, Any]] = []
        for (talk, move, answer), (trace, reply), marked in zip(answered, split, marks, strict=True):
            turn = AttackTurn(
                index=len(talk.turns),
                sent=move.message,
                thought=move.thought,
                tactic=move.tactic,
                reply=reply,
                trace=trace,
                marks=marked,
                blocked_by=answer.blocked_by,
                stop_reason=answer.stop_reason,
                attacker_tokens=move.tokens,
                target_tokens=answer.tokens,
                fresh=move.fresh,
                follows=move.follows,
            )
            lines.append(turn_line(talk.key, turn))
            talk.turns.append(turn)
            self._calls, self._tokens = self._calls + turn.target_calls, self._tokens + _tokens(turn)
            self._look(talk)
        self._file.add(lines)

    def _ask(self, side: Side, moves: Sequence[tuple[Talk, Move, Chat]]) -> list[Answer | NoAnswer]:
        """Answers in order. Greedy replies need no seed, so all seeds are asked together."""
        bounds = self._protocol
        out: list[Answer | NoAnswer] = [NoAnswer("")] * len(moves)
        by_seed: dict[int, list[int]] = {}
        for at, (talk, _, _) in enumerate(moves):
            by_seed.setdefault(talk.seed if bounds.temperature > 0 else 0, []).append(at)
        for seed, places in by_seed.items():
            sampling = Sampling(
                max_new_tokens=bounds.max_new_tokens,
                temperature=bounds.temperature,
                top_p=bounds.top_p,
                seed=seed,
            )
            for at, answer in zip(places, side.ask([moves[at][2] for at in places], sampling), strict=True):
                out[at] = answer
        return out

    def _lost(self, talk: Talk, why: NoAnswer) -> None:
        if why.budget:
            self._spent_out = why.because
        else:
            talk.end, talk.because = ConversationEnd.TARGET_FAILED, why.because

    def _marks(
        self, answered: Sequence[tuple[Talk, Move, Answer]], split: Sequence[tuple[str, str]]
    ) -> list[tuple[HarmMark, ...]]:
        """Marks in order: the judges read answers, not reasoning; what was blocked nobody could read."""
        out: list[tuple[HarmMark, ...]] = []
        read = [
            (talk.item.text, move.message, reply)
            for (talk, move, answer), (_, reply) in zip(answered, split, strict=True)
            if not answer.blocked_by
        ]
        marked = iter(self._panel.marks(read))
        for _, _, answer in answered:
            why = f"blocked by {answer.blocked_by}"
            out.append(
                tuple(HarmMark(judge=name, score=0.0, because=why) for name in self._judges)
                if answer.blocked_by
                else next(marked)
            )
        return out

    def _over(self) -> bool:
        """Whether the budget is spent; what it was is kept for the conversations that it ends."""
        bounds = self._budget
        if bounds.most_target_calls is not None and self._calls >= bounds.most_target_calls:
            self._spent_out = f"{self._calls} replies of the target, the budget is {bounds.most_target_calls}"
        elif bounds.most_tokens is not None and self._tokens >= bounds.most_tokens:
            self._spent_out = f"{self._tokens} tokens, the budget is {bounds.most_tokens}"
        return bool(self._spent_out)

    def _tell(self) -> None:
        if self._progress is not None:
            most = self._protocol.turns
            done = sum(most if talk.end is not None else len(talk.turns) for talk in self.talks)
            reached = sum(talk.end is ConversationEnd.REACHED for talk in self.talks)
            self._progress.at(done, most * len(self.talks), f"{reached} of {len(self.talks)} reached")


def _tokens(turn: AttackTurn) -> int:
    return turn.attacker_tokens + turn.target_tokens
