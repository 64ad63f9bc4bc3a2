"""Whatever a file holds, it is read or refused: no reader ever ends in another error, nor loses what it cannot read."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recert.digest import sha256_file
from recert.errors import RecertError
from recert.interop.importers.stage import import_results
from recert.records.reports.imported import ImportedResults

from .made import (
    REQUESTS,
    garak_attempt,
    garak_report,
    lm_eval_run,
    lm_eval_sample,
    petri_transcript,
    promptfoo_entry,
    promptfoo_results,
    pyrit_database,
    pyrit_exchange,
    pyrit_score,
)

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def garak(folder: Path) -> Path:
    """Write a garak report."""
    attempts = [garak_attempt(r, {"dan.DAN": [0.0, 1.0]}) for r in REQUESTS[:3]]
    return garak_report(folder / "r.report.jsonl", attempts)


def promptfoo(folder: Path) -> Path:
    """Write promptfoo results."""
    entries = [
        promptfoo_entry(r, passed=True, kind="is-refusal", plugin="harmful:hate") for r in REQUESTS[:3]
    ]
    return promptfoo_results(folder / "results.json", entries)


def pyrit(folder: Path) -> Path:
    """Write an export of PyRIT's memory."""
    path = folder / "memory.json"
    path.write_text(json.dumps(pieces()))
    return path


def pieces() -> list[dict[str, Any]]:
    """Return three scored exchanges."""
    scores = [
        pyrit_score("SelfAskRefusalScorer", "true"),
        pyrit_score("SelfAskLikertScorer", "0.5", kind="float_scale"),
    ]
    return [piece for n in range(3) for piece in pyrit_exchange(n, REQUESTS[n], scores)]


def lm_eval(folder: Path) -> Path:
    """Write a run of lm-evaluation-harness."""
    return lm_eval_run(folder, {"task": [lm_eval_sample(n, acc=1.0) for n in range(3)]})


def samples(folder: Path) -> Path:
    """Write a run and return its samples."""
    lm_eval(folder)
    return next(folder.glob("samples_*"))


def petri(folder: Path) -> Path:
    """Write a transcript of Petri."""
    path = folder / "transcript.json"
    path.write_text(json.dumps(petri_transcript(0, {"concerning": 1, "overrefusal": 2})))
    return path


MADE: list[Callable[[Path], Path]] = [garak, promptfoo, pyrit, lm_eval, samples, petri]


def read_or_refuse(path: Path) -> ImportedResults | None:
    """Return what was read, or None where the file was refused."""
    try:
        results = import_results(path)
    except RecertError:
        return None
    assert ImportedResults.from_json(results.to_json()) == results
    return results


@given(
    data=st.binary(max_size=200),
    start=st.sampled_from([b"", b"{", b"[", b"PK\x03\x04", b"SQLite format 3\0"]),
)
@FUZZ
def test_any_bytes_are_refused_or_read(tmp_path: Path, data: bytes, start: bytes) -> None:
    """Arbitrary bytes, also behind the first bytes of every kind of file, end in no other error."""
    path = tmp_path / "file"
    path.write_bytes(start + data)

    assert read_or_refuse(path) is None


@pytest.mark.parametrize("make", MADE)
@given(seed=st.integers(0, 2**32), flips=st.integers(1, 8))
@FUZZ
def test_flipped_bytes_are_refused_or_read(
    tmp_path: Path, make: Callable[[Path], Path], seed: int, flips: int
) -> None:
    """A valid file with some bytes changed, or its end cut off, ends in no other error."""
    draw, path = random.Random(seed), make(tmp_path)
    assert read_or_refuse(path) is not None
    damaged = bytearray(path.read_bytes())
    for _ in range(flips):
        damaged[draw.randrange(len(damaged))] = draw.randrange(256)
    path.write_bytes(damaged[: draw.randrange(len(damaged)) if draw.random() < 0.3 else len(damaged)])

    read = read_or_refuse(path)
    assert read is None or read.source_sha256 == sha256_file(path)


@pytest.mark.parametrize("make", MADE)
@given(seed=st.integers(0, 2**32), value=JSON)
@FUZZ
def test_any_value_in_any_place_is_refused_or_read(
    tmp_path: Path, make: Callable[[Path], Path], seed: int, value: object
) -> None:
    """A valid file with one value replaced by any other, or left out, ends in no other error."""
    path = make(tmp_path)
    lines = path.suffix == ".jsonl"
    document: Any = (
        [json.loads(x) for x in path.read_text().splitlines()] if lines else json.loads(path.read_text())
    )
    _replace(document, value, random.Random(seed))
    written = [json.dumps(x) for x in document] if lines else [json.dumps(document)]
    path.write_text("\n".join(written), encoding="utf-8", errors="replace")

    read = read_or_refuse(path)
    assert read is None or read.source_sha256 == sha256_file(path)


def _replace(document: Any, value: object, draw: random.Random) -> None:
    """Walk to a random place, and put the value there or take away what is there."""
    here = document
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        if not keys:
            return
        key = draw.choice(keys)
        if isinstance(here[key], dict | list) and here[key] and draw.random() < 0.8:
            here = here[key]
            continue
        if draw.random() < 0.3:
            del here[key]
        else:
            here[key] = value
        return


@given(seed=st.integers(0, 2**32))
@FUZZ
def test_a_damaged_database_is_refused_or_read(tmp_path: Path, seed: int) -> None:
    """A database with bytes changed anywhere ends in no other error."""
    draw, path = random.Random(seed), tmp_path / "memory.db"
    path.unlink(missing_ok=True)
    pyrit_database(path, pieces())
    assert read_or_refuse(path) is not None
    damaged = bytearray(path.read_bytes())
    for _ in range(20):
        damaged[draw.randrange(16, len(damaged))] = draw.randrange(256)
    path.write_bytes(damaged)

    read = read_or_refuse(path)
    assert read is None or read.source_sha256 == sha256_file(path)


@given(
    lost=st.sets(st.integers(2, 7), min_size=1),
    broken=st.sampled_from(["{", "[]", '{"entry_type": "attempt"}', '"x"']),
)
@FUZZ
def test_every_damaged_line_is_counted(tmp_path: Path, lost: set[int], broken: str) -> None:
    """However many lines of a report are damaged, so many are counted, and no outcome comes of them."""
    attempts = [garak_attempt(r, {"dan.DAN": [1.0]}) for r in REQUESTS[:8]]
    path = garak_report(tmp_path / "r.report.jsonl", attempts)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(broken if n in lost else line for n, line in enumerate(lines)))
    results = import_results(path)

    assert results.unread == len(results.unread_entries) == len(lost)
    assert len(results.outcomes) == 8 - len(lost)
