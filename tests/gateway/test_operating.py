"""One command stops, resumes, promotes or rolls back: the real commands, a real gateway, running streams, a restart."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from builders import make_watch_report
from certified_folders import Certified
from many_models import Watched, certified, deployment, refusal, say, vllm
from recert.__main__ import main
from recert.certification.signing.links import write_link
from recert.gateway.serving.server import GatewayServer
from recert.records.live.watching import WatchOutcome, WatchReport
from recert.records.record import now
from recert.store.audit.log import AuditLog, read_log
from recert.store.files.writing import write_atomic
from recert.workflows.deploy.models_file import AliasesOf
from recert.workflows.deploy.stage import deploy_models

pytestmark = pytest.mark.slow

MODELS = ("sql", "sql-next")
ALIASES = """
[models.sql]
[models.sql-next]
[aliases.assistant]
stable = "sql"
canary = "sql-next"
canary_share = {}
"""

POLICY = """
id = "test-policy"
version = "1"
[evaluation]
families = ["year_2025", "skeleton"]
min_harmful_suites = 1
[gateway]
recheck_s = 0.25
[[rules]]
id = "harm"
suite = "harmful"
estimand = "harm"
conditions = ["plain", "family:*"]
margin = 0.1
[[rules]]
id = "over-refusal"
suite = "lookalikes"
estimand = "over_refusal"
margin = 0.1
"""
"""As a file what the models are certified under."""


@dataclass
class Site:
    """A folder with two certified models, from which gateways are started."""

    folder: Path
    models: dict[str, Certified]

    @contextmanager
    def gateway(self) -> Iterator[GatewayServer]:
        """Run a gateway on the folder's models, state and audit log."""
        upstream = vllm(self.folder)
        with AuditLog(self.folder / "audit.jsonl") as audit:
            server = deploy_models(
                [deployment(model, upstream) for model in self.models.values()],
                audit=audit,
                read_aliases=AliasesOf(self.folder / "models.toml"),
                state=self.folder / "state",
            )
            with server:
                yield server

    def share(self, share: float) -> None:
        """Write the file of aliases."""
        write_atomic(self.folder / "models.toml", ALIASES.format(share).encode())

    def command(self, *words: object) -> tuple[int, str, str]:
        """Run `recert` in this process; return exit code, stdout and stderr."""
        given = ["recert", *map(str, words), "--state", str(self.folder / "state")]
        out, err = StringIO(), StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            patch.setattr(sys, "argv", given)
            patch.setenv("COLUMNS", "200")
            main()
        return int(ended.value.code or 0), out.getvalue(), err.getvalue()

    def process(self, *words: object) -> tuple[int, str]:
        """Run `recert` in a process of its own; return exit code and stdout."""
        command = [sys.executable, "-m", "recert", *map(str, words), "--state", str(self.folder / "state")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout

    def watched(
        self, outcome: WatchOutcome = WatchOutcome.RENEW, name: str = "sql-next", **changes: Any
    ) -> Path:
        """Write the report of a watch of a model, just made; return its file."""
        content = self.models[name].content
        at = {"started_at": now(), "watched_at": now()} | changes
        report = make_watch_report(
            serial=content.serial, certificate_sha256=content.digest, outcome=outcome, **at
        )
        path = self.folder / "watch-report.json"
        write_atomic(path, report.to_json())
        write_link(path, report, self.models[name].keys["watcher"])
        return path

    def promote(self, report: Path) -> tuple[int, str, str]:
        """Run `recert promote` on the alias, with the canary's certificate."""
        canary = self.models["sql-next"]
        policy = self.folder / "policy.toml"
        policy.write_text(POLICY)
        return self.command(
            "promote", "assistant", "--certificate", canary.certificate, "--watch-report", report,
            "--trust", canary.trust, "--policy", policy,
        )  # fmt: skip

    def notes(self) -> list[dict[str, Any]]:
        """Return what the audit log says of orders."""
        lines = read_log(self.folder / "audit.jsonl")
        return [line.body for line in lines if line.kind == "order-note"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The folder; the alias leads nobody to the canary."""
    folder = tmp_path_factory.mktemp("site")
    made = Site(folder, {name: certified(folder / "models", name) for name in MODELS})
    made.share(0)
    return made


def alias_state(server: GatewayServer) -> dict[str, Any]:
    """Return what `/status` says of the alias."""
    (found,) = httpx.get(server.url + "/status").json()["aliases"]
    return dict(found)


def test_one_command_stops_streams_and_a_restart_does_not_lift_it(site: Site) -> None:
    """
    `recert stop --all`: streams end within five seconds with an OpenAI error, and a new process on the same state
    refuses too, until `recert resume --all`.
    """
    with site.gateway() as server:
        with Watched(server, "sql") as one, Watched(server, "sql-next") as other:
            begun = time.monotonic()
            stopped = site.process("stop", "--all", "--reason", "it was told to")
            assert one.ended.wait(6)
            assert other.ended.wait(6)
            took_s = max(one.ended_at, other.ended_at) - begun
        codes = [refusal(server, name) for name in (*MODELS, "assistant")]
    with site.gateway() as again:
        after_restart = [refusal(again, name) for name in (*MODELS, "assistant")]
        health = httpx.get(again.url + "/healthz")
        resumed = site.command("resume", "--all")
        said = say(again, "sql")[1]
    notes = [(note["event"], note["order"]["kind"], note["order"]["name"]) for note in site.notes()]

    assert stopped == (0, "stopped every model\n")
    assert took_s < 5
    assert one.text
    assert one.code == other.code == "stopped-by-operator"
    assert codes == after_restart == [(503, "stopped-by-operator")] * 3
    assert (health.status_code, health.json()["reason"]) == (503, "stopped-by-operator")
    assert resumed[:2] == (0, "resumed every model\n")
    assert said == "sql"
    assert notes == [("in-force", "stop", "*")] * 2 + [("lifted", "stop", "*")]


def test_stopping_without_a_gateway_says_so_and_holds(site: Site) -> None:
    """No gateway runs: the order holds from the next start, and the command says that."""
    stopped = site.command("stop", "sql")
    with site.gateway() as server:
        codes = [refusal(server, name)[0] for name in MODELS]
        twice = site.command("resume", "sql-next")
        site.command("resume", "sql")
        said = say(server, "sql")[1]

    assert stopped[:2] == (0, "stopped sql: no gateway runs here; it holds from its next start\n")
    assert codes == [503, 200]
    assert twice[0] == 2
    assert said == "sql"


def test_a_stop_that_reaches_nobody_exits_2(tmp_path: Path) -> None:
    """A folder that no gateway has: an operator in a hurry must not believe that anything was stopped."""
    code, _, talk = Site(tmp_path, {}).command("stop", "--all")

    assert code == 2
    assert "nobody was told" in talk


def test_a_clean_watch_of_the_canary_promotes_it(site: Site) -> None:
    """All clients are led to it at once, `/status` and the audit log say by which watch; lifted, shares count again."""
    with site.gateway() as server:
        before = say(server, "assistant")[1]
        promoted = site.promote(site.watched())
        _, model, serial = say(server, "assistant")
        state = alias_state(server)
        order = site.notes()[-1]["order"]
        lifted = site.command("promote", "assistant", "--lift")
        after = say(server, "assistant")[1]
    exchanges = [line.body for line in read_log(site.folder / "audit.jsonl") if line.kind == "exchange"]
    report = WatchReport.from_json((site.folder / "watch-report.json").read_bytes())
    canary = site.models["sql-next"].content

    assert (before, model, after) == ("sql", "sql-next", "sql")
    assert (promoted[0], lifted[0]) == (0, 0)
    assert (state["promoted"], state["rolled_back"]) == (True, False)
    assert serial == canary.serial
    assert (order["serial"], order["watch_report_sha256"]) == (canary.serial, report.digest)
    assert [(e["model_name"], e["certificate_serial"]) for e in exchanges[-2:]] == [
        ("sql-next", canary.serial), ("sql", site.models["sql"].content.serial),
    ]  # fmt: skip


@pytest.mark.parametrize("outcome", [WatchOutcome.WARN, WatchOutcome.SUSPEND])
def test_any_other_watch_of_the_canary_rolls_it_back(site: Site, outcome: WatchOutcome) -> None:
    """Exit 1, everybody is led to the stable model whatever the share is; an older watch does not undo that."""
    site.share(1)
    early = now()
    with site.gateway() as server:
        before = say(server, "assistant")[1]
        decided = site.promote(site.watched(outcome))
        after = say(server, "assistant")[1]
        state = alias_state(server)
        undone = site.promote(site.watched(started_at=early, watched_at=early))
        still = say(server, "assistant")[1]
        time.sleep(1.1)  # times are in whole seconds, and what is not surely later does not count
        newer = site.promote(site.watched())
        at_last = say(server, "assistant")[1]
        site.command("promote", "assistant", "--lift")
    site.share(0)

    assert (before, after, still, at_last) == ("sql-next", "sql", "sql", "sql-next")
    assert decided[0] == 1
    assert str(outcome) in decided[1]
    assert (state["promoted"], state["rolled_back"]) == (False, True)
    assert (undone[0], newer[0]) == (2, 0)
    assert "rolled back after the watch began" in undone[2]


@pytest.mark.parametrize(
    "changes",
    [{"serial": "another"}, {"certificate_sha256": "0" * 64}, {"name": "sql"}, {"watched_at": "2099-01-01T00:00:00Z"}],
)  # fmt: skip
def test_a_watch_of_something_else_changes_nothing(site: Site, changes: dict[str, Any]) -> None:
    """Another certificate, or a time to come: exit 2, and no order is written."""
    changed = dict(changes)
    path = site.watched(name=changed.pop("name", "sql-next"))
    report = WatchReport.from_json(path.read_bytes())
    write_atomic(path, WatchReport.model_validate(report.to_value() | changed).to_json())
    orders = (site.folder / "state" / "orders.json").read_bytes()
    done = site.promote(path)

    assert done[0] == 2
    assert "decides nothing" in done[2]
    assert (site.folder / "state" / "orders.json").read_bytes() == orders


def test_a_promotion_is_of_the_watched_files_alone(site: Site) -> None:
    """Where the alias's canary has become another model, or serves no more, the promotion leads nobody anywhere."""
    with site.gateway() as server:
        site.promote(site.watched())
        swapped = (
            ALIASES.format(0)
            .replace('"sql"', '"x"')
            .replace('"sql-next"', '"sql"')
            .replace('"x"', '"sql-next"')
        )
        write_atomic(site.folder / "models.toml", swapped.encode())
        end = time.monotonic() + 6
        while alias_state(server)["canary"] != "sql" and time.monotonic() < end:
            time.sleep(0.05)
        other = (alias_state(server)["promoted"], say(server, "assistant")[1])
        site.share(0)
        while alias_state(server)["canary"] != "sql-next" and time.monotonic() < end:
            time.sleep(0.05)
        site.command("stop", "sql-next")
        stopped = say(server, "assistant")[1]
        site.command("resume", "sql-next")
        site.command("promote", "assistant", "--lift")

    assert other == (False, "sql-next")  # the stable model by now
    assert stopped == "sql"
