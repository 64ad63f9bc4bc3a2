"""A PostgreSQL server of a test's own, from the system's package."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_NAMES = itertools.count(1)


def _binaries() -> Path | None:
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)]
    on_path = shutil.which("initdb")
    return found[0].parent if found else Path(on_path).resolve().parent if on_path else None


class Server:
    """A running server: local sockets only, no passwords."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._as_other: list[str] = []
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(folder, "nobody")
            self._as_other = ["setpriv", "--reuid=nobody", "--clear-groups", "--"]
        self._run("initdb", "-D", str(folder / "data"), "-U", "recert", "-A", "trust", "-N", "-E", "UTF8")
        self._process: subprocess.Popen[bytes] | None = None

    def _run(self, name: str, *arguments: str) -> None:
        command = [*self._as_other, str(self._binaries / name), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = ["fsync=off", "shared_buffers=16MB", "max_connections=50", "listen_addresses=", "jit=off"]
        command = [
            *self._as_other, str(self._binaries / "postgres"), "-D", str(self._folder / "data"),
            "-k", str(self._folder), *(part for setting in settings for part in ("-c", setting)),
        ]  # fmt: skip
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
        until = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.05)

    def _answers(self) -> bool:
        command = [str(self._binaries / "pg_isready"), "-q", "-h", str(self._folder), "-U", "recert"]
        return subprocess.run(command, check=False).returncode == 0

    def stop(self) -> None:
        """Stop at once, as a crash of the machine would."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(20)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let every process of the server hang while the block runs."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        processes = [self._process.pid, *map(int, children)]
        try:
            for process in processes:
                _signal(process, signal.SIGSTOP)
            yield
        finally:
            for process in processes:
                _signal(process, signal.SIGCONT)

    def database(self, like: str = "") -> str:
        """Make a database, empty or as another one is; return its URL."""
        name = f"recert{next(_NAMES)}"
        template = ["-T", like.partition("?")[0].rpartition("/")[2]] if like else []
        self._run("createdb", "-h", str(self._folder), "-U", "recert", *template, name)
        return f"postgresql://recert@/{name}?host={self._folder}"


@contextmanager
def server() -> Iterator[Server]:
    """Run a server while the block does; skip the test where there is none to run."""
    pytest.importorskip("psycopg", reason="needs recert[postgres]")
    pytest.importorskip("alembic", reason="needs recert[postgres]")
    binaries = _binaries()
    if binaries is None:
        pytest.skip("needs PostgreSQL's server, as in Debian's package postgresql")
    memory = Path("/dev/shm")
    # short, for the socket; where others may enter; and in memory, where a sync takes no time
    folder = Path(tempfile.mkdtemp(prefix="recert-pg-", dir=memory if os.access(memory, os.W_OK) else None))
    folder.chmod(0o755)
    try:
        running = Server(binaries, folder)
        try:
            running.start()
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _signal(process: int, which: signal.Signals) -> None:
    """Send a signal to a process of the server; one that ended since it was listed, such as a worker, is let be."""
    with suppress(ProcessLookupError):
        os.kill(process, which)
