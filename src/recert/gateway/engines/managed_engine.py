"""
An engine as a process of its own: started on private copies of certified files, watched, ended with us.

Here too: questions to an engine of our own over its Unix socket: is it up, and which models does it have?
"""

from __future__ import annotations

import http.client
import secrets
import shutil
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from recert.errors import GatewayError, VerificationError
from recert.gateway.engines.child import END_S, ChildProcess
from recert.gateway.engines.managed_commands import Command, ManagedUpstream, Place, command
from recert.gateway.engines.sockets import socket_folder
from recert.gateway.protocol.deltas import Delta
from recert.gateway.upstream.client import HttpUpstream
from recert.records.data.manifest import Manifest
from recert.records.signed.certificate import Certificate, VerifiedCertificate
from recert.store.files.private_copy import PrivateCopy

_LIMIT_S: Final = 5.0
_LONGEST_BYTES: Final = 1_000_000


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=_LIMIT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_LIMIT_S)
        self.sock.connect(str(self._path))


def ask(path: Path, route: str, api_key: str) -> tuple[int, bytes] | None:
    """Return status and body of a GET; None where nobody answers in time."""
    connection = _UnixConnection(path)
    try:
        connection.request("GET", route, headers={"authorization": f"Bearer {api_key}"})
        response = connection.getresponse()
        return response.status, response.read(_LONGEST_BYTES)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def is_up(path: Path, api_key: str) -> bool:
    """Say whether an engine is ready for requests."""
    said = ask(path, "/health", api_key)
    return said is not None and said[0] == 200


def models_of(path: Path, routes: Sequence[str], api_key: str) -> list[Any] | None:
    """
    Return what an engine says it has: names, where each was loaded from and on what, and adapters with their scale.

    None where nobody answers in time. What cannot be understood is told as it is, so that a change shows.
    """
    said: list[Any] = []
    for route in routes:
        answer = ask(path, route, api_key)
        if answer is None:
            return None
        try:
            value = orjson.loads(answer[1])
            models = value["data"] if isinstance(value, dict) else value
            said.append([[one.get(k) for k in ("id", "root", "parent", "path", "scale")] for one in models])
        except (ValueError, LookupError, TypeError, AttributeError):
            said.append([answer[0], answer[1].decode("utf-8", "replace")])
    return said


DOWN: Final = "engine-down"
MERGED: Final = "merged-weights"
_LOOK_S: Final = 1.0
_START_LOOK_S: Final = 0.1
_ASK_EVERY: Final = 5
"""Looks from one question to the engine about its models to the next."""
_REHASH_S: Final = 3600.0
_STARTS: Final = 5
_STARTS_WITHIN_S: Final = 600.0
"""More starts than this in that time: something is wrong that another start does not help."""


class ManagedEngine:
    """
    One engine process for one model, or for several adapters of one base.

    Before the start every certified file is copied and hashed on the way; the engine sees the copies alone. While it
    runs, the copies are looked at every second and hashed every hour, and the engine is asked which models it has.
    Whatever is not as it was ends it for good, with a reason. When it crashes it is started again. It listens on a
    socket that only this user can reach; what it is asked is a chat, and nothing else.

    Args:
        models: certificates by the names that the engine is asked by; adapters must lie on the same base.
        upstream: which engine.
        copies: folder for the copies, with room for the models; by default a temporary one.
        progress: called with a sentence at each step of the start.

    Raises:
        GatewayError: `no-socket`: there is no folder for its socket.
    """

    def __init__(
        self,
        models: Mapping[str, VerifiedCertificate],
        upstream: ManagedUpstream,
        *,
        copies: Path | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self._models = models
        self._upstream = upstream
        self._folder = socket_folder()
        self._copies_folder = (copies or self._folder / "copies") / secrets.token_hex(6)
        self._api_key = secrets.token_urlsafe(32)
        self._progress = progress or (lambda _: None)
        self._place: Place | None = None
        self._child = ChildProcess()
        self._known: list[Any] | None = None
        self._down = DOWN
        self._refusal: tuple[str, str] | None = None
        self._settled = threading.Event()
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=run, name=name, daemon=True)
            for name, run in (("engine-supervisor", self._supervise), ("engine-watch", self._watch))
        ]

    def start(self) -> None:
        """
        Make the copies, start the engine, and wait until it is ready.

        Raises:
            VerificationError: a file is not what was certified.
            GatewayError: it refused the files, or did not start; `reason` says which.
        """
        try:
            self._place = self._copy()
            self._command = command(self._upstream, self._place)
            for thread in self._threads:
                thread.start()
            self._settled.wait()
        except BaseException:  # refused, or interrupted while it loads
            self.end()
            raise
        if self._down:
            reason, message = self._refusal or (self._down, "the engine did not start")
            error = GatewayError(reason, message, facts={"engine said": " | ".join(self._last())})
            self.end()
            raise error

    def upstream(self, name: str) -> EngineUpstream:
        """Return the client for one of the models."""
        return EngineUpstream(self, name, self._folder / "engine.sock", self._upstream.label, self._api_key)

    def down(self) -> str:
        """Return why the engine cannot answer, or an empty text."""
        return self._down

    def end(self) -> None:
        """End the process, and remove its socket and copies."""
        self._closing.set()
        self._down = self._down or DOWN
        self._child.end()
        for thread in self._threads:
            if thread.ident:
                thread.join(END_S)
        for copy in self._copies():
            copy.remove()
        shutil.rmtree(self._copies_folder, ignore_errors=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def process_id(self) -> int | None:
        """The process that was started; None before."""
        return self._child.process_id

    @property
    def folder(self) -> Path:
        """The private folder with the engine's socket."""
        return self._folder

    @property
    def copies(self) -> Path:
        """The folder with the private copies."""
        return self._copies_folder

    def _copy(self) -> Place:
        one = next(iter(self._models.values()))
        whole = one.certificate.delta_kind == MERGED
        self._progress("copying what is certified")

        def copy(name: str, source: Path, manifest: Manifest) -> PrivateCopy:
            return PrivateCopy.make(
                source, manifest, self._copies_folder / name, wanted=lambda: not self._closing.is_set()
            )

        base = None if whole else copy("base", one.base_dir, one.certificate.base)
        try:
            tuned = {n: copy(n, v.tuned_dir, v.certificate.tuned) for n, v in self._models.items()}
        except BaseException:
            if base:
                base.remove()
            raise
        inner = self._folder / "tmp"
        inner.mkdir(mode=0o700)
        return Place(base, tuned, inner, self._folder / "engine.sock", self._api_key)

    def _copies(self) -> list[PrivateCopy]:
        place = self._place
        return [] if place is None else [*([place.base] if place.base else []), *place.tuned.values()]

    def _supervise(self) -> None:
        starts: list[float] = []
        while not self._closing.is_set() and not self._refusal:
            now = time.monotonic()
            starts = [at for at in starts if now - at < _STARTS_WITHIN_S]
            if len(starts) >= _STARTS or (starts and not self._settled.is_set()):
                break
            if starts and not self._unchanged():
                break
            starts.append(now)
            self._run_child(self._command)
            self._down = self._refusal[0] if self._refusal else DOWN
            self._closing.wait(min(len(starts) - 1, 5))
        self._settled.set()

    def _unchanged(self) -> bool:
        """Say whether every byte is still what was certified, before it is loaded once more."""
        try:
            for copy in self._copies():
                copy.rehash(self._closing)
        except VerificationError as exc:
            self._refuse(exc)
            return False
        return True

    def _refuse(self, exc: VerificationError | GatewayError) -> None:
        self._refusal = (exc.reason, str(exc))
        self._down = exc.reason

    def _run_child(self, how: Command) -> None:
        self._known = None
        (self._folder / "engine.sock").unlink(missing_ok=True)
        self._child.run(
            how.line,
            environment=how.environment,
            folder=self._place.folder if self._place else None,
            wrapped=not how.tells,
            hear=self._hear if how.tells else None,
            unwanted=lambda: self._closing.is_set() or self._refusal is not None,
        )

    def _last(self) -> list[str]:
        return [line for line in self._child.last_words if line][-3:] or ["nothing"]

    def _hear(self, event: dict[str, Any]) -> None:
        if event.get("event") == "ready":
            self._be_ready()
        elif event.get("event") == "refused":
            self._refusal = (str(event.get("reason", DOWN)), str(event.get("message", "the engine refused")))
        elif event.get("event") == "loaded":
            try:
                loaded = self._models[str(event.get("name"))].certificate
                require_fingerprint(loaded, str(event.get("engine")), str(event.get("fingerprint")))
            except (KeyError, GatewayError) as exc:
                self._refuse(exc if isinstance(exc, GatewayError) else _unasked(event))
                self._child.end()
        elif event.get("event") == "progress":
            self._progress(str(event.get("message", "")))

    def _be_ready(self) -> None:
        if not self._refusal:
            self._down = ""
            self._settled.set()

    def _watch(self) -> None:
        looks, hashed_at = 0, time.monotonic()
        while not self._closing.wait(_LOOK_S if not self._down else _START_LOOK_S):
            looks += 1
            try:
                for copy in self._copies():
                    copy.still()
                    if time.monotonic() - hashed_at > _REHASH_S:
                        copy.rehash(self._closing)
                if time.monotonic() - hashed_at > _REHASH_S:
                    hashed_at = time.monotonic()
                if self._down or looks % _ASK_EVERY == 0:
                    self._ask()
            except (VerificationError, GatewayError) as exc:
                self._refuse(exc)
                self._child.end()
                return

    def _ask(self) -> None:
        """Find out whether the engine is ready, and that it has the models that it was started with, and no other."""
        place = self._place
        if place is None or self._command.tells or not self._child.runs:
            return
        if self._down and not is_up(place.socket, place.api_key):
            return
        found = models_of(place.socket, self._command.looks, place.api_key)
        if found is None:
            return
        if self._known is None:
            self._require_models(found)
            self._known = found
            self._be_ready()
        elif found != self._known:
            raise GatewayError(
                "engine-changed",
                "the engine has other models than it was started with",
                facts={"at the start": self._known, "now": found},
            )

    def _require_models(self, found: list[Any]) -> None:
        names = {model[0] for model in found[0] if isinstance(model, list)}
        missing = set(self._models) - names
        more = len(names) - len(self._models)
        if missing or more > (1 if self._place and self._place.base else 0):
            raise GatewayError(
                "engine-changed",
                "the engine does not have the models that it was started with",
                facts={"expected": ", ".join(self._models), "it has": ", ".join(map(str, names))},
            )


def require_fingerprint(certificate: Certificate, engine: str, fingerprint: str) -> None:
    """
    Return when a model behaves as the one that was evaluated, or that cannot be compared.

    Both sides compute logits of the same probes, each asked alone, so neither the number of threads nor what else is
    asked changes them. Other versions and precisions may, which the engine's name tells; another kind of processor may,
    which nothing tells: then the answer is no, and evaluating there settles it.

    Args:
        certificate: what the model was certified by.
        engine: what runs it here, with versions and precision.
        fingerprint: digest of its logits here.

    Raises:
        GatewayError: `fingerprint-differs`: the same engine gives other logits.
    """
    if not certificate.fingerprint or certificate.engine != engine or certificate.fingerprint == fingerprint:
        return
    raise GatewayError(
        "fingerprint-differs",
        "the loaded model does not behave as the one that was evaluated",
        facts={"engine": engine, "certified": certificate.fingerprint, "loaded": fingerprint},
        hint="its files are the certified ones, so other weights were evaluated, or on another kind of processor: run "
        "`recert evaluate` on this machine and certify that, or serve it elsewhere behind `recert fingerprint`",
    )


def _unasked(event: dict[str, Any]) -> GatewayError:
    return GatewayError(
        "engine-changed",
        "the engine loaded a model that nobody asked for",
        facts={"model": event.get("name")},
    )


class EngineUpstream(HttpUpstream):
    """The client for one model of an engine of our own."""

    def __init__(self, engine: ManagedEngine, name: str, socket: Path, label: str, api_key: str) -> None:
        super().__init__("http://engine", label=label, socket=socket, api_key=api_key)
        self._engine = engine
        self._name = name

    def down(self) -> str:
        """Return why the engine cannot answer, or an empty text."""
        return self._engine.down()

    def stream(self, body: dict[str, Any]) -> AsyncGenerator[Delta, None]:
        """Yield the steps of a reply of this model, whatever it is called by clients."""
        return super().stream({**body, "model": self._name})
