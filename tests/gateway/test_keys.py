"""Who may ask, what, and how much: keys from a file, their scopes and their budgets."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from typer.testing import CliRunner

from gateways import MODEL, ScriptedUpstream, ask, ask_stream, client, gateway
from recert.cli.app import app
from recert.errors import GatewayError, SettingsError
from recert.gateway.access.budgets import Budgets
from recert.gateway.access.grants import Budget, Grant
from recert.gateway.access.keys import ApiKeys
from recert.gateway.access.keys_file import KeysFile, read_keys_file
from recert.gateway.protocol.errors import HttpError
from recert.gateway.serving.edge_config import EdgeConfig
from recert.gateway.serving.server import GatewayServer
from recert.records.record import now
from recert.store.audit.log import read_log
from recert.store.shared import Counters

PIECES = ["one ", "two ", "three "]
TOKENS = 10
"""What the scripted upstream counts for `PIECES`."""


def write_keys(path: Path, **entries: dict[str, Any]) -> dict[str, str]:
    """Write a file with one key for each client; return the keys by client."""
    file, keys = KeysFile(), {}
    for name, may in entries.items():
        file, keys[name] = file.with_new(name, **may)
    file.write(path)
    return keys


@contextmanager
def guarded(
    tmp_path: Path,
    pieces: Callable[[Any], list[str]] | ScriptedUpstream = lambda _: PIECES,
    **entries: dict[str, Any],
) -> Iterator[tuple[GatewayServer, dict[str, str]]]:
    """Run a gateway with such keys; budgets lie beside its log."""
    file = tmp_path / "keys.json"
    keys = write_keys(file, **entries)
    front = EdgeConfig(budgets=tmp_path / "budgets.db")
    with gateway(tmp_path, pieces, keys=ApiKeys(file=file), front=front) as (server, _):
        yield server, keys


def test_a_key_is_in_no_file(tmp_path: Path) -> None:
    """The file has a digest, is its owner's alone, and nobody without the key can ask."""
    with guarded(tmp_path, team={}) as (server, keys):
        file = tmp_path / "keys.json"
        digest = read_keys_file(file).keys[0].sha256
        with client(server, keys["team"]) as made:
            assert ask(made).choices[0].message.content == "one two three "
        for wrong in (digest, keys["team"][:-1], ""):
            with client(server, wrong or "none") as made, pytest.raises(openai.AuthenticationError):
                ask(made)

    assert keys["team"] not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_key_may_ask_only_what_it_says(tmp_path: Path) -> None:
    """Other models are not there for it, other routes are 403, and a key whose time is over is none."""
    entries: dict[str, dict[str, Any]] = {
        "all": {},
        "other": {"models": ["other-*"]},
        "pattern": {"models": ["other-*", "test-*"], "routes": ["chat"]},
        "late": {"expires_at": (now() - timedelta(seconds=1)).isoformat()},
    }
    with guarded(tmp_path, **entries) as (server, keys):

        def get(name: str, path: str) -> httpx.Response:
            return httpx.get(server.url + path, headers={"authorization": f"Bearer {keys[name]}"})

        with client(server, keys["pattern"]) as made:
            assert ask(made).model == MODEL
        with client(server, keys["other"]) as made, pytest.raises(openai.NotFoundError) as caught:
            ask(made)
        with client(server, keys["late"]) as made, pytest.raises(openai.AuthenticationError):
            ask(made)
        listed = {
            name: [m["id"] for m in get(name, "/v1/models").json()["data"]] for name in ("all", "other")
        }
        refused = get("pattern", "/status")

    assert caught.value.code == "model_not_found"
    assert MODEL not in str(caught.value)
    assert listed == {"all": [MODEL], "other": []}
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "route_not_allowed")


def test_requests_a_minute_are_bounded_and_clients_told(tmp_path: Path) -> None:
    """Headers count down; the one too many is 429 with Retry-After, is in the log, and asks no model."""
    entry = {"requests_per_minute": 2, "requests_per_day": 100}
    hello = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
    with guarded(tmp_path, team=entry) as (server, keys), client(server, keys["team"]) as made:
        replies = [made.chat.completions.with_raw_response.create(**hello) for _ in range(2)]
        left = [reply.headers["x-ratelimit-remaining-requests"] for reply in replies]
        with pytest.raises(openai.RateLimitError) as caught:
            ask_stream(made)
    headers = caught.value.response.headers

    assert left == ["1", "0"]
    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "requests")
    assert 1 <= int(headers["retry-after"]) <= 60
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("2", "0")
    last = [line.body for line in read_log(tmp_path / "audit.jsonl")][-1]
    assert (last["decision"], last["reason"], last["client"]) == ("refused", "rate_limit_exceeded", "team")


def test_budgets_outlive_the_gateway(tmp_path: Path) -> None:
    """What was used before a restart is used after it: a quota of a day, which asking again does not help."""
    file = tmp_path / "keys.json"
    keys = write_keys(file, team={"requests_per_day": 3})
    codes = []
    for at in range(2):
        front = EdgeConfig(budgets=tmp_path / "budgets.db")
        with (
            gateway(tmp_path / str(at), lambda _: PIECES, keys=ApiKeys(file=file), front=front) as (
                server,
                _,
            ),
            client(server, keys["team"]) as made,
        ):
            for _ in range(2):
                try:
                    codes.append(ask(made).choices[0].finish_reason)
                except openai.RateLimitError as exc:
                    codes.append(exc.code)
                    assert exc.response.headers["x-should-retry"] == "false"

    assert codes == ["stop", "stop", "stop", "insufficient_quota"]


def test_tokens_are_taken_before_and_given_back_after(tmp_path: Path) -> None:
    """A request takes what it may use; what it did not use is there for the next; one too large is refused."""
    with (
        guarded(tmp_path, team={"tokens_per_minute": 100}) as (server, keys),
        client(server, keys["team"]) as made,
    ):
        for asked in range(1, 6):
            ask(made, max_tokens=40)
            wait_for_used(tmp_path, asked * TOKENS)  # a reply is sent before what it left is given back
        with pytest.raises(openai.RateLimitError) as caught:
            ask(made, max_tokens=60)
        ask_stream(made, max_tokens=10)
        wait_for_used(tmp_path, 6 * TOKENS)

    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "tokens")


def wait_for_used(tmp_path: Path, tokens: int) -> None:
    """Wait until so many tokens are counted for `team` this minute."""
    counters, end = Counters(tmp_path / "budgets.db"), time.monotonic() + 5
    periods = (int(time.time() // 60) - 1, int(time.time() // 60), int(time.time() // 60) + 1)
    while sum(counters.read("tokens/60", "team", period) for period in periods) != tokens:
        assert time.monotonic() < end
        time.sleep(0.02)
    counters.close()


def test_many_at_once_never_take_more_than_there_is(tmp_path: Path) -> None:
    """20 requests of four gateways on one budget of 7: seven are answered, whoever asks."""
    grant = Grant("team", budget=Budget(requests_per_day=7, tokens_per_day=1000))
    several = [Budgets(tmp_path / "budgets.db", clock=lambda: 1e9) for _ in range(4)]

    def take(at: int) -> str:
        try:
            asyncio.run(several[at % 4].take(grant, 10))
        except HttpError as exc:
            return exc.code
        return "taken"

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(take, range(20)))
    for budgets in several:
        budgets.close()

    assert (found.count("taken"), found.count("insufficient_quota")) == (7, 13)


def test_what_cannot_be_counted_is_not_answered(tmp_path: Path) -> None:
    """Without the table of budgets: 503, and no model is asked. With it again there is an answer."""
    upstream = ScriptedUpstream(lambda _: PIECES)
    with (
        guarded(tmp_path, upstream, team={"tokens_per_day": 10_000}) as (server, keys),
        client(server, keys["team"]) as made,
    ):
        ask(made)
        with closing(sqlite3.connect(tmp_path / "budgets.db")) as link, link:
            link.execute("ALTER TABLE counters RENAME TO elsewhere")
        with pytest.raises(openai.InternalServerError) as caught:
            ask(made)
        asked = len(upstream.asked)
        with closing(sqlite3.connect(tmp_path / "budgets.db")) as link, link:
            link.execute("ALTER TABLE elsewhere RENAME TO counters")
        ask(made)

    assert (caught.value.status_code, caught.value.code) == (503, "budget-unavailable")
    assert asked == 1


@pytest.mark.slow
def test_requests_at_once_are_bounded(tmp_path: Path) -> None:
    """Of three at once two are answered, and afterwards there is room again."""
    upstream = ScriptedUpstream(lambda _: PIECES, pause_s=0.2)
    with (
        guarded(tmp_path, upstream, team={"requests_at_once": 2}) as (server, keys),
        client(server, keys["team"]) as made,
        ThreadPoolExecutor(3) as pool,
    ):

        def one(_: int) -> str:
            try:
                return str(ask(made).choices[0].finish_reason)
            except openai.RateLimitError as exc:
                return str(exc.code)

        first = sorted(pool.map(one, range(3)))
        after = one(0)

    assert first == ["rate_limit_exceeded", "stop", "stop"]
    assert after == "stop"


@pytest.mark.slow
def test_a_running_gateway_reads_its_keys_again(tmp_path: Path) -> None:
    """A key that was removed is refused soon, a new one is taken, and with a broken file nobody may ask."""
    file = tmp_path / "keys.json"
    with guarded(tmp_path, old={}) as (server, keys):

        def status(key: str) -> int:
            headers = {"authorization": f"Bearer {key}"}
            return httpx.get(server.url + "/v1/models", headers=headers).status_code

        assert status(keys["old"]) == 200
        new = write_keys(file, new={})["new"]
        wait_until(lambda: status(keys["old"]) == 401)
        assert status(new) == 200
        file.write_text('{"keys": [{"name": "x", "sha256": "y"}]}')
        wait_until(lambda: status(new) == 503)
        file.unlink()
        time.sleep(1.1)
        assert status(new) == 503
        again = write_keys(file, new={})["new"]
        wait_until(lambda: status(again) == 200)


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for something to be true."""
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.1)


BAD_FILES: list[tuple[str, str]] = [
    ("a misspelt bound", '{"keys": [{"name": "a", "sha256": "%s", "requests_per_minut": 1}]}'),
    ("no bound of nothing", '{"keys": [{"name": "a", "sha256": "%s", "requests_per_day": 0}]}'),
    ("a route that is none", '{"keys": [{"name": "a", "sha256": "%s", "routes": ["admin"]}]}'),
    ("a time without a zone", '{"keys": [{"name": "a", "sha256": "%s", "expires_at": "2030-01-01T00:00:00"}]}'),
    ("a key twice", '{"keys": [{"name": "a", "sha256": "%s"}, {"name": "b", "sha256": "%s"}]}'),
    ("no keys", '{"keys": []}'),
    ("a list", "[]"),
    ("nothing", ""),
]  # fmt: skip


@pytest.mark.parametrize("text", [text for _, text in BAD_FILES], ids=[name for name, _ in BAD_FILES])
def test_a_file_that_is_not_understood_keeps_the_gateway_from_starting(tmp_path: Path, text: str) -> None:
    """A bound that would be none, or no keys at all: an error, and never an open gateway."""
    file = tmp_path / "keys.json"
    file.write_text(text.replace("%s", "0" * 64))
    file.chmod(0o600)

    with pytest.raises(SettingsError):
        ApiKeys(file=file)


def test_a_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    """Who writes the file decides who may ask."""
    file = tmp_path / "keys.json"
    write_keys(file, team={})
    file.chmod(0o660)

    with pytest.raises(SettingsError):
        ApiKeys(file=file)


def test_budgets_need_a_place(tmp_path: Path) -> None:
    """A file of keys without a place to count what they use: the gateway does not start."""
    file = tmp_path / "keys.json"
    write_keys(file, team={"tokens_per_day": 5})

    with (
        pytest.raises(GatewayError) as caught,
        gateway(tmp_path, lambda _: PIECES, keys=ApiKeys(file=file)),
    ):
        pass

    assert caught.value.reason == "budgets-nowhere"


def test_keys_are_made_listed_and_removed_by_command(tmp_path: Path) -> None:
    """The key is printed once; the list shows what it may and never the key; what is removed is gone."""
    file, run = str(tmp_path / "keys.json"), CliRunner().invoke
    made = run(app, ["keys", "new", "team", "--keys", file, "--model", "a-*", "--tokens-per-day", "500"])
    key = made.stdout.strip()
    listed = run(app, ["keys", "list", "--keys", file])
    entry = json.loads(run(app, ["keys", "list", "--keys", file, "--json"]).stdout)["keys"][0]
    found = ApiKeys(file=Path(file)).grant(f"Bearer {key}".encode())
    removed = run(app, ["keys", "remove", "team", "--keys", file])

    assert (made.exit_code, removed.exit_code) == (0, 0)
    assert found == Grant("team", ("a-*",), ("chat", "models", "status"), Budget(tokens_per_day=500))
    assert "tokens_per_day 500" in listed.stdout and key not in listed.stdout
    assert entry["name"] == "team" and key not in json.dumps(entry)
    assert read_keys_file(Path(file)).keys == ()
    with pytest.raises(SettingsError):
        read_keys_file(Path(file)).without(["team"])
