"""Outcomes as JSON lines with their prompts, for whatever reads lines."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from recert.evaluation.report.folder import EvaluationFolder, Texts
from recert.records.data.suite import Suite
from recert.store.files.writing import write_atomic


def write_lines(source: EvaluationFolder, path: Path, *, suites: Mapping[str, Suite] | None = None) -> None:
    """
    Write one JSON object an outcome, in order: its fields, and `prompt`, `category` and `expect` where known.

    With harmful replies in it the file has mode 0600.

    Raises:
        RecordError, StoreError: the outcomes cannot be read, or the file not written.
    """
    texts = Texts(source.report, suites or {})
    with tempfile.TemporaryFile() as file:
        for outcome in source.outcomes():
            value: dict[str, Any] = outcome.model_dump(mode="json", exclude_none=True)
            prompt = texts.prompt(outcome.suite, outcome.prompt_id)
            if prompt is not None:
                value |= {"prompt": prompt.text, "category": prompt.category, "expect": prompt.expect}
            file.write(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SORT_KEYS))
        file.seek(0)
        write_atomic(path, file, mode=0o600 if source.with_harmful else 0o644)
