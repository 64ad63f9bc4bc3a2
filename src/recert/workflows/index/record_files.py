"""Records in folders: which files are some, and the few facts of each by which they belong together."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from recert.certification.signing.envelope import MAX_ENVELOPE_BYTES, Envelope
from recert.certification.signing.refusals import FOLDER as REFUSALS
from recert.certification.signing.statement import read_statement
from recert.errors import RecertError, RecordError, StoreError
from recert.evaluation.stage import HUNT_FILE, OUTCOMES_FILE
from recert.evaluation.stage import REPORT_FILE as EVALUATION_FILE
from recert.records.data.manifest import Manifest
from recert.records.live.watching import WatchReport
from recert.records.record import parse_json
from recert.records.reports.attack_report import REPORT_FILE as ATTACK_FILE
from recert.records.reports.attack_report import AttackReport
from recert.records.reports.evaluation import EvalReport
from recert.records.reports.hunting import HuntReport
from recert.records.reports.screening import ScreenReport
from recert.records.reports.stress import REPORT_FILE as STRESS_FILE
from recert.records.reports.stress import StressReport
from recert.records.reports.tuning import TuneReport
from recert.records.signed.certificate import PAYLOAD_TYPE
from recert.screening.stage import REPORT_FILE as SCREEN_FILE
from recert.tuning.stage import REPORT_NAME as TUNE_FILE

Facts = dict[str, Any]
"""What is kept of a record: `kind`, `at`, and by what it is linked to others; or `kind` and `trouble`."""

WATCH_FILE: Final = "watch-report.json"
SERVICE_FILE: Final = "service.json"
"""Of a tuning service's folder: it says what the base is called there."""
MOST_BYTES: Final = 64 * 2**20
"""Of a record; a larger one is not read."""
_MOST_FILES: Final = 1_000_000
_DEEPEST: Final = 16
_WEIGHTS: Final = ("config.json", "adapter_config.json")
"""A folder that holds one of these is a model's, and no record lies in it or below."""


@dataclass(frozen=True)
class SeenFile:
    """A file that may be a record, as it was found."""

    path: Path
    kind: str
    """`screen`, `tune`, `evaluation`, `hunt`, `attack`, `stress`, `watch`, `outcomes`, `service`, or `other`."""
    mtime_ns: int
    size: int
    beside: tuple[tuple[str, int, int], ...] = ()
    """For `other`: name, time and size of what may count for or against a certificate that lies there."""


def find_files(root: Path) -> Iterator[SeenFile]:
    """
    Return every file below a folder that may be a record. Links are not followed, except to a file below the folder.

    Folders that cannot be read are passed over, as if they were gone.
    """
    top = root.resolve()
    left, seen = [(top, 0)], 0
    while left:
        folder, depth = left.pop()
        try:
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError:
            continue
        names = {entry.name for entry in entries}
        if depth and names.intersection(_WEIGHTS):
            continue
        beside = _beside(folder, entries)
        for entry in entries:
            seen += 1
            if seen > _MOST_FILES:
                return
            if not _is_text(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                if depth < _DEEPEST and not entry.name.startswith(".") and entry.name != REFUSALS:
                    left.append((folder / entry.name, depth + 1))
            elif (found := _seen(entry, folder, top, beside)) is not None:
                yield found


def _seen(
    entry: os.DirEntry[str], folder: Path, top: Path, beside: tuple[tuple[str, int, int], ...]
) -> SeenFile | None:
    kind = _kind_of(entry.name)
    try:
        if not kind or (entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(top)):
            return None
        about = entry.stat()
    except (OSError, RuntimeError):
        return None
    if not stat.S_ISREG(about.st_mode):
        return None
    return SeenFile(
        folder / entry.name, kind, about.st_mtime_ns, about.st_size, beside if kind == "other" else ()
    )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind_of(name: str) -> str:
    known = {
        SCREEN_FILE: "screen", TUNE_FILE: "tune", EVALUATION_FILE: "evaluation", HUNT_FILE: "hunt",
        ATTACK_FILE: "attack", STRESS_FILE: "stress", WATCH_FILE: "watch", OUTCOMES_FILE: "outcomes",
        SERVICE_FILE: "service",
    }  # fmt: skip
    if name.endswith(f"-{TUNE_FILE}"):
        return "tune"
    return known.get(name) or ("other" if name.endswith(".json") and not name.startswith(".") else "")


def _beside(folder: Path, entries: list[os.DirEntry[str]]) -> tuple[tuple[str, int, int], ...]:
    """Refusals and proofs of a log in a folder: a certificate's state depends on them."""
    found = [Path(entry.path) for entry in entries if entry.name.endswith(".log-proof.json")]
    if any(entry.name == REFUSALS for entry in entries):
        try:
            found += sorted((folder / REFUSALS).iterdir())
        except OSError:
            return ((REFUSALS, -1, -1),)
    out = []
    for path in found:
        try:
            about = path.stat()
            out.append((path.name, about.st_mtime_ns, about.st_size))
        except OSError:
            out.append((path.name, -1, -1))
    return tuple(out)


def read_bounded(path: Path, most: int) -> bytes:
    """
    Return the bytes of an ordinary file, unless there are more than `most`.

    Raises:
        StoreError: it cannot be read, or is none.
        RecordError: it is too large.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise StoreError("not an ordinary file", facts={"file": path.name})
            data = file.read(most + 1)
    except OSError as exc:
        raise StoreError("cannot read file", facts={"file": path.name, "because": exc.strerror}) from exc
    if len(data) > most:
        raise RecordError("the file is too large for a record", facts={"at most": most})
    return data


def read_facts(seen: SeenFile) -> Facts:
    """Return what a file says of itself; one that cannot be read says why, and one that is no record nothing."""
    try:
        if seen.kind == "other":
            return _certificate(seen.path)
        return {"kind": seen.kind} | _READERS[seen.kind](read_bounded(seen.path, MOST_BYTES))
    except RecertError as exc:
        because = "; ".join(exc.facts.values())
        return {"kind": seen.kind, "trouble": f"{exc.message}{f': {because}' if because else ''}"[:500]}


def _digest(manifest: Manifest | None) -> str:
    return manifest.digest if manifest is not None else ""


def _screen(data: bytes) -> Facts:
    report = ScreenReport.from_json(data)
    return {"at": _at(report.screened_at), "digest": report.digest, "name": report.source_name} | {
        name: getattr(report, name) for name in ("rows", "accepted", "quarantined", "malformed")
    }


def _tune(data: bytes) -> Facts:
    report = TuneReport.from_json(data)
    return {
        "at": _at(report.tuned_at),
        "base": report.base.digest,
        "tuned": report.tuned.digest,
        "screen": report.screen_report_sha256 or "",
        "steps": report.steps,
        "rows": report.rows,
        "method": report.hyperparameters.method,
        "defence": report.defence,
        "losses": [report.first_loss, report.last_loss],
        "overridden": report.screening_overridden,
        "checkpoints": [[one.step, one.tuned.digest] for one in report.checkpoints],
    }


def _evaluation(data: bytes) -> Facts:
    report = EvalReport.from_json(data)
    return {
        "at": _at(report.evaluated_at),
        "digest": report.digest,
        "name": report.model_name,
        "base": _digest(report.base),
        "tuned": _digest(report.tuned),
        "verdict": str(report.verdict),
        "rules": len(report.rules),
        "passed": sum(rule.verdict == "pass" for rule in report.rules),
        "behind": list(report.required_controls),
        "reasons": [reason[:300] for reason in report.reasons[:5]],
        "policy": f"{report.policy_id} {report.policy_version}",
        "outcomes": report.outcomes_sha256,
        "suites": dict(report.suites),
        "categories": {id_: one.category for one in report.slices for id_ in one.prompt_ids},
    }


def _hunt(data: bytes) -> Facts:
    report = HuntReport.from_json(data)
    return {"at": _at(report.hunted_at), "outcome": str(report.outcome), "found": len(report.triggers)}


def _attack(data: bytes) -> Facts:
    report = AttackReport.from_json(data)
    return {
        "at": _at(report.attacked_at),
        "name": report.name,
        "base": _digest(report.base),
        "tuned": _digest(report.tuned),
        "conversations": report.conversations,
        "attackers": len(report.attackers),
    }


def _stress(data: bytes) -> Facts:
    report = StressReport.from_json(data)
    return {"at": _at(report.stressed_at), "name": report.name, "base": report.base.digest} | {
        "outcome": str(report.outcome),
        "hair_trigger": str(report.hair_trigger.verdict) if report.hair_trigger else "",
    }


def _watch(data: bytes) -> Facts:
    report = WatchReport.from_json(data)
    return {"at": _at(report.watched_at), "serial": report.serial} | {
        "outcome": str(report.outcome),
        "reasons": [reason[:300] for reason in report.reasons[:5]],
    }


def _service(data: bytes) -> Facts:
    value = parse_json(data)
    called = value.get("called") if isinstance(value, dict) else None
    return {"name": called if isinstance(called, str) else ""}


def _certificate(path: Path) -> Facts:
    """A certificate, whatever its file is called; nothing where it is something else, such as a page's data."""
    try:
        data = read_bounded(path, MAX_ENVELOPE_BYTES)
    except RecordError:
        return {"kind": ""}
    if PAYLOAD_TYPE.encode() not in data:
        return (
            {"kind": "certificate", "trouble": "not a certificate"}
            if path.stem == "certificate"
            else {"kind": ""}
        )
    try:
        opened = Envelope.from_json(data)
        if opened.payload_type != PAYLOAD_TYPE:
            return {"kind": ""}
        certificate = read_statement(opened.payload)
    except RecordError as exc:
        if path.stem != "certificate":
            return {"kind": ""}
        return {"kind": "certificate", "trouble": f"{exc.message}: {'; '.join(exc.facts.values())}"[:500]}
    return {
        "kind": "certificate",
        "at": _at(certificate.certified_at),
        "serial": certificate.serial,
        "name": certificate.model_name,
        "base": certificate.base.digest,
        "tuned": certificate.tuned.digest,
        "evaluation": certificate.eval_report_sha256,
        "expires": _at(certificate.expires_at),
        "policy": f"{certificate.policy_id} {certificate.policy_version}",
        "signers": [f"{a.name or a.key_id[:12]} ({a.role})" for a in certificate.approvals],
    }


def _at(moment: Any) -> int:
    return int(moment.timestamp())


_READERS: Final[dict[str, Callable[[bytes], Facts]]] = {
    "screen": _screen,
    "tune": _tune,
    "evaluation": _evaluation,
    "hunt": _hunt,
    "attack": _attack,
    "stress": _stress,
    "watch": _watch,
    "service": _service,
}
