"""The people of a run: who screens, trains, evaluates, approves and watches, and whoever issues the status list."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recert.certification.signing.issued import hold_memory
from recert.certification.signing.keys import SigningKey, generate_key, is_begun, load_key
from recert.certification.signing.links import read_link, read_links, why_not_link_of, write_link
from recert.certification.status.reading import issue_status
from recert.certification.trust.store import TrustStore
from recert.errors import RecertError
from recert.policy import Policy
from recert.records.record import now
from recert.records.reports.tuning import TuneReport
from recert.store.files.writing import read_bytes, write_atomic
from recert.tuning.stage import REPORT_NAME


@dataclass(frozen=True)
class Signers:
    """Keys of every role. In production each lies with another person; here they may lie in one folder."""

    evaluator: SigningKey
    approver: SigningKey
    status: SigningKey
    trainer: SigningKey
    screener: SigningKey
    watcher: SigningKey
    trust: TrustStore


def signers_of(folder: Path) -> Signers:
    """
    Return the keys of a folder; missing ones are made.

    Raises:
        SigningKeyError: a key cannot be read, or others than its owner can read it.
    """
    keys = {}
    for role in ("screener", "trainer", "evaluator", "approver", "watcher", "status"):
        path = folder / f"{role}.pem"
        keys[role] = (
            load_key(path) if path.exists() and not is_begun(path) else generate_key(path, role, role)
        )
    return Signers(**keys, trust=TrustStore.load(folder))


def keep_status_list(path: Path, signers: Signers, policy: Policy) -> bytes:
    """
    Issue the status list of a folder, or the one that lies there anew, and return it.

    Raises:
        SigningKeyError: the key did not sign.
        StoreError: the list cannot be read or written.
        VerificationError: the list that lies there is not the newest, or is gone.
    """
    with hold_memory() as memory:
        memory.require_apart(path.absolute().parent)
        status = issue_status(
            read_bytes(path, "status list") if path.exists() else None,
            key=signers.status,
            trust=signers.trust,
            validity_hours=policy.certification.status_validity_hours,
            policy=policy,
            memory=memory,
        )
        write_atomic(path, status)
    return status


def sign_tune(output: Path, report: TuneReport, key: SigningKey | None) -> None:
    """
    Write the links of a tune and of each of its checkpoints; without a key remove earlier ones.

    Args:
        output: the tune's folder.
        report: what was written there.
        key: the trainer's.

    Raises:
        SigningKeyError: the key has another role, or did not sign.
        StoreError, RecordError: the folder cannot be written, or a checkpoint's report cannot be read.
    """
    for one in report.checkpoints:
        path = output / f"{one.folder}-{REPORT_NAME}"
        write_link(path, TuneReport.from_json(read_bytes(path, "tune report")), key)
    write_link(output / REPORT_NAME, report, key)


def signed_tune(output: Path, report: TuneReport, key: SigningKey) -> bool:
    """Say whether a finished tune bears the link that this trainer signed: only such a one is used again."""
    try:
        links = read_links({"tune": output / REPORT_NAME})
        link = read_link(links["tune"], step="tune", trust=TrustStore([key.public]), now=now())
    except (KeyError, RecertError):
        return False
    return not why_not_link_of(link, report)
