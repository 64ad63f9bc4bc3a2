"""The engine answers those who wait together, and one who fails or leaves harms no other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence

import aiohttp
from aiohttp import web

from recert.errors import ModelError, TemplateError
from recert.models.engines.engine import Engine
from recert.models.protocol import Sampling
from recert.records.data.suite import Chat


class Counting:
    """A model that notes which conversations it got together, and waits before the first."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go = threading.Event()

    def stream_together(
        self,
        chats: Sequence[Chat],
        sampling: Sampling,
        *,
        limits: Sequence[int],
        wanted: Callable[[int], bool],
    ) -> Iterator[tuple[int, str | ModelError | None]]:
        """Echo each conversation, one word at a time."""
        texts = [one.messages[-1].content for one in chats]
        self.batches.append(texts)
        self.go.wait(10)
        if "break" in texts:
            raise ZeroDivisionError
        for place, text in enumerate(texts):
            if text == "too long":
                yield place, ModelError("conversation is longer than the model's context")
                continue
            if text == "twice":
                yield place, TemplateError("the model's chat template refuses the conversation")
                continue
            for word in text.split()[: limits[place]]:
                yield place, word + " "
            yield place, None

    def count_tokens(self, text: str) -> int:
        """Count words."""
        return len(text.split())


async def _ask(session: aiohttp.ClientSession, url: str, text: str, **more: object) -> tuple[int, str]:
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 9, **more}
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        return response.status, (await response.read()).decode()


async def _serve(
    model: Counting | dict[str, Counting], ask: Callable[[aiohttp.ClientSession, str], object]
) -> object:
    runner = web.AppRunner(Engine(model).app(), handler_cancellation=True)  # as the engine serves it
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as session:
        try:
            return await ask(session, f"http://127.0.0.1:{port}")  # type: ignore[misc]
        finally:
            await runner.cleanup()


def test_who_waits_is_answered_together_where_the_drawing_is_alike() -> None:
    """The first goes alone; those that came meanwhile are one batch for each way of drawing."""
    model = Counting()

    async def ask(session: aiohttp.ClientSession, url: str) -> list[tuple[int, str]]:
        first = asyncio.create_task(_ask(session, url, "first one"))
        while not model.batches:
            await asyncio.sleep(0.01)
        rest = [asyncio.create_task(_ask(session, url, f"number {i}")) for i in range(5)]
        warm = asyncio.create_task(_ask(session, url, "warm", temperature=0.7))
        await asyncio.sleep(0.3)
        model.go.set()
        return await asyncio.gather(first, *rest, warm)

    answers = asyncio.run(_serve(model, ask))

    assert isinstance(answers, list)
    assert [status for status, _ in answers] == [200] * 7
    assert '"number "' in answers[1][1] and '"0 "' in answers[1][1]
    assert model.batches[0] == ["first one"]
    assert sorted(map(sorted, model.batches[1:])) == [[f"number {i}" for i in range(5)], ["warm"]]


def test_one_that_fails_harms_only_its_own_batch() -> None:
    """One too long, or that the template refuses, is refused beside others; a broken batch breaks no next one."""
    model = Counting()
    model.go.set()

    async def ask(session: aiohttp.ClientSession, url: str) -> list[tuple[int, str]]:
        answers = await asyncio.gather(*(_ask(session, url, t) for t in ("too long", "fine words", "twice")))
        broken = await _ask(session, url, "break")
        return [*answers, broken, await _ask(session, url, "fine again")]

    answers = asyncio.run(_serve(model, ask))

    assert isinstance(answers, list)
    assert [status for status, _ in answers] == [400, 200, 400, 500, 200]
    assert "context_length_exceeded" in answers[0][1]
    assert "template_refuses" in answers[2][1]


def test_who_left_is_not_answered() -> None:
    """A request whose client went away while it waited never reaches the model."""
    model = Counting()

    async def ask(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
        first = asyncio.create_task(_ask(session, url, "first"))
        while not model.batches:
            await asyncio.sleep(0.01)
        leaving = asyncio.create_task(_ask(session, url, "leaving"))
        await asyncio.sleep(0.2)
        leaving.cancel()
        await asyncio.sleep(0.2)
        model.go.set()
        await first
        return await _ask(session, url, "last")

    asyncio.run(_serve(model, ask))

    assert model.batches == [["first"], ["last"]]


def test_each_model_of_an_engine_is_asked_by_its_name() -> None:
    """Models of one engine answer apart, never in one batch; a name that is none gets 404."""
    one, other = Counting(), Counting()
    one.go.set()
    other.go.set()

    async def ask(session: aiohttp.ClientSession, url: str) -> list[tuple[int, str]]:
        return await asyncio.gather(
            _ask(session, url, "for one", model="one"),
            _ask(session, url, "for other", model="other"),
            _ask(session, url, "for none", model="third"),
            _ask(session, url, "for nobody"),
        )

    answers = asyncio.run(_serve({"one": one, "other": other}, ask))

    assert isinstance(answers, list)
    assert [status for status, _ in answers] == [200, 200, 404, 400]
    assert (one.batches, other.batches) == ([["for one"]], [["for other"]])


def test_what_the_engine_does_not_do_is_refused_and_not_passed_over() -> None:
    """Several choices, tools, stop texts and the like get 400 from the embedded engine: it would leave them out."""
    model = Counting()
    model.go.set()
    wishes: list[dict[str, object]] = [{"n": 2}, {"tools": [{}]}, {"stop": ["x"]}, {"logprobs": True}]

    async def ask(session: aiohttp.ClientSession, url: str) -> list[tuple[int, str]]:
        return [await _ask(session, url, "fine words", **wish) for wish in wishes]

    answers = asyncio.run(_serve(model, ask))

    assert isinstance(answers, list)
    assert [status for status, _ in answers] == [400] * len(wishes)
    assert all("not_supported" in said for _, said in answers)
    assert model.batches == []
