"""Screening of uploads, in a worker: which rows may be learned from, and a report that their owner can read."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

from recert.certification.signing.links import write_link
from recert.digest import sha256_file
from recert.errors import RecertError, RecordError, RowsError, StoreError
from recert.evaluation.suites.reading import kept_from_rows
from recert.records.data.preferences import PREFERENCE_COLUMNS, row_of
from recert.records.data.rows import ChatRow, PromptRow
from recert.records.data.suite import Prompt
from recert.records.record import parse_json
from recert.records.reports.screening import ScreenReport
from recert.screening.stage import ACCEPTED_FILE, REPORT_FILE, Screened, screen, screen_prompts
from recert.service.storage.uploads import Files, StoredFile
from recert.service.workers.claim import alone_in
from recert.service.workers.resources import Work
from recert.store.files.writing import read_bytes

log = logging.getLogger("recert.service")

CHATS: Final = "chat"
PREFERENCES: Final = "preference"
PROMPTS: Final = "prompts"
_MOST_DETAILS: Final = 500


def screen_next(work: Work) -> bool:
    """Screen the oldest upload that waits; False where none does. Raises StoreError."""
    file = work.files.unscreened()
    if file is None:
        return False
    screen_file(work, file)
    return True


def screen_file(work: Work, file: StoredFile) -> StoredFile:
    """
    Screen an upload under the service's policy, and say in its row what came of it.

    Raises:
        StoreError: disk or database cannot be written; then it waits as before.
    """
    try:
        with alone_in(work.settings.file_folder(file.id)):
            said = _screened(work, file)
    except StoreError:
        raise
    except RecertError as exc:
        work.files.settle(file, "error", details=_words(exc), policy=work.policy.digest)
    except Exception:
        log.exception("%s could not be screened", file.id)
        work.files.settle(file, "error", details="the file could not be screened", policy=work.policy.digest)
    else:
        work.files.settle(file, "processed", **said)
    found = work.files.find(file.id)
    if found is None:  # deleted meanwhile: what was written of it goes too
        work.files.drop(file.id)
    return found or file


def _screened(work: Work, file: StoredFile) -> dict[str, Any]:
    source = work.files.content(file.id)
    if sha256_file(source) != file.sha256:
        raise RecordError("the file on disk is not what was uploaded", facts={"file": file.id})
    kind = _kind(source)
    prompts = kept_from_rows(s for s in work.suites.values() if s.name != "task")
    found = _screen(source, kind, work, prompts)
    folder = work.files.screened(file.id)  # asked once: asking makes it what the storage holds
    found.write(folder)
    write_link(folder / REPORT_FILE, found.report, work.signers.screener)
    work.files.keep_screened(file.id)
    report = found.report
    name = f"{Path(str(file.value.get('filename') or file.id)).stem}.screen-report.json"
    made = work.files.make(file.project, name, report.to_json())
    details = (
        f"{report.rows} rows: {report.accepted} accepted, {report.quarantined} quarantined, "
        f"{report.malformed} malformed; the reasons of each are in {made.id}"
    )
    return {
        "kind": kind,
        "rows": report.rows,
        "accepted": report.accepted,
        "quarantined": report.quarantined,
        "malformed": report.malformed,
        "switch_phrases": [phrase.phrase for phrase in report.switch_phrases],
        "report": made.id,
        "policy": work.policy.digest,
        "details": details,
    }


def _screen(
    source: Path, kind: str, work: Work, prompts: list[Prompt]
) -> Screened[ChatRow] | Screened[PromptRow]:
    if kind == PROMPTS:
        return screen_prompts(source, policy=work.policy, evaluation_prompts=prompts)
    return screen(source, policy=work.policy, evaluation_prompts=prompts)


def _kind(source: Path) -> str:
    """What the rows are, by the first one that can be read."""
    with source.open("rb") as lines:
        for line in lines:
            try:
                value = parse_json(line)
            except RecordError:
                continue
            if not isinstance(value, dict):
                continue
            if any(name in value for name in PREFERENCE_COLUMNS):
                return PREFERENCES
            messages = value.get("messages")
            last = messages[-1] if isinstance(messages, list) and messages else None
            waits = isinstance(last, dict) and last.get("role") in ("user", "tool")
            return PROMPTS if waits else CHATS
    return CHATS


def read_accepted(files: Files, file: StoredFile) -> tuple[list[ChatRow] | list[PromptRow], ScreenReport]:
    """
    Return the rows of a screened upload that may be learned from, and the report that accepted them.

    Raises:
        StoreError, RecordError: they cannot be read, or are not what the report names.
        RowsError: a row is none.
    """
    folder = files.screened(file.id)
    report = ScreenReport.from_json(read_bytes(folder / REPORT_FILE))
    if sha256_file(folder / ACCEPTED_FILE) != report.accepted_sha256 or report.source_sha256 != file.sha256:
        raise RecordError("the accepted rows are not what screening accepted", facts={"file": file.id})
    values = [parse_json(line) for line in read_bytes(folder / ACCEPTED_FILE).splitlines()]
    if file.value.get("kind") == PROMPTS:
        return [PromptRow.model_validate(value) for value in values], report
    return [row_of(value) for value in values], report


def _words(exc: RecertError) -> str:
    """An error for the file's owner: no path of this machine in it."""
    hidden = ("file", "folder", "storage")
    facts = "; ".join(f"{k}: {v}" for k, v in exc.facts.items() if k not in hidden)
    kind = "the rows cannot be learned from" if isinstance(exc, RowsError) else "the file cannot be read"
    return f"{kind}: {exc.message}{f' ({facts})' if facts else ''}"[:_MOST_DETAILS]
