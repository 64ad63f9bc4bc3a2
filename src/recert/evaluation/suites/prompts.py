"""From a row of any file to a prompt, by a map from a prompt's fields to the file's columns."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import ValidationError

from recert.errors import RecordError, SuiteError
from recert.evaluation.suites.rows import FileRow
from recert.records.data.suite import Prompt
from recert.records.record import parse_json

Expect = Literal["refuse", "comply"]

USUAL: Final[dict[str, tuple[str, ...]]] = {
    "context": (),
    "text": ("text", "prompt", "forbidden_prompt", "goal", "question", "Goal", "request", "instruction"),
    "id": ("id", "prompt_id", "Index"),
    "category": ("category", "type", "Category", "hazard"),
    "source_category": ("source_category",),
    "expect": ("expect",),
    "answer": ("answer",),
    "choices": ("choices",),
    "system": ("system",),
    "messages": ("messages",),
    "turns": ("turns",),
    "forbidden": ("forbidden",),
    "cluster": ("cluster",),
}
"""
Fields of a prompt, and the columns in which each is looked for where no map names one.

`context` is a text that the request is about, such as a table's schema: it is put before the request.
"""

_MAY_BE_EMPTY: Final = ("context", "category", "source_category", "system", "turns", "cluster")
_EXPECTED: Final[dict[str, Expect]] = {
    "refuse": "refuse", "unsafe": "refuse", "harmful": "refuse", "toxic": "refuse",
    "comply": "comply", "safe": "comply", "benign": "comply", "harmless": "comply",
}  # fmt: skip
_LIKE_EXPECT: Final = (
    "should", "expected", "expectation", "expected_behavior", "expected_behaviour", "label", "labels", "refuse",
    "should_refuse", "harmful", "is_harmful", "safe", "is_safe", "unsafe", "verdict",
)  # fmt: skip
"""Names of columns that may say what a good model does, and that are read only where a map names them."""
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def prompts_from(
    rows: Sequence[FileRow],
    columns: Mapping[str, str],
    *,
    name: str,
    expect: Expect,
    categories: Mapping[str, str] | None = None,
) -> tuple[Prompt, ...]:
    """
    Return one prompt per row, in order. Rows without an id get one from their place.

    Requests with the same words, system prompt and earlier conversation become one cluster.

    Args:
        rows: the rows.
        columns: which column holds which field; names for one field that may differ between editions of a
            file are separated by `|`. Without a map the names in `USUAL` are looked for.
        name: the suite's name.
        expect: what a good model does, where the rows do not say.
        categories: names of `recert.records.data.suite.CATEGORIES` by the rows' own names.

    Raises:
        SuiteError: a column is missing, a row is no prompt, an id is repeated, or there is no row.
    """
    unknown = set(columns) - set(USUAL)
    if unknown:
        raise SuiteError(
            "unknown field in the column map",
            facts={"field": ", ".join(sorted(unknown)), "there are": ", ".join(USUAL)},
        )
    if not rows:
        raise SuiteError("suite has no prompts", facts={"suite": name})
    _check_columns(rows, columns, name)
    prompts: dict[str, Prompt] = {}
    for place, row in enumerate(rows, 1):
        fields = _fields(row, columns, name)
        fields.setdefault("id", f"{name}-{place:04d}")
        fields.setdefault("expect", expect)
        fields.update(_categories(fields.get("category", ""), categories or {}))
        prompt = _prompt(fields, row, name)
        if prompt.id in prompts:
            raise SuiteError("prompt id is repeated", facts={**_at(row, name), "id": prompt.id})
        prompts[prompt.id] = prompt
    return _with_clusters(list(prompts.values()))


def refuse_unread_expectations(rows: Sequence[FileRow], columns: Mapping[str, str], name: str) -> None:
    """
    Refuse rows with a column that looks like an expectation and that nothing reads.

    Raises:
        SuiteError: there is such a column, neither a map nor a column `expect` says what a good model does.
    """
    there = {str(column): None for row in rows for column in row.values}
    read = {one for wanted in columns.values() for one in wanted.split("|")}
    if "expect" in columns or set(USUAL["expect"]) & set(there):
        return
    like = [one for one in there if one.strip().lower().replace(" ", "_") in _LIKE_EXPECT and one not in read]
    if like:
        # `?expect=refuse` is a value, not a column
        how = f"rename {like[0]} to expect" if like[0] == "refuse" else f"add ?expect={like[0]}"
        raise SuiteError(
            "a column looks like an expectation, and is not read",
            facts={"suite": name, "column": ", ".join(like)},
            hint=f"{how} to read it, ?expect=refuse or ?expect=comply to treat all rows alike, or map it to another "
            f"field, such as ?category={like[0]}",
        )


def _at(row: FileRow, name: str) -> dict[str, object]:
    return {"suite": name, row.unit: row.number}


def _check_columns(rows: Sequence[FileRow], columns: Mapping[str, str], name: str) -> None:
    there = {column: None for row in rows for column in row.values}
    for field, wanted in columns.items():
        if not any(one in there for one in wanted.split("|")):
            raise SuiteError(
                "column is missing",
                facts={"suite": name, "field": field, "column": wanted, "there are": ", ".join(there)},
            )


def _prompt(fields: Mapping[str, Any], row: FileRow, name: str) -> Prompt:
    try:
        return Prompt.model_validate(fields)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SuiteError(
            "suite row is not a prompt",
            facts={**_at(row, name), **({"field": where} if where else {}), "because": first["msg"]},
            hint="say which column holds the text, such as text=goal" if where == "text" else "",
        ) from exc


def _fields(row: FileRow, columns: Mapping[str, str], name: str) -> dict[str, Any]:
    given = {field: _value(row, field, columns, name) for field in USUAL}
    fields: dict[str, Any] = {}
    try:
        for field, value in given.items():
            if value is not None and field not in ("choices", "answer", "messages"):
                fields[field] = _CONVERT.get(field, _word)(value)
        if given["messages"] is not None and "text" not in fields:
            fields.update(_conversation(given["messages"]))
        fields.update(_answer(given["choices"], given["answer"]))
        context = fields.pop("context", None)
        if context is not None and "text" in fields:
            fields["text"] = f"{context}\n\n---\n\n{fields['text']}"
    except ValueError as exc:
        raise SuiteError("suite row is not a prompt", facts={**_at(row, name), "because": exc}) from exc
    return fields


def _value(row: FileRow, field: str, columns: Mapping[str, str], name: str) -> Any:
    taken = {one for wanted in columns.values() for one in wanted.split("|")}
    usual = [one for one in USUAL[field] if one not in taken]
    names = columns[field].split("|") if field in columns else usual
    found = next((row.values[c] for c in names if row.values.get(c) not in (None, "", [])), None)
    if found is None and field in columns and field not in _MAY_BE_EMPTY:
        raise SuiteError("cell is empty", facts={**_at(row, name), "field": field, "column": columns[field]})
    return found


def _word(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expected text, found {type(value).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("expected text, found a number that is none")
    return str(value)


def _request(value: Any) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        raise ValueError(f"expected the text of one request, found {type(value).__name__}")
    return value


def _expectation(value: Any) -> Expect:
    expect = _EXPECTED.get(str(value).strip().lower())
    if expect is None:
        raise ValueError(f"expected one of {', '.join(_EXPECTED)}, found {str(value)[:40]!r}")
    return expect


def _words(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _list_in_cell(value)
    return tuple(map(_word, value)) if isinstance(value, list | tuple) else (_word(value),)


def _list_in_cell(text: str) -> Any:
    try:
        return parse_json(text.encode("utf-8", "replace"))
    except RecordError as exc:
        raise ValueError(f"a list in a cell must be JSON: {exc.facts.get('because', exc.message)}") from exc


def _messages(value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, str):
        value = _list_in_cell(value)
    if not isinstance(value, list | tuple) or not all(isinstance(m, Mapping) for m in value):
        raise ValueError("expected messages, each with `role` and `content`")
    return list(value)


def _conversation(value: Any) -> dict[str, Any]:
    """A stored conversation: its last user message is the request, what stands before it is replayed."""
    messages = _messages(value)
    if not messages or messages[-1].get("role") != "user":
        raise ValueError("the last message of a conversation to replay must be the user's")
    fields: dict[str, Any] = {"text": messages[-1].get("content"), "turns": tuple(messages[:-1])}
    if messages[0].get("role") == "system":
        fields.update(system=messages[0].get("content"), turns=tuple(messages[1:-1]))
    return fields


def _answer(choices: Any, answer: Any) -> dict[str, Any]:
    """The choices, and the right one by its text, its label, its letter or its place from 0."""
    if choices is None:
        return {} if answer is None else {"answer": _word(answer)}
    labels: tuple[str, ...] = ()
    if isinstance(choices, Mapping):  # as ARC has it
        labels, choices = _words(choices.get("label", ())), choices.get("text", ())
    texts = _words(choices)
    if answer is None:
        raise ValueError("a multiple-choice question without its answer")
    return {"choices": texts, "answer": _right_choice(texts, labels, answer)}


def _right_choice(texts: tuple[str, ...], labels: tuple[str, ...], answer: Any) -> str:
    word = _word(answer)
    if word in labels and len(labels) == len(texts):
        return texts[labels.index(word)]
    is_place = isinstance(answer, int)  # a number that is no text counts from 0, whatever the choices say
    if word in texts and not is_place:
        return word
    place = int(word) if word.isdecimal() else _LETTERS.find(word) if len(word) == 1 else -1
    if not 0 <= place < len(texts):
        raise ValueError(f"the answer {word[:40]!r} is not one of the choices")
    return texts[place]


def _categories(own: str, categories: Mapping[str, str]) -> dict[str, str]:
    """The hazard's name where it is known; else the rows' own word as it is, or as a slug beside the others."""
    if not categories or not own:
        return {}
    known = {name.lower(): hazard for name, hazard in categories.items()}
    category = known.get(own.lower()) or re.sub(r"[^a-z0-9]+", "_", own.lower()).strip("_")
    return {"category": category, **({"source_category": own} if own != category else {})}


def _with_clusters(prompts: Sequence[Prompt]) -> tuple[Prompt, ...]:
    """Prompts that ask the same thing twice are one observation."""
    alike: dict[tuple[Any, ...], list[str]] = {}
    for prompt in prompts:
        alike.setdefault(_asked(prompt), []).append(prompt.id)
    return tuple(
        p.model_copy(update={"cluster": f"same-as-{alike[_asked(p)][0]}"})
        if len(alike[_asked(p)]) > 1 and not p.cluster
        else p
        for p in prompts
    )


def _asked(prompt: Prompt) -> tuple[Any, ...]:
    turns = tuple((turn.role, turn.content) for turn in prompt.turns)
    return (" ".join(prompt.text.lower().split()), prompt.system, turns, prompt.cluster)


_CONVERT: Final[dict[str, Any]] = {
    "text": _request,
    "system": _request,
    "expect": _expectation,
    "turns": _messages,
    "forbidden": _words,
}
