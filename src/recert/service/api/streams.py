"""How many streams of events are open, so that no project takes them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from recert.service.api.requests import too_many


class EventStreams:
    """
    The streams that are open now.

    Args:
        most: of one project at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()
        self.ending: Callable[[], bool] = lambda: False
        """Whether the service is being stopped: then every stream ends, and its client goes on elsewhere."""

    def __len__(self) -> int:
        return self._open.total()

    def open(self, project: str) -> None:
        """Count a stream of a project. Raises HttpError 429 where it has as many as it may."""
        if self._open[project] >= self._most:
            raise too_many(
                f"a project may follow {self._most} jobs at once", "streams_quota_exceeded", kind="requests"
            )
        self._open[project] += 1

    def close(self, project: str) -> None:
        """Count a stream no longer."""
        self._open[project] -= 1
        if not self._open[project]:
            del self._open[project]
