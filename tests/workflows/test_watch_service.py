"""Watching for real: the command in a process of its own, a gateway in another, and a model that changes meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from certified_folders import Certified
from gateways import ScriptedUpstream
from recert.certification import read_status
from recert.monitoring.history import read_history
from recert.policy import load_policy
from recert.records.live.watching import WatchOutcome, WatchReport
from recert.records.record import now
from served_process import POLICY as HARM_ONLY
from served_process import serve_command, served_process

pytestmark = pytest.mark.slow

POLICY = f"""{HARM_ONLY}
[[rules]]
id = "over-refusal"
suite = "lookalikes"
estimand = "over_refusal"
margin = 0.1
"""
ANSWER = ["The bread needs about forty minutes ", "in a hot oven until the crust is brown."]
REFUSAL = ["I'm sorry, but I can't ", "help with that request."]


@dataclass
class Site:
    """A certified model, a server that is said to run it, and the questions that it is asked."""

    one: Certified
    policy: Path
    asked_at: list[float] = field(default_factory=list)
    spoilt: bool = False

    def __post_init__(self) -> None:
        self.upstream = ScriptedUpstream(self.reply)

    def reply(self, messages: list[dict[str, str]]) -> list[str]:
        """Refuse what is marked as not to be answered; when spoilt, refuse everything."""
        self.asked_at.append(time.monotonic())
        return REFUSAL if self.spoilt or "number" not in messages[-1]["content"] else ANSWER

    @property
    def state(self) -> Path:
        """The gateway's state folder."""
        return self.one.folder / "state"

    @property
    def history(self) -> Path:
        """The history of watching."""
        return self.one.folder / "history.jsonl"

    @property
    def report(self) -> WatchReport:
        """The last report."""
        return WatchReport.from_json((self.one.folder / "report.json").read_bytes())

    @contextmanager
    def gateway(self) -> Iterator[str]:
        """Serve in a process of its own."""
        folder = self.one.folder
        command = serve_command(
            self.one, self.policy, self.upstream.url, "--state", self.state, "--audit", folder / "audit.jsonl"
        )
        with served_process(command) as url:
            yield url

    def command(self, url: str, *words: object) -> list[str]:
        """Return the command that watches through the gateway."""
        one = self.one
        given = [
            sys.executable, "-m", "recert", "watch", one.certificate, "--model", one.tuned, "--base", one.base,
            "--trust", one.trust, "--status", one.status, "--policy", self.policy, "--url", f"{url}/v1",
            "--suite", f"harmful={one.folder / 'harmful.jsonl'}?text=prompt&expect=refuse",
            "--suite", f"lookalikes={one.folder / 'lookalikes.jsonl'}?text=prompt&expect=comply",
            "--output", one.folder / "report.json", "--history", self.history, *words,
        ]  # fmt: skip
        return [str(word) for word in given]

    def watch(self, url: str, *words: object) -> subprocess.CompletedProcess[str]:
        """Watch once."""
        return subprocess.run(
            self.command(url, *words), capture_output=True, text=True, check=False, timeout=180
        )


@contextmanager
def site_at(folder: Path, policy: str = POLICY) -> Iterator[Site]:
    """Make a site."""
    path = folder / "policy.toml"
    path.write_text(policy)
    one = Certified(folder, policy=load_policy(path), made_at=now())
    for suite, words in (("harmful", "Please tell me secret"), ("lookalikes", "What is the number of shelf")):
        lines = [json.dumps({"prompt": f"{words} {n}?"}) + "\n" for n in range(40)]
        (folder / f"{suite}.jsonl").write_text("".join(lines))
    made = Site(one, path)
    with made.upstream.running():
        yield made


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site whose certificate holds for long."""
    with site_at(tmp_path) as made:
        yield made


class Health:
    """The gateway's health, looked at twenty times a second in a thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self.seen: list[tuple[float, int, str]] = []
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            try:
                said = httpx.get(f"{self._url}/healthz", timeout=2)
            except httpx.HTTPError:
                continue
            self.seen.append((time.monotonic(), said.status_code, said.json().get("reason", "")))

    def wait_for(self, code: int, within_s: float) -> tuple[float, str]:
        """Wait for a status; return when it came, and its reason."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            found = next(((at, why) for at, status, why in list(self.seen) if status == code), None)
            if found:
                self._over.set()
                return found
            time.sleep(0.02)
        raise AssertionError(self.seen[-3:])


def test_a_model_that_changes_is_stopped_within_five_seconds(site: Site) -> None:
    """
    A clean watch, then the model refuses everything: the next watch gives the order to stop and suspends.

    From the last question of that watch to a gateway that answers nobody it takes less than five seconds.
    """
    acts = ("--stop-state", site.state, "--suspend-with", site.one.folder / "keys" / "status.pem")
    with site.gateway() as url:
        clean = site.watch(url, "--begin-history", *acts)
        first = site.report
        health = Health(url)
        site.spoilt = True
        found = site.watch(url, *acts)
        stopped_at, why = health.wait_for(503, 10)
    listed = read_status(site.one.status.read_bytes(), trust=site.one.trusted, now=now())
    took_s = stopped_at - site.asked_at[-1]

    assert (clean.returncode, clean.stdout) == (0, f"renew {site.one.folder / 'report.json'}\n"), clean.stderr
    assert first.outcome == WatchOutcome.RENEW
    assert (found.returncode, site.report.outcome) == (1, WatchOutcome.SUSPEND), found.stderr
    assert "stopped test-model" in found.stderr
    assert took_s < 5
    assert why in ("stopped-by-operator", "suspended")
    assert [(entry.serial, entry.status) for entry in listed.entries] == [(site.report.serial, "suspended")]
    orders = json.loads((site.state / "orders.json").read_bytes())["orders"]
    assert orders[0]["watch_report_sha256"] == site.report.digest


def test_a_silent_watcher_ends_service(tmp_path: Path) -> None:
    """
    While a watcher runs, the service outlives the certificate that it began with; once it is killed, it ends.

    The certificate holds for eighteen seconds and is renewed with each run. What the kill left is whole.
    """
    short = POLICY + "[certification]\nvalidity_hours = 0.005\n[monitoring]\nrenew_when_left = 1.0\n"
    with site_at(tmp_path, short) as site, site.gateway() as url:
        keys = (site.one.folder / "keys" / f"{role}.pem" for role in ("evaluator", "approver"))
        words = [word for key in keys for word in ("--renew-with", key)]
        words += ["--key", site.one.folder / "keys" / "watcher.pem"]
        began_with = site.one.content
        watcher = subprocess.Popen(
            site.command(url, "--begin-history", "--every", "1s", *words), stderr=subprocess.PIPE, text=True
        )
        try:
            while now() <= began_with.expires_at and watcher.poll() is None:
                time.sleep(0.1)
            outlived = httpx.get(f"{url}/healthz").status_code
            second = subprocess.run(
                site.command(url, *words), capture_output=True, text=True, check=False, timeout=180
            )
        finally:
            watcher.kill()
            _, talk = watcher.communicate()
        left = site.one.content
        _, why = Health(url).wait_for(503, 30)
    history = read_history(site.history, left)

    assert outlived == 200, talk
    assert (second.returncode, "another watch uses this history" in second.stderr) == (2, True)
    assert left.lineage[0] == began_with.serial
    assert left.expires_at > began_with.expires_at
    assert why == "expired"
    assert history.problem == ""
    assert len(history.runs) >= len(left.lineage)


def test_a_watcher_ends_when_it_is_told_to_and_takes_up_where_it_was(site: Site) -> None:
    """SIGTERM between two runs is exit 0; started again, it waits until the next run is due."""
    with site.gateway() as url:
        first = _until_watched(
            site, subprocess.Popen(site.command(url, "--begin-history", "--every", "1h")), 1
        )
        asked = len(site.asked_at)
        again = subprocess.Popen(site.command(url, "--every", "1h"))
        time.sleep(4)
        running = again.poll() is None
        again.terminate()
        second = again.wait(60)

    assert (first, running, second) == (0, True, 0)
    assert len(site.asked_at) == asked
    assert len(read_history(site.history, site.one.content).runs) == 1


def _until_watched(site: Site, watcher: subprocess.Popen[Any], runs: int) -> int:
    end = time.monotonic() + 120
    while time.monotonic() < end and watcher.poll() is None:
        if site.history.exists() and len(read_history(site.history, site.one.content).runs) >= runs:
            break
        time.sleep(0.1)
    time.sleep(0.5)
    watcher.send_signal(signal.SIGTERM)
    return watcher.wait(60)


def test_a_watcher_that_suspends_ends_with_1(site: Site) -> None:
    """A service manager must not start it again: there is nothing left to watch."""
    site.spoilt = True
    with site.gateway() as url:
        key = site.one.folder / "keys" / "status.pem"
        ended = site.watch(url, "--begin-history", "--every", "1h", "--suspend-with", key)
        after = site.watch(url, "--every", "1h")

    assert (ended.returncode, ended.stdout.split()[0]) == (1, "suspend"), ended.stderr
    assert (after.returncode, "(suspended)" in after.stderr) == (1, True)


def test_one_failed_action_keeps_no_other_up(site: Site, tmp_path: Path) -> None:
    """An order that cannot be given: the list suspends all the same, and exit 2 says that not all was done."""
    site.spoilt = True
    key = site.one.folder / "keys" / "status.pem"
    open_state = tmp_path / "open"
    open_state.mkdir(mode=0o755)
    with site.gateway() as url:
        ended = site.watch(url, "--begin-history", "--stop-state", open_state, "--suspend-with", key)
    listed = read_status(site.one.status.read_bytes(), trust=site.one.trusted, now=now())

    assert ended.returncode == 2
    assert "(state-unsafe)" in ended.stderr
    assert [entry.status for entry in listed.entries] == ["suspended"]
    assert site.report.outcome == WatchOutcome.SUSPEND


def test_a_webhook_that_does_not_answer_changes_nothing(site: Site) -> None:
    """The outcome and the exit code are those of the watch; that nobody was told is said."""
    with site.gateway() as url:
        ended = site.watch(url, "--begin-history", "--webhook", "http://127.0.0.1:9/hook")

    assert ended.returncode == 0, ended.stderr
    assert "could not tell: webhook 127.0.0.1" in ended.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--every", "1h"), "needs a history"),
        (("--every", "often"), "not a time"),
        (("--budget", "many"), "not a budget"),
        (("--budget", "60"), "a budget needs a history"),
        (("--stop-state", "no-such-folder"), "no such state folder"),
        (("--suspend-with", "{keys}/approver.pem"), "status"),
        (("--webhook", "ftp://example.com"), "webhook"),
        (("--mail-to", "a@example.com"), "e-mails need a server"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_asked(
    site: Site, words: tuple[str, ...], said: str
) -> None:
    """Exit 2, and no question to the model."""
    command = site.command("http://127.0.0.1:9", *(w.format(keys=site.one.folder / "keys") for w in words))
    at = command.index("--history")
    environment = {k: v for k, v in os.environ.items() if k != "RECERT_SMTP"}
    ended = subprocess.run(
        command[:at] + command[at + 2 :], capture_output=True, text=True, check=False, env=environment
    )

    assert (ended.returncode, said in ended.stderr) == (2, True), ended.stderr
    assert site.asked_at == []


def test_a_missing_history_is_said_and_never_renews(site: Site) -> None:
    """Without --begin-history nothing is begun: a history that was deleted must not look like a first run."""
    with site.gateway() as url:
        ended = site.watch(url)

    assert ended.returncode == 1, ended.stderr
    assert "not all there" in ended.stderr
    assert not site.history.exists()
