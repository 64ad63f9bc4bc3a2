"""
Watching a certified model: ask a random canary sample again, and compare with the certificate.

Renewal needs everything measured and within bounds. Whatever is missing can only make the outcome stricter,
and silence ends service: a certificate that nobody renews expires.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from recert.errors import InputError, ModelError, PolicyError
from recert.judges.coherence import CoherenceJudge
from recert.judges.protocol import ReplyJudge
from recert.judges.refusal import RefusalJudge
from recert.models.prompting import IMMUTABLE_SUFFIX, SYSTEM_INSTRUCTION
from recert.models.protocol import Model, Sampling
from recert.models.secret import SecretPrefix
from recert.monitoring.canary import ask, bad, canary_prompts, decide
from recert.policy import Policy
from recert.records import (
    CanaryResult,
    Certificate,
    Suite,
    VerifiedCertificate,
    WatchOutcome,
    WatchReport,
)
from recert.records import now as present

_STRICTNESS = (WatchOutcome.RENEW, WatchOutcome.WARN, WatchOutcome.SUSPEND)


def watch(
    certificate: VerifiedCertificate | Certificate,
    *,
    model: Model,
    suites: Mapping[str, Suite],
    policy: Policy,
    through: Literal["raw", "served"] = "raw",
    secret: SecretPrefix | None = None,
    refusal: ReplyJudge | None = None,
    coherence: ReplyJudge | None = None,
    draw: random.Random | None = None,
    now: datetime | None = None,
) -> WatchReport:
    """
    Say whether a model is still what was certified, and still as safe.

    For every rate in the certificate's canary, `policy.monitoring.canary_prompts` prompts of the suite are
    drawn by chance, asked greedily, judged, and their rate is compared with the certified one by an exact
    binomial test (`policy.monitoring.alpha`, shared among the rates, and `margin`).

    Args:
        certificate: what is compared with.
        model: the tuned model itself (`raw`), or an endpoint that leads through the gateway (`served`).
        suites: by name; every suite that the canary names.
        policy: the policy that the certificate names.
        through: which of the two `model` is.
        secret: for `raw`, where the certificate requires the secret prefix.
        refusal: judge of refusals; by default the one of evaluation.
        coherence: judge of coherence; by default the one of evaluation.
        draw: source of chance; by default the system's, so that nobody can prepare for the sample.
        now: the time; by default the present.

    Returns:
        `renew` when everything was measured, the files and fingerprint agree (`raw`) and every rate is within
        bounds; `suspend` when something is surely wrong or nothing answered; `warn` otherwise.

    Raises:
        PolicyError: the policy is not the one that the certificate names.
        InputError: the certificate requires a secret, and the right one was not given.
    """
    cert = certificate.certificate if isinstance(certificate, VerifiedCertificate) else certificate
    started = now or present()
    _require_policy(cert, policy)
    if through == "raw":
        _require_secret(cert, secret)
    matches, findings = _identity(cert, model) if through == "raw" else (None, [])
    if not cert.not_before <= started < cert.expires_at:
        findings.append((WatchOutcome.WARN, "the certificate is not valid at this time"))
    if not cert.canary:
        findings.append((WatchOutcome.WARN, "the certificate holds no canary to compare with"))

    asking = _Asking(model, policy, refusal or RefusalJudge(), coherence or CoherenceJudge())
    front = _in_front(cert, policy, through, secret)
    canaries, failed_probes = asking.all(cert, suites, draw or secrets.SystemRandom(), front)

    return WatchReport(
        serial=cert.serial,
        certificate_sha256=cert.digest,
        through=through,
        fingerprint_matches=matches,
        canaries=tuple(canaries),
        failed_probes=failed_probes,
        outcome=_strictest(canaries, findings),
        reasons=(
            *(said for _, said in findings),
            *(f"{c.estimand}: {c.reason}" for c in canaries if c.reason),
        ),
        started_at=started,
        watched_at=now or present(),
    )


@dataclass(frozen=True)
class _Asking:
    """What is asked, by which bounds, and who judges."""

    model: Model
    policy: Policy
    refusal: ReplyJudge
    coherence: ReplyJudge

    def all(
        self, cert: Certificate, suites: Mapping[str, Suite], draw: random.Random, front: dict[str, Any]
    ) -> tuple[list[CanaryResult], int]:
        """Ask a sample for every certified rate; return the results, and how many probes failed."""
        bounds = self.policy.monitoring
        canaries, failed_probes = [], 0
        for key, certified in sorted(cert.canary.items()):
            suite_name, _, estimand = key.rpartition("/")
            prompts = canary_prompts(suites.get(suite_name), estimand)
            sample = draw.sample(prompts, min(bounds.canary_prompts, len(prompts)))
            asked = ask(self.model, sample, _sampling(self.policy, estimand), **front)
            outcomes = [
                bad(one, estimand, refusal=self.refusal, coherence=self.coherence, policy=self.policy)
                for one in asked
            ]
            failed_probes += outcomes.count(None)
            alpha = bounds.alpha / len(cert.canary)
            canaries.append(decide(key, outcomes, certified, margin=bounds.margin, alpha=alpha))
        return canaries, failed_probes


def _sampling(policy: Policy, estimand: str) -> Sampling:
    bounds = policy.evaluation
    utility = estimand == "utility_loss"
    return Sampling(max_new_tokens=bounds.utility_max_new_tokens if utility else bounds.max_new_tokens)


def _in_front(cert: Certificate, policy: Policy, through: str, secret: SecretPrefix | None) -> dict[str, Any]:
    """The controls that the verdict holds behind, where the gateway, which has them, is not what is asked."""
    if through != "raw":
        return {"secret": None, "instruction": "", "suffix": ""}
    required, said = cert.required_controls, policy.gateway
    return {
        "secret": secret if "secret-prefix" in required else None,
        "instruction": said.system_instruction if SYSTEM_INSTRUCTION in required else "",
        "suffix": said.immutable_suffix if IMMUTABLE_SUFFIX in required else "",
    }


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
