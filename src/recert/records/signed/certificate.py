"""The certificate's content, and the type that only verification can make."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, StringConstraints

from recert.errors import VerificationError
from recert.interval import Interval
from recert.records.data.manifest import Manifest, Sha256
from recert.records.live.transcriber import EarsManifest
from recert.records.record import Moment, Part, Record
from recert.records.reports.attack_report import AttackSearch
from recert.records.reports.evaluation import JudgeNote, RuleResult, Verdict
from recert.records.reports.labels import LabelNote
from recert.records.reports.stress import BaseStress
from recert.records.reports.trigger_search import TriggerSearch
from recert.records.reports.tuning import Hyperparameters
from recert.records.signed.attempt import Attempt
from recert.records.signed.carried import CarriedEvidence
from recert.records.signed.input_distribution import InputDistribution
from recert.records.signed.transparency import VerifierMemory

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://recert.dev/certificate/v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATUS_PAYLOAD_TYPE: Final = "application/vnd.recert.status-list+json"

Serial = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""Of a certificate: 32 lower-case hex digits. What can be written in two ways can be missed in a status list."""


def is_serial(given: str) -> bool:
    """Say whether this can be a certificate's serial."""
    return re.fullmatch(r"[0-9a-f]{32}", given) is not None


class Approval(Part):
    """Who signs in which role. `key_id` is the sha256 of the raw public key."""

    role: str
    key_id: Sha256
    name: str = ""


class BaseCertificate(Part):
    """Names the certificate that a base has as a tuned model of its own."""

    serial: str
    certificate_sha256: Sha256
    """Of the payload of its envelope."""


class SuiteNote(Part):
    """A set of prompts that was asked, named by the digest of all its prompts."""

    name: str
    sha256: Sha256
    prompts: int = Field(ge=1)
    """How many could decide: in a retry, those that no earlier attempt asked."""

    @classmethod
    def of(
        cls, suites: Mapping[str, str], sizes: Mapping[str, int], results: Iterable[RuleResult]
    ) -> tuple[Self, ...]:
        """
        Return notes of the suites that results are about, by name.

        Args:
            suites: digest of each suite that was given, by name.
            sizes: prompts of each; one without a size is left out, so that it is noticed.
            results: of every rule.
        """
        asked = {result.suite for result in results} & set(suites) & set(sizes)
        return tuple(cls(name=name, sha256=suites[name], prompts=sizes[name]) for name in sorted(asked))


class RootChange(Part):
    """One result, added up over a chain of bases: how much worse than the first base the model can be."""

    rule_id: str
    condition: str
    category: str = ""
    high: float
    """Sum of the upper ends of the changes along the chain, this certificate's included."""
    links: int = Field(ge=2)
    """Tunes in the chain, this one included."""


Step = Literal["screen", "tune", "evaluate", "watch", "stress", "attack", "qualify"]
"""A step of the chain that somebody ran and signed for."""


STEP_ROLES: Final[dict[Step, str]] = {
    "screen": "screener",
    "tune": "trainer",
    "evaluate": "evaluator",
    "watch": "watcher",
    "stress": "evaluator",
    "attack": "evaluator",
    "qualify": "evaluator",
}
"""In which role who ran a step signs for it."""


class StepEvidence(Part):
    """A step of the chain: which record it made, and who signed that they ran it."""

    step: Step
    key_id: Sha256
    name: str = ""
    record_sha256: Sha256
    """Of the report that the step made."""
    link_sha256: Sha256
    """Of the payload of the signed attestation."""


class RuleException(Part):
    """One result that is no pass and is accepted all the same: by whom, why, until when."""

    rule_id: str
    condition: str
    category: str = ""
    verdict: Verdict
    """What the result was when it was excepted; it must be that still."""
    reason: str = Field(min_length=1)
    expires_at: Moment
    owner_key_id: Sha256
    """Of the risk owner, who is one of the certificate's approvals."""

    def is_about(self, result: RuleResult) -> bool:
        """Say whether it names exactly this result, as it was."""
        return (self.rule_id, self.condition, self.category, self.verdict) == (
            result.rule_id,
            result.condition,
            result.category,
            result.verdict,
        )


class Certificate(Record):
    """
    The predicate of the in-toto Statement: what is certified, on which evidence, until when.

    See `spec/certificate.md`.
    """

    schema_name: ClassVar[str] = "certificate"

    serial: Serial
    model_name: str
    base: Manifest
    tuned: Manifest
    delta_kind: str
    policy_id: str
    policy_version: str
    policy_sha256: Sha256
    required_roles: dict[str, int]
    """Signers of each role that the policy asked for when this was certified."""
    screen_report_sha256: Sha256 | None = None
    tune_report_sha256: Sha256 | None = None
    eval_report_sha256: Sha256
    rows_sha256: Sha256 | None = None
    screening: dict[str, int] = Field(default_factory=dict)
    """
    Rows screened, accepted, quarantined and malformed, and those whose verdict a person changed, where there are any;
    empty when nothing was screened.
    """
    method: str = ""
    hyperparameters: Hyperparameters | None = None
    defence: str = "unknown"
    compute_flop: float | None = None
    compute_ratio_to_base: float | None = None
    results: tuple[RuleResult, ...]
    verdict_raw: Verdict
    verdict_safeguarded: Verdict | None = None
    required_controls: tuple[str, ...] = ()
    secret_sha256: Sha256 | None = None
    trigger_search: TriggerSearch | None = None
    """What a search for triggers came to, up to which budget; None where the policy asked for none."""
    base_stress: BaseStress | None = None
    """How the base stands up to attack tuning and to one harmless step; None where no stress report was given."""
    attacker: AttackSearch | None = None
    """What attackers that converse came to, within which budget; None where no attack report was given."""
    judges: tuple[JudgeNote, ...]
    labels: LabelNote | None = Field(default=None, exclude_if=lambda note: note is None)
    """Who labelled replies of both models, and what the judge is worth on each; None: nobody did."""
    evidence_sha256: Sha256
    canary: dict[str, Interval] = Field(default_factory=dict)
    """What `watch` compares against: the tuned model's rate per estimand on plain prompts."""
    fingerprint: str = ""
    """Digest of the tuned model's logits on fixed probes."""
    binds: Literal["bytes", "behaviour"] = "bytes"
    limitations: tuple[str, ...]
    invalid_when: tuple[str, ...]
    """Conditions under which the justification no longer holds."""
    approvals: tuple[Approval, ...]
    trainer_key_id: Sha256 | None = None
    not_before: Moment
    certified_at: Moment
    expires_at: Moment
    supersedes: str | None = None
    lineage: tuple[str, ...] = ()
    """Serials whose evidence this one carries on, oldest first: revoking one of them stops this one too."""
    watch_report_sha256: Sha256 | None = None
    """The clean watch behind a renewal."""
    exceptions: tuple[RuleException, ...] | None = None
    """Results that are no pass and are accepted all the same; None where there are none."""
    base_certificate: BaseCertificate | None = None
    """The certificate that the base has; what ends it in the status list ends this one too."""
    carried: CarriedEvidence | None = None
    """Evidence taken over from the certificate of the model that this one was made of; None where there is none."""
    inputs: InputDistribution | None = None
    """How controls score the requests that are expected, in bins; None where nobody gave a sample of them."""
    ears: EarsManifest | None = None
    """What listened where requests were spoken; None where none was, or the model hears by itself."""
    suites: tuple[SuiteNote, ...] | None = None
    """Every set of prompts that was asked. None in certificates of before they were named, which `verify` refuses."""
    engine: str | None = None
    """What ran both models, with version and precision."""
    sampling: dict[str, str | int | float] | None = None
    """How replies were drawn: tokens, temperature, samples, seed."""
    templates: dict[Literal["base", "tuned"], Sha256] | None = None
    """The chat template that each arm was asked with; None where the engine does not show it."""
    replies: dict[str, int] | None = None
    """Replies made, taken from the cache, and asked again to check the cache, per arm."""
    steps: tuple[StepEvidence, ...] | None = None
    """The signed steps that this certificate follows from."""
    status_list_id: str | None = None
    """The status list that can end it; another list says nothing about it."""
    attempt: Attempt | None = None
    """Which attempt of its line the evaluation was, by the evaluator's ledger; None where nobody counted."""
    from_root: tuple[RootChange, ...] | None = None
    """Of a tune of a certified tune: changes added up along the chain of bases, against the first of them."""


class StatusEntry(Part):
    """A certificate that must not be served, and since when."""

    serial: Serial
    status: Literal["revoked", "suspended"]
    reason: str
    since: Moment


class StatusList(Record):
    """Signed, versioned, expiring list of certificates that must not be served."""

    schema_name: ClassVar[str] = "status-list"

    version: int = Field(ge=1)
    list_id: str | None = None
    """What all versions of one list have in common, random; None in lists of before there were ids."""
    issued_at: Moment
    expires_at: Moment
    entries: tuple[StatusEntry, ...] = ()


_SEAL: Final = object()


@dataclass(frozen=True)
class VerifiedCertificate:
    """
    A certificate that was verified: signatures, roles, policy, time, status and every byte on disk.

    Only `recert.certification.verify` can make one; the gateway takes nothing else.
    """

    certificate: Certificate
    envelope_sha256: str
    base_dir: Path
    tuned_dir: Path
    verified_at: Moment
    signers: tuple[Approval, ...]
    status_version: int = 0
    """Version of the status list it was checked against: give it back as `last_status_version` next time."""
    memory: VerifierMemory = field(default_factory=VerifierMemory, repr=False, compare=False)
    """What was seen, this time included: give it back next time."""
    _seal: object = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self._seal is not _SEAL:
            raise VerificationError(
                "not-verified",
                "a VerifiedCertificate can only be made by verify()",
                hint="call recert.certification.verify, which checks the signatures and the files",
            )
