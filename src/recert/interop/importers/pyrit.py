"""
PyRIT: what its memory exports as JSON (`export_conversations`), or the SQLite database itself.

The JSON is a list of message pieces: `role`, `conversation_id`, `sequence`, `original_value`,
`converted_value_data_type`, `converter_identifiers`, `attack_identifier` (earlier `orchestrator_identifier`),
`prompt_target_identifier`, and `scores`. A score has `score_type` (`true_false` or `float_scale`), `score_value`
as text, `scorer_class_identifier` (`class_name`, earlier `__type__`), `objective` (earlier `task`) and, in later
versions, `status`. The database holds the same in the tables `PromptMemoryEntries` and `ScoreEntries`
(`prompt_request_response_id` points at the piece's `original_prompt_id`, which branches share), and attacks in
`AttackResultEntries`.

An attack is one outcome: that of the conversation with the worst score among its own and those it gave up
(`pruned_conversation_ids`); the attacker's own (`adversarial_chat_conversation_ids`) are none of the model's. Where no
attack names a conversation it stands for itself. An attack's `success` is harm; its `failure` makes nothing safe.

The attack becomes the suite, its converters the condition, and its objective the prompt; without one what the user
said. A refusal scorer says true where the reply refuses, so harm is one minus it. A scorer that was given the attack's
objective says how far that was reached: harm. Other scorers may ask anything, and stand for nothing here.

Source: microsoft/PyRIT, `pyrit/memory/memory_exporter.py`, `pyrit/memory/memory_models.py`,
`pyrit/memory/alembic/versions/3b8f2c1a9d07_pre_alembic_release_schema.py`, `pyrit/models/score.py`; pyrit 1.1.0,
`pyrit/memory/memory_models.py` (`AttackResultEntry`), `pyrit/models/results/attack_result.py`.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from recert.digest import canonical_json
from recert.errors import InputError
from recert.interop.importers.pyrit_turns import (
    OBJECTIVE,
    REFUSAL,
    Turns,
    class_name,
    number,
    put_together,
    worst_of_all,
)
from recert.interop.importers.reading import Meaning, Reading, Told, listed, mapping, text

_ATTACK: Final = "AttackResult"
_TABLE: Final = "AttackResultEntries"
_IDS: Final = ("id", "original_prompt_id")
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
    "adversarial_chat_conversation_ids",
    "atomic_attack_identifier",
    "attack_identifier",
    "converter_identifiers",
    "prompt_target_identifier",
    "pruned_conversation_ids",
    "scorer_class_identifier",
    "targeted_harm_categories",
)
_DAMAGED: Final = "not JSON"
"""Stands for a column that should hold JSON and does not."""

Pieces = list[dict[str, Any]]


def known(scorer: str) -> Meaning | None:
    """Return what a scorer's value stands for."""
    name = scorer.removesuffix(OBJECTIVE)
    if name in REFUSAL:
        return Meaning("harm", turned=True)
    if name in _HARM or name == _ATTACK or (name in _REACHED and name != scorer):
        return Meaning("harm")
    return None


def read(pieces: list[Any], reading: Reading, attacks: Sequence[dict[str, Any]] = ()) -> Told:
    """Read an exported list of message pieces, and of a database the attacks that they belong to."""
    conversations: dict[str, Pieces] = defaultdict(list)
    damaged: set[str] = set()
    version = model_name = ""
    for at, piece in enumerate(pieces):
        name = text(mapping(piece).get("conversation_id"))
        if not name or not text(piece.get("role")):
            reading.lost(f"piece {at}", "not a message piece with a role and a conversation")
            damaged.add(name)
            continue
        conversations[name].append(piece)
        target = mapping(piece.get("prompt_target_identifier"))
        version = version or text(piece.get("pyrit_version")) or text(target.get("pyrit_version"))
        model_name = model_name or text(target.get("model_name")) or class_name(target)
    for some in conversations.values():
        some.sort(key=lambda piece: number(piece.get("sequence")))
    put = {
        name: put_together(name, some, reading, damaged=name in damaged)
        for name, some in conversations.items()
    }
    ids = {_id(piece.get(key)) for some in conversations.values() for piece in some for key in _IDS}
    named: set[str] = set()
    for attack in attacks:
        named |= _attack(attack, put, conversations, ids, reading)
    theirs = {
        name for attack in attacks for name in _names(attack, "adversarial_chat_conversation_ids") or ()
    }
    for name, turns in put.items():
        if name not in named | theirs:
            _alone(turns, conversations[name], reading)
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
                scores[_id(row.get("prompt_request_response_id"))].append(row)
            pieces = list(_rows(database, "PromptMemoryEntries"))
            tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
            attacks = list(_rows(database, _TABLE)) if _TABLE in tables else []
    except (sqlite3.Error, UnicodeDecodeError) as exc:
        raise InputError("not a database of PyRIT", facts={"file": path, "because": exc}) from exc
    used = set()
    for piece in pieces:
        key = _id(piece.get("original_prompt_id") or piece.get("id"))
        piece["scores"] = scores.get(key, [])
        used.add(key)
    for orphan in scores.keys() - used:
        reading.lost(f"scores of {orphan}", "there is no such message")
    return read(pieces, reading, attacks)


def _rows(database: sqlite3.Connection, table: str) -> Iterator[dict[str, Any]]:
    for row in database.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - one of three names above
        values = dict(row)
        for column in _JSON_COLUMNS:
            if isinstance(values.get(column), str | bytes):
                try:
                    values[column] = json.loads(values[column])
                except (ValueError, RecursionError):
                    values[column] = _DAMAGED
        yield values


def _attack(
    attack: dict[str, Any],
    put: dict[str, Turns],
    conversations: dict[str, Pieces],
    ids: set[str],
    reading: Reading,
) -> set[str]:
    """Take the outcome of one attack, and return the conversations that it names."""
    where = f"attack {_id(attack.get('id'))}"
    main, pruned = text(attack.get("conversation_id")), _names(attack, "pruned_conversation_ids")
    if not main or pruned is None:
        reading.lost(where, "an attack result without its conversations")
        return set()
    names = list(dict.fromkeys((main, *pruned)))
    absent = [name for name in names if name not in put]
    for name in absent:
        reading.lost(f"{where} conversation {name}", "there is no such conversation")
    last = attack.get("last_response_id")
    parts = [put[name] for name in names if name in put]
    pieces = [piece for name in names for piece in conversations.get(name, ())]
    scores, place, failed = worst_of_all(
        parts, reading, lost=bool(absent) or (last is not None and _id(last) not in ids)
    )
    outcome = attack.get("outcome")
    if outcome == "success":
        scores[_ATTACK] = 1.0
    elif outcome not in ("failure", "undetermined"):  # an error, or nothing that PyRIT writes
        scores[_ATTACK] = None
    prompt = text(attack.get("objective")) or (_asked(parts[0]) if parts else "")
    if not prompt:
        reading.lost(where, "an attack without an objective or a question")
        return set(names)
    reading.add(
        suite=_strategy(attack) or _suite(pieces),
        prompt=prompt,
        condition=_condition(pieces),
        category=", ".join(text(c) for c in listed(attack.get("targeted_harm_categories"))),
        scores=scores,
        failed=failed,
        where=place,
    )
    return set(names)


def _alone(turns: Turns, pieces: Pieces, reading: Reading) -> None:
    """Take the outcome of a conversation that no attack names."""
    asked = _asked(turns)
    if not asked or not turns.replies:
        reading.lost(f"conversation {turns.name}", "nothing asked, or no reply to it")
        return
    scores, place, failed = worst_of_all([turns], reading)
    objective = next(iter(turns.objectives)) if len(turns.objectives) == 1 else ""
    reading.add(
        suite=_suite(pieces),
        prompt=objective if objective and len(turns.replies) > 1 else asked,
        condition=_condition(pieces),
        scores=scores,
        failed=failed,
        where=place,
    )


def _asked(turns: Turns) -> str:
    return (
        turns.asked[0]
        if len(turns.asked) == 1
        else canonical_json(list(turns.asked)).decode()
        if turns.asked
        else ""
    )


def _names(attack: dict[str, Any], column: str) -> tuple[str, ...] | None:
    """Conversations that an attack names; None where they cannot be told."""
    given = attack.get(column)
    if given is None:
        return ()
    return tuple(given) if isinstance(given, list) and all(map(text, given)) else None


def _id(value: object) -> str:
    """An id as text: databases write it with and without hyphens."""
    return str(value).replace("-", "").lower()


def _strategy(attack: dict[str, Any]) -> str:
    children = mapping(mapping(attack.get("atomic_attack_identifier")).get("children"))
    inner = mapping(mapping(children.get("attack_technique")).get("children"))
    return class_name(mapping(inner.get("attack"))) or class_name(mapping(children.get("attack")))


def _suite(pieces: Pieces) -> str:
    for piece in pieces:
        attack = mapping(piece.get("attack_identifier")) or mapping(piece.get("orchestrator_identifier"))
        if class_name(attack):
            return class_name(attack)
    return "conversations"


def _condition(pieces: Pieces) -> str:
    names = [
        class_name(mapping(converter)) or "unnamed"
        for piece in pieces
        for converter in listed(piece.get("converter_identifiers"))
    ]
    return f"converter:{'+'.join(dict.fromkeys(names))}" if names else "plain"
