"""What an attack leaves in its folder beside the conversations, and how it is read again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recert.attacks.agent import read_conversations
from recert.digest import sha256_json
from recert.errors import InputError
from recert.records import AttackReport, Conversation
from recert.store.files import read_bytes, write_atomic

REPORT_FILE: Final = "attack-report.json"
PAGE_FILE: Final = "attack.html"
CONVERSATIONS_FILE: Final = "conversations.jsonl"


@dataclass(frozen=True)
class AttackTold:
    """An attack to draw: what it came to, and every conversation."""

    report: AttackReport
    conversations: tuple[Conversation, ...]


def write_report(folder: Path, report: AttackReport) -> Path:
    """
    Write the report of an attack into its folder and return its file.

    Raises:
        StoreError: it cannot be written.
    """
    path = folder / REPORT_FILE
    write_atomic(path, report.to_json())
    return path


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
