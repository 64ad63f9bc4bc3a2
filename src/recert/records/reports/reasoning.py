"""
The trace and the answer of a reasoning model's reply: read whole, or piece by piece as a stream brings it.

Formats: `tags` (`<think>...</think>` and other pairs: Qwen3, Phi-4-reasoning), `opened` (the chat template opened the
trace, so the reply begins inside it: DeepSeek-R1), `harmony` (channels of gpt-oss, with its marks or with them skipped
as special tokens), and `auto`, which finds out and holds back what may still be either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

from recert.records.data.rows import THINK_CLOSE, THINK_OPEN

ReasoningFormat = Literal["auto", "tags", "opened", "harmony"]
"""How a model writes its trace."""

ReplyPart = Literal["trace", "answer", "mark"]
"""What a piece belongs to; a mark is what stands between the two: tags, headers, white space behind them."""

PAIRS: Final = {
    THINK_OPEN: THINK_CLOSE,
    "<thinking>": "</thinking>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "[THINK]": "[/THINK]",
}
"""Tags around a trace."""
HARMONY_MARKS: Final = (
    "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>", "<|return|>", "<|call|>",
)  # fmt: skip
"""What gpt-oss puts around its channels."""

_CLOSES: Final = tuple(PAIRS.values())
_HEADS: Final = ("<|channel|>", "<|start|>")
_BODY_ENDS: Final = ("<|end|>", "<|return|>", "<|call|>", *_HEADS)
_MESSAGE: Final = "<|message|>"
_LONGEST_HEADER: Final = 200
"""Characters after which a header without `<|message|>` is text."""
_CHANNEL: Final = re.compile(r"<\|channel\|>\s*([a-z]+)")
_SKIPPED: Final = ("assistantfinal", "assistantcommentary")
"""What stands between analysis and answer where the marks were skipped."""
_ANALYSIS: Final = "analysis"
_NAMES: Final = (_ANALYSIS, "final", "commentary")
_SURELY_ANALYSIS: Final = re.compile(r"\s*analysis(?=[A-Z])")


class ReplyPiece(NamedTuple):
    """A piece of a reply, and what it belongs to."""

    part: ReplyPart
    text: str


class ReplyParts(NamedTuple):
    """
    A reply taken apart. Whatever is in no trace is the answer, so that doubt is judged as an answer.

    `has_trace` is True where one was opened, be it empty; `closed` is False where it never ended.
    """

    trace: str
    answer: str
    has_trace: bool = False
    closed: bool = True

    @property
    def only_trace(self) -> bool:
        """True where there is a trace and nothing behind it: that is no answer, whatever the trace says."""
        return self.has_trace and not self.answer.strip()


def read_reply(reply: str, style: ReasoningFormat = "auto") -> ReplyParts:
    """Return the trace and the answer of a whole reply. Any text can be read; nothing is raised."""
    reader = TraceReader(style)
    return parts_of([*reader.feed(reply), *reader.finish()])


def parts_of(pieces: Sequence[ReplyPiece]) -> ReplyParts:
    """Return the parts that the pieces of a whole reply come to."""
    trace = "".join(piece.text for piece in pieces if piece.part == "trace")
    answer = "".join(piece.text for piece in pieces if piece.part == "answer")
    marked = any(piece.part == "mark" and piece.text.strip() for piece in pieces)
    has_trace = bool(trace) or (marked and _opens(pieces))
    return ReplyParts(trace, answer, has_trace, not has_trace or _closed(pieces))


def with_trace_field(reasoning: str, content: str) -> str:
    """
    Return one text for a reply whose trace came in a field of its own (`reasoning_content`, `reasoning`).

    Without content the trace is left open: there is no answer.
    """
    if not reasoning:
        return content
    head = f"{THINK_OPEN}\n{reasoning}"
    return f"{head}\n{THINK_CLOSE}\n\n{content}" if content.strip() else head


def trace_marks(special: Sequence[str]) -> tuple[str, ...]:
    """
    Return those of a tokenizer's special tokens that a reply's text must keep, as they stand around a trace.

    `<|end|>` and the like do so only where there are channels: elsewhere they end the reply.
    """
    marks = {*PAIRS, *PAIRS.values(), *(HARMONY_MARKS if _HEADS[0] in special else ())}
    return tuple(one for one in special if one in marks)


def open_trace(prompt: str) -> str:
    """Return the tag that a prompt ends in, with the space behind it, where it leaves a trace open; else nothing."""
    bare = prompt.rstrip()
    tag = next((tag for tag in PAIRS if bare.endswith(tag)), "")
    return prompt[len(bare) - len(tag) :] if tag else ""


class TraceReader:
    """
    Takes a reply piece by piece and says of each part of it whether it is trace or answer.

    Cutting the reply elsewhere changes neither. All texts that come out, in order, are the text that went in.

    Args:
        style: how the model writes its trace.
    """

    def __init__(self, style: ReasoningFormat = "auto") -> None:
        self._style = style
        self._buffer = ""
        self._closes: tuple[str, ...] = _CLOSES
        self._state: Callable[[bool], list[ReplyPiece] | None] = self._start
        self._after: Callable[[bool], list[ReplyPiece] | None] = self._answer
        self._part: ReplyPart = "answer"

    def feed(self, piece: str) -> list[ReplyPiece]:
        """Take the next piece; return what is known now."""
        self._buffer += piece
        return self._run(at_end=False)

    def finish(self) -> list[ReplyPiece]:
        """Take the end of the reply; return what is left."""
        return self._run(at_end=True)

    def _run(self, *, at_end: bool) -> list[ReplyPiece]:
        found: list[ReplyPiece] = []
        while self._buffer:
            pieces = self._state(at_end)
            if pieces is None:
                break
            found += [piece for piece in pieces if piece.text]
        return found

    def _take(self, part: ReplyPart, size: int) -> ReplyPiece:
        text, self._buffer = self._buffer[:size], self._buffer[size:]
        return ReplyPiece(part, text)

    def _start(self, at_end: bool) -> list[ReplyPiece] | None:  # noqa: FBT001
        """How the reply begins: with a tag, with a channel, or with neither."""
        text = self._buffer.lstrip()
        space = len(self._buffer) - len(text)
        tags = () if self._style == "harmony" else tuple(PAIRS)
        channels = _HEADS if self._style in ("auto", "harmony") else ()
        heads = (*channels, *_NAMES) if self._style == "harmony" else channels
        if not at_end and _may_become(text, (*tags, *heads)):
            return None
        tag = next((one for one in tags if text.startswith(one)), "")
        if tag:
            self._closes = (PAIRS[tag],)
            return [self._mark(space + len(tag), self._trace)]
        if channels and text.startswith(channels):
            self._state = self._header
            return [self._take("mark", space)]
        if self._style == "harmony":
            return self._start_skipped(text, space)
        self._state = {"tags": self._answer, "opened": self._trace}.get(self._style, self._undecided)
        return []

    def _start_skipped(self, text: str, space: int) -> list[ReplyPiece]:
        if text.startswith(_ANALYSIS):
            self._closes = _SKIPPED
            return [self._mark(space + len(_ANALYSIS), self._trace)]
        self._state = self._answer
        return [self._take("mark", space + len("final"))] if text.startswith("final") else []

    def _mark(self, size: int, after: Callable[[bool], list[ReplyPiece] | None]) -> ReplyPiece:
        self._state, self._after = self._space, after
        return self._take("mark", size)

    def _space(self, _: bool) -> list[ReplyPiece] | None:  # noqa: FBT001
        """White space behind a mark belongs to it."""
        size = len(self._buffer) - len(self._buffer.lstrip())
        if size < len(self._buffer):
            self._state = self._after
        return [self._take("mark", size)]

    def _trace(self, at_end: bool) -> list[ReplyPiece] | None:  # noqa: FBT001
        at, found = _first(self._buffer, self._closes)
        if found:
            return [self._take("trace", at), self._mark(len(found), self._answer)]
        return self._up_to_doubt("trace", self._closes, at_end=at_end)

    def _up_to_doubt(self, part: ReplyPart, marks: Sequence[str], *, at_end: bool) -> list[ReplyPiece] | None:
        """Give what can no longer be the beginning of a mark."""
        size = len(self._buffer) if at_end else _sure(self._buffer, marks)
        return [self._take(part, size)] if size else None

    def _answer(self, _: bool) -> list[ReplyPiece] | None:  # noqa: FBT001
        return [self._take("answer", len(self._buffer))]

    def _undecided(self, at_end: bool) -> list[ReplyPiece] | None:  # noqa: FBT001
        """Neither tag nor channel at the beginning: a close that comes later says that all before was the trace."""
        skipped = _SURELY_ANALYSIS.match(self._buffer)
        _, found = _first(self._buffer, _SKIPPED if skipped else _CLOSES)
        if not found and not at_end:
            return None
        if skipped:
            self._closes = _SKIPPED
            return [self._mark(skipped.end(), self._trace)]
        self._state = self._trace if found else self._answer
        return []

    def _header(self, at_end: bool) -> list[ReplyPiece] | None:  # noqa: FBT001
        """A header of gpt-oss, up to its `<|message|>`. Text without a header is an answer."""
        text = self._buffer.lstrip()
        space = len(self._buffer) - len(text)
        if not at_end and _may_become(text, _HEADS):
            return None
        end = text.find(_MESSAGE, 0, _LONGEST_HEADER)
        if not text or (text.startswith(_HEADS) and end < 0 and at_end and len(text) < _LONGEST_HEADER):
            return [self._take("mark", len(self._buffer))]
        if text.startswith(_HEADS) and end < 0 and len(text) < _LONGEST_HEADER:
            return None
        self._state, self._part = self._body, "answer"
        if not text.startswith(_HEADS) or end < 0:
            return [self._take("mark", space), self._take("answer", 1)]
        channel = _CHANNEL.search(text[:end])
        self._part = "trace" if channel and channel[1] == _ANALYSIS else "answer"
        return [self._take("mark", space + end + len(_MESSAGE))]

    def _body(self, at_end: bool) -> list[ReplyPiece] | None:  # noqa: FBT001
        at, found = _first(self._buffer, _BODY_ENDS)
        if not found:
            return self._up_to_doubt(self._part, _BODY_ENDS, at_end=at_end)
        self._state = self._header
        pieces = [self._take(self._part, at)]
        return pieces if found in _HEADS else [*pieces, self._take("mark", len(found))]


def _first(text: str, marks: Sequence[str]) -> tuple[int, str]:
    """Where the first of some marks stands, and which; an empty text for none."""
    places = [(at, mark) for mark in marks if (at := text.find(mark)) >= 0]
    return min(places, default=(-1, ""))


def _sure(text: str, marks: Sequence[str]) -> int:
    """How many characters cannot be the beginning of a mark that is still to come."""
    longest = max(map(len, marks)) - 1
    for size in range(min(longest, len(text)), 0, -1):
        if any(mark.startswith(text[-size:]) for mark in marks):
            return len(text) - size
    return len(text)


def _may_become(text: str, marks: Sequence[str]) -> bool:
    return any(len(text) < len(mark) and mark.startswith(text) for mark in marks)


def _opens(pieces: Sequence[ReplyPiece]) -> bool:
    """Whether a mark that is no close, and no header of an answer, opened a trace."""
    head = next((piece.text for piece in pieces if piece.part == "mark" and piece.text.strip()), "").strip()
    channel = _CHANNEL.search(head)
    return channel[1] == _ANALYSIS if channel else head.startswith((*PAIRS, *_CLOSES, _ANALYSIS))


def _closed(pieces: Sequence[ReplyPiece]) -> bool:
    """Whether the last mark is one that ends a trace."""
    last = next(
        (piece.text.strip() for piece in reversed(pieces) if piece.part == "mark" and piece.text.strip()), ""
    )
    return last.endswith((*_CLOSES, *_SKIPPED, "<|end|>", "<|return|>", "<|call|>")) or (
        _MESSAGE in last and _ANALYSIS not in last
    )
