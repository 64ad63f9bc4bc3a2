"""A transparency log on disk: crashes, damage and two writers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import NOW
from recert.digest import sha256_bytes
from recert.errors import InputError, RecordError, StoreError
from recert.records.signed.transparency import LogEntry
from recert.store.transparency.folder import ENTRIES, LogFolder, create_log
from recert.store.transparency.merkle import is_consistent, is_included, leaf_hash

QUICK = ("offsets", "hashes")


def entry(number: int) -> LogEntry:
    """One entry, unlike others."""
    return LogEntry(
        kind="certificate", sha256=sha256_bytes(b"%d" % number), serial=f"{number:032x}", logged_at=NOW
    )


def made(folder: Path, entries: int = 0) -> Path:
    """A log with so many entries."""
    create_log(folder, "example.com/models")
    with LogFolder(folder, write=True) as log:
        log.append([entry(i) for i in range(entries)])
    return folder


def root_of(folder: Path) -> tuple[int, bytes]:
    """Size and root, as a reader sees them."""
    with LogFolder(folder) as log:
        return log.size, log.root()


def test_what_is_appended_can_be_read_found_and_proven(tmp_path: Path) -> None:
    """Entries come back as they were, one by one and all, with proofs that hold at every size."""
    folder = made(tmp_path / "log")
    with LogFolder(folder, write=True) as log:
        first = log.append([entry(0), entry(1)])
        second = log.append([entry(i) for i in range(2, 9)])
    with LogFolder(folder) as log:
        log.require_as_hashed()
        leaves = list(log.leaves())
        roots = [log.root(size) for size in range(10)]

        assert (list(first), list(second)) == ([0, 1], [2, 3, 4, 5, 6, 7, 8])
        assert leaves == [entry(i).to_json() for i in range(9)] == [log.leaf(i) for i in range(9)]
        assert [log.find(entry(i).sha256) for i in (0, 8, 9)] == [0, 8, None]
        assert all(
            is_included(leaf_hash(leaves[i]), i, n, log.inclusion(i, n), roots[n])
            for n in range(1, 10)
            for i in range(n)
        )
        assert all(
            is_consistent(m, roots[m], n, roots[n], log.consistency(m, n))
            for n in range(10)
            for m in range(n + 1)
        )
        for asked in (
            lambda: log.root(10),
            lambda: log.inclusion(9),
            lambda: log.consistency(5, 4),
            lambda: log.leaf(9),
        ):
            with pytest.raises(RecordError):
                asked()


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), lost=st.sampled_from([(), ("hashes",), QUICK])
)
@settings(max_examples=40, deadline=None)
def test_the_files_that_make_it_quick_can_be_lost(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], lost: tuple[str, ...]
) -> None:
    """However it was appended to, the log alone gives the same tree again, to readers and to the next writer."""
    folder = made(tmp_path_factory.mktemp("logs") / "log")
    total = 0
    for size in sizes:
        with LogFolder(folder, write=True) as log:
            log.append([entry(total + i) for i in range(size)])
        total += size
    before = root_of(folder)
    for name in lost:
        (folder / name).unlink()
    reader = root_of(folder)
    with LogFolder(folder, write=True) as log:
        log.append([entry(total)])
        log.require_as_hashed()
        after = log.root(total)

    assert before == reader == (total, after)


@pytest.mark.slow
@given(cut=st.integers(1, 200), quick=st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_a_crash_loses_no_whole_entry(tmp_path_factory: pytest.TempPathFactory, cut: int, quick: int) -> None:
    """Whatever part of the last write reached the disk, whole entries stay and a torn one is removed and reported."""
    folder = made(tmp_path_factory.mktemp("logs") / "log", 5)
    before = root_of(folder)
    sizes = {name: (folder / name).stat().st_size for name in QUICK}
    line = entry(5).to_json() + b"\n"
    part = line[:cut]
    with LogFolder(folder, write=True) as log:
        log.append([entry(5)])
    with (folder / ENTRIES).open("r+b") as file:
        file.truncate((folder / ENTRIES).stat().st_size - len(line) + len(part))
    for name, kept in zip(QUICK, (0, min(quick, 5)), strict=True):  # ends are written last
        with (folder / name).open("r+b") as file:
            file.truncate(sizes[name] + kept)
    reader = root_of(folder)
    with LogFolder(folder, write=True) as log:
        whole = part.endswith(b"\n")
        torn, size, root = log.torn, log.size, log.root(5)
        log.append([entry(6)])
        log.require_as_hashed()
        last = log.leaf(log.size - 1)

    assert (torn, size) == ((b"", 6) if whole else (part, 5))
    assert (5, root) == before
    assert reader[0] == size
    assert last == entry(6).to_json()


def test_a_log_that_was_cut_or_changed_is_noticed(tmp_path: Path) -> None:
    """Whole entries that are gone are no torn line; a changed one is found by its hash."""
    folder = made(tmp_path / "log", 6)
    data = (folder / ENTRIES).read_bytes()
    lines = data.splitlines(keepends=True)
    (folder / ENTRIES).write_bytes(b"".join(lines[:4]))
    for write in (False, True):
        with pytest.raises(RecordError, match="shorter"):
            LogFolder(folder, write=write)
    changed = data.replace(entry(2).serial.encode(), entry(7).serial.encode())
    (folder / ENTRIES).write_bytes(changed)
    with LogFolder(folder) as log:
        with pytest.raises(RecordError, match="not what was written"):
            log.leaf(2)
        with pytest.raises(RecordError, match="not what was written") as caught:
            log.require_as_hashed()
    for damage in (b"nonsense\n", lines[0].replace(b'"kind"', b'"king"'), b" " + lines[0], b"\n"):
        (folder / ENTRIES).write_bytes(data + damage)
        with pytest.raises(RecordError, match="a line that is none"):
            LogFolder(folder, write=True)
    (folder / ENTRIES).write_bytes(data)

    assert caught.value.facts["entry"] == "2"
    assert root_of(folder)[0] == 6


def test_two_writers_do_not_interleave(tmp_path: Path) -> None:
    """Processes that append at once wait for each other, and every entry is there once and whole."""
    folder = made(tmp_path / "log")
    code = (
        "import sys; from pathlib import Path; from datetime import UTC, datetime\n"
        "from recert.records.signed.transparency import LogEntry\n"
        "from recert.store.transparency.folder import LogFolder\n"
        "for i in range(25):\n"
        "    with LogFolder(Path(sys.argv[1]), write=True) as log:\n"
        "        log.append([LogEntry(kind='certificate', sha256='ab' * 32, serial=f'{sys.argv[2]}-{i}',"
        " logged_at=datetime.now(UTC))])\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(folder), name]) for name in ("a", "b")]
    codes = [process.wait(120) for process in running]
    with LogFolder(folder) as log:
        log.require_as_hashed()
        serials = [LogEntry.from_json(leaf).serial for leaf in log.leaves()]

    assert codes == [0, 0]
    assert sorted(serials) == sorted(f"{name}-{i}" for name in ("a", "b") for i in range(25))
    assert [s for s in serials if s.startswith("a")] == [f"a-{i}" for i in range(25)]


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that could not be synced is not in the log, and the next one is."""
    folder = made(tmp_path / "log", 3)
    data = (folder / ENTRIES).read_bytes()
    real = os.fsync

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with LogFolder(folder, write=True) as log:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="cannot write"):
            log.append([entry(3)])
        monkeypatch.setattr(os, "fsync", real)
        kept = (folder / ENTRIES).read_bytes()
        log.append([entry(4)])
        log.require_as_hashed()
        size = log.size

    assert kept == data
    assert size == 4


def test_a_log_has_a_name_and_a_folder_of_its_own(tmp_path: Path) -> None:
    """Names that no checkpoint can have, folders with something in them, and folders that are no log are refused."""
    for origin in ("", "a b", "a+b", "a\nb", "a\u00a0b"):
        with pytest.raises(InputError):
            create_log(tmp_path / "new", origin)
    made(tmp_path / "log")
    with pytest.raises(InputError):
        create_log(tmp_path / "log", "example.com/models")
    with pytest.raises(RecordError, match="no transparency log"):
        LogFolder(tmp_path / "none")
    (tmp_path / "log" / "log.json").write_bytes(b'{"origin":"x"}')
    with pytest.raises(RecordError):
        LogFolder(tmp_path / "log")
    with pytest.raises(InputError):
        LogFolder(made(tmp_path / "long"), write=True).append(
            [entry(0).model_copy(update={"serial": "x" * 70_000})]
        )
