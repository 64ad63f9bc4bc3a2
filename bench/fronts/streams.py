"""Streams that are looked at closely: whether all of a reply came, whether it is one's own, how it ended."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fronts.client import Answer, Client, chat_request, unchunked
from fronts.upstream import PACED, with_ticket
from recert.digest import sha256_bytes

_FIRST_TICKET = 100_000


@dataclass
class Seen:
    """What one reply said, and how it ended."""

    text: str = ""
    ids: set[str] = field(default_factory=set)
    """Of its events: one, in a reply that is in order."""
    finish_reason: str = ""
    done: bool = False
    """Whether it said that this was all."""
    error: str = ""
    """The code, where it was an error or ended with one."""


def look_at(answer: Answer) -> Seen:
    """Return what a reply, streamed or plain, said and how it ended."""
    seen = Seen()
    body = unchunked(answer.body)
    events = [line[5:].strip() for line in body.split(b"\n") if line.startswith(b"data:")]
    for event in events or [body]:
        if event == b"[DONE]":
            seen.done = True
            continue
        try:
            value = json.loads(event)
        except ValueError:
            continue
        _take(value, seen)
    seen.done = seen.done or (not events and bool(seen.finish_reason))
    return seen


def _take(value: dict[str, Any], seen: Seen) -> None:
    if "error" in value:
        seen.error = str(value["error"]["code"])
        return
    seen.ids.add(value["id"])
    for choice in value["choices"]:
        seen.text += (choice.get("delta") or choice.get("message") or {}).get("content") or ""
        seen.finish_reason = choice.get("finish_reason") or seen.finish_reason


@dataclass
class Kept:
    """What clients got who looked closely."""

    replies: dict[str, str] = field(default_factory=dict)
    """Digest of the text of each whole reply, by its id."""
    lost: list[str] = field(default_factory=list)
    """Why replies did not come whole."""
    torn: list[str] = field(default_factory=list)
    """Of replies that came whole: why they are not what was to be said to this client."""
    first_text_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    """By how much the end of a reply came later than the model's pace makes it."""
    under_way: int = 0

    def add(self, answer: Answer, ticket: str, tokens: int, paced_s: float) -> None:
        """Take the answer to a request that named a ticket."""
        seen = look_at(answer)
        if not answer.good or not seen.done or seen.error:
            self.lost.append(f"status {answer.status} {answer.broken} {seen.error}".strip())
            return
        if len(seen.ids) != 1 or seen.text != with_ticket(ticket, tokens):
            self.torn.append(f"ids {sorted(seen.ids)}, text {seen.text[:40]!r} ... {seen.text[-20:]!r}")
            return
        self.replies[seen.ids.pop().removeprefix("chatcmpl-")] = sha256_bytes(seen.text.encode())
        self.first_text_ms.append((answer.first_text_s or 0.0) * 1e3)
        self.late_ms.append((answer.took_s - paced_s) * 1e3)


@dataclass
class Crowd:
    """
    Clients that each ask for one stream after the other, over a connection of their own, until told to stop.

    Args:
        url: of the front.
        model: that is asked.
        tokens: of a paced reply, without its ticket.
        pace_s: between two tokens.
    """

    url: str
    model: str
    tokens: int
    pace_s: float
    kept: Kept = field(default_factory=Kept)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _stopping: bool = False

    @property
    def reply_s(self) -> float:
        """How long the model takes for a reply."""
        return (self.tokens + 2) * self.pace_s

    def start(self, clients: int) -> None:
        """Begin, evenly over the time of one reply, so that replies end as evenly."""
        apart_s = self.reply_s / clients
        self._tasks = [asyncio.create_task(self._ask_on(at, at * apart_s)) for at in range(clients)]

    async def stop(self) -> Kept:
        """Return what was kept, once the replies that are under way have ended."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        return self.kept

    async def _ask_on(self, number: int, wait_s: float) -> None:
        """Two tickets in turn: few enough for the words of all replies to be known after a while, as real ones are."""
        await asyncio.sleep(wait_s)
        client, tickets = Client(self.url), itertools.cycle((2 * number, 2 * number + 1))
        while not self._stopping:
            ticket = str(_FIRST_TICKET + next(tickets))
            request = chat_request(self.model, f"Please {PACED}, ticket {ticket}.", stream=True)
            self.kept.under_way += 1
            answer = await client.ask(request, limit_s=self.reply_s + 60)
            self.kept.under_way -= 1
            self.kept.add(answer, ticket, self.tokens, self.reply_s)
        client.close()


def percentiles(values: Sequence[float]) -> str:
    """Return median, 95th and 99th percentile and the greatest, for a table."""
    ordered = sorted(values)
    return " / ".join(
        f"{ordered[min(int(len(ordered) * q), len(ordered) - 1)]:.0f}" for q in (0.5, 0.95, 0.99, 1)
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of them lies."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
