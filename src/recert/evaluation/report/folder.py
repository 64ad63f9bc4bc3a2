"""An evaluation as it lies in its folder: the report, and its outcomes one by one."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from recert.digest import sha256_bytes, sha256_file
from recert.errors import InputError, RecordError, StoreError
from recert.evaluation.report.outcomes import REDACTED, is_hidden, read_outcomes
from recert.evaluation.stage import HARMFUL_FILE, OUTCOMES_FILE, REPORT_FILE
from recert.records.data.suite import Prompt, Suite
from recert.records.reports.evaluation import EvalReport, Outcome
from recert.store.files.writing import read_bytes


@dataclass(frozen=True)
class EvaluationFolder:
    """
    What `recert evaluate` wrote. Use `EvaluationFolder.open`.

    Outcomes are read one by one: a hundred thousand of them take no more memory than ten.
    """

    folder: Path
    report: EvalReport
    with_harmful: bool = False

    @classmethod
    def open(cls, folder: Path, *, with_harmful: bool = False) -> EvaluationFolder:
        """
        Read the report, and make sure that the outcomes beside it are those that it names.

        Args:
            folder: with `eval-report.json` and `outcomes.jsonl`.
            with_harmful: put harmful replies back in their places, from `harmful-replies.jsonl`.

        Raises:
            StoreError: a file is missing or cannot be read.
            RecordError: the report is damaged, or the outcomes are not those it names.
            InputError: others may read the file with the harmful replies.
        """
        path = folder / REPORT_FILE
        try:
            report = EvalReport.from_json(read_bytes(path, "evaluation report"))
        except RecordError as exc:
            raise RecordError(exc.message, facts={"file": path, **exc.facts}, hint=exc.hint) from exc
        found = sha256_file(folder / OUTCOMES_FILE)
        if found != report.outcomes_sha256:
            raise RecordError(
                "outcomes are not those of the report",
                facts={"file": folder / OUTCOMES_FILE, "expected": report.outcomes_sha256, "found": found},
                hint="keep the folder together as `recert evaluate` wrote it",
            )
        if with_harmful:
            _refuse_open(folder / HARMFUL_FILE)
        return cls(folder, report, with_harmful)

    def outcomes(self) -> Iterator[Outcome]:
        """
        Yield every outcome, in order.

        Raises:
            RecordError: a line is no outcome, or harmful replies are not those that were redacted.
            StoreError: a file cannot be read, or changed since the folder was opened.
        """
        digest = hashlib.sha256()
        harmful = read_outcomes(self.folder / HARMFUL_FILE) if self.with_harmful else iter(())
        for outcome in read_outcomes(self.folder / OUTCOMES_FILE, digest):
            redacted = self._redacted(outcome)
            yield _whole(outcome, next(harmful, None), redacted[1]) if redacted else outcome
        if digest.hexdigest() != self.report.outcomes_sha256:
            raise StoreError("outcomes changed while they were read", facts={"folder": self.folder})
        if next(harmful, None) is not None:
            raise _other_replies()

    def _redacted(self, outcome: Outcome) -> re.Match[str] | None:
        """The words in place of a reply that is to be put back; a harmless reply may hold the same words by itself."""
        return REDACTED.fullmatch(outcome.reply) if self.with_harmful and is_hidden(outcome) else None


class Texts:
    """
    The prompts behind an evaluation's ids, from suites that are exactly those of its report.

    Suites of other content are passed over: an id of theirs may stand for another text.
    """

    def __init__(self, report: EvalReport, suites: Mapping[str, Suite]) -> None:
        self._prompts: dict[tuple[str, str], Prompt] = {
            (name, prompt.id): prompt
            for name, suite in suites.items()
            if report.suites.get(name) == suite.digest
            for prompt in suite.every_prompt
        }
        self._suites = {suite for suite, _ in self._prompts}

    def knows(self, suite: str) -> bool:
        """Say whether the prompts of a suite are known."""
        return suite in self._suites

    def prompt(self, suite: str, prompt_id: str) -> Prompt | None:
        """Return a prompt, or None where its suite was not given."""
        return self._prompts.get((suite, prompt_id))


def _whole(outcome: Outcome, harmful: Outcome | None, sha256: str) -> Outcome:
    """The outcome with its reply, which must be the one whose digest stands in its place."""
    if harmful is None or sha256_bytes(harmful.reply.encode("utf-8", "replace")) != sha256:
        raise _other_replies()
    return outcome.model_copy(update={"reply": harmful.reply})


def _other_replies() -> RecordError:
    return RecordError(
        "harmful replies are not those that were redacted",
        facts={"file": HARMFUL_FILE},
        hint="keep the folder together as `recert evaluate` wrote it",
    )


def _refuse_open(path: Path) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as exc:
        raise StoreError(
            "cannot read harmful replies", facts={"file": path, "because": exc.strerror}
        ) from exc
    if mode & 0o077:
        raise InputError(
            "others may read the harmful replies",
            facts={"file": path, "mode": f"{mode:04o}"},
            hint=f"run `chmod 600 {path}`",
        )
