"""
Inspect `.eval` logs of an attack, one per model and set of safeguards, for `inspect view`. Written without inspect-ai.

A sample is one conversation, turn by turn as the target saw it last: its id is `item@attacker`, its epoch the seed plus
one. Scores are `harm`, the most of any reply as a share of the scale, and `reached`, 1 where the bound was reached;
both are NaN, Inspect's sign for "not scored", where a conversation is open.

Source: as `recert.interop.evaluations.eval_logs`.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from recert.digest import sha256_bytes
from recert.evaluation.report.conversations import redacted
from recert.labs.attackers.protocol import path_to
from recert.labs.attackers.report.statistics import Fate, fate_of
from recert.records.reports.attack import MOST_HARM, AttackTurn, Conversation
from recert.records.reports.attack_report import AttackReport
from recert.store.files.writing import write_atomic

_STOPS = {"stop": "stop", "length": "max_tokens", "content_filter": "content_filter"}
_SHOWN_CHARS = 1_000


def write_conversation_logs(
    report: AttackReport, conversations: Iterable[Conversation], folder: Path, *, with_harmful: bool = False
) -> list[Path]:
    """
    Write the conversations of an attack as Inspect logs and return their files.

    Args:
        report: what they came to; its figures stand in the logs' metadata.
        conversations: those of the report.
        folder: where the logs go.
        with_harmful: whether replies in which a judge found harm are written; the logs then have mode 0600.

    Raises:
        StoreError: a log cannot be written.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[Conversation]] = {}
    for one in conversations:
        groups.setdefault((one.arm, one.safeguards), []).append(one if with_harmful else redacted(one))
    out = []
    for (arm, safeguards), some in groups.items():
        name = "-".join(["attack", arm, *safeguards])
        log = _Log(report, name, some)
        path = (
            folder
            / f"{log.created.replace(':', '-')}_{re.sub(r'[^A-Za-z0-9.-]+', '-', name)}_{log.task_id}.eval"
        )
        write_atomic(path, log.data(), mode=0o600 if with_harmful else 0o644)
        out.append(path)
    return out


class _Log:
    """One log: a zip of a header, summaries and samples."""

    def __init__(self, report: AttackReport, task: str, conversations: Sequence[Conversation]) -> None:
        self._report, self._task, self._conversations = report, task, conversations
        self._model = f"recert/{conversations[0].model or report.name}"
        self.created = report.attacked_at.isoformat()
        self.task_id = self._id("task")

    def data(self) -> bytes:
        """Return the file."""
        samples = [self._sample(one) for one in self._conversations]
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for sample in samples:
                archive.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", _json(sample))
            archive.writestr("summaries.json", _json([_summary(sample) for sample in samples]))
            archive.writestr("header.json", _json(self._header(samples)))
        return file.getvalue()

    def _sample(self, one: Conversation) -> dict[str, Any]:
        turns = _last_thread(one)
        messages: list[dict[str, Any]] = [{"role": "system", "content": one.system}] if one.system else []
        for turn in turns:
            messages.append({"role": "user", "content": turn.sent})
            said = {"role": "assistant", "content": turn.reply, "source": "generate", "model": self._model}
            messages.append({**said, "metadata": _told(turn)})
        stop = _STOPS.get(turns[-1].stop_reason, "unknown") if turns else "unknown"
        last = messages[-1] if turns else {"role": "assistant", "content": ""}
        settled = fate_of(one, self._report.bound) is not Fate.OPEN
        most = (one.most or 0.0) / MOST_HARM if settled else float("nan")
        reached = fate_of(one, self._report.bound) is Fate.REACHED
        name = f"{one.item.id}@{one.attacker}".replace("/", "\u2215").replace("\\", "\u2216")
        return {
            "id": name,
            "epoch": one.seed + 1,
            "input": one.item.text,
            "target": "refuse",
            "messages": messages,
            "output": {
                "model": self._model,
                "choices": [{"message": last, "stop_reason": stop}] if turns else [],
                "completion": last["content"],
            },
            "scores": {
                "harm": {"value": most, "explanation": one.because},
                "reached": {"value": float(reached) if settled else float("nan")},
            },
            "metadata": {
                "domain": one.item.domain,
                "category": one.item.category,
                "attacker": one.attacker,
                "method": one.method,
                "arm": one.arm,
                "safeguards": list(one.safeguards),
                "seed": one.seed,
                "end": str(one.end),
                "turns": [_told(turn) for turn in one.turns],
            },
            "store": {},
            "events": [],
            "model_usage": {},
            "role_usage": {},
            "attachments": {},
            "uuid": self._id("sample", name, one.seed),
        }

    def _header(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        report, ids = self._report, list(dict.fromkeys(sample["id"] for sample in samples))
        told = {
            "report_sha256": report.digest,
            "policy": f"{report.policy_id} sha256:{report.policy_sha256}",
            "bound": report.bound,
            "limitations": list(report.limitations),
            "scores": "higher is worse; NaN was left open",
        }
        return {
            "version": 2,
            "status": "success",
            "eval": {
                "eval_id": self._id("eval"),
                "run_id": self._id("run"),
                "created": self.created,
                "task": self._task,
                "task_id": self.task_id,
                "task_version": report.items_sha256[:12],
                "task_display_name": self._task,
                "task_args": {},
                "tags": ["recert", "attack"],
                "dataset": {
                    "name": "attack items",
                    "samples": len(ids),
                    "sample_ids": ids,
                    "shuffled": False,
                },
                "model": self._model,
                "model_generate_config": {},
                "model_args": {},
                "config": {"epochs": max(sample["epoch"] for sample in samples)},
                "packages": report.versions,
                "metadata": told,
                "scorers": [{"name": name, "metrics": [{"name": "mean"}]} for name in ("harm", "reached")],
            },
            "plan": {"name": "plan", "steps": [{"solver": "attack", "params": {}}], "config": {}},
            "results": {
                "total_samples": len(samples),
                "completed_samples": len(samples),
                "scores": [_score(name, samples) for name in ("harm", "reached")],
            },
            "stats": {
                "started_at": self.created,
                "completed_at": self.created,
                "model_usage": {},
                "role_usage": {},
            },
            "invalidated": False,
            "tags": ["attack", "recert"],
            "metadata": told,
        }

    def _id(self, *parts: object) -> str:
        named = "\0".join((self._report.conversations_sha256, self._task, *map(str, parts)))
        return sha256_bytes(named.encode("utf-8", "replace"))[:22]


def _last_thread(one: Conversation) -> list[AttackTurn]:
    """The last turn, with the earlier ones that the target saw before it."""
    if not one.turns:
        return []
    last = one.turns[-1]
    return [*path_to(one.turns[:-1], fresh=last.fresh, follows=last.follows), last]


def _told(turn: AttackTurn) -> dict[str, Any]:
    return {
        "turn": turn.index + 1,
        "tactic": turn.tactic,
        "harm": turn.harm,
        "marks": {mark.judge: mark.score for mark in turn.marks},
        "blocked_by": turn.blocked_by,
    }


def _score(name: str, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    values = [sample["scores"][name]["value"] for sample in samples]
    known = [value for value in values if value == value]  # noqa: PLR0124 - NaN is not equal to itself
    mean = {"name": "mean", "value": sum(known) / len(known), "params": {}} if known else None
    return {
        "name": name,
        "scorer": name,
        "scored_samples": len(known),
        "unscored_samples": len(values) - len(known),
        "params": {},
        "metrics": {"mean": mean} if mean else {},
    }


def _summary(sample: dict[str, Any]) -> dict[str, Any]:
    kept = ("id", "epoch", "target", "scores", "metadata", "model_usage", "role_usage", "uuid")
    return {
        **{key: sample[key] for key in kept},
        "input": sample["input"][:_SHOWN_CHARS],
        "completed": True,
        "message_count": len(sample["messages"]),
    }


def _json(value: Any) -> bytes:
    """JSON as Inspect writes it: NaN is a constant of its own."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
