"""Controls of requests in order, each in a bounded time: what is no answer is no pass."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.gateway.input.gate import FAILED, TIMEOUT, Answer, InputGate
from recert.gateway.protocol.request_texts import RequestTexts
from recert.records.live.exchange import ControlScore

ASKED = RequestTexts(("Hello",), ("Hello",))
PASS = Answer(0.1, blocked=False)
BLOCK = Answer(0.95, blocked=True, category="hate")


class Says:
    """A control that does what it is told, at once or later."""

    def __init__(self, does: Any, name: str = "told") -> None:
        self.name = name
        self._does = does
        self.asked = 0
        self.closed = False

    def look(self, asked: RequestTexts) -> Answer | Awaitable[Answer]:
        """Do it."""
        self.asked += 1
        found: Answer | Awaitable[Answer] = self._does() if callable(self._does) else self._does
        return found

    async def close(self) -> None:
        """Remember it."""
        self.closed = True


def check(*controls: Says, shadow: tuple[str, ...] = (), every: bool = False) -> list[ControlScore]:
    """Ask controls, each for a tenth of a second at most."""
    gate = InputGate(controls, limit_s=0.1, shadow=shadow)
    return asyncio.run(gate.check(ASKED, every=every))


def raises() -> Answer:
    """Break."""
    raise RuntimeError("broken")


async def raises_later() -> Answer:
    """Break while it is awaited."""
    raise RuntimeError("broken")


async def hangs() -> Answer:
    """Answer too late."""
    await asyncio.sleep(5)
    return PASS


async def hangs_on() -> Answer:
    """Hang, and not let itself be cancelled at once."""
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        try:
            await asyncio.sleep(0.2)
        except asyncio.CancelledError:
            continue
    return PASS


async def cancels_itself() -> Answer:
    """Be cancelled from within."""
    raise asyncio.CancelledError


async def says_later() -> Answer:
    """Pass after a moment."""
    await asyncio.sleep(0)
    return PASS


NO_ANSWERS = {
    "raises": raises,
    "raises while awaited": raises_later,
    "nothing": lambda: None,
    "a score": lambda: 0.0,
    "false": lambda: False,
    "NaN": lambda: Answer(math.nan, blocked=False),
    "infinity": lambda: Answer(-math.inf, blocked=False),
    "no score and no block": lambda: Answer(None, blocked=False),
    "words for a score": lambda: Answer("0.0", blocked=False),  # type: ignore[arg-type]
    "words for a block": lambda: Answer(0.0, blocked=""),  # type: ignore[arg-type]
    "a class": lambda: Answer,
    "cancelled": cancels_itself,
    "an awaitable of nothing": lambda: asyncio.sleep(0),
}


@pytest.mark.parametrize("does", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer_blocks(does: Any) -> None:
    """Whatever a control does in place of an answer, the request is blocked, and the next is not asked."""
    after = Says(PASS)
    (score,) = check(Says(does), after)

    assert (score.blocked, score.score, score.reason) == (True, None, FAILED)
    assert after.asked == 0


@pytest.mark.parametrize("does", [hangs, hangs_on], ids=["hangs", "hangs on"])
def test_a_control_that_hangs_blocks_in_time(does: Any) -> None:
    """Nobody waits longer than the limit, also for what does not let itself be cancelled."""
    began = time.monotonic()
    gate = InputGate([Says(does)], limit_s=0.1, shadow=())

    async def ask() -> tuple[list[ControlScore], float]:
        found = await gate.check(ASKED)
        return found, time.monotonic() - began

    (score,), took = asyncio.run(ask())

    assert (score.blocked, score.reason) == (True, TIMEOUT)
    assert took < 0.5


def test_controls_are_asked_in_order_up_to_the_first_that_blocks() -> None:
    """Those before it have answered, those after it are not asked, unless every one is wanted."""
    first, second, third = Says(PASS, "a"), Says(says_later, "b"), Says(BLOCK, "c")
    last = Says(PASS, "d")
    names = [(s.control, s.blocked) for s in check(first, second, third, last)]

    assert names == [("a", False), ("b", False), ("c", True)]
    assert last.asked == 0
    assert [s.control for s in check(first, second, third, last, every=True)] == ["a", "b", "c", "d"]


def test_a_control_in_shadow_says_what_it_would_have_done() -> None:
    """It scores, blocks nothing, and its reason and category stand in the record; the next control still acts."""
    watching, acting = check(Says(BLOCK, "a"), Says(BLOCK, "b"), shadow=("a",))

    assert (watching.blocked, watching.shadow, watching.reason) == (False, True, "a")
    assert (watching.score, watching.category) == (0.95, "hate")
    assert (acting.blocked, acting.shadow) == (True, False)
    (broken,) = check(Says(raises), shadow=("told",))
    assert (broken.blocked, broken.shadow, broken.score, broken.reason) == (False, True, None, FAILED)


def test_every_control_is_closed() -> None:
    """What controls hold is given back."""
    controls = [Says(PASS), Says(BLOCK)]
    asyncio.run(InputGate(controls, limit_s=1, shadow=()).close())

    assert all(control.closed for control in controls)


answers = st.one_of(
    st.builds(Answer, st.floats(0, 1), st.booleans(), st.sampled_from(["", "why"])),
    st.sampled_from(list(NO_ANSWERS.values())),
)


@pytest.mark.slow
@given(told=st.lists(answers, min_size=1, max_size=4), lost=st.integers(0, 3), instead=st.sampled_from(
    list(NO_ANSWERS.values())))  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_losing_an_answer_is_never_laxer(told: list[Any], lost: int, instead: Any) -> None:
    """With any one answer lost or spoilt, a request that was blocked is still blocked."""
    before = any(s.blocked for s in check(*map(Says, told)))
    told[lost % len(told)] = instead
    after = any(s.blocked for s in check(*map(Says, told)))

    assert after >= before
    assert after
