"""What a gateway tells of its requests: counts, lines, spans and names."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gateways import MODEL, ScriptedUpstream, ask, ask_stream, client, gateway, make_gateway_policy
from recert.errors import SettingsError
from recert.gateway.access.keys import ApiKeys
from recert.gateway.serving.connections import Connections
from recert.gateway.serving.edge_config import EdgeConfig
from recert.gateway.serving.limits import ServerLimits

PIECES = ["one ", "two ", "three "]
KEY = "0123456789abcdef0123"


def counts(page: str) -> dict[str, float]:
    """Return the samples of a page by name and labels."""
    lines = [line for line in page.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_counts_say_what_happened(tmp_path: Path) -> None:
    """Requests by route and status, exchanges by decision, tokens, blocks, and how things stand."""
    policy = make_gateway_policy(forbidden_phrases=("open sesame",))
    with gateway(tmp_path, lambda _: PIECES, policy=policy) as (server, _), client(server) as made:
        ask(made)
        ask_stream(made)
        ask(made, "say open sesame")
        with pytest.raises(openai.BadRequestError):
            ask(made, n=3)
        httpx.get(server.url + "/no/such/route/" + "x" * 50)
        answer = httpx.get(server.metrics_url)
    found = counts(answer.text)

    assert answer.headers["content-type"].startswith("text/plain")
    assert found['recert_requests_total{route="/v1/chat/completions",status="200"}'] == 3
    assert found['recert_requests_total{route="/v1/chat/completions",status="400"}'] == 1
    assert found['recert_requests_total{route="other",status="404"}'] == 1
    exchanges = {
        re.sub(r'.*decision="([^"]*)".*reason="([^"]*)".*', r"\1 \2", name): value
        for name, value in found.items()
        if name.startswith("recert_exchanges_total")
    }
    assert exchanges == {"released ": 2, "blocked-input forbidden-phrase": 1, "refused not_certified": 1}
    assert found[f'recert_tokens_total{{model="{MODEL}",of="reply"}}'] == 6
    assert found['recert_control_blocks_total{control="lexicon",direction="input",shadow="false"}'] == 1
    assert found[f'recert_first_release_seconds_count{{model="{MODEL}"}}'] == 2
    assert found[f'recert_serving{{model="{MODEL}"}}'] == 1
    assert found["recert_running_requests"] == 1
    assert found["recert_connections"] >= 1


def test_no_client_can_make_labels(tmp_path: Path) -> None:
    """Hundreds of paths, models, methods and names of its own add no sample beyond the first of each kind."""
    with gateway(tmp_path, lambda _: PIECES) as (server, _), httpx.Client() as web:

        def ask_for(at: int) -> None:
            web.get(f"{server.url}/v1/models/{at}")
            web.get(f"{server.url}/path-{at}", headers={"x-request-id": f"name-{at}"})
            web.request(f"M{at}", f"{server.url}/status")
            body = {"model": f"model-{at}", "messages": [], f"field-{at}": 1}
            web.post(f"{server.url}/v1/chat/completions", json=body)

        ask_for(0)
        before = len(counts(web.get(server.metrics_url).text))
        for at in range(1, 60):
            ask_for(at)
        after = counts(web.get(server.metrics_url).text)

    assert len(after) <= before + 20  # those of /metrics itself
    assert not [name for name in after if re.search(r"(path|model|field|name)-\d", name)]


def test_counts_need_a_key_that_may(tmp_path: Path) -> None:
    """As a route the counts are for keys; at an address of their own for whoever reaches it, and nowhere else."""
    keys = ApiKeys([f"team:{KEY}"])
    with gateway(tmp_path / "a", lambda _: PIECES, keys=keys) as (server, _):
        statuses = [
            httpx.get(server.metrics_url, headers=headers).status_code
            for headers in ({}, {"authorization": f"Bearer {KEY}"})
        ]
    with gateway(tmp_path / "b", lambda _: PIECES, keys=keys, front=EdgeConfig(metrics="127.0.0.1:0")) as (
        server,
        _,
    ):
        with client(server, KEY) as made:
            ask(made)
        apart = httpx.get(server.metrics_url)
        elsewhere = [httpx.get(server.metrics_url[: -len("/metrics")] + path) for path in ("/", "/v1/models")]
        missing = httpx.get(server.url + "/metrics", headers={"authorization": f"Bearer {KEY}"})

    assert statuses == [401, 200]
    assert "recert_exchanges_total" in apart.text
    assert [one.status_code for one in elsewhere] == [404, 404]
    assert missing.status_code == 404


@pytest.mark.parametrize("given", ["9100", "localhost:", "localhost:99999", ":9100"])
def test_an_address_for_counts_that_is_none_is_refused(tmp_path: Path, given: str) -> None:
    """The gateway does not start without the counts that were asked for."""
    with pytest.raises(SettingsError), gateway(tmp_path, lambda _: PIECES, front=EdgeConfig(metrics=given)):
        pass


def test_one_line_a_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every request, refused ones too, has one line: who, what, decided how, how long; and no text of it."""
    caplog.set_level(logging.INFO, "recert.requests")
    keys = ApiKeys([f"team:{KEY}"])
    with gateway(tmp_path, lambda _: PIECES, keys=keys) as (server, _):
        with client(server, KEY) as made:
            ask_stream(made, "a very private question", extra_headers={"x-request-id": "mine-1"})
        httpx.get(server.url + "/v1/models")
        httpx.get(server.url + "/healthz")
    first, second = [
        json.loads(record.message) for record in caplog.records if record.name == "recert.requests"
    ]

    assert (first["client"], first["route"], first["status"]) == ("team", "/v1/chat/completions", 200)
    assert (first["decision"], first["streamed"], first["total_tokens"]) == ("released", True, 10)
    assert 0 < first["first_release_seconds"] <= first["seconds"]
    assert first["client_request_id"] == "mine-1"
    assert (second["status"], second["code"], second["client"]) == (401, "invalid_api_key", "")
    assert "private" not in caplog.text and "three" not in caplog.text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"x-request-id": "abc-123"}, "abc-123"),
        ({"x-client-request-id": "abc", "x-request-id": "other"}, "abc"),
        ({"x-request-id": "a b"}, None),
        ({"x-request-id": "x" * 200}, None),
        ({"x-request-id": '"},{"forged": "line"}'}, None),
        ({}, None),
    ],
)
def test_a_client_may_name_its_request(tmp_path: Path, given: dict[str, str], expected: str | None) -> None:
    """A plain name comes back beside the gateway's own; anything else is left out, and ours is never theirs."""
    with gateway(tmp_path, lambda _: PIECES) as (server, _):
        answer = httpx.get(server.url + "/v1/models", headers=given)

    assert answer.headers.get("x-client-request-id") == expected
    assert re.fullmatch(r"[0-9a-f]{24}", answer.headers["x-request-id"])


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """Run what an OpenTelemetry collector is to us; give its URL and the spans that came."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans: list[Any] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found = ExportTraceServiceRequest()
            data = self.rfile.read(int(self.headers["content-length"]))
            if self.headers["content-encoding"] == "gzip":
                import gzip

                data = gzip.decompress(data)
            found.ParseFromString(data)
            spans.extend(
                (span, one.resource)
                for one in found.resource_spans
                for scope in one.scope_spans
                for span in scope.spans
            )
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


def attributes(holder: Any) -> dict[str, Any]:
    """Return attributes as Python values."""

    def value(one: Any) -> Any:
        kind = one.WhichOneof("value")
        found = getattr(one, kind)
        return [value(part) for part in found.values] if kind == "array_value" else found

    return {one.key: value(one.value) for one in holder.attributes}


def test_spans_follow_the_conventions_for_generative_ai(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each exchange is a span in the client's trace, with model, tokens and ends, and no text."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra `otel` is not installed")
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with collector() as (url, spans):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        with (
            gateway(tmp_path, lambda _: PIECES, front=EdgeConfig(traces=True)) as (server, _),
            client(server) as made,
        ):
            ask_stream(made, "a very private question", max_tokens=50, extra_headers={"traceparent": trace})
            with pytest.raises(openai.BadRequestError):
                ask(made, n=3)
    (good, resource), (bad, _) = spans
    said = attributes(good)

    assert (good.name, good.kind) == (f"chat {MODEL}", good.SPAN_KIND_CLIENT)
    assert (good.trace_id.hex(), good.parent_span_id.hex()) == tuple(trace.split("-")[1:3])
    assert attributes(resource)["service.name"] == "recert"
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "recert",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.response.model": MODEL,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "recert.decision": "released",
        "recert.certificate.serial": "0123456789abcdef" * 2,
    }
    assert {name: said.get(name) for name in expected} == expected
    assert 0 < said["gen_ai.response.time_to_first_chunk"] < 10
    assert good.end_time_unix_nano > good.start_time_unix_nano
    assert "error.type" not in said
    assert (attributes(bad)["error.type"], bad.status.code) == ("not_certified", bad.status.STATUS_CODE_ERROR)
    assert "private" not in str(spans)


def test_a_collector_that_is_gone_costs_no_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans that cannot be sent are lost; requests are answered."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra `otel` is not installed")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with (
        gateway(tmp_path, ScriptedUpstream(lambda _: PIECES), front=EdgeConfig(traces=True)) as (server, _),
        client(server) as made,
    ):
        assert ask_stream(made) == ("one two three ", "stop")


def test_addresses_of_one_network_count_together() -> None:
    """A /64 of IPv6 is one address; of IPv4 each is one."""
    connections = Connections(ServerLimits(connections_per_address=1))

    class One:
        def look(self, now: float) -> None:
            """Nothing to see."""

    found = [
        connections.enter(One(), address)
        for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1", "2001:db8::2")
    ]

    assert [error and error.status for error in found] == [None, None, None, None, 429]
