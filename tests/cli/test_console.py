"""`recert console` on the command line: accounts, and where it refuses to listen."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from recert.__main__ import _draw
from recert.cli.app import app
from recert.errors import GatewayError, InputError, SettingsError
from recert.store.console.accounts import Accounts
from recert.store.console.database import open_console
from recert.store.console.passwords import Passwords

PASSWORD = "a long password\n"


def _run(*arguments: str, given: str = "") -> tuple[Exception | None, str]:
    done = CliRunner().invoke(app, ["console", *arguments], obj=_draw, input=given)
    error = done.exception if isinstance(done.exception, Exception) else None
    return error, done.stdout


@pytest.mark.slow
def test_accounts_are_made_listed_changed_and_removed(tmp_path: Path) -> None:
    """The password comes from stdin; every change is in a log before it is made, and no password is."""
    folder = ["--folder", str(tmp_path)]
    made = _run("accounts", "add", "Ada", "--role", "administrator", *folder, given=PASSWORD)
    _run("accounts", "add", "bob", "--role", "approver", "--must-change", *folder, given=PASSWORD)
    _run("accounts", "roles", "bob", "--role", "approver", "--role", "reader", *folder)
    listed = [json.loads(line) for line in _run("accounts", "list", "--json", *folder)[1].splitlines()]
    _run("accounts", "reset", "bob", *folder, given="another long password\n")
    place = open_console(tmp_path / "console.sqlite")
    kept = Accounts(place).known("bob").password
    place.close()
    removed = _run("accounts", "remove", "bob", *folder)
    log = (tmp_path / "commands.jsonl").read_text()

    assert made == (None, "ada\n")
    assert [(one["name"], one["roles"]) for one in listed] == [
        ("ada", ["administrator"]),
        ("bob", ["approver", "reader"]),
    ]
    assert Passwords().fits("another long password", kept)
    assert removed[0] is None
    assert [json.loads(line)["body"]["what"] for line in log.splitlines()] == [
        "account-added",
        "account-added",
        "roles-changed",
        "password-reset",
        "account-removed",
    ]
    assert "long password" not in log


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["add", "eve", "--role", "reader"], ""),
        (["add", "eve", "--role", "reader"], "short\n"),
        (["add", "e v e", "--role", "reader"], PASSWORD),
        (["add", "eve", "--role", "A Role"], PASSWORD),
        (["add", "eve", "--role", "nonsense"], PASSWORD),
        (["add", "eve", "--role", "reader", "--role", "adminstrator"], PASSWORD),
        (["list"], ""),
        (["remove", "ada"], ""),
    ],
)
def test_what_cannot_be_an_account_leaves_no_database(
    tmp_path: Path, arguments: list[str], given: str
) -> None:
    """No password, a short one, a name or role that is none; and there is nothing to list or remove."""
    error, said = _run("accounts", *arguments, "--folder", str(tmp_path / "console"), given=given)

    assert isinstance(error, InputError)
    assert said == ""
    assert not (tmp_path / "console").exists()


def test_a_role_of_a_policy_of_ones_own_must_be_meant(tmp_path: Path) -> None:
    """A role that Recert does not know is taken with `--custom-role`, and never by a slip."""
    folder = ["--folder", str(tmp_path)]
    _run("accounts", "add", "ada", "--role", "administrator", *folder, given=PASSWORD)
    slip, _ = _run("accounts", "roles", "ada", "--role", "administrator", "--role", "safety-lead", *folder)
    meant, _ = _run(
        *("accounts", "roles", "ada", "--role", "administrator", "--role", "safety-lead", "--custom-role"),
        *folder,
    )
    listed = _run("accounts", "list", *folder)[1]

    assert isinstance(slip, InputError)
    assert "approver" in str(slip)
    assert meant is None
    assert "administrator, safety-lead" in listed


def test_the_folder_may_stand_before_the_command(tmp_path: Path) -> None:
    """An account is never made in another folder than the one that was named."""
    made = _run(
        "--folder", str(tmp_path), "accounts", "add", "ada", "--role", "administrator", given=PASSWORD
    )
    listed = _run("accounts", "list", "--folder", str(tmp_path))

    assert made == (None, "ada\n")
    assert listed[1].startswith("ada  administrator")


@pytest.mark.slow
def test_a_console_refuses_networks_without_https(tmp_path: Path) -> None:
    """Beyond this machine a certificate is needed, or a proxy and the address that browsers know."""
    folder = ["--folder", str(tmp_path), "--port", "0"]
    bare, _ = _run(*folder, "--host", "0.0.0.0")
    behind, _ = _run(*folder, "--host", "0.0.0.0", "--behind-proxy", "10.0.0.1")
    half, _ = _run(*folder, "--tls-key", "key.pem")
    missing, _ = _run(*folder, "--root", str(tmp_path / "none"))

    assert isinstance(bare, GatewayError)
    assert bare.reason == "open-bind"
    assert isinstance(behind, SettingsError)
    assert "public_url" in behind.hint
    assert isinstance(half, InputError)
    assert isinstance(missing, InputError)


@pytest.mark.parametrize(
    ("words", "at"),
    [
        ("sessions = 3", "sessions"),
        ("[sessions]\nidle_minutes = 0", "idle_minutes"),
        ("unknown = 1", "unknown"),
        (
            '[oidc]\nissuer = "http://login.example.org"\nclient_id = "x"\n[oidc.roles]\na = ["reader"]',
            "issuer",
        ),
        ('[oidc]\nissuer = "https://login.example.org"\nclient_id = "x"', "roles"),
        (
            '[oidc]\nissuer = "https://login.example.org"\nclient_id = "x"\n[oidc.roles]\na = ["aprover"]',
            "oidc.roles",
        ),
        ('public_url = "http://console.example.org"', "public_url"),
        ("local_accounts = false", ""),
        ("[[[", ""),
    ],
)
def test_settings_that_cannot_hold_are_told(tmp_path: Path, words: str, at: str) -> None:
    """A console does not start with settings that it does not understand, or with which nobody could sign in."""
    (tmp_path / "console.toml").write_text(words)
    error, _ = _run("--folder", str(tmp_path), "--port", "0")

    assert isinstance(error, SettingsError)
    assert at in error.facts.get("at", "")


@pytest.mark.slow
def test_a_console_answers_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """The command prints where it listens, shows the sign-in, and ends with 0 on SIGTERM."""
    where = ["--folder", str(tmp_path / "console"), "--root", str(tmp_path), "--port", "0"]
    command = [sys.executable, "-m", "recert", "console", *where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().strip()
        page = httpx2.get(f"{url}sign-in", trust_env=False)
        process.send_signal(signal.SIGTERM)
        talk = process.stderr.read()
        code = process.wait(20)

    assert page.status_code == 200
    assert "recert console accounts add" in talk
    assert code == 0
