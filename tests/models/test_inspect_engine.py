"""Hosted vendors through Inspect AI: what they are asked, what is made of their answers, and what fails."""

from __future__ import annotations

from typing import Any

import pytest

from recert.errors import EndpointError, InputError
from recert.models import Sampling
from recert.models.remote.inspect_engine import InspectModel
from recert.models.remote.spending import Prices, Spending
from recert.records.data.suite import Chat, Message, chat

inspect_model = pytest.importorskip("inspect_ai.model")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def model(answer: Any, **more: Any) -> InspectModel:
    """Return a model whose provider answers from a function of (messages, config)."""

    def outputs(messages: list[Any], tools: Any, tool_choice: Any, config: Any) -> Any:
        return answer(messages, config)

    return InspectModel("mockllm/model", custom_outputs=outputs, **({"retries": 0} | more))


def output(text: str, stop_reason: str = "stop", **usage: int) -> Any:
    """Return a provider's output."""
    made = inspect_model.ModelOutput.from_content("mockllm/model", text, stop_reason=stop_reason)
    made.usage = inspect_model.ModelUsage(
        **({"input_tokens": 10, "output_tokens": 2, "total_tokens": 12} | usage)
    )
    return made


def test_replies_come_in_order_with_their_reasons() -> None:
    """Texts, stop reasons and tokens, in the order of the conversations, again and again."""
    one = model(lambda messages, config: output(messages[-1].text.upper(), "max_tokens"))

    for _ in range(2):  # each call has an event loop of its own
        made = one.generate([chat(f"question {i}") for i in range(20)], Sampling())
        assert [g.text for g in made] == [f"QUESTION {i}" for i in range(20)]
        assert {(g.stop_reason, g.tokens) for g in made} == {("length", 2)}


def test_the_provider_gets_the_whole_conversation_and_the_sampling() -> None:
    """Roles and texts as they are; a seed only where replies are drawn, another one for each sample."""
    asked: list[tuple[list[tuple[str, str]], Any]] = []

    def answer(messages: list[Any], config: Any) -> Any:
        asked.append(([(m.role, m.text) for m in messages], config))
        return output("ok")

    turns = (("system", "be brief"), ("user", "hi"), ("assistant", "hello"), ("user", "and now?"))
    long = Chat(messages=tuple(Message(role=role, content=text) for role, text in turns))  # type: ignore[arg-type]
    one = model(answer)
    one.generate([long], Sampling(max_new_tokens=7))
    one.generate([long], Sampling(temperature=0.7, top_p=0.9, seed=3, sample=1))

    assert asked[0][0] == list(turns)
    greedy, drawn = asked[0][1], asked[1][1]
    assert (greedy.max_tokens, greedy.temperature, greedy.seed) == (7, 0.0, None)
    assert (drawn.temperature, drawn.top_p, drawn.seed) == (0.7, 0.9, 1_000_006)


def test_tokens_and_cost_are_counted_and_a_budget_holds() -> None:
    """Cached input counts as input; a budget ends the run and keeps what was made."""
    spending = Spending(Prices(1_000_000, 1_000_000))
    model(lambda messages, config: output("ok", input_tokens_cache_read=5), spending=spending).generate(
        [chat("a"), chat("b")], Sampling()
    )
    with pytest.raises(EndpointError, match="budget is spent") as caught:
        model(lambda messages, config: output("ok"), spending=Spending(most_tokens=100)).generate(
            [chat(str(i)) for i in range(20)], Sampling(max_new_tokens=8)
        )

    assert spending.cost == pytest.approx(2 * (10 + 5 + 2))
    assert 0 < len(caught.value.made) < 20


def test_a_provider_that_fails_is_an_error_that_keeps_the_rest() -> None:
    """Whatever a provider raises becomes one EndpointError; what was answered is in `made`."""

    def answer(messages: list[Any], config: Any) -> Any:
        if messages[-1].text == "4":
            raise ValueError("quota")
        return output("ok")

    with pytest.raises(EndpointError, match="quota") as caught:
        model(answer, concurrency=1).generate([chat(str(i)) for i in range(9)], Sampling())

    assert sorted(caught.value.made) == [0, 1, 2, 3]


def test_an_answer_without_a_choice_is_an_error() -> None:
    """No choice is not an empty reply."""
    empty = inspect_model.ModelOutput(
        model="mockllm/model", choices=[], error="filtered", usage=inspect_model.ModelUsage()
    )
    with pytest.raises(EndpointError, match="filtered"):
        model(lambda messages, config: empty).generate([chat("x")], Sampling())


def test_what_it_cannot_do_is_said() -> None:
    """No log probabilities, no words put in its mouth, no tool messages, no provider without a name."""
    one = model(lambda messages, config: output("ok"))
    with pytest.raises(EndpointError, match="how likely"):
        one.log_probs([(chat("x"), "y")])
    with pytest.raises(EndpointError, match="its mouth"):
        one.generate([chat("x", assistant_prefix="Sure,")], Sampling())
    with pytest.raises(EndpointError, match="role"):
        one.generate([Chat(messages=(Message(role="tool", content="x"),))], Sampling())
    with pytest.raises(InputError, match="provider/model"):
        InspectModel("gpt")
    with pytest.raises(EndpointError, match="provider failed"):
        InspectModel("no-such-provider/model").generate([chat("x")], Sampling())


def test_other_behaviour_is_another_fingerprint() -> None:
    """The fingerprint is a digest of replies, and there are no files behind it."""
    one, other = model(lambda m, c: output("one")), model(lambda m, c: output("other"))

    assert one.fingerprint() == model(lambda m, c: output("one")).fingerprint() != other.fingerprint()
    assert one.manifest is None
    assert one.engine.startswith("inspect/")
