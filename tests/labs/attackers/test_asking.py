"""One conversation that a model cannot take does not lose the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks_agent_world import ITEMS, REFUSAL, run
from http_endpoints import endpoint, reply
from recert.errors import ModelError
from recert.labs.attackers import AttackProtocol, Side, attacker_named
from recert.labs.attackers.asking import NoAnswer, answers_of
from recert.models.protocol import Generation, Sampling
from recert.models.remote.endpoint import EndpointModel
from recert.models.remote.spending import Spending
from recert.records.data.suite import Chat, chat
from recert.records.reports.attack import ConversationEnd


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_only_those_that_fail_have_no_answer(fails: list[bool]) -> None:
    """Whichever conversations a model refuses to take, every other one is answered, and in its place."""
    calls: list[int] = []

    def generate(chats: Sequence[Chat], sampling: Sampling) -> list[Generation]:
        calls.append(len(chats))
        if any(fails[int(one.messages[-1].content)] for one in chats):
            raise ModelError("too long")
        return [Generation(one.messages[-1].content, "stop", 1) for one in chats]

    said = answers_of(generate, [chat(str(at)) for at in range(len(fails))], Sampling())

    assert [isinstance(one, NoAnswer) for one in said] == fails
    assert [one.text for one in said if isinstance(one, Generation)] == [
        str(at) for at, failed in enumerate(fails) if not failed
    ]
    assert any(fails) or calls == [len(fails)]


def test_an_endpoint_that_is_gone_is_not_asked_about_every_conversation() -> None:
    """After a few failures in a row the others fail without being asked."""
    with endpoint(lambda body, n: web.json_response({}, status=400)) as (url, asked):
        model = EndpointModel(url, "gone", first_pause_s=0)
        said = answers_of(model.generate, [chat(f"question {at}") for at in range(64)], Sampling())

    assert all(isinstance(one, NoAnswer) for one in said)
    assert len(asked) < 64


def test_a_budget_in_a_spec_ends_the_run_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    """Conversations that an endpoint's budget did not pay for end as `budget`, not as the target's failure."""
    protocol = AttackProtocol(turns=3, max_new_tokens=8)

    def attacked(most: int | None) -> set[ConversationEnd]:
        with endpoint(lambda body, n: reply(REFUSAL)) as (url, _):
            model = EndpointModel(url, "target", spending=Spending(most_tokens=most))
            side = Side("tuned", "target", model.generate, identity="target")
            done = run(tmp_path / "turns.jsonl", [attacker_named("direct")], sides=[side], protocol=protocol)
        assert len(done) == len(ITEMS)
        return {one.end for one in done}

    assert ConversationEnd.BUDGET in attacked(300)
    assert attacked(None) == {ConversationEnd.EXHAUSTED}


def test_what_an_endpoint_filtered_was_blocked(tmp_path: Path) -> None:
    """A reply that the endpoint's own filter stopped did no harm, and the record says why."""
    with endpoint(lambda body, n: reply("", "content_filter")) as (url, _):
        model = EndpointModel(url, "target")
        side = Side("tuned", "target", model.generate, identity="target")
        done = run(tmp_path / "turns.jsonl", [attacker_named("direct")], sides=[side], items=ITEMS[:2])

    assert {turn.blocked_by for one in done for turn in one.turns} == {"content_filter"}
    assert {one.most for one in done} == {0.0}
