"""`recert run`: from rows to a certificate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.certifying.logged import Log, write_logged
from recert.cli.options import (
    DEFAULT_BASE,
    AdapterKind,
    Base,
    Defence,
    DefenceOption,
    KeysFolder,
    LearningRate,
    LoraTarget,
    Method,
    PolicyName,
    RowsFile,
    Suites,
)

if TYPE_CHECKING:
    from recert.policy import Policy
    from recert.workflows.signers import Signers

_Stress = Annotated[
    Path | None, typer.Option(help="`stress-report.json` of the base, where it was stressed.")
]
_Attack = Annotated[
    Path | None,
    typer.Option(help="`attack-report.json` of the model that an earlier run of this made."),
]
_Transcriber = Annotated[
    str,
    typer.Option(
        help="Hears what is spoken, before both models, where the policy serves audio: `whisper-tiny`, or a folder."
    ),
]
_Qualify = Annotated[
    bool,
    typer.Option(
        help="Qualify a base that was not seen under this policy before; its replies serve the evaluation."
    ),
]
_Name = Annotated[str, typer.Option(help="What the model is called; by default the output folder's name.")]


def run(
    *,
    context: typer.Context,
    rows: RowsFile,
    output: Annotated[Path, typer.Option(help="Folder for everything that is made.")],
    keys: KeysFolder,
    base: Base = DEFAULT_BASE,
    policy: PolicyName = "default",
    defence: Defence = "",
    defence_option: DefenceOption = None,
    method: Method = "sft",
    adapter: AdapterKind = "lora",
    learning_rate: LearningRate = None,
    lora_target: LoraTarget = None,
    suites: Suites = None,
    stress_report: _Stress = None,
    attack: _Attack = None,
    name: _Name = "",
    transcriber: _Transcriber = "",
    log: Log = None,
    qualify: _Qualify = True,
) -> None:
    """
    Screen, tune, evaluate and certify in one go; finished steps are used again.

    Exit 0: certified, 1: not.
    """
    from functools import partial

    from recert import settings
    from recert.cli.certifying.signing import load_signed
    from recert.cli.drawing import Drawn
    from recert.cli.evaluating.evaluate import show_attempt, show_rules
    from recert.cli.loading import (
        kept_replies,
        load_arms,
        load_base,
        load_hyperparameters,
        load_suites,
        pairs_of,
    )
    from recert.cli.printing import NO, YES
    from recert.cli.transcriber import load_transcriber
    from recert.models.engines.engines import open_model
    from recert.policy import load_policy
    from recert.tuning.defences import USUAL
    from recert.workflows.qualifying import qualify_once
    from recert.workflows.run import CERTIFICATE_FILE, Plan, passed
    from recert.workflows.run import run as run_plan
    from recert.workflows.run_summary import RunSummary
    from recert.workflows.signers import signers_of

    bounds, signers, prompts = load_policy(policy), signers_of(keys), load_suites(suites or [], encode=True)
    ears = load_transcriber(transcriber, bounds)  # before anything is tuned
    how = load_hyperparameters(method, adapter, learning_rate, lora_targets=tuple(lora_target or ()))
    plan = Plan(
        name=name or output.resolve().name,
        source=rows,
        base_dir=load_base(base),
        output=output,
        policy=bounds,
        defence=defence or USUAL[how.objective],
        defence_options=pairs_of(defence_option or []),
        hyperparameters=how,
        **load_signed({"stress": stress_report, "attack": attack}),
        log=log,
    )
    status = _renewed_status(output / "status.json", signers, bounds, log)
    with Drawn() as drawn, kept_replies() as cache:
        known = partial(
            qualify_once,
            plan.base_dir,
            settings.cache_dir() / "qualifications",
            policy=bounds,
            suites=prompts,
            open_base=lambda folder: open_model(f"local:{folder}"),
            signer=signers.evaluator,
            cache=cache,
            progress=drawn,
        )
        done = run_plan(
            plan,
            suites=prompts,
            signers=signers,
            status=status,
            arms=lambda adapter: load_arms(plan.base_dir, adapter, ears),
            cache=cache,
            progress=drawn,
            once_screened=known if qualify else None,
        )
    pages, title = (done.page,), f"recert run: {plan.name}"
    context.obj(
        output / "report.html", RunSummary(title, machine="", models=pages, seconds=done.page.seconds)
    )
    assert done.page.evaluation is not None
    show_rules(done.page.evaluation, bounds)
    show_attempt(done.page.evaluation)
    for refusal in done.page.refusals:
        typer.echo(refusal)
    if passed(done):
        typer.echo(output / CERTIFICATE_FILE)
    raise typer.Exit(YES if passed(done) else NO)


def _renewed_status(listed: Path, signers: Signers, bounds: Policy, log: Path | None) -> bytes:
    """The status list in its file, signed anew, and in a log before, where there is one."""
    from recert.certification import issue_status
    from recert.certification.signing.issued import hold_memory
    from recert.store.files.writing import read_bytes

    with hold_memory() as memory:
        memory.require_apart(listed.absolute().parent)
        status = issue_status(
            read_bytes(listed, "status list") if listed.exists() else None,
            key=signers.status,
            trust=signers.trust,
            validity_hours=bounds.certification.status_validity_hours,
            policy=bounds,
            memory=memory,
        )
        write_logged(listed, status, log)
    return status
