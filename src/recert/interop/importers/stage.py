"""Results of other tools as evidence: one function from a file to an `ImportedResults`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, get_args

from recert.digest import sha256_file, sha256_json
from recert.errors import InputError
from recert.interop.importers import garak, inspect_logs, lm_eval, petri, promptfoo, pyrit
from recert.interop.importers.looks import Format, Looks, look
from recert.interop.importers.reading import Known, Meaning, Reading, Told
from recert.records.record import now
from recert.records.reports.imported import ImportedResults, Tool

_TOOLS: Final[dict[Format, tuple[Tool, Known]]] = {
    "garak": ("garak", garak.known),
    "pyrit": ("pyrit", pyrit.known),
    "pyrit-database": ("pyrit", pyrit.known),
    "promptfoo": ("promptfoo", promptfoo.known),
    "lm-eval-samples": ("lm-evaluation-harness", lm_eval.known),
    "lm-eval-results": ("lm-evaluation-harness", lm_eval.known),
    "inspect": ("inspect", inspect_logs.known),
    "petri": ("petri", petri.known),
}


def import_results(
    path: Path,
    *,
    tool: Tool | None = None,
    scores: Mapping[str, str] | None = None,
    model: str = "",
) -> ImportedResults:
    """
    Read what another tool measured on one model.

    Neither prompts nor replies are kept: a prompt's digest pairs two results. Whatever could not be read or
    mapped is counted and named in the record. Nothing is imported from the tools but for Inspect's own reader.

    Args:
        path: a garak report, a PyRIT export or database, promptfoo results, samples or results of
            lm-evaluation-harness, an Inspect log, or a transcript of Petri or a folder of them.
        tool: which tool wrote it; by default the file says so itself.
        scores: what scores of the tool stand for, such as `{"always.Fail": "harm", "grade": "1-utility_loss"}`;
            it comes before what is known of them.
        model: which model to read, where a promptfoo file holds several.

    Raises:
        InputError: the file is of another format, holds nothing, or holds several models.
        MissingExtraError: an Inspect log, and inspect-ai is not installed.
        StoreError: the file cannot be read.
    """
    looks = look(path)
    if looks.format is None or (tool is not None and _TOOLS[looks.format][0] != tool):
        raise InputError(
            f"not results of {tool}" if tool else "not results that can be imported",
            facts={"file": path, "looks like": looks.says, "can be read": ", ".join(get_args(Tool))},
        )
    wrote, known = _TOOLS[looks.format]
    reading = Reading(known, {name: Meaning.parse(said) for name, said in (scores or {}).items()})
    digest = _digest(path)
    told = _read(path, looks, reading, model)
    if _digest(path) != digest:
        raise InputError("results changed while they were read", facts={"file": path})
    if not reading.outcomes:
        raise InputError(
            "no results in the file",
            facts={
                "file": path,
                "looks like": looks.says,
                "entries that could not be read": reading.unread,
                **{f"{entry.where}": entry.because for entry in reading.unread_entries[:3]},
            },
        )
    return ImportedResults(
        tool=wrote,
        tool_version=told.version,
        source_name=path.name or path.resolve().name,
        source_sha256=digest,
        also_read=dict(told.also_read),
        model_name=told.model_name,
        suites=reading.suites(),
        outcomes=tuple(reading.outcomes),
        mapped=dict(sorted(reading.mapped.items())),
        unmapped=dict(sorted(reading.unmapped.items())),
        unread=reading.unread,
        unread_entries=tuple(reading.unread_entries),
        imported_at=now(),
    )


def _read(path: Path, looks: Looks, reading: Reading, model: str) -> Told:
    readers: dict[Format, Callable[[], Told]] = {
        "garak": lambda: garak.read(path, reading),
        "pyrit": lambda: pyrit.read(looks.document, reading),
        "pyrit-database": lambda: pyrit.read_database(path, reading),
        "promptfoo": lambda: promptfoo.read(looks.document, reading, model=model),
        "lm-eval-samples": lambda: lm_eval.read_samples(path, reading),
        "lm-eval-results": lambda: lm_eval.read_results(path, looks.document, reading),
        "inspect": lambda: inspect_logs.read(path, reading),
        "petri": lambda: petri.read(path, reading, model=model),
    }
    assert looks.format is not None
    return readers[looks.format]()


def _digest(path: Path) -> str:
    return sha256_json(petri.digests(path)) if path.is_dir() else sha256_file(path)
