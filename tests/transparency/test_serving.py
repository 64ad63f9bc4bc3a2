"""What is required of a log, and what was seen before, holds while a model is served too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builders import make_policy
from certification.conftest import World, make_world
from recert.certification import (
    Envelope,
    Presented,
    TrustStore,
    Verifier,
    approve,
    generate_key,
    issue_status,
    read_unverified,
)
from recert.certification.log.checking import proof_path, read_demand
from recert.certification.log.logged import log_checkpoint, log_envelope
from recert.certification.log.proving import prove_logged
from recert.certification.signing.envelope import sign
from recert.errors import VerificationError
from recert.gateway.serving.state import StateFolder
from recert.interop.attestation.holding import CertificateFiles
from recert.records.record import now
from recert.records.signed.certificate import STATUS_PAYLOAD_TYPE, StatusList, VerifiedCertificate
from recert.store.audit.log import AuditLog
from recert.store.transparency.folder import create_log
from recert.workflows.deploy.stage import Recheck, deploy


class Served:
    """A model that is certified now, under a policy that requires a log, with its files as a server has them."""

    def __init__(self, folder: Path) -> None:
        world = make_world(folder / "world")
        self.log, self.log_key = folder / "log", generate_key(folder / "log.pem", "log", "example.com/models")
        trust = TrustStore([*(k.public for k in world.keys.values()), self.log_key.public])
        self.world: World = replace(
            world, trust=trust, policy=make_policy(certification={"logged": True}), now=now()
        )
        listed = issue_status(None, key=world.keys["status"], trust=trust, validity_hours=24)
        self.world = replace(self.world, status=listed)
        decision = self.world.certify()
        assert decision.envelope is not None, decision.reasons
        self.envelope = approve(decision.envelope, world.keys["approver"])
        self.certificate, self.status = folder / "certificate.json", folder / "status.json"
        self.certificate.write_bytes(self.envelope)
        self.status.write_bytes(listed)
        create_log(self.log, "example.com/models")

    def prove(self, envelope: bytes) -> None:
        """Log an envelope, and put its proof beside the certificate."""
        log_envelope(self.log, envelope)
        log_checkpoint(self.log, self.log_key)
        proof_path(self.certificate).write_bytes(prove_logged(self.log, envelope).to_json())

    def verified(self) -> VerifiedCertificate:
        """Verify as a server does before it starts."""
        return self.world.verify(
            envelope=self.envelope,
            status=self.status.read_bytes(),
            now=None,
            log=read_demand(self.certificate, policy=self.world.policy),
        )

    def recheck(self) -> Recheck:
        """What a server calls while it runs."""
        verifier = Verifier(trust=self.world.trust, status=self.status.read_bytes, policy=self.world.policy)
        verified = verifier.verify(
            Presented.read(self.certificate, policy=self.world.policy),
            base_dir=self.world.base_dir,
            tuned_dir=self.world.tuned_dir,
        )
        return Recheck(verified, certificate=self.certificate, verifier=verifier)

    def list_with(self, **changes: object) -> bytes:
        """The status list with other values, signed by its issuer."""
        old = StatusList.from_json(Envelope.from_json(self.status.read_bytes()).payload)
        signer = self.world.keys["status"]
        return sign(STATUS_PAYLOAD_TYPE, old.model_copy(update=changes).to_json(), [signer]).to_json()


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


def why(attempt: object) -> str:
    """Return the reason of a refusal."""
    assert callable(attempt)
    with pytest.raises(VerificationError) as caught:
        attempt()
    return caught.value.reason


def test_without_its_proof_a_certificate_is_not_served(served: Served) -> None:
    """A server starts with the proof beside the certificate only, where the policy requires one."""
    without = why(served.verified)
    served.prove(served.envelope)

    assert without == "not-logged"
    assert served.verified().certificate.serial
    assert served.recheck()().certificate.serial == served.verified().certificate.serial


def test_another_certificate_needs_its_own_proof(served: Served) -> None:
    """A certificate that takes the other's place while it is served is refused until its proof is there."""
    served.prove(served.envelope)
    recheck = served.recheck()
    decision = served.world.certify()
    assert decision.envelope is not None
    another = approve(decision.envelope, served.world.keys["approver"])
    served.certificate.write_bytes(another)
    refused = why(recheck)
    served.prove(another)

    assert refused == "not-logged"
    assert recheck().certificate.serial == read_unverified(another).serial


def test_a_status_list_that_does_not_go_on_ends_service(served: Served) -> None:
    """Far ahead, or another one of the same version: a server that saw the list before stops."""
    served.prove(served.envelope)
    recheck, good = served.recheck(), served.status.read_bytes()
    recheck()
    other = served.list_with(expires_at=now().replace(year=2100))
    served.status.write_bytes(served.list_with(version=10_000))
    far_ahead = why(recheck)
    served.status.write_bytes(other)
    same_version = why(recheck)
    served.status.write_bytes(good)

    assert (far_ahead, same_version) == ("status-fast-forward", "status-equivocation")
    assert recheck().status_version == 1


def test_what_a_gateway_saw_is_remembered_over_a_restart(served: Served, tmp_path: Path) -> None:
    """The state folder keeps checkpoints and status lists, of each model apart."""
    served.prove(served.envelope)
    verified = served.verified()
    first = StateFolder(tmp_path / "state")
    first.memory("model").keep(lambda before: verified.memory)
    first.close()
    second = StateFolder(tmp_path / "state")
    memory = second.memory("model").read()
    nothing = second.memory("other").read()
    second.close()

    assert memory == verified.memory
    assert memory.logs
    assert not nothing.logs


def test_a_gateway_asks_for_the_proof_before_it_starts(served: Served, tmp_path: Path) -> None:
    """And goes on from what its state folder remembers, whatever is shown to it now."""
    asked: dict[str, Any] = {
        "base_dir": served.world.base_dir,
        "tuned_dir": served.world.tuned_dir,
        "trust": served.world.trust,
        "status_path": served.status,
        "policy": served.world.policy,
        "state": tmp_path / "state",
    }
    with AuditLog(tmp_path / "audit.jsonl") as audit:
        without = why(lambda: deploy(served.certificate, audit=audit, **asked))
        served.prove(served.envelope)
        good = served.status.read_bytes()
        served.status.write_bytes(served.list_with(version=2))
        verified = served.verified()
        state = StateFolder(tmp_path / "state")
        state.memory(str(served.certificate)).keep(lambda before: verified.memory)
        state.close()
        served.status.write_bytes(good)
        set_back = why(lambda: deploy(served.certificate, audit=audit, **asked))

    assert (without, set_back) == ("not-logged", "status-rollback")


def test_a_model_server_needs_the_proof_too(served: Served, tmp_path: Path) -> None:
    """What attests certificates on a machine with a policy that requires a log reads the proof beside each."""
    (tmp_path / "trust").mkdir()
    for key in (*served.world.keys.values(), served.log_key):
        (tmp_path / "trust" / f"{key.key_id}.pub").write_bytes(key.public.to_json())
    files = CertificateFiles(
        [served.certificate], tmp_path / "trust", status=served.status, policy=served.world.policy
    )
    refused = why(files.read)
    served.prove(served.envelope)

    assert refused == "not-logged"
    assert [held.status_version for held in files.read()] == [1]
