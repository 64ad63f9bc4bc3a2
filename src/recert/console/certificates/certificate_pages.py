"""A certificate in words: whether it holds and why, how anybody verifies it offline, and what can be taken away."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Final

from starlette.responses import Response

from recert.certification import Envelope
from recert.certification.signing.signoff_words import certificate_lines
from recert.certification.status.register import FoundCertificate
from recert.console.accounts.rights import Right
from recert.console.app import ROOT, Console
from recert.console.certificates.certificate_status import Standing, standing
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
