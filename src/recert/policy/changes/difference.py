"""What differs between two policies, field by field, in words and with its direction."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from recert.policy.changes.directions import direction
from recert.policy.policy import Policy, RoleRule, Rule
from recert.policy.sections.stress import StressGrid
from recert.records.record import Part
from recert.records.signed.policy_diff import FieldChange

_CHOSEN = (
    "rules",
    "certification.roles",
    "certification.role_hours",
    "gateway.thresholds",
    "moderation_checks.thresholds",
    "suites",
)
"""Sections in which a policy chooses the names. How long a role's signatures count is told as `role_hours`."""
_WHOLE = (
    "gateway.trigger_probe",
    "gateway.audio",
    "certification.exceptions",
    "certification.carry_over",
    "attack",
    "reasoning",
)
"""Sections that are there or not: told as a whole where one side has none."""


def differences(before: Policy, after: Policy) -> tuple[FieldChange, ...]:
    """
    Return every field that differs, in the order of the policy, with what the change does.

    Empty only where both are the same: what no field shows, such as another order of the rules, is named too.
    """
    old, new = dict(_flat("", before)), dict(_flat("", after))
    gone = [name for name in old if name not in new]
    found = [
        change
        for path in (*new, *gone)
        if old.get(path) != new.get(path) and not _of_whole(path, old, new)
        for change in [_change(path, old.get(path), new.get(path))]
    ]
    found = [_with_more_vetoes(change, before, after) for change in found]
    if not found and before.digest != after.digest:
        found.append(
            FieldChange(path="rules", direction="changed", words="the same bounds in another order, changed")
        )
    return tuple(found)


def fields(policy: Policy) -> tuple[tuple[str, str], ...]:
    """Return every field of a policy in its order, with its value as text; what a list holds is told item by item."""
    return tuple(
        (in_words(path), shown(value))
        for path, value in _flat("", policy)
        if not isinstance(value, Rule | Part)
    )


def in_words(path: str) -> str:
    """Return a field's path as a person says it: `rule harm: margin`, `evaluation: alpha`."""
    section, _, name = path.rpartition(".")
    if path.startswith("rules."):
        _, rule, *rest = path.split(".")
        return f"rule {rule}: {rest[0]}" if rest else f"rule {rule}"
    return f"{section}: {name}" if section else name


def shown(value: Any) -> str:
    """Return a value of a policy as text; empty for none."""
    match value:
        case None:
            text = ""
        case Rule():
            text = f"{value.estimand} on {value.suite}, margin {value.margin:.12g}"
        case bool():
            text = "yes" if value else "no"
        case float():
            text = f"{value:.12g}"
        case tuple():
            text = ", ".join(shown(item) for item in value) or "none"
        case Part():
            said = value.model_dump(mode="json", exclude_none=True)
            text = ", ".join(f"{name} {item}" for name, item in said.items())
        case _:
            text = str(value)
    return text


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Each field with its path; a rule, a section and a list of roles also stand for themselves."""
    if isinstance(value, Part) and not isinstance(value, StressGrid):
        if path and (isinstance(value, Rule) or path in _WHOLE):
            yield path, value
        for name in type(value).model_fields:
            yield from _flat(f"{path}.{name}" if path else name, getattr(value, name))
        return
    if path == "rules":
        yield from _rules(value)
    elif path == "certification.roles":
        yield from ((f"{path}.{role}", threshold) for role, threshold in _needed(value).items())
        yield from ((f"certification.role_hours.{role}", hours) for role, hours in _hours(value).items())
    elif path in _CHOSEN:
        for name, item in sorted((value or {}).items()):
            yield f"{path}.{name}", item
    elif path not in ("schema_version",):
        yield path, value


def _rules(rules: Sequence[Rule]) -> Iterator[tuple[str, Any]]:
    seen = Counter[str]()
    for rule in rules:
        name = rule.id.replace(".", "_")
        seen[name] += 1
        yield from _flat(f"rules.{name}#{seen[name]}" if seen[name] > 1 else f"rules.{name}", rule)


def _needed(roles: Sequence[RoleRule]) -> dict[str, int]:
    return {one.role: max(r.threshold for r in roles if r.role == one.role) for one in roles}


def _hours(roles: Sequence[RoleRule]) -> dict[str, float]:
    limited = [rule for rule in roles if rule.valid_hours is not None]
    return {one.role: min(r.valid_hours or 0 for r in limited if r.role == one.role) for one in limited}


def _of_whole(path: str, old: dict[str, Any], new: dict[str, Any]) -> bool:
    """A rule on both sides is told field by field, one that is new or gone as a whole."""
    if path.startswith("rules."):
        whole = ".".join(path.split(".")[:2])
    else:
        whole = next((one for one in _WHOLE if path == one or path.startswith(f"{one}.")), "")
    if not whole:
        return False
    both = isinstance(old.get(whole), Part) and isinstance(new.get(whole), Part)
    return (path == whole) == both


def _change(path: str, before: Any, after: Any) -> FieldChange:
    generic = _generic(path)
    does = direction(generic, _comparable(generic, before), _comparable(generic, after))
    said, now = shown(before), shown(after)
    if before is None:
        words = f"new: {now}"
    elif after is None:
        words = f"gone: {said}"
    else:
        words = f"from {said or 'nothing'} to {now or 'nothing'}"
    return FieldChange(
        path=path, before=said, after=now, direction=does, words=f"{in_words(path)}: {words}, {does}"
    )


def _with_more_vetoes(change: FieldChange, before: Policy, after: Policy) -> FieldChange:
    """More families are stricter while no more of them may be without signal; else one may make up for another."""
    if change.path != "evaluation.families" or change.direction == "changed":
        return change
    spare = [
        0 if bounds.families_with_signal is None else len(bounds.families) - bounds.families_with_signal
        for bounds in (before.evaluation, after.evaluation)
    ]
    less, more = spare if change.direction == "laxer" else spare[::-1]
    if less <= more:
        return change
    words = f"{change.words.removesuffix(change.direction)}changed"
    return change.model_copy(update={"direction": "changed", "words": words})


def _generic(path: str) -> str:
    for section in _CHOSEN:
        if path.startswith(f"{section}."):
            rest = path.split(".")[2:] if section == "rules" else []
            return ".".join([section, "*", *rest])
    return path


def _comparable(path: str, value: Any) -> Any:
    """Lists without what another entry says already, so that such an entry is no change of bounds."""
    if path == "gateway.shadow" and value and "all" in value:
        return ("all",)
    if path == "rules.*.conditions" and value is not None:
        return tuple(one for one in value if not any(_said_by(one, other) for other in value))
    return value


def _said_by(one: str, other: str) -> bool:
    return fnmatch.fnmatchcase(one, other) and not fnmatch.fnmatchcase(other, one)
