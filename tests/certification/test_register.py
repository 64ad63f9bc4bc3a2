"""The certificates that lie in a folder."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from builders import NOW, make_eval_report
from recert.certification import TrustStore, generate_key, issue_status, revoke
from recert.certification.signing.envelope import Envelope, sign
from recert.certification.status.register import find_certificates
from recert.digest import canonical_json
from recert.errors import InputError, RecordError, VerificationError
from recert.records.record import parse_json
from recert.records.signed.certificate import PAYLOAD_TYPE

from .conftest import World


def folder(world: World, tmp_path: Path) -> Path:
    """Write the world's certificate, and the evaluation behind it, as `recert run` leaves them."""
    out = tmp_path / "out" / "model"
    (out / "evaluation").mkdir(parents=True)
    (out / "certificate.json").write_bytes(world.envelope)
    (out / "evaluation" / "eval-report.json").write_bytes(make_eval_report(policy=world.policy).to_json())
    (out / "notes.json").write_text('{"payloadType": "application/vnd.in-toto+json of another tool"}')
    return tmp_path / "out"


def test_certificates_are_found_with_their_evaluations(world: World, tmp_path: Path) -> None:
    """One certificate, its report and no end; other files are passed over."""
    (found,) = find_certificates(folder(world, tmp_path), trust=world.trust, status=world.status, now=NOW)

    assert found.path.name == "certificate.json"
    assert found.report is not None
    assert found.certificate.eval_report_sha256 == found.report.digest
    assert found.ended == ""


def test_what_has_ended_says_so(world: World, tmp_path: Path) -> None:
    """Expired by the clock, revoked by the status list; without a list nothing is revoked."""
    out, later = folder(world, tmp_path), NOW + timedelta(days=30)
    (found,) = find_certificates(out, trust=None, status=None, now=NOW)
    listed = revoke(
        world.status,
        found.certificate.serial,
        "a test",
        key=world.keys["status"],
        trust=world.trust,
        validity_hours=24,
        now=NOW,
    )

    assert find_certificates(out, trust=None, status=None, now=later)[0].ended == "expired"
    assert find_certificates(out, trust=world.trust, status=listed, now=NOW)[0].ended == "revoked"
    assert find_certificates(out, trust=world.trust, status=None, now=NOW)[0].ended == ""


def test_a_certificate_of_another_version_is_doubtful(world: World, tmp_path: Path) -> None:
    """One that holds a field less than this version writes is read, and it is said that it cannot be verified."""
    path = folder(world, tmp_path) / "model" / "certificate.json"
    statement = parse_json(Envelope.from_json(world.envelope).payload)
    del statement["predicate"]["lineage"]
    older = sign(PAYLOAD_TYPE, canonical_json(statement), [world.keys["evaluator"]])
    path.write_bytes(older.to_json())
    (found,) = find_certificates(path, trust=world.trust, status=world.status, now=NOW)

    assert found.certificate.model_name == "test-model"
    assert "cannot verify it" in found.doubt


def test_nothing_that_was_a_certificate_is_passed_over(world: World, tmp_path: Path) -> None:
    """Cut short or changed it is an error that names the file, never one certificate fewer."""
    path = folder(world, tmp_path) / "model" / "certificate.json"
    for damaged in (world.envelope[:-9], world.envelope.replace(b'"payload":"', b'"payload":"A', 1)):
        path.write_bytes(damaged)
        with pytest.raises(RecordError) as caught:
            find_certificates(path.parent, trust=None, status=None, now=NOW)
        assert str(path) == caught.value.facts["file"]


def test_strangers_stale_lists_and_empty_folders_are_no_answer(world: World, tmp_path: Path) -> None:
    """A signer nobody trusts, a list that is too old or without keys, and a folder without certificates are errors."""
    out = folder(world, tmp_path)
    nobody = TrustStore([generate_key(tmp_path / "stranger.pem", "evaluator", "Stranger").public])
    old = issue_status(None, key=world.keys["status"], trust=world.trust, validity_hours=1, now=NOW)

    with pytest.raises(VerificationError, match="nobody you trust"):
        find_certificates(out, trust=nobody, status=None, now=NOW)
    with pytest.raises(VerificationError, match="too old"):
        find_certificates(out, trust=world.trust, status=old, now=NOW + timedelta(hours=2))
    with pytest.raises(InputError, match="keys that count"):
        find_certificates(out, trust=None, status=world.status, now=NOW)
    with pytest.raises(InputError, match="no certificate"):
        find_certificates(tmp_path / "out" / "model" / "evaluation", trust=None, status=None, now=NOW)
