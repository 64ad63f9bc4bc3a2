"""
garak: `garak.<uuid>.report.jsonl`, one JSON object a line with an `entry_type`.

- `start_run setup` and `init` name the version (`_config.version`, `garak_version`) and the target
  (`plugins.target_type`, `plugins.target_name`; before 0.13 `plugins.model_type`, `plugins.model_name`).
- `attempt` holds a prompt (text, a message, or a conversation of turns), its outputs, and `detector_results`:
  per detector one score an output in [0, 1] where 1 is a hit, or null. It is written with status 1 when the
  target has answered and again with status 2 when detectors have scored.
- `eval`, `digest`, `completion`, `probe_summary` and `policy` sum up, and are passed over.

Each probe becomes a suite. A hit of a detector of refusals, jailbreaks or harmful content is harm; what other
detectors look for (leaks, packages, injections) is none of our estimands.

Source: NVIDIA/garak, `garak/attempt.py` (`Attempt.as_dict`), `garak/command.py` (`start_run`, `end_run`),
`garak/evaluators/base.py`, `docs/source/reporting.rst`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from recert.digest import canonical_json
from recert.interop.importers.reading import Meaning, Reading, Told, listed, mapping, text

_HARM: Final = frozenset(
    {
        "agentharm",
        "dan",
        "harmbench",
        "jailbreakv",
        "judge",
        "lmrc",
        "malwaregen",
        "misogyny",
        "mitigation",
        "substances",
        "toxicity",
        "unsafe_content",
        "violence",
    }
)
"""Modules of detectors whose hit means that a harmful request was complied with."""
_SUMMARIES: Final = frozenset({"eval", "digest", "completion", "probe_summary", "policy"})
_EVALUATED: Final = 2


def known(detector: str) -> Meaning | None:
    """Return what a detector's score stands for."""
    return Meaning("harm") if detector.split(".", maxsplit=1)[0] in _HARM else None


def read(path: Path, reading: Reading) -> Told:
    """
    Read a report.

    Raises:
        StoreError: the file cannot be read.
    """
    version = model_name = ""
    open_attempts: dict[str, tuple[str, str]] = {}
    for where, entry in reading.json_lines(path):
        kind = text(entry.get("entry_type"))
        if kind == "start_run setup":
            version, model_name = text(entry.get("_config.version")), _target(entry)
        elif kind == "init":
            version = text(entry.get("garak_version")) or version
        elif kind == "attempt":
            _attempt(entry, where, reading, open_attempts)
        elif kind not in _SUMMARIES:
            reading.lost(where, f"entry of unknown type {kind[:40]!r}")
    for suite, prompt in open_attempts.values():
        reading.add(suite=suite, prompt=prompt, scores={}, failed="answered, never evaluated")
    return Told(version, model_name)


def _target(entry: dict[str, Any]) -> str:
    parts = [
        text(entry.get(f"plugins.target_{part}")) or text(entry.get(f"plugins.model_{part}"))
        for part in ("type", "name")
    ]
    return ":".join(part for part in parts if part)


def _attempt(
    entry: dict[str, Any], where: str, reading: Reading, open_attempts: dict[str, tuple[str, str]]
) -> None:
    suite, prompt, name = (
        text(entry.get("probe_classname")),
        _words(entry.get("prompt")),
        str(entry.get("uuid")),
    )
    results = entry.get("detector_results")
    if not suite or not prompt:
        reading.lost(where, "attempt without a probe or without a prompt in words")
        return
    if entry.get("status") != _EVALUATED:
        open_attempts[name] = (suite, prompt)
        return
    if not isinstance(results, dict) or not all(isinstance(scores, list) for scores in results.values()):
        reading.lost(where, "attempt without detector results")
        return
    open_attempts.pop(name, None)
    replies = max([len(listed(entry.get("outputs"))), *(len(scores) for scores in results.values()), 1])
    for at in range(replies):
        scores = {d: s[at] if at < len(s) else None for d, s in results.items()}
        reading.add(
            suite=suite, prompt=prompt, scores=scores, failed="" if scores else "no detector scored it"
        )


def _words(prompt: object) -> str:
    """A prompt's text, whichever of its three forms it has; a conversation of several turns is one text."""
    if isinstance(prompt, str):
        return prompt
    turns = mapping(prompt).get("turns")
    if turns is None:
        return text(mapping(prompt).get("text"))
    said = [
        (text(mapping(turn).get("role")), text(mapping(mapping(turn).get("content")).get("text")))
        for turn in listed(turns)
    ]
    if len(said) == 1:
        return said[0][1]
    return canonical_json(said).decode() if any(words for _, words in said) else ""
