"""How whoever holds an export finds out whether it is true, step by step with the commands."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from recert.workflows.certificates.source import SignedCertificate


@dataclass(frozen=True)
class Step:
    """One step: what to do and why, and the command that does it."""

    words: str
    command: str = ""


def steps(source: SignedCertificate) -> tuple[Step, ...]:
    """Return the steps, in order. What stands in capitals in the commands is the reader's to fill in."""
    certificate = source.certificate
    file = shlex.quote(source.file_name)
    keys = "; ".join(
        f"{s.approval.role} {s.approval.name}".strip() + f" {s.approval.key_id}" for s in source.signers
    )
    return (
        Step(
            f"See that you hold the same certificate: its sha256 is {source.sha256}.",
            f"sha256sum {file}",
        ),
        Step(
            "Get the signers' public keys, their .pub files, from them, by another way than this document, and put "
            f"them into a folder. Their key ids must be: {keys}."
        ),
        Step("Get the newest status list: it says whether the certificate was revoked or suspended."),
        Step(
            "Verify the signatures, roles, verdicts, time, status and every byte of both models. It needs no network, "
            "no GPU and no torch. Exit code 0 means that it holds now, 1 that it does not, 2 that there is no answer.",
            f"recert verify {file} --base BASE --model TUNED --trust KEYS --status status.json "
            f"--policy {certificate.policy_sha256}",
        ),
        Step(
            "See on what it rests: the evaluation's report has the sha256 "
            f"{certificate.eval_report_sha256}, its outcomes {certificate.evidence_sha256}.",
            "sha256sum evaluation/eval-report.json evaluation/outcomes.jsonl",
        ),
    )
