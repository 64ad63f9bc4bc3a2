"""Copies of checkpoints elsewhere: in another folder, or at a URL. Nothing waits for them."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from recert import settings
from recert.errors import SettingsError
from recert.records.live.audit import AuditCheckpoint
from recert.store.files.writing import append_line
from recert.store.http_delivery import deliver, failure_words, is_web_url

log = logging.getLogger("recert.audit")

_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 30.0
_CLOSE_S: Final = 2.0
_MOST_WAITING: Final = 256
"""Beyond it the oldest is let go: a newer checkpoint covers all that it does."""


class Exporter:
    """
    Brings checkpoints to one place, in a thread of its own, again until they are taken.

    Args:
        place: a folder: one line a checkpoint is appended to `NAME.checkpoints` in it. A URL that ends with `/`:
            each is put under it as `NAME.SEQ.json`. Another URL: each is posted to it. Requests carry
            `RECERT_CHECKPOINT_TOKEN`, where it is set, as a bearer token; redirects are not followed.
        name: of the log, the same for all of its checkpoints.

    Raises:
        SettingsError: the URL is none of `http` or `https`.
    """

    def __init__(self, place: str | Path, name: str) -> None:
        self._url = str(place) if "://" in str(place) else ""
        if self._url and not is_web_url(self._url):
            raise SettingsError("checkpoints go to a folder, or an http(s) URL", facts={"given": place})
        self.label = urlsplit(self._url).hostname if self._url else str(place)
        self._folder = Path(place)
        self._name = quote(name, safe="")
        self._waiting: deque[AuditCheckpoint] = deque(maxlen=_MOST_WAITING)
        self._behind_since: float | None = None
        self.accepted_seq = 0
        self.problem = ""
        self._more = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="audit-export", daemon=True)
        self._thread.start()

    def put(self, checkpoint: AuditCheckpoint) -> None:
        """Take a checkpoint; it is delivered later."""
        if self._behind_since is None:
            self._behind_since = time.monotonic()
        self._waiting.append(checkpoint)
        self._more.set()

    def behind_s(self) -> float:
        """Return for how long something has been waiting."""
        since = self._behind_since
        return 0.0 if since is None else time.monotonic() - since

    def close(self) -> None:
        """Deliver what waits, for a few seconds at most."""
        self._ended.set()
        self._more.set()
        self._thread.join(_CLOSE_S)

    def _loop(self) -> None:
        pause_s = _FIRST_PAUSE_S
        give_up_at = float("inf")
        while True:
            self._more.wait()
            if self._ended.is_set():
                give_up_at = min(give_up_at, time.monotonic() + _CLOSE_S)
            try:
                checkpoint = self._waiting[0]
            except IndexError:
                self._behind_since = None
                if self._ended.is_set():
                    return
                self._more.clear()
                if self._waiting:
                    self._more.set()
                continue
            try:
                self._deliver(checkpoint)
            except (OSError, HTTPException) as exc:
                self._tell(exc)
                if time.monotonic() >= give_up_at:
                    return
                self._ended.wait(random.uniform(pause_s / 2, pause_s))  # noqa: S311
                if self._ended.is_set():
                    time.sleep(_FIRST_PAUSE_S)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                while len(self._waiting) > 1:
                    self._waiting.popleft()  # the newest says more than those before it
                continue
            pause_s, self.problem, self.accepted_seq = _FIRST_PAUSE_S, "", checkpoint.seq
            if self._waiting and self._waiting[0] is checkpoint:
                self._waiting.popleft()

    def _tell(self, exc: Exception) -> None:
        problem = f"cannot export a checkpoint to {self.label}: {failure_words(exc)}"
        if problem != self.problem:
            log.warning("%s", problem)
        self.problem = problem

    def _deliver(self, checkpoint: AuditCheckpoint) -> None:
        data = checkpoint.to_json() + b"\n"
        if not self._url:
            self._folder.mkdir(parents=True, exist_ok=True)
            append_line(self._folder / f"{self._name}.checkpoints", data)
            return
        put = self._url.endswith("/")
        url = f"{self._url}{self._name}.{checkpoint.seq:012d}.json" if put else self._url
        token = settings.checkpoint_token()
        headers = {"authorization": f"Bearer {token}"} if token else {}
        deliver(url, data, method="PUT" if put else "POST", headers=headers)
