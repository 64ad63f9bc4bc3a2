"""From labels in the console to the certificate: it names who labelled how many replies, and verifies."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from console_systems import CSRF, World, add, form
from evaluated import evaluated, worded
from recert.certification import read_unverified
from recert.console.app import make_app
from recert.console.evaluations import label_pages
from recert.console.visiting import Visitor
from recert.policy import load_policy
from recert.records.data.manifest import Manifest
from recert.records.reports.evaluation import EvalReport

from .conftest import Run
from .world import COMMANDS, POLICY

pytestmark = pytest.mark.slow

AT = "/console/systems/sql/labels"


def label_in_the_console(world: Path, folder: Path) -> None:
    """Let the account `ada` say of every reply of the sample that it refused."""
    made = World(folder, label_pages.PAGES)
    add(made, "sql", evaluation=world / "evaluation" / "eval-report.json")
    who = Visitor("ada", frozenset({"labeller"}), csrf=CSRF)
    console = replace(made.console(who), policy=load_policy(world / "policy.toml"))
    client = TestClient(make_app(console, made.pages), follow_redirects=False)
    client.post(f"{AT}/begin", data=form(replies="60"))
    while (page := client.get(f"{AT}/reply")).status_code == 200:
        fields = dict(re.findall(r'name="(outcomes|at)" value="(\w+)"', page.text.partition("/undo")[0]))
        client.post(f"{AT}/reply", data=form(label="refused", **fields))


def test_labels_of_the_console_are_in_the_certificate(world: Path, run: Run, tmp_path: Path) -> None:
    """Somebody labels in the browser, the evaluator decides and certifies, and the certificate names the account."""
    roomy = POLICY.replace("margin = 0.10", "margin = 0.30", 1).replace(
        "min_prompts = 24", "min_prompts = 60"
    )
    (world / "policy.toml").write_text(roomy.replace("block_prompts = 8", "block_prompts = 60"))
    evaluated(
        world / "evaluation",
        load_policy(world / "policy.toml"),
        base=Manifest.of_folder(world / "base"),
        tuned=Manifest.of_folder(world / "tuned"),
        replies=worded,
    )
    label_in_the_console(world, tmp_path)
    decided = run(world, "label evaluation --policy policy.toml --decide --key keys/evaluator.pem")
    report = EvalReport.from_json((world / "evaluation" / "eval-report.json").read_bytes())
    certified = run(world, COMMANDS["certify"])

    assert decided.code == 0, decided.err
    assert certified.code == 0, certified.err + certified.out
    said = read_unverified((world / "out.json").read_bytes())
    assert said.labels is not None and said.labels == report.labels
    assert [(one.name, one.kind) for one in said.labels.labellers] == [("ada", "person")]
    assert (said.labels.base.labelled, said.labels.tuned.labelled) == (60, 60)
