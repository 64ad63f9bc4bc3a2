"""Whether an evaluation was counted before it began, as the attempt that it says it is: step 6.15."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from recert.certification.signing.envelope import pae
from recert.certification.signing.keys import decode_base64
from recert.certification.trust.store import TrustStore
from recert.digest import canonical_json
from recert.errors import RecordError, VerificationError
from recert.policy import Policy, decided_afresh, share_under
from recert.records.reports.evaluation import EvalReport, RuleResult
from recert.records.signed.attempt import Attempt
from recert.records.signed.attempt_entries import AttemptBegun, AttemptEnded, SuiteRotated
from recert.records.signed.certificate import Certificate
from recert.store.transparency.merkle import is_included, leaf_hash

CODE: Final = "not-counted"
ENTRY_PAYLOAD_TYPE: Final = "application/vnd.recert.attempt+json"
_HINT: Final = "evaluate with `recert evaluate` or `recert run`, which keep a ledger"


def signed_part(entry: AttemptBegun | AttemptEnded | SuiteRotated) -> bytes:
    """Return what an evaluator signs of an entry: all of it but the signature."""
    return canonical_json({k: v for k, v in entry.to_value().items() if k != "signature"})


def why_not_counted(
    attempt: Attempt | None,
    policy: Policy,
    *,
    base: str,
    tuned: str,
    suites: Mapping[str, str],
    sizes: Mapping[str, int],
    results: Sequence[RuleResult],
    trust: TrustStore | None = None,
    evaluator: str | None = None,
) -> Iterator[str]:
    """
    Yield why it is not shown that an evaluation was written down before it began.

    Args:
        attempt: as the report or the certificate has it.
        policy: the one that decided; it says whether attempts must be counted.
        base, tuned: digest of each model's files, or its address.
        suites: digests of what was asked, by name.
        sizes: how many prompts of each could decide.
        results: of every rule; suites whose results are carried over were not asked.
        trust: whose signatures count; None passes over whose key signed the entry.
        evaluator: id of the key that signed for the evaluation, where that is known.
    """
    counting = policy.evaluation.attempts
    if attempt is None:
        if counting == "counted":
            yield f"the policy asks for counted attempts, and no ledger has this evaluation: {_HINT}"
        return
    try:
        entry = AttemptBegun.from_json(attempt.leaf.encode())
        if entry.to_json() != attempt.leaf.encode():
            raise RecordError("not in canonical JSON")
    except RecordError as exc:
        yield f"the ledger's entry cannot be read: {exc.message}"
        return
    path = [bytes.fromhex(part) for part in attempt.path]
    root, leaf = bytes.fromhex(attempt.root_sha256), leaf_hash(attempt.leaf.encode())
    if not is_included(leaf, attempt.entry, attempt.size, path, root):
        yield f"nothing leads from entry {attempt.entry} to the root of {attempt.size} entries that is said"
    said: Mapping[str, tuple[object, object]] = {
        "attempt": (attempt.number, entry.attempt),
        "nonce": (attempt.nonce, entry.nonce),
        "share of alpha": (attempt.alpha_share, share_under(counting, entry.attempt)),
        "base": (base, entry.base),
        "tuned model": (tuned, entry.tuned),
        "policy": (policy.digest, entry.policy_sha256),
        **{f"suite {name}": (sha256, entry.suites.get(name)) for name, sha256 in sorted(suites.items())},
    }
    for name, (here, there) in said.items():
        if here != there:
            yield f"{name}: {here} was evaluated, and the ledger's entry has {there}"
    asked = {one.suite for one in results if one.carried_from is None} & decided_afresh(policy)
    yield from _why_not_afresh(entry, {name: sizes.get(name, 0) for name in sorted(asked & set(suites))})
    yield from _why_not_signed(entry, trust, evaluator)


def _why_not_afresh(entry: AttemptBegun, sizes: Mapping[str, int]) -> Iterator[str]:
    """Why a retry was not decided on prompts that no earlier attempt asked: none other may have counted."""
    if entry.attempt == 1:
        return
    for name, size in sizes.items():
        asked = (entry.asked_before or {}).get(name)
        if asked is None:
            yield f"suite {name}: the ledger's entry does not say what earlier attempts asked of it"
        elif size != sum(asked.left):
            yield f"suite {name}: {size} prompts could decide, and earlier attempts left {sum(asked.left)}"


def _why_not_signed(entry: AttemptBegun, trust: TrustStore | None, evaluator: str | None) -> Iterator[str]:
    if entry.key_id is None and entry.signature is None:
        return
    if entry.key_id is None or entry.signature is None:
        yield "the ledger's entry names a key without a signature, or has a signature without a key"
        return
    if evaluator is not None and entry.key_id != evaluator:
        yield f"the ledger is kept by key {entry.key_id}, and {evaluator} signed for the evaluation"
    key = trust.known(entry.key_id) if trust is not None else None
    value = decode_base64(entry.signature)
    message = pae(ENTRY_PAYLOAD_TYPE, signed_part(entry))
    if value is None or (key is not None and not key.signed(value, message)):
        yield f"key {entry.key_id} did not sign the ledger's entry"


def why_report_not_counted(report: EvalReport, policy: Policy) -> tuple[str, ...]:
    """Return why it is not shown that a report's evaluation was counted, each as `not-counted: words`."""
    named = {arm.arm: arm.manifest_sha256 or arm.endpoint or "" for arm in report.arms}
    reasons = why_not_counted(
        report.attempt,
        policy,
        base=named.get("base", ""),
        tuned=named.get("tuned", ""),
        suites=report.suites,
        sizes=report.suite_sizes or {},
        results=report.rules,
    )
    return tuple(f"{CODE}: {words}" for words in reasons)


def require_counted(certificate: Certificate, policy: Policy | str | None, trust: TrustStore | None) -> None:
    """
    Return when a certificate's evaluation was counted as its policy asks, and is the attempt that it says: step 6.15.

    Raises:
        VerificationError: `not-counted`.
    """
    if not isinstance(policy, Policy):
        return
    steps = {one.step: one.key_id for one in certificate.steps or ()}
    reasons = tuple(
        why_not_counted(
            certificate.attempt,
            policy,
            base=certificate.base.digest,
            tuned=certificate.tuned.digest,
            suites={note.name: note.sha256 for note in certificate.suites or ()},
            sizes={note.name: note.prompts for note in certificate.suites or ()},
            results=certificate.results,
            trust=trust,
            evaluator=steps.get("evaluate"),
        )
    )
    if reasons:
        raise VerificationError(
            CODE,
            "it is not shown which attempt this evaluation was",
            facts={str(number): words for number, words in enumerate(reasons, start=1)},
            hint=_HINT,
        )
