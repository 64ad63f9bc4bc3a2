"""One certified model, and the people around it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from builders import (
    BASE_FILES,
    NOW,
    ROLES,
    SOME_SHA,
    TUNED_FILES,
    make_eval_report,
    make_policy,
    make_screen_report,
    make_tune_report,
    signed_evidence,
    write_model,
)
from recert.certification import (
    CertifyDecision,
    SigningKey,
    TrustStore,
    approve,
    certify,
    generate_key,
    issue_status,
    verify,
)
from recert.errors import VerificationError
from recert.policy import Policy
from recert.records.signed.certificate import VerifiedCertificate


@dataclass(frozen=True)
class World:
    """Folders, keys and a certificate that verifies; change one thing with `replace`."""

    base_dir: Path
    tuned_dir: Path
    keys: dict[str, SigningKey]
    trust: TrustStore
    policy: Policy
    status: bytes | None
    envelope: bytes = b""
    now: datetime = NOW

    def certify(self, **changes: Any) -> CertifyDecision:
        """Ask for a certificate of the good reports, with changes; an approver that is given is trusted."""
        screen = make_screen_report()
        asked: dict[str, Any] = {
            "eval_report": make_eval_report(policy=self.policy),
            "policy": self.policy,
            "base_dir": self.base_dir,
            "tuned_dir": self.tuned_dir,
            "evidence_sha256": SOME_SHA,
            "signer": self.keys["evaluator"],
            "approvers": [self.keys["approver"].public],
            "trainer_key_id": self.keys["trainer"].key_id,
            "tune_report": make_tune_report(screen_report=screen),
            "screen_report": screen,
            "now": self.now,
        }
        asked |= changes
        known = {key.key_id: key for key in (*asked["approvers"], *(k.public for k in self.keys.values()))}
        trust = asked.get("trust", TrustStore(known.values()))
        return certify(**(signed_evidence(self.keys, trust, asked, self.status) | asked))

    def verify(self, **changes: Any) -> VerifiedCertificate:
        """Verify the certificate, with changes."""
        asked: dict[str, Any] = {
            "base_dir": self.base_dir,
            "tuned_dir": self.tuned_dir,
            "trust": self.trust,
            "status": self.status,
            "policy": self.policy,
            "now": self.now,
        }
        return verify(changes.pop("envelope", self.envelope), **(asked | changes))

    def refusal(self, **changes: Any) -> VerificationError:
        """Return why the certificate, with changes, is refused."""
        with pytest.raises(VerificationError) as caught:
            self.verify(**changes)
        return caught.value


def make_world(folder: Path) -> World:
    """Make a world in a folder."""
    keys = {role: generate_key(folder / "keys" / f"{role}.pem", role, role.title()) for role in ROLES}
    trust = TrustStore.load(folder / "keys")
    world = World(
        base_dir=write_model(folder / "base", BASE_FILES),
        tuned_dir=write_model(folder / "tuned", TUNED_FILES),
        keys=keys,
        trust=trust,
        policy=make_policy(),
        status=issue_status(None, key=keys["status"], trust=trust, validity_hours=24, now=NOW),
    )
    decision = world.certify()
    assert decision.envelope is not None, decision.reasons
    return replace(world, envelope=approve(decision.envelope, keys["approver"]))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world of its own for one test."""
    return make_world(tmp_path)


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world for property tests, which must leave it as it was."""
    return make_world(tmp_path_factory.mktemp("world"))
