"""What a certificate requires of what its model is served with: policy, secret, controls."""

from __future__ import annotations

import logging
from collections.abc import Collection

from recert.errors import GatewayError
from recert.gateway.audio.hearing import TRANSCRIPTION
from recert.gateway.controls import SECRET_PREFIX, Controls
from recert.gateway.engines.model_config import ModelConfig
from recert.models.chat.secret import SecretPrefix
from recert.policy import Policy
from recert.records.reports.evaluation import Verdict
from recert.records.signed.certificate import Certificate

log = logging.getLogger("recert.gateway")


def require(offer: ModelConfig) -> None:
    """
    Return when a model may be served with what is offered.

    Args:
        offer: the model, and all that it is to be served with.

    Raises:
        GatewayError: the policy is another one, the secret is missing or not wanted, or a control that the certificate
            requires is not there or does not act; `reason` says which.
    """
    certificate = offer.certificate.certificate
    _require_policy(certificate, offer.policy)
    _require_secret(certificate, offer.secret)
    further = (TRANSCRIPTION,) if offer.transcriber is not None else ()
    _require_controls(certificate, offer.controls, further)


def _require_policy(certificate: Certificate, policy: Policy) -> None:
    if policy.digest != certificate.policy_sha256:
        raise GatewayError(
            "wrong-policy",
            "the policy is not the one that the certificate names",
            facts={
                "certified": f"{certificate.policy_id} sha256:{certificate.policy_sha256}",
                "given": f"{policy.id} sha256:{policy.digest}",
            },
            hint="serve with the policy that the model was certified under",
        )
    decides = certificate.verdict_safeguarded if certificate.required_controls else certificate.verdict_raw
    for exception in certificate.exceptions or ():  # verify() has accepted each that is needed
        log.warning(
            "EXCEPTION: %s under %s is %s and is accepted until %s because: %s",
            exception.rule_id,
            exception.condition,
            exception.verdict,
            exception.expires_at.isoformat(),
            exception.reason,
        )
    if decides is not Verdict.PASS and not certificate.exceptions:
        raise GatewayError("not-passed", "the certificate's verdict is no pass", facts={"verdict": decides})


def _require_secret(certificate: Certificate, secret: SecretPrefix | None) -> None:
    required = SECRET_PREFIX in certificate.required_controls
    if required and secret is None:
        raise GatewayError(
            "secret-missing",
            "the certificate requires the secret prefix",
            hint="give the secret file that tuning wrote",
        )
    if secret is None:
        return
    if not required:
        raise GatewayError(
            "secret-not-required",
            "the certificate was given without a secret prefix",
            hint="serve without the secret: what was evaluated is the model without it",
        )
    if secret.sha256 != certificate.secret_sha256:
        raise GatewayError(
            "wrong-secret",
            "the secret is not the one that the certificate names",
            facts={"certified": f"sha256:{certificate.secret_sha256}", "given": f"sha256:{secret.sha256}"},
        )


def _require_controls(certificate: Certificate, controls: Controls, further: Collection[str]) -> None:
    missing = sorted(set(certificate.required_controls) - {*controls.active, *further})
    if missing:
        raise GatewayError(
            "control-missing",
            "a control that the certificate requires is not active",
            facts={
                "missing": ", ".join(missing),
                "active": ", ".join((*controls.active, *further)) or "none",
            },
        )
    watching = sorted(set(certificate.required_controls) - {*controls.acting, *further})
    if watching:
        raise GatewayError(
            "control-in-shadow",
            "a control that the certificate requires is in shadow: it would block nothing",
            facts={"in shadow": ", ".join(watching)},
            hint="serve without shadow for it",
        )
    if controls.shadow:
        log.warning("IN SHADOW, blocking nothing: %s", ", ".join(controls.shadow))
