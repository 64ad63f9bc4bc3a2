"""Any OpenAI-compatible endpoint as a model: patient with a busy one, plain about a broken one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from http_endpoints import endpoint, reply
from recert.errors import EndpointError, InputError
from recert.models import Sampling
from recert.models.remote.endpoint import ATTEMPTS, EndpointModel
from recert.records.data.suite import Chat, Message, chat

KEY = "sk-test-0123456789"


def model(url: str, **changes: Any) -> EndpointModel:
    """Return a model that tries again without long pauses."""
    return EndpointModel(url, "tuned", **({"api_key": KEY, "first_pause_s": 0.01} | changes))


def test_replies_come_in_the_order_of_the_questions() -> None:
    """Many questions at once, each with its own answer."""
    with endpoint(lambda body, n: reply(body["messages"][-1]["content"].upper())) as (url, asked):
        replies = model(url).generate(
            [chat(f"question {i}", system="be brief") for i in range(20)], Sampling()
        )

    assert [r.text for r in replies] == [f"QUESTION {i}" for i in range(20)]
    assert asked[0]["model"] == "tuned"
    assert asked[0]["authorization"] == f"Bearer {KEY}"
    assert asked[0]["messages"][0] == {"role": "system", "content": "be brief"}
    assert "seed" not in asked[0]


def test_a_busy_endpoint_is_asked_again() -> None:
    """429 and 5xx are tried again until there is an answer."""
    statuses = {1: 429, 2: 503, 3: 500}
    with endpoint(
        lambda body, n: web.Response(status=statuses[n]) if n in statuses else reply("at last")
    ) as (url, asked):
        assert model(url).generate([chat("hello")], Sampling())[0].text == "at last"
        assert len(asked) == ATTEMPTS


def test_an_endpoint_that_stays_broken_is_an_error_without_the_key() -> None:
    """After the last attempt the error says what was answered, and never holds the key."""
    error = {"error": {"message": f"overloaded, key {KEY} noted"}}
    with (
        endpoint(lambda body, n: web.json_response(error, status=503)) as (url, asked),
        pytest.raises(EndpointError, match="endpoint refused") as caught,
    ):
        model(url).generate([chat("hello")], Sampling())

    assert len(asked) == ATTEMPTS
    assert caught.value.facts["status"] == "503"
    assert KEY not in str(caught.value)
    assert "[key]" in str(caught.value)


def test_a_refused_request_is_not_repeated() -> None:
    """4xx other than 429 will not get better: one attempt, and the endpoint's words."""
    error = {"error": {"message": "no such model"}}
    with (
        endpoint(lambda body, n: web.json_response(error, status=404)) as (url, asked),
        pytest.raises(EndpointError, match="no such model"),
    ):
        model(url).generate([chat("hello")], Sampling())

    assert len(asked) == 1


def test_a_dead_endpoint_is_an_error() -> None:
    """Nobody listening is an EndpointError, not a traceback of the HTTP library."""
    with pytest.raises(EndpointError, match="does not answer"):
        model("http://127.0.0.1:9/v1", timeout_s=2).generate([chat("hello")], Sampling())


@pytest.mark.parametrize(
    "body", [{}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": None}]}, [], {"choices": 3}]
)
def test_a_reply_of_another_form_is_an_error(body: Any) -> None:
    """Whatever is not a chat completion is an error, never an empty answer."""
    with (
        endpoint(lambda _, n: web.json_response(body)) as (url, _),
        pytest.raises(EndpointError, match="not a chat completion"),
    ):
        model(url).generate([chat("hello")], Sampling())


def test_a_filtered_reply_says_so() -> None:
    """What the endpoint's own filter stopped, and what it refused in words, can be told apart."""
    with endpoint(lambda body, n: reply(None, "content_filter", refusal="I won't.")) as (url, _):
        answer = model(url).generate([chat("hello")], Sampling())[0]

    assert (answer.text, answer.stop_reason, answer.tokens) == ("I won't.", "content_filter", 3)


def test_it_works_inside_a_running_loop() -> None:
    """A caller that runs on asyncio can ask as well."""

    async def inside(url: str) -> str:
        return model(url).generate([chat("hello")], Sampling(temperature=1.0, seed=7))[0].text

    with endpoint(lambda body, n: reply(str(body["seed"]))) as (url, _):
        assert asyncio.run(inside(url)) == "7"


def test_other_behaviour_is_another_fingerprint() -> None:
    """The fingerprint is a digest of replies: the same replies give the same, others another."""
    with endpoint(lambda body, n: reply("one")) as (url, _):
        first, again = model(url).fingerprint(), model(url).fingerprint()
    with endpoint(lambda body, n: reply("two")) as (url, _):
        other = model(url).fingerprint()

    assert first == again
    assert first != other


def test_words_put_in_its_mouth_are_refused() -> None:
    """An endpoint cannot go on from given words, and says so instead of dropping them."""
    one = Chat(messages=(Message(role="user", content="hello"),), assistant_prefix="Sure,")
    with endpoint(lambda body, n: reply("x")) as (url, _), pytest.raises(EndpointError, match="its mouth"):
        model(url).generate([one], Sampling())


@pytest.mark.parametrize(
    "url", ["ftp://x/v1", "example.com/v1", "https://user:pass@x/v1", "https://x/v1?key=secret"]
)
def test_an_address_with_a_secret_in_it_is_refused(url: str) -> None:
    """User names, passwords and keys do not belong in the address, and the error does not repeat them."""
    with pytest.raises(InputError) as caught:
        EndpointModel(url, "m")

    assert "pass" not in str(caught.value).replace("password", "")
    assert "secret" not in str(caught.value)
