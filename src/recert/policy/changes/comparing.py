"""
Two policies and the certificates that they meet, as one record.

Here too: what follows from another policy beside evaluating: in words, for whoever has to do it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from recert.policy.changes.difference import differences
from recert.policy.changes.reuse import Measuring
from recert.policy.changes.staleness import Impact, impact, seconds_per_reply
from recert.policy.policy import Policy
from recert.records.reports.evaluation import EvalReport
from recert.records.signed.certificate import Certificate
from recert.records.signed.policy_diff import CertificateImpact, FieldChange, PolicyDiff


def consequences(measuring: Measuring, changes: tuple[FieldChange, ...]) -> tuple[str, ...]:
    """
    Return what must be done beside evaluating, and what a bound on the prompts does not count.

    Args:
        measuring: both policies.
        changes: what differs between them.
    """
    return tuple(_said(measuring, {change.path.partition(".")[0] for change in changes}))


def _said(measuring: Measuring, sections: set[str]) -> Iterator[str]:
    before, after = measuring.before, measuring.after
    if before.digest != after.digest:
        yield (
            "certificates name the policy by its digest: each is decided, certified and signed again, whatever of it "
            "still counts"
        )
    if measuring.before.digest != after.digest or measuring.changed_suites:
        yield (
            "replies count where the cache of the machine that evaluated is at hand (RECERT_CACHE); elsewhere "
            "everything is asked"
        )
    if measuring.looks_elsewhere:
        yield (
            f"rules may be looked at after other numbers of prompts: each may ask up to "
            f"{after.evaluation.round_prompts} more than is counted here"
        )
    if any("ask" in (one.reuse, one.reuse_behind_controls) for one in measuring.reuse()):
        yield (
            f"controls that gate nothing, such as a wrong secret, ask up to {after.evaluation.min_prompts} prompts "
            "each beside what is counted here"
        )
    if "screening" in sections:
        yield "rows are screened again; where others are accepted, what was tuned on them is another model"
    if after.hunt.required and (not before.hunt.required or "hunt" in sections):
        yield "triggers are searched again; readings that are kept are not made again"
    if after.stress.required and before.digest != after.digest:
        yield "every base is stressed again: a stress report counts under its own policy only"
    if after.attack is not None and before.attack != after.attack:
        yield "what attackers came to is decided again; where a report holds less than is asked for, they try again"
    if "gateway" in sections:
        yield "gateways are started again with the new policy and certificates made under it"
    if "grader_audit" in sections:
        yield "graders are audited again"
    yield from _signers(before, after)


def _signers(before: Policy, after: Policy) -> Iterator[str]:
    old, new = (
        {rule.role: rule.threshold for rule in policy.certification.roles} for policy in (before, after)
    )
    for role, threshold in new.items():
        if threshold > old.get(role, 0):
            yield f"{threshold} with the role {role} must sign, where {old.get(role, 0)} did"


@dataclass(frozen=True)
class HeldCertificate:
    """A certificate that a change of policy may concern."""

    file: str
    certificate: Certificate
    report: EvalReport | None = None
    """The evaluation behind it, where it is at hand: it knows its suites and how long replies took."""
    ended: str = ""
    """Why it is not live any more; empty for one that is."""
    doubt: str = ""
    """Why it cannot be verified, where that is so: nothing of it is known to count."""
    commands: tuple[str, ...] = ()
    """What to run where it becomes stale."""


@dataclass(frozen=True)
class KnownSuites:
    """What is known of suites, by name."""

    digests: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    new: Collection[str] = ()
    """Those of them that have another version now."""

    def of(self, report: EvalReport | None) -> Collection[str]:
        """Return the suites that a report was made with, so that what is known of them holds for it."""
        asked = report.suites if report is not None else {}
        return {name for name, digest in self.digests.items() if asked.get(name) == digest}


def policy_diff(
    measuring: Measuring, held: Sequence[HeldCertificate] = (), suites: KnownSuites | None = None
) -> PolicyDiff:
    """
    Return what lies between two policies and what follows from it for each certificate.

    Args:
        measuring: both policies, and which suites changed.
        held: the certificates.
        suites: sizes and new versions of suites.
    """
    known = suites or KnownSuites()
    before, after = measuring.before, measuring.after
    changes = differences(before, after)
    total = _Total(after.evaluation.samples_per_prompt)
    told = tuple(_told(one, measuring, known, total) for one in held)
    return PolicyDiff(
        before_id=before.id,
        before_version=before.version,
        before_sha256=before.digest,
        after_id=after.id,
        after_version=after.version,
        after_sha256=after.digest,
        changes=changes,
        rules=measuring.reuse(),
        consequences=consequences(measuring, changes),
        certificates=told,
        prompts_base=total.base,
        prompts_tuned=total.tuned,
        replies=(total.base + total.tuned) * total.samples,
        seconds=_rounded(total.seconds),
    )


@dataclass
class _Total:
    """Prompts of all certificates together; what one model was asked for one certificate is kept for the next."""

    samples: int
    base: int = 0
    tuned: int = 0
    seconds: float | None = 0.0
    _asked: dict[tuple[object, ...], int] = field(default_factory=dict)

    def add(self, certificate: Certificate, found: Impact, rate: float | None) -> None:
        """Count what a certificate adds, and the time that takes at a rate in seconds a reply."""
        base, tuned = certificate.base.digest, certificate.tuned.digest
        more_base = sum(self._new(("base", base, *place), n) for place, n in found.base.items())
        more_tuned = sum(self._new(("tuned", base, tuned, *place), n) for place, n in found.tuned.items())
        self.base += more_base
        self.tuned += more_tuned
        if more_base + more_tuned:
            known = rate is not None and self.seconds is not None
            self.seconds = (
                (self.seconds or 0) + (more_base + more_tuned) * self.samples * (rate or 0) if known else None
            )

    def _new(self, place: tuple[object, ...], n: int) -> int:
        more = max(0, n - self._asked.get(place, 0))
        self._asked[place] = self._asked.get(place, 0) + more
        return more


def _told(
    one: HeldCertificate, measuring: Measuring, suites: KnownSuites, total: _Total
) -> CertificateImpact:
    certificate = one.certificate
    if one.ended:
        found = Impact("not-live", (one.ended,))
    else:
        same = suites.of(one.report)
        narrowed = replace(
            measuring,
            changed_suites=[name for name in suites.new if name not in same],
            cut_short=[name for name in measuring.cut_short if name in same],
        )
        sizes = {name: n for name, n in suites.sizes.items() if name in same or name in suites.new}
        found = impact(certificate, narrowed, sizes=sizes, doubt=one.doubt)
    rate = seconds_per_reply(one.report)
    total.add(certificate, found, rate)
    base, tuned = sum(found.base.values()), sum(found.tuned.values())
    replies = (base + tuned) * total.samples
    return CertificateImpact(
        file=one.file,
        serial=certificate.serial,
        model_name=certificate.model_name,
        policy_sha256=certificate.policy_sha256,
        expires_at=certificate.expires_at,
        answer=found.answer,
        because=found.because,
        prompts_base=base,
        prompts_tuned=tuned,
        replies=replies,
        seconds=_rounded(None if rate is None and replies else replies * (rate or 0)),
        commands=one.commands if found.answer not in ("holds", "not-live") else (),
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
