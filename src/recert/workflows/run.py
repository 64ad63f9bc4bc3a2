"""From rows to a certificate: the first four stages in order, each resumed where it was finished before."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recert.certification import Presented, Verifier
from recert.certification.log.logged import log_envelope
from recert.certification.signing.links import read_links, write_link
from recert.certification.stage import approve, certify
from recert.certification.status.reading import status_list_id
from recert.digest import sha256_file
from recert.errors import InputError, RecertError, RowsError, VerificationError
from recert.evaluation.plan import TASK
from recert.evaluation.stage import OUTCOMES_FILE
from recert.evaluation.stage import REPORT_FILE as EVAL_FILE
from recert.evaluation.suites.reading import kept_from_rows
from recert.models.chat.secret import SecretPrefix
from recert.models.protocol import Model
from recert.policy import Policy, moderation_checks
from recert.progress import Progress
from recert.records.data.rows import ChatRow
from recert.records.data.suite import Suite
from recert.records.reports.attack_report import AttackReport
from recert.records.reports.evaluation import EvalReport, Verdict
from recert.records.reports.screening import ScreenReport
from recert.records.reports.stress import StressReport
from recert.records.reports.tuning import Hyperparameters, TuneReport
from recert.records.signed.certificate import Step, VerifiedCertificate
from recert.screening.stage import REPORT_FILE, Screened, screen
from recert.store.cache import GenerationCache
from recert.store.files.writing import read_bytes, write_atomic
from recert.tuning.defences import read_options, safety_prompt
from recert.tuning.stage import REPORT_NAME, answers, finished_tune, tune, tuned_folder
from recert.workflows.attempts.counted import evaluate_counted
from recert.workflows.attempts.ledger import Ledger
from recert.workflows.deriving import deriver
from recert.workflows.held_out import Split, hold_out
from recert.workflows.progress_file import ProgressFile
from recert.workflows.run_summary import ModelPage
from recert.workflows.signers import Signers, sign_tune, signed_tune

CERTIFICATE_FILE = "certificate.json"


@dataclass(frozen=True)
class Plan:
    """What to run: rows, base, defence and policy. `expectation` is shown beside what came out."""

    name: str
    source: Path
    base_dir: Path
    output: Path
    policy: Policy
    defence: str = "none"
    defence_options: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    override_screening: bool = False
    """Train on quarantined rows too. The records say so."""
    expectation: str = ""
    stress_report: StressReport | None = None
    """How the base stands up to tuning, for the certificate."""
    attack_report: AttackReport | None = None
    """What attackers that converse came to on the tuned model of an earlier run of the same plan, likewise."""
    links: Mapping[Step, bytes] = field(default_factory=dict)
    """Who signed for the stress report and the attack report, by step."""
    log: Path | None = None
    """Transparency log that the certificate is appended to before it is written."""
    ledger: Path | None = None
    """Ledger that the evaluation is counted in; None for that of the settings."""


@dataclass(frozen=True)
class Run:
    """What came out: the records, and the certificate's envelope where one was given."""

    plan: Plan
    page: ModelPage
    envelope: bytes | None
    verified: VerifiedCertificate | None

    @property
    def adapter_dir(self) -> Path:
        """The folder of the tuned adapter, or of all weights."""
        return tuned_folder(self.plan.output / "tune")

    @property
    def secret(self) -> SecretPrefix | None:
        """The secret that the defence made, read from its file."""
        path = self.plan.output / "tune" / "secret.txt"
        return SecretPrefix.read(path) if path.exists() else None

    @property
    def certificate_path(self) -> Path:
        """Where the certificate's envelope lies."""
        return self.plan.output / CERTIFICATE_FILE


def run(
    plan: Plan,
    *,
    suites: Mapping[str, Suite],
    signers: Signers,
    status: bytes,
    arms: Callable[[Path], tuple[Model, Model]],
    cache: GenerationCache | None = None,
    progress: Progress | None = None,
    once_screened: Callable[[], object] | None = None,
) -> Run:
    """
    Screen the rows, tune, evaluate against the base and certify.

    Args:
        plan: what to run.
        suites: prompts by the names that the policy's rules use.
        signers: who certifies and approves.
        status: the newest status list.
        arms: from the adapter's folder to the base and the tuned model.
        cache: kept replies, so that the next tune of this base asks only the tuned model.
        progress: told of each step.
        once_screened: called before anything is tuned, when the rows are known to be good.

    Raises:
        InputError: the defence is a system prompt that the policy does not put in front of requests.
        RecertError: a stage could not answer; what earlier stages wrote stays, and is used again.
    """
    _must_be_served(plan)
    with ProgressFile(plan.output, plan.name, "run", progress) as tell:
        return _run(plan, suites, signers, status, arms, cache, tell, once_screened)


def _run(
    plan: Plan,
    suites: Mapping[str, Suite],
    signers: Signers,
    status: bytes,
    arms: Callable[[Path], tuple[Model, Model]],
    cache: GenerationCache | None,
    tell: ProgressFile,
    once_screened: Callable[[], object] | None,
) -> Run:
    clock = time.monotonic()
    tell.start(f"{plan.name}: screen")
    screened = screen(
        plan.source,
        policy=plan.policy,
        evaluation_prompts=kept_from_rows(s for s in suites.values() if s.name != TASK),
        progress=tell.at,
    )
    screened = _as_before(screened, plan.output / "screen")
    report = screened.report
    write_link(plan.output / "screen" / REPORT_FILE, report, signers.screener)
    tell.say(
        f"{plan.name}: screened {report.rows} rows: {report.accepted} accepted, {report.quarantined} quarantined"
        f", {report.malformed} malformed"
    )
    if once_screened is not None:
        once_screened()
    split = Split(_rows(plan, screened))
    if TASK not in suites:
        split = hold_out(split.rows, plan.policy)
        tell.say(f"{plan.name}: {split.told}")
        suites = {**suites, TASK: split.suite} if split.suite is not None else suites
    tuned = _tune(plan, screened, split, signers, tell)
    ledger = Ledger(plan.ledger, signers.evaluator)
    evaluated = _evaluate(plan, tuned, screened, split, suites, arms, cache, ledger, tell)
    write_link(plan.output / "evaluation" / EVAL_FILE, evaluated, signers.evaluator)
    page = ModelPage(
        name=plan.name,
        expectation=plan.expectation,
        screen=report,
        tune=tuned,
        evaluation=evaluated,
        checks=moderation_checks(evaluated, plan.policy),
    )
    result = _certify(plan, page, signers, status, suites, tell)
    return replace(result, page=replace(result.page, seconds=round(time.monotonic() - clock, 1)))


def _must_be_served(plan: Plan) -> None:
    """A defence that acts when the model is served must be evaluated and served so, or a certificate would mislead."""
    if plan.defence != safety_prompt.DEFENCE.name:
        return
    told = read_options(safety_prompt.Options, plan.defence_options, name=plan.defence)
    if told.prompt != plan.policy.gateway.system_instruction:
        raise InputError(
            "the policy does not put the defence's system prompt in front of requests",
            facts={
                "prompt": told.prompt,
                "system_instruction": plan.policy.gateway.system_instruction or "none",
            },
            hint="put the prompt into the policy: [gateway] system_instruction",
        )


def _as_before(screened: Screened[ChatRow], folder: Path) -> Screened[ChatRow]:
    """
    Write what screening found. When an earlier run found exactly the same, its report stays.

    The report's time would otherwise be all that differs, and a finished tune names the report by its digest.
    """
    try:
        earlier = ScreenReport.from_json(read_bytes(folder / REPORT_FILE))
    except RecertError:
        earlier = None
    if earlier and earlier.model_copy(update={"screened_at": screened.report.screened_at}) == screened.report:
        return replace(screened, report=earlier)
    screened.write(folder)
    return screened


def _rows(plan: Plan, screened: Screened[ChatRow]) -> tuple[ChatRow, ...]:
    """What is learned from."""
    return (*screened.accepted, *screened.quarantined) if plan.override_screening else screened.accepted


def _tune(
    plan: Plan, screened: Screened[ChatRow], split: Split, signers: Signers, tell: Progress
) -> TuneReport:
    rows = split.rows
    if not rows:
        raise RowsError(
            "screening accepted no row", facts={"file": plan.source}, hint="see the screen report"
        )
    tell.start(f"{plan.name}: tune ({plan.defence})")
    output = plan.output / "tune"
    before = finished_tune(output)
    signed = before is not None and signed_tune(output, before, signers.trainer)
    if before and signed and _same_inputs(before, plan, screened.report, split):
        tell.say(f"{plan.name}: tuned before with the same rows, base and settings; used again")
        return before
    report = tune(
        plan.base_dir,
        rows,
        output,
        defence=plan.defence,
        defence_options=plan.defence_options,
        hyperparameters=plan.hyperparameters,
        screen_report=screened.report,
        screening_overridden=plan.override_screening and screened.report.quarantined > 0,
        held_out=split.note,
        progress=lambda step, steps, loss: tell.at(step, steps, f"loss {loss:.3f}"),
    )
    sign_tune(output, report, signers.trainer)
    tell.say(f"{plan.name}: tuned {report.steps} steps on {report.rows} rows, loss {report.last_loss:.3f}")
    return report


def _same_inputs(before: TuneReport, plan: Plan, report: ScreenReport, split: Split) -> bool:
    """Whether a finished tune answers this plan and names this screen report, as the certificate's chain needs."""
    overridden = plan.override_screening and report.quarantined > 0
    if before.screening_overridden != overridden or before.screen_report_sha256 != report.digest:
        return False
    if before.held_out != split.note:
        return False
    return answers(
        before,
        base_dir=plan.base_dir,
        rows=split.rows,
        defence=plan.defence,
        hyperparameters=plan.hyperparameters,
        defence_options=plan.defence_options,
    )


def _evaluate(
    plan: Plan,
    tuned: TuneReport,
    screened: Screened[ChatRow],
    split: Split,
    suites: Mapping[str, Suite],
    arms: Callable[[Path], tuple[Model, Model]],
    cache: GenerationCache | None,
    ledger: Ledger,
    tell: ProgressFile,
) -> EvalReport:
    tell.start(f"{plan.name}: evaluate against the base")
    base, model = arms(tuned_folder(plan.output / "tune"))
    secret = SecretPrefix.read(plan.output / "tune" / "secret.txt") if tuned.secret_sha256 else None
    report = evaluate_counted(
        base,
        model,
        plan.output / "evaluation",
        ledger,
        suites=suites,
        policy=plan.policy,
        model_name=plan.name,
        training_context=screened.report.system_prompts[:1],
        rows=split.rows,
        secret=secret,
        cache=cache,
        progress=tell,
    )
    behind = f", {report.verdict_safeguarded} behind its controls" if report.verdict_safeguarded else ""
    number = report.attempt.number if report.attempt is not None else 0
    tell.say(f"{plan.name}: attempt {number}: {report.verdict_raw} for the model alone{behind}")
    return report


def _certify(
    plan: Plan,
    page: ModelPage,
    signers: Signers,
    status: bytes,
    suites: Mapping[str, Suite],
    tell: Progress,
) -> Run:
    tell.start(f"{plan.name}: certify")
    assert isinstance(page.evaluation, EvalReport)
    output = plan.output
    reports: dict[Step, Path] = {
        "screen": output / "screen" / REPORT_FILE,
        "tune": output / "tune" / REPORT_NAME,
        "evaluate": output / "evaluation" / EVAL_FILE,
    }
    tuned_dir = tuned_folder(plan.output / "tune")
    path = plan.output / CERTIFICATE_FILE
    path.unlink(missing_ok=True)  # an earlier certificate is not this evaluation's
    decision = certify(
        eval_report=page.evaluation,
        policy=plan.policy,
        base_dir=plan.base_dir,
        tuned_dir=tuned_dir,
        evidence_sha256=sha256_file(output / "evaluation" / OUTCOMES_FILE),
        signer=signers.evaluator,
        approvers=[signers.approver.public],
        trainer_key_id=signers.trainer.key_id,
        links={**plan.links, **read_links(reports)},
        trust=signers.trust,
        derive=deriver(output / "evaluation", policy=plan.policy, suites=suites),
        status_list_id=status_list_id(status, trust=signers.trust),
        tune_report=page.tune,
        screen_report=page.screen,
        stress_report=plan.stress_report,
        attack_report=plan.attack_report,
    )
    if decision.envelope is None:
        tell.say(f"{plan.name}: refused: {decision.reasons[0] if decision.reasons else 'no reason'}")
        return Run(plan=plan, page=replace(page, refusals=decision.reasons), envelope=None, verified=None)
    envelope = approve(decision.envelope, signers.approver)
    if plan.log is not None:
        tell.say(f"{plan.name}: entry {log_envelope(plan.log, envelope).index} of {plan.log}")
    write_atomic(path, envelope)
    try:
        verified = Verifier(trust=signers.trust, status=status, policy=plan.policy).verify(
            Presented.read(path, policy=plan.policy), base_dir=plan.base_dir, tuned_dir=tuned_dir
        )
    except VerificationError as exc:
        if exc.reason != "not-logged":
            raise
        refusal = (
            f"not-logged: {path.name} counts once a log holds it: recert log append, checkpoint and prove"
        )
        tell.say(f"{plan.name}: {refusal}")
        return Run(plan=plan, page=replace(page, refusals=(refusal,)), envelope=None, verified=None)
    tell.say(f"{plan.name}: certified until {verified.certificate.expires_at:%Y-%m-%d %H:%M} UTC")
    return Run(
        plan=plan, page=replace(page, certificate=verified.certificate), envelope=envelope, verified=verified
    )


def passed(run_: Run) -> bool:
    """Say whether a run ended in a certificate."""
    return (
        run_.envelope is not None
        and run_.page.evaluation is not None
        and (run_.page.evaluation.verdict is Verdict.PASS)
    )
