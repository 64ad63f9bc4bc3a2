"""
The policy in words, and what another one would change: bounds, evidence that counts, certificates that go stale.

Here too: the certificates of all systems, some at a time: what a change of policy is held against.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from starlette.responses import Response

from recert.certification import read_unverified
from recert.certification.status.register import FoundCertificate
from recert.console.accounts.rights import Right
from recert.console.app import Console
from recert.console.certificates.held import policy_name
from recert.console.pages import Page
from recert.console.visiting import PageError, Visit
from recert.errors import PolicyError, RecertError
from recert.evaluation.families.families import FAMILIES
from recert.evaluation.stage import REPORT_FILE
from recert.evaluation.suites.hierarchy import HIERARCHY, hierarchy_suite
from recert.evaluation.suites.reading import EMBEDDED, embedded_suite
from recert.policy import DEPLOYMENTS, Policy, load_deployments, load_policy, profiles, split_deployment
from recert.policy.changes.change_log import why_log_is_wrong
from recert.policy.changes.comparing import HeldCertificate, KnownSuites, policy_diff
from recert.policy.changes.difference import fields
from recert.policy.changes.explaining import explain
from recert.policy.changes.knowledge import with_family
from recert.policy.changes.reuse import Measuring
from recert.records.reports.evaluation import EvalReport
from recert.records.signed.certificate import Certificate
from recert.store.files.writing import read_bytes
from recert.store.systems.systems_index import IndexedSystem
from recert.workflows.rerun import commands_again
from recert.workflows.suites_known import cut_short, known_suites

MOST_CERTIFICATES: Final = 20
"""On one page; each is read whole, and its evaluation with it."""
_MOST_SYSTEMS: Final = 200
_ENDED: Final = {
    "expired": "expired",
    "revoked": "revoked",
    "suspended": "suspended",
    "refused": "refused",
    "awaiting": "awaits signatures",
}


@dataclass(frozen=True)
class HeldPage:
    """Some of the certificates."""

    held: tuple[HeldCertificate, ...]
    systems: dict[str, IndexedSystem]
    """By the file of the certificate."""
    unreadable: tuple[IndexedSystem, ...]
    """Systems whose certificate cannot be read; nothing is known of them."""
    next: str
    """What `after` is to be for those behind them; empty where these are the last."""


def held_page(console: Console, *, after: str, policy: str, version: str) -> HeldPage:
    """
    Return the certificates of the systems from a place on, as the list of systems knows them.

    Args:
        console: whose list it is.
        after: where to go on, as `next` gives it.
        policy: what commands call the policy that is to hold.
        version: its version.
    """
    held: list[HeldCertificate] = []
    known: dict[str, IndexedSystem] = {}
    unreadable: list[IndexedSystem] = []
    looked = 0
    while True:
        some = console.systems.page(after=after, limit=MOST_CERTIFICATES)
        after, looked = some.next, looked + len(some.systems)
        for system in some.systems:
            path = system.records.get("certificate")
            if path is None:
                continue
            try:
                held.append(_held(system, path, policy, version))
                known[str(path)] = system
            except RecertError:
                unreadable.append(system)
        if not after or len(held) >= MOST_CERTIFICATES or looked >= _MOST_SYSTEMS:
            break
    return HeldPage(tuple(held), known, tuple(unreadable), after)


def _held(system: IndexedSystem, path: Path, policy: str, version: str) -> HeldCertificate:
    certificate = _certificate(read_bytes(path, "certificate"))
    report = _report(system, certificate)
    found = FoundCertificate(path, certificate, report, "")
    return HeldCertificate(
        file=str(path),
        certificate=certificate,
        report=report,
        ended=_ENDED.get(system.state, ""),
        commands=commands_again(found, policy=policy, version=version),
    )


@lru_cache(maxsize=512)
def _certificate(envelope: bytes) -> Certificate:
    return read_unverified(envelope)


def _report(system: IndexedSystem, certificate: Certificate) -> EvalReport | None:
    """The evaluation behind a certificate; one that cannot be read, or is of another, is none: less is known then."""
    path = system.records.get("evaluation")
    if path is None:
        return None
    if path.is_dir():
        path = path / REPORT_FILE
    try:
        at = path.stat()
        report = _read_report(path, at.st_mtime_ns, at.st_size)
    except (OSError, RecertError):
        return None
    return report if report.digest == certificate.eval_report_sha256 else None


@lru_cache(maxsize=128)
def _read_report(path: Path, _changed: int, _size: int) -> EvalReport:
    return EvalReport.from_json(read_bytes(path, "evaluation report"))


ANSWERS: Final = {
    "holds": ("pass", "holds", "it is under this policy already"),
    "not-live": ("quiet", "not live", "it did not hold any more, or not yet"),
    "decide": (
        "wait",
        "decide anew",
        "all of its measurements count; it is decided, certified and signed again",
    ),
    "judge": (
        "wait",
        "judge anew",
        "its replies count; they are judged, decided, certified and signed again",
    ),
    "ask": ("wait", "ask the models", "what was measured may not be enough, so that the models are asked"),
    "fails": ("fail", "fails", "what was measured is no pass under this policy"),
    "unknown": ("fail", "unknown", "it is under neither policy, so nothing is known to count"),
}
"""What becomes of a certificate: look of the word, the word, and what it means."""
REUSED: Final = {
    "same": "counts as it is",
    "decide": "counts, and is decided anew",
    "judge": "replies count, and are judged anew",
    "ask": "is asked anew",
}
_UPLOADED: Final = "the file that was uploaded"


def shown(visit: Visit) -> Response:
    """Show the policy, or what another profile or one more attack family would change."""
    against, family = visit.query.get("against", ""), visit.query.get("family", "")
    try:
        if against:
            return _compared(visit, Measuring(visit.console.policy, _profile(against)), against, against)
        if family:
            measuring = with_family(visit.console.policy, family)
            return _compared(visit, measuring, f"this policy with the family {family}", "POLICY.toml")
    except PolicyError as exc:
        raise PageError(exc.message, status=409, hint=exc.hint) from exc
    return _page(visit)


def uploaded(visit: Visit) -> Response:
    """Compare the policy with a file. It is read and forgotten: nothing is changed."""
    given = visit.form.get("file")
    if not isinstance(given, bytes) or not given:
        raise PageError("no file was given", status=409, hint="choose a policy in TOML")
    with tempfile.TemporaryDirectory(prefix="recert-policy-") as folder:
        path = Path(folder) / "policy.toml"
        path.write_bytes(given)
        deployment = str(visit.form.get("deployment", ""))
        try:
            other = load_policy(path, deployment if deployment in DEPLOYMENTS else None)
        except PolicyError as exc:
            facts = ", ".join(f"{name} {value}" for name, value in exc.facts.items() if name != "policy")
            said = f"{exc.message}{f': {facts}' if facts else ''}".replace(str(path), _UPLOADED)
            raise PageError(said, status=409, hint="`recert policy check FILE` says the same") from exc
    return _compared(visit, Measuring(visit.console.policy, other), _UPLOADED, "POLICY.toml")


@lru_cache(maxsize=32)
def _profile(name: str) -> Policy:
    """A shipped profile, perhaps for a deployment; never a file of the server."""
    profile, deployment = split_deployment(name)
    if profile not in profiles():
        raise PageError("there is no such profile", status=404, hint=f"there are {', '.join(profiles())}")
    return load_policy(profile, deployment)


@lru_cache(maxsize=1)
def _offered() -> tuple[tuple[str, str], ...]:
    """Every profile for every deployment that it has bounds for, with its title."""
    out = []
    for name in profiles():
        for deployment, one in load_deployments(name).items():
            own = load_policy(name).deployment == deployment
            out.append((name if own else f"{name}@{deployment}", f"{one.version}: {one.title or 'no title'}"))
    return tuple(out)


@lru_cache(maxsize=1)
def _suites() -> tuple[tuple[str, ...], KnownSuites]:
    """What is known of the suites that come with Recert."""
    prompts = {**{name: embedded_suite(name) for name in EMBEDDED}, HIERARCHY: hierarchy_suite()}
    return tuple(cut_short(prompts)), known_suites(prompts)


def _page(visit: Visit) -> Response:
    policy = visit.console.policy
    return visit.page(
        "policy.html.j2",
        title=f"Policy {policy.id}, version {policy.version}",
        policy=policy,
        name=policy_name(policy.digest),
        sections=[one for one in explain(policy) if one.sentences],
        fields=fields(policy),
        log_problem=why_log_is_wrong(policy),
        profiles=_offered(),
        families=[name for name in sorted(FAMILIES) if name not in policy.evaluation.families],
        deployments=DEPLOYMENTS,
    )


def _compared(visit: Visit, measuring: Measuring, called: str, name: str) -> Response:
    short, suites = _suites()
    told = Measuring(measuring.before, measuring.after, measuring.changed_suites, short)
    some = held_page(
        visit.console, after=visit.query.get("after", ""), policy=name, version=measuring.after.version
    )
    found = policy_diff(told, some.held, suites)
    return visit.page(
        "policy_diff.html.j2",
        title=f"What {called} would change",
        called=called,
        policy=visit.console.policy,
        after=measuring.after,
        found=found,
        some=some,
        answers=ANSWERS,
        reused=REUSED,
        contacts=measuring.after.contacts if found.stale else (),
        against=visit.query.get("against", ""),
        family=visit.query.get("family", ""),
    )


PAGES: Final = (
    Page("GET", "/policy", Right.READ, shown, tab="Policy"),
    Page("POST", "/policy", Right.READ, uploaded),
)
