"""Searching a large audit log: nothing is missed, and no more is read than was allowed."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logs import audit_key, exchange, plan, write_log
from recert.certification import PublicKey
from recert.digest import sha256_bytes
from recert.errors import RecordError
from recert.store.audit.chain import GENESIS, next_line
from recert.store.audit.checkpoints import signed_path
from recert.store.audit.log import AuditLog, read_log
from recert.store.audit.proof import prove_line
from recert.store.audit.search import Place, Wanted, lines_from, log_files, search_back


def long_log(path: Path, lines: int, *, every: int = 0) -> Path:
    """Write a log's file by hand, quickly: line N is of request `rN`, by client `cN % 7`, in second N."""
    prev, out = GENESIS, []
    parts: list[tuple[Path, list[bytes]]] = []

    for number in range(1, lines + 1):
        day, hour, minute = 1 + number // 86400, number // 3600 % 24, number // 60 % 60
        at = f'"2026-11-{day:02d}T{hour:02d}:{minute:02d}:{number % 60:02d}Z"'
        body = f'{{"request_id":"r{number}","client":"c{number % 7}","decision":"released"}}'
        raw = next_line(number - 1, prev, "exchange", at.encode(), body.encode())
        prev = sha256_bytes(raw)
        out.append(raw + b"\n")
        if every and number % every == 0 and number < lines:
            first = number - len(out) + 1
            parts.append((path.with_name(f"{path.name}.{first:012d}"), out))
            out = []
    for where, held in [*parts, (path, out)]:
        where.write_bytes(b"".join(held))
    return path


def every(path: Path, wanted: Wanted, **asked: int) -> tuple[list[int], int]:
    """Return the numbers of all lines that a search finds page by page, and how many pages that took."""
    found: list[int] = []
    place, pages = None, 0
    while pages < 1000:
        some = search_back(path, wanted, place=place, **asked)
        found += [line.seq for line in some.lines]
        pages += 1
        if some.next is None:
            return found, pages
        place = Place.read(some.next.text())
    raise AssertionError("the search does not end")


@settings(deadline=None, max_examples=40)
@given(
    lines=st.integers(0, 60),
    segment=st.sampled_from([0, 1, 3, 10]),
    most=st.integers(1, 9),
    budget=st.sampled_from([1, 150, 1000, 10**6]),
    client=st.sampled_from(["", "c0", "c3", "nobody"]),
)
def test_page_by_page_every_line_is_found_once_the_newest_first(
    lines: int, segment: int, most: int, budget: int, client: str
) -> None:
    """
    However small the pages and the bytes that may be read, however often the log was put aside: all lines, in order.
    """
    with TemporaryDirectory() as folder:
        path = long_log(Path(folder) / "audit.jsonl", lines, every=segment)
        expected = [n for n in range(lines, 0, -1) if client in ("", f"c{n % 7}")]

        assert every(path, Wanted(client=client), most=most, most_bytes=budget)[0] == expected


@settings(deadline=None, max_examples=40)
@given(lines=st.integers(1, 40), segment=st.sampled_from([0, 1, 7]), seq=st.integers(1, 45))
def test_lines_are_read_from_any_number_on(lines: int, segment: int, seq: int) -> None:
    """
    From a number on the lines are those of the log, over all of its files; behind its end there are none.
    """
    with TemporaryDirectory() as folder:
        path = long_log(Path(folder) / "audit.jsonl", lines, every=segment)
        whole = b"".join(
            b"".join(part.path.read_bytes().splitlines(keepends=True)) for part in log_files(path)
        )

        assert b"".join(lines_from(path, seq)) == b"".join(whole.splitlines(keepends=True)[seq - 1 :])


def test_a_log_that_is_put_aside_between_two_pages_is_gone_on_with(tmp_path: Path) -> None:
    """
    A place names the file by its first line: that the file has another name by then changes nothing.
    """
    path = long_log(tmp_path / "audit.jsonl", 30)
    first = search_back(path, Wanted(), most=10)
    path.rename(tmp_path / "audit.jsonl.000000000001")
    path.write_bytes(b"")

    second = search_back(path, Wanted(), place=first.next, most=10)

    assert [line.seq for line in second.lines] == list(range(20, 10, -1))


def test_a_time_is_found_by_halving(tmp_path: Path) -> None:
    """
    Lines of one minute in the middle are found without reading those behind it, and the search ends before it.
    """
    path = long_log(tmp_path / "audit.jsonl", 5000, every=1000)

    found = search_back(path, Wanted(since="2026-11-01T00:40", until="2026-11-01T00:40"), most=100)

    assert [line.seq for line in found.lines] == list(range(2459, 2399, -1))
    assert (found.looked_at, found.next) == (61, None)


def test_half_a_line_at_the_end_is_passed_over(tmp_path: Path) -> None:
    """
    A line that is being written is none yet: the search begins with the last whole one.
    """
    path = long_log(tmp_path / "audit.jsonl", 3)
    with path.open("ab") as file:
        file.write(b'{"seq":4,"prev"')

    assert every(path, Wanted())[0] == [3, 2, 1]


def test_a_line_that_is_none_is_an_error_and_not_left_out(tmp_path: Path) -> None:
    """
    Damage is told: a search does not pass over what it cannot read.
    """
    path = long_log(tmp_path / "audit.jsonl", 3)
    path.write_bytes(path.read_bytes().replace(b'"body":{"request_id":"r2"', b'"body":["request_id":"r2"'))

    with pytest.raises(RecordError):
        every(path, Wanted())


def test_a_page_of_a_large_log_is_quick(tmp_path: Path) -> None:
    """
    A page reads 8 MiB at most of a log of 12 MB, wherever it begins, and a line is found by halving.
    """
    path = long_log(tmp_path / "audit.jsonl", 60_000)

    begun = time.process_time()
    found = search_back(path, Wanted(client="nobody"))
    proof = prove_line(path, 30_000, lambda _: None)
    took_s = time.process_time() - begun

    assert found.next is not None
    assert proof is not None
    assert proof.line.body["request_id"] == "r30000"
    assert took_s < 1


@pytest.mark.parametrize("text", ["", "1", "-", "a-b", "1-2-3", "9" * 50, "-1-2", "١-٢"])
def test_what_is_no_place_is_the_end(text: str) -> None:
    """
    A place in an address that was changed by hand begins the search anew.
    """
    assert Place.read(text) is None


def keyed(tmp_path: Path) -> tuple[Path, PublicKey]:
    """Write a log of 25 lines with a signed checkpoint every ten, and at its end."""
    key = audit_key(tmp_path)
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, node="node-a", checkpoints=plan(key, every_lines=10)) as audit:
        for number in range(25):
            audit.append(exchange(number))
    return path, key.public


@pytest.mark.parametrize(("seq", "at"), [(1, 10), (10, 10), (11, 20), (25, 25)])
def test_a_line_is_proven_by_the_first_checkpoint_that_covers_it(tmp_path: Path, seq: int, at: int) -> None:
    """
    The chain leads from the line to the checkpoint that a trusted key signed.
    """
    path, key = keyed(tmp_path)

    proof = prove_line(path, seq, lambda key_id: key if key_id == key.key_id else None)

    assert proof is not None
    assert proof.checkpoint is not None
    assert (proof.holds, proof.checkpoint.seq) == (True, at)
    assert proof.line == read_log(path)[seq - 1]


@pytest.mark.parametrize("changed", range(1, 21))
def test_a_line_that_was_changed_is_not_proven(tmp_path: Path, changed: int) -> None:
    """
    Who rewrites a line up to a checkpoint, and the chain behind it, breaks the proof of every line from there to it.
    """
    path, key = keyed(tmp_path)
    lines = path.read_bytes().splitlines()
    forged, prev = lines[: changed - 1], GENESIS if changed == 1 else None

    prev = prev or sha256_bytes(forged[-1])
    for number, raw in enumerate(lines[changed - 1 :], start=changed):
        body = raw.partition(b'"body":')[2][:-1]
        body = body.replace(b'"released"', b'"refused!"') if number == changed else body
        at = raw.partition(b'"at":')[2].partition(b',"body"')[0]
        forged.append(next_line(number - 1, prev, "exchange", at, body))
        prev = sha256_bytes(forged[-1])
    path.write_bytes(b"".join(raw + b"\n" for raw in forged))

    proof = prove_line(path, changed, lambda _: key)

    assert proof is not None
    assert (proof.chained, proof.holds) == (True, False)


def test_a_checkpoint_by_an_unknown_key_proves_nothing(tmp_path: Path) -> None:
    """
    Without the key that signs them checkpoints do not count, and the words say so.
    """
    path, _ = keyed(tmp_path)

    proof = prove_line(path, 3, lambda _: None)

    assert proof is not None
    assert proof.holds is False
    assert "its key is not trusted in the role audit" in proof.words


def test_a_line_behind_the_newest_checkpoint_is_not_proven(tmp_path: Path) -> None:
    """
    What no checkpoint covers yet could still be changed by who can write the log: it is not called proven.
    """
    path, key = keyed(tmp_path)
    beside = signed_path(path)
    beside.write_bytes(b"".join(beside.read_bytes().splitlines(keepends=True)[:-1]))

    proof = prove_line(path, 25, lambda _: key)

    assert proof is not None
    assert (proof.checkpoint, proof.holds) == (None, False)


def test_a_line_that_is_not_there_is_none(tmp_path: Path) -> None:
    """
    A number that the log has not reached, and one that was moved away, give nothing.
    """
    path = write_log(tmp_path / "audit.jsonl", 3)

    assert prove_line(path, 4, lambda _: None) is None
    assert prove_line(path, 0, lambda _: None) is None
