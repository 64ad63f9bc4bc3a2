"""The sign-off sheet: all of what somebody is about to sign, and what the policy asks for, done or missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from recert.certification.clock import moment
from recert.certification.signing.envelope import Envelope
from recert.certification.signing.refusals import objections
from recert.certification.signing.signoff_words import certificate_lines, result_lines, unknown_fields
from recert.certification.signing.statement import read_statement
from recert.certification.trust.store import TrustStore
from recert.certification.verifier import examine_draft
from recert.certification.verifier.exceptions import Terms, why_not_excepted
from recert.digest import sha256_bytes
from recert.errors import RecordError
from recert.policy import Policy
from recert.records.reports.evaluation import where_applies
from recert.records.signed.certificate import PAYLOAD_TYPE, Certificate
from recert.records.signed.refusal import Refusal
from recert.records.signed.signoff import CheckItem, SheetLine, ShownRefusal, SignoffSheet

_FOLLOWS: Final = "its results follow from the outcomes of its evaluation"


def signoff_sheet(
    envelope: bytes,
    *,
    policy: Policy | None,
    trust: TrustStore | None = None,
    refusals: Sequence[bytes] = (),
    underived: Sequence[str] | None = None,
    now: datetime | None = None,
) -> SignoffSheet:
    """
    Return what a signer is to see of a certificate. Nothing about it is proven: only `verify` does that.

    Args:
        envelope: the certificate's.
        policy: the policy that it says it was decided by; without it the sheet is not whole, and nothing may be
            signed.
        trust: where given, signatures that are there are verified.
        refusals: as `refusals_beside` reads them.
        underived: why its results do not follow from its evidence, each as `code: words`; empty where they do. None
            where nobody looked, as in a list: then nothing is said of it, and nobody signs by such a sheet.
        now: the time; the present by default.

    Raises:
        RecordError: it is not a certificate's envelope, or a refusal cannot be read.
    """
    at = moment(now)
    opened = Envelope.from_json(envelope)
    if opened.payload_type != PAYLOAD_TYPE:
        raise RecordError(
            "not a certificate", facts={"expected": PAYLOAD_TYPE, "actual": opened.payload_type}
        )
    certificate = read_statement(opened.payload)
    unshown = [f"a field that this version does not know: {name}" for name in unknown_fields(certificate)]
    if policy is None:
        unshown.append(
            f"the policy is not at hand: {certificate.policy_id} sha256:{certificate.policy_sha256}"
        )
    asked = list(_asked(certificate, policy, trust, at)) if policy is not None else []
    if underived is not None:
        state = "missing" if underived else "done"
        asked.append(CheckItem(asked=_FOLLOWS, state=state, words="; ".join(underived)))
    return SignoffSheet(
        serial=certificate.serial,
        model_name=certificate.model_name,
        certificate_sha256=sha256_bytes(opened.payload),
        exceptions=certificate.exceptions or (),
        refusals=tuple(
            ShownRefusal(refusal=o.refusal, withdrawn=o.withdrawn) for o in objections(certificate, refusals)
        ),
        lines=_lines(certificate_lines(certificate)),
        results=_lines(result_lines(certificate)),
        checklist=(*asked, *_signatures(certificate, opened, trust, at)),
        unshown=tuple(unshown),
        shown_at=at,
    )


def own_refusals(sheet: SignoffSheet, certificate: Certificate, key_id: str) -> tuple[Refusal, ...]:
    """Return the refusals by one key that still stand and count against a certificate."""
    return tuple(
        shown.refusal
        for shown in sheet.refusals
        if not shown.withdrawn
        and shown.refusal.approval.key_id == key_id
        and shown.refusal.is_about(certificate)
    )


def _lines(pairs: Iterator[tuple[str, str]]) -> tuple[SheetLine, ...]:
    return tuple(SheetLine(heading=heading, words=words) for heading, words in pairs)


def _asked(
    certificate: Certificate, policy: Policy, trust: TrustStore | None, now: datetime
) -> Iterator[CheckItem]:
    """What verification will ask for under this policy, each item by the very check that will be made."""
    hours = policy.certification.longest_hours
    roles = ", ".join(
        f"{r.threshold} {r.role}{f' for {r.valid_hours:g} hours' if r.valid_hours else ''}"
        for r in policy.certification.roles
    )
    wanted = [f"{len(policy.rules)} rules measured and passed"]
    wanted += ["triggers searched for and none found"] if policy.hunt.required else []
    wanted += ["its base stressed"] if policy.stress.required else []
    wanted += ["attackers within their bounds"] if policy.attack is not None else []
    own_words = {
        "4.3": f"signers: {roles}",
        "5.1 to 5.4": f"under {policy.id} {policy.version}, for {hours:g} hours at most, on the suites that it pins, "
        "saying what the gateway lets pass",
        "6.1 to 6.9": ", ".join(wanted),
    }
    for check in examine_draft(certificate, policy=policy, trust=trust, now=now):
        failed = check.answer == "failed"
        yield CheckItem(
            asked=own_words.get(check.step, check.asks),
            state="missing" if failed else "done",
            words="; ".join((check.words, *check.facts.values())) if failed else "",
        )
    terms = Terms.of(certificate, policy)
    for exception in certificate.exceptions or ():
        asked = f"exception of {where_applies(exception)}: allowed, by a risk owner, not over"
        why = why_not_excepted(exception, terms)
        over = now >= exception.expires_at
        yield CheckItem(
            asked=asked,
            state="missing" if why or over else "done",
            words=why[1] if why else f"until {exception.expires_at:%Y-%m-%d %H:%M} UTC",
        )
    over = now >= certificate.expires_at
    yield CheckItem(
        asked="not expired",
        state="missing" if over else "done",
        words=f"until {certificate.expires_at:%Y-%m-%d %H:%M} UTC",
    )


def _signatures(
    certificate: Certificate, opened: Envelope, trust: TrustStore | None, now: datetime
) -> Iterator[CheckItem]:
    for approval in certificate.approvals:
        asked = f"signature of the {approval.role} {approval.name or approval.key_id[:16]}"
        if not opened.names(approval.key_id):
            yield CheckItem(asked=asked, state="waiting", words="not there yet")
            continue
        if trust is None:
            yield CheckItem(asked=asked, state="unchecked", words="is there; nobody checked it")
            continue
        key = trust.find(approval.key_id, now=now)
        proven = key is not None and approval.role in key.roles and opened.proven_by(key)
        yield CheckItem(
            asked=asked,
            state="done" if proven else "missing",
            words="" if proven else "is not by a key that is trusted in that role",
        )
