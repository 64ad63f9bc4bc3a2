"""
Files and fine-tuning as OpenAI's client asks for them, with the chain behind. Read this first.

An upload is validated and screened; a job validates its files, trains with a defence, is evaluated against the base,
shown in 13 categories, and ends with a certificate that waits for its signatures or with reasons why it is blocked.
The tuned model answers on `/v1/chat/completions` once everyone has signed whom the policy asks, through the gateway of
`recert serve`, and no longer than its certificate holds.

Two kinds of process: this one answers requests and never loads torch; workers (`worker.py`, `jobs_work.py`) screen,
train and evaluate. They share a database, in which jobs wait (`queue.py`), and a folder, or a bucket (`storage.py`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from recert.errors import RecertError
from recert.gateway.access.budgets import Budgets
from recert.gateway.access.keys import ApiKeys, require_keys_beyond_loopback
from recert.gateway.serving.launcher import Launcher, config_of, listen, url_of
from recert.policy import load_policy
from recert.service.api.app import make_app
from recert.service.api.app_context import AppContext
from recert.service.api.streams import EventStreams
from recert.service.gateway_pool import GatewayPool
from recert.service.settings import ServiceSettings
from recert.service.signing import ServiceSigners, load_signers, require_defence, require_text_alone
from recert.service.storage.systems import Systems
from recert.service.storage.tables import Database, now_s, open_database
from recert.service.storage.uploads import Files
from recert.service.workers.events import Events
from recert.service.workers.own_worker import OwnWorker
from recert.service.workers.queue import JobQueue

log = logging.getLogger("recert.service")

_LAST_WORDS_S: Final = 10
_SWEEP_S: Final = 3600
_REFRESHES: Final = 4
"""Times that the status list is signed anew while one holds."""


class Beside(Protocol):
    """What answers paths of its own in this process, such as a console."""

    @property
    def path(self) -> str:
        """Where its paths begin."""

    @property
    def app(self) -> ASGIApp:
        """What answers them. Its own lifespan is not run."""

    @property
    def behind_proxy(self) -> str:
        """Address of a proxy whose word about clients is believed; empty for none."""

    def begin(self) -> None:
        """Start what runs beside its answers. Called in a thread."""

    def end(self) -> None:
        """End it. Called in a thread."""


@dataclass
class ServiceServer:
    """A service that is ready to run."""

    desk: AppContext
    url: str
    app: ASGIApp
    """What answers, the console beside it where there is one."""
    _launcher: Launcher

    def run(self) -> None:
        """Serve until interrupted or terminated; then workers and gateways are ended too."""
        self._launcher.run()

    def close(self) -> None:
        """Let go of its address, where it was never run."""
        self._launcher.close()


class _Around:
    """What runs beside the answers: the worker, and whoever signs the status list anew."""

    def __init__(
        self,
        desk: AppContext,
        signers: ServiceSigners,
        place: Database,
        worker: OwnWorker | None,
        beside: Beside | None,
    ) -> None:
        self._desk, self._signers, self._place, self._worker = desk, signers, place, worker
        self._beside = beside
        self._ended = threading.Event()

    def begin(self) -> None:
        """Start both."""
        if self._worker is not None:
            self._worker.start()
        if self._beside is not None:
            self._beside.begin()
        threading.Thread(target=self._refresh, name="status-list", daemon=True).start()
        threading.Thread(target=self._sweep, name="sweep", daemon=True).start()

    def end(self) -> None:
        """End both, every gateway, and let go of the database."""
        self._ended.set()
        if self._beside is not None:
            self._beside.end()
        if self._worker is not None:
            self._worker.stop()
        self._desk.gates.close()
        self._desk.budgets.close()
        self._place.close()

    def _sweep(self) -> None:
        while True:
            try:
                self._desk.files.storage.sweep()
            except RecertError as exc:
                log.warning("what killed processes left in the storage stays for now: %s", exc.message)
            if self._ended.wait(_SWEEP_S):
                return

    def _refresh(self) -> None:
        hours = self._desk.policy.certification.status_validity_hours
        while not self._ended.wait(hours * 3600 / _REFRESHES):
            try:
                self._signers.refresh_status(self._desk.settings.status, self._desk.policy)
            except RecertError as exc:
                log.error("the status list cannot be signed anew: %s", exc)


def prepare_service(
    settings: ServiceSettings,
    *,
    keys_file: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    workers: bool = True,
    beside: Callable[[str], Beside] | None = None,
) -> ServiceServer:
    """
    Return a service that is ready to run.

    Args:
        settings: where things lie; they are written into the folder, where workers read them.
        keys_file: keys and what each may; the name of a key is its project. Beside it `RECERT_API_KEYS` counts.
        host: where to listen. Beyond this machine keys are needed.
        port: 0 for a free one.
        workers: start one worker as a child process. Without it start `recert service worker` elsewhere.
        beside: makes what answers paths of its own here, given where the service listens.

    Raises:
        GatewayError: it cannot listen, or would be open to a network without keys.
        StoreError: folder or database cannot be used.
        InputError: the defence does not go with the policy, or the policy serves audio.
        PolicyError, SettingsError, SigningKeyError, VerificationError: policy, keys or status list cannot be used.
    """
    keys = ApiKeys.configured(keys_file)
    require_keys_beyond_loopback(host, keys)
    policy = load_policy(settings.policy)
    require_defence(settings.defence, policy)
    require_text_alone(policy)
    signers = load_signers(settings.signers, policy)
    settings.write()
    signers.refresh_status(settings.status, policy)
    place = open_database(settings.store)
    queue = JobQueue(place)
    files = Files(place, settings)
    files.storage.check()
    (settings.folder / "gateways").mkdir(mode=0o700, exist_ok=True)
    desk = AppContext(
        settings=settings,
        policy=policy,
        keys=keys,
        budgets=Budgets(settings.folder / "gateways" / "budgets.sqlite"),
        files=files,
        queue=queue,
        events=Events(place),
        systems=Systems(place),
        gates=GatewayPool(settings, policy, signers, files.storage),
        streams=EventStreams(settings.project_streams),
        started_s=now_s(),
    )
    listening = listen(host, port)
    url = url_of("http", host, listening)
    try:
        more = beside(url) if beside is not None else None
    except BaseException:
        listening.close()
        raise
    around = _Around(desk, signers, place, OwnWorker(settings.folder, queue) if workers else None, more)
    app: ASGIApp = make_app(desk, begin=around.begin, end=around.end)
    proxy = more.behind_proxy if more is not None else ""
    served: ASGIApp = app if more is None else _Split(app, more)
    config = config_of(
        served,
        behind_proxy=proxy,
        timeout_graceful_shutdown=_LAST_WORDS_S,
    )
    server = uvicorn.Server(config)
    desk.streams.ending = lambda: server.should_exit
    return ServiceServer(desk, url, served, Launcher(server, [listening], name="service"))


class _Split:
    """Paths that begin as those of what is beside go there, all others to the service."""

    def __init__(self, app: ASGIApp, beside: Beside) -> None:
        self._app, self._beside, self._path = app, beside.app, beside.path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", ""))
        theirs = scope["type"] == "http" and (path == self._path or path.startswith(f"{self._path}/"))
        await (self._beside if theirs else self._app)(scope, receive, send)
