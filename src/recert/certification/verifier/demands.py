"""What a certificate must say, and who must have signed it: steps 4 to 6 of `spec/verification.md`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from recert.certification.signing.content import required_roles
from recert.certification.signing.envelope import Envelope
from recert.certification.signing.keys import PublicKey
from recert.certification.trust.store import TrustStore
from recert.certification.verifier.ancestry import why_beyond_root, why_not_added_up
from recert.certification.verifier.decision import deciding_results, why_not_pass
from recert.certification.verifier.exceptions import Terms, counting, why_not_covered
from recert.errors import VerificationError
from recert.policy import Policy, suites_not_pinned, unstated
from recert.policy.arithmetic import why_not_as_ruled
from recert.records.signed.certificate import STEP_ROLES, Certificate, Step, StepEvidence


def require_apart(
    certificate: Certificate, policy: Policy | str | None, trust: TrustStore | None = None
) -> None:
    """
    Return when nobody signs twice, and nobody who signs trained the model.

    Args:
        certificate: what was signed, or is to be.
        policy: a whole one may let the trainer sign.
        trust: says whose a key is: one person is one signer, whatever keys they hold. None takes keys as people.

    Raises:
        VerificationError: `same-signer`, `missing-role` or `untrusted-key`.
    """
    # 4.1
    people = [trust.person(a.key_id) if trust else a.key_id for a in certificate.approvals]
    if len(set(people)) != len(people) or len({a.key_id for a in certificate.approvals}) != len(people):
        raise VerificationError(
            "same-signer",
            "one person signs in two roles",
            facts={
                a.role: f"{person} {a.key_id[:16]}"
                for a, person in zip(certificate.approvals, people, strict=True)
            },
            hint="let two people sign, each with a key of their own",
        )
    if isinstance(policy, Policy) and not policy.certification.evaluator_differs_from_trainer:
        return
    trainer = certificate.trainer_key_id
    if trainer is None:
        raise VerificationError(
            "missing-role",
            "certificate names no trainer, so it is not shown that someone else evaluated",
            hint="certify again with the trainer's key id",
        )
    same = [
        a.role
        for a, person in zip(certificate.approvals, people, strict=True)
        if a.key_id == trainer or (trust is not None and person == trust.person(trainer))
    ]
    if same:
        raise VerificationError(
            "same-signer",
            f"the {same[0]} is the trainer",
            facts={"key": trainer, "name": trust.person(trainer) if trust else ""},
            hint="let someone else do it",
        )
    key = trust.known(trainer) if trust is not None else None
    if trust is not None and (key is None or "trainer" not in key.roles):
        raise VerificationError(
            "untrusted-key",
            "a key is not trusted as trainer",
            facts={"key": trainer, "trusted as": ", ".join(key.roles) if key else "nothing"},
            hint="who trained must be known, so that it can be told that somebody else evaluated",
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
        if approval.name != key.name:
            raise VerificationError(
                "untrusted-key",
                f"the {approval.role} is called otherwise in the trust store",
                facts=facts | {"called": key.name},
                hint="certify again with the .pub file that is trusted",
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
    if isinstance(policy, Policy):
        named = (certificate.policy_id, certificate.policy_version)
        if named != (policy.id, policy.version):
            raise VerificationError(
                "wrong-policy",
                "certificate calls its policy otherwise than that is called",
                facts={"expected": f"{policy.id} {policy.version}", "actual": " ".join(named)},
                hint="certify again",
            )
        # 5.2
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
        # 5.4
        unpinned = suites_not_pinned(policy, {one.name: one.sha256 for one in certificate.suites or ()})
        if unpinned:
            raise VerificationError(
                "suite-not-pinned",
                "certificate is about other prompts than its policy pins",
                facts={str(n): words.partition(": ")[2] for n, words in enumerate(unpinned, start=1)},
                hint="evaluate on the suites that the policy names by digest",
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


def require_stated(certificate: Certificate, policy: Policy | str | None) -> None:
    """Return when it is stated where the base already fails: step 6.15. Raises VerificationError."""
    whole = policy if isinstance(policy, Policy) else None
    deciding = deciding_results(certificate.results, certificate.required_controls)
    for words in unstated(deciding, whole, certificate.limitations):
        raise VerificationError(
            "verdict-not-pass",
            "certificate does not state where its base already fails",
            facts={"because": words},
            hint="evaluate again, and certify",
        )


def require_as_ruled(certificate: Certificate, policy: Policy | str | None) -> None:
    """
    Return when each deciding result is of a rule of the whole policy, and its numbers carry its pass: step 6.12.

    Raises:
        VerificationError: `not-as-ruled`.
    """
    if not isinstance(policy, Policy):
        return
    judges = {note.id: note for note in certificate.judges}
    prompts = {suite.name: suite.prompts for suite in certificate.suites or ()}
    attempt = certificate.attempt.number if certificate.attempt is not None else None
    deciding = deciding_results(certificate.results, certificate.required_controls)
    reasons = [
        words
        for result in deciding
        for words in why_not_as_ruled(result, policy, judges=judges, prompts=prompts, attempt=attempt)
    ]
    named = [(r.rule_id, r.condition, r.category, r.safeguards) for r in deciding]
    if len(set(named)) != len(named):
        reasons.append("a deciding result is there twice")
    if reasons:
        raise VerificationError(
            "not-as-ruled",
            "certificate's numbers are not those that its policy asks for",
            facts={str(number): words for number, words in enumerate(reasons, start=1)},
            hint="evaluate again under this policy, and certify",
        )


def require_evidence(certificate: Certificate, policy: Policy | str | None, trust: TrustStore | None) -> None:
    """
    Return when prompts, judges, engine and sampling are named, and each step behind was signed in its role: step 6.13.

    Args:
        certificate: what was signed, or is to be.
        policy: a whole one says how replies were to be drawn.
        trust: whose signatures count; None passes over whose keys they are.

    Raises:
        VerificationError: `evidence-missing`, `untrusted-key` or `same-signer`.
    """
    reasons = list(_unnamed(certificate, policy if isinstance(policy, Policy) else None))
    steps = {one.step: one for one in certificate.steps or ()}
    stress, attacker = certificate.base_stress, certificate.attacker
    wanted: dict[Step, str | None] = {
        "evaluate": certificate.eval_report_sha256,
        "tune": certificate.tune_report_sha256,
        "screen": certificate.screen_report_sha256,
        "watch": certificate.watch_report_sha256,
        "stress": stress.report_sha256 if stress is not None else None,
        "attack": attacker.report_sha256 if attacker is not None else None,
    }
    for step, sha256 in wanted.items():
        found = steps.get(step)
        if (found.record_sha256 if found is not None else None) != sha256:
            reasons.append(
                f"who ran `{step}` signed for {found.record_sha256 if found else 'nothing'}, not for {sha256}"
            )
    if reasons:
        raise VerificationError(
            "evidence-missing",
            "certificate does not say what it follows from",
            facts={str(number): words for number, words in enumerate(reasons, start=1)},
            hint="certify again: certificates name suites, judges, engine, sampling and every signed step",
        )
    for one in steps.values():
        _require_ran(one, certificate, trust)


def require_within_root(certificate: Certificate, policy: Policy | str | None) -> None:
    """
    Return when a tune of certified tunes is not further from the first base than the policy allows: step 6.14.

    Raises:
        VerificationError: `chained-bases`.
    """
    whole = policy if isinstance(policy, Policy) else None
    counted = counting(certificate.exceptions, Terms.of(certificate, whole))
    reasons = [
        *why_not_added_up(certificate),
        *why_beyond_root(certificate.from_root, whole, exceptions=counted),
    ]
    if reasons:
        raise VerificationError(
            "chained-bases",
            "certificate's chain of bases has lost too much, or does not say how much",
            facts={str(n): words.partition(": ")[2] for n, words in enumerate(reasons, start=1)},
            hint="tune the first base, or certify the base of this one anew against it",
        )


def _unnamed(certificate: Certificate, policy: Policy | None) -> Iterator[str]:
    """What the certificate does not say of how it was measured, or says otherwise than the policy does."""
    if not certificate.suites:
        yield "no suite is named"
    suites = {suite.name for suite in certificate.suites or ()}
    if len(suites) != len(certificate.suites or ()):
        yield "two suites have one name"
    unknown = {r.suite for r in certificate.results if r.change.n} - suites
    yield from (f"suite {name} was asked and is not named" for name in sorted(unknown))
    if not certificate.judges:
        yield "no judge is named"
    yield from (
        f"judge {note.id} has no digest" for note in certificate.judges if not (note.digest or note.exact)
    )
    if not certificate.engine:
        yield "no engine is named"
    replies = certificate.replies or {}
    for arm in ("base", "tuned"):
        counts = [count for name, count in replies.items() if name.partition("_")[0] == arm]
        if not sum(counts) or min(counts) < 0:
            yield f"it does not say how many replies of the {arm} were made and how many were kept ones"
    if certificate.sampling is None:
        yield "it does not say how replies were drawn"
    elif policy is not None:
        drawn = ("max_new_tokens", "utility_max_new_tokens", "temperature", "samples_per_prompt", "seed")
        for name in drawn:
            said, asked = certificate.sampling.get(name), getattr(policy.evaluation, name)
            if said != asked:
                yield f"{name} was {said}, the policy asks for {asked}"
    if len({one.step for one in certificate.steps or ()}) != len(certificate.steps or ()):
        yield "a step is named twice"


def _require_ran(step: StepEvidence, certificate: Certificate, trust: TrustStore | None) -> None:
    """Who ran a step is trusted in its role, was so when it was certified, and is who the certificate says they are."""
    role = STEP_ROLES[step.step]
    facts = {"step": step.step, "role": role, "key": step.key_id, "name": step.name}
    if trust is not None:
        key = trust.find(step.key_id, now=certificate.certified_at)
        if key is None or role not in key.roles or key.name != step.name:
            raise VerificationError(
                "untrusted-key",
                f"who ran `{step.step}` is not trusted as {role}",
                facts=facts | {"trusted as": f"{key.name} {', '.join(key.roles)}" if key else "nobody"},
                hint=f"the step must be run and signed by somebody who is trusted as {role}",
            )
    evaluators = {a.key_id for a in certificate.approvals if a.role == "evaluator"}
    people = {trust.person(key_id) for key_id in evaluators} if trust is not None else set()
    ran_by = trust.person(step.key_id) if trust is not None else step.key_id
    if step.step == "evaluate" and step.key_id not in evaluators and ran_by not in people:
        raise VerificationError(
            "untrusted-key", "who evaluated is not who signs as evaluator", facts=facts, hint="certify again"
        )
    if step.step == "tune" and step.key_id != certificate.trainer_key_id:
        raise VerificationError(
            "untrusted-key", "who tuned is not who is named as trainer", facts=facts, hint="certify again"
        )
    if step.step in ("watch", "stress", "attack") and step.key_id == certificate.trainer_key_id:
        raise VerificationError(
            "same-signer", f"the trainer ran `{step.step}`", facts=facts, hint="let someone else do it"
        )


def bad_signature(key_id: str) -> VerificationError:
    """Return the error for content that a key did not sign."""
    hint = "get it again; it was changed after signing"
    return VerificationError(
        "bad-signature", "certificate is not what was signed", facts={"key": key_id}, hint=hint
    )
