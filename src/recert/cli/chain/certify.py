"""`recert certify`: draft a certificate and sign it as the evaluator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recert.cli.certifying.logged import Log, write_logged
from recert.cli.evaluating.made_of import Parent
from recert.cli.options import (
    DEFAULT_BASE,
    Base,
    BaseCertificate,
    BasePolicy,
    PolicyName,
    SignerCommand,
    Suites,
    Trust,
    Tuned,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recert.certification import CarriedFrom, CertifiedBase, CertifyDecision, ExceptionRequest, TrustStore
    from recert.records.signed.certificate import Step
    from recert.records.signed.input_distribution import InputDistribution

_OF_HOSTED = (
    "eval_report", "policy", "evidence_sha256", "signer", "approvers", "trainer_key_id", "links", "trust", "derive",
    "status_list_id",
)  # fmt: skip
_END = "give --except-until as 2027-01-31T00:00:00Z"

_Stress = Annotated[
    Path | None, typer.Option(help="`stress-report.json` of the base, where it was stressed.")
]
_Attack = Annotated[
    Path | None,
    typer.Option(help="`attack-report.json` of this model, where attackers conversed with it."),
]

_StatusList = Annotated[
    Path | None,
    typer.Option(
        "--status", help="Status list that can end the certificate; by default `status.json` beside --output."
    ),
]
_Links = Annotated[
    list[Path] | None,
    typer.Option(
        help="Signed link of a step, in place of the one beside its report (`tune.link.json`, ...); repeat it."
    ),
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
    trust: Trust,
    status: _StatusList = None,
    link: _Links = None,
    trainer: Annotated[
        Path | None, typer.Option(help="`.pub` file of who trained it, where no --tune-report says that.")
    ] = None,
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
    from recert.certification import TrustStore, load_public_key
    from recert.cli.certifying.signing import load_signed, load_signer
    from recert.cli.loading import load_suites
    from recert.evaluation.stage import REPORT_FILE
    from recert.policy import load_policy
    from recert.workflows.deriving import deriver

    bounds, trusted = load_policy(policy), TrustStore.load(trust)
    reports: dict[Step, Path | None] = {"tune": tune_report, "screen": screen_report, "stress": stress_report}
    reports |= {"evaluate": evaluation / REPORT_FILE, "attack": attack}
    decision = _decide(
        base,
        model,
        policy=bounds,
        evidence_sha256=_evidence(evaluation),
        signer=load_signer(key, signer_command),
        approvers=[load_public_key(path) for path in approver],
        trainer_key_id=load_public_key(trainer).key_id if trainer else None,
        trust=trusted,
        derive=deriver(evaluation, policy=bounds, suites=load_suites(suites or [])),
        status_list_id=_status_list_id(output, status, trusted),
        **load_signed(reports, link or []),
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
    from recert.records.signed.hosted_job import JOB_FILE
    from recert.workflows.connecting import read_job

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
    from recert.cli.certifying.signoff import draw_exceptions
    from recert.cli.printing import NO, talk

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


def _status_list_id(output: Path, given: Path | None, trust: TrustStore) -> str:
    """The id of the status list that the certificate will name."""
    from recert.certification.status.reading import status_list_id
    from recert.cli.loading import status_path
    from recert.errors import InputError
    from recert.store.files.writing import read_bytes

    path = status_path(output, given)
    if not path.exists():
        raise InputError(
            "a certificate names the status list that can end it, and there is none",
            facts={"status list": path},
            hint=f"give --status FILE, or issue one: recert status {path} --key status.pem --trust TRUST",
        )
    return status_list_id(read_bytes(path, "status list"), trust=trust)


def _inputs(traffic: Path | None, policy: str) -> InputDistribution | None:
    """How the policy's controls score the requests that are expected, where a sample of them is given."""
    from recert.cli.drawing import Drawn
    from recert.gateway.replaying.expected import expected_inputs, read_requests
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
    from recert.records.reports.evaluation import EvalReport
    from recert.workflows.evidence_reuse import COMPARISON

    if parent is None:
        return None
    return CarriedFrom(parent, load_record(EvalReport, folder / COMPARISON / REPORT_FILE))


def _certified(path: Path | None, trust: Path, policy: str | None) -> CertifiedBase | None:
    from recert.cli.certifying.signing import load_certified_base

    return load_certified_base(path, trust, policy) if path is not None else None


def _evidence(folder: Path) -> str:
    """The digest of the evidence that an evaluation's report was made from."""
    from recert.cli.loading import load_record
    from recert.digest import sha256_file
    from recert.errors import RecordError
    from recert.evaluation.stage import OUTCOMES_FILE, REPORT_FILE
    from recert.records.reports.evaluation import EvalReport

    report = load_record(EvalReport, folder / REPORT_FILE)
    evidence_sha256 = sha256_file(folder / OUTCOMES_FILE)
    if evidence_sha256 != report.outcomes_sha256:
        raise RecordError(
            "the evidence is not what the report was made from",
            facts={"in the report": report.outcomes_sha256, "on disk": evidence_sha256},
            hint="evaluate again",
        )
    return evidence_sha256


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
