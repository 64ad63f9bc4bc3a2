"""
The certification stage, to be read first: who says so, about exactly which bytes, until when.

`certify` drafts and signs as the evaluator, `approve` adds an approver's signature, `verify` (in verify.py)
decides about a certificate, `renew` lengthens it after a clean watch, and status.py revokes and suspends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from recert.certification.carry_over import CarriedFrom, why_not_carried_over
from recert.certification.clock import moment
from recert.certification.signing.content import draft
from recert.certification.signing.envelope import Envelope, sign
from recert.certification.signing.functionaries import approvals_of, read_steps, why_not_signed
from recert.certification.signing.keys import PublicKey, SigningKey
from recert.certification.signing.statement import read_statement, statement_bytes
from recert.certification.trust.store import TrustStore
from recert.certification.verifier import examine_draft
from recert.certification.verifier.ancestry import CertifiedBase, from_root, why_beyond_root, why_not_from
from recert.certification.verifier.artefact import attack_mark
from recert.certification.verifier.chain import (
    why_not_compared,
    why_not_decided,
    why_not_linked,
    why_not_on_disk,
)
from recert.certification.verifier.counted import why_report_not_counted
from recert.certification.verifier.decision import deciding_results
from recert.certification.verifier.exceptions import ExceptionRequest, Terms, counting, draft_exceptions
from recert.certification.verifier.file_kinds import why_not_plain
from recert.certification.verifier.folders import hash_both
from recert.certification.verifier.listened import why_not_heard_alike
from recert.errors import RecordError, SigningKeyError
from recert.policy import Policy
from recert.records.reports.attack_report import AttackReport
from recert.records.reports.evaluation import EvalReport
from recert.records.reports.screening import ScreenReport
from recert.records.reports.stress import StressReport
from recert.records.reports.tuning import TuneReport
from recert.records.signed.certificate import PAYLOAD_TYPE, Certificate, RootChange, Step
from recert.records.signed.input_distribution import InputDistribution


@dataclass(frozen=True)
class CertifyDecision:
    """
    Whether a model is certified, and every reason why not, each as `code: words`.

    `envelope` is the draft, signed by the evaluator only: it is a certificate once its approvers have signed.
    It is None when the answer is no.
    """

    certified: bool
    reasons: tuple[str, ...]
    envelope: bytes | None


def certify(
    *,
    eval_report: EvalReport,
    policy: Policy,
    base_dir: Path,
    tuned_dir: Path,
    evidence_sha256: str,
    signer: SigningKey,
    approvers: Sequence[PublicKey],
    trainer_key_id: str | None,
    links: Mapping[Step, bytes],
    trust: TrustStore,
    derive: Callable[[EvalReport], Sequence[str]],
    status_list_id: str,
    tune_report: TuneReport | None = None,
    screen_report: ScreenReport | None = None,
    stress_report: StressReport | None = None,
    attack_report: AttackReport | None = None,
    supersedes: str | None = None,
    exceptions: Sequence[ExceptionRequest] = (),
    certified_base: CertifiedBase | None = None,
    carried_from: CarriedFrom | None = None,
    inputs: InputDistribution | None = None,
    now: datetime | None = None,
) -> CertifyDecision:
    """
    Decide whether a tuned model can be certified; if so, draft the certificate and sign it as the evaluator.

    The answer is no unless the evaluation passed under this policy and follows from its outcomes, each arm was what it
    claims to be, the reports belong together and are signed by who made them, both folders hold the evaluated files,
    neither is an attack artefact, and the named people can fill the roles that the policy asks for. What is drafted is
    examined as verification will examine it.

    Args:
        eval_report, policy: the evaluation; the policy to certify under, which must have decided the evaluation.
        base_dir, tuned_dir, evidence_sha256, signer: both folders; digest of the evidence bundle; the evaluator's key.
        approvers: public keys of everyone else who must sign, each with one role.
        trainer_key_id: who trained, where that was elsewhere; who signed the tune trained it.
        links, trust: who signed that they ran each step, of every report that is given; whose signatures count.
        derive: gives every reason why the report does not follow from its outcomes, as `code: words`.
        status_list_id: the status list that can end the certificate.
        tune_report, screen_report: how it was tuned, None when elsewhere; how the rows were screened.
        stress_report, attack_report: of the base; of attackers. Where the policy wants one, None means no.
        supersedes: serial of an earlier certificate of the same model.
        exceptions: rules whose results that are no pass are accepted, by a risk owner among those who sign.
        certified_base, carried_from: the base's own certificate; what shows that evidence that is carried over counts.
        inputs, now: how controls score expected requests, which decides nothing; the time, by default the present.

    Raises:
        SigningKeyError: `signer` is not an evaluator's key, or an approver's key has not exactly one role.
        InputError, StoreError: a folder is missing, empty or holds a link, or a file cannot be read; no UTC offset.
    """
    at, approvals = moment(now), approvals_of(signer, approvers)
    base, tuned = hash_both(base_dir, tuned_dir)
    made = (screen_report, tune_report, eval_report, stress_report, attack_report)
    steps = read_steps(made, links, trust=trust, now=at)
    terms = Terms(policy, approvals, steps.trainer(trainer_key_id), eval_report.trigger_search, at)
    excepted, reasons = draft_exceptions(exceptions, eval_report, terms)
    sums = _sums(eval_report, certified_base)
    reasons += [
        *steps.reasons,
        *why_not_decided(eval_report, policy, stress_report, counting(excepted, terms), attack_report),
        *derive(eval_report),
        *why_report_not_counted(eval_report, policy),
        *why_not_linked(eval_report, tune_report, screen_report, stress_report),
        *why_not_signed(policy, approvals, steps, trainer_key_id, trust=trust, now=at),
        *_why_not_alike(eval_report, policy, base_dir, tuned_dir),
        *why_not_from(certified_base, base),
        *why_beyond_root(sums, policy, exceptions=counting(excepted, terms)),
        *why_not_carried_over(eval_report, policy, carried_from, tuned_dir),
        *why_not_on_disk(eval_report, {"base": base, "tuned": tuned}),
        *(*why_not_plain(base_dir, base), *why_not_plain(tuned_dir, tuned)),
    ]
    if reasons:
        return CertifyDecision(certified=False, reasons=tuple(dict.fromkeys(reasons)), envelope=None)
    certificate = draft(
        eval_report, policy, evidence_sha256=evidence_sha256, approvals=approvals, trainer_key_id=terms.trainer_key_id,
        tune_report=tune_report, screen_report=screen_report, stress_report=stress_report, attack_report=attack_report,
        supersedes=supersedes, exceptions=excepted, inputs=inputs, steps=steps.evidence, status_list_id=status_list_id,
        base_certificate=certified_base.reference if certified_base else None, now=at,
    ).model_copy(update={"from_root": sums})  # fmt: skip
    told = examine_draft(certificate, policy=policy, trust=trust, now=at)
    refused = [f"{one.reason}: {words}" for one in told if one.answer == "failed" for words in one.told]
    if refused:
        return CertifyDecision(certified=False, reasons=tuple(refused), envelope=None)
    return CertifyDecision(certified=True, reasons=(), envelope=signed(certificate, signer))


def _why_not_alike(report: EvalReport, policy: Policy, *folders: Path) -> list[str]:
    """Why both arms were not what they claim to be, or not asked alike, or are marked as attack artefacts."""
    marks = [(folder.name, attack_mark(folder)) for folder in folders]
    return [
        *why_not_compared(report),
        *why_not_heard_alike(report, policy),
        *(f"attack-artefact: {name} is marked in {mark}" for name, mark in marks if mark is not None),
    ]


def _sums(report: EvalReport, base: CertifiedBase | None) -> tuple[RootChange, ...] | None:
    """How far the model can be from the first base of its chain."""
    deciding = deciding_results(report.rules, report.required_controls)
    return from_root(deciding, base.certificate if base else None)


def signed(certificate: Certificate, signer: SigningKey) -> bytes:
    """Return the envelope of a draft, signed by the evaluator."""
    return sign(PAYLOAD_TYPE, statement_bytes(certificate), [signer]).to_json()


def approve(envelope: bytes, key: SigningKey) -> bytes:
    """
    Return the certificate with one more signature, in the role that it names this key for.

    Read what you sign first: `signoff_sheet(envelope)` has all of it.

    Raises:
        RecordError: it is not a certificate's envelope.
        SigningKeyError: the certificate does not name this key, or names it in a role that the key has not.
    """
    signed = _open(envelope)
    require_named(read_statement(signed.payload), key)
    return signed.signed_by(key).to_json()


def require_named(certificate: Certificate, key: SigningKey) -> None:
    """
    Return when a certificate names a key as one of its signers, in a role that the key has.

    Raises:
        SigningKeyError: it does not.
    """
    role = next((a.role for a in certificate.approvals if a.key_id == key.key_id), None)
    if role is None:
        raise SigningKeyError(
            "this certificate does not name the key as one of its signers",
            facts={
                "key": key.key_id,
                "named": ", ".join(f"{a.role} {a.key_id}" for a in certificate.approvals),
            },
            hint="certify again and name this key's .pub file as an approver",
        )
    key.require_role(role)


def read_unverified(envelope: bytes) -> Certificate:
    """
    Return what a certificate says, to show it. Nothing about it is proven: only `verify` does that.

    Raises:
        RecordError: it is not a certificate's envelope.
    """
    return read_statement(_open(envelope).payload)


def _open(envelope: bytes) -> Envelope:
    opened = Envelope.from_json(envelope)
    if opened.payload_type != PAYLOAD_TYPE:
        raise RecordError(
            "not a certificate", facts={"expected": PAYLOAD_TYPE, "actual": opened.payload_type}
        )
    return opened
