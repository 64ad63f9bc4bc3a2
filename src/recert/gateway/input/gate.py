"""The gate of one request: controls in order, each within a bounded time, and no answer is no pass."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeGuard

from recert.gateway.output.thresholds import Thresholds
from recert.gateway.protocol.request_texts import RequestTexts
from recert.judges.protocol import Score
from recert.records.live.exchange import ControlScore

FAILED: Final = "control-failed"
TIMEOUT: Final = "control-timeout"


@dataclass(frozen=True)
class Answer:
    """
    What a control says of a request.

    `score` is None where the control could not answer, which blocks. `reason` is a short code.
    """

    score: float | None
    blocked: bool
    reason: str = ""
    category: str = ""


class InputControl(Protocol):
    """
    Looks at requests before the model does.

    What it raises, and any answer that is none, blocks. It must not block the event loop: work that takes
    longer than a moment is awaited.
    """

    @property
    def name(self) -> str:
        """What the policy, certificates and the audit log call it."""

    def look(self, asked: RequestTexts) -> Answer | Awaitable[Answer]:
        """Return what it says of a request, at once or when it is awaited."""

    async def close(self) -> None:
        """Give back what it holds. It is not asked again."""


def answer_of(said: object, thresholds: Thresholds, name: str) -> Answer:
    """Return what the policy makes of a judge's answer; whatever is no score blocks."""
    if not isinstance(said, Score):
        return Answer(None, blocked=True, reason=FAILED)
    found = thresholds.judge(said)
    return Answer(found.score, found.blocked, name if found.blocked else "", found.category)


class InputGate:
    """
    Asks controls about requests.

    Args:
        controls: in the order in which they are asked; the first that blocks ends it.
        limit_s: longest wait for each.
        shadow: names of controls that are asked and do not act.
    """

    def __init__(self, controls: Sequence[InputControl], *, limit_s: float, shadow: Collection[str]) -> None:
        self._controls = tuple(controls)
        self._limit_s = limit_s
        self._shadow = frozenset(shadow)

    @property
    def names(self) -> tuple[str, ...]:
        """The controls' names, in order."""
        return tuple(control.name for control in self._controls)

    async def check(self, asked: RequestTexts, *, every: bool = False) -> list[ControlScore]:
        """
        Return what controls say of a request, up to the first that blocks it.

        Args:
            asked: the request.
            every: ask those after it too, to see what each would do.
        """
        scores = []
        for control in self._controls:
            answer = await self._answer(control, asked)
            shadow = control.name in self._shadow
            scores.append(
                ControlScore(
                    control=control.name,
                    direction="input",
                    score=answer.score,
                    blocked=answer.blocked and not shadow,
                    reason=answer.reason or (control.name if answer.blocked else ""),
                    category=answer.category,
                    shadow=shadow,
                )
            )
            if scores[-1].blocked and not every:
                break
        return scores

    async def close(self) -> None:
        """Close every control."""
        for control in self._controls:
            await control.close()

    async def _answer(self, control: InputControl, asked: RequestTexts) -> Answer:
        try:
            said: object = control.look(asked)
            if isinstance(said, Awaitable):
                said = await self._in_time(said)
        except TimeoutError:
            return Answer(None, blocked=True, reason=TIMEOUT)
        except Exception:
            return Answer(None, blocked=True, reason=FAILED)
        return said if _is_answer(said) else Answer(None, blocked=True, reason=FAILED)

    async def _in_time(self, said: Awaitable[object]) -> object:
        """Wait so long and no longer, also for what does not let itself be cancelled."""
        task = asyncio.ensure_future(said)
        try:
            done, _ = await asyncio.wait((task,), timeout=self._limit_s)
        finally:
            task.cancel()  # also where the request itself is cut short; what is done stays done
        if not done:
            task.add_done_callback(_swallow)
            raise TimeoutError
        return None if task.cancelled() else task.result()


def _swallow(task: asyncio.Future[object]) -> None:
    """Look at what a control that came too late raised, so that nobody warns of it."""
    if not task.cancelled():
        task.exception()


def _is_answer(said: object) -> TypeGuard[Answer]:
    if not isinstance(said, Answer) or not isinstance(said.blocked, bool):
        return False
    if not isinstance(said.reason, str) or not isinstance(said.category, str):
        return False
    if said.score is None:
        return said.blocked
    return isinstance(said.score, int | float) and math.isfinite(said.score)
