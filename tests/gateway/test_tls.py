"""TLS and web pages: who may listen in, and which pages may ask."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextlib import closing
from pathlib import Path

import httpx
import openai
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from gateways import ask, ask_stream, gateway
from raw_http import read_all
from recert.errors import GatewayError, SettingsError
from recert.gateway.access.keys import ApiKeys
from recert.gateway.protocol.errors import HttpError
from recert.gateway.serving.edge_config import EdgeConfig
from recert.gateway.serving.limits import ServerLimits
from recert.gateway.serving.origins import Origins
from recert.gateway.serving.tls import Tls
from recert.gateway.upstream.http import UpstreamClient
from tls_files import make_certificate

PIECES = ["one ", "two "]
PAGE = "https://app.example.org"


def served_name(url: str) -> str:
    """Return the name in the certificate that a server shows."""
    host, _, port = url.removeprefix("https://").partition(":")
    pem = ssl.get_server_certificate((host, int(port)), timeout=5)
    name = x509.load_pem_x509_certificate(pem.encode()).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name[0].value)


def test_clients_are_answered_over_tls(tmp_path: Path) -> None:
    """The official client, plain and streaming, with the certificate checked; TLS 1.1 and plain HTTP are not spoken."""
    certificate, key = make_certificate(tmp_path, "one")
    with gateway(tmp_path, lambda _: PIECES, front=EdgeConfig(tls=Tls(certificate, key))) as (server, _):
        trusted = ssl.create_default_context(cafile=str(certificate))
        with (
            httpx.Client(verify=trusted) as web,
            openai.OpenAI(
                base_url=server.url + "/v1", api_key="none", http_client=web, max_retries=0
            ) as made,
        ):
            assert ask(made).choices[0].message.content == "one two "
            assert ask_stream(made) == ("one two ", "stop")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        host, port = "127.0.0.1", int(server.url.rpartition(":")[2])
        with socket.create_connection((host, port), timeout=5) as link:
            link.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            plain = read_all(link)
        with pytest.warns(DeprecationWarning):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
            old.minimum_version = ssl.TLSVersion.TLSv1_1
        with (
            socket.create_connection((host, port), timeout=5) as link,
            pytest.raises((ssl.SSLError, OSError)),
        ):
            old.wrap_socket(link)

    assert server.url.startswith("https://")
    assert b"HTTP/1.1 200" not in plain


@pytest.mark.slow
def test_a_new_certificate_is_taken_up_while_running(tmp_path: Path) -> None:
    """Files that do not belong together change nothing; whole ones are used for the next connections."""
    certificate, key = make_certificate(tmp_path, "one")
    with gateway(tmp_path, lambda _: PIECES, front=EdgeConfig(tls=Tls(certificate, key))) as (server, _):
        names = [served_name(server.url)]
        newer, its_key = make_certificate(tmp_path, "two")
        newer.replace(certificate)
        time.sleep(1.1)
        names.append(served_name(server.url))
        its_key.replace(key)
        time.sleep(1.1)
        names.append(served_name(server.url))

    assert names == ["one", "one", "two"]


def test_a_handshake_that_does_not_come_ends_the_connection(tmp_path: Path) -> None:
    """A client that connects and says nothing is cut after the time for headers."""
    certificate, key = make_certificate(tmp_path, "one")
    front = EdgeConfig(ServerLimits(headers_s=0.3), tls=Tls(certificate, key))
    with gateway(tmp_path, lambda _: PIECES, front=front) as (server, _):
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        with closing(socket.create_connection(address, timeout=5)) as link:
            assert read_all(link) == b""


def test_tls_files_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    """Missing files, another's key, no PEM, a passphrase: an error that names both files, and no question asked."""
    certificate, key = make_certificate(tmp_path, "one")
    _, other = make_certificate(tmp_path, "two")
    _, locked = make_certificate(tmp_path, "three", b"a passphrase")
    (tmp_path / "no.pem").write_text("no PEM")
    for pair in (
        (certificate, other),
        (certificate, locked),
        (certificate, tmp_path / "missing"),
        (tmp_path / "no.pem", key),
    ):
        with pytest.raises(GatewayError) as caught:
            Tls(*pair)

        assert caught.value.reason == "tls-unusable"
        assert str(pair[1]) in str(caught.value)


def test_no_web_page_may_ask_by_default(tmp_path: Path) -> None:
    """A browser's first question is refused, and no reply says that a page may read it."""
    with gateway(tmp_path, lambda _: PIECES) as (server, _):
        asked = httpx.options(
            server.url + "/v1/chat/completions",
            headers={"origin": PAGE, "access-control-request-method": "POST"},
        )
        read = httpx.get(server.url + "/v1/models", headers={"origin": PAGE})

    assert asked.status_code == 405
    assert not [name for name in (*asked.headers, *read.headers) if name.startswith("access-control")]


def test_listed_pages_may_ask(tmp_path: Path) -> None:
    """A listed origin is answered by name, another is not, and nobody is let in without a key."""
    keys = ApiKeys(["team:0123456789abcdef0123"])
    with gateway(tmp_path, lambda _: PIECES, keys=keys, front=EdgeConfig(origins=Origins([PAGE + "/"]))) as (
        server,
        _,
    ):
        url = server.url + "/v1/chat/completions"
        wanted = "Authorization, content-type, x-stainless-os, x-evil"
        first = {
            page: httpx.options(
                url,
                headers={
                    "origin": page,
                    "access-control-request-method": "POST",
                    "access-control-request-headers": wanted,
                },
            )
            for page in (PAGE, PAGE + ".evil.example", "null")
        }
        refused = httpx.get(server.url + "/v1/models", headers={"origin": PAGE})

    allowed = first[PAGE].headers
    assert [one.status_code for one in first.values()] == [204, 204, 204]
    assert allowed["access-control-allow-origin"] == PAGE
    assert allowed["access-control-allow-methods"] == "POST"
    assert allowed["access-control-allow-headers"] == "authorization, content-type, x-stainless-os"
    assert "access-control-allow-credentials" not in allowed
    others = [one.headers for page, one in first.items() if page != PAGE]
    assert not [name for found in others for name in found if name.startswith("access-control")]
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)
    assert refused.headers["vary"] == "Origin"


def test_every_page_needs_keys(tmp_path: Path) -> None:
    """`*` on a gateway without keys would hand the model to every page that this machine's user visits."""
    with (
        pytest.raises(GatewayError) as caught,
        gateway(tmp_path, lambda _: PIECES, front=EdgeConfig(origins=Origins(["*"]))),
    ):
        pass

    assert caught.value.reason == "open-origins"


@pytest.mark.parametrize(
    "given", ["app.example.org", "https://app.example.org/path", "https://*.example.org", ""]
)
def test_what_is_no_origin_is_refused(given: str) -> None:
    """A pattern or a path would never match, or match too much."""
    with pytest.raises(SettingsError):
        Origins([given])


def test_an_upstream_over_tls_is_asked_where_its_certificate_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what `SSL_CERT_FILE` trusts; one that nobody vouches for gets no request at all."""
    certificate, key = make_certificate(tmp_path, "upstream")
    asked = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async def ask() -> bytes:
        shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        shown.load_cert_chain(certificate, key)
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=shown) as server:
            client = UpstreamClient(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
            try:
                reply = await client.post(b"{}")
                return await reply.block()
            finally:
                client.close()

    with pytest.raises(HttpError) as refused:
        asyncio.run(ask())
    assert (refused.value.code, asked) == ("upstream-unreachable", [])

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    assert asyncio.run(ask()) == b"hello"
    assert len(asked) == 1
