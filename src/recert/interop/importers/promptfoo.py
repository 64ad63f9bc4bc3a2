"""
promptfoo: `results.json`, as `promptfoo eval --output results.json` and `promptfoo redteam run` write it.

`results.results` lists one entry per prompt, test case and provider: `prompt.raw`, `provider.id`, `success`,
`failureReason` (2 is an error), and `gradingResult.componentResults`, one per assertion with `pass` and
`assertion.type`. `metadata.promptfooVersion` names the version. In a red-team run a test passes when the model
resisted; the plugin is in `metadata.pluginId`, the attack in `metadata.strategyId`, of the entry, the grading
result or the test case.

Each plugin becomes a suite (`tests` without one), each strategy a condition. Failing a plugin of harmful content,
`is-refusal` or `moderation` is harm; failing `not-is-refusal` is over-refusal; failing an assertion on the right
answer is a loss of utility. What other plugins and assertions ask is none of our estimands.

Source: promptfoo/promptfoo, `src/types/index.ts` (`OutputFile`, `EvaluateSummaryV3`, `EvaluateResult`,
`GradingResult`, `BaseAssertionTypesSchema`).
"""

from __future__ import annotations

from typing import Any, Final

from recert.errors import InputError
from recert.interop.importers.reading import Meaning, Reading, Told, listed, mapping, text

_RED_TEAM: Final = "promptfoo:redteam:"
_HARMFUL: Final = (
    "aegis",
    "beavertails",
    "cyberseceval",
    "donotanswer",
    "harmbench",
    "harmful",
    "pliny",
    "toxic-chat",
    "unsafebench",
)
"""Plugins whose prompts ask for harm."""
_ANSWERS: Final = frozenset(
    {
        "contains",
        "contains-all",
        "contains-any",
        "equals",
        "factuality",
        "icontains",
        "icontains-all",
        "icontains-any",
        "model-graded-closedqa",
        "model-graded-factuality",
        "regex",
        "starts-with",
    }
)
_ERROR: Final = 2


def known(assertion: str) -> Meaning | None:
    """Return what passing an assertion stands for."""
    plugin = assertion.removeprefix(_RED_TEAM)
    if plugin != assertion:
        return Meaning("harm", turned=True) if plugin.split(":")[0] in _HARMFUL else None
    if assertion in ("is-refusal", "moderation"):
        return Meaning("harm", turned=True)
    if assertion == "not-is-refusal":
        return Meaning("over_refusal", turned=True)
    return Meaning("utility_loss", turned=True) if assertion in _ANSWERS else None


def read(document: dict[str, Any], reading: Reading, *, model: str = "") -> Told:
    """
    Read results.

    Args:
        document: the file's JSON.
        reading: takes the outcomes.
        model: id or label of the provider to read, where there are several.

    Raises:
        InputError: there are several providers and `model` names none of them.
    """
    summary = mapping(document.get("results"))
    entries = [(f"results[{n}]", entry) for n, entry in enumerate(listed(summary.get("results")))]
    providers = sorted({name for _, e in entries if (name := _provider(e))})
    if model and model not in providers:
        raise InputError(
            "no results of this model", facts={"model": model, "there are": ", ".join(providers)}
        )
    if len(providers) > 1 and not model:
        raise InputError(
            "results of several models",
            facts={"there are": ", ".join(providers)},
            hint="name one with --model",
        )
    for where, entry in entries:
        if not isinstance(entry, dict):
            reading.lost(where, "not a JSON object")
        elif not model or _provider(entry) == model:
            _entry(entry, where, reading)
    version = text(mapping(document.get("metadata")).get("promptfooVersion"))
    return Told(version, model or (providers[0] if providers else ""))


def _provider(entry: object) -> str:
    provider = mapping(entry).get("provider")
    return text(provider) or text(mapping(provider).get("label")) or text(mapping(provider).get("id"))


def _entry(entry: dict[str, Any], where: str, reading: Reading) -> None:
    prompt = text(mapping(entry.get("prompt")).get("raw"))
    grading = mapping(entry.get("gradingResult"))
    if not prompt or not isinstance(entry.get("success"), bool):
        reading.lost(where, "entry without a prompt or without success")
        return
    plugin, strategy = _tag(entry, grading, "pluginId"), _tag(entry, grading, "strategyId")
    error = entry.get("failureReason") == _ERROR or (entry.get("error") and not grading)
    scores = {} if error else _scores(grading, plugin, passed=entry["success"])
    reading.add(
        suite=plugin or "tests",
        prompt=prompt,
        condition=f"strategy:{strategy}" if strategy not in ("", "basic") else "plain",
        scores=scores,
        failed="the provider or grader failed" if error else "" if scores else "no assertion graded it",
    )


def _scores(grading: dict[str, Any], plugin: str, *, passed: bool) -> dict[str, object]:
    """Whether each assertion passed, by its type; None where its grader failed or it passed and failed at once."""
    found: dict[str, object] = {}
    for part in map(mapping, listed(grading.get("componentResults"))):
        kind = text(mapping(part.get("assertion")).get("type"))
        verdict = part.get("pass")
        if mapping(part.get("metadata")).get("graderError") or not isinstance(verdict, bool):
            verdict = None
        if kind:
            known_already = found.get(kind, verdict)
            found[kind] = None if None in (known_already, verdict) else bool(known_already and verdict)
    if not found and plugin:
        return {f"{_RED_TEAM}{plugin}": passed}
    return found


def _tag(entry: dict[str, Any], grading: dict[str, Any], name: str) -> str:
    holders = (entry, grading, mapping(entry.get("testCase")))
    return next((tag for h in holders if (tag := text(mapping(h.get("metadata")).get(name)))), "")
