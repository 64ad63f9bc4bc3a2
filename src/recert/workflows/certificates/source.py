"""A certificate on its way out: what it says, who has signed it, and what of that was proven here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from recert.certification import Envelope, Presented, PublicKey, TrustStore, Verifier, read_unverified
from recert.certification.clock import moment
from recert.certification.verifier.decision import deciding_results, why_not_pass
from recert.digest import sha256_bytes
from recert.errors import InputError, RecordError
from recert.records.reports.evaluation import RuleResult, Verdict
from recert.records.signed.certificate import Approval, Certificate
from recert.store.files.writing import read_bytes

_PLACED: Final = frozenset({
    "approvals", "attacker", "base", "base_stress", "binds", "canary", "certified_at", "compute_flop",
    "compute_ratio_to_base", "defence", "delta_kind", "ears", "engine", "eval_report_sha256", "evidence_sha256",
    "expires_at", "fingerprint", "hyperparameters", "invalid_when", "judges", "limitations", "lineage",
    "method", "model_name", "not_before", "policy_id", "policy_sha256", "policy_version",
    "required_controls", "required_roles", "results", "rows_sha256", "schema_version",
    "screen_report_sha256", "screening", "secret_sha256", "serial", "supersedes", "trainer_key_id",
    "trigger_search", "tune_report_sha256", "tuned", "verdict_raw", "verdict_safeguarded",
    "watch_report_sha256",
})  # fmt: skip
"""Fields of a certificate that exports know; any other, of a later version too, is shown as it is."""


@dataclass(frozen=True)
class Signer:
    """Someone whom the certificate names."""

    approval: Approval
    signed: bool
    """A signature says that it is by this key. Whether it is, `proven` says."""
    proven: bool
    """The signature was checked with the trusted key."""
    key_expires_at: datetime | None = None
    """When the trusted key ends; None where it does not, or none was given."""


@dataclass(frozen=True)
class SignedCertificate:
    """A certificate, and what is known of its signatures. Use `SignedCertificate.open`."""

    certificate: Certificate
    envelope: bytes
    file_name: str
    signers: tuple[Signer, ...]
    proven: bool
    """Every signature was checked against trusted keys. The model's files and the status list were not looked at."""

    @classmethod
    def open(
        cls, path: Path, *, trust: TrustStore | None = None, now: datetime | None = None
    ) -> SignedCertificate:
        """
        Read a certificate. With trusted keys its signatures, roles and verdicts are checked first.

        Raises:
            StoreError: it cannot be read.
            RecordError: it is not a certificate's envelope.
            VerificationError: with `trust`, it is refused.
        """
        data = read_bytes(path, "certificate")
        at = moment(now)
        try:
            if trust is None:
                certificate, keys = read_unverified(data), dict[str, PublicKey]()
            else:
                certificate, keys = Verifier(trust=trust, status=None).read_signed(Presented(data), now=at)
            opened = Envelope.from_json(data)
        except RecordError as exc:
            raise RecordError(exc.message, facts={"file": path, **exc.facts}, hint=exc.hint) from exc
        return cls(
            certificate=certificate,
            envelope=data,
            file_name=path.name,
            signers=tuple(
                Signer(
                    approval=a,
                    signed=opened.names(a.key_id),
                    proven=a.key_id in keys,
                    key_expires_at=keys[a.key_id].expires_at if a.key_id in keys else None,
                )
                for a in certificate.approvals
            ),
            proven=trust is not None,
        )

    @property
    def sha256(self) -> str:
        """Digest of the certificate's file."""
        return sha256_bytes(self.envelope)

    @property
    def unsigned(self) -> tuple[Approval, ...]:
        """Those whom the certificate names and who have not signed: with one of them it is a draft."""
        return tuple(s.approval for s in self.signers if not s.signed)

    @property
    def why_not(self) -> tuple[str, ...]:
        """Every reason why what it says is no pass; empty when it is one, or but for its exceptions."""
        return why_not_pass(
            raw=self.certificate.verdict_raw,
            safeguarded=self.certificate.verdict_safeguarded,
            required_controls=self.certificate.required_controls,
            results=self.certificate.results,
            policy=None,
            search=self.certificate.trigger_search,
            stress=self.certificate.base_stress,
            attacker=self.certificate.attacker,
            tuned_sha256=self.certificate.tuned.digest,
            base_sha256=self.certificate.base.digest,
            exceptions=self.certificate.exceptions or (),
        )

    @property
    def behind(self) -> str:
        """The controls without which the verdict does not hold, with commas; empty where it needs none."""
        return ", ".join(self.certificate.required_controls)

    @property
    def signatures(self) -> str:
        """What was found out about the signatures, in words."""
        if self.proven:
            return "every signature was checked against trusted keys when this was exported"
        return "the signatures were not checked when this was exported; `recert verify` does"

    @property
    def others(self) -> dict[str, Any]:
        """What the certificate says in fields that exports have no place for, as JSON values."""
        return {k: v for k, v in self.certificate.to_value().items() if k not in _PLACED and v}

    def require_final(self) -> None:
        """
        Return when the certificate can be handed on as one.

        Raises:
            InputError: someone has yet to sign, or it does not say that the model passed.
        """
        if self.unsigned:
            waiting = ", ".join(f"{a.role} {a.name or a.key_id[:12]}" for a in self.unsigned)
            raise InputError(
                "certificate is a draft",
                facts={"file": self.file_name, "still to sign": waiting},
                hint="let them sign with `recert approve`; `--as report` shows a draft as one",
            )
        if self.why_not:
            raise InputError(
                "certificate does not say that the model passed",
                facts={str(number): words for number, words in enumerate(self.why_not, start=1)},
            )


def deciding(certificate: Certificate) -> list[RuleResult]:
    """Return the results that the verdict rests on, worst first."""
    return worst_first(deciding_results(certificate.results, certificate.required_controls))


def beside(certificate: Certificate) -> list[RuleResult]:
    """Return what was measured too and decides nothing here: controls, and the model without its safeguards."""
    decide = deciding_results(certificate.results, certificate.required_controls)
    return worst_first([r for r in certificate.results if r not in decide])


def worst_first(results: Sequence[RuleResult]) -> list[RuleResult]:
    """Return results in order: no pass first, then by how near the interval's worse end is to the margin."""
    return sorted(results, key=lambda r: (r.verdict is Verdict.PASS, r.margin - r.change.high, r.rule_id))


def where(result: RuleResult) -> str:
    """Return what a result was measured on: suite, condition, category and controls, in one line."""
    parts = [result.suite, result.condition]
    if result.category:
        parts.append(result.category)
    if result.safeguards:
        parts.append(f"behind {', '.join(result.safeguards)}")
    return ", ".join(parts)


def threshold(result: RuleResult) -> str:
    """Return what the policy asked of a result, in words."""
    said = f"change below {result.margin:g}"
    return said if result.max_tuned is None else f"{said}, tuned rate at most {result.max_tuned:g}"
