"""A certified model whose certificate is in a log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from builders import NOW, make_policy
from certification.conftest import World, make_world
from recert.certification import SigningKey, TrustStore, approve, generate_key
from recert.certification.log.checking import LogDemand
from recert.certification.log.logged import log_checkpoint, log_envelope
from recert.certification.log.proving import prove_logged
from recert.errors import VerificationError
from recert.records.signed.certificate import VerifiedCertificate
from recert.records.signed.transparency import LogProof, VerifierMemory
from recert.store.transparency.folder import create_log

ORIGIN = "example.com/models"


@dataclass(frozen=True)
class Logged:
    """A world, its log, and the log's keys."""

    world: World
    folder: Path
    log_key: SigningKey
    witness: SigningKey

    def more(self, entries: int = 1) -> None:
        """Put other certificates into the log and sign it."""
        for _ in range(entries):
            decision = self.world.certify()
            assert decision.envelope is not None
            log_envelope(self.folder, decision.envelope, now=NOW)
        log_checkpoint(self.folder, self.log_key)

    def prove(self, **asked: Any) -> LogProof:
        """Return the proof for the world's certificate."""
        return prove_logged(self.folder, self.world.envelope, **asked)

    def verify(self, proof: LogProof | bytes | None, **changes: Any) -> VerifiedCertificate:
        """Verify the certificate with a proof."""
        data = proof.to_json() if isinstance(proof, LogProof) else proof
        return self.world.verify(log=LogDemand(data, required=True), **changes)

    def refusal(self, proof: LogProof | bytes | None, **changes: Any) -> str:
        """Return the reason for which it is refused."""
        with pytest.raises(VerificationError) as caught:
            self.verify(proof, **changes)
        return caught.value.reason


def make_logged(folder: Path) -> Logged:
    """Make a world with a log of seven entries, the world's certificate among them."""
    world = make_world(folder / "world")
    log_key = generate_key(folder / "log.pem", "log", ORIGIN)
    witness = generate_key(folder / "witness.pem", "witness", "example.org/w1")
    trust = TrustStore([*(k.public for k in world.keys.values()), log_key.public, witness.public])
    logged = Logged(replace(world, trust=trust), folder / "log", log_key, witness)
    create_log(logged.folder, ORIGIN)
    logged.more(3)
    assert world.status is not None
    log_envelope(logged.folder, world.status, now=NOW)
    log_envelope(logged.folder, world.envelope, now=NOW)
    logged.more(2)
    return logged


@pytest.fixture
def logged(tmp_path: Path) -> Logged:
    """A logged world for one test."""
    return make_logged(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    """A logged world for property tests, which must leave it as it was."""
    return make_logged(tmp_path_factory.mktemp("logged"))


def strict_world(logged: Logged, **rules: Any) -> Logged:
    """The same under a policy that requires logging: a new certificate, logged and signed for."""
    policy = make_policy(certification={"logged": True, **rules})
    world = replace(logged.world, policy=policy)
    decision = world.certify()
    assert decision.envelope is not None, decision.reasons
    world = replace(world, envelope=approve(decision.envelope, world.keys["approver"]))
    log_envelope(logged.folder, world.envelope, now=NOW)
    strict = replace(logged, world=world)
    strict.more(1)
    return strict


def seen(verified: VerifiedCertificate) -> VerifierMemory:
    """What a verifier remembers afterwards."""
    return verified.memory
