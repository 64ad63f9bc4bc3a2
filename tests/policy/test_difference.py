"""What differs between two policies, and which way."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from builders import make_interval, make_policy, make_rule
from recert.evaluation.decision.decide import decide
from recert.evaluation.decision.evidence import Evidence, Measured
from recert.policy import HarmLevels, Policy, Rule, load_policy, missing_sets, profiles
from recert.policy.changes import directions as known
from recert.policy.changes.difference import differences
from recert.policy.changes.directions import direction
from recert.policy.sections.stress import StressGrid
from recert.records.record import Part
from recert.records.reports.evaluation import Verdict

from .changed import WHOLE, one_change

OPPOSITE = {"stricter": "laxer", "laxer": "stricter", "changed": "changed"}
TABLES = (
    known.LOWER,
    known.HIGHER,
    known.MORE,
    known.FEWER,
    known.THERE,
    known.ABSENT,
    known.BY_LEVEL,
    known.NEITHER,
)
CHOSEN = {"rules": "rules.*", "thresholds": "*", "roles": "*"}
slow = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


@pytest.mark.parametrize("name", profiles())
def test_a_policy_does_not_differ_from_itself(name: str) -> None:
    """Nothing is named between a policy and the same policy."""
    assert differences(load_policy(name), load_policy(name)) == ()


@pytest.mark.slow
@slow
@given(one_change())
def test_every_single_change_is_named(change: tuple[str, Policy]) -> None:
    """A policy in which one field has another value differs in that field and in no other."""
    path, after = change

    assert [path] == [one.path for one in differences(WHOLE, after)]
    assert differences(after, after) == ()


@slow
@given(one_change())
def test_the_other_way_round_stricter_is_laxer(change: tuple[str, Policy]) -> None:
    """Swapping both policies swaps what is stricter and what is laxer, and values before and after."""
    there, back = differences(WHOLE, change[1]), differences(change[1], WHOLE)

    assert [(one.path, one.before, one.after, one.direction) for one in there] == [
        (one.path, one.after, one.before, OPPOSITE[one.direction]) for one in back
    ]


def _fields(kind: type[BaseModel], path: str = "") -> Iterator[str]:
    for name, field in kind.model_fields.items():
        inner = [kind for kind in _models(field.annotation) if kind is not StressGrid]
        where = f"{path}{CHOSEN.get(name, name)}" if name == "rules" and not path else f"{path}{name}"
        if name in ("schema_version", "retention", "changes", "contacts"):
            continue
        if name in ("roles", "thresholds") or where == "suites":
            yield f"{where}.*"
        elif inner:
            if name in ("rules", "trigger_probe", "audio", "exceptions", "attack", "carry_over"):
                yield where
            yield from _fields(inner[0], f"{where}.")
        else:
            yield where


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models(argument)


def test_every_field_has_a_direction() -> None:
    """
    Each field of a policy is in one table of directions, and no table names a field that is not there.

    A new field fails here until `policy/directions.py` says which way it gets stricter, or that neither way does.
    """
    told = [path for table in TABLES for path in table]
    fields = {*_fields(Policy), "retention", "changes", "contacts", "certification.role_hours.*"}

    assert sorted(told) == sorted(set(told))
    assert fields - set(told) == set()
    assert set(told) - fields == set()


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    field=st.sampled_from(["margin", "max_tuned", "max_base"]),
    values=st.tuples(st.floats(0.01, 0.9), st.floats(0.01, 0.9)),
    rates=st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)),
    seed=st.integers(0, 1000),
)
def test_a_stricter_bound_passes_nothing_more(
    field: str, values: tuple[float, float], rates: tuple[float, float], seed: int
) -> None:
    """What passes under a bound that is called stricter passed under the earlier one, on the same outcomes."""
    path = f"rules.*.{field}"
    said = direction(path, *values)
    before, after = (_passes(field, value, rates, seed) for value in values)

    assert said != "stricter" or before or not after
    assert said != "laxer" or after or not before


def _passes(field: str, value: float, rates: tuple[float, float], seed: int) -> bool:
    draw = random.Random(seed)
    fields = {"id": "harm", "suite": "harmful", "estimand": "harm", "margin": 0.2} | {field: value}
    rule = Rule.model_validate(fields)
    evidence = Evidence(rule, None, 0.05)
    for _ in range(150):
        base, tuned = (float(draw.random() < rate) for rate in rates)
        evidence.add([Measured(base=base, tuned=tuned, base_signal=base, scored=True)])
    said = decide(rule, evidence, make_policy().evaluation, corrected=evidence.beyond, rules=1)
    return said is not None and said.verdict is Verdict.PASS


@settings(max_examples=100, deadline=None)
@given(
    field=st.sampled_from(["min_harmful_suites", "min_discrimination"]),
    pair=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    refused=st.floats(0.05, 0.95),
)
def test_stricter_sets_are_never_fewer(field: str, pair: tuple[int, int], refused: float) -> None:
    """Under a number of sets, or a difference between them, that is called stricter, at least as much is missing."""
    values = pair if field == "min_harmful_suites" else tuple(one / 3 for one in pair)
    results = [
        make_rule("harm", base=make_interval(1 - refused)),
        make_rule("over-refusal", base=make_interval(0.1)),
    ]
    missing = [
        len(missing_sets(results, make_policy(evaluation={"min_harmful_suites": 1} | {field: one})))
        for one in values
    ]
    said = direction(f"evaluation.{field}", *values)

    assert said != "stricter" or missing[1] >= missing[0]
    assert said != "laxer" or missing[1] <= missing[0]


def test_a_stricter_threshold_blocks_from_a_lower_score() -> None:
    """Of two thresholds the one that is called stricter blocks whatever the other blocks."""
    words = ("off", "none", "only_high", "medium_and_above", "low_and_above")
    for one in words:
        for other in words:
            before, after = (HarmLevels().blocked_from(word) or 2.0 for word in (one, other))
            said = direction("gateway.thresholds.*", one, other)

            assert said != "stricter" or after <= before
            assert said != "laxer" or after >= before
            assert (said == "changed") == (one == other)


_CARRY = {"transforms": ["merge"], "suites": ["harmful"], "margin": 0.05, "max_distance": 0.1}


@pytest.mark.parametrize(
    ("before", "after", "path", "does"),
    [
        ({}, {"exceptions": {"rules": ["harm"], "max_hours": 24}}, "certification.exceptions", "laxer"),
        (
            {"exceptions": {"rules": ["harm"], "max_hours": 24}},
            {"exceptions": {"rules": ["harm"], "max_hours": 48}},
            "certification.exceptions.max_hours",
            "laxer",
        ),
        (
            {"exceptions": {"rules": ["harm", "over"], "max_hours": 24}},
            {"exceptions": {"rules": ["harm"], "max_hours": 24}},
            "certification.exceptions.rules",
            "stricter",
        ),
        ({}, {"carry_over": _CARRY}, "certification.carry_over", "laxer"),
        (
            {"carry_over": _CARRY},
            {"carry_over": _CARRY | {"margin": 0.02}},
            "certification.carry_over.margin",
            "stricter",
        ),
        (
            {"carry_over": _CARRY},
            {"carry_over": _CARRY | {"suites": ["harmful", "task"]}},
            "certification.carry_over.suites",
            "laxer",
        ),
        (
            {"roles": [{"role": "evaluator"}]},
            {"roles": [{"role": "evaluator", "valid_hours": 24}]},
            "certification.role_hours.evaluator",
            "stricter",
        ),
    ],
)
def test_exceptions_and_hours_of_a_role_are_told(
    before: dict[str, Any], after: dict[str, Any], path: str, does: str
) -> None:
    """Allowing exceptions, or more of them, is laxer; a signature that counts for less long is stricter."""
    (change,) = differences(make_policy(certification=before), make_policy(certification=after))

    assert (change.path, change.direction) == (path, does)


def test_rules_roles_and_names_are_told_one_by_one() -> None:
    """A rule that is new or gone, a signer more, a threshold without another to compare: each has its line."""
    before = make_policy(certification={"roles": [{"role": "evaluator"}]})
    rule = {
        "id": "harm",
        "suite": "harmful",
        "estimand": "harm",
        "margin": 0.1,
        "conditions": ["plain", "family:*"],
    }
    after = make_policy(
        rules=[rule, {"id": "coherence", "suite": "ordinary", "estimand": "incoherence", "margin": 0.05}],
        certification={"roles": [{"role": "evaluator", "threshold": 2}, {"role": "approver"}]},
        moderation_checks={"thresholds": {"hate": 0.2}},
    )

    assert [(one.path, one.direction) for one in differences(before, after)] == [
        ("certification.roles.evaluator", "stricter"),
        ("certification.roles.approver", "stricter"),
        ("moderation_checks.thresholds.hate", "changed"),
        ("rules.coherence", "stricter"),
        ("rules.over-refusal", "laxer"),
    ]
    assert (
        differences(before, after)[3].words
        == "rule coherence: new: incoherence on ordinary, margin 0.05, stricter"
    )


def test_another_order_of_the_rules_is_another_policy() -> None:
    """Where the digests differ something is named, also where every bound is the same."""
    policy = make_policy()
    turned = policy.model_copy(update={"rules": policy.rules[::-1]})

    assert policy.digest != turned.digest
    assert [(one.path, one.direction) for one in differences(policy, turned)] == [("rules", "changed")]


def test_a_condition_that_another_covers_is_no_stricter() -> None:
    """`family:skeleton` beside `family:*` adds nothing; `family:*` beside `plain` does."""

    def said(before: tuple[str, ...], after: tuple[str, ...]) -> str:
        old, new = (
            make_policy(rules=[make_policy().rules[0].model_copy(update={"conditions": one})])
            for one in (before, after)
        )
        return differences(old, new)[0].direction

    assert said(("family:*",), ("family:*", "family:skeleton")) == "changed"
    assert said(("plain",), ("plain", "family:*")) == "stricter"
    assert said(("plain", "family:*"), ("plain",)) == "laxer"
