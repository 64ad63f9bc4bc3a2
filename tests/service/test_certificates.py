"""Certificates that are signed elsewhere: they go out, and only what trusted keys signed comes back in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from certified_folders import Certified
from recert.certification import approve, generate_key, refuse
from recert.certification.signing.envelope import Envelope
from recert.certification.signing.refusals import refusals_beside, withdraw
from recert.service.storage.systems import CERTIFIED
from service_desks import Desked

NAME = "ft:tiny:team-a::1a2b3c4d"
ADDRESS = f"/v1/recert/certificates/{NAME}"


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    """A certificate, and the keys of who signs it."""
    return Certified(tmp_path / "signed")


@pytest.fixture
def desk(certified: Certified, tmp_path: Path) -> Desked:
    """A service that has it, with the evaluator's signature alone."""
    made = Desked(tmp_path / "service", signers=certified.trust)
    place = made.desk.settings.job_folder("ftjob-1") / "systems" / "final"
    place.mkdir(parents=True)
    (place / "certificate.json").write_bytes(unsigned(certified))
    made.desk.systems.put(
        NAME, "team-a", "ftjob-1", 1, CERTIFIED, folder="tune/adapter", place="systems/final"
    )
    return made


def unsigned(certified: Certified) -> bytes:
    """Return the certificate without the approver's signature."""
    whole = Envelope.from_json(certified.certificate.read_bytes())
    evaluator = certified.keys["evaluator"].key_id
    return Envelope(
        whole.payload_type, whole.payload, tuple(s for s in whole.signatures if s.key_id == evaluator)
    ).to_json()


def states(said: Any) -> dict[str, str]:
    """Return who has signed, by role."""
    return {one["role"]: one["state"] for one in said.json()["signers"]}


def test_a_signature_made_elsewhere_is_added(desk: Desked, certified: Certified) -> None:
    """The certificate is got byte for byte, signed by `recert approve`, and sent back, as often as one likes."""
    got = desk.ask("GET", ADDRESS)
    before = states(desk.ask("POST", ADDRESS, content=got.content))
    signed = approve(got.content, certified.keys["approver"])
    said = [states(desk.ask("POST", ADDRESS, content=sent)) for sent in (signed, signed, got.content)]

    assert got.content == unsigned(certified)
    assert before == {"evaluator": "signed", "approver": "waiting"}
    assert said == [{"evaluator": "signed", "approver": "signed"}] * 3
    assert desk.ask("GET", ADDRESS).content == signed


def test_what_nobody_trusted_signed_is_not_taken(desk: Desked, certified: Certified, tmp_path: Path) -> None:
    """A stranger's signature, another certificate and what is none leave everything as it was."""
    kept = desk.ask("GET", ADDRESS).content
    stranger = generate_key(tmp_path / "stranger.pem", "approver", "Nobody")
    opened = Envelope.from_json(kept)
    alone = Envelope(opened.payload_type, opened.payload, ()).signed_by(stranger)
    other = Certified(tmp_path / "other", made_at=certified.made_at)
    theirs = Envelope.from_json(other.certificate.read_bytes())
    for role in ("evaluator", "approver"):
        theirs = theirs.signed_by(certified.keys[role])
    said = [
        desk.ask("POST", ADDRESS, content=sent)
        for sent in (alone.to_json(), theirs.to_json(), b"{}", opened.signed_by(stranger).to_json())
    ]
    codes = [(one.status_code, one.json().get("error", {}).get("code")) for one in said[:3]]

    assert codes == [
        (403, "signature_not_trusted"),
        (409, "certificate_differs"),
        (400, "invalid_envelope"),
    ]
    assert states(said[3]) == {"evaluator": "signed", "approver": "waiting"}
    assert desk.ask("GET", ADDRESS).content == kept
    assert desk.http.get(ADDRESS, headers={"authorization": f"Bearer {desk.few}"}).status_code == 404


def test_a_refusal_comes_back_too(desk: Desked, certified: Certified) -> None:
    """A refusal lies beside the certificate, where verification finds it, until who refused takes it back."""
    kept = desk.ask("GET", ADDRESS).content
    no = refuse(kept, certified.keys["approver"], "not with this data")
    refused = desk.ask("POST", ADDRESS, content=no).json()
    place = desk.desk.settings.job_folder("ftjob-1") / "systems" / "final" / "certificate.json"
    beside = refusals_beside(place)
    back = withdraw(no, certified.keys["approver"], "the data was changed")
    withdrawn = desk.ask("POST", ADDRESS, content=back).json()

    assert refused["refusals"] == [{"role": "approver", "reason": "not with this data", "withdrawn": False}]
    assert beside == (no,)
    assert [one["withdrawn"] for one in withdrawn["refusals"]] == [True]
