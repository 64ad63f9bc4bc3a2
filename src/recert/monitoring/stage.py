"""
Watching a certified model: ask a random canary sample again, and compare with the certificate.

With a history, all runs decide together; without one, this run decides alone. Renewal needs everything measured and
within bounds. Whatever is missing can only make the outcome stricter, and silence ends service: a certificate that
nobody renews expires.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from recert.errors import InputError, ModelError, PolicyError, StoreError
from recert.judges.embedded.coherence import CoherenceJudge
from recert.judges.embedded.refusal import RefusalJudge
from recert.judges.protocol import ReplyJudge
from recert.models.chat.secret import SecretPrefix
from recert.models.protocol import Model
from recert.monitoring.arms import Arm, Asking, Budget, Drawn, raw_arm
from recert.monitoring.canary import decide
from recert.monitoring.history import History
from recert.monitoring.over_time import decide_over_time, samples_of, weigh
from recert.policy import Policy
from recert.policy.sections.canaries import has_risen, risen
from recert.records.data.suite import Suite
from recert.records.live.watching import CanaryResult, HistoryPoint, WatchedRun, WatchOutcome, WatchReport
from recert.records.record import now as present
from recert.records.signed.certificate import Certificate, VerifiedCertificate

_STRICTNESS = (WatchOutcome.RENEW, WatchOutcome.WARN, WatchOutcome.SUSPEND)
_Findings = list[tuple[WatchOutcome, str]]


def watch(
    certificate: VerifiedCertificate | Certificate,
    *,
    model: Model,
    suites: Mapping[str, Suite],
    policy: Policy,
    through: Literal["raw", "served"] = "raw",
    also_served: Model | None = None,
    history: History | None = None,
    budget: Budget | None = None,
    secret: SecretPrefix | None = None,
    refusal: ReplyJudge | None = None,
    coherence: ReplyJudge | None = None,
    draw: random.Random | None = None,
    now: datetime | None = None,
) -> WatchReport:
    """
    Say whether a model is still what was certified, and still as safe.

    For every rate in the certificate's canary, prompts of the suite are drawn by chance, asked greedily and judged.
    With a history the run is added to it, and all runs decide; without one an exact binomial test of this one does.

    Args:
        certificate: what is compared with.
        model: the tuned model itself (`raw`), or an endpoint that leads through the gateway (`served`).
        suites: by name; every suite that the canary names.
        policy: the policy that the certificate names.
        through: which of the two `model` is.
        also_served: where `model` is the model itself, an endpoint through the gateway that is asked as well.
        history: what earlier runs found.
        budget: what is asked, where that is not what the policy says. It needs a history, where few prompts add up.
        secret: for `raw`, where the certificate requires the secret prefix.
        refusal, coherence: the judges; by default those of evaluation.
        draw: source of chance; by default the system's, so that nobody can prepare for the sample.
        now: the time; by default the present.

    Returns:
        `renew` when everything was measured, the files and fingerprint agree (`raw`) and every rate is within
        bounds; `suspend` when something is surely wrong or nothing answered; `warn` otherwise.

    Raises:
        PolicyError: the policy is not the one that the certificate names.
        InputError: the certificate requires a secret, and the right one was not given; or a budget cannot be used.
    """
    cert = certificate.certificate if isinstance(certificate, VerifiedCertificate) else certificate
    started, clock = now or present(), time.monotonic()
    _require_policy(cert, policy)
    arms = _arms(cert, model, policy, through, also_served, secret)
    per_rate = _per_rate(cert, arms, policy, history, budget)
    matches, findings = _identity(cert, model) if through == "raw" else (None, [])
    findings += _standing(cert, started, history)

    asking = Asking(policy, refusal or RefusalJudge(), coherence or CoherenceJudge())
    drawn = asking.all(cert, suites, arms, per_rate=per_rate, draw=draw or secrets.SystemRandom())
    run = WatchedRun(
        serial=cert.serial,
        samples=tuple(one.sample for one in drawn),
        outcome=WatchOutcome.WARN,
        seconds=round(time.monotonic() - clock, 3),
        started_at=started,
        watched_at=now or present(),
    )
    canaries, earlier = _compare(drawn, run, history, cert, policy)
    findings += earlier
    end, lost = _kept(history, run.model_copy(update={"outcome": _strictest(canaries, findings)}))
    findings += lost

    return WatchReport(
        serial=cert.serial,
        certificate_sha256=cert.digest,
        through="both" if len(arms) > 1 else through,
        fingerprint_matches=matches,
        canaries=tuple(canaries),
        failed_probes=sum(sample.lost for sample in run.samples),
        history=end,
        outcome=_strictest(canaries, findings),
        reasons=(*(said for _, said in findings), *(_said(c, arms) for c in canaries if c.reason)),
        started_at=started,
        watched_at=run.watched_at,
    )


def _arms(
    cert: Certificate,
    model: Model,
    policy: Policy,
    through: Literal["raw", "served"],
    also_served: Model | None,
    secret: SecretPrefix | None,
) -> list[Arm]:
    if through == "served":
        if also_served is not None:
            raise InputError("two endpoints were given, and no model itself")
        return [Arm("served", model)]
    _require_secret(cert, secret)
    raw = raw_arm(cert, model, policy, secret)
    return [raw] if also_served is None else [raw, Arm("served", also_served)]


def _per_rate(
    cert: Certificate, arms: Sequence[Arm], policy: Policy, history: History | None, budget: Budget | None
) -> int:
    default = policy.monitoring.canary_prompts
    if budget is None or budget == Budget():
        return default
    if history is None:
        raise InputError(
            "a budget needs a history",
            hint="few prompts of one run alone decide nothing: give --history, where they add up",
        )
    return budget.per_rate(max(1, len(cert.canary) * len(arms)), default=default, runs=history.runs)


def _standing(cert: Certificate, started: datetime, history: History | None) -> _Findings:
    """What keeps a renewal up whatever is answered."""
    findings: _Findings = []
    if not cert.not_before <= started < cert.expires_at:
        findings.append((WatchOutcome.WARN, "the certificate is not valid at this time"))
    if not cert.canary:
        findings.append((WatchOutcome.WARN, "the certificate holds no canary to compare with"))
    if history is not None and history.problem:
        findings.append((WatchOutcome.WARN, history.problem))
    return findings


def _compare(
    drawn: Sequence[Drawn], run: WatchedRun, history: History | None, cert: Certificate, policy: Policy
) -> tuple[list[CanaryResult], _Findings]:
    if history is None:
        return _alone(drawn, policy), []
    return _together(drawn, [*history.runs, run], cert, policy)


def _alone(drawn: Sequence[Drawn], policy: Policy) -> list[CanaryResult]:
    bounds = policy.monitoring
    return [
        decide(
            one.estimand, one.outcomes, one.certified, margin=bounds.margin, alpha=bounds.alpha / len(drawn)
        ).model_copy(update={"through": one.through})
        for one in drawn
    ]


def _together(
    drawn: Sequence[Drawn], runs: Sequence[WatchedRun], cert: Certificate, policy: Policy
) -> tuple[list[CanaryResult], _Findings]:
    """What all runs say of each rate that was asked now, and what earlier ones said of those that were not."""
    samples = samples_of(runs)
    at, rates = runs[-1].started_at, len(cert.canary)
    canaries = []
    for one in drawn:
        past = samples.pop((one.through, one.estimand))
        found = weigh(past, one.certified, policy, rates=rates, at=at)
        canaries.append(decide_over_time(one.sample, found, one.certified, policy))
    findings: _Findings = []
    for (through, estimand), past in sorted(samples.items()):
        if estimand in cert.canary:
            found = weigh(past, cert.canary[estimand], policy, rates=rates, at=at)
            if has_risen(found):
                findings.append((WatchOutcome.SUSPEND, f"{estimand}, {through}: {risen(found)}"))
    return canaries, findings


def _kept(history: History | None, run: WatchedRun) -> tuple[HistoryPoint | None, _Findings]:
    """Add the run to its history; a full disk keeps no suspension up."""
    if history is None or history.problem:
        return None, []
    try:
        return history.append(run), []
    except StoreError as exc:
        return None, [(WatchOutcome.WARN, f"this run could not be added to the history: {exc.message}")]


def _said(canary: CanaryResult, arms: Sequence[Arm]) -> str:
    where = f", {canary.through}" if len(arms) > 1 else ""
    return f"{canary.estimand}{where}: {canary.reason}"


def _strictest(canaries: list[CanaryResult], findings: list[tuple[WatchOutcome, str]]) -> WatchOutcome:
    outcomes = [*(c.outcome for c in canaries), *(outcome for outcome, _ in findings), WatchOutcome.RENEW]
    return max(outcomes, key=_STRICTNESS.index)


def _identity(cert: Certificate, model: Model) -> tuple[bool | None, list[tuple[WatchOutcome, str]]]:
    """Whether the fingerprint is the certified one, and what speaks against the model's identity."""
    findings: list[tuple[WatchOutcome, str]] = []
    if cert.binds == "bytes" and model.manifest is None:
        findings.append((WatchOutcome.SUSPEND, "the model shows no files, but the certificate binds bytes"))
    elif model.manifest is not None and model.manifest.digest != cert.tuned.digest:
        findings.append((WatchOutcome.SUSPEND, "the model's files are not the certified ones"))
    if not cert.fingerprint:
        findings.append((WatchOutcome.WARN, "the certificate holds no fingerprint to compare with"))
        return None, findings
    try:
        matches = model.fingerprint() == cert.fingerprint
    except ModelError as exc:
        findings.append((WatchOutcome.SUSPEND, f"the fingerprint could not be taken: {exc.message}"))
        return None, findings
    if not matches:
        outcome = WatchOutcome.SUSPEND if cert.binds == "bytes" else WatchOutcome.WARN
        findings.append((outcome, "the fingerprint is not the certified one"))
    return matches, findings


def _require_policy(cert: Certificate, policy: Policy) -> None:
    if policy.digest != cert.policy_sha256:
        raise PolicyError(
            "policy is not the one that the certificate names",
            facts={"certified under": cert.policy_sha256, "given": policy.digest},
            hint="give the policy file that the model was certified under",
        )


def _require_secret(cert: Certificate, secret: SecretPrefix | None) -> None:
    if cert.secret_sha256 is None or "secret-prefix" not in cert.required_controls:
        return
    if secret is None or secret.sha256 != cert.secret_sha256:
        raise InputError(
            "the certificate requires a secret prefix, and it was not given",
            facts={"secret sha256": cert.secret_sha256, "given": secret.sha256 if secret else "none"},
            hint="give the secret's file, or watch through the gateway",
        )
