"""What a file looks like: which tool wrote it, or what it is instead."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from recert.errors import RecordError, StoreError
from recert.records.record import parse_json
from recert.store.files.writing import read_bytes

Format = Literal[
    "garak",
    "pyrit",
    "pyrit-database",
    "promptfoo",
    "lm-eval-samples",
    "lm-eval-results",
    "inspect",
    "petri",
]
"""A format that can be read."""

_HEAD_BYTES: Final = 1_000_000
_SHOWN_KEYS: Final = 6


@dataclass(frozen=True)
class Looks:
    """A format, or None, and what the file looks like in words. `document` is its JSON where it is one document."""

    format: Format | None
    says: str
    document: Any = None


def look(path: Path) -> Looks:
    """
    Look at a file, or at a folder, which only transcripts of Petri come as.

    Raises:
        StoreError: it cannot be read.
    """
    if path.is_dir():
        some = any(path.rglob("*.json"))
        return Looks("petri", "a folder of transcripts") if some else Looks(None, "a folder without JSON")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if b"\n" not in head:
                head += file.readline()  # a first line of any length
    except OSError as exc:
        raise StoreError("cannot read results", facts={"file": path, "because": exc.strerror}) from exc
    if head.startswith(b"PK\x03\x04"):
        return _zip(path)
    if head.startswith(b"SQLite format 3\0"):
        return Looks("pyrit-database", "a SQLite database")
    return _text(path, head) if head.strip() and b"\0" not in head else Looks(None, _nothing(head))


def _nothing(head: bytes) -> str:
    return "a binary file" if head.strip() else "an empty file"


def _text(path: Path, head: bytes) -> Looks:
    first, _, rest = head.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")
    line = _parsed(first)
    if isinstance(line, dict) and (rest.strip() or _of_lines(line)):
        return _lines(line)
    if first[:1] not in (b"{", b"["):
        return Looks(None, f"text that begins {first[:40].decode('utf-8', 'replace')!r}")
    document = line if line is not None else _parsed(read_bytes(path, "results"))
    if isinstance(document, list):
        return _list(document)
    if not isinstance(document, dict):
        return Looks(None, "damaged JSON")
    return _object(document)


def _zip(path: Path) -> Looks:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, RuntimeError) as exc:
        return Looks(None, f"a damaged zip file ({exc})")
    if {"header.json", "_journal/start.json"} & names:
        return Looks("inspect", "an Inspect log")
    return Looks(None, f"a zip file with {', '.join(sorted(names)[:_SHOWN_KEYS]) or 'nothing in it'}")


def _of_lines(line: dict[str, Any]) -> bool:
    return "entry_type" in line or {"doc_id", "metrics"} <= line.keys()


def _lines(line: dict[str, Any]) -> Looks:
    if "entry_type" in line:
        return Looks("garak", "a garak report")
    if {"doc_id", "arguments"} <= line.keys() and ("metrics" in line or "filtered_resps" in line):
        return Looks("lm-eval-samples", "samples of lm-evaluation-harness")
    if {"attempt_id", "detector"} <= line.keys():
        return Looks(None, "a garak hit log, which holds hits only: give the report (`.report.jsonl`)")
    if {"prompt_id", "arm", "scores"} <= line.keys():
        return Looks(None, "outcomes of `recert evaluate`: give `recert compare` the folder")
    return Looks(None, f"JSON lines with {_keys(line)}")


def _list(document: list[Any]) -> Looks:
    first = document[0] if document else None
    if isinstance(first, dict) and {"conversation_id", "role"} <= first.keys():
        return Looks("pyrit", "an export of PyRIT's memory", document)
    return Looks(None, f"a JSON list of {_keys(first) if isinstance(first, dict) else type(first).__name__}")


def _object(document: dict[str, Any]) -> Looks:
    keys, results = document.keys(), document.get("results")
    if isinstance(results, dict) and isinstance(results.get("results"), list) and "config" in keys:
        return Looks("promptfoo", "promptfoo results", document)
    if isinstance(results, dict) and keys & {"lm_eval_version", "n-samples", "config_general", "task_hashes"}:
        return Looks("lm-eval-results", "results of lm-evaluation-harness", document)
    if {"version", "status", "eval"} <= keys:
        return Looks("inspect", "an Inspect log")
    if isinstance(document.get("metadata"), dict) and (
        "transcript_id" in document["metadata"] or {"events", "target_messages"} & keys
    ):
        return Looks("petri", "a transcript of Petri", document)
    what = "a record of Recert" if "schema_version" in keys else "a JSON object"
    return Looks(None, f"{what} with {_keys(document)}")


def _keys(value: dict[str, Any]) -> str:
    shown = [key[:40] for key in list(value)[:_SHOWN_KEYS]]
    return ", ".join(shown) + (", ..." if len(value) > _SHOWN_KEYS else "") or "no keys"


def _parsed(data: bytes) -> Any:
    try:
        return parse_json(data)
    except RecordError:
        return None
