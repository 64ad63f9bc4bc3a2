"""Prompt suites: the embedded ones, and files with any column names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

from recert.errors import RecordError, StoreError, SuiteError
from recert.evaluation.suites.hierarchy import HIERARCHY, hierarchy_suite
from recert.evaluation.suites.prompts import Expect, prompts_from, refuse_unread_expectations
from recert.evaluation.suites.rows import FileRows, read_rows, rows_of
from recert.records.data.suite import Prompt, Suite
from recert.store.files.writing import read_bytes, write_atomic

EMBEDDED: Final = ("harmful", "scenarios", "lookalikes", "ordinary")
"""Names of the suites that come with Recert. All their texts were written for it."""
Part = Literal["evaluation", "sealed", "alignment", "all"]
"""A part of an embedded suite: see `embedded_suite`."""
SUITES_FOLDER: Final = "suites"
"""Name of the folder, beside an evaluation's report, of the suites that do not come with Recert."""


def embedded_suite(name: str, part: Part = "evaluation") -> Suite:
    """
    Return a suite that comes with Recert.

    Args:
        name: one of `EMBEDDED`.
        part: `evaluation` (with its sealed part, as it is evaluated; never trained on), `sealed` (that part alone),
            `alignment` (what the shipped adapter learns from), or `all`.

    Raises:
        SuiteError: no such suite, or its file is damaged.
    """
    if name not in EMBEDDED:
        raise SuiteError("no such embedded suite", facts={"name": name, "there are": ", ".join(EMBEDDED)})
    file = f"{name}.jsonl"
    data = (files("recert") / "assets" / "suites" / file).read_bytes()
    rows = [row for row in rows_of(data, Path(file)) if part in ("all", row.values.get("part"))]
    prompts = prompts_from(rows, {}, name=name, expect="comply")
    sealed = embedded_suite(name, "sealed").prompts if part == "evaluation" else ()
    return Suite(name=name, provenance=f"recert embedded suite, {part} part", prompts=prompts, sealed=sealed)


def kept_from_rows(suites: Iterable[Suite]) -> list[Prompt]:
    """
    Return the prompts that no tuning row may hold: both parts of these suites, and the sealed parts of ours.

    Raises:
        SuiteError: the file of a suite is damaged.
    """
    asked = [prompt for suite in suites for prompt in suite.every_prompt]
    sealed = (prompt for name in EMBEDDED for prompt in embedded_suite(name, "sealed").prompts)
    there = {prompt.text for prompt in asked}
    return [*asked, *(prompt for prompt in sealed if prompt.text not in there)]


def shipped_suites() -> dict[str, Suite]:
    """Return every suite that comes with Recert, by name."""
    return {**{name: embedded_suite(name) for name in EMBEDDED}, HIERARCHY: hierarchy_suite()}


def write_suites(folder: Path, suites: Mapping[str, Suite]) -> None:
    """
    Write the suites that do not come with Recert into `suites` of an evaluation's folder, `NAME.json` each.

    Raises:
        StoreError: one cannot be written.
    """
    ours = {suite.digest for suite in shipped_suites().values()}
    for name, suite in suites.items():
        if suite.digest not in ours:
            write_atomic(_suite_path(folder, name), suite.to_json())


def find_suites(folder: Path, named: Mapping[str, str], given: Mapping[str, Suite]) -> dict[str, Suite]:
    """
    Return the suites of an evaluation: given ones, those that come with Recert, and those that it wrote beside itself.

    Only a suite with the very digest counts, wherever it is from; one that is nowhere is left out.

    Args:
        folder: the evaluation's.
        named: name and digest of each, as the evaluation's report or certificate has them.
        given: suites by name.
    """
    ours, found = shipped_suites(), {}
    for name, sha256 in named.items():
        there = (given.get(name), ours.get(name), _written(_suite_path(folder, name)))
        suite = next((one for one in there if one is not None and one.digest == sha256), None)
        if suite is not None:
            found[name] = suite
    return found


def _suite_path(folder: Path, name: str) -> Path:
    return folder / SUITES_FOLDER / f"{quote(name, safe='')}.json"


def _written(path: Path) -> Suite | None:
    """A suite as it lies in a file; None where there is none that can be read."""
    try:
        return Suite.from_json(read_bytes(path, "suite"))
    except (StoreError, RecordError):
        return None


def suite_from_file(
    path: Path,
    *,
    name: str = "",
    columns: Mapping[str, str] | None = None,
    expect: Expect | None = None,
    usually: Expect = "refuse",
    keep: Callable[[Mapping[str, Any]], bool] | None = None,
) -> Suite:
    """
    Read a suite from a CSV, TSV, JSON (a list of objects), JSONL or Parquet file, or a whole one with its sealed part.

    A whole one is what `recert suites rotate` wrote, or an evaluation beside its report: JSON with `prompts` in it.

    Args:
        path: the file; its ending says which kind it is.
        name: the suite's name; by default the file's.
        columns: which column holds which field: `text`, `id`, `category`, `source_category`, `expect`,
            `answer`, `choices`, `system`, `messages` (a conversation whose last message is asked after the
            others are replayed), `turns`, `forbidden`, `cluster`. Usual names (such as `prompt`, `goal`,
            `forbidden_prompt`) are found without it.
        expect: what a good model does with each prompt, where the file does not say. Without it a column that looks
            like an expectation, such as `should`, must be in `columns`. A file says it with
            `refuse`, `unsafe`, `harmful`, `toxic`, or `comply`, `safe`, `benign`, `harmless`.
        usually: the same, where `expect` is not given either.
        keep: which rows to take; all by default. The provenance says how many were left out.

    Returns:
        The suite. Rows without an id get one from their number; requests that occur twice are one cluster.

    Raises:
        SuiteError: the file cannot be read, a line is malformed, a column is missing, an id is repeated, or
            no row is left. The line is named, and nothing is left out silently.
        MissingExtraError: it is Parquet and pyarrow is not installed.
    """
    whole = _whole(path)
    if whole is not None:
        if columns or keep is not None:
            raise SuiteError("a whole suite has no columns to choose", facts={"file": path})
        return whole.model_copy(update={"name": name or whole.name})
    read = read_rows(path)
    kept = [row for row in read.rows if keep is None or keep(row.values)]
    called = name or path.stem
    if expect is None:
        refuse_unread_expectations(kept, columns or {}, called)
    prompts = prompts_from(kept, columns or {}, name=called, expect=expect or usually)
    return Suite(name=name or path.stem, provenance=provenance(read, len(kept)), prompts=prompts)


def _whole(path: Path) -> Suite | None:
    """The suite that a file holds as a record; None where it holds rows."""
    if path.suffix != ".json" or not path.is_file():
        return None
    data = read_bytes(path, "suite")
    if not data.lstrip().startswith(b"{"):
        return None
    try:
        return Suite.from_json(data)
    except RecordError as exc:
        raise SuiteError(
            "cannot read the suite", facts={"file": path, **exc.facts, "because": exc.message}
        ) from exc


def provenance(read: FileRows, kept: int) -> str:
    """Return where prompts come from: the file, its sha256, and how many of its rows were taken if not all."""
    some = f", {kept} of {len(read.rows)} rows" if kept < len(read.rows) else ""
    return f"{read.name} sha256:{read.sha256}{some}"
