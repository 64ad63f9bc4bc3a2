"""
The risk of a conversation, kept by the server: what no single turn gives away.

Attacks over several turns begin harmlessly and climb (Crescendo, Russinovich et al. 2024, arXiv:2404.01833), go back
after a refusal and try again. So what a turn added stays, whatever history the client sends next time.
`ConversationPolicy` has the formula.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from recert.gateway.input.classifier import Classifier, Judged
from recert.gateway.input.gate import FAILED, Answer
from recert.gateway.protocol.request_texts import RequestTexts
from recert.judges.protocol import Score
from recert.policy.policy import ConversationPolicy

CONVERSATION: Final = "conversation"
TOO_RISKY: Final = "conversation-risk"
_TELLING_CHARS: Final = 24
"""A turn shorter than this is said in many conversations."""
_TELLING_GAIN: Final = 0.5
"""A turn that adds this much tells a conversation even where the client names another."""
_CONTEXT_TURNS: Final = 2
_MOST_TURNS: Final = 512
_FORGOTTEN_BELOW: Final = 0.01
_LOOKED_AT: Final = 8
_DIGESTS_EACH: Final = 16
"""Digests of turns that are remembered for each of the policy's `most_kept` conversations, on average."""


@dataclass(frozen=True)
class Turn:
    """What a user said, its digest, and the same behind the turns before it."""

    digest: int
    text: str
    in_context: str


@dataclass(eq=False)
class Conversation:
    """What is known of one conversation. `highest` is the most that its risk has been, halved with time as it is."""

    risk: float = 0.0
    highest: float = 0.0
    peak: float | None = None
    at: float = 0.0
    counted: dict[int, None] = field(default_factory=dict)
    """Turns that were counted, each by its digest."""
    keys: dict[int, None] = field(default_factory=dict)
    """What leads here."""
    digests: int = 0
    """How many of both there were when it was last kept."""

    def decay(self, now: float, half_life_s: float) -> None:
        """Let the time since the last look take its share."""
        share = 0.5 ** (max(0.0, now - self.at) / half_life_s)
        self.risk, self.highest, self.at = self.risk * share, self.highest * share, max(self.at, now)

    def take(self, score: float, policy: ConversationPolicy) -> float:
        """Count one new turn by the formula of `ConversationPolicy`; return what it added."""
        above, gain = score - policy.floor, 0.0
        if not above <= 0:
            rise = 0.0 if self.peak is None else max(0.0, score - max(self.peak, policy.floor))
            gain = (above + policy.climb * rise) / (1 - policy.floor)
            self.risk += gain
        else:
            self.risk = max(self.risk - policy.relief, min(self.risk, self.highest / 2))
        self.peak = score if self.peak is None else max(self.peak, score)
        self.highest = max(self.highest, self.risk)
        return gain


class Conversations:
    """
    The conversations that carry a risk, of every client. Those without are not kept: their turns are scored anew.
    Nothing of what was said is kept but digests, under a key that ends with the process. A conversation is forgotten
    once its risk has come down to next to nothing, or where there are more, or longer ones, than are kept.

    Without a name from the client a conversation is told by any of its longer turns, so that a history with turns
    left out, changed or put in leads to it all the same. With a name it is that of the client's alone.

    Args:
        policy: the formula's numbers, and how many are kept.
        clock: seconds that never go back.
    """

    def __init__(self, policy: ConversationPolicy, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._clock = clock
        self._seed = secrets.token_bytes(16)
        self._kept: OrderedDict[Conversation, None] = OrderedDict()
        self._found: dict[int, Conversation] = {}
        self._digests = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, asked: RequestTexts) -> Conversation:
        """Return the conversation that a request goes on with, or a new one."""
        named = self._name(asked)
        keys = [named] if named is not None else []
        keys += [self._digest(b"told", asked.client, turn) for turn in asked.turns]
        keys += self._long(asked) if named is None else []
        seen = dict.fromkeys(self._found[key] for key in keys if key in self._found)
        now = self._clock()
        for one in seen:
            one.decay(now, self._policy.half_life_s)
        if not seen:
            return Conversation(at=now)
        first, *others = seen
        for other in others:
            self._merge(first, other)
        self._kept.move_to_end(first)
        return first

    def new_turns(self, asked: RequestTexts, of: Conversation) -> list[Turn]:
        """Return the turns of a request that were not counted yet, in order."""
        said: Counter[str] = Counter()
        out = []
        for at, turn in enumerate(asked.turns):
            said[turn] += 1
            digest = self._digest(b"turn", asked.client, f"{said[turn]} {turn}")
            if digest not in of.counted:
                before = asked.turns[max(0, at - _CONTEXT_TURNS) : at + 1]
                out.append(Turn(digest, turn, "\n".join(before)))
        return out

    def count(self, asked: RequestTexts, of: Conversation, scored: Sequence[tuple[Turn, float]]) -> float:
        """Count new turns with their scores, in order; keep the conversation if it has a risk, and return that."""
        telling = []
        for turn, score in scored:
            gain = of.take(score, self._policy)
            of.counted[turn.digest] = None
            if gain >= _TELLING_GAIN:
                telling.append(self._digest(b"told", asked.client, turn.text))
        if len(of.counted) > _MOST_TURNS:
            of.counted = dict.fromkeys(list(of.counted)[-_MOST_TURNS:])
        if of.highest >= _FORGOTTEN_BELOW:
            self._keep(asked, of, telling)
        return of.risk

    def _keep(self, asked: RequestTexts, of: Conversation, telling: Iterable[int]) -> None:
        named = self._name(asked)
        keys = [*telling, *self._long(asked)]
        keys += [named] if named is not None else []
        for key in keys:
            holder = self._found.get(key)
            if holder is not None and holder is not of:
                holder.keys.pop(key, None)
            self._found[key] = of
            of.keys[key] = None
        for key in list(of.keys)[: max(0, len(of.keys) - 2 * _MOST_TURNS)]:
            del of.keys[key], self._found[key]
        self._kept[of] = None
        self._digests += len(of.counted) + len(of.keys) - of.digests
        of.digests = len(of.counted) + len(of.keys)
        most = self._policy.most_kept
        while len(self._kept) > most or (self._digests > most * _DIGESTS_EACH and len(self._kept) > 1):
            self._forget(self._least())
        self._forget_what_is_over()

    def _forget_what_is_over(self) -> None:
        """Of those longest unused, what has no risk left."""
        now = self._clock()
        while self._kept:
            oldest = next(iter(self._kept))
            oldest.decay(now, self._policy.half_life_s)
            if oldest.highest >= _FORGOTTEN_BELOW:
                return
            self._forget(oldest)

    def _least(self) -> Conversation:
        """Of those longest unused the one with the least risk: many new ones do not push out a risky one first."""
        oldest = [one for one, _ in zip(self._kept, range(_LOOKED_AT), strict=False)]
        now = self._clock()
        for one in oldest:
            one.decay(now, self._policy.half_life_s)
        return min(oldest, key=lambda one: one.highest)

    def _forget(self, one: Conversation) -> None:
        self._kept.pop(one, None)
        self._digests -= one.digests
        one.digests = 0
        for key in one.keys:
            if self._found.get(key) is one:
                del self._found[key]

    def _merge(self, into: Conversation, other: Conversation) -> None:
        into.risk, into.highest = max(into.risk, other.risk), max(into.highest, other.highest)
        into.peak = max((p for p in (into.peak, other.peak) if p is not None), default=None)
        into.counted |= other.counted
        self._forget(other)
        for key in other.keys:
            self._found[key] = into
            into.keys[key] = None

    def _name(self, asked: RequestTexts) -> int | None:
        return self._digest(b"name", asked.client, asked.conversation) if asked.conversation else None

    def _long(self, asked: RequestTexts) -> list[int]:
        return [
            self._digest(b"long", asked.client, turn) for turn in asked.turns if len(turn) >= _TELLING_CHARS
        ]

    def _digest(self, kind: bytes, client: str, text: str | bytes) -> int:
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        made = hashlib.blake2b(digest_size=8, key=self._seed, person=kind)
        who = client.encode("utf-8", "surrogatepass")
        made.update(len(who).to_bytes(4, "big") + who + data)
        return int.from_bytes(made.digest(), "big")


class ConversationControl:
    """
    Blocks every request of a conversation whose risk has reached the policy's bound.

    It sees every request, also one that another control blocks afterwards.

    Args:
        classifier: scores turns.
        policy: formula and bound.
        clock: seconds that never go back.
    """

    name = CONVERSATION

    def __init__(
        self,
        classifier: Classifier,
        policy: ConversationPolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._classifier = classifier
        self._policy = policy
        self._conversations = Conversations(policy, clock=clock)

    def look(self, asked: RequestTexts) -> Answer | Awaitable[Answer]:
        """Return the conversation's risk with this request; at once where its turns were judged before."""
        found = self._conversations.find(asked)
        turns = self._conversations.new_turns(asked, found)
        texts = tuple(dict.fromkeys(text for turn in turns for text in (turn.text, turn.in_context)))
        known = self._classifier.known(texts)
        return (
            self._ask(asked, texts)
            if known is None
            else self._answer(asked, dict(zip(texts, known, strict=True)))
        )

    async def _ask(self, asked: RequestTexts, texts: tuple[str, ...]) -> Answer:
        said = await self._classifier.scores(texts)
        return self._answer(asked, dict(zip(texts, said, strict=True)))

    def _answer(self, asked: RequestTexts, said: Mapping[str, Judged]) -> Answer:
        """Count what is new by now: another request of the conversation may have come in between."""
        found = self._conversations.find(asked)
        scored = []
        for turn in self._conversations.new_turns(asked, found):
            alone, in_context = said.get(turn.text), said.get(turn.in_context)
            if not isinstance(alone, Score) or not isinstance(in_context, Score):
                return Answer(None, blocked=True, reason=FAILED)
            scored.append((turn, (alone.value + in_context.value) / 2))
        risk = self._conversations.count(asked, found, scored)
        blocked = not risk < self._policy.blocked_at
        return Answer(round(risk, 4), blocked, TOO_RISKY if blocked else "")

    async def close(self) -> None:
        """There is nothing to give back."""
