"""`recert export`: an evaluation or a certificate in the formats that others read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recert.cli.options import Suites

if TYPE_CHECKING:
    from recert.evaluation.report.folder import EvaluationFolder
    from recert.records.reports.attack import Conversation
    from recert.records.reports.attack_report import AttackReport

FILES = {
    "inspect": "inspect",
    "jsonl": "outcomes-with-prompts.jsonl",
    "parquet": "outcomes.parquet",
    "junit": "junit.xml",
    "sarif": "recert.sarif",
    "summary": "summary.md",
}
"""Where each format of an evaluation goes in its folder, unless another place is given."""


def export(
    *,
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder written by `recert evaluate` or, for `inspect`, by `recert attack`; or a certificate's file."
        ),
    ],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            "--as",
            help="Of an evaluation: `inspect` (logs for `inspect view`), `jsonl`, `parquet`, `junit`, `sarif`, or "
            "`summary` (Markdown). Of a certificate: `cyclonedx` (ML-BOM), `spdx` (AI profile), `model-card`, "
            "`model-index`, `report` (HTML to print), `pdf`, `evidence` (a bundle) or `oms` (a signature of the "
            "weights).",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="File, or folder of the Inspect logs; by default in the evaluation's folder or beside the "
            "certificate. A README that is there keeps all that is not ours. Without it, a summary goes to "
            "`GITHUB_STEP_SUMMARY` where that is set."
        ),
    ] = None,
    suites: Suites = None,
    with_harmful: Annotated[
        bool,
        typer.Option(
            "--with-harmful",
            "--reveal",
            help="Put harmful replies in their places; what is written then has mode 0600.",
        ),
    ] = False,
    trust: Annotated[
        Path | None,
        typer.Option(help="Trusted keys, to check a certificate's signatures before it is exported."),
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(
            help="A certificate's evaluation, for `evidence` and `report`; by default `evaluation` beside it."
        ),
    ] = None,
    reports: Annotated[
        list[Path] | None,
        typer.Option("--report", help="A report that the certificate names, for `evidence`; repeat it."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="The certified folder that `oms` signs, of the tuned model or its base."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Private ECDSA key in PEM, mode 0600, that `oms` signs with.")
    ] = None,
) -> None:
    """
    Write an evaluation or a certificate as others read it: logs, tables, CI results, BOMs, model cards, PDF, evidence.

    Exit 0: written, whatever the verdict, 1: the certificate is refused, 2: no answer.
    """
    if not source.is_dir():
        from recert.cli.certifying.export_certificate import Asked, export_certificate

        asked = Asked(output, trust, evaluation, reports or [], model, key, suites or [], with_harmful)
        typer.echo(export_certificate(source, format, asked, draw=context.obj))
        return
    typer.echo(_export_evaluation(source, format, output, suites or [], with_harmful=with_harmful))


def _export_evaluation(
    folder: Path, name: str, output: Path | None, suites: list[str], *, with_harmful: bool
) -> Path:
    from recert.cli.loading import load_suites
    from recert.errors import InputError
    from recert.evaluation.report.folder import EvaluationFolder

    if name not in FILES:
        raise InputError(
            "no such format of an evaluation",
            facts={"given": name, "there are": ", ".join(FILES)},
            hint="other formats are of a certificate: give its file",
        )
    if name == "inspect" and (attack := _attack(folder)) is not None:
        from recert.interop.evaluations.conversation_logs import write_conversation_logs

        write_conversation_logs(*attack, output or folder / FILES[name], with_harmful=with_harmful)
        return output or folder / FILES[name]
    source = EvaluationFolder.open(folder, with_harmful=with_harmful)
    target = output or folder / FILES[name]
    if name in ("inspect", "jsonl", "parquet"):
        _write_outcomes(source, name, target, load_suites(suites))
    elif name == "summary" and output is None and (step := _step_summary()) is not None:
        target = step
        _append(step, _report(source, name))
    else:
        _write(target, _report(source, name))
    return target


def _attack(folder: Path) -> tuple[AttackReport, tuple[Conversation, ...]] | None:
    """What attackers came to, where the folder is that of `recert attack`."""
    from recert.labs.attackers.report.files import read_attack
    from recert.records.reports.attack_report import REPORT_FILE

    if not (folder / REPORT_FILE).exists():
        return None
    told = read_attack(folder)
    return told.report, told.conversations


def _write_outcomes(source: EvaluationFolder, name: str, target: Path, prompts: Any) -> None:
    if name == "inspect":
        from recert.interop.evaluations.eval_logs import write_eval_logs

        write_eval_logs(source, target, suites=prompts)
    elif name == "parquet":
        from recert.interop.evaluations.frames import write_parquet

        write_parquet(source, target, suites=prompts)
    else:
        from recert.interop.evaluations.lines import write_lines

        write_lines(source, target, suites=prompts)


def _report(source: EvaluationFolder, name: str) -> bytes:
    from recert.evaluation.report.summary import job_summary
    from recert.evaluation.stage import REPORT_FILE
    from recert.interop.evaluations.junit import junit_xml
    from recert.interop.evaluations.sarif import sarif_json

    if name == "junit":
        return junit_xml(source.report)
    if name == "sarif":
        path = source.folder / REPORT_FILE
        inside = not path.is_absolute() and ".." not in path.parts
        return sarif_json(source.report, report_uri=path.as_posix() if inside else REPORT_FILE)
    return job_summary(source.report).encode()


def _write(path: Path, data: bytes) -> None:
    from recert.store.files.writing import write_atomic

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
