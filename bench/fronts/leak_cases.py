"""
What a model may say and no client should get: a phrase or a secret, in every field of a reply, in many ways of writing.

It needs nothing but the standard library: the tests of the gateway use it too.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

PHRASE = "velvet hammer"
"""What may not leave; nothing of it means anything."""
BEFORE, AFTER = "You could ask about the ", " and then pineapple"
"""What stands around it: nothing behind it may leave either."""
MARK = "pineapple"
QUESTION = "What is on the shelf upstairs?"
FIELDS = (
    "content", "each choice", "tool name", "tool arguments", "reasoning", "refusal", "logprobs", "annotations",
)  # fmt: skip
SPLIT, ECHO, ORDINARY = "split at every position", "secret echo", "ordinary"
Path = tuple[object, ...]
"""Where a text stands in a reply: names of fields and numbers of choices, calls and the like."""
_PIECE_CHARS = 3
_TOOL = "look_up"
_CHOICES = 3
_LATIN, _CYRILLIC = "aeopcx", "\u0430\u0435\u043e\u0440\u0441\u0445"
_ZERO_WIDTH = 3000


def spellings(phrase: str) -> Iterator[tuple[str, str]]:
    """Yield ways to write a phrase that a reader, or any decoder, sees through: (way, what is written)."""
    yield "plain", phrase
    yield "NFKC", "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in phrase)
    yield "NFKC", "".join(chr(ord(c) + 0x1D3B9) if c.isalpha() else c for c in phrase)
    yield "zero-width", "\u200b".join(phrase)
    yield "more zero-width than is held", ("\u200d" * _ZERO_WIDTH).join((phrase[:3], phrase[3:]))
    yield "bidi", "\u202e".join(phrase) + "\u202c"
    yield "bidi", f"\u202e{phrase[::-1]}\u202c"
    yield "confusable", phrase.translate(str.maketrans(_LATIN, _CYRILLIC))
    for skip in range(3):
        yield "base64", base64.b64encode(f"{'so '[skip:]}{phrase} it is".encode()).decode()


def echoes(secret: str) -> tuple[str, ...]:
    """Return ways in which a model could give a secret away."""
    return (
        secret,
        " ".join(secret),
        "\u200b".join(secret),
        secret[::-1],
        secret.encode().hex(),
        base64.b64encode(f"so: {secret}".encode()).decode(),
    )


@dataclass(frozen=True)
class Case:
    """
    One thing that may not leave, in one field.

    Args:
        field: where it stands.
        how: the way of writing.
        spelt: the thing itself, as it is written; empty where there is none, and all may leave.
        pieces: the text of the field as it comes, the thing and what stands around it.
        apart: True where log probabilities are of other tokens than the text has.
    """

    field: str
    how: str
    spelt: str
    pieces: tuple[str, ...]
    apart: bool = False

    def asked(self) -> dict[str, Any]:
        """Return the fields of the request that make room for it."""
        if self.field == "each choice":
            return {"n": _CHOICES}
        if self.field.startswith("tool"):
            return {
                "tools": [{"type": "function", "function": {"name": _TOOL, "parameters": {"type": "object"}}}]
            }
        return {"logprobs": True} if self.field == "logprobs" else {}

    def steps(self) -> list[dict[str, Any]]:
        """Return what the model says in a stream: one choice an event."""
        at = _CHOICES - 1 if self.field == "each choice" else 0
        found = [
            {"index": one, "delta": {"role": "assistant", "content": f"Reply {one}."}} for one in range(at)
        ]
        found += [{"index": at, **said} for said in self._said()]
        ends = "tool_calls" if self.field.startswith("tool") else "stop"
        return found + [{"index": one, "delta": {}, "finish_reason": ends} for one in range(at + 1)]

    def _said(self) -> Iterator[dict[str, Any]]:
        """Yield the steps of the choice in question."""
        field, pieces = self.field, self.pieces
        yield {
            "delta": {"role": "assistant", "content": "" if field in ("content", "each choice") else "Well. "}
        }
        if field in ("content", "each choice"):
            yield from ({"delta": {"content": one}} for one in pieces)
        elif field == "tool name":
            yield {"delta": _call(pieces[0], "", id="call_1", type="function")}
            yield from ({"delta": _call(one, "")} for one in pieces[1:])
            yield {"delta": _call("", json.dumps({"about": MARK}))}
        elif field == "tool arguments":
            yield {"delta": _call(_TOOL, "", id="call_1", type="function")}
            whole = ['{"about": "' + pieces[0], *pieces[1:]]
            yield from ({"delta": _call("", one)} for one in [*whole[:-1], whole[-1] + '"}'])
        elif field == "logprobs":
            for one in pieces:
                text = "Yes. " if self.apart else one
                yield {"delta": {"content": text}, "logprobs": {"content": [_token(one)]}}
        elif field == "annotations":
            yield from ({"delta": {"annotations": [_citation(one)]}} for one in pieces)
        else:
            name = "reasoning_content" if field == "reasoning" else field
            yield from ({"delta": {name: one}} for one in pieces)

    def choices(self) -> list[dict[str, Any]]:
        """Return the choices of a reply that is no stream."""
        found: dict[int, dict[str, Any]] = {}
        for step in self.steps():
            there = found.setdefault(
                step["index"], {"index": step["index"], "message": {"role": "assistant"}}
            )
            _put(there, step)
        return list(found.values())

    def leaks(self, got: Mapping[Path, str]) -> bool:
        """Say whether a client that got these texts has the whole of it, or something behind it."""
        texts = got.values()
        return any(
            MARK in one or (self.spelt and self.spelt in one) or PHRASE in one.lower() for one in texts
        )

    def comes(self, got: Mapping[Path, str]) -> bool:
        """Say whether a client gets the field at all: of a case with ordinary text."""
        names = {"tool name": {"name"}, "tool arguments": {"arguments"}, "each choice": {"content"}}
        names["reasoning"] = {"reasoning", "reasoning_content"}
        named, beside = names.get(self.field, {self.field}), self.field == "logprobs"
        return any(
            named & set(path) and (MARK in text or _TOOL in text) and ("logprobs" in path) == beside
            for path, text in got.items()
        )


def _put(there: dict[str, Any], step: dict[str, Any]) -> None:
    message, delta = there["message"], step["delta"]
    for name, value in delta.items():
        if name == "tool_calls":
            (part,) = value
            (call,) = message.setdefault(
                name, [{"type": "function", "function": {"name": "", "arguments": ""}}]
            )
            call["id"] = "call_1"
            for inner in ("name", "arguments"):
                call["function"][inner] += part["function"].get(inner, "")
        elif name == "annotations":
            (one,) = message.setdefault(name, [_citation("")])
            one["url_citation"]["title"] += value[0]["url_citation"]["title"]
        elif name != "role":
            message[name] = message.get(name, "") + value
    if step.get("logprobs"):
        there.setdefault("logprobs", {"content": []})["content"] += step["logprobs"]["content"]
    there["finish_reason"] = step.get("finish_reason")


def _call(name: str, arguments: str, **more: str) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"tool_calls": [{"index": 0, **more, "function": function}]}


def _token(text: str) -> dict[str, Any]:
    return {"token": text, "logprob": -0.5, "bytes": list(text.encode()), "top_logprobs": []}


def _citation(title: str) -> dict[str, Any]:
    place = {"title": title, "url": "https://example.org/", "start_index": 0, "end_index": 1}
    return {"type": "url_citation", "url_citation": place}


def cases(secret: str) -> list[Case]:
    """Return every field in every way of writing, and each field with ordinary text."""
    found = [Case(field, *one) for field in FIELDS for one in _written(field, secret)]
    return [*found, *(replace(one, apart=True) for one in found if one.field == "logprobs" and one.spelt)]


def _written(field: str, secret: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    before, after = ("", "") if field == "tool name" else (BEFORE, AFTER)
    named = _TOOL if field == "tool name" else "shelf"
    yield ORDINARY, "", (f"{before}{named}{after}",)
    for how, spelt in spellings(PHRASE):
        whole = f"{before}{spelt}{after}"
        yield how, spelt, (whole,) if how == "plain" else _in_pieces(whole)
    for at in range(1, len(PHRASE)):
        yield SPLIT, PHRASE, (before + PHRASE[:at], PHRASE[at:] + after)
    for spelt in echoes(secret):
        yield ECHO, spelt, _in_pieces(f"{before}{spelt}{after}")


def _in_pieces(text: str) -> tuple[str, ...]:
    """Pieces as tokens are; where there would be hundreds, of a hundredth."""
    size = max(_PIECE_CHARS, len(text) // 100)
    return tuple(text[at : at + size] for at in range(0, len(text), size))


def texts_of(body: bytes) -> dict[Path, str]:
    """Return every text that a client gets by where it stands, put together over the events of a stream."""
    lines = [line[5:] for line in body.split(b"\n") if line.startswith(b"data:")] or [body]
    found: dict[Path, str] = defaultdict(str)
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        for path, text in _strings(value, ()):
            found[path] += text
    return dict(found)


def _strings(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _strings(inner, (*path, name))
    elif isinstance(value, list):
        for inner in value:
            number = inner.get("index", "*") if isinstance(inner, dict) else "*"
            yield from _strings(inner, (*path, number))
