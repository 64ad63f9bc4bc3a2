"""Lengthen a certificate's life after a clean watch: the same evidence, a new serial, the same people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from recert.certification.clock import moment
from recert.certification.signing.content import ends_at, new_serial
from recert.certification.signing.envelope import sign
from recert.certification.signing.keys import SigningKey
from recert.certification.signing.links import read_link, why_not_link_of
from recert.certification.signing.statement import statement_bytes
from recert.certification.trust.store import TrustStore
from recert.certification.verifier import Presented, Verifier
from recert.digest import sha256_bytes
from recert.errors import SigningKeyError, VerificationError
from recert.policy import Policy
from recert.policy.sections.canaries import why_not_within
from recert.records.live.watching import WatchOutcome, WatchReport
from recert.records.signed.certificate import PAYLOAD_TYPE, Approval, Certificate


def renew(
    envelope: bytes,
    watch_report: WatchReport,
    *,
    link: bytes,
    signers: Sequence[SigningKey],
    policy: Policy,
    trust: TrustStore,
    status: bytes | None,
    now: datetime | None = None,
    last_status_version: int | None = None,
    refusals: Sequence[bytes] = (),
) -> bytes:
    """
    Return a new certificate with the evidence of a valid one, after a clean watch.

    It holds for as long as the policy lets it, counted from the watch, not from now, so one watch lengthens
    a life once; and no longer than its exceptions, or than the certificate that it carries evidence over from. It names
    the old serial in `supersedes` and `lineage`; revoking the old one stops it too.

    Args:
        envelope: the certificate, which must still hold.
        watch_report: a watch of exactly this certificate.
        link: who signed that they watched: somebody trusted as a `watcher`, and not the trainer.
        signers: the keys that sign the new one, as many of each role as the policy asks for.
        policy: the policy of the old one.
        trust: whose signatures count.
        status: the newest status list's envelope.
        now: the time; the present by default.
        last_status_version: the highest status list version seen before.
        refusals: as for `verify`.

    Raises:
        VerificationError: the old one does not hold, is under another policy (`wrong-policy`), the watch is not signed
            (`link-malformed`, `link-untrusted`), was not clean, was of another certificate, or is too old
            (`not-clean`).
        SigningKeyError: the signers are not one key per approval of the old certificate's roles.
    """
    at = moment(now)
    verifier = Verifier(trust=trust, status=status, policy=policy, last_status_version=last_status_version)
    old = verifier.read(Presented(envelope, refusals), now=at)
    expires_at = ends_at(watch_report.watched_at, policy, old.exceptions, old.carried)
    reason = (
        why_not_watched(old, watch_report, link, trust=trust, now=at)
        or why_not_of(old, envelope, watch_report, now=at)
        or why_not_clean(watch_report, old, policy)
    )
    if not reason and expires_at <= old.expires_at:
        reason = "it would not lengthen the certificate's life"
    if reason:
        raise VerificationError(
            "not-clean",
            "this watch cannot renew the certificate",
            facts={"serial": old.serial, "because": reason},
            hint="watch again; if it stays so, evaluate and certify again",
        )
    renewed = old.model_copy(
        update={
            "serial": new_serial(),
            "approvals": _approvals(old, signers),
            "not_before": at,
            "expires_at": expires_at,
            "supersedes": old.serial,
            "lineage": (*old.lineage, old.serial),
            "watch_report_sha256": watch_report.digest,
            "steps": (
                *(one for one in old.steps or () if one.step != "watch"),
                read_link(link, step="watch", trust=trust, now=at).evidence,
            ),
        }
    )
    return sign(PAYLOAD_TYPE, statement_bytes(renewed), signers).to_json()


def why_not_watched(
    certificate: Certificate, watch: WatchReport, link: bytes, *, trust: TrustStore, now: datetime
) -> str:
    """
    Return why nobody who may signed that they made this watch, in words, or an empty text.

    Raises:
        VerificationError: `link-malformed`, or `link-untrusted`.
    """
    signed = read_link(link, step="watch", trust=trust, now=now)
    trainer = certificate.trainer_key_id
    if trainer is not None and trust.person(signed.key_id) == trust.person(trainer):
        return "the watcher is the trainer"
    return why_not_link_of(signed, watch)


def why_not_clean(watch: WatchReport, certificate: Certificate, policy: Policy) -> str:
    """
    Return what a watch found that keeps its certificate from going on, in words, or an empty text.

    Its outcomes are decided again by the policy, whatever the report says of them.
    """
    checks = (
        (watch.outcome is not WatchOutcome.RENEW, f"its outcome is {watch.outcome}"),
        (not watch.canaries, "it asked no canary"),
        (any(c.outcome is not WatchOutcome.RENEW for c in watch.canaries), "a canary is not clean"),
        (watch.fingerprint_matches is False, "the model is not the one that was certified"),
        (
            watch.through != "served" and not watch.fingerprint_matches,
            "it did not compare the model's fingerprint",
        ),
    )
    said = next((words for failed, words in checks if failed), "")
    return said or why_not_within(watch, certificate, policy)


def why_not_of(certificate: Certificate, envelope: bytes, watch: WatchReport, *, now: datetime) -> str:
    """Return why a watch is none of this certificate, in words, or an empty text."""
    checks = (
        (watch.serial != certificate.serial, f"it watched {watch.serial}"),
        (
            watch.certificate_sha256 not in (certificate.digest, sha256_bytes(envelope)),
            "it watched a certificate of other content",
        ),
        (watch.watched_at > now, "it was made in the future"),
        (watch.started_at < certificate.not_before, "it was made before the certificate"),
    )
    return next((words for failed, words in checks if failed), "")


def _approvals(old: Certificate, signers: Sequence[SigningKey]) -> tuple[Approval, ...]:
    """The signers in the roles of the old certificate, by the same or other people."""
    free = [a.role for a in old.approvals]
    approvals = []
    for key in signers:
        role = next((r for r in free if r in key.public.roles), None)
        if role is None:
            raise SigningKeyError(
                "no role is left for this signer", facts={"key": key.key_id, "name": key.public.name}
            )
        free.remove(role)
        approvals.append(Approval(role=role, key_id=key.key_id, name=key.public.name))
    if free:
        raise SigningKeyError("a signer is missing", facts={"roles": ", ".join(free)})
    if any(a.role == "evaluator" and a.key_id == old.trainer_key_id for a in approvals):
        raise SigningKeyError("the evaluator is the trainer", facts={"key": old.trainer_key_id})
    if len({a.key_id for a in approvals}) != len(approvals):
        raise SigningKeyError("one key cannot sign twice")
    return tuple(approvals)
