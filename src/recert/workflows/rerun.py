"""The commands that evaluate and certify a model again, as far as its folder says what they need."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from recert.certification.status.register import FoundCertificate
from recert.errors import RecertError
from recert.models.engines.engines import CASCADE
from recert.records.reports.screening import ScreenReport
from recert.store.files.writing import read_bytes
from recert.tuning.stage import tuned_folder

_CONTEXT = "training-context"


def commands_again(
    found: FoundCertificate, *, policy: str, version: str, suites: Sequence[str] = ()
) -> tuple[str, ...]:
    """
    Return the commands that evaluate and certify a model under another policy.

    What lies beside the certificate, as `recert run` leaves it, is named; words in capitals stand for the rest.
    Replies that the cache holds are not made again, so the first command asks what is new and no more.

    Args:
        found: the certificate, and where it lies.
        policy: the policy's name or file.
        version: its version, which goes into the folder's name.
        suites: suites that are given, as NAME=FILE.
    """
    folder = found.path.parent
    output = folder / f"evaluation-{version}"
    model = tuned_folder(folder / "tune")
    tuned = str(model) if model.is_dir() else "MODEL"
    heard_by = "" if found.certificate.ears is None else f"{CASCADE}TRANSCRIBER+"
    evaluate = [
        "recert",
        "evaluate",
        "--base",
        f"{heard_by}BASE",
        "--model",
        f"{heard_by}{tuned}",
        "--policy",
        policy,
        "--output",
        str(output),
    ]
    evaluate += [part for suite in suites for part in ("--suite", suite)]
    evaluate += ["--name", found.certificate.model_name, *_context(found)]
    if found.certificate.secret_sha256 is not None:
        secret = folder / "tune" / "secret.txt"
        evaluate += ["--secret", str(secret) if secret.exists() else "SECRET"]
    certify = ["recert", "certify", str(output), "--base", "BASE", "--model", tuned, "--policy", policy]
    certify += ["--key", "EVALUATOR.pem", "--approver", "APPROVER.pub", "--trainer", "TRAINER.pub"]
    certify += [part for pair in _reports(folder) for part in pair]
    certify += [
        "--supersedes",
        found.certificate.serial,
        "--output",
        str(folder / f"certificate-{version}.json"),
    ]
    return shlex.join(evaluate), shlex.join(certify)


def _context(found: FoundCertificate) -> Iterator[str]:
    """The context of the tuning data, which the certificate does not hold."""
    if not any(result.condition == _CONTEXT for result in found.certificate.results):
        yield from ("--context", "none")
        return
    try:
        report = ScreenReport.from_json(read_bytes(found.path.parent / "screen" / "screen-report.json"))
    except RecertError:
        yield from ("--context", "CONTEXT")
        return
    for prompt in report.system_prompts[:1] or ("none",):
        yield from ("--context", prompt)


def _reports(folder: Path) -> Iterator[tuple[str, str]]:
    for option, name in (("tune", "tune/tune-report.json"), ("screen", "screen/screen-report.json")):
        if (folder / name).exists():
            yield f"--{option}-report", str(folder / name)
