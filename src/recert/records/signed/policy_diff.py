"""What another policy changes: its bounds, which evidence still counts, and which certificates become stale."""

from __future__ import annotations

from typing import ClassVar, Literal

from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, Record
from recert.records.reports.evaluation import Estimand

Reuse = Literal["same", "decide", "judge", "ask"]
"""
What is left of measurements: `same`, nothing that decides them has changed; `decide`, the outcomes count and are
decided anew; `judge`, the replies count and are judged anew; `ask`, the models are asked.
"""

Answer = Literal["holds", "not-live", "decide", "judge", "ask", "fails", "unknown"]
"""
What becomes of a certificate: it `holds`, or did not hold any more (`not-live`); it is stale, and it is enough to
`decide` the stored results anew, to `judge` the stored replies, or the models must be asked (`ask`); the stored results
are no pass (`fails`); or it is under neither policy, and nothing is known to count (`unknown`).
"""


class FieldChange(Part):
    """One field of a policy that has another value."""

    path: str
    before: str = ""
    """The value as text; empty where there is none."""
    after: str = ""
    direction: Literal["stricter", "laxer", "changed"]
    words: str


class RuleReuse(Part):
    """What still counts of the measurements of one rule, under conditions for which that is the same."""

    rule_id: str
    suite: str
    estimand: Estimand
    conditions: tuple[str, ...]
    reuse: Reuse
    """Of the model alone."""
    reuse_behind_controls: Reuse
    """Of the model behind its controls, where that is measured."""
    because: tuple[str, ...] = ()


class CertificateImpact(Part):
    """What a change means for one certificate."""

    file: str
    serial: str
    model_name: str
    policy_sha256: Sha256
    expires_at: Moment
    answer: Answer
    because: tuple[str, ...] = ()
    prompts_base: int = 0
    """Prompts that the base is asked, at most; those of another certificate of the same base count again here."""
    prompts_tuned: int = 0
    """The same for the tuned model, behind its controls included."""
    replies: int = 0
    """Replies that are made for them, at most."""
    seconds: float | None = None
    """How long that takes, by the report's own time for each reply; None where no report says it."""
    commands: tuple[str, ...] = ()
    """What to run; words in capitals stand for what is not known from here."""

    @property
    def stale(self) -> bool:
        """Whether it was live and does not hold under the other policy."""
        return self.answer not in ("holds", "not-live")


class PolicyDiff(Record):
    """Two policies, what lies between them and what follows from it."""

    schema_name: ClassVar[str] = "policy-diff"

    before_id: str
    before_version: str
    before_sha256: Sha256
    after_id: str
    after_version: str
    after_sha256: Sha256
    changes: tuple[FieldChange, ...]
    rules: tuple[RuleReuse, ...]
    consequences: tuple[str, ...] = ()
    """What must be done beside evaluating, in words."""
    certificates: tuple[CertificateImpact, ...] = ()
    prompts_base: int = 0
    """Prompts that bases are asked for all stale certificates, at most, each base once."""
    prompts_tuned: int = 0
    replies: int = 0
    seconds: float | None = None
    """For all of them; None where it is not known of one."""

    @property
    def stale(self) -> tuple[CertificateImpact, ...]:
        """The certificates that do not hold under the other policy."""
        return tuple(one for one in self.certificates if one.stale)
