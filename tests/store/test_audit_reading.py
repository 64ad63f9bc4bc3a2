"""Reading audit logs: whatever a file holds, the answer is its lines or a refusal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logs import exchange, write_log
from recert.errors import RecordError, StoreError
from recert.store.audit.chain import next_line, read_line, walk
from recert.store.audit.file import raw_lines
from recert.store.audit.log import GENESIS, AuditLog, checkpoint_path
from recert.store.audit.reading import check_log, read_log, select

LINE = next_line(0, GENESIS, "exchange", b'"2026-01-01T00:00:00+00:00"', b'{"request_id":"r","client":"x"}')
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(raw=st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
@example(raw=LINE.replace(b'"seq":1', b'"seq":1,"seq":1'))
@example(raw=LINE.replace(b'"seq":1', b'"seq":true'))
@example(raw=LINE.replace(b'"seq":1', b'"seq":1.0'))
@example(raw=b"[" * 100_000)
@example(raw=b'{"seq":1,"prev":NaN}')
@example(raw=b'{"seq":1,"prev":"\xff"}')
def test_any_bytes_are_a_line_or_refused(raw: bytes) -> None:
    """No bytes make the reader do anything but return a line or raise RecordError."""
    with pytest.raises(RecordError):
        read_line(raw, "log", 1)


@settings(max_examples=200, deadline=None)
@given(
    value=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("seq", "prev", "kind", "body", "at", "x"), values)
    )
)
def test_a_line_of_other_types_is_refused(value: dict[str, object]) -> None:
    """Fields that are missing or of another type make no line."""
    raw = json.dumps(value).encode()
    if type(value.get("seq")) is int and isinstance(value.get("body"), dict) and "kind" in value:
        return

    with pytest.raises(RecordError):
        list(walk([raw + b"\n"], "log"))


@settings(max_examples=300, deadline=None)
@given(
    at=st.integers(0, len(LINE)),
    put=st.binary(max_size=8),
    cut=st.integers(0, 8),
)
def test_a_first_line_that_was_touched_is_another_line(at: int, put: bytes, cut: int) -> None:
    """Whatever is done to a line, its digest is another one, so that the next line or a checkpoint tells."""
    changed = LINE[:at] + put + LINE[at + cut :]
    try:
        line = read_line(changed, "log", 1)
    except RecordError:
        return

    assert (line.sha256 == read_line(LINE, "log", 1).sha256) == (changed == LINE)


def test_a_key_that_is_there_twice_is_refused_in_a_whole_log(tmp_path: Path) -> None:
    """Parsers differ on which one counts, so that two auditors would read two things."""
    path = write_log(tmp_path / "log.jsonl", 1)
    path.write_bytes(
        path.read_bytes().replace(b'"decision":"released"', b'"decision":"x","decision":"released"')
    )
    checkpoint_path(path).write_text(json.dumps({"seq": 0, "sha256": GENESIS}))

    with pytest.raises(RecordError):
        check_log(path)


def test_a_line_without_an_end_is_not_read_into_memory(tmp_path: Path) -> None:
    """16 MiB without an end of line are refused."""
    path = tmp_path / "log.jsonl"
    with path.open("wb") as file:
        file.truncate(64 * 1024 * 1024)

    with pytest.raises(RecordError):
        list(raw_lines(path))


def test_a_missing_log_cannot_be_read(tmp_path: Path) -> None:
    """No file is an error, and not an empty log."""
    with pytest.raises(StoreError):
        check_log(tmp_path / "no" / "log.jsonl")
    with pytest.raises(StoreError):
        check_log(tmp_path / "log.jsonl")


@pytest.mark.parametrize(
    "checkpoint", [b"", b"{}", b"[]", b'{"seq":true,"sha256":""}', b'{"seq":-1,"sha256":""}', b"\x00" * 128]
)
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, checkpoint: bytes) -> None:
    """A checkpoint that says nothing does not count as met."""
    path = write_log(tmp_path / "log.jsonl", 2)
    checkpoint_path(path).write_bytes(checkpoint)

    with pytest.raises(RecordError):
        check_log(path)
    with pytest.raises(RecordError):
        AuditLog(path)


def test_lines_are_selected_by_what_they_say(tmp_path: Path) -> None:
    """Every condition that is given must be met; times may be given in part."""
    path = tmp_path / "log.jsonl"
    with AuditLog(path) as log:
        log.append(exchange(1, client="a"))
        log.append(exchange(2, client="b", decision="refused", reason="expired"))
        log.append(exchange(3, client="b"))
    lines = read_log(path)
    day = lines[0].at[:10]

    def numbers(**asked: str) -> list[int]:
        return [line.seq for line in select(lines, **asked)]

    assert numbers() == [1, 2, 3]
    assert numbers(client="b") == [2, 3]
    assert numbers(client="b", decision="refused", reason="expired") == [2]
    assert numbers(request_id="r3", model="m") == [3]
    assert numbers(kind="recovered") == []
    assert numbers(since=day, until=day) == [1, 2, 3]
    assert numbers(since="9999") == numbers(until="2000") == []


def test_who_stops_waiting_does_not_stop_the_log(tmp_path: Path) -> None:
    """A request that is cut short while it waits for its line leaves the line, and others get theirs."""
    with AuditLog(tmp_path / "log.jsonl") as log:
        futures = [log.submit(exchange(number)) for number in range(50)]
        cancelled = [future.cancel() for future in futures[::2]]
        log.append(exchange(51))

    assert not any(cancelled)
    assert len(read_log(tmp_path / "log.jsonl")) == 51
