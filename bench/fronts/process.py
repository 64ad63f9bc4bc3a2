"""A server that is measured: started, watched by what the kernel counts, and ended with its children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from peers.environment import NoPeer

START_S = 240.0


class Server:
    """
    A process that serves, and its children.

    Args:
        command: what to run.
        log: file for all that it says on its error output.
        url: where it will answer; empty where it prints that as its first line.
        environment: variables besides our own.

    Raises:
        NoPeer: it does not start.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        url: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        with log.open("w", encoding="utf-8") as said:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=said if url else subprocess.PIPE,
                stderr=said,
                text=True,
                env=os.environ | dict(environment or {}),
                start_new_session=True,
            )
        self.url = url
        if not url:
            assert self._process.stdout is not None
            self.url = self._process.stdout.readline().strip()
            if not self.url:
                raise NoPeer(self._last_words())
        self._wait_until_it_listens()

    def _wait_until_it_listens(self) -> None:
        host, port = self.url.removeprefix("http://").split(":")
        until = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                return
            except OSError as exc:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise NoPeer(self._last_words()) from exc
                time.sleep(0.1)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def tree(self) -> list[int]:
        """Return the process ids of it and of all below it."""
        found, at = [self.pid], 0
        while at < len(found):
            for task in Path(f"/proc/{found[at]}/task").glob("*/children"):
                found += map(int, task.read_text().split())
            at += 1
        return found

    def cpu_s(self) -> float:
        """
        Return the CPU time that its processes have used, user and system.

        It is what /proc/PID/stat says, but read from the clock of each process: in nanoseconds, not in hundredths.
        """
        return sum(_cpu_s(pid) for pid in self.tree())

    def own_cpu_s(self) -> float:
        """Return the CPU time of its first process alone."""
        return _cpu_s(self.pid)

    def rss_mb(self) -> float:
        """Return the memory that its processes hold, from /proc/PID/status."""
        return sum(_rss_kb(pid) for pid in self.tree()) / 1024

    def said(self) -> str:
        """Return what it said on its error output."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End it as a crash would."""
        os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(timeout=10)

    def stop(self) -> None:
        """End it and its children."""
        for sent in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, sent)
                self._process.wait(timeout=10)
                break
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def _last_words(self) -> str:
        self.stop()
        said = self.said().strip().splitlines()
        return f"does not start: {said[-1][:200] if said else f'exit {self._process.returncode}'}"


def _cpu_s(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | 2)  # the kernel's number for "CPU clock of this process"
    except OSError:
        return 0.0


def _rss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


class Machine:
    """What the whole machine does from now on, beside this process and these servers."""

    def __init__(self, servers: Iterable[Server]) -> None:
        self._servers = list(servers)
        self._busy_s, self._all_s, self._own_s = self._now()

    def share_of_others(self) -> float:
        """Return which share of the machine's CPU time others have used, in [0, 1]."""
        busy_s, all_s, own_s = self._now()
        others_s = (busy_s - self._busy_s) - (own_s - self._own_s)
        return max(0.0, others_s) / max(all_s - self._all_s, 1e-9)

    def _now(self) -> tuple[float, float, float]:
        own_s = time.process_time() + sum(server.cpu_s() for server in self._servers)
        return *_machine_s(), own_s


def _machine_s() -> tuple[float, float]:
    """Busy and all CPU time of the machine since it started; time stolen by the host is busy."""
    fields = [
        int(one) for one in Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]
    ]
    hertz = os.sysconf("SC_CLK_TCK")
    return (sum(fields) - fields[3] - fields[4]) / hertz, sum(fields) / hertz
