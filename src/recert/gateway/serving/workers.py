"""Threads for controls: a control that hangs costs a worker, never the exit of the process."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

_T = TypeVar("_T")


class Workers:
    """A few daemon threads that run functions for the event loop."""

    def __init__(self, count: int = 2) -> None:
        self._queue: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        for number in range(count):
            threading.Thread(target=self._loop, name=f"control-{number}", daemon=True).start()

    async def run(self, function: Callable[[], _T], limit_s: float) -> _T:
        """
        Return what the function returns.

        Raises:
            TimeoutError: it took longer than `limit_s`, the wait for a free thread included.
        """
        future: Future[_T] = Future()
        self._queue.put((function, future))
        return await asyncio.wait_for(asyncio.wrap_future(future), limit_s)

    def _loop(self) -> None:
        while True:
            function, future = self._queue.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except BaseException as exc:
                future.set_exception(exc)
