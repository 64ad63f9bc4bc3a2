"""The certificates of all systems, some at a time: what a change of policy is held against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from recert.certification import read_unverified
from recert.certification.status.register import FoundCertificate
from recert.console.app import Console
from recert.errors import RecertError
from recert.evaluation.stage import REPORT_FILE
from recert.policy.changes.comparing import HeldCertificate
from recert.records.reports.evaluation import EvalReport
from recert.records.signed.certificate import Certificate
from recert.store.files.writing import read_bytes
from recert.store.systems.systems_index import IndexedSystem
from recert.workflows.rerun import commands_again

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
