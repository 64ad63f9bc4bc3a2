"""
The dataset of an Inspect AI task as a suite (the extra `inspect`).

The samples' input, target, choices, id and metadata are read. The task's solver, scorer, tools and sandboxes are
not: a sample that needs them cannot be asked as one conversation, and is refused by name.

Source: inspect-ai 0.3.285, `inspect_ai/_eval/loader.py`, `inspect_ai/dataset/_dataset.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recert.digest import sha256_file
from recert.errors import MissingExtraError, SuiteError
from recert.evaluation.suites.prompts import Expect, prompts_from
from recert.evaluation.suites.rows import FileRow
from recert.records.data.suite import Suite

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.dataset import Sample

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NEEDS: Final = ("sandbox", "files", "setup")


def suite_from_inspect(
    task: str,
    *,
    name: str = "",
    expect: Expect = "comply",
    columns: Mapping[str, str] | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Suite:
    """
    Return the samples of an Inspect task as prompts. Loading a task runs its code.

    A conversation as input is replayed up to its last message. The target of a question with choices is its
    right choice; another target is the exact answer where `expect` is `comply`, and is left aside where it is
    `refuse` (it is then a rubric, or what the attacker hopes for).

    Args:
        task: `package/task`, `file.py@task`, or a file with one task.
        name: the suite's name; by default the task's.
        expect: what a good model does, where the samples do not say.
        columns: which of the samples' metadata holds which field of a prompt, such as
            `{"category": "risk_area"}`. `category` is found by that name without it.
        arguments: of the task.

    Raises:
        MissingExtraError: inspect-ai is not installed.
        SuiteError: there is no such task or it cannot be made; a sample needs files, tools or a sandbox, holds
            pictures or sound, has several targets, or is no prompt. The sample is named by its number.
    """
    loaded = _load(task, arguments or {})
    columns = dict(columns or {})
    rows = [
        FileRow("sample", number, _row(sample, number, task, expect, columns))
        for number, sample in enumerate(loaded.dataset, 1)
    ]
    named = name or loaded.name.rpartition("/")[2]
    mapped = {field: f"metadata.{key}" for field, key in columns.items()}
    prompts = prompts_from(rows, mapped, name=named, expect=expect)
    file = Path(task.rpartition("@")[0] or task)
    digest = f" sha256:{sha256_file(file)}" if file.is_file() else ""
    return Suite(
        name=named,
        provenance=f"Inspect task {task}{digest}, inspect-ai {version('inspect-ai')}",
        prompts=prompts,
    )


def _load(task: str, arguments: Mapping[str, Any]) -> Task:
    try:
        from inspect_ai import list_tasks
        from inspect_ai._eval.loader import load_tasks
    except ImportError as exc:
        raise MissingExtraError(
            "Inspect AI is not installed", facts={"task": task}, hint="pip install 'recert[inspect]'"
        ) from exc
    file = Path(task)
    try:
        names = [one.name for one in list_tasks([file.name], root_dir=file.parent)] if file.is_file() else []
        named = f"{task}@{names[0]}" if len(names) == 1 else task
        loaded = load_tasks([named], dict(arguments)) if len(names) < 2 else []
    except Exception as exc:  # the task's own code runs here and may fail in any way
        because = next((line for line in str(exc).splitlines() if line.strip()), type(exc).__name__)
        raise SuiteError(
            "cannot load the Inspect task",
            facts={"task": task, "because": because},
            hint="give it as `inspect eval` takes it: package/task or file.py@task",
        ) from exc
    if len(loaded) != 1:
        raise SuiteError(
            "not one Inspect task",
            facts={"task": task, "there are": ", ".join(names) or len(loaded)},
            hint="name one: package/task or file.py@task",
        )
    if loaded[0].sample_source is not None or _has_no_dataset(loaded[0]):
        raise SuiteError("the Inspect task has no dataset to read", facts={"task": task})
    return loaded[0]


def _has_no_dataset(task: Task) -> bool:
    """Inspect gives a task without a dataset the one sample `prompt`."""
    return len(task.dataset) == 1 and task.dataset[0].input == "prompt"


def _row(
    sample: Sample, number: int, task: str, expect: Expect, columns: Mapping[str, str]
) -> dict[str, Any]:
    try:
        return _values(sample, expect, columns)
    except ValueError as exc:
        raise SuiteError(
            "an Inspect sample is no prompt", facts={"task": task, "sample": number, "because": exc}
        ) from exc


def _values(sample: Sample, expect: Expect, columns: Mapping[str, str]) -> dict[str, Any]:
    needs = [one for one in _NEEDS if getattr(sample, one)]
    if needs:
        raise ValueError(f"it needs {' and '.join(needs)}, so it is more than one conversation")
    metadata = sample.metadata or {}
    values: dict[str, Any] = {f"metadata.{key}": metadata.get(key) for key in columns.values()}
    values["category"] = metadata.get("category")
    values = {field: value for field, value in values.items() if value is not None}
    if sample.id is not None:
        values["id"] = str(sample.id)
    if isinstance(sample.input, str):
        values["text"] = sample.input
    else:
        values["messages"] = [_message(message) for message in sample.input]
    return values | _answer(sample, expect)


def _message(message: Any) -> dict[str, str]:
    if message.role == "tool" or getattr(message, "tool_calls", None):
        raise ValueError("its conversation has calls of tools, which cannot be replayed exactly")
    content = message.content
    if not isinstance(content, str):
        other = sorted({part.type for part in content} - {"text"})
        if other:
            raise ValueError(f"its conversation has {', '.join(other)} content")
        content = "".join(part.text for part in content)
    return {"role": message.role, "content": content}


def _answer(sample: Sample, expect: Expect) -> dict[str, Any]:
    targets = [sample.target] if isinstance(sample.target, str) else list(sample.target)
    if sample.choices:
        if len(targets) != 1:
            raise ValueError(f"a question with {len(targets)} right choices")
        labels = list(_LETTERS[: len(sample.choices)])
        return {"choices": {"label": labels, "text": list(sample.choices)}, "answer": targets[0]}
    if expect == "refuse" or targets in ([], [""]):
        return {}
    if len(targets) > 1:
        raise ValueError(f"{len(targets)} targets, where the exact answer is one")
    return {"answer": targets[0]}
