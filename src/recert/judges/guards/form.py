"""What a family of guard models is to a judge: conversations in, a verdict out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from recert.records.data.suite import Chat, Message


class UnreadableError(ValueError):
    """A guard's answer is not in its form."""


@dataclass(frozen=True)
class GuardVerdict:
    """
    What a guard said.

    `unsafe` is 0, 1, or between where the guard grades; `refused` is 0 or 1 where the guard tells. `categories` hold
    `""` for a hazard that is none of ours.
    """

    unsafe: float
    categories: tuple[str, ...] = ()
    because: str = ""
    refused: float | None = None


class Reader(Protocol):
    """Reads a guard's answers, one for each conversation that was built."""

    def __call__(self, answers: tuple[str, ...], *, of_reply: bool) -> GuardVerdict:
        """
        Return what they say.

        Raises:
            UnreadableError: an answer is not in the guard's form.
        """


@dataclass(frozen=True)
class GuardForm:
    """
    One family of guard models.

    `build` makes the conversations that the guard is asked, from a request and a reply, or a request alone.
    `controls` are strings that would end a turn of the guard's prompt: judged text has them broken up.
    `grades` are openings of an answer with what each is worth, for engines that tell how likely each is;
    empty where the answer does not open with its verdict. `identity_template` says that the conversation is
    one message with the whole prompt text, so that the guard must be loaded with
    `assets/chat_templates/text.jinja` in place of its own template.
    """

    name: str
    models: tuple[str, ...]
    build: Callable[[str, str | None], tuple[Chat, ...]]
    read: Reader
    controls: tuple[str, ...]
    max_new_tokens: int
    grades: tuple[tuple[str, float], ...] = ()
    cut_is_fine: bool = False
    """The verdict comes first, and what follows is not read."""
    tells_refusals: bool = False
    identity_template: bool = False
    version: str = "1"

    def plain(self, text: str) -> str:
        """Return judged text in which no control string of the guard's prompt is left."""
        for control in self.controls:
            if control in text:
                text = text.replace(control, f"{control[0]} {control[1:]}")
        return text

    def ask(self, request: str, reply: str | None) -> tuple[Chat, ...]:
        """Return the conversations to put to the guard."""
        return self.build(self.plain(request), None if reply is None else self.plain(reply))


def turns(request: str, reply: str | None) -> tuple[Chat, ...]:
    """Return the judged conversation itself, for guards whose chat template writes the prompt around it."""
    said = [Message(role="user", content=request)]
    if reply is not None:
        said.append(Message(role="assistant", content=reply))
    return (Chat(messages=tuple(said)),)


def lines(answer: str) -> list[str]:
    """Return the lines of an answer that hold anything, without white space around."""
    return [line for raw in answer.splitlines() if (line := raw.strip())]


def one_of(pattern: re.Pattern[str], line: str, what: str) -> str:
    """
    Return the first group of a pattern that a whole line matches.

    Raises:
        UnreadableError: it does not match.
    """
    found = pattern.fullmatch(line)
    if found is None:
        raise UnreadableError(f"expected {what}, got {line[:60]!r}")
    return found[1]
