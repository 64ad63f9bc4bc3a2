"""`recert certify`: draft a certificate and sign it as the evaluator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recert.cli.logged import Log, write_logged
from recert.cli.made_of import Parent
from recert.cli.options import (
    DEFAULT_BASE,
    Base,
    BaseCertificate,
    BasePolicy,
    PolicyName,
    SignerCommand,
    Suites,
    Tuned,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recert.certification import CarriedFrom, CertifiedBase, CertifyDecision, ExceptionRequest
    from recert.policy import Policy
    from recert.records import EvalReport, InputDistribution

_OF_HOSTED = ("eval_report", "policy", "evidence_sha256", "signer", "approvers", "trainer_key_id")
_END = "give --except-until as 2027-01-31T00:00:00Z"

_Stress = Annotated[
    Path | None, typer.Option(help="`stress-report.json` of the base, where it was stressed.")
]
_Attack = Annotated[
    Path | None,
    typer.Option(help="`attack-report.json` of this model, where attackers conversed with it."),
]

_Traffic = Annotated[
    Path | None,
    typer.Option(
        help="Sample of the requests that are expected, `.jsonl` or one a line; bins of scores are kept, no text."
    ),
]


def certify(
    *,
    evaluation: Annotated[Path, typer.Argument(help="Folder written by `recert evaluate`.")],
    model: Tuned,
    key: Annotated[Path, typer.Option(help="The evaluator's private key.")],
    signer_command: SignerCommand = None,
    approver: Annotated[
        list[Path], typer.Option(help="`.pub` file of everyone else who must sign; repeat it.")
    ],
    output: Annotated[Path, typer.Option(help="Where the certificate is written.")],
    trainer: Annotated[Path | None, typer.Option(help="`.pub` file of who trained it.")] = None,
    base: Base = DEFAULT_BASE,
    policy: PolicyName = "default",
    suites: Suites = None,
    tune_report: Annotated[
        Path | None, typer.Option(help="`tune-report.json`, where it was tuned here.")
    ] = None,
    screen_report: Annotated[
        Path | None, typer.Option(help="`screen-report.json`, where rows were screened.")
    ] = None,
    stress_report: _Stress = None,
    attack: _Attack = None,
    traffic: _Traffic = None,
    supersedes: Annotated[
        str | None, typer.Option(help="Serial of an earlier certificate of this model.")
    ] = None,
    base_certificate: BaseCertificate = None,
    base_policy: BasePolicy = None,
    parent: Parent = None,
    trust: Annotated[
        Path | None,
        typer.Option(help="Trusted keys, by which the base's or parent's certificate is verified."),
    ] = None,
    excepted: Annotated[
        list[str] | None,
        typer.Option(
            "--except",
            metavar="RULE[@CONDITION]",
            help="Accept a rule's results that are no pass, as the policy allows; needs a risk owner as --approver.",
        ),
    ] = None,
    except_reason: Annotated[str, typer.Option(help="Why they are accepted.")] = "",
    except_until: Annotated[
        str, typer.Option(help="Until when they are accepted, as `2027-01-31T00:00:00Z`.")
    ] = "",
    log: Log = None,
) -> None:
    """
    Certify what passed evaluation, as the evaluator, once its verdict was derived from its outcomes again.

    Exit 0: drafted, 1: refused with reasons, 2: no answer.
    """
    from recert.certification import load_public_key
    from recert.cli.loading import load_record
    from recert.cli.signing import load_signer
    from recert.policy import load_policy
    from recert.records import AttackReport, ScreenReport, StressReport, TuneReport

    report, evidence_sha256 = _evaluation(evaluation)
    _require_derived(report, evaluation, bounds := load_policy(policy), suites or [])
    decision = _decide(
        base,
        model,
        eval_report=report,
        policy=bounds,
        evidence_sha256=evidence_sha256,
        signer=load_signer(key, signer_command),
        approvers=[load_public_key(path) for path in approver],
        trainer_key_id=load_public_key(trainer).key_id if trainer else None,
        tune_report=load_record(TuneReport, tune_report) if tune_report else None,
        screen_report=load_record(ScreenReport, screen_report) if screen_report else None,
        stress_report=load_record(StressReport, stress_report) if stress_report else None,
        attack_report=load_record(AttackReport, attack) if attack else None,
        supersedes=supersedes,
        exceptions=_requests(excepted or [], except_reason, except_until),
        certified_base=_certified(base_certificate, trust, base_policy),
        carried_from=_carried_from(_certified(parent, trust, policy), evaluation),
        inputs=_inputs(traffic, policy),
    )
    _write(decision, output, log)


def _decide(base: str, model: Path, **asked: Any) -> CertifyDecision:
    """Certify files against the base's, or a vendor's model by its job, where its folder holds that."""
    from recert.certification import certify as certify_model
    from recert.certification.hosted import certify_hosted
    from recert.cli.loading import load_base
    from recert.errors import InputError
    from recert.pipeline.connecting import read_job
    from recert.records.hosted_job import JOB_FILE

    if not (model / JOB_FILE).is_file():
        return certify_model(base_dir=load_base(base), tuned_dir=model, **asked)
    taken = {name: asked.pop(name) for name in _OF_HOSTED}
    if any(asked.values()):
        raise InputError(
            "a vendor's model is certified on its evaluation and its job alone",
            facts={"given": ", ".join(sorted(name for name, one in asked.items() if one))},
            hint="leave out reports, --traffic, --supersedes, --base-certificate, --parent and --except",
        )
    return certify_hosted(job=read_job(model), **taken)


def _write(decision: CertifyDecision, output: Path, log: Path | None) -> None:
    """Write the draft and say who is still to sign, or say every reason why there is none."""
    from recert.certification import read_unverified
    from recert.cli.printing import NO, talk
    from recert.cli.signoff import draw_exceptions

    if decision.envelope is None:
        for reason in decision.reasons:
            typer.echo(reason)
        raise typer.Exit(NO)
    write_logged(output, decision.envelope, log)
    drafted = read_unverified(decision.envelope)
    draw_exceptions(drafted.exceptions or ())
    waiting = ", ".join(f"{a.role} {a.name or a.key_id[:12]}" for a in drafted.approvals[1:])
    talk().print(f"still to sign with `recert approve {output}`: {waiting}", soft_wrap=True)
    typer.echo(output)


def _inputs(traffic: Path | None, policy: str) -> InputDistribution | None:
    """How the policy's controls score the requests that are expected, where a sample of them is given."""
    from recert.cli.drawing import Drawn
    from recert.gateway.expected import expected_inputs, read_requests
    from recert.policy import load_policy

    if traffic is None:
        return None
    bounds = load_policy(policy).gateway
    requests = read_requests(traffic, bounds)
    with Drawn() as drawn:
        drawn.start("expected requests")
        return expected_inputs(requests, bounds, progress=lambda done: drawn.at(done, len(requests)))


def _carried_from(parent: CertifiedBase | None, folder: Path) -> CarriedFrom | None:
    """The parent's certificate and the comparison with it, where the evaluation was made with one."""
    from recert.certification import CarriedFrom
    from recert.cli.loading import load_record
    from recert.evaluation.stage import REPORT_FILE
    from recert.pipeline.carrying import COMPARISON
    from recert.records import EvalReport

    if parent is None:
        return None
    return CarriedFrom(parent, load_record(EvalReport, folder / COMPARISON / REPORT_FILE))


def _certified(path: Path | None, trust: Path | None, policy: str | None) -> CertifiedBase | None:
    from recert.cli.signing import load_certified_base
    from recert.errors import InputError

    if path is None:
        return None
    if trust is None:
        raise InputError(
            "nobody can say whether that certificate holds", facts={"certificate": path}, hint="give --trust"
        )
    return load_certified_base(path, trust, policy)


def _evaluation(folder: Path) -> tuple[EvalReport, str]:
    """An evaluation's report, and the digest of the evidence that it was made from."""
    from recert.cli.loading import load_record
    from recert.digest import sha256_file
    from recert.errors import RecordError
    from recert.evaluation.stage import OUTCOMES_FILE, REPORT_FILE
    from recert.records import EvalReport

    report = load_record(EvalReport, folder / REPORT_FILE)
    evidence_sha256 = sha256_file(folder / OUTCOMES_FILE)
    if evidence_sha256 != report.outcomes_sha256:
        raise RecordError(
            "the evidence is not what the report was made from",
            facts={"in the report": report.outcomes_sha256, "on disk": evidence_sha256},
            hint="evaluate again",
        )
    return report, evidence_sha256


def _require_derived(report: EvalReport, folder: Path, policy: Policy, suites: Sequence[str]) -> None:
    """Say why a report does not follow from its outcomes, and end with no."""
    from recert.cli.loading import load_suites
    from recert.cli.printing import NO
    from recert.pipeline.deriving import deriver

    reasons = deriver(folder, policy=policy, suites=load_suites(suites))(report)
    for reason in reasons:
        typer.echo(reason)
    if reasons:
        raise typer.Exit(NO)


def _requests(rules: Sequence[str], reason: str, until: str) -> list[ExceptionRequest]:
    """What is to be excepted, from what was typed."""
    from datetime import datetime

    from recert.certification import ExceptionRequest
    from recert.errors import InputError

    if not rules:
        if reason or until:
            raise InputError("nothing is named that is to be excepted", hint="give --except RULE")
        return []
    if not reason.strip():
        raise InputError("an exception needs a reason", hint="give --except-reason")
    try:
        ends = datetime.fromisoformat(until)
    except ValueError as exc:
        raise InputError("an exception needs an end", facts={"given": until}, hint=_END) from exc
    if ends.tzinfo is None:
        raise InputError("the end of an exception has no UTC offset", facts={"given": until}, hint=_END)
    named = [(rule, condition) for rule, _, condition in (given.partition("@") for given in rules)]
    return [ExceptionRequest(rule, reason.strip(), ends, condition) for rule, condition in named]
