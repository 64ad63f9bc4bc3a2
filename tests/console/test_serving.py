"""The console over real connections: https, and behind a proxy that speaks it."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import httpx2
import pytest

from console_world import ADA, QUICK
from recert.console.assembling import ConsoleOptions
from recert.console.serving import ConsoleServer
from recert.errors import GatewayError
from recert.store.console.passwords import Passwords
from tls_files import make_certificate


def _with_ada(server: ConsoleServer) -> None:
    people = server.assembled.console.people
    assert people is not None
    people.accounts.add("ada", ["administrator"], password=people.passwords.hashed(ADA))


def _signed_in(client: httpx2.Client, **headers: str) -> httpx2.Response:
    page = client.get("/console/sign-in", headers=headers)
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert found is not None
    form = {"csrf": found.group(1), "name": "ada", "password": ADA}
    return client.post("/console/sign-in", data=form, headers=headers)


def test_people_sign_in_over_https(tmp_path: Path) -> None:
    """With a certificate the address is https, cookies are for this host and https alone, and browsers remember it."""
    files = make_certificate(tmp_path, "console")
    trusted = ssl.create_default_context(cafile=str(files[0]))
    with ConsoleServer(ConsoleOptions(tmp_path / "c"), tls=files, passwords=Passwords(QUICK)) as server:
        _with_ada(server)
        with httpx2.Client(base_url=server.url, verify=trusted, trust_env=False) as client:
            done = _signed_in(client)
            page = client.get("/console/me")
        with pytest.raises(httpx2.TransportError):
            httpx2.get(server.url.replace("https:", "http:") + "/console/sign-in", trust_env=False)

    assert server.url.startswith("https://127.0.0.1:")
    assert done.headers["set-cookie"].startswith("__Host-recert-session=")
    assert "Secure" in done.headers["set-cookie"]
    assert page.status_code == 200
    assert page.headers["strict-transport-security"] == "max-age=31536000"


def test_files_that_are_no_certificate_are_refused(tmp_path: Path) -> None:
    """The console does not start, and lets go of its address."""
    (tmp_path / "none").write_text("no certificate")
    with pytest.raises(GatewayError) as caught:
        ConsoleServer(ConsoleOptions(tmp_path / "c"), tls=(tmp_path / "none", tmp_path / "none"))

    assert caught.value.reason == "tls-unusable"


@pytest.mark.parametrize(
    ("proxy", "address", "scheme"), [("127.0.0.1", "203.0.113.5", "https"), ("10.9.8.7", "127.0.0.1", "http")]
)
def test_only_the_proxy_says_who_asks(tmp_path: Path, proxy: str, address: str, scheme: str) -> None:
    """What comes from the proxy's address counts as it says; from any other it is a client like all."""
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / "console.toml").write_text('public_url = "https://console.example.org"\n')
    said = {"x-forwarded-for": "203.0.113.5", "x-forwarded-proto": "https"}
    with ConsoleServer(ConsoleOptions(folder), behind_proxy=proxy, passwords=Passwords(QUICK)) as server:
        _with_ada(server)
        with httpx2.Client(base_url=server.url, trust_env=False) as client:
            page = client.get("/console/sign-in", headers=said)
            found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
            assert found is not None
            cookie = page.headers["set-cookie"].partition(";")[0]
            form = {"csrf": found.group(1), "name": "ada", "password": ADA}
            done = client.post("/console/sign-in", data=form, headers={**said, "cookie": cookie})
        people = server.assembled.console.people
        assert people is not None
        sessions = people.sessions.of("ada")

    assert done.status_code == 303
    assert [one.address for one in sessions] == [address]
    assert ("strict-transport-security" in done.headers) == (scheme == "https")


def test_a_console_that_may_not_listen_leaves_nothing(tmp_path: Path) -> None:
    """Beyond this machine it takes https or a proxy; without either there is an error, and no folder."""
    with pytest.raises(GatewayError, match="beyond this machine"):
        ConsoleServer(ConsoleOptions(tmp_path / "c"), host="0.0.0.0")

    assert list(tmp_path.iterdir()) == []
