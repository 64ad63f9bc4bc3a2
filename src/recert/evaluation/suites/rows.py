"""Rows of a suite's file, read strictly: CSV, TSV, JSON, JSONL or Parquet. What cannot be read is named by line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recert.digest import sha256_bytes
from recert.errors import MissingExtraError, RecordError, SuiteError
from recert.records.record import parse_json

_PARQUET_MAGIC = b"PAR1"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class FileRow:
    """A row and where it stands: `unit` is `line` in CSV and JSONL, `row` in a JSON list and in Parquet."""

    unit: str
    number: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class FileRows:
    """The rows of a file, in order, and the sha256 of its bytes."""

    name: str
    sha256: str
    rows: tuple[FileRow, ...]


def read_rows(path: Path) -> FileRows:
    """
    Read the rows of a file. Its ending says which kind it is; any other ending is read as JSON.

    Blank lines are no rows. Parquet columns that are null in a row are not there in that row.

    Raises:
        SuiteError: the file cannot be read, or a line is not what the file's kind asks for.
        MissingExtraError: it is Parquet and pyarrow is not installed.
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise SuiteError("cannot read the suite", facts={"file": path, "because": exc.strerror}) from exc
    return FileRows(path.name, sha256_bytes(data), tuple(rows_of(data, path)))


def rows_of(data: bytes, path: Path) -> Iterator[FileRow]:
    """
    Yield the rows of a file's bytes.

    Raises:
        SuiteError, MissingExtraError: as `read_rows`.
    """
    kind = path.suffix.lower()
    if data.startswith(_PARQUET_MAGIC) or kind in (".parquet", ".pq"):
        return _parquet_rows(data, path)
    if kind in (".csv", ".tsv"):
        return _csv_rows(_text(data, path), path, "\t" if kind == ".tsv" else ",")
    body = data.removeprefix(_BOM)
    return _list_rows(body, path) if body.lstrip()[:1] == b"[" else _json_lines(body, path)


def _text(data: bytes, path: Path) -> str:
    try:
        return data.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise SuiteError("suite is not UTF-8", facts={"file": path, "line": line}) from exc


def _csv_rows(text: str, path: Path, delimiter: str) -> Iterator[FileRow]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    before = 0
    try:
        for cells in reader:
            line, before = before + 1, reader.line_num
            if not cells:
                continue
            if header is None:
                header = cells
                if len(set(header)) < len(header):
                    raise SuiteError(
                        "suite has a repeated column", facts={"file": path, "columns": ", ".join(header)}
                    )
            elif len(cells) != len(header):
                raise SuiteError(
                    "suite row has another number of cells than the header",
                    facts={"file": path, "line": line, "expected": len(header), "found": len(cells)},
                    hint="put text that holds a comma or a line break in double quotes",
                )
            else:
                yield FileRow("line", line, dict(zip(header, cells, strict=True)))
    except csv.Error as exc:
        raise SuiteError(
            "suite is not CSV", facts={"file": path, "line": before + 1, "because": exc}
        ) from exc


def _json_lines(data: bytes, path: Path) -> Iterator[FileRow]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            yield FileRow("line", number, _object(_json(line, path, number), path, "line", number))


def _list_rows(data: bytes, path: Path) -> Iterator[FileRow]:
    for number, value in enumerate(_json(data, path, 1), 1):
        yield FileRow("row", number, _object(value, path, "row", number))


def _json(data: bytes, path: Path, line: int) -> Any:
    try:
        return parse_json(data)
    except RecordError as exc:
        because = exc.facts.get("because", exc.message)
        raise SuiteError("suite is not JSON", facts={"file": path, "line": line, "because": because}) from exc


def _object(value: Any, path: Path, unit: str, number: int) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise SuiteError("suite row is not an object", facts={"file": path, unit: number})
    return value


def _parquet_rows(data: bytes, path: Path) -> Iterator[FileRow]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as exc:
        raise MissingExtraError(
            "reading Parquet needs pyarrow", facts={"file": path}, hint="pip install 'recert[parquet]'"
        ) from exc
    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(io.BytesIO(data)).iter_batches(batch_size=1024):
            for value in batch.to_pylist():
                number += 1
                yield FileRow("row", number, {k: v for k, v in value.items() if v is not None})
    except (pyarrow.ArrowException, OSError, ValueError, MemoryError) as exc:
        raise SuiteError(
            "suite is not Parquet",
            facts={"file": path, "after row": number, "because": str(exc).partition("\n")[0]},
        ) from exc
