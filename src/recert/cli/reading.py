"""Rows that commands read as they are: every line is one, or the line is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from recert.records.data.rows import ChatRow, PromptRow

    AnyRow = TypeVar("AnyRow")


def load_rows(path: Path) -> list[ChatRow]:
    """
    Read chat rows or preference rows, one JSON object a line.

    Raises:
        StoreError: the file cannot be read.
        RowsError: a line is not a chat row; the line is named.
    """
    from recert.records.data.preferences import row_of

    return _load_lines(
        path, row_of, "not a chat row", "run `recert screen` on it, and tune on its accepted.jsonl"
    )


def load_prompts(path: Path) -> list[PromptRow]:
    """
    Read prompts for a grader's rewards, one JSON object a line, as OpenAI's service reads them.

    Raises:
        StoreError: the file cannot be read.
        RowsError: a line is not a prompt; the line is named.
    """
    from recert.records.data.rows import PromptRow

    return _load_lines(
        path,
        PromptRow.model_validate,
        "not a prompt",
        "`messages` end with the user's, and what the grader names as `item` stands beside them",
    )


def _load_lines(path: Path, read: Callable[[Any], AnyRow], problem: str, hint: str) -> list[AnyRow]:
    from pydantic import ValidationError

    from recert.errors import RecordError, RowsError
    from recert.records.record import parse_json
    from recert.store.files.writing import read_bytes

    rows = []
    for number, line in enumerate(read_bytes(path, "rows").splitlines(), start=1):
        try:
            rows.append(read(parse_json(line)))
        except (RecordError, RowsError, ValidationError) as exc:
            because = exc.errors()[0]["msg"] if isinstance(exc, ValidationError) else exc.message
            raise RowsError(
                problem, facts={"file": path, "line": number, "because": because}, hint=hint
            ) from exc
    return rows
