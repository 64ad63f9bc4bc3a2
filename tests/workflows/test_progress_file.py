"""Progress in a folder: what is there while work goes on, when it ends, and when it was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recert.errors import InputError, RecordError
from recert.workflows import progress_file
from recert.workflows.progress_file import FILE, STALE_S, ProgressFile, SeenProgress, read_progress


def seen(folder: Path) -> SeenProgress:
    """What is there now."""
    found = read_progress(folder / FILE)
    assert found is not None
    return found


def wait_for(folder: Path, note: str) -> SeenProgress:
    """What is there once the file has this note, or after 5 s."""
    end = time.monotonic() + 5
    while (found := seen(folder)).told.stages[-1:] == () or found.told.stages[-1].note != note:
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_progress_is_there_while_work_goes_on_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps with their times, how far the last is, and in the end that it ended."""
    monkeypatch.setattr(progress_file, "BEAT_S", 0.05)
    with ProgressFile(tmp_path, "sql", "run") as tell:
        tell.start("screen")
        tell.at(3, 9, "rows")
        running = wait_for(tmp_path, "rows")
        tell.start("tune")
    ended = seen(tmp_path)

    assert running.state == "running"
    assert (running.told.stages[0].done, running.told.stages[0].of) == (3, 9)
    assert ended.state == "ended"
    assert [stage.name for stage in ended.told.stages] == ["screen", "tune"]
    assert all(stage.ended_at for stage in ended.told.stages)


def test_work_that_could_not_answer_says_why(tmp_path: Path) -> None:
    """An error of ours in its words, any other by its name alone: it could hold anything."""
    told = []
    for error in (InputError("no rows are left"), ValueError("a secret")):
        with pytest.raises(type(error)), ProgressFile(tmp_path, "sql", "run"):
            (tmp_path / f"{type(error).__name__}.json").touch()
            raise error
        told.append((seen(tmp_path).state, seen(tmp_path).told.reason))

    assert told == [("failed", "no rows are left"), ("failed", "ValueError")]


def test_work_that_came_to_nothing_leaves_nothing(tmp_path: Path) -> None:
    """Where no step wrote anything the file goes, with a folder that was made for it; what lay there stays."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "status.json").touch()
    for name in ("there", "new"):
        with pytest.raises(InputError), ProgressFile(tmp_path / name, "sql", "run"):
            raise InputError("no such engine")

    assert [one.name for one in sorted(tmp_path.rglob("*"))] == ["there", "status.json"]


@pytest.mark.slow
def test_work_that_was_killed_is_told_from_work_that_is_slow(tmp_path: Path) -> None:
    """The file of a live process is touched although it says nothing new; that of a killed one goes stale."""
    script = (
        "import sys, time; from pathlib import Path\n"
        "from recert.workflows import progress_file\n"
        "progress_file.BEAT_S = 0.1\n"
        "with progress_file.ProgressFile(Path(sys.argv[1]), 'sql', 'run') as tell:\n"
        "    tell.start('tune'); print('up', flush=True); time.sleep(60)\n"
    )
    work = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        assert work.stdout is not None
        assert work.stdout.readline() == "up\n"
        os.utime(tmp_path / FILE, (1, 1))
        end = time.monotonic() + 5
        while seen(tmp_path).touched_s < 2 and time.monotonic() < end:
            time.sleep(0.05)
        alive = seen(tmp_path).state
    finally:
        work.kill()
        work.wait()
        work.stdout and work.stdout.close()
    old = time.time() - STALE_S - 1
    os.utime(tmp_path / FILE, (old, old))

    assert alive == "running"
    assert seen(tmp_path).state == "killed"


def test_a_folder_that_cannot_be_written_holds_up_nothing(tmp_path: Path) -> None:
    """The work goes on."""
    (tmp_path / "file").touch()
    with ProgressFile(tmp_path / "file" / "below", "sql", "run") as tell:
        tell.start("screen")
        tell.at(1, 2)

    assert read_progress(tmp_path / "file" / "below" / FILE) is None


def test_damaged_progress_is_an_error(tmp_path: Path) -> None:
    """It is not taken for none."""
    (tmp_path / FILE).write_bytes(b"{")

    with pytest.raises(RecordError):
        read_progress(tmp_path / FILE)
