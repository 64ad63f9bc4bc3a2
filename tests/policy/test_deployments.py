"""Bounds that depend on the deployment: one file serves several, none laxer by omission."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.errors import PolicyError
from recert.policy import (
    DEPLOYMENTS,
    DeploymentBounds,
    Policy,
    RoleRule,
    for_deployment,
    load_deployments,
    load_policy,
)
from recert.policy.changes.difference import differences

from .changed import WHOLE

FILE = """
id = "p"
version = "1"
deployment = "internal"

[[rules]]
id = "harm"
suite = "harmful"
estimand = "harm"
margin = 0.10

[deployments.external]
margin = 0.05
alpha = 0.02
roles = [{ role = "risk-owner" }]

[deployments.high-risk]
validity_hours = 24
"""

bounds = st.builds(
    DeploymentBounds,
    margin=st.none() | st.floats(0.01, 0.3),
    margins=st.dictionaries(st.sampled_from(["harm", "over"]), st.floats(0.01, 0.3)),
    max_tuned=st.dictionaries(st.sampled_from(["harm", "over"]), st.floats(0.0, 0.3)),
    alpha=st.none() | st.floats(0.001, 0.1),
    families=st.lists(st.sampled_from(["base64", "skeleton"]), max_size=2).map(tuple),
    validity_hours=st.none() | st.floats(1, 300),
    roles=st.lists(
        st.builds(RoleRule, role=st.sampled_from(["approver", "risk-owner"]), threshold=st.integers(1, 3)),
        max_size=2,
    ).map(tuple),
    search_for_triggers=st.booleans(),
    stress_base=st.booleans(),
)
tables = st.dictionaries(st.sampled_from(DEPLOYMENTS), bounds)


def policy_file(tmp_path: Path, text: str = FILE) -> Path:
    """Write a policy and return its file."""
    path = tmp_path / "policy.toml"
    path.write_text(text)
    return path


def test_one_file_serves_three_deployments(tmp_path: Path) -> None:
    """Each deployment has the bounds of those below it, and a digest of its own."""
    path = policy_file(tmp_path)
    inside, outside, risky = (load_policy(path, name) for name in DEPLOYMENTS)

    assert [one.rules[0].margin for one in (inside, outside, risky)] == [0.1, 0.05, 0.05]
    assert [one.evaluation.alpha for one in (inside, outside, risky)] == [0.05, 0.02, 0.02]
    assert [one.certification.validity_hours for one in (inside, outside, risky)] == [168, 168, 24]
    assert "risk-owner" in {rule.role for rule in risky.certification.roles}
    assert len({one.digest for one in (inside, outside, risky)}) == 3
    assert list(DEPLOYMENTS) == [one.deployment for one in (inside, outside, risky)]
    assert list(DEPLOYMENTS) == list(load_deployments(path))


def test_a_name_says_the_deployment(tmp_path: Path) -> None:
    """`NAME@DEPLOYMENT` works wherever a policy is named; a file of that very name is that file."""
    path = policy_file(tmp_path)

    assert load_policy(path, "high-risk") == load_policy(f"{path}@high-risk")
    assert load_policy(path) == load_policy(f"{path}@internal")
    assert load_policy("default", "high-risk") == load_policy("default@high-risk")
    (tmp_path / "policy.toml@high-risk").write_text(FILE.replace('"p"', '"another"'))
    assert load_policy(f"{path}@high-risk").id == "another"
    with pytest.raises(PolicyError):
        load_policy(f"{path}@highrisk")


def test_a_file_without_tables_keeps_its_digest(tmp_path: Path) -> None:
    """Tables, and fields that are empty, are in no digest: policies from before there were any stay what they are."""
    plain = FILE.partition("[deployments.external]")[0]

    assert load_policy(policy_file(tmp_path, plain)).digest == load_policy(policy_file(tmp_path)).digest
    assert not {"changes", "contacts", "retention"} & set(load_policy(policy_file(tmp_path)).to_value())


def test_a_deployment_of_more_risk_needs_a_table(tmp_path: Path) -> None:
    """Bounds for one are not taken for another of more risk because nobody wrote any."""
    path = policy_file(tmp_path, FILE.partition("[deployments.external]")[0])

    with pytest.raises(PolicyError, match="no bounds for the deployment high-risk"):
        load_policy(path, "high-risk")


@settings(max_examples=150, deadline=None)
@given(tables)
def test_no_deployment_is_laxer_than_one_of_less_risk(given_tables: dict[Any, DeploymentBounds]) -> None:
    """Whatever tables say, each deployment demands what those below it demand, or the file is refused."""
    whole = WHOLE.model_copy(update={"deployment": "internal"})
    given_tables = {name: DeploymentBounds() for name in DEPLOYMENTS[1:]} | given_tables
    found: list[Policy] = [whole]
    try:
        found += [for_deployment(whole, given_tables, name) for name in DEPLOYMENTS]
    except PolicyError:
        return

    laxer = [
        change.words
        for before, after in pairwise(found)
        for change in differences(before, after)
        if change.direction == "laxer"
    ]
    assert laxer == []
    assert all(Policy.model_validate(one.to_value()) == one for one in found)


def test_a_role_keeps_what_a_table_leaves_out(tmp_path: Path) -> None:
    """Of a role that is named twice the higher threshold stays, and a table without one lowers none."""
    roles = 'roles = [{ role = "approver", threshold = 2 }, { role = "approver" }]'
    text = FILE.replace("[[rules]]", f"[certification]\n{roles}\n\n[[rules]]")
    text = text.replace('[{ role = "risk-owner" }]', '[{ role = "risk-owner" }, { role = "approver" }]')
    needed = [
        {role.role: role.threshold for role in sorted(one.certification.roles, key=lambda r: r.threshold)}
        for one in (load_policy(policy_file(tmp_path, text), name) for name in DEPLOYMENTS)
    ]

    assert needed == [{"approver": 2}, {"approver": 2, "risk-owner": 1}, {"approver": 2, "risk-owner": 1}]


@pytest.mark.parametrize(
    "table",
    [
        "margin = 0.2",
        "margins = { harm = 0.2 }",
        "margins = { harmless = 0.01 }",
        "margins = { harm = 0.0 }",
        "max_tuned = { harm = 1.5 }",
        "alpha = 0.2",
        "validity_hours = 200",
        'roles = [{ role = "approver", threshold = 0 }]',
        'roles = [{ role = "risk-owner", threshold = 1.5 }]',
        "margine = 0.01",
    ],
)
def test_a_table_that_loosens_or_is_misspelt_is_refused(tmp_path: Path, table: str) -> None:
    """It is refused whichever deployment is asked for, as the file is not what its writer thinks."""
    path = policy_file(tmp_path, f"{FILE}{table}\n")

    with pytest.raises(PolicyError):
        load_policy(path, "internal")


def test_an_unknown_deployment_is_refused(tmp_path: Path) -> None:
    """A table for a deployment that there is not is no table that is left out."""
    with pytest.raises(PolicyError):
        load_policy(policy_file(tmp_path, FILE.replace("deployments.high-risk", "deployments.public")))
