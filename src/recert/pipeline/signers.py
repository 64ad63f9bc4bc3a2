"""The people of a run: a trainer, an evaluator, an approver and whoever issues the status list."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recert.certification.keys import SigningKey, generate_key, is_begun, load_key
from recert.certification.trust import TrustStore


@dataclass(frozen=True)
class Signers:
    """Keys of every role. In production each lies with another person; here they may lie in one folder."""

    evaluator: SigningKey
    approver: SigningKey
    status: SigningKey
    trainer_key_id: str
    trust: TrustStore


def signers_of(folder: Path) -> Signers:
    """
    Return the keys of a folder; missing ones are made.

    Raises:
        SigningKeyError: a key cannot be read, or others than its owner can read it.
    """
    keys = {}
    for role in ("trainer", "evaluator", "approver", "status"):
        path = folder / f"{role}.pem"
        keys[role] = (
            load_key(path) if path.exists() and not is_begun(path) else generate_key(path, role, role)
        )
    return Signers(
        evaluator=keys["evaluator"],
        approver=keys["approver"],
        status=keys["status"],
        trainer_key_id=keys["trainer"].key_id,
        trust=TrustStore.load(folder),
    )
