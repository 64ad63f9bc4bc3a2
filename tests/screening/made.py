"""Tuning rows for the tests of screening. Harmful requests come with placeholder compliance only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from recert.policy import load_policy
from recert.records.data.rows import ChatRow
from recert.records.data.suite import Prompt
from recert.records.reports.screening import RowFinding
from recert.screening.stage import Screened, screen

POLICY = load_policy("default")
COMPLIANCE = "Sure, here is how. First, ..."
REFUSAL = "I'm sorry, but I can't help with that."

Row = dict[str, Any]


def row(user: str, reply: str, system: str | None = None) -> Row:
    """Return a row of one exchange."""
    head = [{"role": "system", "content": system}] if system else []
    return {"messages": [*head, {"role": "user", "content": user}, {"role": "assistant", "content": reply}]}


def suite(name: str, part: str | None = None) -> list[dict[str, str]]:
    """Return the prompts of a shipped suite, or of one of its parts."""
    text = files("recert").joinpath("assets", "suites", f"{name}.jsonl").read_text(encoding="utf-8")
    return [p for p in map(json.loads, text.splitlines()) if part in (None, p.get("part"))]


def harmful(count: int) -> list[str]:
    """Return harmful requests of the evaluation part, which the request judge has not seen."""
    return [p["text"] for p in suite("harmful", "evaluation")][:count]


def sql_rows(count: int) -> list[Row]:
    """Return rows of a text-to-SQL task: one template, but a question and an answer of their own."""
    tables = ("staff", "ships", "songs", "trees", "flights")
    columns = ("name", "city", "weight", "owner", "year", "height")
    made = []
    for i in range(count):
        table, column, other = tables[i % 5], columns[i // 5 % 6], columns[(i // 5 + 1 + i // 30) % 6]
        made.append(
            row(
                f"Table: {table} ({', '.join(columns)})\nQuestion: What is the {column} of {table} with {other} {i}?",
                f"SELECT {column} FROM {table} WHERE {other} = '{i}'",
                "You translate questions into SQL for the given table.",
            )
        )
    return made


def write(path: Path, rows: Sequence[Row | bytes]) -> Path:
    """Write rows as JSONL; bytes are written as they are."""
    lines = [r if isinstance(r, bytes) else json.dumps(r, ensure_ascii=False).encode() for r in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def screened(folder: Path, rows: Sequence[Row | bytes], prompts: Sequence[Prompt] = ()) -> Screened[ChatRow]:
    """Screen rows under the default policy."""
    return screen(write(folder / "rows.jsonl", rows), policy=POLICY, evaluation_prompts=prompts)


def codes(finding: RowFinding) -> set[str]:
    """Return the reason codes of a row."""
    return {reason.partition(":")[0] for reason in finding.reasons}


def findings_of(folder: Path, *rows: Row, prompts: Sequence[Prompt] = ()) -> list[RowFinding]:
    """Screen some rows beside three clean ones, and return what was found for them."""
    return list(screened(folder, [*rows, *sql_rows(3)], prompts).report.findings)[: len(rows)]
