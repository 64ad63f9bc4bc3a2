"""Canary and rollback by certificate, the kill switch, and adapters by name: a real gateway and the official client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from certified_folders import Certified
from many_models import Watched, certified, deployment, refusal, say, vllm
from recert.certification import reinstate, suspend
from recert.gateway.access.kill_switch import give, make_order
from recert.gateway.serving.aliases import Alias
from recert.gateway.serving.server import GatewayServer
from recert.records.live.orders import StandingOrders
from recert.store.audit.log import AuditLog, read_log
from recert.store.files.writing import write_atomic
from recert.workflows.deploy.models_file import AliasesOf
from recert.workflows.deploy.stage import deploy_models

ALIAS = Alias("assistant", "sql", "sql-next", 0.5)
CLIENTS = [f"team-{i}" for i in range(40)]
TRIES = next(name for name in CLIENTS if ALIAS.leads_to_canary(name))
STAYS = next(name for name in CLIENTS if not ALIAS.leads_to_canary(name))
KEYS = {name: f"0123456789abcdef-{name}" for name in (TRIES, STAYS)}


@dataclass
class World:
    """A gateway with a stable model, a canary and an alias that leads to them."""

    folder: Path
    server: GatewayServer
    models: dict[str, Certified]

    def aliases(self, share: float, *, stable: str = "sql", canary: str = "sql-next") -> None:
        """Write the file of aliases."""
        data = (
            f'[models.sql]\n[models.sql-next]\n[aliases.assistant]\nstable = "{stable}"\n'
            f'canary = "{canary}"\ncanary_share = {share}\n'
        )
        write_atomic(self.folder / "models.toml", data.encode())

    def answers(self, client: str) -> str:
        """Return the model that answers a client under the alias; certificate and model must belong together."""
        _, model, serial = say(self.server, "assistant", KEYS[client])
        assert self.models[model].content.serial == serial
        return model

    def until(self, true: Callable[[], bool]) -> float:
        """Wait until something holds; return how long that took."""
        begun = time.monotonic()
        while not true() and time.monotonic() - begun < 8:
            time.sleep(0.05)
        return time.monotonic() - begun

    def status(self, name: str, change: Callable[..., bytes], *why: str) -> None:
        """Suspend or reinstate a model's certificate."""
        one = self.models[name]
        new = change(
            one.status.read_bytes(), one.content.serial, *why,
            key=one.keys["status"], trust=one.trusted, validity_hours=24,
        )  # fmt: skip
        write_atomic(one.status, new)

    def orders(self, *orders: object) -> None:
        """Give orders, and have them confirmed."""
        assert give(self.folder / "state", StandingOrders.model_validate({"orders": orders})) is True


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The gateway."""
    folder = tmp_path_factory.mktemp("canary")
    models = {name: certified(folder / "models", name) for name in ("sql", "sql-next")}
    upstream = vllm(folder)
    with pytest.MonkeyPatch.context() as patch, AuditLog(folder / "audit.jsonl") as audit:
        patch.setenv("RECERT_API_KEYS", ",".join(f"{name}:{key}" for name, key in KEYS.items()))
        made = World(folder, None, models)  # type: ignore[arg-type]
        made.aliases(0.5)
        made.server = deploy_models(
            [deployment(model, upstream) for model in models.values()],
            audit=audit,
            read_aliases=AliasesOf(folder / "models.toml"),
            state=folder / "state",
        )
        with made.server:
            yield made


@pytest.fixture
def world(everything: World) -> Iterator[World]:
    """The gateway, as it was at the beginning."""
    yield everything
    everything.orders()
    everything.aliases(0.5)
    everything.until(lambda: everything.answers(TRIES) == "sql-next")


def test_a_share_of_the_clients_tries_the_canary(world: World) -> None:
    """Each client always meets the same model, and each reply names that model and its certificate, once."""
    models = {client: {world.answers(client) for _ in range(5)} for client in (TRIES, STAYS)}
    listed = httpx.get(
        world.server.url + "/v1/models", headers={"authorization": f"Bearer {KEYS[TRIES]}"}
    ).json()

    assert models == {TRIES: {"sql-next"}, STAYS: {"sql"}}
    assert [model["id"] for model in listed["data"]] == ["sql", "sql-next", "assistant"]


def test_editing_the_file_moves_clients_without_a_restart(world: World) -> None:
    """A share of 0, another stable model, no canary: in force within five seconds."""
    world.aliases(0)
    took_s = world.until(lambda: world.answers(TRIES) == "sql")
    world.aliases(1, stable="sql-next", canary="sql")
    turned_s = world.until(lambda: world.answers(STAYS) == "sql")

    assert world.answers(TRIES) == "sql"
    assert took_s < 5
    assert turned_s < 5


@pytest.mark.slow
def test_a_file_that_cannot_be_read_ends_the_alias_and_no_model(world: World) -> None:
    """A broken edit: the alias answers 503 until it is mended; who asks for a model by its name is served."""
    write_atomic(world.folder / "models.toml", b"[aliases.assistant\n")
    took_s = world.until(lambda: refusal(world.server, "assistant", KEYS[STAYS])[0] == 503)
    code = refusal(world.server, "assistant", KEYS[STAYS])
    direct = say(world.server, "sql", KEYS[STAYS])[1]
    world.aliases(0.5)
    world.until(lambda: refusal(world.server, "assistant", KEYS[STAYS])[0] == 200)

    assert took_s < 6
    assert code == (503, "aliases-unreadable")
    assert direct == "sql"
    assert world.answers(STAYS) == "sql"


def test_a_rollback_leads_everybody_to_the_stable_model(world: World) -> None:
    """By order, at once, whatever the file says; lifted, the canary has its clients again."""
    world.orders(make_order("rollback", "assistant", "worse"))
    rolled_back = world.answers(TRIES)
    said = httpx.get(world.server.url + "/status", headers={"authorization": f"Bearer {KEYS[TRIES]}"}).json()
    world.orders()

    assert rolled_back == "sql"
    assert said["aliases"] == [
        {
            "name": "assistant", "stable": "sql", "canary": "sql-next", "canary_share": 0.5,
            "rolled_back": True, "promoted": False, "reason": "",
        }
    ]  # fmt: skip
    assert world.answers(TRIES) == "sql-next"


@pytest.mark.slow
def test_clients_of_a_stopped_canary_go_to_the_stable_model_if_that_holds(world: World) -> None:
    """Their streams are cut, their next request is answered by the stable model; with both stopped there is 503."""
    with Watched(world.server, "assistant", KEYS[TRIES]) as stream:
        world.status("sql-next", suspend, "harm was seen")
        assert stream.ended.wait(6)
    after = world.answers(TRIES)
    world.status("sql", suspend, "harm was seen")
    world.until(lambda: refusal(world.server, "sql", KEYS[STAYS])[0] == 503)
    both = [refusal(world.server, "assistant", KEYS[client]) for client in (TRIES, STAYS)]
    world.status("sql-next", reinstate)
    world.until(lambda: refusal(world.server, "sql-next", KEYS[STAYS])[0] == 200)
    one = [refusal(world.server, "assistant", KEYS[client])[0] for client in (TRIES, STAYS)]
    world.status("sql", reinstate)
    world.until(lambda: refusal(world.server, "sql", KEYS[STAYS])[0] == 200)

    assert (stream.code, stream.serial) == ("suspended", world.models["sql-next"].content.serial)
    assert after == "sql"
    assert both == [(503, "suspended")] * 2
    assert one == [200, 503]  # nobody of the stable model's is moved to a canary


@pytest.mark.slow
def test_the_kill_switch_cuts_streams_and_is_written_down(world: World) -> None:
    """One model, or all: streams end within five seconds, and order and lifting are lines of the audit log."""
    with (
        Watched(world.server, "sql", KEYS[STAYS]) as stopped,
        Watched(world.server, "sql-next", KEYS[STAYS]) as other,
    ):
        begun = time.monotonic()
        world.orders(make_order("stop", "sql", "it was told to"))
        assert stopped.ended.wait(6)
        took_s = stopped.ended_at - begun
        goes_on = other.runs
        world.orders(make_order("stop", "*", "all of it"))
        assert other.ended.wait(6)
    health = httpx.get(world.server.url + "/healthz")
    codes = [refusal(world.server, name, KEYS[STAYS]) for name in ("sql", "sql-next", "assistant")]
    world.orders()
    resumed = say(world.server, "sql", KEYS[STAYS])[1]
    notes = [line.body for line in read_log(world.folder / "audit.jsonl") if line.kind == "order-note"]

    assert took_s < 5
    assert goes_on
    assert stopped.code == other.code == "stopped-by-operator"
    assert (health.status_code, health.json()["reason"]) == (503, "stopped-by-operator")
    assert codes == [(503, "stopped-by-operator")] * 3
    assert resumed == "sql"
    assert [(n["event"], n["order"]["name"]) for n in notes[-4:]] == [
        ("in-force", "sql"), ("in-force", "*"), ("lifted", "sql"), ("lifted", "*"),
    ]  # fmt: skip
    assert "it was told to" in {note["order"]["reason"] for note in notes}


def test_stopping_an_alias_stops_all_that_it_leads_to(world: World) -> None:
    """Under their own names too: what a name stands for is stopped, not the name."""
    world.orders(make_order("stop", "assistant", "both"))
    codes = [refusal(world.server, name, KEYS[STAYS])[0] for name in ("sql", "sql-next", "assistant")]

    assert codes == [503, 503, 503]


def test_side_routes_of_the_engine_are_not_the_gateways(world: World) -> None:
    """What loads adapters, counts or lists at the engine is no route here, with whatever method."""
    headers = {"authorization": f"Bearer {KEYS[STAYS]}"}
    routes = (
        "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/metrics", "/health", "/tokenize", "/lora-adapters",
        "/slots", "/props", "/collective_rpc", "/invocations", "/v1/chat/completions/render", "//v1/models",
        "/v1/chat/completions/../load_lora_adapter", "/v1/%6coad_lora_adapter",
    )  # fmt: skip
    found = {
        (method, route): httpx.request(method, world.server.url + route, headers=headers, json={}).status_code
        for method in ("GET", "POST")
        for route in routes
    }

    assert {code for (_, route), code in found.items() if route != "/metrics"} <= {404, 405}
    assert not any("vllm:" in httpx.get(world.server.url + r, headers=headers).text for r in ("/metrics",))


@pytest.mark.slow
def test_one_model_that_is_refused_keeps_no_other_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clients get the reason; an alias whose stable model it is gives 503; /status says so."""
    monkeypatch.delenv("RECERT_API_KEYS", raising=False)
    good, bad = certified(tmp_path / "models", "good"), certified(tmp_path / "models", "bad")
    bad.suspend()
    upstream = vllm(tmp_path)
    aliases = [Alias("one", "bad"), Alias("two", "good", "bad", 1.0)]
    with AuditLog(tmp_path / "audit.jsonl") as audit:
        server = deploy_models(
            [deployment(good, upstream), deployment(bad, upstream)],
            audit=audit,
            read_aliases=lambda: aliases,
            state=tmp_path / "state",
        )
        with server:
            said = say(server, "good")[1]
            codes = [refusal(server, name) for name in ("bad", "one")]
            led = say(server, "two")[1]
            states = {m["name"]: m["state"] for m in httpx.get(server.url + "/status").json()["models"]}

    assert (said, led) == ("good", "good")
    assert codes == [(503, "suspended")] * 2
    assert states == {"good": "serving", "bad": "refused"}
