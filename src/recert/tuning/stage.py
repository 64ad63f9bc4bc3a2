"""
The tuning stage: defend the rows, train an adapter, hand over what was done.

An adapter or merged folder made elsewhere enters the chain as it is: evaluation and certification take any folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from recert.digest import sha256_bytes, sha256_json
from recert.errors import InputError, RecertError, RowsError
from recert.records import ChatRow, Hyperparameters, Manifest, ScreenReport, TuneReport, now
from recert.store.files import publish_folder, read_bytes, write_atomic
from recert.tuning.defences import defend
from recert.tuning.sft import train_adapter

REPORT_NAME = "tune-report.json"


def tune(
    base_dir: Path,
    rows: Sequence[ChatRow],
    output: Path,
    *,
    defence: str = "none",
    hyperparameters: Hyperparameters | None = None,
    screen_report: ScreenReport | None = None,
    screening_overridden: bool = False,
    progress: Callable[[int, int, float], None] | None = None,
) -> TuneReport:
    """
    Train a LoRA adapter on accepted rows, with a defence.

    Writes `output/adapter/` (the adapter and nothing else), `output/tune-report.json`, and for a defence with a
    secret `output/secret.txt` of mode 0600, outside the adapter's folder. An interrupted run leaves none of them.

    Args:
        base_dir: the base in the hub's layout.
        rows: conversations that end with the assistant's reply.
        output: folder of this tune.
        defence: `none`, `safety-mix` or `backdoor-align`.
        hyperparameters: how to train; the record's defaults where None.
        screen_report: the report that accepted these rows.
        screening_overridden: True when quarantined rows are among them; the record says so.
        progress: called with (step, steps, loss).

    Raises:
        RowsError: there are no rows, or none with a token to learn.
        InputError: there is no such defence.
        ModelError: the base cannot be loaded.
        MissingExtraError: the training parts are not installed.
        StoreError: the output cannot be written.
    """
    if not rows:
        raise RowsError("no accepted rows to learn from", hint="see the screen report for the reasons")
    hyperparameters = hyperparameters or Hyperparameters()
    started, clock = now(), time.monotonic()
    base = Manifest.of_folder(base_dir)
    defended = defend(defence, rows, seed=hyperparameters.seed)
    if output.is_file():
        raise InputError("output is a file, expected a folder", facts={"output": output})
    with publish_folder(output) as folder:
        adapter = folder / "adapter"
        adapter.mkdir()
        trained = train_adapter(base_dir, defended.rows, adapter, hyperparameters, progress=progress)
        if defended.secret is not None:
            defended.secret.write(folder / "secret.txt")
        if Manifest.of_folder(base_dir) != base:
            raise InputError("the base changed while it was tuned", facts={"folder": base_dir})
        flop = 6.0 * trained.parameters * trained.tokens
        report = TuneReport(
            base=base,
            tuned=Manifest.of_folder(adapter),
            rows_sha256=rows_digest(defended.rows) if defended.secret is None else rows_digest(rows),
            rows=len(defended.rows),
            accepted_sha256=rows_digest(rows),
            screen_report_sha256=screen_report.digest if screen_report else None,
            screening_overridden=screening_overridden,
            defence=defence,
            defence_details=defended.details,
            secret_sha256=defended.secret.sha256 if defended.secret else None,
            hyperparameters=hyperparameters,
            steps=trained.steps,
            first_loss=trained.first_loss,
            last_loss=trained.last_loss,
            tokens=trained.tokens,
            compute_flop=flop,
            seconds=round(time.monotonic() - clock, 1),
            versions=trained.versions,
            started_at=started,
            tuned_at=now(),
        )
        write_atomic(folder / REPORT_NAME, report.to_json())
    return report


def finished_tune(output: Path) -> TuneReport | None:
    """
    Return the report of a tune that is whole: its adapter is there and has the bytes that the report names.

    None where there is none, or it is damaged.
    """
    try:
        report = TuneReport.from_json(read_bytes(output / REPORT_NAME))
        whole = Manifest.of_folder(output / "adapter") == report.tuned
    except RecertError:
        return None
    return report if whole else None


def answers(
    report: TuneReport,
    *,
    base: Manifest,
    rows: Sequence[ChatRow],
    defence: str,
    hyperparameters: Hyperparameters,
) -> bool:
    """
    Say whether a finished tune is what tuning again would make: same base, rows, defence and settings.

    The defence is applied again, since its own rows and figures may have changed with a release. A defence with a
    secret makes a new one each time; there its figures are compared.

    Raises:
        InputError: there is no such defence.
    """
    again = defend(defence, rows, seed=hyperparameters.seed)
    return (
        report.base == base
        and report.accepted_sha256 == rows_digest(rows)
        and report.defence == defence
        and report.hyperparameters == hyperparameters
        and report.defence_details == again.details
        and (again.secret is not None or report.rows_sha256 == rows_digest(again.rows))
    )


def rows_digest(rows: Sequence[ChatRow]) -> str:
    """Return the sha256 of rows, in order."""
    return sha256_bytes(
        "\n".join(sha256_json(r.model_dump(mode="json", exclude_none=True)) for r in rows).encode()
    )
