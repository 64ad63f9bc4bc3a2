"""
The gateways behind `/v1/chat/completions`: one for each tuned model that is asked, started when its certificate holds.

A model answers through `recert serve`'s own gateway and in no other way: before it starts the certificate is verified
with every signature that its policy asks for, and while it runs the gateway verifies it again and again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from recert.certification.log.memory_file import MemoryFile
from recert.certification.signing.refusals import FOLDER as REFUSALS
from recert.certification.trust.store import TrustStore
from recert.certification.verifier import Presented, Verifier
from recert.errors import GatewayError, RecertError, StoreError, VerificationError
from recert.gateway.access.grants import Grant
from recert.gateway.access.keys_file import KeyEntry, KeysFile
from recert.gateway.protocol.errors import HttpError
from recert.gateway.serving.edge_config import EdgeConfig
from recert.gateway.serving.server import GatewayServer
from recert.models.chat.secret import SecretPrefix
from recert.policy import Policy
from recert.service.settings import ServiceSettings
from recert.service.signing import ServiceSigners
from recert.service.storage.choosing import Storage, StorageUnreachable
from recert.service.storage.systems import CERTIFIED, System
from recert.store.audit.log import AuditLog
from recert.store.files.writing import read_bytes
from recert.workflows.deploy.stage import deploy

log = logging.getLogger("recert.service")

_WAITING: Final = "missing-role"
_ELSEWHERE: Final = "binds-behaviour"
_NAME: Final = "client"
_STARTING: Final = 4
_LOOK_S: Final = 10.0


@dataclass
class _Gate:
    """A gateway that runs."""

    server: GatewayServer
    audit: AuditLog
    used: float
    looked: float
    """When the certificate and what is beside it were last fetched."""

    def stop(self) -> None:
        self.server.stop()
        self.audit.close()


class GatewayPool:
    """
    The gateways that run.

    Args:
        settings: of the service.
        policy: under which models are certified and served.
        signers: whose signatures count.
        storage: where models and certificates lie.
    """

    def __init__(
        self, settings: ServiceSettings, policy: Policy, signers: ServiceSigners, storage: Storage
    ) -> None:
        self._settings, self._policy, self._signers = settings, policy, signers
        self._storage = storage
        self._gates: dict[str, _Gate] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._all = threading.Lock()
        self._starting = threading.Lock()
        self.threads = ThreadPoolExecutor(_STARTING, thread_name_prefix="gates")
        """Where `url` is called: it may take long, and must not take the threads of other answers."""
        self._folder = settings.folder / "gateways"
        self._secret = secrets.token_bytes(32)
        self._memory = MemoryFile(settings.folder / "seen.json")
        self._entries: dict[str, KeyEntry] = {}

    @property
    def trust(self) -> TrustStore:
        """Whose signatures count."""
        return self._signers.trust

    def url(self, system: System) -> str:
        """
        Return the address of the gateway of a model; one that does not run is started, which takes seconds.

        Raises:
            HttpError: it is not certified, not signed yet, or cannot be served; `code` is the reason.
        """
        with self._locks[system.name]:
            gate = self._gates.get(system.name)
            if gate is None:
                self.require_certified(system)
                with self._starting:
                    self._make_room()
                    gate = self._start(system)
            elif time.monotonic() - gate.looked > _LOOK_S:
                self.fetch_signed(system)
                gate.looked = time.monotonic()
            gate.used = time.monotonic()
            return gate.server.url

    def fetch_signed(self, system: System) -> None:
        """
        Fetch a model's certificate, and the refusals of it, which may have come at another server.

        Raises:
            ObjectDamaged, StoreError: they cannot be fetched as they were kept.
        """
        place = self._settings.job_folder(system.job) / str(system.value["place"])
        for part in ("certificate.json", REFUSALS):
            self._storage.fetch(place / part)

    def require_certified(self, system: System) -> None:
        """
        Return when a model's certificate holds now, signed by everyone whom its policy asks.

        Raises:
            HttpError: it does not (403); `code` is `model_blocked`, `awaiting_sign_off` or what verification says.
        """
        if system.state != CERTIFIED:
            because = "; ".join(system.value.get("reasons", ())) or "it was not evaluated"
            raise _refused(f"this model is blocked from deployment: {because}"[:1000], "model_blocked")
        folder = self._settings.job_folder(system.job)
        certificate = folder / str(system.value["place"]) / "certificate.json"
        try:
            self.fetch_signed(system)
            for part in (str(system.value["folder"]), "tune/secret.txt"):
                self._storage.fetch(folder / part)
            verifier = Verifier(
                trust=self._signers.trust,
                status=read_bytes(self._settings.status, "status list"),
                policy=self._policy,
                memory=self._memory,
            )
            verifier.verify(
                Presented.read(certificate, policy=self._policy),
                base_dir=self._settings.base_dir,
                tuned_dir=folder / str(system.value["folder"]),
            )
        except VerificationError as exc:
            if exc.reason == _WAITING:
                who = exc.facts.get("role", "somebody")
                raise _refused(
                    f"this model answers once its certificate is signed: {who} has not signed",
                    "awaiting_sign_off",
                ) from exc
            if exc.reason == _ELSEWHERE:
                raise _refused(
                    "this model answers at its vendor: its certificate binds behaviour, and none of its files are here",
                    "hosted_elsewhere",
                ) from exc
            raise _refused(
                f"the certificate of this model does not hold: {exc.message} ({exc.reason})", exc.reason
            ) from exc
        except StorageUnreachable:
            raise
        except RecertError as exc:
            log.error("%s: %s", system.name, exc)
            raise _refused(
                "the certificate of this model cannot be confirmed", "certificate_unconfirmed"
            ) from exc

    def key_for(self, grant: Grant) -> str:
        """
        Return the key by which a client's requests are passed on, with the client's own name and bounds.

        Nobody but this process knows it, so that a gateway cannot be asked past the service. Raises StoreError.
        """
        said = json.dumps([grant.client, grant.models, asdict(grant.budget)], default=str).encode()
        key = f"rk-{hmac.new(self._secret, said, hashlib.sha256).hexdigest()}"
        digest = hashlib.sha256(key.encode()).hexdigest()
        with self._all:
            if digest not in self._entries:
                name = "".join(
                    c if (c.isalnum() and c.isascii()) or c in "_.@-" else "-" for c in grant.client
                )
                bounds = {k: v for k, v in asdict(grant.budget).items() if v is not None}
                self._entries[digest] = KeyEntry(
                    name=name[:64] or _NAME, sha256=digest, models=grant.models, routes=("chat",), **bounds
                )
                self._write_keys()
        return key

    def stop(self, name: str) -> None:
        """Stop the gateway of a model, where one runs."""
        with self._locks[name]:
            gate = self._gates.pop(name, None)
            if gate is not None:
                gate.stop()

    def close(self) -> None:
        """Stop every gateway."""
        self.threads.shutdown(cancel_futures=True)
        for name in list(self._gates):
            self.stop(name)

    def _start(self, system: System) -> _Gate:
        folder, place = self._settings.job_folder(system.job), self._folder / system.id
        secret = folder / "tune" / "secret.txt"
        audit: AuditLog | None = None
        try:
            place.mkdir(parents=True, exist_ok=True)
            audit = AuditLog(place / "audit.jsonl")
            server = deploy(
                folder / str(system.value["place"]) / "certificate.json",
                base_dir=self._settings.base_dir,
                tuned_dir=folder / str(system.value["folder"]),
                trust=self._signers.trust,
                status_path=self._settings.status,
                policy=self._policy,
                audit=audit,
                secret=SecretPrefix.read(secret) if secret.exists() else None,
                state=place / "state",
                front=EdgeConfig(keys_file=self._keys_file(), budgets=self._folder / "budgets.sqlite"),
            )
            server.start()
        except (RecertError, OSError) as exc:
            if audit is not None:
                audit.close()
            log.error("%s cannot be served: %s", system.name, exc)
            code = exc.reason if isinstance(exc, VerificationError | GatewayError) else "engine-down"
            raise HttpError(
                f"this model cannot be served now ({code})", status=503, kind="service_unavailable", code=code
            ) from exc
        gate = self._gates[system.name] = _Gate(server, audit, time.monotonic(), time.monotonic())
        return gate

    def _make_room(self) -> None:
        """Stop what was longest unused, where as many run as may."""
        while len(self._gates) >= self._settings.served_models:
            running = dict(self._gates)
            gate = self._gates.pop(min(running, key=lambda name: running[name].used), None)
            if gate is not None:
                gate.stop()

    def _keys_file(self) -> Path:
        with self._all:
            self._write_keys()
        return self._folder / "keys.json"

    def _write_keys(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            raise StoreError(
                "cannot write folder", facts={"folder": self._folder, "because": exc.strerror}
            ) from exc
        KeysFile(keys=tuple(self._entries.values())).write(self._folder / "keys.json")


def _refused(message: str, code: str) -> HttpError:
    return HttpError(message, status=403, kind="invalid_request_error", param="model", code=code)
