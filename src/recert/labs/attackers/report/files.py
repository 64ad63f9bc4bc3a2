"""An attack, read again from the folder that it was written to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recert.digest import sha256_json
from recert.errors import InputError
from recert.labs.attackers import read_conversations
from recert.labs.attackers.report.attacking import CONVERSATIONS_FILE
from recert.records.reports.attack import Conversation
from recert.records.reports.attack_report import REPORT_FILE, AttackReport
from recert.store.files.writing import read_bytes


@dataclass(frozen=True)
class AttackTold:
    """What an attack came to, and every conversation."""

    report: AttackReport
    conversations: tuple[Conversation, ...]


def read_attack(folder: Path) -> AttackTold:
    """
    Read an attack from the folder that `recert attack` wrote.

    Raises:
        StoreError: a file cannot be read.
        RecordError: the report is damaged.
        InputError: a line is no conversation, or the conversations are not those of the report.
    """
    report = AttackReport.from_json(read_bytes(folder / REPORT_FILE, "the attack report"))
    told = AttackTold(report, tuple(read_conversations(folder / CONVERSATIONS_FILE)))
    found = conversations_digest(told.conversations)
    if found != report.conversations_sha256:
        raise InputError(
            "the conversations are not those of the report",
            facts={"in the report": report.conversations_sha256, "on disk": found},
            hint="attack again: finished turns count",
        )
    return told


def conversations_digest(conversations: tuple[Conversation, ...]) -> str:
    """Return the digest by which a report names its conversations."""
    return sha256_json([one.digest for one in conversations])
