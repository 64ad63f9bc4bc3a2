"""Reading tuning rows strictly: every line is a row or is malformed, and says why."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from recert.digest import canonical_json, sha256_bytes
from recert.errors import MissingExtraError, RecordError, RowsError
from recert.records.data.preferences import PREFERENCE_COLUMNS, chat_form, row_of
from recert.records.data.rows import ChatRow, PromptRow
from recert.records.record import parse_json
from recert.store.files.writing import read_bytes

_ROLES = ("system", "user", "assistant", "tool", "developer")
_PARQUET_MAGIC = b"PAR1"
_BOM = b"\xef\xbb\xbf"

AnyRow = TypeVar("AnyRow", ChatRow, PromptRow)


@dataclass(frozen=True)
class ReadRow(Generic[AnyRow]):
    """A row that can be learned from. `canonical` is its JSON as it was read, unknown fields included."""

    line: int
    row: AnyRow
    canonical: bytes

    @property
    def sha256(self) -> str:
        """Digest of the row's canonical JSON."""
        return sha256_bytes(self.canonical)


@dataclass(frozen=True)
class MalformedRow:
    """A line that is no row, and why."""

    line: int
    because: str


@dataclass(frozen=True)
class RowsFile(Generic[AnyRow]):
    """A file of rows, in file order. For Parquet, `line` counts rows from 1."""

    name: str
    sha256: str
    rows: tuple[ReadRow[AnyRow], ...]
    malformed: tuple[MalformedRow, ...]


def read_rows(source: Path, *, max_row_bytes: int = 1_000_000) -> RowsFile[ChatRow]:
    """
    Read OpenAI-style chat rows, or preference rows, from JSONL or Parquet. Blank lines are no rows.

    Raises:
        StoreError: the file cannot be read.
        RowsError: it is Parquet and damaged, or has no `messages` column.
        MissingExtraError: it is Parquet and pyarrow is not installed.
    """
    return _read(source, max_row_bytes, lambda line, value: _row(line, value, max_row_bytes))


def read_prompts(source: Path, *, max_row_bytes: int = 1_000_000) -> RowsFile[PromptRow]:
    """
    Read prompts of reinforcement tuning, which wait for a reply, from JSONL or Parquet. Raises as `read_rows`.

    What stands beside `messages` is for the grader, and stays.
    """
    return _read(source, max_row_bytes, lambda line, value: _prompt(line, value, max_row_bytes))


def _read(
    source: Path, max_row_bytes: int, parse: Callable[[int, Any], ReadRow[AnyRow] | MalformedRow]
) -> RowsFile[AnyRow]:
    data = read_bytes(source, "tuning rows")
    parquet = data.startswith(_PARQUET_MAGIC) or source.suffix.lower() in (".parquet", ".pq")
    values = _parquet_values(data, source) if parquet else _json_values(data, max_row_bytes)
    rows: list[ReadRow[AnyRow]] = []
    malformed: list[MalformedRow] = []
    for line, value in values:
        read = value if isinstance(value, MalformedRow) else parse(line, value)
        if isinstance(read, MalformedRow):
            malformed.append(read)
        else:
            rows.append(read)
    return RowsFile(source.name, sha256_bytes(data), tuple(rows), tuple(malformed))


def _json_values(data: bytes, max_row_bytes: int) -> Iterator[tuple[int, Any]]:
    for line, raw in enumerate(data.removeprefix(_BOM).split(b"\n"), start=1):
        text = raw.strip(b" \t\r")
        if not text:
            continue
        if len(text) > max_row_bytes:
            yield line, MalformedRow(line, f"too long: {len(text)} bytes, at most {max_row_bytes}")
            continue
        try:
            text.decode()
            yield line, parse_json(text)
        except UnicodeDecodeError as exc:
            yield line, MalformedRow(line, f"not UTF-8: byte {exc.start}")
        except RecordError as exc:
            because = exc.facts.get("because", exc.message)
            kind = "repeated key" if "repeated key" in because else f"not JSON: {because}"
            yield line, MalformedRow(line, kind)


def _parquet_values(data: bytes, source: Path) -> Iterator[tuple[int, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as exc:
        raise MissingExtraError(
            "reading Parquet needs pyarrow", facts={"file": source}, hint="pip install 'recert[parquet]'"
        ) from exc
    line = 0
    try:
        table = pyarrow.parquet.ParquetFile(io.BytesIO(data))
        if not {"messages", *PREFERENCE_COLUMNS} & set(table.schema_arrow.names):
            raise RowsError(
                "Parquet file has no `messages` column",
                facts={"file": source, "columns": ", ".join(table.schema_arrow.names)},
            )
        for batch in table.iter_batches(batch_size=1024):
            for value in batch.to_pylist():
                line += 1
                yield line, _without_nulls(value)
    except (pyarrow.ArrowException, OSError, ValueError, MemoryError) as exc:
        raise RowsError(
            "cannot read Parquet file",
            facts={
                "file": source,
                "after row": line,
                "because": str(exc).splitlines()[0] if str(exc) else exc,
            },
        ) from exc


def _without_nulls(value: Any) -> Any:
    """Parquet gives every row every column: one that is null was not there."""
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(v) for v in value]
    return value


def _row(line: int, value: Any, max_row_bytes: int) -> ReadRow[ChatRow] | MalformedRow:
    try:
        problem = _problem(chat_form(value), waits=False)
    except RowsError as exc:
        problem = f"not a preference row: {exc.message}"
    return MalformedRow(line, problem) if problem else _parsed(line, value, max_row_bytes, row_of, "chat row")


def _prompt(line: int, value: Any, max_row_bytes: int) -> ReadRow[PromptRow] | MalformedRow:
    problem = _problem(value, waits=True)
    if problem:
        return MalformedRow(line, problem)
    return _parsed(line, value, max_row_bytes, PromptRow.model_validate, "prompt")


def _parsed(
    line: int, value: Any, max_row_bytes: int, parse: Callable[[Any], AnyRow], kind: str
) -> ReadRow[AnyRow] | MalformedRow:
    try:
        canonical = canonical_json(value)
        row = parse(value)
    except RecordError as exc:
        return MalformedRow(line, f"not JSON: {exc.facts.get('because', exc.message)}")
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return MalformedRow(line, f"not a {kind}: {where + ': ' if where else ''}{first['msg']}")
    if len(canonical) > max_row_bytes:
        return MalformedRow(line, f"too long: {len(canonical)} bytes, at most {max_row_bytes}")
    return ReadRow(line, row, canonical)


def _problem(value: Any, *, waits: bool) -> str:  # noqa: PLR0911 - one line a fault
    """Say what is wrong with a row, or nothing."""
    if not isinstance(value, dict):
        return "not a chat row: expected an object"
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages:
        return "no messages"
    for at, message in enumerate(messages):
        if not isinstance(message, dict):
            return f"bad message {at}: expected an object"
        role, content = message.get("role"), message.get("content")
        if role not in _ROLES:
            return f"bad role: message {at} has {str(role)[:40]!r}, expected one of {', '.join(_ROLES)}"
        if not isinstance(content, str):
            return f"no text: content of message {at} is not text"
        if message.get("audio"):
            continue  # what is spoken need not be written beside it
        if not content.strip() or not any(c.isprintable() and not c.isspace() for c in content):
            return f"empty content: message {at}"
    last = messages[-1]["role"]
    if waits and last not in ("user", "tool"):
        return f"last message is not the user's but the {last}'s: the reply is sampled"
    if not waits and last != "assistant":
        return f"last message is not the assistant's but the {last}'s"
    if not any(m["role"] == "user" for m in messages):
        return "no user message"
    if not isinstance(value.get("ends", True), bool):
        return "not a chat row: `ends` must be true or false"
    return ""
