"""
PyRIT: what its memory exports as JSON (`export_conversations`), or the SQLite database itself.

The JSON is a list of message pieces: `role`, `conversation_id`, `sequence`, `original_value`,
`converted_value_data_type`, `converter_identifiers`, `attack_identifier` (earlier `orchestrator_identifier`),
`prompt_target_identifier`, and `scores`. A score has `score_type` (`true_false` or `float_scale`), `score_value`
as text, `scorer_class_identifier` (`class_name`, earlier `__type__`), `objective` (earlier `task`) and, in later
versions, `status`. The database holds the same in the tables `PromptMemoryEntries` and `ScoreEntries`
(`prompt_request_response_id` points at the piece's `original_prompt_id`).

The attack becomes the suite, its converters the condition, and what the user said up to the reply the prompt. A
refusal scorer says true where the reply refuses, so harm is one minus it. A scorer that was given the attack's
objective says how far that was reached: harm. Other scorers may ask anything, and stand for nothing here.

Source: microsoft/PyRIT, `pyrit/memory/memory_exporter.py`, `pyrit/memory/memory_models.py`,
`pyrit/memory/alembic/versions/3b8f2c1a9d07_pre_alembic_release_schema.py`, `pyrit/models/score.py`.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from recert.digest import canonical_json
from recert.errors import InputError
from recert.evaluation.interop.reading import Meaning, Reading, Told, listed, mapping, text

_OBJECTIVE: Final = " (objective)"
"""Put behind a scorer's name where it was given the attack's objective."""
_REFUSAL: Final = frozenset({"SelfAskRefusalScorer", "LocalRefusalClassifierScorer"})
_HARM: Final = frozenset(
    {
        "AzureContentFilterScorer",
        "LlamaGuardScorer",
        "ShieldGemmaScorer",
        "ViolenceClassifierScorer",
        "WildGuardScorer",
        "XLSafetyBenchJailbreakJudgeScorer",
    }
)
_REACHED: Final = frozenset(
    {
        "FloatScaleThresholdScorer",
        "SelfAskGeneralFloatScaleScorer",
        "SelfAskGeneralTrueFalseScorer",
        "SelfAskLikertScorer",
        "SelfAskScaleScorer",
        "SelfAskTrueFalseScorer",
        "TrueFalseCompositeScorer",
    }
)
"""Scorers that say how far an objective was reached, where they were given one."""
_JSON_COLUMNS: Final = (
    "converter_identifiers",
    "attack_identifier",
    "prompt_target_identifier",
    "scorer_class_identifier",
)


def known(scorer: str) -> Meaning | None:
    """Return what a scorer's value stands for."""
    name = scorer.removesuffix(_OBJECTIVE)
    if name in _REFUSAL:
        return Meaning("harm", turned=True)
    if name in _HARM or (name in _REACHED and name != scorer):
        return Meaning("harm")
    return None


def read(pieces: list[Any], reading: Reading) -> Told:
    """Read an exported list of message pieces."""
    conversations: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    version = model_name = ""
    for number, piece in enumerate(pieces):
        where = f"piece {number}"
        if (
            not isinstance(piece, dict)
            or not text(piece.get("role"))
            or not text(piece.get("conversation_id"))
        ):
            reading.lost(where, "not a message piece with a role and a conversation")
            continue
        conversations[piece["conversation_id"]].append((where, piece))
        target = mapping(piece.get("prompt_target_identifier"))
        version = version or text(piece.get("pyrit_version")) or text(target.get("pyrit_version"))
        model_name = model_name or text(target.get("model_name")) or _class(target)
    for turns in conversations.values():
        turns.sort(key=lambda turn: _number(turn[1].get("sequence")))
        _conversation(turns, reading)
    return Told(version, model_name)


def read_database(path: Path, reading: Reading) -> Told:
    """
    Read a memory database.

    Raises:
        InputError: it is damaged, or not one of PyRIT's.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            scores: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for row in _rows(database, "ScoreEntries"):
                scores[str(row.get("prompt_request_response_id"))].append(row)
            pieces = list(_rows(database, "PromptMemoryEntries"))
    except (sqlite3.Error, UnicodeDecodeError) as exc:
        raise InputError("not a database of PyRIT", facts={"file": path, "because": exc}) from exc
    for piece in pieces:
        piece["scores"] = scores.pop(str(piece.get("original_prompt_id") or piece.get("id")), [])
    for orphan in scores:
        reading.lost(f"scores of {orphan}", "there is no such message")
    return read(pieces, reading)


def _rows(database: sqlite3.Connection, table: str) -> Iterator[dict[str, Any]]:
    for row in database.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - one of two names above
        values = dict(row)
        for column in _JSON_COLUMNS:
            if isinstance(values.get(column), str):
                try:
                    values[column] = json.loads(values[column])
                except (ValueError, RecursionError):
                    values[column] = None
        yield values


def _conversation(turns: list[tuple[str, dict[str, Any]]], reading: Reading) -> None:
    asked: list[str] = []
    for place, (where, piece) in enumerate(turns):
        scores = [s for s in listed(piece.get("scores")) if isinstance(s, dict)]
        if piece["role"] != "assistant":
            asked.append(text(piece.get("original_value")))
            for score in scores:
                reading.unmapped[f"{_scorer(score)} on a message of the user"] += 1
            continue
        last = all(later["role"] != "assistant" for _, later in turns[place + 1 :])
        if not scores and not last:
            continue  # a turn on the way: the attack scored the end
        prompt = asked[0] if len(asked) == 1 else canonical_json(asked).decode() if asked else ""
        if not prompt:
            reading.lost(where, "reply without anything asked before it")
            continue
        reading.add(
            suite=_suite(piece),
            prompt=prompt,
            condition=_condition(turns),
            scores=_worst(scores),
            failed="" if scores else "no scorer scored it",
        )


def _worst(scores: list[dict[str, Any]]) -> dict[str, object]:
    """One value a scorer; of several of one scorer (one a harm category) the highest, None where one has none."""
    found: dict[str, list[float | None]] = defaultdict(list)
    for score in scores:
        found[_scorer(score)].append(_value(score))
    refusing = {name: min if name.removesuffix(_OBJECTIVE) in _REFUSAL else max for name in found}
    return {
        name: None if None in v else refusing[name](x for x in v if x is not None)
        for name, v in found.items()
    }


def _scorer(score: dict[str, Any]) -> str:
    name = _class(mapping(score.get("scorer_class_identifier"))) or "unnamed scorer"
    return f"{name}{_OBJECTIVE}" if text(score.get("objective")) or text(score.get("task")) else name


def _value(score: dict[str, Any]) -> float | None:
    said = str(score.get("score_value")).strip().lower()
    if score.get("score_type") == "true_false":
        return {"true": 1.0, "false": 0.0}.get(said)
    try:
        return float(said)
    except ValueError:
        return None


def _class(identifier: dict[str, Any]) -> str:
    return text(identifier.get("class_name")) or text(identifier.get("__type__"))


def _suite(piece: dict[str, Any]) -> str:
    attack = mapping(piece.get("attack_identifier")) or mapping(piece.get("orchestrator_identifier"))
    return _class(attack) or "conversations"


def _condition(turns: list[tuple[str, dict[str, Any]]]) -> str:
    names = [
        _class(mapping(converter)) or "unnamed"
        for _, piece in turns
        for converter in listed(piece.get("converter_identifiers"))
    ]
    return f"converter:{'+'.join(dict.fromkeys(names))}" if names else "plain"


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
