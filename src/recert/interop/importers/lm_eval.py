"""
lm-evaluation-harness: `samples_<task>_<date>.jsonl`, or `results_<date>.json` with its samples beside it.

A line of samples has `doc_id`, `arguments` (`gen_args_0.arg_0` is the first prompt), `filter`, `metrics` (names)
and each metric's value under its own name. The results name the model (`model_name`), the version
(`lm_eval_version`) and, per task and metric, `higher_is_better`. Samples are only there with `--log_samples`.

Each task becomes a suite, each filter but `none` a condition. A metric of right answers in [0, 1] is one minus a
loss of utility; where a task has several, the worst counts.

Source: EleutherAI/lm-evaluation-harness, `lm_eval/loggers/evaluation_tracker.py` (`save_results_aggregated`,
`save_results_samples`), `lm_eval/evaluator.py` (the logged samples).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from recert.digest import canonical_json, sha256_file
from recert.errors import InputError, RecordError
from recert.interop.importers.reading import Meaning, Reading, Told, listed, mapping, text
from recert.records.record import parse_json
from recert.store.files.writing import read_bytes

_ANSWERS: Final = frozenset(
    {"acc", "acc_norm", "em", "exact_match", "f1", "mc1", "mc2", "pass@1", "pass_at_1"}
)
_SAMPLES: Final = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+)\.jsonl")
_RESULTS: Final = re.compile(r"(?:results|.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+)\.json")


def known(metric: str) -> Meaning | None:
    """Return what a metric stands for."""
    return Meaning("utility_loss", turned=True) if metric in _ANSWERS else None


def read_samples(path: Path, reading: Reading) -> Told:
    """
    Read the samples of one task; version and model come from the results beside them, where those are.

    Raises:
        StoreError: the file cannot be read.
    """
    found = _SAMPLES.fullmatch(path.name)
    told = Told()
    if found:
        results = path.with_name(f"results_{found['date']}.json")
        if results.is_file():
            told = _told(_document(results), {results.name: sha256_file(results)})
    _task(path, found["task"] if found else path.stem.removeprefix("samples_"), reading)
    return told


def read_results(path: Path, document: dict[str, Any], reading: Reading) -> Told:
    """
    Read all samples of the run that the results are of.

    Raises:
        InputError: there are none beside it.
        StoreError: a file cannot be read.
    """
    found = _RESULTS.fullmatch(path.name)
    samples = sorted(path.parent.glob(f"samples_*_{found['date']}.jsonl")) if found else []
    if not samples:
        raise InputError(
            "no samples lie beside the results",
            facts={"file": path, "expected": "samples_<task>_<date>.jsonl of the same date"},
            hint="run lm_eval with --log_samples, and keep its files together",
        )
    for one in samples:
        name = _SAMPLES.fullmatch(one.name)
        _task(one, name["task"] if name else one.stem, reading)
    return _told(document, {one.name: sha256_file(one) for one in samples})


def _document(path: Path) -> dict[str, Any]:
    try:
        return mapping(parse_json(read_bytes(path, "results")))
    except RecordError:
        return {}  # the samples stand by themselves; version and model stay unknown


def _told(document: dict[str, Any], also_read: dict[str, str]) -> Told:
    model_name = text(document.get("model_name")) or text(mapping(document.get("config")).get("model"))
    return Told(text(document.get("lm_eval_version")), model_name, also_read)


def _task(path: Path, task: str, reading: Reading) -> None:
    for where, line in reading.json_lines(path):
        prompt, metrics = _prompt(line.get("arguments")), listed(line.get("metrics"))
        names = [m for m in metrics if isinstance(m, str)]
        if not prompt or not names:
            reading.lost(where, "sample without a prompt or without metrics")
            continue
        chosen = text(line.get("filter"))
        reading.add(
            suite=task,
            prompt=prompt,
            prompt_id=str(line.get("doc_id")) if isinstance(line.get("doc_id"), int | str) else "",
            condition=f"filter:{chosen}" if chosen not in ("", "none") else "plain",
            scores={name: line.get(name) for name in names},
        )


def _prompt(arguments: object) -> str:
    """The first request's prompt: `arguments.gen_args_0.arg_0`, or the first of a list; anything else as JSON."""
    first = mapping(mapping(arguments).get("gen_args_0")).get("arg_0")
    if isinstance(arguments, list) and arguments:
        first = arguments[0][0] if isinstance(arguments[0], list) and arguments[0] else arguments[0]
    if isinstance(first, str) or first is None:
        return first or ""
    return canonical_json(first).decode()
