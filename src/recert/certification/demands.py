"""What a certificate must say, and who must have signed it: steps 4 to 6 of `spec/verification.md`."""

from __future__ import annotations

from datetime import datetime, timedelta

from recert.certification.content import required_roles
from recert.certification.decision import why_not_pass
from recert.certification.envelope import Envelope
from recert.certification.exceptions import Terms, counting, why_not_covered
from recert.certification.keys import PublicKey
from recert.certification.trust import TrustStore
from recert.errors import VerificationError
from recert.policy import Policy
from recert.records import Certificate


def require_apart(certificate: Certificate, policy: Policy | str | None) -> None:
    """Return when no key signs twice and the evaluator is not the trainer. Raises VerificationError."""
    # 4.1
    key_ids = [a.key_id for a in certificate.approvals]
    if len(set(key_ids)) != len(key_ids):
        raise VerificationError(
            "same-signer", "one key signs in two roles", facts={"signers": ", ".join(key_ids)}
        )
    if isinstance(policy, Policy) and not policy.certification.evaluator_differs_from_trainer:
        return
    if certificate.trainer_key_id is None:
        raise VerificationError(
            "missing-role",
            "certificate names no trainer, so it is not shown that someone else evaluated",
            hint="certify again with the trainer's key id",
        )
    if any(a.role == "evaluator" and a.key_id == certificate.trainer_key_id for a in certificate.approvals):
        raise VerificationError(
            "same-signer",
            "the evaluator is the trainer",
            facts={"key": certificate.trainer_key_id},
            hint="let someone else evaluate it",
        )


def require_signers(
    certificate: Certificate,
    opened: Envelope,
    signers: dict[str, PublicKey],
    trust: TrustStore,
    *,
    now: datetime,
) -> None:
    """
    Return when everyone whom a certificate names signed, and is trusted in their role.

    Args:
        certificate: what was signed.
        opened: its envelope.
        signers: keys whose signatures were proven, by id.
        trust: whose signatures count.
        now: the time.

    Raises:
        VerificationError: somebody did not, or is not.
    """
    # 4.2
    for approval in certificate.approvals:
        facts = {"role": approval.role, "key": approval.key_id, "name": approval.name}
        key = trust.find(approval.key_id, now=now)
        if key is None or approval.role not in key.roles:
            raise VerificationError(
                "untrusted-key",
                f"a key is not trusted as {approval.role}",
                facts=facts | {"trusted as": ", ".join(key.roles) if key else "nothing"},
                hint="add the signer's .pub file to the trust store, if you do trust them in that role",
            )
        if not opened.names(approval.key_id):
            raise VerificationError(
                "missing-role",
                f"{approval.role} has not signed",
                facts=facts,
                hint="let them sign with `recert approve`",
            )
        if approval.key_id not in signers:
            raise bad_signature(approval.key_id)


def require_roles(certificate: Certificate, policy: Policy | str | None) -> None:
    """Return when every role has as many signers as are asked for. Raises VerificationError."""
    # 4.3
    demands = [{"evaluator": 1, "approver": 1}, certificate.required_roles]
    if isinstance(policy, Policy):
        demands.append(required_roles(policy))
    for demand in demands:
        for role, threshold in demand.items():
            named = sum(a.role == role for a in certificate.approvals)
            if named < threshold:
                raise VerificationError(
                    "missing-role",
                    f"too few signers with the role {role}",
                    facts={"expected": threshold, "actual": named},
                    hint="certify again and name all who must sign",
                )


def require_policy(certificate: Certificate, policy: Policy | str | None) -> None:
    """Return when a certificate is under the expected policy and keeps to it. Raises VerificationError."""
    # 5.1
    expected = policy.digest if isinstance(policy, Policy) else policy
    if expected is not None and certificate.policy_sha256 != expected:
        raise VerificationError(
            "wrong-policy",
            "certificate is under another policy",
            facts={
                "expected": f"sha256:{expected}",
                "actual": f"sha256:{certificate.policy_sha256}",
                "called": f"{certificate.policy_id} {certificate.policy_version}",
            },
            hint="evaluate and certify under the expected policy",
        )
    # 5.2
    if isinstance(policy, Policy):
        longest = timedelta(hours=policy.certification.longest_hours)
        if certificate.expires_at - certificate.not_before > longest:
            raise VerificationError(
                "wrong-policy",
                "certificate holds for longer than its policy allows",
                facts={"at most": longest, "actual": certificate.expires_at - certificate.not_before},
            )
        # 5.3
        unsaid = [words for words in policy.gateway.unguarded if words not in certificate.limitations]
        if unsaid:
            raise VerificationError(
                "wrong-policy",
                "certificate does not say what the gateway lets pass by its policy",
                facts={str(number): words for number, words in enumerate(unsaid, start=1)},
            )


def require_pass(certificate: Certificate, policy: Policy | str | None) -> None:
    """Return when what was measured is a pass, or excepted. Raises VerificationError."""
    # 6.1 to 6.9
    whole = policy if isinstance(policy, Policy) else None
    terms = Terms.of(certificate, whole)
    reasons = why_not_pass(
        raw=certificate.verdict_raw,
        safeguarded=certificate.verdict_safeguarded,
        required_controls=certificate.required_controls,
        results=certificate.results,
        policy=whole,
        search=certificate.trigger_search,
        stress=certificate.base_stress,
        attacker=certificate.attacker,
        tuned_sha256=certificate.tuned.digest,
        base_sha256=certificate.base.digest,
        exceptions=counting(certificate.exceptions, terms),
    )
    if reasons:
        code, because = why_not_covered(certificate, terms) or ("verdict-not-pass", "")
        reasons = (because, *reasons) if code != "verdict-not-pass" else reasons
        raise VerificationError(
            code,
            "certificate does not say that the model passed",
            facts={str(number): words for number, words in enumerate(reasons, start=1)},
        )


def bad_signature(key_id: str) -> VerificationError:
    """Return the error for content that a key did not sign."""
    return VerificationError(
        "bad-signature",
        "certificate is not what was signed",
        facts={"key": key_id},
        hint="get it again; it was changed after signing",
    )
