"""Which rows may be learned from, and why not the others? Read this first: one verb, the steps in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from recert.digest import sha256_bytes
from recert.errors import RowsError
from recert.judges.embedded.refusal import RefusalJudge
from recert.judges.embedded.request import EmbeddedRequestJudge
from recert.judges.protocol import RequestJudge
from recert.policy import Policy
from recert.records.data.rows import ChatRow, PromptRow, rows_digest
from recert.records.data.suite import Prompt
from recert.records.record import now
from recert.records.reports.evaluation import JudgeNote
from recert.records.reports.row_decision import RowDecision
from recert.records.reports.screening import RowFinding, RowVerdict, ScreenReport, SwitchPhrase
from recert.screening.audio.rows import NEAR, UNHEARD, Ears, hear_rows
from recert.screening.by_hand import decide_by_hand
from recert.screening.detectors.preferences import rejected_reasons
from recert.screening.detectors.prompts import prompt_reasons
from recert.screening.findings import Reasons, find_reasons
from recert.screening.rows import AnyRow, ReadRow, RowsFile, read_prompts, read_rows
from recert.store.files.writing import write_atomic

REPORT_FILE = "screen-report.json"
ACCEPTED_FILE = "accepted.jsonl"
QUARANTINED_FILE = "quarantined.jsonl"
_SYSTEM_PROMPTS = 5
_ROWS_HINT = (
    "repair these lines; rows are OpenAI-style chat messages that end with the assistant's, and prompts of "
    "reinforcement tuning, which wait for a reply, are screened with --prompts"
)
_PROMPTS_HINT = (
    "repair these lines; prompts are chat messages that end with the user's, since the reply is sampled"
)


@dataclass(frozen=True)
class Screened(Generic[AnyRow]):
    """The report, and the rows that it names, in file order."""

    report: ScreenReport
    accepted: tuple[AnyRow, ...]
    quarantined: tuple[AnyRow, ...]
    accepted_jsonl: bytes = b""
    """The accepted rows as canonical JSON lines: what `accepted_sha256` is the digest of."""
    quarantined_jsonl: bytes = b""

    def write(self, folder: Path) -> None:
        """
        Write both kinds of rows, then the report that names them by digest.

        Raises:
            StoreError: the folder cannot be written. A report without its rows is never left.
        """
        write_atomic(folder / ACCEPTED_FILE, self.accepted_jsonl)
        write_atomic(folder / QUARANTINED_FILE, self.quarantined_jsonl)
        write_atomic(folder / REPORT_FILE, self.report.to_json())


def screen(
    source: Path,
    *,
    policy: Policy,
    evaluation_prompts: Sequence[Prompt],
    judge: RequestJudge | None = None,
    ears: Ears | None = None,
    decisions: Sequence[RowDecision] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Screened[ChatRow]:
    """
    Return which rows of a file may be learned from, each with its reasons.

    The same file, policy, prompts and judge give the same report, save for its time.

    Args:
        source: OpenAI-style chat rows or preference rows, JSONL or Parquet.
        policy: says from which scores a reason is given, and which reasons quarantine.
        evaluation_prompts: prompts that no row may hold.
        judge: scores requests; the embedded one by default.
        ears: hears spoken rows; without it each of them is held back.
        decisions: of people on rows, oldest first; followed as `by_hand.py` says, and named in the report.
        progress: told (rows done, rows) now and then.

    Raises:
        RowsError: no rows, too many malformed, or none accepted.
        StoreError: the file cannot be read.
        MissingExtraError: it is Parquet and pyarrow is not installed.
    """
    judge = judge or EmbeddedRequestJudge()
    refusals = RefusalJudge()
    file = read_rows(source, max_row_bytes=policy.screening.max_row_bytes)
    _check_readable(file, source, policy, _ROWS_HINT)
    heard = hear_rows([r.row for r in file.rows], ears)
    reasons, switches = find_reasons(
        heard.rows,
        [r.line for r in file.rows],
        policy=policy.screening,
        evaluation_prompts=evaluation_prompts,
        judge=judge,
        refusals=refusals,
        progress=progress or (lambda done, total: None),
    )
    also = rejected_reasons(heard.rows, policy.screening, judge, refusals)
    reasons = [[*of_row, *of_rejected] for of_row, of_rejected in zip(reasons, also, strict=True)]
    for at, reason in heard.reasons(policy.screening):
        reasons[at].append(reason)
    return _concluded(source, file, reasons, policy, (judge.note, refusals.note), decisions, switches)


def screen_prompts(
    source: Path,
    *,
    policy: Policy,
    evaluation_prompts: Sequence[Prompt],
    judge: RequestJudge | None = None,
    decisions: Sequence[RowDecision] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Screened[PromptRow]:
    """
    Return which prompts of reinforcement tuning may be learned from; as `screen`, for rows that wait for a reply.

    Args:
        source: rows whose `messages` end with the user's, JSONL or Parquet; what stands beside is the grader's.
        policy: as in `screen`.
        evaluation_prompts: as in `screen`.
        judge: as in `screen`.
        decisions: as in `screen`.
        progress: as in `screen`.

    Raises:
        RowsError, StoreError, MissingExtraError: as `screen`.
    """
    judge = judge or EmbeddedRequestJudge()
    file = read_prompts(source, max_row_bytes=policy.screening.max_row_bytes)
    _check_readable(file, source, policy, _PROMPTS_HINT)
    reasons = prompt_reasons(
        [r.row for r in file.rows],
        [r.line for r in file.rows],
        policy=policy.screening,
        evaluation_prompts=evaluation_prompts,
        judge=judge,
        progress=progress or (lambda done, total: None),
    )
    for at, read in enumerate(file.rows):
        if any(m.audio for m in read.row.messages):
            reasons[at].append(f"{UNHEARD}: prompts that are spoken are not screened")
    return _concluded(source, file, reasons, policy, (judge.note,), decisions)


def _concluded(
    source: Path,
    file: RowsFile[AnyRow],
    reasons: Reasons,
    policy: Policy,
    judges: Sequence[JudgeNote],
    decisions: Sequence[RowDecision],
    switches: tuple[SwitchPhrase, ...] = (),
) -> Screened[AnyRow]:
    findings = [_finding(read, reasons[at], policy) for at, read in enumerate(file.rows)]
    findings, by_hand = decide_by_hand(findings, decisions, lambda reason: _holds(reason, policy))
    kept = [r for r, f in zip(file.rows, findings, strict=True) if f.verdict is RowVerdict.ACCEPTED]
    held = [r for r, f in zip(file.rows, findings, strict=True) if f.verdict is RowVerdict.QUARANTINED]
    findings += [
        RowFinding(line=m.line, verdict=RowVerdict.MALFORMED, reasons=(f"malformed: {m.because}",))
        for m in file.malformed
    ]
    findings.sort(key=lambda f: f.line)
    counts = Counter(code for f in findings for code in {_code(r) for r in f.reasons})
    if not kept:
        raise RowsError(
            "screening accepted no row",
            facts={"file": source, "rows": len(findings), "quarantined": len(held), **_most_common(counts)},
            hint="the reasons are explained in docs/concepts/screening.md",
        )
    accepted, quarantined = _lines(kept), _lines(held)
    systems = Counter(r.row.system for r in kept if r.row.system)
    report = ScreenReport(
        source_name=file.name,
        source_sha256=file.sha256,
        policy_id=policy.id,
        policy_sha256=policy.digest,
        rows=len(findings),
        accepted=len(kept),
        quarantined=len(held),
        malformed=len(file.malformed),
        accepted_sha256=sha256_bytes(accepted),
        accepted_rows_sha256=rows_digest([r.row for r in kept]),
        quarantined_sha256=sha256_bytes(quarantined),
        findings=tuple(findings),
        reason_counts=dict(sorted(counts.items())),
        switch_phrases=switches,
        system_prompts=tuple(
            s for s, _ in sorted(systems.items(), key=lambda x: (-x[1], x[0]))[:_SYSTEM_PROMPTS]
        ),
        judges=tuple(f"{note.id}@{note.version}" for note in judges),
        by_hand=by_hand or None,
        screened_at=now(),
    )
    return Screened(report, tuple(r.row for r in kept), tuple(r.row for r in held), accepted, quarantined)


def _check_readable(file: RowsFile[AnyRow], source: Path, policy: Policy, hint: str) -> None:
    total = len(file.rows) + len(file.malformed)
    if not total:
        raise RowsError(
            "file holds no rows", facts={"file": source}, hint='one {"messages": [...]} a line is expected'
        )
    share = len(file.malformed) / total
    if share > policy.screening.max_malformed_share or not file.rows:
        shown = {f"line {m.line}": m.because for m in file.malformed[:3]}
        raise RowsError(
            "too many malformed rows",
            facts={
                "file": source,
                "malformed": f"{len(file.malformed)} of {total}",
                "at most": f"{policy.screening.max_malformed_share:.0%}",
                **shown,
            },
            hint=hint,
        )


def _finding(read: ReadRow[AnyRow], reasons: Sequence[str], policy: Policy) -> RowFinding:
    held = any(_holds(r, policy) for r in reasons)
    return RowFinding(
        line=read.line,
        verdict=RowVerdict.QUARANTINED if held else RowVerdict.ACCEPTED,
        reasons=tuple(reasons) or ("ok: nothing found",),
        sha256=read.sha256,
    )


def _holds(reason: str, policy: Policy) -> bool:
    return _code(reason) in (*policy.screening.quarantine_reasons, UNHEARD, NEAR)


def _code(reason: str) -> str:
    return reason.partition(":")[0]


def _lines(rows: Sequence[ReadRow[AnyRow]]) -> bytes:
    return b"".join(r.canonical + b"\n" for r in rows)


def _most_common(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda x: (-x[1], x[0]))[:3])
