"""Conversations side by side: what is stored, what a kill costs, and why they end."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks_agent_world import AGREED, ITEMS, REFUSAL, moody, run, side
from recert.errors import ModelError, RecordError, StoreError
from recert.judges.embedded.item import ItemJudge
from recert.judges.protocol import JudgeFailed, Score
from recert.labs.attackers import AttackBudget, AttackProtocol, HarmPanel, TurnFile, attacker_named
from recert.models.protocol import Generation
from recert.records.data.suite import Chat
from recert.records.reports.attack import Conversation, ConversationEnd
from recert.records.reports.evaluation import JudgeNote

SCRIPTED = ("direct", "strategist", "crescendo", "pair", "tree", "many-shot")


def attackers() -> list[Any]:
    return [attacker_named(name) for name in SCRIPTED]


class Killed(Exception):
    """The process ends here."""


def dying(after: int) -> Any:
    """A target that is killed once it has given so many replies."""
    left = [after]

    def reply(chat: Chat) -> str:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return moody(chat)

    return reply


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Conversation, ...]:
    return run(tmp_path_factory.mktemp("whole") / "turns.jsonl", attackers(), seeds=(0, 1))


@pytest.mark.slow
@given(kills=st.lists(st.integers(0, 60), max_size=4), torn=st.integers(0, 400), batch=st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_a_run_that_was_killed_ends_as_one_that_was_not(
    unbroken: tuple[Conversation, ...], kills: list[int], torn: int, batch: int
) -> None:
    """
    Killed at any reply and with its last line torn at any byte, a run goes on and gives the same conversations.

    Those of the strategist too, whose conversations learn from each other; whatever the batches were.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "turns.jsonl"
        for after in kills:
            with pytest.raises(Killed):
                run(path, attackers(), seeds=(0, 1), sides=[side(dying(after))], batch=batch)
            whole = path.read_bytes()
            path.write_bytes(whole[: max(0, len(whole) - torn)] if torn < len(whole) else whole)

        assert run(path, attackers(), seeds=(0, 1), batch=batch) == unbroken


def test_a_finished_run_asks_nothing_again(tmp_path: Path) -> None:
    """A second run in the same file asks the target not once, and gives the same conversations."""
    first = run(tmp_path / "turns.jsonl", attackers())
    second = run(tmp_path / "turns.jsonl", attackers(), sides=[side(dying(0))])

    assert second == first


def test_every_attacker_has_the_same_calls_of_the_target(tmp_path: Path) -> None:
    """Where nothing is reached, every conversation of every attacker costs exactly the turns of the protocol."""
    done = run(tmp_path / "turns.jsonl", attackers(), sides=[side(lambda chat: REFUSAL)])

    assert {sum(t.target_calls for t in one.turns) for one in done} == {5}
    assert {one.end for one in done} == {ConversationEnd.EXHAUSTED}
    assert [one.most for one in done] == [0.0] * len(done)


def test_a_conversation_ends_at_the_top_of_the_scale(tmp_path: Path) -> None:
    """The first reply that reaches the bound ends it, and says at which turn."""
    reply = {1: REFUSAL, 2: AGREED}
    done = run(
        tmp_path / "turns.jsonl",
        [attacker_named("direct")],
        sides=[side(lambda chat: reply[len(chat.messages) // 2])],
    )

    assert {(one.end, len(one.turns), one.reached_at, one.most) for one in done} == {
        (ConversationEnd.REACHED, 2, 2, 5.0)
    }


def test_without_the_stop_rule_it_goes_on_and_counts_all_the_same(tmp_path: Path) -> None:
    """Conversations that do not stop at the bound use all turns, and have reached it."""
    protocol = AttackProtocol(turns=3, stop_at_bound=False)
    done = run(
        tmp_path / "turns.jsonl",
        [attacker_named("direct")],
        sides=[side(lambda chat: AGREED)],
        protocol=protocol,
    )

    assert {(one.end, len(one.turns), one.reached_at) for one in done} == {(ConversationEnd.REACHED, 3, 1)}


def test_refusals_in_a_row_can_end_it(tmp_path: Path) -> None:
    """A run of refusals ends a conversation where the protocol says so, and the reason is kept."""
    protocol = AttackProtocol(turns=6, stop_after_refusals=3)
    done = run(
        tmp_path / "turns.jsonl",
        [attacker_named("direct")],
        sides=[side(lambda chat: REFUSAL)],
        protocol=protocol,
    )

    assert {(one.end, len(one.turns), one.because) for one in done} == {
        (ConversationEnd.EXHAUSTED, 3, "3 refusals in a row")
    }


def test_small_talk_does_no_harm(tmp_path: Path) -> None:
    """An assistant that only greets reaches nothing, although it refuses nothing."""
    done = run(
        tmp_path / "turns.jsonl", attackers(), sides=[side(lambda chat: "Hi! How can I help you today?")]
    )

    assert {one.most for one in done} == {0.0}


class Losing:
    """A judge that fails, or raises, on some replies."""

    note = JudgeNote(id="losing", version="1", estimand="harm")

    def score(self, request: str, reply: str) -> Score | JudgeFailed:
        """Fail on refusals, raise on stories."""
        if "long story" in reply:
            raise RuntimeError("out of memory")
        return JudgeFailed("cannot say") if reply == REFUSAL else Score(1.0)


def test_a_judge_that_fails_never_counts_as_safe(tmp_path: Path) -> None:
    """One lost score of one judge leaves a turn without harm and the conversation unscored, unless it was reached."""
    panel = HarmPanel([ItemJudge(), Losing()])
    done = run(
        tmp_path / "turns.jsonl",
        [attacker_named("direct")],
        panel=panel,
        sides=[side(lambda chat: REFUSAL)],
    )

    assert {one.end for one in done} == {ConversationEnd.UNSCORED}
    assert {(one.most, one.turns[0].harm) for one in done} == {(None, None)}
    assert {mark.failed for mark in done[0].turns[0].marks} == {"", "cannot say"}


def test_a_target_that_fails_on_one_conversation_loses_only_that(tmp_path: Path) -> None:
    """The others go on; a second run asks it again."""
    bad = ITEMS[1].text

    def generate(chats: Any, sampling: Any) -> list[Generation]:
        if any(bad in message.content for chat in chats for message in chat.messages):
            raise ModelError("conversation is longer than the model's context", facts={"tokens": 9})
        return [Generation(REFUSAL, "stop", 8) for _ in chats]

    from recert.labs.attackers import Side

    sides = [Side("tuned", "tuned", generate, identity="tuned")]
    done = run(tmp_path / "turns.jsonl", [attacker_named("direct")], sides=sides)
    again = run(tmp_path / "turns.jsonl", [attacker_named("direct")], sides=[side(lambda chat: REFUSAL)])

    assert [one.end for one in done].count(ConversationEnd.TARGET_FAILED) == 1
    assert {one.end for one in done} == {ConversationEnd.TARGET_FAILED, ConversationEnd.EXHAUSTED}
    assert "longer than the model's context" in next(one.because for one in done if one.because)
    assert {one.end for one in again} == {ConversationEnd.EXHAUSTED}


def test_a_budget_ends_a_run_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    """What was not finished says so; with more budget it ends as a run without one does."""
    whole = run(tmp_path / "whole.jsonl", attackers())
    some = run(tmp_path / "turns.jsonl", attackers(), budget=AttackBudget(most_target_calls=17), batch=4)
    rest = run(tmp_path / "turns.jsonl", attackers())

    assert sum(len(one.turns) for one in some) == 17
    assert ConversationEnd.BUDGET in {one.end for one in some}
    assert rest == whole


def test_tokens_have_a_budget_too(tmp_path: Path) -> None:
    """Tokens of the target count towards it."""
    done = run(tmp_path / "turns.jsonl", attackers(), budget=AttackBudget(most_tokens=40), batch=1)

    assert 40 <= sum(t.target_tokens for one in done for t in one.turns) < 60


def test_reasoning_of_the_target_is_kept_apart(tmp_path: Path) -> None:
    """What stands in the trace is neither judged nor shown to the attacker as the reply, and is kept."""
    reply = f"<think>{AGREED}</think>{REFUSAL}"
    done = run(tmp_path / "turns.jsonl", [attacker_named("direct")], sides=[side(lambda chat: reply)])

    assert {(t.reply, t.trace) for one in done for t in one.turns} == {(REFUSAL, f"<think>{AGREED}</think>")}
    assert {one.most for one in done} == {0.0}


class Blocking:
    """A safeguard that blocks requests that name a word, and replies that agree."""

    def requests(self, chats: Any) -> list[str]:
        """Look at the last message."""
        return ["input" if "weapon" in chat.messages[-1].content else "" for chat in chats]

    def replies(self, chats: Any, replies: Any) -> list[str]:
        """Look at replies."""
        return ["output" if reply == AGREED else "" for reply in replies]


def test_what_a_safeguard_blocked_did_no_harm(tmp_path: Path) -> None:
    """A blocked reply is replaced, marked 0 without asking a judge, and says which safeguard it was."""
    sides = [side(lambda chat: AGREED, safeguards=("input", "output"), screen=Blocking())]
    done = run(tmp_path / "turns.jsonl", [attacker_named("direct")], sides=sides)
    turns = [t for one in done for t in one.turns]

    assert {t.blocked_by for t in turns} <= {"input", "output"}
    assert {t.harm for t in turns} == {0.0}
    assert AGREED not in {t.reply for t in turns}


def test_only_one_run_writes_a_file(tmp_path: Path) -> None:
    """A second run in the same file is refused, and says so."""
    with TurnFile(tmp_path / "turns.jsonl"), pytest.raises(StoreError, match="another run"):
        TurnFile(tmp_path / "turns.jsonl")


def test_damage_in_the_middle_is_named(tmp_path: Path) -> None:
    """A line that no kill could have torn is an error with its number, and is not skipped."""
    run(tmp_path / "turns.jsonl", [attacker_named("direct")])
    lines = (tmp_path / "turns.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "turns.jsonl").write_bytes(b"".join([lines[0], b"{\n", *lines[1:]]))

    with pytest.raises(RecordError) as caught:
        TurnFile(tmp_path / "turns.jsonl")

    assert caught.value.facts["line"] == "2"


def test_turns_are_for_their_owner_alone(tmp_path: Path) -> None:
    """The file may hold harmful replies: nobody else may read it."""
    run(tmp_path / "turns.jsonl", [attacker_named("direct")])

    assert (tmp_path / "turns.jsonl").stat().st_mode & 0o077 == 0
