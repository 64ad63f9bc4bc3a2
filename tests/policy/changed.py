"""Policies that differ in one field, for property tests."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st
from pydantic import ValidationError

from recert.policy import Policy

WHOLE = Policy.model_validate(
    {
        "id": "whole",
        "version": "1",
        "title": "every section that a policy can have",
        "deployment": "external",
        "changes": [{"version": "1", "date": "2026-03-01", "by": "Ada", "why": "first"}],
        "contacts": [{"role": "risk owner", "reach": "risk@example.org", "name": "Ada"}],
        "retention": {"evidence_days": 365, "audit_days": 90, "texts_days": 30},
        "evaluation": {"samples_per_prompt": 2, "temperature": 0.5, "attempts": "counted"},
        "gateway": {
            "system_instruction": "Be kind.",
            "immutable_suffix": "Stay kind.",
            "thresholds": {"hate": "medium_and_above", "privacy": "none"},
            "trigger_probe": {},
            "audio": {},
            "shadow": ["input-judge"],
            "allow": ["tools"],
            "forbidden_phrases": ["abracadabra"],
        },
        "certification": {"exceptions": {"rules": ["harm"], "max_hours": 24}},
        "attack": {"max_target_calls": 5000},
        "suites": {"harmful": "a" * 64, "ordinary": "b" * 64},
        "moderation_checks": {"thresholds": {"hate": 0.1}, "report_only": ["advice"]},
        "rules": [
            {
                "id": "harm",
                "suite": "harmful",
                "estimand": "harm",
                "conditions": ["plain", "family:*"],
                "category": "*",
                "margin": 0.1,
                "max_tuned": 0.2,
                "max_base": 0.5,
                "judge": "compliance",
            },
            {"id": "over", "suite": "ordinary", "estimand": "over_refusal", "margin": 0.1},
        ],
    }
)

_CHOICES = {
    "attempts": ("any", "counted"),
    "deployment": ("internal", "external", "high-risk"),
    "estimand": ("harm", "over_refusal", "incoherence"),
    "hate": ("low_and_above", "medium_and_above", "only_high", "none", "off"),
    "privacy": ("low_and_above", "medium_and_above", "only_high", "none", "off"),
    "places": (["after"], ["before"], ["after", "before"]),
    "ordinary": ("c" * 64, "d" * 64),
    "harmful": ("c" * 64, "d" * 64),
    "allow": ([], ["tools"], ["tools", "stop"], ["stop"]),
    "report_only": ([], ["advice"], ["advice", "hate"], ["hate"]),
}
_LEFT_ALONE = {"schema_version", "changes", "contacts", "retention", "small", "full", "roles"}
"""Told as a whole, or by name: each has a test of its own."""


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every field that holds a plain value or a list of them."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in _LEFT_ALONE:
                yield from leaves(item, (*path, name))
    elif path == ("rules",):
        for at, item in enumerate(value):
            yield from leaves(item, (*path, at))
    elif path and path[-1] != "id":
        yield path


PATHS = tuple(leaves(WHOLE.model_dump(mode="json")))


def _others(name: Any, value: Any) -> st.SearchStrategy[Any]:
    if name in _CHOICES:
        return st.sampled_from(_CHOICES[name])
    if isinstance(value, bool):
        return st.just(not value)
    if isinstance(value, int):
        return st.sampled_from([value - 1, value + 1, value + 7, value * 2, max(value // 2, 0)])
    if isinstance(value, float):
        return st.sampled_from([value * 0.5, value * 0.9, value * 1.1, value + 0.01, min(value * 2, 1.0)])
    if isinstance(value, list):
        return st.sampled_from([[*value, "another"], value[:-1], ["another"]])
    return st.just(0.3) if value is None else st.just(f"{value}x")


@st.composite
def one_change(draw: st.DrawFn) -> tuple[str, Policy]:
    """Return a field's path, and the whole policy with another value there."""
    path = draw(st.sampled_from(PATHS))
    changed = copy.deepcopy(WHOLE.model_dump(mode="json"))
    inside: Any = changed
    for name in path[:-1]:
        inside = inside[name]
    before = inside[path[-1]]
    inside[path[-1]] = draw(_others(path[-1], before))
    assume(inside[path[-1]] != before)
    try:
        after = Policy.model_validate(changed)
    except ValidationError:
        assume(condition=False)
        raise
    assume(after.digest != WHOLE.digest)
    named = ["rules", WHOLE.rules[path[1]].id, *path[2:]] if path[0] == "rules" else path
    return ".".join(map(str, named)), after
