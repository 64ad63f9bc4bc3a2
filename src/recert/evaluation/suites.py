"""Prompt suites: the embedded ones, and files with any column names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

from recert.errors import SuiteError
from recert.evaluation.suite_prompts import Expect, prompts_from
from recert.evaluation.suite_rows import FileRows, read_rows, rows_of
from recert.records import Suite

EMBEDDED: Final = ("harmful", "scenarios", "lookalikes", "ordinary")
"""Names of the suites that come with Recert. All their texts were written for it."""


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
    file = f"{name}.jsonl"
    data = (files("recert") / "assets" / "suites" / file).read_bytes()
    rows = [row for row in rows_of(data, Path(file)) if part in ("all", row.values.get("part"))]
    prompts = prompts_from(rows, {}, name=name, expect="comply")
    return Suite(name=name, provenance=f"recert embedded suite, {part} part", prompts=prompts)


def suite_from_file(
    path: Path,
    *,
    name: str = "",
    columns: Mapping[str, str] | None = None,
    expect: Expect = "refuse",
    keep: Callable[[Mapping[str, Any]], bool] | None = None,
) -> Suite:
    """
    Read a suite from a CSV, TSV, JSON (a list of objects), JSONL or Parquet file.

    Args:
        path: the file; its ending says which kind it is.
        name: the suite's name; by default the file's.
        columns: which column holds which field: `text`, `id`, `category`, `source_category`, `expect`,
            `answer`, `choices`, `system`, `messages` (a conversation whose last message is asked after the
            others are replayed), `turns`, `forbidden`, `cluster`. Usual names (such as `prompt`, `goal`,
            `forbidden_prompt`) are found without it.
        expect: what a good model does with each prompt, where the file does not say. A file says it with
            `refuse`, `unsafe`, `harmful`, `toxic`, or `comply`, `safe`, `benign`, `harmless`.
        keep: which rows to take; all by default. The provenance says how many were left out.

    Returns:
        The suite. Rows without an id get one from their number; requests that occur twice are one cluster.

    Raises:
        SuiteError: the file cannot be read, a line is malformed, a column is missing, an id is repeated, or
            no row is left. The line is named, and nothing is left out silently.
        MissingExtraError: it is Parquet and pyarrow is not installed.
    """
    read = read_rows(path)
    kept = [row for row in read.rows if keep is None or keep(row.values)]
    prompts = prompts_from(kept, columns or {}, name=name or path.stem, expect=expect)
    return Suite(name=name or path.stem, provenance=provenance(read, len(kept)), prompts=prompts)


def provenance(read: FileRows, kept: int) -> str:
    """Return where prompts come from: the file, its sha256, and how many of its rows were taken if not all."""
    some = f", {kept} of {len(read.rows)} rows" if kept < len(read.rows) else ""
    return f"{read.name} sha256:{read.sha256}{some}"
