"""The gateway's own folder: orders, private copies, and what must not be forgotten between two runs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from recert.digest import canonical_json, sha256_bytes
from recert.errors import GatewayError, RecordError, StoreError
from recert.gateway.service import CLOCK_TOLERANCE_S
from recert.records.live.orders import StandingOrders
from recert.records.record import now, parse_json
from recert.records.signed.transparency import VerifierMemory
from recert.store.files.private_copy import remove
from recert.store.files.writing import read_bytes, write_atomic

ORDERS: Final = "orders.json"
TAKEN_UP: Final = "taken-up.json"
_SERVED: Final = "served.json"
_LOCK: Final = "gateway.lock"
_SEEN: Final = "seen.json"
_COPIES: Final = "copies"
_REMEMBER_EVERY_S: Final = 60.0
_TRIES: Final = 10


def require_private(folder: Path) -> None:
    """
    Make a folder that only this user can enter, or check that it is one: who can write in it can stop and resume.

    Raises:
        GatewayError: `state-unsafe`: it is somebody else's, open to others, or cannot be made.
    """
    try:
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
        about = folder.lstat()
    except OSError as exc:
        raise GatewayError(
            "state-unsafe", "cannot make the state folder", facts={"folder": folder, "because": exc.strerror}
        ) from exc
    ours = about.st_uid == os.geteuid()
    if folder.is_symlink() or not folder.is_dir() or not ours or about.st_mode & 0o077:
        raise GatewayError(
            "state-unsafe",
            "the state folder must be yours alone: who writes in it can stop and resume models",
            facts={"folder": folder, "mode": oct(about.st_mode & 0o777), "yours": "yes" if ours else "no"},
            hint=f"run `chmod 700 {folder}`, or give another folder with --state",
        )


class StateFolder:
    """
    The folder of one running gateway, locked while it runs.

    Args:
        folder: made where there is none.
        copies: another folder for private copies, with room for the models.

    Raises:
        GatewayError: `state-unsafe`; `state-in-use`: another gateway has it; `state-damaged`: what was remembered
            cannot be read.
    """

    def __init__(self, folder: Path, copies: Path | None = None) -> None:
        folder = folder.absolute()  # engines run elsewhere
        require_private(folder)
        self.folder = folder
        ours = _COPIES if copies is None else f"{_COPIES}-{sha256_bytes(bytes(folder.resolve()))[:12]}"
        self.copies = (copies or folder).absolute() / ours
        """Where private copies of models go."""
        if not (folder / _LOCK).exists() and not (folder / ORDERS).exists():
            write_atomic(
                folder / ORDERS, StandingOrders().to_json(), mode=0o600
            )  # later its absence is damage
        self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._take_lock()
            self._seen = self._read_seen()
        except BlockingIOError as exc:
            os.close(self._lock)
            raise GatewayError(
                "state-in-use",
                "another gateway uses this state folder",
                facts={"folder": folder},
                hint="give each gateway its own with --state",
            ) from exc
        except BaseException:
            os.close(self._lock)
            raise
        self._written_at = now()
        self._writing = threading.Lock()
        self._names: tuple[str, ...] = ()
        with contextlib.suppress(OSError):
            (folder / _SERVED).unlink(missing_ok=True)  # of an earlier run
        remove(self.copies)  # of a gateway that was killed

    @property
    def latest(self) -> datetime | None:
        """The latest time that an earlier run saw."""
        said = self._seen.get("latest")
        return datetime.fromisoformat(said) if said else None

    def is_behind(self) -> bool:
        """Say whether the machine's clock is behind what an earlier run saw, by more than time servers set it back."""
        return self.latest is not None and now() < self.latest - timedelta(seconds=CLOCK_TOLERANCE_S)

    def memory(self, model: str) -> ModelMemory:
        """Return where is kept what was seen of a model's status list, log and signed times."""
        return ModelMemory(self, model)

    def seen(self, model: str) -> VerifierMemory:
        """Return what was seen of a model's status list, log and signed times."""
        return VerifierMemory.model_validate(self._seen["memories"].get(model, {}))

    def remember(self, model: str, memory: VerifierMemory) -> None:
        """
        Keep what was seen, so that no later run goes back behind it.

        Signed times alone, and the time, are written now and then only.
        """
        with self._writing:
            before, at = self.seen(model), now()
            lasting = memory.model_copy(update={"latest_at": None})
            seen_more = lasting != before.model_copy(update={"latest_at": None})
            if not seen_more and (at - self._written_at).total_seconds() < _REMEMBER_EVERY_S:
                return
            memories = {**self._seen["memories"], model: memory.to_value()}
            latest = max(at, self.latest or at).isoformat()
            self._seen = {"latest": latest, "memories": memories}
            write_atomic(self.folder / _SEEN, orjson.dumps(self._seen), mode=0o600)
            self._written_at = at

    def note_names(self, names: Iterable[str]) -> None:
        """Write down what can be stopped by name, models and aliases, where that changed; never raises."""
        found = tuple(sorted(set(names)))
        if found == self._names:
            return
        try:
            write_atomic(self.folder / _SERVED, orjson.dumps(found), mode=0o600)
            self._names = found
        except (StoreError, OSError):
            with contextlib.suppress(OSError):
                (self.folder / _SERVED).unlink(missing_ok=True)  # unknown is better than out of date

    def close(self) -> None:
        """Let go of the folder, and remove copies that are left."""
        if self._lock >= 0:
            remove(self.copies)
            os.close(self._lock)
            self._lock = -1

    def _take_lock(self) -> None:
        for _ in range(_TRIES):
            with contextlib.suppress(BlockingIOError):
                return fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            time.sleep(0.05)  # a command may have it for a moment, to see whether we do
        raise BlockingIOError

    def _read_seen(self) -> dict[str, Any]:
        path = self.folder / _SEEN
        if not path.exists():
            return {"latest": "", "memories": {}}
        try:
            value = parse_json(read_bytes(path, "state"))
            datetime.fromisoformat(value["latest"])
            return {
                "latest": value["latest"],
                "memories": {
                    str(k): VerifierMemory.from_json(canonical_json(v)).to_value()
                    for k, v in value.get("memories", {}).items()
                },
            }
        except (RecordError, LookupError, TypeError, ValueError, AttributeError) as exc:
            raise GatewayError(
                "state-damaged",
                "what the gateway remembers of earlier runs cannot be read",
                facts={"file": path},
                hint="remove the file only if you know that neither clock nor status list was set back",
            ) from exc


class ModelMemory:
    """What a running gateway saw of one model, kept in its state folder: a verifier's memory."""

    def __init__(self, state: StateFolder, model: str) -> None:
        self._state, self._model = state, model

    def read(self) -> VerifierMemory:
        """Return what was seen before."""
        return self._state.seen(self._model)

    def keep(self, change: Callable[[VerifierMemory], VerifierMemory]) -> VerifierMemory:
        """Keep what is seen now, and return it. Raises StoreError where it cannot be written."""
        after = change(self.read())
        self._state.remember(self._model, after)
        return after


def served_names(folder: Path) -> tuple[str, ...]:
    """Return the models and aliases of the gateway that runs on a state folder; empty where that is not known."""
    try:
        names = parse_json(read_bytes(folder / _SERVED)) if is_in_use(folder) else []
    except (StoreError, RecordError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()


def is_in_use(folder: Path) -> bool:
    """Say whether a gateway runs on a state folder."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
