"""The risk of a conversation, kept by the server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.gateway.input.classifier import Classifier
from recert.gateway.input.conversation import TOO_RISKY, ConversationControl
from recert.gateway.input.gate import FAILED, InputGate
from recert.gateway.protocol.request_texts import RequestTexts
from recert.judges.embedded.request import EmbeddedRequestJudge
from recert.judges.protocol import JudgeFailed, Score
from recert.policy import ConversationPolicy
from recert.records.live.exchange import ControlScore
from recert.records.reports.evaluation import JudgeNote

from .transcripts import CLIMBING, ORDINARY

POLICY = ConversationPolicy()
SOFT = tuple(f"a somewhat suspicious question number {n} about it" for n in range(12))
"""Each scores 0.8 here: none is blocked alone."""
PLAIN = tuple(f"an entirely ordinary question number {n} about it" for n in range(12))
SHORT = "and then?"


class Judge:
    """Scores a text by its last line: 0.8 for a suspicious one, 0.1 for any other."""

    note = JudgeNote(id="lines", version="1")

    def score(self, request: str) -> Any:
        """Score one text."""
        last = request.splitlines()[-1] if request else ""
        if "unreadable" in last:
            return JudgeFailed("unreadable")
        return Score(0.8 if "suspicious" in last else 0.1)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


class Server:
    """The control as a gateway keeps it, asked one request after another."""

    def __init__(self, policy: ConversationPolicy = POLICY, judge: Any = None) -> None:
        self.clock = Clock()
        self.control = ConversationControl(Classifier(judge or Judge(), depth=3), policy, clock=self.clock)
        self.gate = InputGate([self.control], limit_s=5, shadow=())

    def ask(self, *turns: str, client: str = "team-a", name: bytes = b"") -> ControlScore:
        """Send a request with these user turns."""
        (score,) = asyncio.run(self.gate.check(RequestTexts(turns, turns, client, name)))
        return score

    def risk(self, *turns: str, client: str = "team-a", name: bytes = b"") -> float:
        """Send a request; return the conversation's risk."""
        score = self.ask(*turns, client=client, name=name).score
        assert score is not None
        return score


def grown(server: Server, turns: tuple[str, ...], **more: Any) -> list[float]:
    """Let a conversation grow turn by turn; return its risk after each."""
    return [server.risk(*turns[: n + 1], **more) for n in range(len(turns))]


def test_suspicious_turns_add_up_until_the_conversation_is_blocked() -> None:
    """No turn is blocked alone; together they are, and so is whatever follows."""
    server = Server()
    risks = grown(server, SOFT[:4])
    blocked = server.ask(*SOFT[:4], PLAIN[0])

    assert risks == pytest.approx([0.6, 1.2, 1.8, 2.4])
    assert (blocked.blocked, blocked.reason, blocked.control) == (True, TOO_RISKY, "conversation")
    assert not server.ask(*SOFT[4:7], client="team-b").blocked


def test_a_turn_counts_once() -> None:
    """The same request again, as after a lost connection, changes nothing."""
    server = Server()
    grown(server, SOFT[:3])

    assert [server.risk(*SOFT[:3]) for _ in range(5)] == pytest.approx([1.8] * 5)


def test_a_rise_counts_for_itself() -> None:
    """A suspicious turn after harmless ones adds more than one that begins a conversation."""
    climbing, flat = Server(), Server()
    climbed = climbing.risk(PLAIN[0], SOFT[0])

    assert climbed == pytest.approx(0.6 + POLICY.climb * 0.6)
    assert flat.risk(SOFT[0]) == pytest.approx(0.6)


@pytest.mark.parametrize(
    "history",
    [
        SOFT[2:3],
        SOFT[1:3],
        (SOFT[0], "an answer that was never given here", SOFT[2]),
        (SOFT[2], SOFT[1], SOFT[0]),
        (PLAIN[5], *SOFT[:3]),
        (*SOFT[:2], "a turn that takes the place of another"),
    ],
    ids=["only the last", "without the first", "one changed", "reversed", "one put in", "last one changed"],
)
def test_an_edited_history_resets_nothing(history: tuple[str, ...]) -> None:
    """With turns left out, changed, moved or put in, the conversation goes on with the risk it had."""
    server = Server()
    before = grown(server, SOFT[:3])[-1]
    again = server.risk(*history, PLAIN[9])
    new = 1 + len(set(history) - set(SOFT[:3]))

    assert again >= before - new * POLICY.relief - 1e-6
    assert server.ask(*history, PLAIN[9], SOFT[7]).blocked


def test_going_back_after_a_refusal_and_trying_again_adds_up() -> None:
    """Each new attempt from the same earlier turn counts, though none is in the history of the next."""
    server = Server()
    grown(server, PLAIN[:2])
    attempts = [server.ask(*PLAIN[:2], attempt) for attempt in SOFT[:4]]

    assert [a.blocked for a in attempts] == [False, False, True, True]


def test_an_unknown_history_counts_as_it_is_scored() -> None:
    """A conversation that the gateway never saw, or has forgotten, is as risky as its turns."""
    seen, unseen = Server(), Server()
    grown(seen, SOFT[:4])

    assert unseen.risk(*SOFT[:4]) == pytest.approx(seen.risk(*SOFT[:4]))
    assert unseen.ask(*SOFT[:4]).blocked


def test_ordinary_turns_take_little_off_and_never_more_than_half() -> None:
    """Padding a conversation with harmless turns does not wash its risk away."""
    server = Server()
    turns = list(SOFT[:3])
    grown(server, SOFT[:3])
    padding = [f"a harmless sentence to pad with, number {n}" for n in range(100)]
    risk = 0.0
    for one in padding:
        turns.append(one)
        risk = server.risk(*turns[-5:])

    assert risk == pytest.approx(0.9)


def test_risk_decays_with_time() -> None:
    """It halves with every half-life, and never grows back."""
    server = Server(ConversationPolicy(half_life_s=60))
    grown(server, SOFT[:4])
    server.clock.now_s += 60
    half = server.risk(*SOFT[:4])
    server.clock.now_s -= 1000

    assert half == pytest.approx(1.2)
    assert server.risk(*SOFT[:4]) == pytest.approx(1.2)


def test_a_name_belongs_to_one_client() -> None:
    """Nobody gets into another client's conversation by its name, nor by its words."""
    server = Server()
    grown(server, SOFT[:4], name=b"chat-1")

    assert server.risk(PLAIN[0], client="team-b", name=b"chat-1") == 0
    assert server.risk(*SOFT[:1], client="team-b") == pytest.approx(0.6)
    assert server.ask(PLAIN[0], name=b"chat-1").blocked


def test_conversations_with_names_of_their_own_stay_apart() -> None:
    """Where a client speaks for many people, one's risk is not another's, though both begin alike."""
    server = Server()
    grown(server, (PLAIN[0], *SOFT[:4]), name=b"alice")

    assert server.risk(PLAIN[0], PLAIN[1], name=b"bob") == 0
    assert server.ask(PLAIN[0], PLAIN[1], name=b"alice").blocked


def test_another_name_does_not_wash_a_history() -> None:
    """A new name with the old turns finds what they added, and their scores count again where they do not lead."""
    server = Server()
    grown(server, SOFT[:4], name=b"one")

    assert server.ask(*SOFT[:4], PLAIN[0], name=b"two").blocked
    assert server.ask(SOFT[3], PLAIN[1], name=b"three").blocked


def test_short_turns_lead_nowhere() -> None:
    """What is said in many conversations does not make them one."""
    server = Server()
    grown(server, (SHORT, *SOFT[:4]))

    assert server.risk(SHORT) == 0


def test_what_is_kept_is_bounded_and_the_risky_stay_longest() -> None:
    """Thousands of conversations do not fill the memory, nor push the risky one out at once."""
    server = Server(ConversationPolicy(most_kept=50))
    grown(server, SOFT[:4])
    for n in range(52):
        server.ask(f"another suspicious question, number {n} of many", client=f"client-{n}")
    kept = server.control._conversations

    assert len(kept) == 50
    assert len(kept._found) < 50 * 6
    assert server.ask(SOFT[3], PLAIN[0]).blocked


def test_ordinary_conversations_take_no_memory() -> None:
    """A conversation without any risk is not kept."""
    server = Server()
    grown(server, PLAIN[:6])

    assert len(server.control._conversations) == 0


def test_a_long_conversation_takes_bounded_memory() -> None:
    """However many turns come, only so many are remembered."""
    server = Server(ConversationPolicy(blocked_at=1e9))
    for n in range(700):
        server.ask(SOFT[0], f"suspicious turn number {n} of very many turns", name=b"long")
    (one,) = server.control._conversations._kept

    assert len(one.counted) <= 512
    assert len(one.keys) <= 1024


def test_many_long_conversations_take_bounded_memory() -> None:
    """A client that fills every conversation with turns gets fewer of them remembered, not more memory."""
    server = Server(ConversationPolicy(most_kept=20, blocked_at=1e9))
    for n in range(30):
        turns = [f"suspicious turn number {turn} of the long conversation {n}" for turn in range(40)]
        server.ask(*turns, client=f"client-{n}")
    kept = server.control._conversations
    held = sum(len(one.counted) + len(one.keys) for one in kept._kept)

    assert held == kept._digests <= 20 * 16
    assert {one for one in kept._found.values()} == set(kept._kept)
    assert server.risk(turns[0], client="client-29") > 20


def test_a_conversation_is_forgotten_once_its_risk_is_over() -> None:
    """Ten half-lives later nothing of it is left, and a recent one is still there."""
    server = Server(ConversationPolicy(half_life_s=60))
    grown(server, SOFT[:4])
    server.clock.now_s += 600
    server.ask(SOFT[5], client="team-b")
    kept = server.control._conversations

    assert len(kept) == 1
    assert kept._digests == sum(len(one.counted) + len(one.keys) for one in kept._kept)
    assert server.risk(SOFT[5], client="team-b") == pytest.approx(0.6)


def test_a_turn_without_a_score_blocks_and_leaves_no_trace() -> None:
    """What the classifier cannot read is not let through, and does not count against the conversation either."""
    server = Server()
    grown(server, SOFT[:2])
    failed = server.ask(*SOFT[:2], "an unreadable turn")

    assert (failed.blocked, failed.score, failed.reason) == (True, None, FAILED)
    assert server.risk(*SOFT[:2]) == pytest.approx(1.2)


def test_requests_that_come_together_count_each_turn_once() -> None:
    """Two requests of one conversation at the same time do not count its turns twice, nor lose one."""
    server = Server()

    async def both() -> list[list[ControlScore]]:
        turns = [SOFT[:2], (*SOFT[:2], SOFT[2]), (*SOFT[:2], SOFT[3])]
        return await asyncio.gather(*(server.gate.check(RequestTexts(t, t, "team-a")) for t in turns))

    asyncio.run(both())

    assert server.risk(*SOFT[:2]) == pytest.approx(2.4)


@given(
    turns=st.lists(st.sampled_from([*SOFT, *PLAIN, SHORT]), min_size=1, max_size=8),
    kept=st.sets(st.integers(0, 7)),
    added=st.lists(st.sampled_from([*SOFT, *PLAIN]), max_size=3),
)
@settings(deadline=None, max_examples=80)
def test_no_history_of_the_same_conversation_is_worth_editing(
    turns: list[str], kept: set[int], added: list[str]
) -> None:
    """
    Whatever is left out or added, the risk stays within the relief of ordinary turns, as long as the history has
    one longer turn of the conversation.
    """
    server = Server()
    before = grown(server, tuple(turns))[-1]
    history = [turn for n, turn in enumerate(turns) if n in kept]
    if not any(len(turn) >= 24 for turn in history):
        return
    after = server.risk(*history, *added)
    new = len(history) + len(added)

    assert after >= max(before / 2, before - POLICY.relief * new) - 1e-3


def _blocked(transcript: tuple[str, ...]) -> bool:
    server = Server(judge=EmbeddedRequestJudge())
    asked = [server.ask(*transcript[: n + 1]) for n in range(len(transcript))]
    return any(one.blocked for one in asked)


def test_attacks_in_harmless_words_stand_out_from_conversations_about_touchy_subjects() -> None:
    """With the shipped classifier most climbing conversations are blocked, and none of the ordinary ones is."""
    assert [name for name, one in ORDINARY.items() if _blocked(one)] == []
    assert sum(map(_blocked, CLIMBING.values())) >= 3
