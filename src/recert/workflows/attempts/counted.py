"""An evaluation that is counted: written down before it begins, gone on with where it was interrupted, and ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from recert.certification.clock import moment
from recert.digest import sha256_json
from recert.errors import RecertError
from recert.evaluation.decision.retries import require_enough_left
from recert.evaluation.scoring import Judges
from recert.evaluation.stage import REPORT_FILE, Evaluation, evaluate
from recert.models.chat.secret import SecretPrefix
from recert.models.protocol import Model, identity
from recert.policy import Policy, decided_afresh
from recert.records.data.rows import ChatRow
from recert.records.data.suite import Prompt, Suite
from recert.records.reports.evaluation import EvalReport
from recert.records.signed.attempt import Attempt
from recert.records.signed.attempt_entries import AttemptBegun
from recert.store.files.writing import read_bytes, write_atomic
from recert.workflows.attempts.ledger import Ledger
from recert.workflows.attempts.lines import row_digests, rows_sha256, sketch_of
from recert.workflows.deriving import deriver

ATTEMPT_FILE: Final = "attempt.json"
"""In an evaluation's folder: which entry of the ledger it is."""
_NOTHING: Final = "0" * 64


@dataclass(frozen=True)
class Asked:
    """What is to be evaluated, as the ledger names it."""

    base: Model
    tuned: Model
    policy: Policy
    suites: Mapping[str, Suite]
    model_name: str
    rows: Sequence[ChatRow] | None = None
    judges: Judges = field(default_factory=Judges)
    training_context: Sequence[str] | None = None
    secret: SecretPrefix | None = None
    more: Sequence[str] = ()
    """What else decides what is asked, such as the certificate that evidence is carried over from."""

    @classmethod
    def of(cls, base: Model, tuned: Model, asked: Mapping[str, Any], more: Sequence[str] = ()) -> Self:
        """Return what the arguments of `recert.evaluation.evaluate` ask."""
        names = ("policy", "suites", "model_name", "rows", "training_context", "secret", "judges")
        told = {name: asked[name] for name in names if asked.get(name) is not None}
        return cls(base, tuned, more=more, **told)

    def entry(self) -> AttemptBegun:
        """Return the entry that says this, still without number and nonce."""
        digests = row_digests(self.rows or ())
        said = {
            "base": identity(self.base),
            "tuned": identity(self.tuned),
            "model_name": self.model_name,
            "policy_id": self.policy.id,
            "policy_version": self.policy.version,
            "policy_sha256": self.policy.digest,
            "suites": {name: suite.digest for name, suite in sorted(self.suites.items())},
            "rows": len(digests),
            "rows_sha256": rows_sha256(digests) if digests else None,
        }
        beside = {
            "judges": [[note.id, note.version, note.digest] for note in self.judges.notes],
            "engine": self.tuned.engine,
            "context": list(self.training_context) if self.training_context is not None else None,
            "secret": self.secret.sha256 if self.secret is not None else None,
            "more": list(self.more),
        }
        return AttemptBegun(
            **said,
            sha256=sha256_json(said | beside),
            rows_sketch=sketch_of(digests),
            nonce=_NOTHING,
            attempt=1,
            logged_at=moment(None),
        )


def count(
    asked: Asked,
    folder: Path,
    ledger: Ledger,
    evaluation: Callable[[Attempt], Evaluation],
) -> EvalReport:
    """
    Write down that an evaluation begins, make it, write it into its folder, and write down how it ended.

    One that was interrupted is the same attempt when it goes on in its folder. One that ended is not made again where
    its folder has its report and outcomes, exactly this is asked of models of files that behave as they did, and the
    report follows from the outcomes: then that report is returned. Else it is a new attempt.

    Args:
        asked: what is evaluated.
        folder: the evaluation's.
        ledger: the evaluator's.
        evaluation: makes it.

    Raises:
        RecordError: the ledger was changed, cut or removed.
        InputError: too few prompts are left that no earlier attempt of the line asked. Nothing was begun.
        StoreError: the ledger or the folder cannot be written.
        RecertError: as `evaluation`. It is then still begun, and goes on when it is run again.
    """
    entry, named = asked.entry(), _named(folder)
    before = _finished(asked, entry, folder, ledger, named)
    if before is not None:
        return before
    afresh = decided_afresh(asked.policy) & set(asked.suites)
    attempt = ledger.begin(
        entry,
        asked.policy.evaluation.attempts,
        going_on=named.entry if named is not None else None,
        afresh={name: asked.suites[name] for name in afresh},
        require=lambda new: require_enough_left(asked.policy, asked.suites, asked.judges, new),
    )
    write_atomic(folder / ATTEMPT_FILE, attempt.model_dump_json(exclude_none=True).encode() + b"\n")
    made = evaluation(attempt)
    made.write(folder)
    ledger.end(attempt, made.report, _asked(made))
    return made.report


def _asked(made: Evaluation) -> dict[str, list[Prompt]]:
    """The prompts of each suite that were asked under any condition."""
    named = {(one.suite, one.prompt_id) for one in made.outcomes}
    return {
        name: [p for p in suite.every_prompt if (name, p.id) in named] for name, suite in made.suites.items()
    }


def evaluate_counted(base: Model, tuned: Model, folder: Path, ledger: Ledger, **asked: Any) -> EvalReport:
    """
    Evaluate as `recert.evaluation.evaluate` does, counted; `asked` is what that takes. Raises as `count`.

    Args:
        base, tuned: the models.
        folder: where it is written.
        ledger: the evaluator's.
        asked: what `evaluate` takes.
    """
    what = Asked.of(base, tuned, asked)
    return count(what, folder, ledger, lambda attempt: evaluate(base, tuned, attempt=attempt, **asked))


def _behave_so(report: EvalReport, asked: Asked) -> bool:
    """Whether both models are of files and behave as the report says; at an endpoint another may answer by now."""
    models = {"base": asked.base, "tuned": asked.tuned}
    if any(model.manifest is None for model in models.values()) or len(report.arms) != len(models):
        return False
    return all(models[arm.arm].fingerprint() == arm.fingerprint_at_end for arm in report.arms)


def _named(folder: Path) -> Attempt | None:
    """The attempt that a folder names. Nothing of it is believed but the number under which the ledger is asked."""
    path = folder / ATTEMPT_FILE
    try:
        return Attempt.model_validate_json(read_bytes(path, "attempt")) if path.exists() else None
    except (RecertError, ValueError):
        return None


def _finished(
    asked: Asked, entry: AttemptBegun, folder: Path, ledger: Ledger, named: Attempt | None
) -> EvalReport | None:
    """The report of an evaluation of just this that ended, by the ledger, and follows from its outcomes."""
    if named is None or not (folder / REPORT_FILE).exists():
        return None
    ended = next((one for one in ledger.attempts() if one.index == named.entry), None)
    if ended is None or ended.ended is None or ended.begun.sha256 != entry.sha256:
        return None
    try:
        report = EvalReport.from_json(read_bytes(folder / REPORT_FILE, "evaluation report"))
    except RecertError:
        return None
    if report.digest != ended.ended.sha256 or not _behave_so(report, asked):
        return None
    underived = deriver(folder, policy=asked.policy, suites=asked.suites)(report)
    return None if underived else report
