"""The console in the process of a tuning service."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from console_world import ADA, Browser
from recert.console.app import HEADERS
from recert.console.assembling import ConsoleOptions
from recert.console.beside import console_beside
from recert.errors import GatewayError
from recert.service.stage import prepare_service
from service_desks import settings_of
from tuning_services import Service


def test_the_console_and_the_service_answer_their_own_paths(tmp_path: Path) -> None:
    """People sign in on `/console`, clients ask with their keys on `/v1`, and neither has the other's doors."""
    service = Service(tmp_path, tmp_path / "base")
    settings = settings_of(service)
    options = ConsoleOptions(
        settings.folder / "console", roots=(settings.folder / "jobs",), policy=settings.policy
    )
    (settings.folder / "jobs").mkdir(parents=True, exist_ok=True)
    made = []

    def kept(url: str):  # type: ignore[no-untyped-def]
        made.append(console_beside(options, host="127.0.0.1")(url))
        return made[0]

    server = prepare_service(settings, keys_file=tmp_path / "keys.json", workers=False, beside=kept)
    server.close()
    people = made[0].assembled.console.people
    people.accounts.add("ada", ["administrator"], password=people.passwords.hashed(ADA))
    key = {"authorization": f"Bearer {service.key}"}
    with TestClient(server.app, base_url=server.url, follow_redirects=False) as client:
        browser = Browser(client)
        stranger = browser.get("/console/accounts"), client.get("/v1/files"), client.get("/consoles")
        signed_in = browser.sign_in("ada", ADA)
        page, files = browser.get("/console/accounts"), client.get("/v1/files", headers=key)
        with_key = TestClient(server.app).get("/console/accounts", headers=key, follow_redirects=False)

    assert [answer.status_code for answer in stranger] == [303, 401, 404]
    assert (signed_in.status_code, page.status_code, files.status_code) == (303, 200, 200)
    assert page.headers["content-security-policy"] == HEADERS["content-security-policy"]
    assert "content-security-policy" not in files.headers
    assert with_key.status_code == 303
    assert people.public_url == server.url


def test_the_service_shows_no_console_to_a_network(tmp_path: Path) -> None:
    """It speaks no https, so beyond this machine a proxy is needed."""
    with pytest.raises(GatewayError) as caught:
        console_beside(ConsoleOptions(tmp_path), host="0.0.0.0")

    assert caught.value.reason == "open-bind"
    assert console_beside(ConsoleOptions(tmp_path), host="0.0.0.0", behind_proxy="10.0.0.1")
