"""
Inspect `.eval` logs of an evaluation, one per suite and arm, for `inspect view`. Written without inspect-ai.

A `.eval` file is a zip with `header.json` (an `EvalLog` without samples), `summaries.json` and one
`samples/<id>_epoch_<n>.json` each. Everything passes through one outcome at a time.

Source: inspect-ai 0.3.285, `inspect_ai/log/_log.py`, `inspect_ai/log/_recorders/eval.py`,
`inspect_ai/_util/log_layout.py`.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

import orjson

from recert.digest import sha256_bytes
from recert.errors import StoreError
from recert.evaluation.report.folder import EvaluationFolder, Texts
from recert.records.data.suite import Suite
from recert.records.reports.evaluation import EvalReport, Outcome
from recert.store.files.writing import write_atomic

_STOPS: Final = {"stop": "stop", "decided": "stop", "length": "max_tokens"}
_SHOWN_CHARS: Final = 1_000
"""Of a prompt or an explanation in the summaries, as Inspect shortens them."""
_OTHER: Final = {"harm": "over_refusal", "over_refusal": "harm"}


def write_eval_logs(
    source: EvaluationFolder, folder: Path, *, suites: Mapping[str, Suite] | None = None
) -> list[Path]:
    """
    Write an evaluation's outcomes as Inspect logs and return their files.

    A sample is a prompt under a condition: its id is `prompt@condition`, its scores are our estimands (higher is
    worse; NaN, Inspect's sign for "not scored", where a judge failed), its metadata the condition, safeguards,
    category and state. The report's rules and verdict stand in the log's metadata.

    Args:
        source: the evaluation. Where it was opened with harmful replies, the logs have mode 0600.
        folder: where the logs go.
        suites: the prompts' texts. Where a suite is not given, ids stand in their place.

    Raises:
        RecordError: the outcomes are damaged.
        StoreError: the outcomes cannot be read, or the logs not written.
    """
    texts = Texts(source.report, suites or {})
    logs: dict[tuple[str, str], _Log] = {}
    try:
        for outcome in source.outcomes():
            key = (outcome.suite, outcome.arm)
            if key not in logs:
                logs[key] = _Log(source.report, *key)
            logs[key].add(outcome, texts)
        mode = 0o600 if source.with_harmful else 0o644
        return [log.write(folder, mode) for log in logs.values()]
    except OSError as exc:
        raise StoreError(
            "cannot write logs", facts={"folder": folder, "because": exc.strerror or exc}
        ) from exc
    finally:
        for log in logs.values():
            log.close()


class _Log:
    """One log while it is filled: samples in a temporary zip file, summaries in another file."""

    def __init__(self, report: EvalReport, suite: str, arm: str) -> None:
        self._report, self._suite, self._arm = report, suite, arm
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as self
        self._summaries: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        self._model = f"recert/{report.model_name if arm == 'tuned' else 'base'}"
        self._met: dict[tuple[str, int], tuple[str, str, tuple[str, ...]]] = {}
        self._estimands = [e for e in dict.fromkeys(r.estimand for r in report.rules) if self._rules(e)]
        self._sums: Counter[tuple[str, str]] = Counter()
        self._scored: Counter[tuple[str, str]] = Counter()
        self._unscored: Counter[str] = Counter()

    def add(self, outcome: Outcome, texts: Texts) -> None:
        """Take an outcome. The base's reply, which stands beside each set of safeguards, is taken once."""
        where = "+".join([outcome.condition, *outcome.safeguards])
        name = f"{outcome.prompt_id}@{where}".replace("/", "\u2215").replace("\\", "\u2216")
        epoch = outcome.sample + 1
        original = (outcome.prompt_id, outcome.condition, outcome.safeguards)
        while (name, epoch) in self._met:
            if self._arm == "base" and self._met[name, epoch] == original:
                return
            name += "'"
        self._met[name, epoch] = original
        sample = self._sample(outcome, texts) | {"id": name, "epoch": epoch}
        self._zip.writestr(f"samples/{name}_epoch_{epoch}.json", _json(sample))
        self._summaries.write((b",\n" if len(self._met) > 1 else b"[\n") + _json(_summary(sample)))
        for score, value in sample["scores"].items():
            if math.isnan(value["value"]):
                self._unscored[score] += 1
                continue
            for group in ("mean", where):
                self._sums[score, group] += value["value"]
                self._scored[score, group] += 1

    def write(self, folder: Path, mode: int) -> Path:
        """Finish the log and put it in its place."""
        self._summaries.write(b"\n]\n" if self._met else b"[]\n")
        self._summaries.seek(0)
        with self._zip.open("summaries.json", "w") as member:
            while chunk := self._summaries.read(1_000_000):
                member.write(chunk)
        header = self._header()
        self._zip.writestr("header.json", _json(header))
        self._zip.close()
        self._file.seek(0)
        created = header["eval"]["created"].replace(":", "-")
        task = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{self._suite}-{self._arm}") or "suite"
        path = folder / f"{created}_{task}_{header['eval']['task_id']}.eval"
        write_atomic(path, self._file, mode=mode)
        return path

    def close(self) -> None:
        """Let go of the temporary files."""
        self._zip.close()
        self._file.close()
        self._summaries.close()

    def _sample(self, outcome: Outcome, texts: Texts) -> dict[str, Any]:
        prompt = texts.prompt(outcome.suite, outcome.prompt_id)
        asked = [{"role": "user", "content": prompt.text if prompt else outcome.prompt_id}]
        if prompt:
            asked = [{"role": m.role, "content": m.content} for m in prompt.turns] + asked
            asked = ([{"role": "system", "content": prompt.system}] if prompt.system else []) + asked
        said = {"role": "assistant", "content": outcome.reply, "source": "generate", "model": self._model}
        choice = {"message": said, "stop_reason": _STOPS.get(outcome.stop_reason, "unknown")}
        return {
            "input": asked,
            "target": (prompt.answer or prompt.expect) if prompt else "",
            "messages": [*asked, said],
            "output": {"model": self._model, "choices": [choice], "completion": outcome.reply},
            "scores": dict(self._scores(outcome)),
            "metadata": {
                "suite": outcome.suite,
                "prompt_id": outcome.prompt_id,
                "condition": outcome.condition,
                "safeguards": list(outcome.safeguards),
                "arm": outcome.arm,
                "category": prompt.category if prompt else "",
                "state": outcome.state,
                "failed": outcome.failed or "",
                "stop_reason": outcome.stop_reason,
                "input_is": "the suite's text; the condition words it" if prompt else "the prompt's id",
            },
            "store": {},
            "events": [],
            "model_usage": {},
            "role_usage": {},
            "attachments": {},
            "uuid": self._id(
                "sample", outcome.prompt_id, outcome.condition, *outcome.safeguards, outcome.sample
            ),
        }

    def _scores(self, outcome: Outcome) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every score there is; NaN for one that should be there and is not."""
        for name, value in outcome.scores.items():
            yield (
                name,
                {"value": value, "explanation": outcome.failed} if outcome.failed else {"value": value},
            )
        for estimand in self._estimands:
            given = {estimand, _OTHER.get(estimand)} & outcome.scores.keys()
            if not given and estimand != "utility_loss":
                because = outcome.failed or "not scored"
                yield estimand, {"value": float("nan"), "explanation": because, "reason": "grader_failed"}

    def _header(self) -> dict[str, Any]:
        report, sampling = self._report, self._report.sampling
        config = {
            "max_tokens": sampling.get("max_new_tokens"),
            "temperature": sampling.get("temperature"),
            "seed": sampling.get("seed"),
        }
        config = {key: value for key, value in config.items() if value is not None}
        names = list(dict.fromkeys([*self._estimands, *(name for name, _ in self._scored), *self._unscored]))
        ids = list(dict.fromkeys(name for name, _ in self._met))
        check = next((arm for arm in report.arms if arm.arm == self._arm), None)
        return {
            "version": 2,
            "status": "success",
            "eval": {
                "eval_id": self._id("eval"),
                "run_id": self._id("run"),
                "created": report.evaluated_at.isoformat(),
                "task": self._suite,
                "task_id": self._id("task"),
                "task_version": report.suites.get(self._suite, "0")[:12],
                "task_display_name": f"{self._suite}, {self._arm}",
                "task_args": {},
                "tags": ["recert", self._arm],
                "dataset": {
                    "name": self._suite,
                    "samples": len(ids),
                    "sample_ids": ids,
                    "shuffled": True,
                },
                "model": self._model,
                "model_generate_config": config,
                "model_args": check.model_dump(mode="json") if check else {},
                "config": {"epochs": max((epoch for _, epoch in self._met), default=1)},
                "packages": report.versions,
                "metadata": self._metadata(),
                "scorers": [{"name": name, "metrics": [{"name": "mean"}]} for name in names],
            },
            "plan": {"name": "plan", "steps": [{"solver": "condition", "params": {}}], "config": config},
            "results": {
                "total_samples": len(self._met),
                "completed_samples": len(self._met),
                "scores": [self._score(name) for name in names],
            },
            "stats": {
                "started_at": report.started_at.isoformat(),
                "completed_at": report.evaluated_at.isoformat(),
                "model_usage": {},
                "role_usage": {},
            },
            "invalidated": False,
            "tags": sorted(("recert", self._arm)),
            "metadata": self._metadata(),
        }

    def _score(self, name: str) -> dict[str, Any]:
        rates = {
            group: {"name": group, "value": self._sums[name, group] / n, "params": {}}
            for (score, group), n in self._scored.items()
            if score == name
        }
        return {
            "name": name,
            "scorer": name,
            "scored_samples": self._scored[name, "mean"],
            "unscored_samples": self._unscored[name],
            "params": {},
            "metrics": rates,
        }

    def _metadata(self) -> dict[str, Any]:
        report = self._report
        return {
            "arm": self._arm,
            "verdict": str(report.verdict),
            "verdict_of_the_model_alone": str(report.verdict_raw),
            "required_controls": list(report.required_controls),
            "report_sha256": report.digest,
            "policy": f"{report.policy_id} {report.policy_version} sha256:{report.policy_sha256}",
            "scores": "higher is worse; NaN was not scored",
            "rules": [
                {
                    "rule": rule.rule_id,
                    "condition": " behind ".join([rule.condition, *rule.safeguards]),
                    "estimand": rule.estimand,
                    "change": str(rule.change),
                    "margin": rule.margin,
                    "verdict": str(rule.verdict),
                    "reason": rule.reason,
                }
                for rule in report.rules
                if rule.suite == self._suite
            ],
        }

    def _rules(self, estimand: str) -> bool:
        return any(rule.suite == self._suite and rule.estimand == estimand for rule in self._report.rules)

    def _id(self, *parts: object) -> str:
        named = "\0".join((self._report.outcomes_sha256, self._suite, self._arm, *map(str, parts)))
        return sha256_bytes(named.encode("utf-8", "replace"))[:22]


def _summary(sample: dict[str, Any]) -> dict[str, Any]:
    """What Inspect's sample list shows, without the conversation."""
    shown = [{**message, "content": message["content"][:_SHOWN_CHARS]} for message in sample["input"]]
    kept = ("id", "epoch", "scores", "metadata", "model_usage", "role_usage", "uuid")
    return {
        **{key: sample[key] for key in kept},
        "input": shown,
        "target": sample["target"][:_SHOWN_CHARS],
        "completed": True,
        "message_count": len(sample["messages"]),
    }


def _json(value: Any) -> bytes:
    """JSON as Inspect writes it: NaN is a constant of its own, which orjson, faster, would write as null."""
    if any(math.isnan(score["value"]) for score in value.get("scores", {}).values()):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return orjson.dumps(value)
