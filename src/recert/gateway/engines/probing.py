"""Reading how a reply begins from what a server sends: its text, and the probabilities beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from recert.gateway.protocol.errors import HttpError
from recert.models.engines.next_token import Step
from recert.records.signed.fingerprint import Compared


def read_beginning(data: bytes, *, stream: bool, compares: Compared, steps: int) -> tuple[Step, ...] | str:
    """
    Return what of a reply is compared: the first tokens with their probabilities, or the text.

    Args:
        data: the whole body that the server sent.
        stream: whether it is one of server-sent events.
        compares: what is compared.
        steps: tokens that are compared, at most.

    Raises:
        HttpError: `probe-unread`: it is no reply, was cut short, or has no probabilities.
    """
    try:
        choices = list(_choices(data, stream=stream))
        if not any(choice.get("finish_reason") for choice in choices):
            raise ValueError("the reply was cut short")
        if compares == "answers":
            return "".join(str(_said(choice).get("content") or "") for choice in choices)
        entries = [
            entry
            for choice in choices
            if choice.get("logprobs")
            for entry in choice["logprobs"].get("content") or ()
        ]
        if not entries and any(_said(choice).get("content") for choice in choices):
            raise ValueError("there are no log probabilities")
        return tuple(_step(entry) for entry in entries[:steps])
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        raise HttpError("the upstream gives nothing to compare", status=502, code="probe-unread") from exc


def _choices(data: bytes, *, stream: bool) -> Iterator[dict[str, Any]]:
    if not stream:
        yield orjson.loads(data)["choices"][0]
        return
    for line in data.split(b"\n"):
        said = line[5:].strip() if line.startswith(b"data:") else b""
        if said and said != b"[DONE]":
            yield from orjson.loads(said)["choices"][:1]


def _said(choice: dict[str, Any]) -> dict[str, Any]:
    found = choice.get("delta") or choice.get("message") or {}
    return found if isinstance(found, dict) else {}


def _step(entry: dict[str, Any]) -> Step:
    likely = {str(one["token"]): float(one["logprob"]) for one in entry["top_logprobs"]}
    if any(not log <= 0.001 for log in likely.values()):
        raise ValueError("not a log probability")
    return Step(token=str(entry["token"]), likely=tuple(likely.items()))
