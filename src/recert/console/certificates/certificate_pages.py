"""
A certificate in words: whether it holds and why, how anybody verifies it offline, and what can be taken away.

Here too: how a certificate stands, in words: what is wrong with it, and how to get out of that.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from recert.certification import Envelope
from recert.certification.signing.signoff_words import certificate_lines
from recert.certification.status.register import FoundCertificate
from recert.certification.verifier import Check, first_failed
from recert.console.accounts.rights import Right
from recert.console.app import ROOT, Console
from recert.console.certificates.held import (
    Held,
    Logged,
    checks_of,
    find_held,
    logged_of,
    policy_name,
    status_of,
    trust_of,
)
from recert.console.pages import Page
from recert.console.visiting import PageError, Visit
from recert.errors import InputError, MissingExtraError
from recert.pages.pdf import find_browser, print_pdf
from recert.pages.sign_off_page import sign_off_page
from recert.records.record import now
from recert.records.reports.evaluation import EvalReport
from recert.records.signed.certificate import Certificate
from recert.workflows.certificates.sign_off import SignOff, named_evaluation
from recert.workflows.certificates.source import SignedCertificate, Signer, beside, deciding
from recert.workflows.certificates.verifying import Step, steps
from recert.workflows.rerun import commands_again

Told = tuple[str, str]

_TOLD: Final[dict[str, Told]] = {
    "revoked": (
        "It is revoked, for good.",
        "No gateway serves it. Mend what it was revoked for, then evaluate and certify the model again.",
    ),
    "suspended": (
        "It is suspended.",
        "No gateway serves it. Once the reason is gone, whoever issues the status list lifts it: "
        "`recert status status.json --key status.pem --trust keys --reinstate {serial}`.",
    ),
    "refused": (
        "Somebody who must sign refuses.",
        "Evaluate again, or let who refused take it back: "
        '`recert approve {file} --key KEY.pem --withdraw "what has changed"`.',
    ),
    "refusal-unreadable": (
        "A refusal cannot be read, so nobody knows who refused.",
        "Get the file again from who wrote it; it lies in the folder `refusals` beside the certificate.",
    ),
    "expired": (
        "It has expired.",
        "A watch renews only what has not ended. Evaluate and certify the model again: replies that the cache holds "
        "are not made again.",
    ),
    "not-yet-valid": ("It does not hold yet.", "Wait for its time, or set this machine's clock."),
    "exception-expired": (
        "An exception that it needs is over.",
        "Bring the result below its bound, or let a risk owner accept it anew: certify again.",
    ),
    "wrong-policy": (
        "It is stale: it is not under the policy that holds now.",
        "Decide, certify and sign again under this policy; the page of the policy says how much of the evidence still "
        "counts.",
    ),
    "status-expired": (
        "The status list is too old to rely on.",
        "Whoever issues it makes a new one: `recert status status.json --key status.pem --trust keys`.",
    ),
    "status-other-list": (
        "The status list here is not the one that can end it.",
        "Get the list that the certificate names, from whoever issues it.",
    ),
    "not-as-ruled": (
        "Its numbers are not those that the policy asks for.",
        "Do not sign it. Evaluate the model again under this policy, and certify.",
    ),
    "evidence-missing": (
        "It does not say what it follows from.",
        "Certify again: certificates name suites, judges, engine, sampling and every signed step.",
    ),
    "status-missing": (
        "There is no status list, so nobody knows whether it was revoked.",
        "Whoever issues it makes one: `recert status status.json --key status.pem --trust keys`.",
    ),
    "missing-role": (
        "It is a draft: not everyone who must sign has signed.",
        "Who is named below signs, in the console or with `recert approve`.",
    ),
    "not-logged": (
        "Nothing shows that it is in the transparency log.",
        "Append it and sign a checkpoint: `recert log append LOG {file}`, `recert log checkpoint LOG --key log.pem`.",
    ),
}
_GRAVEST: Final = ("revoked", "suspended", "refused", "expired")
_WAITING: Final = ("missing-role", "not-yet-valid", "not-logged")


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong with a certificate."""

    reason: str
    words: str
    because: str
    way_out: str


@dataclass(frozen=True)
class Standing:
    """The answer at the top of a certificate's page."""

    kind: str
    """`yes`, `no`, or `wait` where something is still to come or was not looked at."""
    chip: str
    words: str
    more: str = ""
    troubles: tuple[Trouble, ...] = ()


def standing(made: Sequence[Check], *, serial: str, file: str) -> Standing:
    """
    Return how a certificate stands by the steps that were made; the gravest trouble comes first.

    Args:
        made: the steps; none where the console has no trusted keys.
        serial: the certificate's.
        file: its file's name, for commands.
    """
    if not made:
        return Standing(
            "wait",
            "not verified here",
            "Nothing was verified here.",
            "The console was given no trusted keys. The commands below do it.",
        )
    failed = [check for check in made if check.answer == "failed"]
    if not failed:
        return Standing(
            "yes",
            "holds",
            "It holds, for the files that it names.",
            "Every step that needs no model passes: signatures, roles, policy, verdicts, time, status and refusals. "
            "Whether the files that you have are those that were certified, the command below says.",
        )
    first = first_failed(made)
    assert first is not None
    order = [*_GRAVEST, first.reason]
    failed.sort(key=lambda check: order.index(check.reason) if check.reason in order else len(order))
    waits = all(check.reason in _WAITING for check in failed)
    told = tuple(_trouble(check, serial=serial, file=file) for check in failed)
    return Standing(
        "wait" if waits else "no",
        told[0].reason.replace("-", " ") if told[0].reason != "missing-role" else "awaits signatures",
        told[0].words,
        "",
        told,
    )


def _trouble(check: Check, *, serial: str, file: str) -> Trouble:
    words, way_out = _TOLD.get(check.reason, (f"{check.words[:1].upper()}{check.words[1:]}.", ""))
    if not way_out and check.hint:
        way_out = f"{check.hint[:1].upper()}{check.hint[1:]}."
    if said := check.facts.get("because"):
        words = f"{words} Because: {said.rstrip('.')}."
    facts = ", ".join(f"{name} {value}" for name, value in check.facts.items())
    because = f"Step {check.step} of verification says: {check.words}{f' ({facts})' if facts else ''}."
    return Trouble(check.reason, words, because, way_out.format(serial=serial, file=file))


_STALE: Final = ("wrong-policy", "expired", "revoked", "refused", "exception-expired")
"""Troubles that only another evaluation or certification mends."""


def shown(visit: Visit) -> Response:
    """Show a certificate."""
    held = find_held(visit)
    if held.certificate is None:
        return visit.page(
            "certificate_unreadable.html.j2",
            title=f"Certificate of {held.system.name}",
            system=held.system,
            held=held,
        )
    said = held.certificate
    made = checks_of(visit.console, held, at=now())
    stands = standing(made, serial=said.serial, file=held.path.name)
    source = _source(visit.console, held)
    logged = logged_of(visit.console, held)
    return visit.page(
        "certificate.html.j2",
        title=f"Certificate of {held.system.name}",
        system=held.system,
        held=held,
        certificate=said,
        standing=stands,
        checks=made,
        source=source,
        results=deciding(said),
        beside=beside(said),
        lines=list(certificate_lines(said)),
        steps=[*steps(source), *_more_steps(held, logged)],
        logged=logged,
        again=_again(visit.console, held, stands, said),
        downloads=_downloads(visit, held, logged, source) if not visit.visitor.shared else [],
    )


def taken(visit: Visit) -> Response:
    """Give a file of a certificate away."""
    held = find_held(visit)
    name = str(visit.path["name"])
    if held.certificate is None and name != "certificate.json":
        visit.missing("this certificate cannot be read, so nothing can be made of it")
    kind, make = _FILES.get(name, ("", None))
    if make is None:
        visit.missing("there is no such file of a certificate")
    try:
        data = make(visit.console, held)
    except (InputError, MissingExtraError) as exc:
        raise PageError(exc.message, status=409, hint=exc.hint) from exc
    if data is None:
        visit.missing("there is no such file of this certificate")
    ending = name if name == "status.json" else f"{held.path.stem}{_ENDINGS.get(name, '.json')}"
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in ending)
    return Response(data, media_type=kind, headers={"content-disposition": f'attachment; filename="{safe}"'})


def _source(console: Console, held: Held) -> SignedCertificate:
    """The certificate as exports take it; other than theirs, a draft with the signatures that it has is shown too."""
    assert held.certificate is not None
    trust = trust_of(console)
    opened, at = Envelope.from_json(held.envelope), now()
    proven = opened.proven_signers(trust, now=at) if trust is not None else {}
    signers = tuple(
        Signer(
            approval=one,
            signed=opened.names(one.key_id),
            proven=key is not None and one.role in key.roles,
            key_expires_at=key.expires_at if key is not None else None,
        )
        for one in held.certificate.approvals
        for key in [proven.get(one.key_id)]
    )
    every = all(one.proven for one in signers)
    return SignedCertificate(held.certificate, held.envelope, held.path.name, signers, proven=every)


def _more_steps(held: Held, logged: Logged) -> list[Step]:
    """What else an auditor does where there is a proof of a log, or where somebody refused."""
    found = []
    if held.refusals:
        found.append(
            Step(
                f"Somebody refused once: take the {len(held.refusals)} files of the folder `refusals` too, and put "
                "that folder beside the certificate. Verification reads it, and says no while a refusal stands."
            )
        )
    if logged.proof is not None:
        file = shlex.quote(held.path.name)
        proof = shlex.quote(f"{held.path.stem}.log-proof.json")
        found.append(
            Step(
                "See that it is in the transparency log: a proof leads from its digest to what the "
                "log's key signed.",
                f"recert log included {file} --proof {proof} --trust KEYS",
            )
        )
    return found


def _again(console: Console, held: Held, stands: Standing, said: Certificate) -> tuple[str, ...]:
    """The commands that certify again, where nothing else helps."""
    if not any(trouble.reason in _STALE for trouble in stands.troubles):
        return ()
    found = FoundCertificate(held.path, said, None, "")
    name = policy_name(console.policy.digest)
    return commands_again(found, policy=name, version=console.policy.version)


def _downloads(
    visit: Visit, held: Held, logged: Logged, source: SignedCertificate
) -> list[tuple[str, str, str]]:
    """Address, name and words of each file that can be taken now."""
    final = not source.unsigned and not source.why_not
    offered = [("certificate.json", "the signed envelope itself")]
    if status_of(visit.console, held.path) is not None:
        offered.append(("status.json", "the newest status list"))
    if logged.proof is not None:
        offered.append(("log-proof.json", "the proof that it is in the transparency log"))
    offered.append(("sign-off.html", "the sign-off report, a page to print and file"))
    if _can_print():
        offered.append(("sign-off.pdf", "the sign-off report as PDF; it takes some seconds"))
    if final:
        offered.append(("cyclonedx.json", "CycloneDX, an ML-BOM"))
        offered.append(("spdx.json", "SPDX 3.0 with the AI profile"))
    at = f"{ROOT}/systems/{held.system.id}/certificate/files"
    return [(f"{at}/{name}", name, words) for name, words in offered]


def _can_print() -> bool:
    try:
        find_browser()
    except MissingExtraError:
        return False
    return True


def _evaluation(held: Held) -> EvalReport | None:
    """The evaluation's report, where the one that lies there is the certificate's."""
    path = held.system.records.get("evaluation")
    if path is None or held.certificate is None or not path.is_file():
        return None
    try:
        return named_evaluation(path, held.certificate)
    except InputError:
        return None


def _page(console: Console, held: Held) -> bytes:
    return sign_off_page(SignOff(_source(console, held), evaluation=_evaluation(held))).encode()


def _cyclonedx(console: Console, held: Held) -> bytes:
    from recert.interop.exports.cyclonedx import cyclonedx_json

    return cyclonedx_json(_source(console, held))


def _spdx(console: Console, held: Held) -> bytes:
    from recert.interop.exports.spdx import spdx_json

    return spdx_json(_source(console, held))


_FILES: Final[dict[str, tuple[str, Callable[[Console, Held], bytes | None]]]] = {
    "certificate.json": ("application/json", lambda _, held: held.envelope),
    "status.json": ("application/json", lambda console, held: status_of(console, held.path)),
    "log-proof.json": ("application/json", lambda console, held: logged_of(console, held).proof),
    "sign-off.html": ("text/html", _page),
    "sign-off.pdf": ("application/pdf", lambda console, held: print_pdf(_page(console, held))),
    "cyclonedx.json": ("application/json", _cyclonedx),
    "spdx.json": ("application/json", _spdx),
}
_ENDINGS: Final = {
    "certificate.json": ".json",
    "log-proof.json": ".log-proof.json",
    "sign-off.html": ".report.html",
    "sign-off.pdf": ".report.pdf",
    "cyclonedx.json": ".cdx.json",
    "spdx.json": ".spdx.json",
}
"""How a file is called after the certificate's own, as `recert export` calls it."""

PAGES: Final = (
    Page("GET", "/systems/{id}/certificate", Right.READ, shown, sharable=True),
    Page("GET", "/systems/{id}/certificate/files/{name}", Right.READ, taken),
)
