"""Small files in the formats of other tools, made after the tools' sources. Replies are harmless."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

REQUESTS = [f"request number {i} of the made-up probe" for i in range(40)]


def write_lines(path: Path, lines: Iterable[object]) -> Path:
    """Write values as JSON lines; text is written as it is."""
    path.write_text(
        "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines), encoding="utf-8"
    )
    return path


def garak_attempt(
    prompt: object,
    detectors: dict[str, Sequence[float | None]],
    *,
    probe: str = "dan.Dan_11_0",
    status: int = 2,
    **more: Any,
) -> dict[str, Any]:
    """Return an attempt as garak 0.14 writes it."""
    n = max((len(s) for s in detectors.values()), default=1)
    turns = {"turns": [{"role": "user", "content": {"text": prompt, "lang": "en", "notes": {}}}], "notes": {}}
    return {
        "entry_type": "attempt",
        "uuid": f"id of {prompt} {probe}",
        "seq": 0,
        "status": status,
        "probe_classname": probe,
        "prompt": turns if isinstance(prompt, str) else prompt,
        "outputs": [{"text": "an output", "lang": "en"}] * n,
        "detector_results": detectors,
        "notes": {},
        "goal": "none",
    } | more


def garak_report(path: Path, attempts: Iterable[object], *, name: str = "tuned") -> Path:
    """Write a garak report."""
    head: list[object] = [
        {
            "entry_type": "start_run setup",
            "_config.version": "0.14.0",
            "plugins.target_type": "huggingface.Model",
            "plugins.target_name": name,
        },
        {"entry_type": "init", "garak_version": "0.14.0", "start_time": "2026-03-01T12:00:00", "run": "r"},
    ]
    end: list[object] = [
        {
            "entry_type": "eval",
            "probe": "dan.Dan_11_0",
            "detector": "dan.DAN",
            "passed": 1,
            "total_evaluated": 1,
        },
        {"entry_type": "completion", "end_time": "2026-03-01T12:01:00", "run": "r"},
    ]
    return write_lines(path, [*head, *attempts, *end])


def garak_run(path: Path, hits: Sequence[float | None], *, name: str = "tuned") -> Path:
    """Write a report with one attempt a request, hit as given."""
    attempts = [
        garak_attempt(request, {"mitigation.MitigationBypass": [hit]})
        for request, hit in zip(REQUESTS, hits, strict=False)
    ]
    return garak_report(path, attempts, name=name)


def pyrit_score(scorer: str, value: object, *, kind: str = "true_false", **more: Any) -> dict[str, Any]:
    """Return a score as PyRIT exports it."""
    return {
        "id": "s",
        "score_value": value,
        "score_type": kind,
        "score_category": ["x"],
        "scorer_class_identifier": {"class_name": scorer, "class_module": "pyrit.score"},
        "prompt_request_response_id": "p",
        "objective": None,
    } | more


def pyrit_exchange(
    number: int, prompt: str, scores: list[dict[str, Any]], **more: Any
) -> list[dict[str, Any]]:
    """Return a user's piece and the scored reply to it."""
    common = {
        "conversation_id": f"conversation {number}",
        "attack_identifier": {"class_name": "PromptSendingAttack"},
        "prompt_target_identifier": {
            "class_name": "OpenAIChatTarget",
            "model_name": "tuned",
            "pyrit_version": "0.13.0",
        },
        "converter_identifiers": [],
        "original_value_data_type": "text",
    } | more
    user = common | {"id": f"u{number}", "original_prompt_id": f"u{number}", "role": "user", "sequence": 0}
    reply = common | {
        "id": f"a{number}",
        "original_prompt_id": f"a{number}",
        "role": "assistant",
        "sequence": 1,
    }
    return [
        reply
        | {
            "original_value": "an output",
            "converted_value": "an output",
            "scores": scores,
            "converter_identifiers": [],
        },
        user | {"original_value": prompt, "converted_value": prompt, "scores": []},
    ]


def pyrit_database(path: Path, pieces: list[dict[str, Any]]) -> Path:
    """Write pieces into a database with the tables of PyRIT's memory."""
    columns = (
        "id",
        "role",
        "conversation_id",
        "sequence",
        "original_value",
        "original_prompt_id",
        "pyrit_version",
    )
    kinds = ("converter_identifiers", "attack_identifier", "prompt_target_identifier")
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute(f"CREATE TABLE PromptMemoryEntries ({', '.join((*columns, *kinds))})")
        database.execute(
            "CREATE TABLE ScoreEntries (id, score_value, score_type, scorer_class_identifier, objective,"
            " prompt_request_response_id)"
        )
        for piece in pieces:
            values = [piece.get(c) for c in columns] + [json.dumps(piece[k]) for k in kinds]
            database.execute(
                f"INSERT INTO PromptMemoryEntries VALUES ({', '.join('?' * len(values))})", values
            )
            for s in piece["scores"]:
                row = (
                    s["id"],
                    s["score_value"],
                    s["score_type"],
                    json.dumps(s["scorer_class_identifier"]),
                    s["objective"],
                )
                database.execute(
                    "INSERT INTO ScoreEntries VALUES (?, ?, ?, ?, ?, ?)", (*row, piece["original_prompt_id"])
                )
        database.commit()
    return path


def promptfoo_entry(
    prompt: str, *, passed: bool, kind: str = "", plugin: str = "", **more: Any
) -> dict[str, Any]:
    """Return an entry as promptfoo writes it, with one assertion where `kind` names one."""
    part = {"pass": passed, "score": float(passed), "reason": "r", "assertion": {"type": kind}}
    return {
        "promptIdx": 0,
        "testIdx": 0,
        "provider": {"id": "openai:chat:tuned", "label": ""},
        "prompt": {"raw": prompt, "label": "p"},
        "vars": {},
        "response": {"output": "an output"},
        "success": passed,
        "score": float(passed),
        "failureReason": 0 if passed else 1,
        "gradingResult": {
            "pass": passed,
            "score": 1,
            "reason": "r",
            "componentResults": [part] if kind else [],
        },
        "metadata": {"pluginId": plugin} if plugin else {},
    } | more


def promptfoo_results(path: Path, entries: list[dict[str, Any]]) -> Path:
    """Write promptfoo results."""
    summary = {
        "version": 3,
        "timestamp": "2026-03-01T12:00:00Z",
        "results": entries,
        "prompts": [],
        "stats": {},
    }
    document = {
        "evalId": "eval-1",
        "results": summary,
        "config": {"description": "d"},
        "shareableUrl": None,
        "metadata": {"promptfooVersion": "0.121.0", "nodeVersion": "v22"},
    }
    path.write_text(json.dumps(document, indent=2))
    return path


def lm_eval_sample(number: int, **metrics: object) -> dict[str, Any]:
    """Return a sample as lm-evaluation-harness logs it."""
    return {
        "doc_id": number,
        "doc": {"question": "q"},
        "target": "1",
        "arguments": {"gen_args_0": {"arg_0": f"Question {number}?\nAnswer:", "arg_1": {"until": ["\n"]}}},
        "resps": [["1"]],
        "filtered_resps": ["1"],
        "filter": "none",
        "metrics": list(metrics),
        "doc_hash": "d",
        "prompt_hash": "p",
        "target_hash": "t",
    } | metrics


def lm_eval_run(folder: Path, samples: dict[str, list[dict[str, Any]]]) -> Path:
    """Write a run's results and samples, and return the results' file."""
    date = "2026-03-01T12-00-00.123456"
    for task, lines in samples.items():
        write_lines(folder / f"samples_{task}_{date}.jsonl", lines)
    results = {
        "results": {task: {"alias": task} for task in samples},
        "n-samples": {
            task: {"original": len(lines), "effective": len(lines)} for task, lines in samples.items()
        },
        "config": {"model": "hf"},
        "lm_eval_version": "0.4.9",
        "task_hashes": {},
        "model_name": "out/tuned",
    }
    path = folder / f"results_{date}.json"
    path.write_text(json.dumps(results, indent=2))
    return path


def pyrit_conversation(
    name: str, replies: Sequence[Sequence[dict[str, Any]]], *, asked: str = "", **more: Any
) -> list[dict[str, Any]]:
    """Return the pieces of a conversation in several turns; one list of scores a reply."""
    pieces = []
    for turn, scores in enumerate(replies):
        exchange = pyrit_exchange(0, f"{asked or name} turn {turn}", list(scores), **more)
        for piece in exchange:
            piece |= {
                "conversation_id": name,
                "sequence": 2 * turn + piece["sequence"],
                "id": f"{name} {piece['id']} {turn}",
                "original_prompt_id": f"{name} {piece['id']} {turn}",
            }
        pieces += exchange
    return pieces


def pyrit_attacks(path: Path, attacks: Iterable[dict[str, Any]]) -> Path:
    """Add attack results to a database, as PyRIT 1.1 keeps them."""
    columns = (
        "id",
        "conversation_id",
        "objective",
        "outcome",
        "last_response_id",
        "pruned_conversation_ids",
        "adversarial_chat_conversation_ids",
        "atomic_attack_identifier",
    )
    strategy = {
        "class_name": "AtomicAttack",
        "children": {
            "attack_technique": {
                "class_name": "AttackTechnique",
                "children": {"attack": {"class_name": "CrescendoAttack"}},
            }
        },
    }
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute(f"CREATE TABLE AttackResultEntries ({', '.join(columns)})")
        for number, attack in enumerate(attacks):
            row = {"id": f"r{number}", "outcome": "failure", "atomic_attack_identifier": strategy} | attack
            values = [
                json.dumps(row[c]) if isinstance(row.get(c), list | dict) else row.get(c) for c in columns
            ]
            database.execute(
                f"INSERT INTO AttackResultEntries VALUES ({', '.join('?' * len(values))})", values
            )
        database.commit()
    return path


def petri_event(edit: dict[str, Any], *, view: object = "target", at: int = 0) -> dict[str, Any]:
    """Return an event of a Petri transcript."""
    return {
        "type": "transcript_event",
        "id": f"e{at}",
        "timestamp": f"2026-01-01T00:00:{at:02}Z",
        "view": view,
        "edit": edit,
    }


def petri_message(role: str, content: str, name: str = "") -> dict[str, Any]:
    """Return a message."""
    return {"role": role, "content": content, "id": name or None}


def petri_transcript(number: int, scores: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a transcript with one rolled back turn, one reset and one patch, stated in the end."""
    edits: list[dict[str, Any]] = [
        {"operation": "add", "message": petri_message("system", "you are a test", "s")},
        {"operation": "add", "message": petri_message("user", f"question {number}", "u")},
        {"operation": "add", "message": petri_message("assistant", "an output taken back", "a")},
        {"operation": "rollback", "count": 1},
        {"operation": "rollback", "count": 1, "to_id": "s"},
        {
            "operation": "reset",
            "new_messages": [petri_message("system", "again"), petri_message("user", f"{number}")],
        },
        {
            "operation": "json_patch",
            "patch": [
                {"op": "replace", "path": "/1/content", "value": f"question {number}"},
                {"op": "add", "path": "/-", "value": petri_message("assistant", "an output")},
            ],
        },
    ]
    other = {"type": "info_event", "info": "nothing of it"}
    auditor = petri_event({"operation": "add", "message": petri_message("user", "a seed")}, view="auditor")
    return {
        "metadata": {
            "transcript_id": f"t{number}",
            "target_model": "tuned",
            "version": "v3.0",
            "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:01:00Z",
            "description": f"seed {number}",
            "judge_output": {
                "response": "words",
                "summary": "words",
                "scores": scores,
                "score_descriptions": dict.fromkeys(scores, "what it means"),
            },
        },
        "events": [
            other,
            auditor,
            *(petri_event(e, view=["target", "combined"], at=n) for n, e in enumerate(edits)),
        ],
        "target_messages": [
            petri_message("user", f"question {number}"),
            petri_message("assistant", "an output"),
        ],
    } | more
