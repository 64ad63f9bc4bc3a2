"""
Who signs what the service does and certifies: it screens, trains and evaluates, and holds these keys.

It never holds an approver's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recert.certification.signing.content import required_roles
from recert.certification.signing.issued import hold_memory
from recert.certification.signing.keys import PublicKey, SigningKey, load_key
from recert.certification.status.reading import issue_status
from recert.certification.trust.store import TrustStore
from recert.errors import InputError, SigningKeyError
from recert.policy import Policy
from recert.records.record import now
from recert.store.files.writing import read_bytes, write_atomic
from recert.tuning.defences import defence_named, safety_prompt


@dataclass(frozen=True)
class ServiceSigners:
    """The keys of the service's own steps, who else must sign, and whose signatures count."""

    evaluator: SigningKey
    trainer: SigningKey
    screener: SigningKey
    approvers: tuple[PublicKey, ...]
    trust: TrustStore
    status_key: SigningKey | None
    """Issues the status list, where the service does that."""

    def refresh_status(self, path: Path, policy: Policy) -> bool:
        """
        Sign the status list anew, for as long as a policy says; False where somebody else issues it.

        Raises:
            StoreError, RecordError, VerificationError: the list cannot be read, is not what was signed, or is older
                than one that was issued here.
        """
        if self.status_key is None:
            return False
        with hold_memory() as memory:
            memory.require_apart(path.absolute().parent)
            fresh = issue_status(
                read_bytes(path, "status list") if path.exists() else None,
                key=self.status_key,
                trust=self.trust,
                validity_hours=policy.certification.status_validity_hours,
                policy=policy,
                memory=memory,
            )
            write_atomic(path, fresh)
        return True


def require_defence(name: str, policy: Policy) -> None:
    """
    Return when a policy serves what a defence needs: a certificate names the defence, and would mislead otherwise.

    Raises:
        InputError: there is no such defence, or it is a system prompt that the policy does not put before requests.
    """
    defence_named(name)
    if name != safety_prompt.DEFENCE.name:
        return
    prompt = safety_prompt.Options().prompt
    if policy.gateway.system_instruction != prompt:
        raise InputError(
            "the policy does not put the defence's system prompt in front of requests",
            facts={"prompt": prompt, "system_instruction": policy.gateway.system_instruction or "none"},
            hint="put the prompt into the policy: [gateway] system_instruction",
        )


def require_text_alone(policy: Policy) -> None:
    """
    Return when a policy serves text alone: a job's models are asked in writing.

    Raises:
        InputError: it serves audio, so no job could ever be certified under it.
    """
    if policy.evaluation.speaking is not None:
        raise InputError(
            "the service evaluates in text alone, and the policy serves audio",
            facts={"policy": policy.id, "modalities": ", ".join(policy.evaluation.modalities)},
            hint="take audio out of [evaluation] modalities, or tune with `recert run --transcriber`",
        )


def load_signers(folder: Path, policy: Policy) -> ServiceSigners:
    """
    Return who signs: `screener.pem`, `trainer.pem`, `evaluator.pem`, and a `.pub` file of each who approves.

    Everyone in it who holds one role that the policy asks for, beside the evaluator's, must sign. With `status.pem`
    in it the service issues the status list too.

    Raises:
        SigningKeyError: a key of the service's steps is missing, cannot be read or has another role, or nobody in the
            folder may approve.
    """
    screener, trainer, evaluator = (_own_key(folder, role) for role in ("screener", "trainer", "evaluator"))
    trust = TrustStore.load(folder)
    roles = [role for role in required_roles(policy) if role != "evaluator"] or ["approver"]
    held = {key.key_id: key for role in roles for key in trust.holders(role, now=now())}
    approvers = tuple(key for key in held.values() if len(key.roles) == 1)
    if not approvers:
        raise SigningKeyError(
            "nobody may approve what the service makes",
            facts={"folder": folder, "roles": ", ".join(roles)},
            hint="run `recert keygen approver.pem --role approver` elsewhere, and put approver.pub here",
        )
    status = folder / "status.pem"
    return ServiceSigners(
        evaluator=evaluator,
        trainer=trainer,
        screener=screener,
        approvers=approvers,
        trust=trust,
        status_key=load_key(status) if status.exists() else None,
    )


def _own_key(folder: Path, role: str) -> SigningKey:
    path = folder / f"{role}.pem"
    if not path.exists():
        raise SigningKeyError(
            f"the service has no key to sign what it does as {role}",
            facts={"file": path},
            hint=f"make it: recert keygen {path} --role {role} --name NAME",
        )
    key = load_key(path)
    key.require_role(role)
    return key
