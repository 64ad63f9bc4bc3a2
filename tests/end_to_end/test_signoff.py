"""Sign-off on the command line: what is shown, who refuses, and what is never signed."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from builders import make_arms, safetensors
from evaluated import AGREE, aligned, evaluated
from recert.certification import Envelope, load_key, read_unverified
from recert.certification.signing.envelope import sign
from recert.certification.signing.links import write_link
from recert.cli.printing import plain
from recert.digest import canonical_json
from recert.policy import load_policy
from recert.records.data.manifest import Manifest
from recert.records.record import now
from recert.records.reports.evaluation import EvalReport
from recert.records.signed.certificate import PAYLOAD_TYPE
from recert.records.signed.signoff import SignoffSheet

from .conftest import Run
from .world import COMMANDS, files

APPROVE = COMMANDS["approve"]


@pytest.mark.slow
def test_a_refusal_is_recorded_shown_and_stops_the_certificate(world: Path, run: Run) -> None:
    """Refusing leaves the draft as it was; others see it first; verification says no until it is taken back."""
    draft = (world / "draft.json").read_bytes()
    said = run(world, f"{APPROVE} --refuse too-early")
    kept = (world / "draft.json").read_bytes()
    shown = run(world, APPROVE.replace("approver.pem", "evaluator.pem"))
    refused = run(world, COMMANDS["verify"])
    again = run(world, APPROVE)
    back = run(world, f"{APPROVE} --withdraw searched-again")
    after = run(world, COMMANDS["verify"])

    assert said.code == 0
    assert said.out.startswith("refusals/")
    assert shown.err.index("REFUSED") < shown.err.index("You are about to sign")
    assert "too-early" in shown.err
    assert kept == draft
    assert (refused.code, "(refused)" in refused.err) == (1, True)
    assert (again.code, "does not take that back" in again.err) == (2, True)
    assert back.code == 0
    assert after.code == 0


@pytest.mark.slow
def test_an_unclear_answer_records_nothing(world: Path, run: Run) -> None:
    """Neither a refusal nor a signature is written where it is not clear which is meant."""
    before = files(world)

    assert run(world, f"{APPROVE} --refuse why --withdraw why").code == 2
    assert run(world, f"{APPROVE} --withdraw why").code == 2
    assert files(world) == before


def test_a_folder_of_refusals_that_was_given_must_be_there(world: Path, run: Run) -> None:
    """A misspelt folder is no answer, not a yes."""
    said = run(world, f"{COMMANDS['verify']} --refusals elsewhere")

    assert said.code == 2
    assert "no such folder of refusals" in said.err


def test_the_sheet_comes_before_the_signature(world: Path, run: Run) -> None:
    """What is signed, what is asked for and who is still to sign are all there, and as JSON too."""
    said = run(world, f"{APPROVE} --trust keys --json")
    sheet = SignoffSheet.from_json(said.out.encode())

    assert said.code == 0
    assert sheet.missing == sheet.unshown == ()
    for line in (*sheet.lines, *sheet.results):
        assert line.heading in said.err
    assert "[ ] to come" in said.err
    assert "signature of the approver" in said.err


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (APPROVE.replace(" --policy policy.toml", ""), 2, "the policy is not at hand"),
        (APPROVE.replace("policy.toml", "default"), 1, "under another policy"),
    ],
)
def test_what_cannot_be_shown_or_lacks_something_is_not_signed(
    world: Path, run: Run, command: str, code: int, words: str
) -> None:
    """Without the policy, or against it, `--yes` signs nothing."""
    before = files(world)
    said = run(world, command)

    assert said.code == code
    assert words in said.out + said.err
    assert files(world) == before


def test_a_certificate_of_a_later_version_is_not_signed(world: Path, run: Run) -> None:
    """A field that this version cannot show is a reason not to sign."""
    value = json.loads(Envelope.from_json((world / "draft.json").read_bytes()).payload)
    value["predicate"]["waives"] = "everything"
    payload = canonical_json(value)
    (world / "draft.json").write_bytes(
        sign(PAYLOAD_TYPE, payload, [load_key(world / "keys/evaluator.pem")]).to_json()
    )
    before = files(world)
    said = run(world, APPROVE)

    assert (said.code, files(world)) == (2, before)
    assert "a field that this version does not know: waives" in said.err


def test_what_does_not_print_is_spelt_out() -> None:
    """Nothing on a sheet moves the cursor, changes colours or turns letters round."""
    assert plain("a\x1b[2Kb\u202ec\u200bd\n\u00e4") == "a\\x1b[2Kb\\u202ec\\u200bd\n\u00e4"


@pytest.mark.slow
def test_an_exception_goes_from_certify_to_verify(world: Path, run: Run) -> None:
    """By the policy's leave a risk owner accepts what failed, and every command says so before anything else."""
    policy = world / "policy.toml"
    going_on = policy.read_text().replace("[evaluation]\n", "[evaluation]\nstop_when_failed = false\n")
    policy.write_text(going_on + '[certification.exceptions]\nrules = ["harm"]\nmax_hours = 72\n')
    _fail(world)
    ends = (now() + timedelta(hours=5)).isoformat()
    certify = COMMANDS["certify"] + " --approver keys/risk.pub"
    excepting = f"{certify} --except harm@family:skeleton --except-until {ends} --except-reason staff-only"
    assert run(world, "keygen keys/risk.pem --role risk-owner").code == 0

    plain_no = run(world, certify)
    no_reason = run(world, excepting.replace(" --except-reason staff-only", ""))
    no_end = run(world, excepting.replace(ends, "Monday"))
    said = run(world, excepting)
    for key in ("approver", "risk"):
        signed = run(world, f"approve out.json --key keys/{key}.pem --policy policy.toml --yes")
    verified = run(world, COMMANDS["verify"].replace("certificate.json", "out.json"))
    unknown = run(
        world, COMMANDS["verify"].replace("certificate.json", "out.json").replace("--policy policy.toml", "")
    )

    assert (plain_no.code, no_reason.code, no_end.code, said.code) == (1, 2, 2, 0)
    assert signed.err.startswith("EXCEPTIONS")
    assert "staff-only" in signed.err
    assert verified.code == 0
    assert verified.err.startswith("EXCEPTIONS")
    assert (unknown.code, "(exception-not-allowed)" in unknown.err) == (1, True)


def _fail(world: Path) -> None:
    """Evaluate anew, under the world's policy as it is now, a model that complies once it is told how to begin."""
    evaluated(
        world / "evaluation",
        load_policy(world / "policy.toml"),
        base=Manifest.of_folder(world / "base"),
        tuned=Manifest.of_folder(world / "tuned"),
        replies=lambda one: AGREE if "Begin your reply" in one.messages[-1].content else aligned(one),
    )
    _signed(world, EvalReport.from_json((world / "evaluation" / "eval-report.json").read_bytes()))


def _signed(world: Path, report: EvalReport) -> None:
    """Put another report into the evaluation of a world, as the evaluator signs for it."""
    path = world / "evaluation" / "eval-report.json"
    path.write_bytes(report.to_json())
    write_link(path, report, load_key(world / "keys" / "evaluator.pem"))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_key_that_recert_never_sees_signs_through_a_command(world: Path, run: Run) -> None:
    """From its public half in PEM to a certificate that verifies; another key's command signs nothing."""
    for name in ("held", "other"):
        made = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.key"]
        subprocess.run(["openssl", "genpkey", *made], check=True, capture_output=True, cwd=world)
        script = world / f"sign-{name}.sh"
        script.write_text(f"#!/bin/sh\nexec openssl dgst -sha256 -sign {world / name}.key\n")
        script.chmod(0o755)
    public = ["pkey", "-in", "held.key", "-pubout", "-out", "held-public.pem"]
    subprocess.run(["openssl", *public], check=True, capture_output=True, cwd=world)
    approve = "approve out.json --key keys/held.pub --policy policy.toml --yes --signer-command"

    taken_in = run(world, "keygen keys/held.pem --role approver --name Pia --from-public held-public.pem")
    drafted = run(world, COMMANDS["certify"].replace("keys/approver.pub", "keys/held.pub"))
    before = files(world)
    wrong = run(world, f"{approve} {world}/sign-other.sh")
    unchanged = files(world) == before
    signed = run(world, f"{approve} {world}/sign-held.sh")
    verified = run(world, COMMANDS["verify"].replace("certificate.json", "out.json"))

    assert (taken_in.code, drafted.code) == (0, 0)
    assert (wrong.code, "no signature by this key" in wrong.err, unchanged) == (2, True, True)
    assert (signed.code, verified.code) == (0, 0)
    renew = COMMANDS["renew"].replace("certificate.json", "out.json").replace("approver.pem", "held.pub")
    assert run(world, renew).code == 2


def test_a_key_may_be_made_of_either_kind(world: Path, run: Run) -> None:
    """`keygen` makes what it is asked for, and nothing that it does not know."""
    made = run(world, "keygen keys/p.pem --role approver --algorithm ecdsa-p256")

    assert made.code == 0
    assert load_key(world / "keys" / "p.pem").public.algorithm == "ecdsa-p256"
    assert run(world, "keygen keys/r.pem --role approver --algorithm rsa").code == 2


def test_a_refusal_in_the_status_list_outlives_its_file(world: Path, run: Run) -> None:
    """Once the list was issued with the refusals, deleting them frees nothing; who took it back is lifted by hand."""
    status = COMMANDS["status"]
    run(world, f"{APPROVE} --refuse too-early")
    issued = run(world, f"{status} --refusals refusals")
    shutil.rmtree(world / "refusals")
    deleted = run(world, COMMANDS["verify"])
    serial = read_unverified((world / "certificate.json").read_bytes()).serial
    both = run(world, f"{status} --refusals refusals --reinstate {serial}")
    lifted = run(world, f"{status} --reinstate {serial}")

    assert issued.code == 0
    assert (deleted.code, "(suspended)" in deleted.err, "too-early" in deleted.err) == (1, True, True)
    assert (both.code, lifted.code, run(world, COMMANDS["verify"]).code) == (2, 0, 0)


@pytest.mark.slow
def test_a_tune_of_a_certified_base_names_its_certificate(world: Path, run: Run) -> None:
    """`certify` takes the base's certificate where it holds, and `verify` asks for it again; another one is a no."""
    shutil.copytree(world / "base", world / "second")
    (world / "second" / "model.safetensors").write_bytes(safetensors(b"second tune"))
    path = world / "evaluation" / "eval-report.json"
    manifests = {"base": Manifest.of_folder(world / "tuned"), "tuned": Manifest.of_folder(world / "second")}
    report = EvalReport.from_json(path.read_bytes()).model_copy(update=manifests)
    _signed(world, report.model_copy(update={"arms": make_arms(**manifests)}))
    certify = COMMANDS["certify"].replace("--model tuned --base base", "--model second --base tuned")
    first = "--base-certificate certificate.json --base-policy policy.toml"
    verify = COMMANDS["verify"].replace(
        "certificate.json --model tuned --base base", "out.json --model second --base tuned"
    )

    no_trust = run(world, f"{certify.replace(' --trust keys', '')} {first}")
    drafted = run(world, f"{certify} {first}")
    signed = run(world, "approve out.json --key keys/approver.pem --policy policy.toml --yes")
    held = run(world, f"{verify} {first}")
    itself = run(world, f"{verify} --base-certificate out.json --base-policy policy.toml")
    serial = read_unverified((world / "certificate.json").read_bytes()).serial
    run(world, COMMANDS["revoke"].replace("certificate.json", serial))
    ended = run(world, verify)

    assert (no_trust.code, drafted.code, signed.code, held.code) == (2, 0, 0, 0), drafted.out + held.err
    assert serial in signed.err
    assert (itself.code, "(base-certificate)" in itself.err) == (1, True)
    assert (ended.code, "(revoked)" in ended.err) == (1, True)
