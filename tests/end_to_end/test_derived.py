"""No certificate for a folder that somebody edited: `certify` and `approve` derive the verdict from its outcomes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from certified_folders import Certified
from evaluated import AGREE, evaluated, suite
from recert.certification import load_key, read_unverified
from recert.certification.stage import signed
from recert.digest import sha256_bytes
from recert.policy import load_policy
from recert.records.data.manifest import Manifest
from recert.records.reports.evaluation import EvalReport, Verdict
from signing_console import ID, client_of, console_of, draft

from .conftest import Run
from .world import COMMANDS, files

pytestmark = pytest.mark.slow

CERTIFY, APPROVE = COMMANDS["certify"], COMMANDS["approve"]


def report_of(world: Path) -> EvalReport:
    return EvalReport.from_json((world / "evaluation" / "eval-report.json").read_bytes())


def forge(world: Path, **changes: object) -> None:
    (world / "evaluation" / "eval-report.json").write_bytes(
        report_of(world).model_copy(update=changes).to_json()
    )


def fail(world: Path) -> EvalReport:
    """Evaluate a model that complies with everything, in place of the one that passed."""
    return evaluated(
        world / "evaluation",
        load_policy(world / "policy.toml"),
        base=Manifest.of_folder(world / "base"),
        tuned=Manifest.of_folder(world / "tuned"),
        replies=lambda one: AGREE,
    )


def test_verdicts_set_to_pass_are_not_certified(world: Path, run: Run) -> None:
    """The first finding: every verdict set to `pass`, the numbers left. Nothing is drafted, and each is named."""
    report = fail(world)
    rules = tuple(rule.model_copy(update={"verdict": Verdict.PASS}) for rule in report.rules)
    forge(world, rules=rules, verdict_raw=Verdict.PASS, slices=(), reasons=())
    said = run(world, CERTIFY)

    assert report.verdict is Verdict.FAIL
    assert (said.code, (world / "out.json").exists()) == (1, False)
    assert "verdict-not-derived: verdict_raw is pass, from the outcomes follows fail" in said.out
    assert "verdict-not-derived: harm on harmful under plain: verdict is pass" in said.out


def test_numbers_set_to_zero_are_not_certified_either(world: Path, run: Run) -> None:
    """A passing model's report in place of the failing one's, with the failing one's outcomes named: refused."""
    good = report_of(world)
    bad = fail(world)
    (world / "evaluation" / "eval-report.json").write_bytes(
        good.model_copy(update={"outcomes_sha256": bad.outcomes_sha256}).to_json()
    )
    said = run(world, CERTIFY)

    assert said.code == 1
    assert "verdict-not-derived" in said.out


def test_edited_outcomes_are_not_certified(world: Path, run: Run) -> None:
    """A harmful score set to harmless, its digest put into the report: the numbers do not follow, nor do its states."""
    fail(world)
    path = world / "evaluation" / "outcomes.jsonl"
    lines = path.read_text().replace('"harm":1', '"harm":0')
    path.write_text(lines)
    forge(world, outcomes_sha256=sha256_bytes(lines.encode()))

    assert run(world, CERTIFY).code == 1


def test_what_was_drafted_from_an_edited_report_is_not_signed(world: Path, run: Run) -> None:
    """
    An evaluator's key that signed a made-up draft gets no approver to sign it: the approver's command derives it again.
    """
    drafted = read_unverified((world / "draft.json").read_bytes())
    forged = drafted.model_copy(
        update={"results": tuple(r.model_copy(update={"margin": 0.9}) for r in drafted.results)}
    )
    before = signed(forged, load_key(world / "keys/evaluator.pem"))
    (world / "draft.json").write_bytes(before)
    said = run(world, APPROVE)

    assert (said.code, (world / "draft.json").read_bytes()) == (1, before)
    assert "its results follow from the outcomes of its evaluation: verdict-not-derived: harm on" in said.out


@pytest.mark.parametrize("name", ["tuned", "engine", "fingerprint", "replies", "model_name"])
def test_what_only_the_report_can_say_is_compared_with_it(world: Path, run: Run, name: str) -> None:
    """Files, engine, fingerprint and counts follow from no outcome: a draft that names others is not signed."""
    drafted = read_unverified((world / "draft.json").read_bytes())
    other = {
        "tuned": drafted.base,
        "engine": "another/1",
        "fingerprint": "another",
        "replies": {"base_made": 1, "tuned_made": 1},
        "model_name": "another",
    }
    forged = drafted.model_copy(update={name: other[name]})
    (world / "draft.json").write_bytes(signed(forged, load_key(world / "keys/evaluator.pem")))
    said = run(world, APPROVE)

    assert said.code == 1
    assert f"verdict-not-derived: {name} is not what the evaluation's report says" in said.out


def test_without_the_report_nothing_is_signed(world: Path, run: Run) -> None:
    """Outcomes alone do not say which files answered."""
    (world / "evaluation" / "eval-report.json").unlink()
    before = files(world)

    assert run(world, APPROVE).code != 0
    assert files(world)["draft.json"] == before["draft.json"]


def test_without_evidence_nothing_is_signed(world: Path, run: Run) -> None:
    """Where the outcomes are not beside the certificate they are asked for, and found where they are given."""
    shutil.move(world / "evaluation", world / "elsewhere")
    before = files(world)
    without, given = run(world, APPROVE), run(world, f"{APPROVE} --evidence elsewhere")

    assert (without.code, "--evidence" in without.err) == (2, True)
    assert given.code == 0, given.err
    assert files(world)["draft.json"] != before["draft.json"]


def test_prompts_come_from_the_folder_or_are_given(world: Path, run: Run) -> None:
    """Without the evaluation's own suites they are given by name, and other ones under that name are no help."""
    kept = world / "kept"
    shutil.move(world / "evaluation" / "suites", kept)
    other = suite("harmful", harmful=True, count=59)
    for name, made in (("harmful", suite("harmful", harmful=True)), ("other", other)):
        rows = [{"id": p.id, "prompt": p.text, "expect": p.expect} for p in made.prompts]
        (world / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    without = run(world, CERTIFY)
    wrong = run(world, f"{CERTIFY} --suite harmful=other.jsonl")
    shutil.move(kept, world / "evaluation" / "suites")
    back = run(world, CERTIFY)

    assert (without.code, wrong.code, back.code) == (1, 1, 0)
    assert "suite harmful" in without.out and "--suite harmful=FILE" in without.out


def test_the_console_takes_no_signature_without_evidence(tmp_path: Path) -> None:
    """The sign-off page says what is missing, and a signature that comes all the same is not kept."""
    certified = Certified(tmp_path, evidence=True)
    draft(certified, "evaluator")
    at = f"/console/systems/{ID}/sign-off"
    whole = client_of(console_of(certified, "approver")).get(at).text
    shutil.rmtree(tmp_path / "evaluation")
    without = client_of(console_of(certified, "approver")).get(at).text

    assert "no evidence lies beside the certificate" in without
    assert "no evidence lies beside the certificate" not in whole
    assert "ts results follow from the outcomes of its evaluation" in whole
