"""Endpoints that misbehave, limits that are kept, budgets that hold, and replies that are not lost."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from http_endpoints import HalfReply, endpoint, hang, reply
from recert.errors import EndpointError, InputError
from recert.models import Sampling
from recert.models.remote.endpoint import ATTEMPTS, EndpointModel
from recert.models.remote.pacing import Pace
from recert.models.remote.spending import Prices, Spending
from recert.records.data.suite import chat

PRICES = Prices(input_per_million=1_000_000, output_per_million=2_000_000, currency="EUR")


def model(url: str, **changes: Any) -> EndpointModel:
    """Return a model that tries again without long pauses."""
    return EndpointModel(url, "tuned", **({"first_pause_s": 0.01, "timeout_s": 0.5} | changes))


@pytest.mark.parametrize(
    "misbehave",
    [
        lambda: web.Response(status=429, headers={"Retry-After": "0"}),
        lambda: web.Response(status=500, text="<html>oops</html>"),
        lambda: web.Response(text="<html>a proxy's page</html>"),
        lambda: web.Response(body=b'{"choices": [{"mess'),
        lambda: web.Response(body=b"\xff\xfe\x00"),
        HalfReply,
        hang,
    ],
    ids=["busy", "failed", "page", "cut json", "bytes", "half reply", "hang"],
)
def test_what_may_get_better_is_tried_again(misbehave: Callable[[], Any]) -> None:
    """A busy, broken, silent or babbling endpoint is asked again, and its later good answer counts."""
    with endpoint(lambda body, n: misbehave() if n == 1 else reply("at last")) as (url, asked):
        assert model(url).generate([chat("hello")], Sampling())[0].text == "at last"
        assert len(asked) == 2


@pytest.mark.parametrize("misbehave", [HalfReply, lambda: web.Response(text="garbage")])
def test_what_never_gets_better_is_an_error(misbehave: Callable[[], Any]) -> None:
    """After the last attempt there is an EndpointError, never half a reply."""
    with endpoint(lambda body, n: misbehave()) as (url, asked), pytest.raises(EndpointError):
        model(url).generate([chat("hello")], Sampling())

    assert len(asked) == ATTEMPTS


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "0.4"},
        {"Retry-After-Ms": "400"},
        {"Retry-After": email.utils.formatdate(time.time() + 3600, usegmt=True)},
    ],
)
def test_an_endpoint_is_left_alone_as_long_as_it_asks(headers: dict[str, str]) -> None:
    """`Retry-After` in seconds, milliseconds or as a date is kept by every request, up to a limit."""
    if "GMT" in str(headers):
        headers = {"Retry-After": email.utils.formatdate(time.time() + 1.5, usegmt=True)}
    times: list[float] = []

    def answer(body: dict[str, Any], n: int) -> web.Response:
        times.append(time.monotonic())
        return web.Response(status=429, headers=headers) if n == 1 else reply("ok")

    with endpoint(answer) as (url, _):
        model(url, concurrency=1).generate([chat("one"), chat("two")], Sampling())

    assert times[1] - times[0] >= 0.35


def test_money_that_has_run_out_is_not_waited_for() -> None:
    """429 for a used-up quota will not go away: one attempt."""
    error = {"error": {"message": "you exceeded your quota", "code": "insufficient_quota"}}
    with (
        endpoint(lambda body, n: web.json_response(error, status=429)) as (url, asked),
        pytest.raises(EndpointError, match="quota"),
    ):
        model(url).generate([chat("hello")], Sampling())

    assert len(asked) == 1


def test_a_filter_that_answers_with_an_error_is_a_filtered_reply() -> None:
    """Some endpoints say 400 `content_filter` where others give an empty reply: both are a stopped reply."""
    error = {"error": {"message": "filtered", "code": "content_filter"}}
    with endpoint(lambda body, n: web.json_response(error, status=400)) as (url, _):
        made = model(url).generate([chat("hello")], Sampling())[0]

    assert (made.text, made.stop_reason) == ("", "content_filter")


def test_models_that_want_the_other_name_of_the_limit_get_it() -> None:
    """`max_tokens` is sent until the endpoint asks for `max_completion_tokens`, and not again after that."""
    error = {
        "error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}
    }

    def answer(body: dict[str, Any], n: int) -> web.Response:
        return web.json_response(error, status=400) if "max_tokens" in body else reply("ok")

    with endpoint(answer) as (url, asked):
        one = model(url)
        one.generate([chat("hello")], Sampling(max_new_tokens=7))
        one.generate([chat("hello again")], Sampling(max_new_tokens=7))

    assert [a.get("max_completion_tokens") for a in asked] == [None, 7, 7]


def test_samples_of_one_prompt_are_asked_with_seeds_of_their_own() -> None:
    """Several samples differ in their seed, and each seed is repeatable."""
    with endpoint(lambda body, n: reply(str(body["seed"]))) as (url, _):
        drawn = [
            model(url).generate([chat("x")], Sampling(temperature=1.0, seed=7, sample=n))[0].text
            for n in (0, 1, 2, 1)
        ]

    assert drawn[0] == "7"
    assert len(set(drawn)) == 3
    assert drawn[1] == drawn[3]


def test_what_was_answered_before_a_failure_is_not_lost() -> None:
    """One bad conversation ends the run, is named, and takes no finished reply with it."""

    def answer(body: dict[str, Any], n: int) -> web.Response:
        text = body["messages"][-1]["content"]
        return web.json_response({}, status=400) if text == "question 5" else reply(text.upper())

    with endpoint(answer) as (url, asked), pytest.raises(EndpointError) as caught:
        model(url, concurrency=2).generate([chat(f"question {i}") for i in range(50)], Sampling())

    assert {place: g.text for place, g in caught.value.made.items()}.items() >= {
        place: f"QUESTION {place}" for place in range(5)
    }.items()
    assert 5 not in caught.value.made
    assert len(asked) <= 9


def test_no_more_requests_are_under_way_than_allowed() -> None:
    """`concurrency` is the most at once, and it is used."""
    under_way, most = 0, 0

    async def answer(body: dict[str, Any], n: int) -> web.StreamResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await hang(0.02)
        under_way -= 1
        return reply("ok")

    with endpoint(answer) as (url, _):
        model(url, concurrency=3).generate([chat(str(i)) for i in range(12)], Sampling())

    assert most == 3


def test_requests_a_minute_are_kept_across_calls() -> None:
    """After the first burst requests come at the rate that is allowed, in later calls too."""
    times: list[float] = []

    def answer(body: dict[str, Any], n: int) -> web.Response:
        times.append(time.monotonic())
        return reply("ok")

    with endpoint(answer) as (url, _):
        one = model(url, pace=Pace(requests_per_minute=600))  # ten a second, fifty at once
        one.generate([chat(str(i)) for i in range(52)], Sampling())
        one.generate([chat("x"), chat("y")], Sampling())

    assert times[53] - times[49] >= 0.3


def test_tokens_a_minute_are_kept_and_corrected() -> None:
    """Large prompts wait for their tokens; what was not used is given back."""
    with endpoint(lambda body, n: reply("ok", prompt_tokens=900)) as (url, _):
        one = model(url, pace=Pace(tokens_per_minute=60_000), concurrency=1)  # 1000 a second, 5000 at once
        began = time.monotonic()
        one.generate([chat("word " * 600 + str(i)) for i in range(6)], Sampling(max_new_tokens=100))
        spent = time.monotonic() - began

    assert 0.1 <= spent < 1.5  # 6 x 903 used, not 6 x 1108 expected


def test_tokens_and_cost_are_counted() -> None:
    """Tokens of prompts and replies, priced as the user said; no price, no cost."""
    with endpoint(lambda body, n: reply("ok", prompt_tokens=10)) as (url, _):
        priced, plain = Spending(PRICES), Spending()
        model(url, spending=priced).generate([chat("a"), chat("b")], Sampling())
        model(url, spending=plain).generate([chat("a")], Sampling())

    assert (priced.requests, priced.prompt_tokens, priced.completion_tokens) == (2, 20, 6)
    assert priced.cost == pytest.approx(20 + 12)
    assert plain.cost is None


@pytest.mark.parametrize("budget", [{"most_cost": 150.0}, {"most_tokens": 110}])
def test_a_budget_ends_a_run_and_keeps_what_was_made(budget: dict[str, Any]) -> None:
    """Before the budget is overdrawn the run ends with the facts, and the replies so far."""
    with (
        endpoint(lambda body, n: reply("ok", prompt_tokens=5)) as (url, asked),
        pytest.raises(EndpointError, match="budget is spent") as caught,
    ):
        model(url, spending=Spending(PRICES, **budget)).generate(
            [chat(f"question {i}") for i in range(50)], Sampling(max_new_tokens=10)
        )

    assert 0 < len(caught.value.made) == len(asked) < 50
    assert "requests" in caught.value.facts
    assert "kept" in caught.value.hint


@settings(max_examples=200)
@given(
    steps=st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50), st.booleans()), max_size=40),
    most=st.integers(1, 400),
)
def test_a_budget_is_never_overdrawn(steps: list[tuple[int, int, bool]], most: int) -> None:
    """Whatever is begun, fails or ends below what was expected: the tokens used stay within the budget."""
    spending = Spending(most_tokens=most)
    for prompt, completion, works in steps:
        if spending.begin(prompt, completion):
            spending.end((prompt, completion), (prompt, completion // 2) if works else None)

    assert spending.prompt_tokens + spending.completion_tokens <= most


@pytest.mark.parametrize(
    "make",
    [
        lambda: Spending(most_cost=1.0),
        lambda: Spending(most_tokens=0),
        lambda: Pace(requests_per_minute=0),
        lambda: Pace(tokens_per_minute=float("nan")),
    ],
)
def test_limits_that_make_no_sense_are_refused(make: Callable[[], Any]) -> None:
    """A budget in money without prices, and limits that are not above zero, are input errors."""
    with pytest.raises(InputError):
        make()
