"""Who ran the steps behind a certificate, and who signs it: trusted in their roles, by their names, and apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from recert.certification.signing.content import required_roles
from recert.certification.signing.keys import PublicKey, SigningKey
from recert.certification.signing.links import Link, read_link, why_not_link_of
from recert.certification.signing.materials import step_of
from recert.certification.trust.store import TrustStore
from recert.errors import SigningKeyError, VerificationError
from recert.policy import Policy
from recert.records.record import Record
from recert.records.signed.certificate import STEP_ROLES, Approval, Step, StepEvidence


@dataclass(frozen=True)
class SignedSteps:
    """The links of the reports that a certificate rests on, and every reason why one counts for nothing."""

    links: Mapping[Step, Link]
    reasons: tuple[str, ...]

    @property
    def evidence(self) -> tuple[StepEvidence, ...]:
        """The steps as a certificate names them, in the order of the chain."""
        return tuple(self.links[step].evidence for step in STEP_ROLES if step in self.links)

    def trainer(self, given: str | None) -> str | None:
        """Return the key of who trained: who signed the tune, else the one that is given."""
        return self.links["tune"].key_id if "tune" in self.links else given


def read_steps(
    reports: Iterable[Record | None], links: Mapping[Step, bytes], *, trust: TrustStore, now: datetime
) -> SignedSteps:
    """
    Return the links of reports: each must have one, signed by somebody trusted in its role, that says what it says.

    Reasons are `code: words`: `evidence-unsigned`, `link-malformed`, `link-untrusted` or `link-differs`.

    Args:
        reports: what was made; None for a step that was not run.
        links: signed, by step.
        trust: whose signatures count.
        now: the time.
    """
    made = {step_of(report): report for report in reports if report is not None}
    found: dict[Step, Link] = {}
    reasons = [
        f"link-differs: there is a link of the step {step}, and its report was not given"
        for step in links
        if step not in made
    ]
    for step, report in made.items():
        if step not in links:
            reasons.append(
                f"evidence-unsigned: nobody signed that they ran the step {step}: run it with the key of a "
                f"{STEP_ROLES[step]}"
            )
            continue
        try:
            link = read_link(links[step], step=step, trust=trust, now=now)
        except VerificationError as exc:
            facts = "; ".join(f"{name}: {fact}" for name, fact in exc.facts.items())
            reasons.append(f"{exc.reason}: of the step {step}: {exc.message}: {facts}")
            continue
        if words := why_not_link_of(link, report):
            reasons.append(f"link-differs: of the step {step}: {words}")
        found[step] = link
    return SignedSteps(found, tuple(reasons))


def approvals_of(signer: SigningKey, approvers: Sequence[PublicKey]) -> tuple[Approval, ...]:
    """Return who is to sign in which role. Raises SigningKeyError where a key cannot."""
    signer.require_role("evaluator")
    evaluator = Approval(role="evaluator", key_id=signer.key_id, name=signer.public.name)
    return (evaluator, *(_approval(key) for key in approvers))


def _approval(key: PublicKey) -> Approval:
    if len(key.roles) != 1:
        raise SigningKeyError(
            "an approver's key must have exactly one role",
            facts={"key": key.key_id, "roles": ", ".join(key.roles)},
        )
    return Approval(role=key.roles[0], key_id=key.key_id, name=key.name)


def why_not_signed(
    policy: Policy,
    approvals: Sequence[Approval],
    steps: SignedSteps,
    trainer_key_id: str | None,
    *,
    trust: TrustStore,
    now: datetime,
) -> Iterator[str]:
    """
    Yield why these people cannot fill the roles that the policy asks for, as `code: words`.

    A person is who the trust store names, whatever keys they hold.

    Args:
        policy: asks for roles.
        approvals: who is to sign.
        steps: who ran the steps.
        trainer_key_id: who trained, as it was given; who signed the tune counts before it.
        trust: whose signatures count.
        now: the time.
    """
    yield from _why_unknown(approvals, trust, now)
    yield from _why_missing(policy, approvals)
    if len({a.key_id for a in approvals}) != len(approvals):
        yield "same-signer: one key would sign twice"
    people = [trust.person(a.key_id) for a in approvals]
    twice = sorted({one for one in people if people.count(one) > 1})
    if twice:
        yield f"same-signer: {', '.join(twice)} would sign twice"
    evaluation = steps.links.get("evaluate")
    evaluator = next((a.key_id for a in approvals if a.role == "evaluator"), "")
    if evaluation is not None and trust.person(evaluation.key_id) != trust.person(evaluator):
        yield (
            f"evaluator-differs: {trust.person(evaluation.key_id)} evaluated, and {trust.person(evaluator)} would "
            "sign as the evaluator"
        )
    yield from _why_trained(policy, approvals, steps, trainer_key_id, trust, now)


def _why_unknown(approvals: Sequence[Approval], trust: TrustStore, now: datetime) -> Iterator[str]:
    for one in approvals:
        key = trust.known(one.key_id)
        called = one.name or one.key_id
        if key is None or one.role not in key.roles:
            yield f"untrusted-key: {called} is not in the trust store with the role {one.role}"
        elif key.expired(now):
            yield f"key-expired: {called}"
        elif key.name != one.name:
            yield f"misnamed: {called} is {key.name or 'without a name'} in the trust store"


def _why_missing(policy: Policy, approvals: Sequence[Approval]) -> Iterator[str]:
    wanted = {"evaluator": 1, "approver": 1}
    for role, threshold in required_roles(policy).items():
        wanted[role] = max(threshold, wanted.get(role, 0))
    for role, threshold in wanted.items():
        named = sum(a.role == role for a in approvals)
        if named < threshold:
            yield f"missing-role: {threshold} with the role {role} must sign, {named} named"


def _why_trained(
    policy: Policy,
    approvals: Sequence[Approval],
    steps: SignedSteps,
    given: str | None,
    trust: TrustStore,
    now: datetime,
) -> Iterator[str]:
    apart = policy.certification.evaluator_differs_from_trainer
    trainer = steps.trainer(given)
    if trainer is None:
        if apart:
            yield "missing-role: the trainer is not named, so it is not shown that someone else evaluated"
        return
    if given not in (None, trainer):
        yield f"trainer-differs: the tune is signed by {trainer}, and the trainer given is {given}"
    key = trust.find(trainer, now=now)
    if key is None or "trainer" not in key.roles:
        yield f"untrusted-key: {trust.person(trainer)} is not in the trust store with the role trainer"
    person = trust.person(trainer)
    for one in approvals:
        if trust.person(one.key_id) == person and (apart or one.role != "evaluator"):
            yield f"same-signer: the {one.role} is the trainer"
