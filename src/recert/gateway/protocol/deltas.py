"""What an upstream says, read defensively: every text-bearing field by name, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from recert.gateway.protocol.errors import HttpError

CONTENT: Final = "content"
REFUSAL: Final = "refusal"
REASONING: Final = ("reasoning_content", "reasoning")
"""What servers call the model's reasoning."""
TOOL_CALLS: Final = "tool_calls"
_BESIDE: Final = (*REASONING, REFUSAL)
_PLAIN: Final = frozenset({"role", CONTENT})
_LONGEST_LINE_BYTES: Final = 1_000_000
_MOST_CHOICES: Final = 128
_MOST_CALLS: Final = 128
_COUNTS: Final = ("prompt_tokens", "completion_tokens", "total_tokens")

LogProbs = tuple[tuple[str, float], ...]
"""(token, log probability) of a text, in order."""


class CallPart(NamedTuple):
    """A part of one tool call: what is said of it in one step."""

    place: int
    """Of the call among those of its choice."""
    name: str
    arguments: str


class Delta(NamedTuple):
    """One step of one choice: texts, and at the end the finish reason and token counts."""

    text: str = ""
    """Of the field `content`."""
    finish_reason: str | None = None
    usage: dict[str, int] | None = None
    tokens: int = 1
    """How many pieces of text the upstream sent for it."""
    choice: int = 0
    beside: tuple[tuple[str, str], ...] = ()
    """(field, text) of reasoning and refusal."""
    calls: tuple[CallPart, ...] = ()
    logprobs: LogProbs = ()
    """Of `text`; none where there are none, or they cannot be read."""


class Events:
    """The data of server-sent events, one `data:` line each, from blocks as they arrive."""

    def __init__(self) -> None:
        self._rest = b""
        self.done = False

    def feed(self, block: bytes) -> list[bytes]:
        """
        Take what arrived; return the data of events that are whole, up to the one that says `[DONE]`.

        Raises:
            HttpError: `upstream-malformed`: a line has no end.
        """
        *lines, self._rest = (self._rest + block).split(b"\n")
        if len(self._rest) > _LONGEST_LINE_BYTES:
            raise malformed()
        found = [line[5:].strip() for line in lines if line.startswith(b"data:")]
        if b"[DONE]" in found:
            self.done = True
            del found[found.index(b"[DONE]") :]
        return found


def malformed() -> HttpError:
    """Return the error of an upstream that says what nobody understands."""
    return HttpError("the upstream does not speak the protocol", status=502, code="upstream-malformed")


def read_deltas(events: Sequence[bytes]) -> list[Delta]:
    """
    Return what events that came together say: one step a choice, or as they came where they have log probabilities.

    Raises:
        HttpError: `upstream-malformed`, or `upstream-failed` where they say so.
    """
    if len(events) == 1:
        return _read(events[0], "delta")
    plain = _read_plain(events)
    if plain is not None:
        return [plain]
    found = [delta for data in events for delta in _read(data, "delta")]
    if len(found) < 2 or any(delta.logprobs for delta in found):
        return found
    by_choice: dict[int, list[Delta]] = {}
    for delta in found:
        by_choice.setdefault(delta.choice, []).append(delta)
    return [_merged(deltas) for deltas in by_choice.values()]


def _read_plain(events: Sequence[bytes]) -> Delta | None:
    """Return what events say together where they say nothing but the text of the first choice: read at once."""
    texts: list[str] = []
    reason: str | None = None
    usage: dict[str, int] | None = None
    try:
        values = orjson.loads(b"[" + b",".join(events) + b"]")
        if len(values) != len(events) or not values:
            return None
        for value in values:
            if value.get("error"):
                return None
            given = value.get("usage")
            if given:
                usage = {name: _whole(given[name], 2**53) for name in _COUNTS}
            choices = value["choices"]
            if not choices:
                continue
            (choice,) = choices
            said = choice["delta"]
            if choice.get("index") or choice.get("logprobs") or not said.keys() <= _PLAIN:
                return None
            text, ended = said.get(CONTENT), choice.get("finish_reason")
            if text:
                texts.append(text)
            if ended is not None:
                reason = _text(ended)
        return Delta("".join(texts), reason, usage, len(texts))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # it is read one by one, and refused if it must be


def read_whole(body: bytes, choices: int) -> list[Delta]:
    """
    Return what a reply that is no stream says, one step a choice.

    Raises:
        HttpError: `upstream-malformed`: it is not understood, or has not as many choices as were asked for; or
            `upstream-failed` where it says so.
    """
    found = _read(body, "message")
    if {delta.choice for delta in found} != set(range(choices)):
        raise malformed()
    return found


def _merged(deltas: Sequence[Delta]) -> Delta:
    if len(deltas) == 1:
        return deltas[0]
    beside: dict[str, str] = {}
    for field, text in (one for delta in deltas for one in delta.beside):
        beside[field] = beside.get(field, "") + text
    return Delta(
        text="".join([delta.text for delta in deltas]),
        finish_reason=next((d.finish_reason for d in reversed(deltas) if d.finish_reason is not None), None),
        usage=next((d.usage for d in reversed(deltas) if d.usage), None),
        tokens=sum(delta.tokens for delta in deltas if delta.text or delta.beside or delta.calls),
        choice=deltas[0].choice,
        beside=tuple(beside.items()),
        calls=tuple(part for delta in deltas for part in delta.calls),
    )


def _read(data: bytes, said_in: str) -> list[Delta]:
    try:
        value = orjson.loads(data)
        if value.get("error"):
            raise HttpError("the upstream failed", status=502, code="upstream-failed")
        usage = value.get("usage")
        found = [_choice(choice, choice[said_in]) for choice in value["choices"]]
        if usage:
            counts = {name: _whole(usage[name], 2**53) for name in _COUNTS}
            found[-1:] = [(found[-1] if found else Delta())._replace(usage=counts)]
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise malformed() from exc
    return found


def _choice(value: dict[str, Any], said: dict[str, Any]) -> Delta:
    text = said.get(CONTENT)
    reason = value.get("finish_reason")
    index = value.get("index", 0)
    logprobs = value.get("logprobs")
    beside: tuple[tuple[str, str], ...] = ()
    calls: tuple[CallPart, ...] = ()
    if said and (len(said) > 1 or CONTENT not in said):
        beside = tuple([(field, _text(said[field])) for field in _BESIDE if said.get(field)])
        given = said.get(TOOL_CALLS)
        calls = _calls(given) if given else ()
    return Delta(
        _text(text) if text else "",
        None if reason is None else _text(reason),
        None,
        1,
        _whole(index, _MOST_CHOICES) if index else 0,
        beside,
        calls,
        _logprobs(logprobs) if logprobs else (),
    )


def _calls(value: Any) -> tuple[CallPart, ...]:
    if not isinstance(value, list):
        raise TypeError
    found = []
    for at, one in enumerate(value):
        function = one.get("function") or {}
        part = CallPart(
            _whole(one.get("index", at), _MOST_CALLS),
            _text(function.get("name") or ""),
            _text(function.get("arguments") or ""),
        )
        found.append(part)
    return tuple(found)


def _logprobs(value: Any) -> LogProbs:
    try:
        found = tuple([(_text(one["token"]), float(one["logprob"])) for one in value[CONTENT]])
    except (TypeError, KeyError, ValueError):
        return ()
    return found if all(math.isfinite(number) for _, number in found) else ()


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole(value: Any, below: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < below:
        raise TypeError
    return value
