"""Outcomes as a table: one row an outcome, one column a score (the extra `parquet`)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from recert.errors import MissingExtraError
from recert.evaluation.report.folder import EvaluationFolder, Texts
from recert.records.data.suite import Suite
from recert.records.reports.evaluation import Estimand, Outcome
from recert.store.files.writing import write_atomic

if TYPE_CHECKING:
    import pyarrow

_ROWS: Final = 10_000
"""Rows of a batch: what is in memory at a time."""
_SCORE: Final = "score_"
_TEXTS: Final = (
    "suite",
    "condition",
    "arm",
    "prompt_id",
    "category",
    "prompt",
    "reply",
    "state",
    "failed",
    "stop_reason",
)


def outcomes_frame(
    folder: Path, *, suites: Mapping[str, Suite] | None = None, with_harmful: bool = False
) -> pyarrow.Table:
    """
    Return the outcomes of an evaluation as a table; `.to_pandas()` makes a data frame of it.

    Columns: `suite`, `condition`, `safeguards`, `arm`, `prompt_id`, `sample`, `category` and `prompt` (null where the
    suite is not given), `reply`, `state`, `failed`, `stop_reason`, one `score_<estimand>` each (null: not scored), and
    `other_scores`, JSON of the scores of further judges.

    Args:
        folder: as `recert evaluate` wrote it.
        suites: the prompts' texts and categories.
        with_harmful: put harmful replies in their places.

    Raises:
        MissingExtraError: pyarrow is not installed.
        RecordError, StoreError, InputError: as `EvaluationFolder.open`.
    """
    arrow = _arrow()
    source = EvaluationFolder.open(folder, with_harmful=with_harmful)
    return arrow.Table.from_batches(outcome_batches(source, suites=suites), schema=_schema(arrow))


def outcome_batches(
    source: EvaluationFolder, *, suites: Mapping[str, Suite] | None = None
) -> Iterator[pyarrow.RecordBatch]:
    """
    Yield the same table in batches, so that it need not be in memory as a whole.

    Raises:
        MissingExtraError: pyarrow is not installed.
        RecordError, StoreError: the outcomes cannot be read.
    """
    arrow = _arrow()
    schema, texts, outcomes = _schema(arrow), Texts(source.report, suites or {}), source.outcomes()
    while rows := [_row(outcome, texts) for outcome in islice(outcomes, _ROWS)]:
        yield arrow.RecordBatch.from_pylist(rows, schema=schema)


def write_parquet(source: EvaluationFolder, path: Path, *, suites: Mapping[str, Suite] | None = None) -> None:
    """
    Write the table to a Parquet file; with harmful replies in it, of mode 0600.

    Raises:
        MissingExtraError: pyarrow is not installed.
        RecordError, StoreError: the outcomes cannot be read, or the file not written.
    """
    arrow = _arrow()
    from pyarrow import parquet

    with tempfile.TemporaryFile() as file:
        with parquet.ParquetWriter(file, _schema(arrow), compression="zstd") as writer:
            for batch in outcome_batches(source, suites=suites):
                writer.write_batch(batch)
        file.seek(0)
        write_atomic(path, file, mode=0o600 if source.with_harmful else 0o644)


def _arrow() -> Any:
    try:
        import pyarrow
    except ImportError as exc:
        raise MissingExtraError(
            "pyarrow is not installed", hint="run `pip install 'recert[parquet]'`"
        ) from exc
    return pyarrow


def _schema(arrow: Any) -> Any:
    return arrow.schema(
        [
            *(arrow.field(name, arrow.string()) for name in _TEXTS),
            arrow.field("safeguards", arrow.list_(arrow.string())),
            arrow.field("sample", arrow.int32()),
            *(arrow.field(f"{_SCORE}{estimand}", arrow.float64()) for estimand in get_args(Estimand)),
            arrow.field("other_scores", arrow.string()),
        ]
    )


def _row(outcome: Outcome, texts: Texts) -> dict[str, Any]:
    prompt = texts.prompt(outcome.suite, outcome.prompt_id)
    others = {name: value for name, value in outcome.scores.items() if name not in get_args(Estimand)}
    return {
        "suite": outcome.suite,
        "condition": outcome.condition,
        "arm": outcome.arm,
        "prompt_id": outcome.prompt_id,
        "category": prompt.category if prompt else None,
        "prompt": prompt.text if prompt else None,
        "reply": outcome.reply,
        "state": outcome.state,
        "failed": outcome.failed,
        "stop_reason": outcome.stop_reason,
        "safeguards": list(outcome.safeguards),
        "sample": outcome.sample,
        **{f"{_SCORE}{estimand}": outcome.scores.get(estimand) for estimand in get_args(Estimand)},
        "other_scores": json.dumps(others, sort_keys=True) if others else None,
    }
