"""One watch from beginning to end: verify, ask, stop or suspend, write the report, renew, tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from recert import settings
from recert.certification import SigningKey, TrustStore, read_refusals, renew, suspend, verify
from recert.certification.log.logged import log_envelope
from recert.certification.signing.issued import HeldMemory, hold_memory
from recert.certification.signing.links import read_links, write_link
from recert.certification.signing.refusals import FOLDER
from recert.errors import GatewayError, InputError, RecertError, RecordError, StoreError
from recert.gateway.access.kill_switch import give, make_order, read_orders
from recert.models.chat.secret import SecretPrefix
from recert.models.engines.engines import folder_arms
from recert.models.remote.endpoint import EndpointModel
from recert.monitoring import watch
from recert.monitoring.arms import Budget
from recert.monitoring.history import History, begin_history, held, read_history
from recert.policy import Policy
from recert.records.data.suite import Suite
from recert.records.live.orders import StandingOrders
from recert.records.live.watching import HistoryPoint, WatchOutcome, WatchReport
from recert.records.signed.certificate import STEP_ROLES, Certificate, VerifiedCertificate
from recert.store.files.writing import read_bytes, write_atomic
from recert.workflows.deploy.promotion import with_order
from recert.workflows.watching.notices import Notices


@dataclass(frozen=True)
class WatchPlan:
    """
    What is watched, and what is done about what is seen.

    Args:
        certificate: its file.
        status: the status list's file.
        read_status: gives the newest status list, or None where there is none.
        base_dir: the base model's folder.
        tuned_dir: the tuned model's folder.
        trust: whose signatures count.
        policy: the policy that the certificate names.
        suites: by name.
        output: where the report is written.
        url: the gateway's address; empty where the model itself is asked.
        raw: ask the model itself, beside the gateway or alone.
        secret: for the model itself, where the certificate requires it.
        history: the file of earlier runs; None to decide by one run alone.
        begin: make that file, for a certificate that was not watched before.
        budget: what one run may ask.
        status_key: suspends in the status list.
        stop_state: state folder of a gateway that is to stop serving the model.
        key: the watcher's, which signs each report in a link beside it; None leaves reports unsigned.
        renew_with: keys that sign a renewal; empty for none. It needs a signed report.
        renewed: where a renewal is written; by default over the certificate.
        notices: who is told.
        refusals: folder of refusals; by default `refusals` beside the certificate.
        log: transparency log that status lists and renewals are appended to before they are written.

    Raises:
        SigningKeyError: the status key does not sign status lists, or the watcher's has another role.
        InputError: there is no such state folder, or renewals are wanted of reports that nobody signs.
    """

    certificate: Path
    status: Path
    read_status: Callable[[], bytes | None]
    base_dir: Path
    tuned_dir: Path
    trust: TrustStore
    policy: Policy
    suites: Mapping[str, Suite]
    output: Path
    url: str = ""
    raw: bool = True
    secret: SecretPrefix | None = None
    history: Path | None = None
    begin: bool = False
    budget: Budget | None = None
    status_key: SigningKey | None = None
    stop_state: Path | None = None
    key: SigningKey | None = None
    renew_with: Sequence[SigningKey] = ()
    renewed: Path | None = None
    notices: Notices = field(default_factory=Notices)
    refusals: Path | None = None
    log: Path | None = None

    def read_refusals(self) -> tuple[bytes, ...]:
        """
        Return what is said against certificates now. A folder that was given must be there.

        Raises:
            StoreError: it cannot be read.
        """
        return read_refusals(
            self.refusals or self.certificate.parent / FOLDER, required=self.refusals is not None
        )

    def __post_init__(self) -> None:
        if self.status_key is not None:
            self.status_key.require_role("status")
        if self.key is not None:
            self.key.require_role(STEP_ROLES["watch"])
        elif self.renew_with:
            raise InputError(
                "a watch that nobody signs renews nothing",
                hint="give the key of a watcher: --key watcher.pem",
            )
        if self.stop_state is not None and not self.stop_state.is_dir():
            raise InputError(
                "no such state folder: nobody could be stopped",
                facts={"state": self.stop_state},
                hint="give the folder that the gateway was started with: --state",
            )


@dataclass(frozen=True)
class Watched:
    """What a watch came to: its report, what was done about it, what could not be done, and who could not be told."""

    report: WatchReport
    did: tuple[str, ...]
    failed: tuple[RecertError, ...]
    untold: tuple[str, ...]


def watch_once(plan: WatchPlan, *, hold: bool = True) -> Watched:
    """
    Watch now, and act.

    A suspension comes first, by order and by status list, each whether or not the other could be given; then the
    report, then a renewal, and at the end whoever is to be told.

    Args:
        plan: what is watched, and what is done.
        hold: keep the history to this watch meanwhile; False where the caller does.

    Raises:
        VerificationError: the certificate does not hold.
        RecertError: nothing could be answered.
    """
    with held(plan.history) if hold and plan.history else nullcontext():
        verified = what_holds(plan)
        history = _history(plan, verified.certificate)
        report = _ask(plan, verified, history)
        return _act(plan, verified.certificate, report)


def what_holds(plan: WatchPlan) -> VerifiedCertificate:
    """
    Return the certificate, verified now.

    Raises:
        VerificationError: it does not hold.
        RecertError: a file cannot be read.
    """
    return verify(
        read_bytes(plan.certificate, "certificate"),
        base_dir=plan.base_dir,
        tuned_dir=plan.tuned_dir,
        trust=plan.trust,
        status=plan.read_status(),
        policy=plan.policy,
        refusals=plan.read_refusals(),
    )


def _ask(plan: WatchPlan, verified: VerifiedCertificate, history: History | None) -> WatchReport:
    name = verified.certificate.model_name
    served = EndpointModel(plan.url, name, api_key=settings.endpoint_key()) if plan.url else None
    asked: dict[str, Any] = {
        "suites": plan.suites, "policy": plan.policy, "history": history, "budget": plan.budget
    }  # fmt: skip
    if served is not None and not plan.raw:
        return watch(verified, model=served, through="served", **asked)
    raw = folder_arms(plan.base_dir, plan.tuned_dir)[1]
    return watch(verified, model=raw, also_served=served, secret=plan.secret, **asked)


def _history(plan: WatchPlan, certificate: Certificate) -> History | None:
    if plan.history is None:
        return None
    if plan.begin:
        return begin_history(plan.history, certificate)
    return read_history(plan.history, certificate, seen=_seen(plan.output, certificate))


def _seen(output: Path, certificate: Certificate) -> HistoryPoint | None:
    """Where the last report says that the history stood, where it is still there and of this certificate."""
    try:
        earlier = WatchReport.from_json(read_bytes(output))
    except (RecordError, StoreError):
        return None
    return earlier.history if earlier.serial in (certificate.serial, *certificate.lineage) else None


def _act(plan: WatchPlan, certificate: Certificate, report: WatchReport) -> Watched:
    did: list[str] = []
    failed: list[RecertError] = []

    def attempt(step: Callable[[], str]) -> bool:
        try:
            done = step()
        except RecertError as exc:
            failed.append(exc)
            return False
        did.extend([done] if done else [])
        return True

    if report.outcome is WatchOutcome.SUSPEND:
        attempt(lambda: _stop(plan, certificate, report))
        attempt(lambda: _suspend(plan, report))
    written = attempt(lambda: _write(plan, report))
    if report.outcome is WatchOutcome.RENEW and written:
        attempt(lambda: _renew(plan, certificate, report))
    untold = plan.notices.send(
        report, model=certificate.model_name, did=did, failed=[exc.message for exc in failed]
    )
    return Watched(report, tuple(did), tuple(failed), tuple(untold))


def _write(plan: WatchPlan, report: WatchReport) -> str:
    write_atomic(plan.output, report.to_json())
    write_link(plan.output, report, plan.key)
    return ""


def _why(report: WatchReport) -> str:
    return "; ".join(report.reasons) or "watching found it changed"


def _stop(plan: WatchPlan, certificate: Certificate, report: WatchReport) -> str:
    if plan.stop_state is None:
        return ""
    name = certificate.model_name
    order = make_order("stop", name, _why(report), serial=report.serial, watch_report_sha256=report.digest)
    standing = read_orders(plan.stop_state)
    told: StandingOrders = standing.model_copy(update={"orders": tuple(with_order(standing.orders, order))})
    confirmed = give(plan.stop_state, told)
    if confirmed is False:
        raise GatewayError(
            "not-confirmed",
            "the order to stop is written, and the gateway has not said that it obeys",
            facts={"state": plan.stop_state},
            hint="look at its /status; end the process if in doubt",
        )
    return f"stopped {name}" if confirmed else f"stopped {name}: no gateway runs on that folder now"


def _suspend(plan: WatchPlan, report: WatchReport) -> str:
    if plan.status_key is None:
        return ""
    try:
        with hold_memory() as memory:
            logged = _issue(plan, plan.status_key, report, memory)
    except (StoreError, RecordError):
        _issue(plan, plan.status_key, report, None)  # what cannot be remembered keeps no suspension up either
        raise
    if isinstance(logged, RecertError):
        raise logged
    return f"suspended {report.serial} in {plan.status}{logged}"


def _issue(
    plan: WatchPlan, key: SigningKey, report: WatchReport, memory: HeldMemory | None
) -> str | RecertError:
    """Suspend on the list as it is now, since watching takes its time; an older one than was issued stops nothing."""
    listed = suspend(
        plan.read_status(),
        report.serial,
        _why(report),
        key=key,
        trust=plan.trust,
        validity_hours=plan.policy.certification.status_validity_hours,
        policy=plan.policy,
        memory=memory,
        recover=memory is not None,
    )
    logged = _logged(plan, listed)
    write_atomic(plan.status, listed)  # whether or not a log has it: a log that fails keeps no suspension up
    return logged


def _logged(plan: WatchPlan, envelope: bytes) -> str | RecertError:
    """Append to the log, where there is one: words for it, or why it could not be."""
    if plan.log is None:
        return ""
    try:
        return f", entry {log_envelope(plan.log, envelope).index} of {plan.log}"
    except RecertError as exc:
        return exc


def _renew(plan: WatchPlan, certificate: Certificate, report: WatchReport) -> str:
    if not plan.renew_with:
        return ""
    hours = plan.policy.certification.validity_hours * plan.policy.monitoring.renew_when_left
    if certificate.expires_at - report.watched_at > timedelta(hours=hours):
        return ""
    target = plan.renewed or plan.certificate
    renewed = renew(
        read_bytes(plan.certificate, "certificate"),
        report,
        link=read_links({"watch": plan.output})["watch"],
        signers=plan.renew_with,
        policy=plan.policy,
        trust=plan.trust,
        status=plan.read_status(),
        refusals=plan.read_refusals(),
    )
    logged = _logged(plan, renewed)
    if isinstance(logged, RecertError):
        raise logged  # a renewal that no log has is not written: where logging is required it would be refused
    write_atomic(target, renewed)
    return f"renewed in {target}{logged}"
