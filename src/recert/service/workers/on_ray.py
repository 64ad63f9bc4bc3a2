"""
Workers of a tuning service on a Ray cluster: as many as were asked for, each with cores and GPUs of its own.

Each is an actor that runs `recert service worker` as a child process, which ends when the actor does, however that
ends. A worker that is lost lets go of its claims at once, and another one takes its place; Ray decides where.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from recert.digest import sha256_bytes
from recert.errors import InputError, RecertError
from recert.gateway.engines.child import end_child
from recert.models.engines.ray_workers import open_ray, require_enough
from recert.service.settings import FILE, ServiceSettings
from recert.service.workers.queue import JobQueue
from recert.store.files.writing import read_bytes
from recert.store.places import is_url

log = logging.getLogger("recert.service")

_LOOK_S: Final = 0.5
_SOONEST_S: Final = 1.0
_LATEST_S: Final = 60.0
_WORKED_S: Final = 300.0
"""A worker that ran for so long did not end because it cannot begin: the next is started soon."""
_END_S: Final = 10.0


@dataclass(frozen=True)
class Wanted:
    """How many workers, and what each is given."""

    workers: int = 1
    cpus: float = 1
    gpus: float = 0

    def __post_init__(self) -> None:
        if self.workers < 1 or self.cpus < 0 or self.gpus < 0:
            raise InputError("there must be a worker, and nothing below zero", facts={"given": self})


def require_shared(settings: ServiceSettings, *, nodes: int, address: str) -> None:
    """
    Return when workers on this cluster can share the service's database.

    Raises:
        InputError: it is a file of SQLite, and there are several machines: their locks do not reach each other.
    """
    if not is_url(settings.store) and (nodes > 1 or address.startswith("ray://")):
        raise InputError(
            "workers on several machines need a database that they share",
            facts={"machines": nodes, "database": settings.store},
            hint="start the service with `--database postgresql://…`, after `recert db upgrade`",
        )


def work_on_ray(
    settings: ServiceSettings,
    queue: JobQueue,
    wanted: Wanted,
    *,
    address: str = "auto",
    command: Sequence[str] = (),
    ended: threading.Event | None = None,
) -> None:
    """
    Keep workers alive on a Ray cluster, until `ended` or Ctrl-C; then they are ended too.

    Args:
        settings: of the service. Every machine sees its folder under the same path.
        queue: where the claims of a lost worker are let go of.
        wanted: how many, and what each is given.
        address: of the cluster; `auto` for the one that runs here, `local` to begin one.
        command: what each runs, before `--name NAME --with-parent`; by default `recert service worker`.
        ended: set by another thread to end.

    Raises:
        MissingExtraError: Ray is not installed.
        ModelError: the cluster cannot be reached.
        InputError: it has not enough for so many workers, several machines would share a file of SQLite, or a
            machine does not see the service's folder.
    """
    ray, began = open_ray(address, logs=True)
    workers: _Workers | None = None
    try:
        nodes = sum(bool(one["Alive"]) for one in ray.nodes())
        require_shared(settings, nodes=nodes, address=address)
        require_enough(ray, wanted.workers, {"num_cpus": wanted.cpus, "num_gpus": wanted.gpus})
        workers = _Workers(ray, settings, queue, wanted, list(command))
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray has one of its own
        with contextlib.suppress(KeyboardInterrupt):
            workers.keep(ended or threading.Event())
    finally:
        if workers is not None:
            workers.end()
        if began:
            ray.shutdown()


@dataclass
class _Place:
    """The place of one worker, which one actor after another takes."""

    number: int
    name: str = ""
    actor: Any = None
    answer: Any = None
    began_s: float = 0.0
    not_before_s: float = 0.0
    wait_s: float = _SOONEST_S
    times: int = 0


class _Workers:
    """The workers of one service on one cluster."""

    def __init__(
        self, ray: Any, settings: ServiceSettings, queue: JobQueue, wanted: Wanted, command: list[str]
    ) -> None:
        self._ray, self._queue, self._command = ray, queue, command
        self._folder = str(settings.folder)
        self._digest = sha256_bytes(read_bytes(settings.folder / FILE, "the service's settings"))
        options: dict[str, Any] = {
            "num_cpus": wanted.cpus, "num_gpus": wanted.gpus, "max_concurrency": 2, "scheduling_strategy": "SPREAD",
        }  # fmt: skip
        if not is_url(settings.store):  # a machine that joins later does not share the file
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            here = ray.get_runtime_context().get_node_id()
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(here, soft=False)
        self._actor: Any = ray.remote(**options)(_Actor)
        self._places = [_Place(number) for number in range(wanted.workers)]

    def keep(self, ended: threading.Event) -> None:
        """Fill every place, and fill it again, until it is time to end."""
        while not ended.is_set():
            for place in self._places:
                if place.actor is None and time.monotonic() >= place.not_before_s:
                    self._begin(place)
            by_answer = {place.answer: place for place in self._places if place.actor is not None}
            if not by_answer:
                ended.wait(_LOOK_S)
                continue
            ready, _ = self._ray.wait(list(by_answer), num_returns=1, timeout=_LOOK_S)
            for answer in ready:
                self._lost(by_answer[answer])

    def end(self) -> None:
        """End every worker, and let go of what it was at: it goes on when a worker is there again."""
        taken = [place for place in self._places if place.actor is not None]
        with contextlib.suppress(Exception):  # whoever does not end by itself is killed
            self._ray.wait([one.actor.end.remote() for one in taken], num_returns=len(taken), timeout=_END_S)
        for place in taken:
            with contextlib.suppress(Exception):
                self._ray.kill(place.actor)
            self._release(place, counted=False)

    def _begin(self, place: _Place) -> None:
        place.name = f"ray-{place.number}-{secrets.token_hex(6)}"
        place.actor = self._actor.remote(self._folder, self._digest)
        place.answer = place.actor.work.remote(self._command, place.name)
        place.began_s = time.monotonic()
        place.times += 1

    def _lost(self, place: _Place) -> None:
        try:
            came = self._ray.get(place.answer)
        except self._ray.exceptions.RayError as exc:
            log.warning("%s is lost (%s); another one is started", place.name, _first_line(exc))
        else:
            if isinstance(came, _Refusal) and place.times == 1:
                raise InputError(came.message, facts=came.facts, hint=came.hint)
            because = came.message if isinstance(came, _Refusal) else f"ended with {came}"
            log.warning("%s: %s; another one is started", place.name, because)
        with contextlib.suppress(Exception):  # it is dead already, or not to be reached
            self._ray.kill(place.actor)
        place.actor = place.answer = None
        self._release(place, counted=True)
        if time.monotonic() - place.began_s > _WORKED_S:
            place.wait_s = _SOONEST_S
        place.not_before_s = time.monotonic() + place.wait_s
        place.wait_s = min(2 * place.wait_s, _LATEST_S)

    def _release(self, place: _Place, *, counted: bool) -> None:
        try:
            self._queue.release(place.name, counted=counted)
        except RecertError as exc:
            log.warning("claims of %s end by themselves: %s", place.name, exc.message)


@dataclass(frozen=True)
class _Refusal:
    """Why a machine cannot work for the service."""

    message: str
    facts: dict[str, str]
    hint: str


class _Actor:
    """What runs on a machine of the cluster: one worker as a child process."""

    def __init__(self, folder: str, digest: str) -> None:
        self._folder, self._digest = folder, digest
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()

    def work(self, command: list[str], name: str) -> int | _Refusal:
        """Return how the worker ended, once it has; or why there is none."""
        try:
            same = sha256_bytes(read_bytes(Path(self._folder) / FILE, "settings")) == self._digest
        except RecertError:
            same = False
        if not same:
            facts = {"folder": self._folder, "machine": _machine()}
            return _Refusal(
                "a machine of the cluster does not see the service's folder",
                facts,
                "every machine must see the same folder under the same path",
            )
        usual = [sys.executable, "-m", "recert", "service", "worker", "--folder", self._folder]
        self._child = subprocess.Popen(  # noqa: S603 - this Python, on this package
            [*(command or usual), "--name", name, "--with-parent"],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        if self._ending.is_set():
            end_child(self._child, within_s=_END_S)
        return self._child.wait()

    def end(self) -> None:
        """End the worker, and return when it has ended."""
        self._ending.set()
        end_child(self._child, within_s=_END_S / 2)


def _machine() -> str:
    import socket

    return socket.gethostname()


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip() or type(exc).__name__).split("\n")[0][:300]
