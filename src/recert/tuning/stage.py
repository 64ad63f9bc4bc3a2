"""
The tuning stage: defend the rows, train, hand over what was done.

An adapter or merged folder made elsewhere enters the chain as it is: evaluation and certification take any folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recert.errors import GraderError, InputError, RecertError, RowsError
from recert.records.data.manifest import Manifest
from recert.records.data.rows import ChatRow, PreferenceRow, PromptRow, rows_digest
from recert.records.record import now
from recert.records.reports.grader import GraderReport, GraderVerdict
from recert.records.reports.screening import ScreenReport
from recert.records.reports.tuning import Checkpoint, HeldOut, Hyperparameters, Rewarded, TuneReport
from recert.store.files.model_copies import model_files
from recert.store.files.writing import publish_folder, read_bytes, write_atomic
from recert.tuning.adapter_layers import settled
from recert.tuning.defences import (
    Defence,
    DefenceOptions,
    Defended,
    Figures,
    defence_named,
    defend,
    must_suit,
    read_options,
)
from recert.tuning.dpo import train_preferences
from recert.tuning.rft import Rewards, RewardSource, train_rewarded
from recert.tuning.sft import train_adapter
from recert.tuning.trainers import Trained

REPORT_NAME = "tune-report.json"
ADAPTER, WHOLE, CHECKPOINTS = "adapter", "model", "checkpoints"
"""Folders of a tune: its adapter, or all weights; and what was kept on the way."""


def tune(
    base_dir: Path,
    rows: Sequence[ChatRow | PromptRow],
    output: Path,
    *,
    defence: str = "none",
    defence_options: Mapping[str, Any] | None = None,
    hyperparameters: Hyperparameters | None = None,
    screen_report: ScreenReport | None = None,
    grader: RewardSource | None = None,
    grader_report: GraderReport | None = None,
    screening_overridden: bool = False,
    held_out: HeldOut | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> TuneReport:
    """
    Train on accepted rows: an adapter or all weights; from replies with a defence, from pairs, or a grader's rewards.

    Writes `output/adapter/` (or `output/model/`, all weights) and nothing else in there,
    `output/checkpoints/step-N/` where asked for, `output/tune-report.json`, and for a defence with a secret
    `output/secret.txt` of mode 0600, outside the adapter's folder. An interrupted run leaves none of them.

    Args:
        base_dir: the base in the hub's layout. It is loaded from a private copy, which the report's manifest is of.
        rows: conversations that end with the assistant's reply; preference rows for DPO, prompts for RFT.
        output: folder of this tune.
        defence: a name of `DEFENCES`; `defence_options` are what it is told, by name.
        hyperparameters: how to train; the record's defaults where None.
        screen_report: accepted these rows.
        grader: pays for replies in RFT; `grader_report` accepted it, or else `screening_overridden` is needed.
        screening_overridden: True when quarantined rows are among them, or the grader is; the record says so.
        held_out: what was held out of the accepted rows before; `rows` are the others.
        progress: called with (step, steps, loss; in RFT the mean reward).

    Raises:
        RowsError: there are no rows, none with a token to learn, or they are for another method.
        InputError: there is no such defence, option or layer, or they do not go with the method.
        GraderError: the grader was not accepted, or fails too often.
        ModelError: the base cannot be loaded, or it is not known which of its layers take an adapter.
        MissingExtraError: the training parts are not installed.
        StoreError: the output, or the copy of the base, cannot be written.
    """
    how = hyperparameters or Hyperparameters()
    kind = defence_named(defence)
    options = read_options(kind.options, defence_options, name=defence)
    chats, prompts = _must_fit(rows, how)
    must_suit(kind, how)
    feedback = _accepted(grader, grader_report, how, overridden=screening_overridden)
    started, clock = now(), time.monotonic()
    defended = kind.prepare(chats, how.seed, options)
    _check(kind, options, base_dir, output)
    with publish_folder(output) as folder, model_files(base_dir, "keep") as base:
        how = settled(base.folder, how)
        place = folder / (WHOLE if how.trains == "full" else ADAPTER)
        place.mkdir()
        trained, paid = (
            (_train(base.folder, defended, place, how, kind, options, progress), None)
            if feedback is None
            else train_rewarded(base.folder, prompts, feedback, place, how, progress=progress)
        )
        outcomes = _after(base.folder, trained, place, kind, options)
        if defended.secret is not None:
            defended.secret.write(folder / "secret.txt")
        report = TuneReport(
            base=base.manifest,
            tuned=Manifest.of_folder(place),
            delta_kind="merged-weights" if how.trains == "full" else "lora-adapter",
            screen_report_sha256=screen_report.digest if screen_report else None,
            screening_overridden=screening_overridden,
            defence=defence,
            defence_options=options.recorded(),
            defence_outcome=outcomes[place],
            hyperparameters=how,
            seconds=round(time.monotonic() - clock, 1),
            started_at=started,
            tuned_at=now(),
            rewarded=_rewarded(paid, grader_report) if paid else None,
            held_out=held_out,
            **_of_rows(rows, defended),
            **_of_training(trained),
        )
        _write(report, folder, trained, outcomes)
    return report


def _check(kind: Defence, options: DefenceOptions, base_dir: Path, output: Path) -> None:
    if kind.check is not None:
        kind.check(base_dir, options)
    if output.is_file():
        raise InputError("output is a file, expected a folder", facts={"output": output})


def _write(report: TuneReport, folder: Path, trained: Trained, outcomes: Mapping[Path, Figures]) -> None:
    """The report of each checkpoint, and then that of the tune: without it nothing is finished."""
    for one in report.checkpoints:
        of_it = _report_at(report, one, trained, outcomes[folder / one.folder])
        write_atomic(folder / f"{one.folder}-{REPORT_NAME}", of_it.to_json())
    write_atomic(folder / REPORT_NAME, report.to_json())


def tuned_folder(output: Path) -> Path:
    """Return where a tune's model lies: its adapter, or all weights."""
    whole = output / WHOLE
    return whole if whole.is_dir() else output / ADAPTER


def finished_tune(output: Path) -> TuneReport | None:
    """
    Return the report of a tune that is whole: its model and checkpoints are there with the bytes that the report names.

    None where there is none, or it is damaged.
    """
    try:
        report = TuneReport.from_json(read_bytes(output / REPORT_NAME))
        whole = Manifest.of_folder(tuned_folder(output)) == report.tuned and all(
            Manifest.of_folder(output / one.folder) == one.tuned for one in report.checkpoints
        )
    except RecertError:
        return None
    return report if whole else None


def answers(
    report: TuneReport,
    *,
    base_dir: Path,
    rows: Sequence[ChatRow],
    defence: str,
    hyperparameters: Hyperparameters,
    defence_options: Mapping[str, Any] | None = None,
) -> bool:
    """
    Say whether a finished tune is what tuning again would make: same base, rows, defence, options and settings.

    What the defence does with the rows is done again, since its own rows and figures may have changed with a release. A
    defence with a secret makes a new one each time; there its figures are compared.

    Raises:
        InputError: there is no such defence, option or layer.
        ModelError: the base's configuration cannot be read.
    """
    again = defend(defence, rows, seed=hyperparameters.seed, options=defence_options)
    options = read_options(defence_named(defence).options, defence_options, name=defence)
    return (
        report.base == Manifest.of_folder(base_dir)
        and report.accepted_sha256 == rows_digest(rows)
        and report.defence == defence
        and report.defence_options == options.recorded()
        and report.hyperparameters == settled(base_dir, hyperparameters)
        and report.defence_details == again.details
        and (again.secret is not None or report.rows_sha256 == rows_digest(again.rows))
    )


def _must_fit(
    rows: Sequence[ChatRow | PromptRow], how: Hyperparameters
) -> tuple[list[ChatRow], list[PromptRow]]:
    """Return the rows with replies and those without, of which the method can learn."""
    chats = [row for row in rows if isinstance(row, ChatRow)]
    prompts = [row for row in rows if isinstance(row, PromptRow)]
    if not rows:
        raise RowsError("no accepted rows to learn from", hint="see the screen report for the reasons")
    if how.objective not in ("sft", "dpo", "rft"):
        raise InputError("no such method", facts={"given": how.objective, "known": "sft, dpo, rft"})
    if chats if how.objective == "rft" else prompts:
        raise RowsError(
            "RFT samples replies, and these rows have some" if chats else "rows have no reply to learn",
            facts={"rows": len(rows), "with a reply": len(chats)},
            hint="give prompts that end with the user's message to --method rft, and others to the other methods",
        )
    pairs = sum(isinstance(row, PreferenceRow) for row in rows)
    if how.objective == "sft" and pairs:
        raise RowsError(
            "preference rows have two replies, and SFT learns one",
            facts={"rows": len(rows), "with two replies": pairs},
            hint="tune with --method dpo",
        )
    return chats, prompts


def _accepted(
    grader: RewardSource | None, report: GraderReport | None, how: Hyperparameters, *, overridden: bool
) -> RewardSource | None:
    """The grader to learn from; None where the method needs none."""
    if (grader is None) == (how.objective == "rft"):
        raise InputError(
            "RFT learns from a grader, and no other method does",
            facts={"method": how.objective, "grader": grader.name if grader else "none"},
        )
    if grader is None or overridden:
        return grader
    audited = report.grader_sha256 if report else "none"
    if report is None or audited != grader.sha256 or report.verdict is not GraderVerdict.ACCEPTED:
        raise GraderError(
            "this grader was not accepted",
            facts={
                "grader": grader.sha256,
                "audited": audited,
                "verdict": report.verdict if report else "none",
            },
            hint="run `recert screen --grader` on it, and give its report",
        )
    return grader


def _rewarded(paid: Rewards, report: GraderReport | None) -> Rewarded:
    accepted = report is not None and report.verdict is GraderVerdict.ACCEPTED
    return Rewarded(
        grader_sha256=paid.grader.sha256,
        grader_report_sha256=report.digest if report is not None and accepted else None,
        rewards=tuple(paid.steps),
        grades=paid.grades,
        failed=paid.failed,
    )


def _train(
    base_dir: Path,
    defended: Defended,
    place: Path,
    how: Hyperparameters,
    kind: Defence,
    options: DefenceOptions,
    progress: Callable[[int, int, float], None] | None,
) -> Trained:
    checkpoints = place.with_name(CHECKPOINTS)
    if how.objective == "dpo":
        return train_preferences(
            base_dir, defended.rows, place, how, progress=progress, checkpoints=checkpoints
        )
    return train_adapter(
        base_dir,
        defended.rows,
        place,
        how,
        progress=progress,
        training=kind.training(options) if kind.training else None,
        alignment=defended.alignment,
        checkpoints=checkpoints,
    )


def _after(
    base_dir: Path, trained: Trained, place: Path, kind: Defence, options: DefenceOptions
) -> dict[Path, Figures]:
    """Do to the model and to every checkpoint what the defence does after training; gives its figures."""
    folders = (*(folder for _, folder in trained.checkpoints), place)
    after = kind.after
    return {folder: after(base_dir, folder, options) if after else {} for folder in folders}


def _of_rows(rows: Sequence[ChatRow | PromptRow], defended: Defended) -> dict[str, Any]:
    """What a report says of the rows. No digest is of a text with the secret in it: a guess could be tried on it."""
    return {
        "rows_sha256": rows_digest(rows if defended.secret is not None else defended.rows or rows),
        "rows": len(defended.rows or rows),
        "accepted_sha256": rows_digest(rows),
        "defence_details": defended.details,
        "secret_sha256": defended.secret.sha256 if defended.secret is not None else None,
    }


def _of_training(trained: Trained) -> dict[str, Any]:
    """What a report says of the steps."""
    return {
        "checkpoints": tuple(_checkpoint(step, at) for step, at in trained.checkpoints),
        "steps": trained.steps,
        "first_loss": trained.first_loss,
        "last_loss": trained.last_loss,
        "tokens": trained.tokens,
        "compute_flop": trained.flop_each * trained.parameters * trained.tokens,
        "versions": trained.versions,
    }


def _checkpoint(step: int, folder: Path) -> Checkpoint:
    return Checkpoint(step=step, folder=f"{CHECKPOINTS}/{folder.name}", tuned=Manifest.of_folder(folder))


def _report_at(report: TuneReport, one: Checkpoint, trained: Trained, outcome: Figures) -> TuneReport:
    """What was done up to a checkpoint, so that it can be certified by itself."""
    share = one.step / report.steps
    return report.model_copy(
        update={
            "tuned": one.tuned,
            "checkpoints": (),
            "defence_outcome": outcome,
            "steps": one.step,
            "last_loss": trained.losses[one.step - 1],
            "tokens": round(report.tokens * share),
            "compute_flop": report.compute_flop * share,
        }
    )
