"""The audit log: a line for every exchange, and no reply without one."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disks import full_disk
from gateways import ask, ask_stream, client, gateway, make_gateway_policy
from recert.digest import sha256_bytes
from recert.errors import RecertError, RecordError, StoreError
from recert.records.live.exchange import Exchange
from recert.records.record import now
from recert.store.audit.log import AuditLog, checkpoint_path, read_log, verify_log
from recert.store.audit.texts import TextStore, texts_path


def exchange(number: int = 1) -> Exchange:
    """Return a small exchange."""
    return Exchange(
        request_id=f"r{number}",
        client="local",
        certificate_serial="s",
        model_name="m",
        request_sha256=sha256_bytes(b"q"),
        reply_sha256=sha256_bytes(b"a"),
        decision="released",
        streamed=False,
        released_chars=1,
        seconds=0.1,
        received_at=now(),
    )


def write_log(path: Path, lines: int = 6) -> Path:
    """Write a log of some lines."""
    with AuditLog(path) as audit:
        for number in range(lines):
            audit.append(exchange(number))
    return path


def test_every_exchange_has_its_line_and_the_chain_holds(tmp_path: Path) -> None:
    """Released, streamed, blocked and refused requests are in the log, by digest only."""
    policy = make_gateway_policy(forbidden_phrases=("napalm",))
    with (
        gateway(tmp_path, lambda m: [m[-1]["content"], " indeed"], policy=policy) as (server, _),
        client(server) as made,
    ):
        ask(made, "fine words")
        ask_stream(made, "fine words")
        ask(made, "napalm")
        with pytest.raises(openai.BadRequestError):
            ask(made, extra_body={"best_of": 2})
    path = tmp_path / "audit.jsonl"
    lines = read_log(path)

    assert verify_log(path) == 5
    assert [x.body["decision"] for x in lines] == [
        "released",
        "opened",
        "released",
        "blocked-input",
        "refused",
    ]
    assert lines[1].body["request_id"] == lines[2].body["request_id"]
    assert (
        sha256_bytes(b"fine words indeed") == lines[0].body["reply_sha256"] == lines[2].body["reply_sha256"]
    )
    assert path.stat().st_mode & 0o077 == 0
    assert "fine words" not in path.read_text()


def test_texts_are_kept_beside_the_log_where_that_was_asked_for(tmp_path: Path) -> None:
    """The digests of every line lead to the request as it came and to exactly what was released, streams included."""
    policy = make_gateway_policy(forbidden_phrases=("napalm",))

    def script(messages: list[dict[str, str]]) -> list[str]:
        return ["Here: ", messages[-1]["content"], " napalm", " and more"]

    with (
        gateway(tmp_path, script, policy=policy, keep_texts=True) as (server, _),
        client(server) as made,
    ):
        ask(made, "first words")
        ask_stream(made, "second words")
        ask(made, "napalm")
    with (
        pytest.raises(openai.BadRequestError),
        gateway(tmp_path, script) as (server, _),
        client(server) as made,
    ):
        ask(made, "not kept", extra_body={"best_of": 2})
    path = tmp_path / "audit.jsonl"
    kept = TextStore(path, existing=True)
    found = []
    for line in read_log(path):
        texts = kept.read([line.body["request_sha256"], line.body["reply_sha256"]])
        request = texts.get(line.body["request_sha256"])
        asked = json.loads(request)["messages"][-1]["content"] if request else None
        found.append((line.body["decision"], asked, texts.get(line.body["reply_sha256"])))
    kept.close()

    assert found == [
        ("blocked-output", "first words", b""),
        ("opened", "second words", b""),
        ("blocked-output", "second words", b"Here: second words "),
        ("blocked-input", "napalm", b""),
        ("refused", None, b""),
    ]
    assert texts_path(path).stat().st_mode & 0o777 == 0o600
    assert "words" not in path.read_text()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_change_of_a_log_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A byte changed, a line taken out, doubled or moved, the end cut off: the log is refused."""
    folder = tmp_path_factory.getbasetemp() / "changed"
    path = folder / "log.jsonl"
    if not path.exists():
        write_log(path)
    raw = path.read_bytes()
    lines = raw.splitlines(keepends=True)
    other = folder / "other.jsonl"
    checkpoint_path(other).write_bytes(checkpoint_path(path).read_bytes())
    how = data.draw(st.sampled_from(["flip", "drop", "double", "swap", "cut", "tail"]))
    at = data.draw(st.integers(0, len(lines) - 1))
    if how == "flip":
        index = data.draw(st.integers(0, len(raw) - 1))
        changed = raw[:index] + bytes([raw[index] ^ 1]) + raw[index + 1 :]
    elif how == "cut":
        changed = raw[: data.draw(st.integers(0, len(raw) - 1))]
    elif how == "tail":
        changed = b"".join(lines[:at])
    elif how == "drop":
        changed = b"".join(lines[:at] + lines[at + 1 :])
    elif how == "double":
        changed = b"".join(lines[: at + 1] + lines[at:])
    else:
        changed = b"".join(lines[:at] + lines[at + 1 :] + lines[at : at + 1]) if at < 5 else raw[::-1]
    other.write_bytes(changed)

    with pytest.raises(RecordError):
        verify_log(other)


def test_a_log_without_its_checkpoint_is_refused(tmp_path: Path) -> None:
    """Taking the checkpoint away does not hide that the end was cut off."""
    path = write_log(tmp_path / "log.jsonl")
    checkpoint_path(path).unlink()

    with pytest.raises(RecertError):
        verify_log(path)
    with pytest.raises(RecertError):
        AuditLog(path)


def test_a_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Opened again, the chain continues; written by many threads, it stays one chain."""
    path = write_log(tmp_path / "log.jsonl", 2)
    with AuditLog(path) as audit, ThreadPoolExecutor(8) as pool:
        numbers = sorted(pool.map(lambda n: audit.append(exchange(n)), range(100)))

    assert list(range(3, 103)) == numbers
    assert verify_log(path) == 102


def test_one_process_writes_a_log_at_a_time(tmp_path: Path) -> None:
    """A second writer is refused."""
    path = tmp_path / "log.jsonl"
    with AuditLog(path), pytest.raises(StoreError):
        AuditLog(path)


def test_a_line_cut_by_a_crash_is_taken_off_and_told(tmp_path: Path) -> None:
    """What no reply waited for is dropped at the next start, and a line says so."""
    path = write_log(tmp_path / "log.jsonl", 2)
    with path.open("ab") as file:
        file.write(b'{"seq":3,"prev"')
    AuditLog(path).close()
    lines = read_log(path)

    assert [line.kind for line in lines] == ["exchange", "exchange", "recovered"]
    assert {"dropped_sha256": sha256_bytes(b'{"seq":3,"prev"')} == lines[-1].body


def test_a_full_disk_leaves_the_log_whole(tmp_path: Path) -> None:
    """A line that does not fit is not half-written: the log verifies, and goes on once there is room."""
    path = tmp_path / "log.jsonl"
    with AuditLog(path) as audit:
        audit.append(exchange())
        with full_disk(path.stat().st_size + 20), pytest.raises(StoreError):
            audit.append(exchange())
        whole = verify_log(path)
        audit.append(exchange())

    assert whole == 1
    assert verify_log(path) == 2


def test_no_reply_leaves_without_its_audit_line(tmp_path: Path) -> None:
    """When the disk is full, requests get 503, plain and streamed; when it is not, they are served."""
    with gateway(tmp_path, lambda _: ["the ", "answer"]) as (server, _), client(server) as made:
        ask(made)
        with full_disk((tmp_path / "audit.jsonl").stat().st_size + 20):
            plain = httpx.post(server.url + "/v1/chat/completions", json=body(stream=False))
            streamed = httpx.post(server.url + "/v1/chat/completions", json=body(stream=True))
        again = ask(made).choices[0].message.content

    for found in (plain, streamed):
        assert (found.status_code, found.json()["error"]["code"]) == (503, "audit-unavailable")
        assert "answer" not in found.text
    assert again == "the answer"
    assert verify_log(tmp_path / "audit.jsonl") == 2


def body(*, stream: bool) -> dict[str, object]:
    """Return a request."""
    return {"model": "test-model", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}


def test_a_stream_ends_with_an_error_when_its_last_line_cannot_be_written(tmp_path: Path) -> None:
    """A stream that began before the disk was full does not end as if all was well."""
    with gateway(tmp_path, lambda _: ["the ", "answer"]) as (server, _), client(server) as made:
        ask_stream(made)
        path = tmp_path / "audit.jsonl"
        first = path.read_bytes().splitlines(keepends=True)[0]
        with full_disk(path.stat().st_size + len(first) + 30), pytest.raises(openai.APIError) as caught:
            ask_stream(made)

    assert caught.value.code == "audit-unavailable"
