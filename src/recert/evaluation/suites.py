"""Prompt suites: the embedded ones, and files with any column names."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from recert.digest import sha256_bytes
from recert.errors import SuiteError
from recert.records import Prompt, Suite

EMBEDDED: Final = ("harmful", "scenarios", "lookalikes", "ordinary")
"""Names of the suites that come with Recert. All their texts were written for it."""

_USUAL: Final[dict[str, tuple[str, ...]]] = {
    "text": ("text", "prompt", "forbidden_prompt", "goal", "question", "Goal", "request", "instruction"),
    "id": ("id", "prompt_id", "Index"),
    "category": ("category", "type", "Category", "hazard"),
    "expect": ("expect",),
    "answer": ("answer",),
    "system": ("system",),
}


def embedded_suite(name: str, part: Literal["evaluation", "alignment", "all"] = "evaluation") -> Suite:
    """
    Return a suite that comes with Recert.

    Args:
        name: one of `EMBEDDED`.
        part: `evaluation` (never trained on), `alignment` (what the shipped adapter learns from), or `all`.

    Raises:
        SuiteError: no such suite, or its file is damaged.
    """
    if name not in EMBEDDED:
        raise SuiteError("no such embedded suite", facts={"name": name, "there are": ", ".join(EMBEDDED)})
    text = (files("recert") / "assets" / "suites" / f"{name}.jsonl").read_text(encoding="utf-8")
    rows = [row for row in _json_rows(text, name) if part in ("all", row.get("part"))]
    return _suite(name, rows, {}, "comply", f"recert embedded suite, {part} part")


def suite_from_file(
    path: Path,
    *,
    name: str = "",
    columns: Mapping[str, str] | None = None,
    expect: Literal["refuse", "comply"] = "refuse",
    keep: Callable[[Mapping[str, Any]], bool] = lambda row: True,
) -> Suite:
    """
    Read a suite from a CSV, JSON (a list of objects) or JSONL file.

    Args:
        path: the file; its ending says which kind it is.
        name: the suite's name; by default the file's.
        columns: which column holds `text`, `id`, `category`, `expect`, `answer`, `system`. Usual names
            (such as `prompt`, `goal`, `forbidden_prompt`) are found without it.
        expect: what a good model does with each prompt, where the file does not say.
        keep: which rows to take.

    Returns:
        The suite. Rows without an id get one from their number.

    Raises:
        SuiteError: the file cannot be read, a column is missing, an id is repeated, or no row is left.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise SuiteError("cannot read the suite", facts={"file": path, "because": exc}) from exc
    if path.suffix.lower() == ".csv":
        rows: Iterator[Mapping[str, Any]] = _csv_rows(text, path)
    else:
        rows = _json_rows(text, str(path))
    provenance = f"{path.name} sha256:{sha256_bytes(data)}"
    return _suite(name or path.stem, [r for r in rows if keep(r)], columns or {}, expect, provenance)


def _csv_rows(text: str, path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        yield from csv.DictReader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as exc:
        raise SuiteError("suite is not CSV", facts={"file": path, "because": exc}) from exc


def _json_rows(text: str, source: str) -> Iterator[Mapping[str, Any]]:
    whole = text.lstrip().startswith("[")
    lines = [(1, text)] if whole else [(n, t) for n, t in enumerate(text.splitlines(), 1) if t.strip()]
    for number, line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise SuiteError(
                "suite is not JSON", facts={"file": source, "line": number, "because": exc}
            ) from exc
        for row in value if whole and isinstance(value, list) else [value]:
            if not isinstance(row, dict):
                raise SuiteError("suite row is not an object", facts={"file": source, "line": number})
            yield row


def _suite(
    name: str, rows: list[Mapping[str, Any]], columns: Mapping[str, str], expect: str, provenance: str
) -> Suite:
    unknown = set(columns) - set(_USUAL)
    if unknown:
        raise SuiteError("unknown field in the column map", facts={"field": ", ".join(sorted(unknown))})
    prompts, ids = [], set()
    for number, row in enumerate(rows, 1):
        fields = {field: _field(row, field, columns, name, number) for field in _USUAL}
        fields = {key: value for key, value in fields.items() if value is not None}
        fields.setdefault("id", f"{name}-{number:04d}")
        fields.setdefault("expect", expect)
        try:
            prompt = Prompt.model_validate(fields)
        except ValidationError as exc:
            first = exc.errors()[0]
            raise SuiteError(
                "suite row is not a prompt",
                facts={"suite": name, "row": number, "field": first["loc"], "because": first["msg"]},
                hint="say which column holds the text, such as columns={'text': 'goal'}",
            ) from exc
        if prompt.id in ids:
            raise SuiteError("prompt id is repeated", facts={"suite": name, "row": number, "id": prompt.id})
        ids.add(prompt.id)
        prompts.append(prompt)
    if not prompts:
        raise SuiteError("suite has no prompts", facts={"suite": name})
    return Suite(name=name, provenance=provenance, prompts=tuple(prompts))


def _field(
    row: Mapping[str, Any], field: str, columns: Mapping[str, str], name: str, number: int
) -> str | None:
    if field in columns:
        if row.get(columns[field]) is None:
            raise SuiteError(
                "column is missing",
                facts={
                    "suite": name,
                    "row": number,
                    "column": columns[field],
                    "there are": ", ".join(map(str, row)),
                },
            )
        return str(row[columns[field]])
    found = next((row[c] for c in _USUAL[field] if row.get(c) not in (None, "")), None)
    return None if found is None else str(found)
