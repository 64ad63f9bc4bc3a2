"""From a vendor's job to a certificate by commands: connect, evaluate at the vendor, certify for behaviour."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from recert.certification import generate_key, read_unverified
from recert.cli.app import app
from recert.errors import InputError
from recert.workflows.connecting import read_job
from tuning_services import POLICY
from vendors import MODEL, Vendor


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a policy and keys, in which nothing is remembered."""
    monkeypatch.setenv("RECERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RECERT_ENDPOINT_KEY", "sk-secret")
    (tmp_path / "policy.toml").write_text(POLICY)
    for role in ("evaluator", "approver", "trainer", "status"):
        generate_key(tmp_path / f"{role}.pem", role, role.title())
    return tmp_path


@pytest.mark.slow
def test_a_vendors_tune_is_certified_by_commands(folder: Path) -> None:
    """The folder of `connect` is what `evaluate` and `certify` take; reports of files are refused with it."""
    vendor, run = Vendor(), CliRunner()
    vendor.succeed()
    policy = ["--policy", str(folder / "policy.toml")]
    signed = [
        "certify", str(folder / "evaluation"), "--model", str(folder / "job"), *policy,
        "--key", str(folder / "evaluator.pem"), "--approver", str(folder / "approver.pub"),
        "--trainer", str(folder / "trainer.pub"), "--output", str(folder / "certificate.json"), "--trust", str(folder),
    ]  # fmt: skip
    with vendor.serving() as url:
        connected = run.invoke(app, ["connect", f"openai:{url}#ftjob-abc", "--output", str(folder / "job")])
        asked = ["--base", f"openai:{url}#small", "--model", str(folder / "job")]
        by = ["--key", str(folder / "evaluator.pem"), "--output", str(folder / "evaluation")]
        evaluated = run.invoke(app, ["evaluate", *asked, *policy, *by])
    listed = ["status", str(folder / "status.json"), "--first", "--key", str(folder / "status.pem")]
    assert run.invoke(app, [*listed, "--trust", str(folder)]).exit_code == 0
    certified = run.invoke(app, signed)
    more = run.invoke(app, [*signed, "--supersedes", "0" * 32])

    assert (connected.exit_code, connected.stdout.strip()) == (0, f"openai:{url}#{MODEL}")
    assert evaluated.exit_code == 0, evaluated.output
    assert certified.exit_code == 0, certified.output
    assert read_unverified((folder / "certificate.json").read_bytes()).binds == "behaviour"
    assert isinstance(more.exception, InputError) and more.exception.facts == {"given": "supersedes"}


def test_a_vendors_no_is_an_answer(folder: Path) -> None:
    """A check that failed there ends `connect` with 1, and stands in the record; so does a job that is not over."""
    vendor, run = Vendor(), CliRunner()
    vendor.say("step 1")
    with vendor.serving() as url:
        command = ["connect", f"openai:{url}#ftjob-abc", "--output", str(folder / "job")]
        early = run.invoke(app, [*command, "--no-wait"])
        vendor.succeed(passed=False)
        late = run.invoke(app, [*command, "--every-s", "0.1"])

    assert (early.exit_code, early.stdout) == (1, "")
    assert (late.exit_code, late.stdout.strip()) == (1, f"openai:{url}#{MODEL}")
    assert read_job(folder / "job").why_not() == ("vendor-check: hate failed the vendor's own check",)
