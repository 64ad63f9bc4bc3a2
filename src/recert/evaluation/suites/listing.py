"""Suites as they are named on a command line, or listed in a TOML file: where each comes from and how it is read."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recert.errors import SuiteError
from recert.evaluation.suites.inspect_tasks import suite_from_inspect
from recert.evaluation.suites.prompts import USUAL, Expect
from recert.evaluation.suites.public_suites import public_suite
from recert.evaluation.suites.reading import suite_from_file
from recert.extensions import plugin
from recert.records.data.suite import Suite

Kind = Literal["file", "public", "inspect", "plugin"]
_KINDS: Final = get_args(Kind)
_OWN_ANSWERS: Final = "task"
"""The suite whose prompts are ordinary requests where nothing else is said."""


class SuiteEntry(BaseModel):
    """
    One suite of a list.

    Attributes:
        kind: what `at` is: a file, the name of a public set, an Inspect task, or the name of a plug-in.
        at: the file, name or task.
        columns: which column (of an Inspect sample: which of its metadata) holds which field.
        expect: what a good model does where the rows do not say; by default `refuse`, for a suite named `task`
            and for an Inspect task `comply`.
        where: values that a row must have to be taken.
        path: a local copy of a public set.
        sha256: the digest that a public set's file must have, in place of those that Recert knows.
        arguments: of an Inspect task.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    at: str = Field(min_length=1)
    columns: dict[str, str] = {}
    expect: Expect | None = None
    where: dict[str, str] = {}
    path: Path | None = None
    sha256: str | None = None
    arguments: dict[str, str | int | float | bool] = {}

    def load(self, name: str) -> Suite:
        """
        Return the suite, under the name that the policy's rules use.

        Raises:
            SuiteError, MissingExtraError, StoreError: as the reader of its kind.
        """
        if self.kind == "public":
            return public_suite(self.at, self.path, sha256=self.sha256).model_copy(update={"name": name})
        if self.kind == "plugin":
            made: Suite = plugin("suite", self.at)()
            return made.model_copy(update={"name": name})
        if self.kind == "inspect":
            return suite_from_inspect(
                self.at,
                name=name,
                expect=self.expect or "comply",
                columns=self.columns,
                arguments=self.arguments,
            )
        return suite_from_file(
            Path(self.at),
            name=name,
            columns=self.columns,
            expect=self.expect,
            usually="comply" if name == _OWN_ANSWERS else "refuse",
            keep=self._keep if self.where else None,
        )

    def _keep(self, row: Mapping[str, Any]) -> bool:
        missing = ", ".join(column for column in self.where if column not in row)
        if missing:
            raise SuiteError(
                "column is missing",
                facts={"file": self.at, "column": missing, "there are": ", ".join(map(str, row))},
            )
        return all(str(row[column]) == value for column, value in self.where.items())


def load_suites(given: Sequence[str]) -> dict[str, Suite]:
    """
    Return the suites that are given, by name.

    Args:
        given: each a TOML file with one table per suite, or `NAME=FILE`, `NAME=public:SET`, `NAME=inspect:TASK` or
            `NAME=plugin:PLUGIN`, with options after a question mark: `NAME=FILE?text=goal&expect=comply`.

    Raises:
        SuiteError: an entry cannot be understood, a name is given twice, or a suite cannot be read.
        MissingExtraError: what a suite needs is not installed.
        StoreError: a download cannot be written to the cache.
    """
    entries: dict[str, SuiteEntry] = {}
    for one in given:
        for name, entry in _entries(one).items():
            if name in entries:
                raise SuiteError("suite is given twice", facts={"suite": name})
            entries[name] = entry
    return {name: entry.load(name) for name, entry in entries.items()}


def _entries(one: str) -> dict[str, SuiteEntry]:
    name, found, source = one.partition("=")
    if one.endswith(".toml") and (not found or Path(one).is_file()):
        return _listed(Path(one))
    if not name or not source:
        raise SuiteError(
            "a suite is given as NAME=FILE",
            facts={"given": one},
            hint="or as NAME=public:SET, NAME=inspect:TASK, NAME=plugin:PLUGIN, or a TOML file that lists suites",
        )
    return {name: _entry(source)}


def _entry(source: str) -> SuiteEntry:
    options: list[tuple[str, str]] = []
    if not Path(source).is_file():  # a file may have a question mark in its name
        source, _, asked = source.partition("?")
        options = [_option(part, source) for part in asked.split("&") if part]
    kind, found, at = source.partition(":")
    fields: dict[str, Any] = {"kind": kind, "at": at} if found and kind in _KINDS else {}
    fields = fields or {"kind": "file", "at": source}
    for key, value in options:
        _set(fields, key, value, source)
    return _valid(fields, {"given": source})


def _option(part: str, source: str) -> tuple[str, str]:
    key, found, value = part.partition("=")
    if not found or not key or not value:
        raise SuiteError("an option is given as KEY=VALUE", facts={"suite": source, "option": part})
    return unquote(key), unquote(value)


def _set(fields: dict[str, Any], key: str, value: str, source: str) -> None:
    if key in ("path", "sha256") or (key == "expect" and value in get_args(Expect)):
        into, at = fields, key
    elif key in USUAL:
        into, at = fields.setdefault("columns", {}), key
    elif key == "where" and ":" in value:
        column, _, value = value.partition(":")
        into, at = fields.setdefault("where", {}), column
    elif key.startswith("arg."):
        into, at = fields.setdefault("arguments", {}), key.removeprefix("arg.")
    else:
        raise SuiteError(
            "no such option of a suite",
            facts={"suite": source, "option": f"{key}={value}"},
            hint=f"{', '.join(USUAL)}, where=COLUMN:VALUE, path, sha256, arg.NAME",
        )
    if at in into:
        raise SuiteError("option is given twice", facts={"suite": source, "option": key})
    into[at] = value


def _listed(path: Path) -> dict[str, SuiteEntry]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise SuiteError("cannot read the list of suites", facts={"file": path, "because": exc}) from exc
    if not tables:
        raise SuiteError("the list of suites is empty", facts={"file": path})
    return {name: _from_table(name, table, path) for name, table in tables.items()}


def _from_table(name: str, table: Any, path: Path) -> SuiteEntry:
    facts: dict[str, object] = {"file": path, "suite": name}
    if not isinstance(table, dict) or sum(kind in table for kind in _KINDS) != 1:
        raise SuiteError(
            "a suite of a list has one of `file`, `public`, `inspect` and `plugin`",
            facts=facts,
            hint=f'such as [{name}] and below it file = "prompts.csv"',
        )
    fields = dict(table)
    kind = next(kind for kind in _KINDS if kind in fields)
    fields.update(kind=kind, at=fields.pop(kind))
    if kind == "file" and isinstance(fields["at"], str):
        fields["at"] = str(path.parent / fields["at"])
    if isinstance(fields.get("path"), str):
        fields["path"] = path.parent / fields["path"]
    return _valid(fields, facts)


def _valid(fields: Mapping[str, Any], facts: Mapping[str, object]) -> SuiteEntry:
    allowed = {
        "file": ("columns", "expect", "where"),
        "public": ("path", "sha256"),
        "inspect": ("columns", "expect", "arguments"),
        "plugin": (),
    }
    wrong = set(fields) - {"kind", "at", *allowed[fields["kind"]]}
    if wrong:
        raise SuiteError(
            f"a suite of kind `{fields['kind']}` does not take that",
            facts={**facts, "option": ", ".join(sorted(wrong))},
            hint=f"it takes {', '.join(allowed[fields['kind']]) or 'no options'}",
        )
    try:
        return SuiteEntry.model_validate(fields)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SuiteError(
            "suite cannot be understood", facts={**facts, "field": where, "because": first["msg"]}
        ) from exc
