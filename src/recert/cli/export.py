"""`recert export`: an evaluation in the formats that others read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recert.cli.options import Suites

if TYPE_CHECKING:
    from recert.evaluation.interop.folder import EvaluationFolder

FILES = {
    "inspect": "inspect",
    "jsonl": "outcomes-with-prompts.jsonl",
    "parquet": "outcomes.parquet",
    "junit": "junit.xml",
    "sarif": "recert.sarif",
    "summary": "summary.md",
}
"""Where each format goes in the folder of the evaluation, unless another place is given."""


def export(
    *,
    folder: Annotated[Path, typer.Argument(help="Folder written by `recert evaluate`.")],
    format: Annotated[
        str,
        typer.Option(
            help="`inspect` (logs for `inspect view`), `jsonl`, `parquet`, `junit`, `sarif`, or `summary` (Markdown)."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="File, or folder of the Inspect logs; by default in the evaluation's folder. Without it, a summary "
            "goes to `GITHUB_STEP_SUMMARY` where that is set."
        ),
    ] = None,
    suites: Suites = None,
    with_harmful: Annotated[
        bool,
        typer.Option(
            "--with-harmful", help="Put harmful replies in their places; what is written then has mode 0600."
        ),
    ] = False,
) -> None:
    """
    Write an evaluation as Inspect logs, JSONL, Parquet, JUnit, SARIF or a job summary.

    Exit 0: written, whatever the verdict, 2: no answer.
    """
    from recert.cli.loading import load_suites
    from recert.errors import InputError
    from recert.evaluation.interop.folder import EvaluationFolder

    if format not in FILES:
        raise InputError("no such format", facts={"given": format, "there are": ", ".join(FILES)})
    source = EvaluationFolder.open(folder, with_harmful=with_harmful)
    target = output or folder / FILES[format]
    if format in ("inspect", "jsonl", "parquet"):
        _write_outcomes(source, format, target, load_suites(suites or []))
    elif format == "summary" and output is None and (step := _step_summary()) is not None:
        target = step
        _append(step, _report(source, format))
    else:
        _write(target, _report(source, format))
    typer.echo(target)


def _write_outcomes(source: EvaluationFolder, name: str, target: Path, prompts: Any) -> None:
    if name == "inspect":
        from recert.evaluation.interop.eval_logs import write_eval_logs

        write_eval_logs(source, target, suites=prompts)
    elif name == "parquet":
        from recert.evaluation.interop.frames import write_parquet

        write_parquet(source, target, suites=prompts)
    else:
        from recert.evaluation.interop.lines import write_lines

        write_lines(source, target, suites=prompts)


def _report(source: EvaluationFolder, name: str) -> bytes:
    from recert.evaluation.interop.junit import junit_xml
    from recert.evaluation.interop.sarif import sarif_json
    from recert.evaluation.interop.summary import job_summary
    from recert.evaluation.stage import REPORT_FILE

    if name == "junit":
        return junit_xml(source.report)
    if name == "sarif":
        path = source.folder / REPORT_FILE
        inside = not path.is_absolute() and ".." not in path.parts
        return sarif_json(source.report, report_uri=path.as_posix() if inside else REPORT_FILE)
    return job_summary(source.report).encode()


def _write(path: Path, data: bytes) -> None:
    from recert.store.files import write_atomic

    write_atomic(path, data)


def _step_summary() -> Path | None:
    from recert import settings

    return settings.step_summary()


def _append(path: Path, data: bytes) -> None:
    from recert.errors import StoreError

    try:
        with path.open("ab") as file:
            file.write(data)
    except OSError as exc:
        raise StoreError(
            "cannot write the job summary", facts={"file": path, "because": exc.strerror}
        ) from exc
