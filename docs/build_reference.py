"""
Write the generated pages: docs/reference/{commands,settings,errors,records}.md and spec/schema/*.json.

With `--check` nothing is written: exit 1 says which page is not what the code says.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from recert import errors, settings
from recert.cli.app import app
from recert.policy import Policy
from recert.records.every import RECORDS

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "recert"
MADE = "<!-- Written by docs/build_reference.py: change the code, then run `make docs`. -->\n\n"


def main() -> int:
    """Write or check every page; return the exit code."""
    pages = dict(_pages())
    stale = [
        path
        for folder, pattern in (("docs/reference", "*.md"), ("spec/schema", "*.json"))
        for path in (ROOT / folder).glob(pattern)
        if path not in pages
    ]
    changed = [p for p, text in pages.items() if not p.exists() or p.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in [*changed, *stale]:
            print(f"not what the code says: {path.relative_to(ROOT)} (run `make docs`)")
        return 1 if changed or stale else 0
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pages[path])
        print(f"wrote {path.relative_to(ROOT)}")
    for path in stale:
        path.unlink()
        print(f"removed {path.relative_to(ROOT)}")
    return 0


def _pages() -> Iterator[tuple[Path, str]]:
    reference = ROOT / "docs" / "reference"
    yield reference / "commands.md", _commands()
    yield reference / "settings.md", _settings()
    yield reference / "errors.md", _errors()
    yield reference / "records.md", _records()
    for record in (*RECORDS, Policy):
        schema = record.model_json_schema(mode="serialization")
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
        path = ROOT / "spec" / "schema" / f"{record.schema_name}.json"
        yield path, json.dumps(schema, indent=2, sort_keys=True) + "\n"


def _commands() -> str:
    out = [
        f"# Commands\n\n{MADE}",
        "Exit codes: 0 yes, 1 no, 2 could not answer. Data goes to stdout, talk to stderr; `--json` prints the\n"
        "record itself. `recert --version` prints the version.\n",
    ]
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        out.append(f"\n## recert {name}\n\n{inspect.cleandoc(command.help or '')}\n")
        children = getattr(command, "commands", None)
        if children is None:
            out.append(_parameters(command))
            continue
        out.append(_parameters(command))
        out += _children(f"recert {name}", children)
    return "".join(out)


def _children(above: str, children: dict[str, Any]) -> Iterator[str]:
    """The commands of a command, and theirs."""
    for name, child in children.items():
        yield f"\n### {above} {name}\n\n{inspect.cleandoc(child.help or '')}\n"
        yield _parameters(child)
        yield from _children(f"{above} {name}", getattr(child, "commands", {}))


def _parameters(command: Any) -> str:
    rows = []
    for parameter in command.params:
        if parameter.name == "help":
            continue
        option = parameter.param_type_name == "option"
        shown = ", ".join(f"`{o}`" for o in parameter.opts) if option else f"`{parameter.name.upper()}`"
        default = "" if parameter.default in (None, False) or not option else str(parameter.default)
        needed = "required" if parameter.required else f"`{default}`" if default else ""
        rows.append(f"| {shown} | {_cell(parameter.help or '')} | {needed} |\n")
    return "\n| | | default |\n|---|---|---|\n" + "".join(rows) if rows else ""


def _settings() -> str:
    code = "\n".join(p.read_text() for p in sorted(SOURCE.rglob("*.py")))
    names = sorted(set(re.findall(r"\bRECERT_[A-Z][A-Z_]*\b", code)))
    rows = [f"| `{name}` | {_cell(_about_setting(name))} |\n" for name in names]
    return (
        f"# Settings\n\n{MADE}Settings come from the environment. They say where things lie and how much of the\n"
        "machine may be used, never what is safe: that is the policy's.\n\n| variable | what it does |\n|---|---|\n"
        + "".join(rows)
    )


def _about_setting(name: str) -> str:
    """The first sentence about a setting in the docstring of whatever reads it."""
    for function in vars(settings).values():
        if inspect.isfunction(function) and name in (function.__doc__ or ""):
            return inspect.cleandoc(function.__doc__ or "").split("\n\n")[0]
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                said = ast.get_docstring(node) or ""
                if name in said:
                    return next(part for part in said.split("\n\n") if name in part)
    return ""


def _errors() -> str:
    tree = inspect.cleandoc(errors.__doc__ or "").split("```")[1].strip("\n")
    out = [f"# Errors\n\n{MADE}```text\n{tree}\n```\n\n"]
    for name, value in vars(errors).items():
        public = (
            isinstance(value, type) and issubclass(value, errors.RecertError) and not name.startswith("_")
        )
        if public:
            out.append(
                f"## `{name}`\n\n{inspect.cleandoc(value.__doc__ or '').split('Args:')[0].strip()}\n\n"
            )
    return "".join(out).rstrip() + "\n"


def _records() -> str:
    out = [
        f"# Records\n\n{MADE}Every record is frozen, versioned and named by the sha256 of its canonical JSON\n"
        "(RFC 8785). Unknown fields are kept. Schemas lie in `spec/schema`.\n",
    ]
    seen: set[type[BaseModel]] = set()
    for record in (*RECORDS, Policy):
        out += [_model(part, seen) for part in [record, *_parts(record, seen)]]
    return "".join(out)


def _parts(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    for field in model.model_fields.values():
        for part in _models_in(field.annotation):
            if part not in seen:
                yield part
                yield from _parts(part, {*seen, part})


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


def _model(model: type[BaseModel], seen: set[type[BaseModel]]) -> str:
    if model in seen:
        return ""
    seen.add(model)
    kind = getattr(model, "schema_name", "")
    about = inspect.cleandoc(model.__doc__ or "")
    notes = _field_notes(model)
    rows = [
        f"| `{name}` | {_cell(_type(field.annotation))} | {_cell(notes.get(name, ''))} |\n"
        for name, field in model.model_fields.items()
    ]
    title = f"\n## {model.__name__}{f' (`{kind}`)' if kind else ''}\n\n{about}\n"
    return title + "\n| field | type | |\n|---|---|---|\n" + "".join(rows)


def _field_notes(model: type[BaseModel]) -> dict[str, str]:
    """The strings that stand below fields in the class body, base classes included."""
    notes: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if not (issubclass(one, BaseModel) and one.__module__.startswith("recert")):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(one))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, note in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(note, ast.Expr)
                and isinstance(note.value, ast.Constant)
            ):
                notes[field.target.id] = inspect.cleandoc(str(note.value.value))
    return notes


def _type(annotation: Any) -> str:
    said = getattr(annotation, "__name__", "") if isinstance(annotation, type) else ""
    said = said if said and not getattr(annotation, "__args__", ()) else str(annotation)
    said = re.sub(
        r"(?:typing\.)?Optional\[(?:typing\.)?Annotated\[([\w.]+), AfterValidator.*\]\]", r"\1 | None", said
    )
    said = re.sub(r"typing\.Annotated\[(\w+)(?:, (?:[^\[\]]|\[[^\]]*\])*)?\]", r"\1", said)
    said = re.sub(r"(?:\w+\.)+(\w+)", r"\1", said)
    return f"`{said}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
