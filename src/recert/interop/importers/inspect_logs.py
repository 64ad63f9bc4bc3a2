"""
Inspect AI: `.eval` and `.json` logs, read with Inspect's own reader (the extra `inspect`).

A sample has an input (text or messages), an epoch, metadata, and `scores`: per scorer a value that is a number, a
letter (C right, P partly, I wrong, N no answer), or a table of such. NaN is Inspect's sign for "not scored".

The task becomes the suite; a sample's `condition` in its metadata, as Recert's own logs have it, the condition.
Scores named after our estimands stand for them. A scorer of right answers is one minus a loss of utility.

Source: inspect-ai 0.3.285, `inspect_ai/log/_file.py`, `inspect_ai/log/_log.py`, `inspect_ai/scorer/_metric.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from recert.digest import canonical_json
from recert.errors import InputError, MissingExtraError
from recert.interop.importers.reading import Meaning, Reading, Told, mapping, text
from recert.records.reports.evaluation import Estimand

if TYPE_CHECKING:
    from inspect_ai.log import EvalSample

_ANSWERS: Final = frozenset(
    {
        "answer",
        "choice",
        "exact",
        "f1",
        "includes",
        "match",
        "math",
        "model_graded_fact",
        "model_graded_qa",
        "pattern",
    }
)
_AT_A_TIME: Final = 500
_LARGE: Final = {"events", "store", "attachments", "messages", "output"}
_LETTERS: Final = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


def known(scorer: str) -> Meaning | None:
    """Return what a score stands for."""
    name = scorer.rsplit("/", maxsplit=1)[-1]
    if name in get_args(Estimand):
        return Meaning(name)  # type: ignore[arg-type]  # one of them
    return Meaning("utility_loss", turned=True) if name in _ANSWERS else None


def read(path: Path, reading: Reading) -> Told:
    """
    Read a log.

    Raises:
        MissingExtraError: inspect-ai is not installed.
        InputError: Inspect cannot read the file.
    """
    try:
        from inspect_ai.log import read_eval_log
    except ImportError as exc:
        raise MissingExtraError(
            "inspect-ai is not installed", hint="run `pip install 'recert[inspect]'`"
        ) from exc
    try:
        log = read_eval_log(str(path), header_only=True)
        for sample in _samples(path):
            _sample(sample, log.eval.task, reading)
    except Exception as exc:  # its readers raise whatever their parsers do
        raise InputError(
            "Inspect cannot read the log",
            facts={"file": path, "because": f"{type(exc).__name__}: {exc}"[:300]},
        ) from exc
    if log.status != "success":
        reading.lost("header", f"the run ended with status {log.status}: samples may be missing")
    expected = log.results.total_samples if log.results else 0
    if len(reading.outcomes) + reading.unread < expected:
        reading.lost("header", f"it speaks of {expected} samples, and fewer are there")
    return Told(log.eval.packages.get("inspect_ai", ""), log.eval.model)


def _samples(path: Path) -> Iterator[EvalSample]:
    """Every sample; of an `.eval` log some at a time, without what takes most room."""
    from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries, read_eval_log_samples_by_id

    if path.suffix == ".json":
        yield from read_eval_log(str(path)).samples or []
        return
    ids = iter([(summary.id, summary.epoch) for summary in read_eval_log_sample_summaries(str(path))])
    while some := list(islice(ids, _AT_A_TIME)):
        yield from read_eval_log_samples_by_id(
            str(path), some, format="eval", exclude_fields=_LARGE, concurrency=1
        )


def _sample(sample: EvalSample, task: str, reading: Reading) -> None:
    where = f"sample {sample.id} epoch {sample.epoch}"
    prompt = (
        sample.input
        if isinstance(sample.input, str)
        else canonical_json([[m.role, m.text] for m in sample.input]).decode()
    )
    if not prompt:
        reading.lost(where, "sample without input")
        return
    metadata = mapping(sample.metadata)
    scores = dict(_flat(sample.scores or {}))
    error = sample.error.message if sample.error else ""
    reading.add(
        suite=text(metadata.get("suite")) or task,
        prompt=prompt,
        prompt_id=text(metadata.get("prompt_id")) or str(sample.id),
        condition=text(metadata.get("condition")) or "plain",
        category=text(metadata.get("category")),
        scores=scores,
        failed=error or ("" if scores else "no scorer scored it"),
    )


def _flat(scores: dict[str, Any]) -> list[tuple[str, object]]:
    """One value a name; a table of values gives `scorer/key`."""
    found: list[tuple[str, object]] = []
    for name, score in scores.items():
        if isinstance(score.value, dict):
            found += [(f"{name}/{key}", _number(value)) for key, value in score.value.items()]
        else:
            found.append((name, _number(score.value)))
    return found


def _number(value: object) -> object:
    return _LETTERS.get(value, _LETTERS.get(value.lower())) if isinstance(value, str) else value
