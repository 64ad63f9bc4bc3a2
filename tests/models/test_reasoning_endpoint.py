"""An endpoint that reasons: its trace is kept, and it is told whether to reason."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from http_endpoints import endpoint
from recert.errors import EndpointError
from recert.models import Sampling
from recert.models.chat.thinking import think
from recert.models.remote.endpoint import EndpointModel
from recert.records.data.suite import chat
from recert.records.reports.reasoning import read_reply


def said(**message: Any) -> web.Response:
    choice = {"message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return web.json_response({"choices": [choice]})


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_a_trace_in_a_field_of_its_own_is_kept(field):
    """
    What an endpoint puts beside the content is the trace, under either name.
    """
    with endpoint(lambda body, n: said(content="Hi", **{field: "hm"})) as (url, _):
        (reply,) = EndpointModel(url, "m").generate([chat("a")], Sampling())

    assert (read_reply(reply.text).trace.strip(), read_reply(reply.text).answer) == ("hm", "Hi")


@pytest.mark.parametrize("content", [None, ""])
def test_a_reply_that_was_cut_inside_its_trace_has_no_answer(content):
    """
    Reasoning without content is a trace that never ended.
    """
    with endpoint(lambda body, n: said(content=content, reasoning_content="hm")) as (url, _):
        (reply,) = EndpointModel(url, "m").generate([chat("a")], Sampling())

    assert read_reply(reply.text).only_trace


def test_an_endpoint_is_told_whether_to_reason():
    """
    The mode goes along as vLLM and SGLang read it, and nothing goes along without one.
    """
    with endpoint(lambda body, n: said(content="Hi")) as (url, asked):
        model = EndpointModel(url, "m", concurrency=1)
        model.generate([chat("a").model_copy(update={"thinking": m}) for m in ("", "on", "off")], Sampling())

    sent = [body.get("chat_template_kwargs") for body in asked]

    assert sent == [None, {"enable_thinking": True}, {"enable_thinking": False}]


def test_an_endpoint_that_cannot_stop_reasoning_is_an_error():
    """
    What reasons though it was asked not to is never measured as if it did not.
    """
    with (
        endpoint(lambda body, n: said(content="Hi", reasoning_content="hm")) as (url, _),
        pytest.raises(EndpointError, match="reasons though"),
    ):
        EndpointModel(url, "m").generate([chat("a").model_copy(update={"thinking": "off"})], Sampling())


def test_a_budget_at_an_endpoint_is_an_error():
    """
    An endpoint cannot go on from a trace that was closed for it.
    """
    with (
        endpoint(lambda body, n: said(content="<think>hm and hm")) as (url, _),
        pytest.raises(EndpointError, match="words put in its mouth"),
    ):
        think(EndpointModel(url, "m"), [chat("a").model_copy(update={"thinking": "budget-3"})], Sampling())
