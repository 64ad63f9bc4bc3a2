"""Evaluating a merge or a quantisation of a certified model: compare it with its parent, and carry over what counts."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from recert.certification.carry_over import carried_evidence, carry_over, why_no_parent, why_not_made_so
from recert.certification.verifier.ancestry import CertifiedBase
from recert.errors import InputError
from recert.evaluation.decision.conclusion import Carried
from recert.evaluation.runner import Progress
from recert.evaluation.stage import Evaluation, evaluate
from recert.models.engines.next_token import Step, unlike_steps
from recert.models.protocol import Model
from recert.policy import Policy, comparison_policy
from recert.records.data.suite import Chat, Suite, chat
from recert.records.reports.evaluation import Verdict
from recert.records.signed.attempt import Attempt
from recert.workflows.deploy.probe_prompts import draw_prompts

COMPARISON: Final = "comparison"
"""Name of the folder, beside the evaluation's report, of the report and evidence of the comparison with the parent."""

_STEPS: Final = 8
_TOP: Final = 20


@dataclass(frozen=True)
class Parent:
    """
    The certified model that a child was made of.

    Args:
        certificate: its certificate, which holds now.
        model: the model itself.
        transform: what was done to it, such as `merge` or `quantise:bfloat16`.
        reason: why its results say something about the child, in words.
        draw: source of chance for the probes; by default the system's.
    """

    certificate: CertifiedBase
    model: Model
    transform: str
    reason: str
    draw: random.Random = field(default_factory=secrets.SystemRandom)


@dataclass(frozen=True)
class ChildEvaluation:
    """The evaluation of a child, or every reason why nothing is carried over; and the comparison, if it was made."""

    evaluation: Evaluation | None
    comparison: Evaluation | None
    reasons: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """
        Write both with their evidence; `comparison` is a folder of its own.

        Raises:
            StoreError: the disk is full, or the folder cannot be written.
        """
        if self.comparison is not None:
            self.comparison.write(folder / COMPARISON)
        if self.evaluation is not None:
            self.evaluation.write(folder)


@runtime_checkable
class _SaysHowLikely(Protocol):
    def likely_tokens(self, chats: Sequence[Chat], *, steps: int, top: int) -> list[tuple[Step, ...]]: ...


def evaluate_child(
    base: Model,
    child: Model,
    parent: Parent,
    *,
    child_dir: Path,
    suites: Mapping[str, Suite],
    policy: Policy,
    progress: Callable[[str], Progress | None] = lambda _: None,
    attempt: Attempt | None = None,
    **asked: Any,
) -> ChildEvaluation:
    """
    Evaluate a child with what its parent's certificate carries over, where the policy lets it.

    The child is compared with its parent first: how far their replies to probes are apart, then rule by rule on the
    same prompts. Only where all of it is within bounds are results carried over; the other suites are asked against the
    base, as always. Where anything is not, nothing is carried over, and the reasons are all there is.

    Args:
        base: the approved base, which the parent was evaluated against.
        child: the merge or the quantisation.
        parent: what it was made of.
        child_dir: the child's folder.
        suites: prompts by the names that the rules use.
        policy: the one that the parent is certified under.
        progress: told what begins; gives what is told of each block.
        attempt: which attempt the evaluation against the base is, by the evaluator's ledger.
        asked: what `evaluate` takes beside: the name, the training context, cache and judges.

    Raises:
        InputError: a reason is missing, or a secret was given, or a model does not say how likely its tokens are.
        PolicyError: the policy has no rule on what may be carried over.
        RecertError: as `evaluate`.
    """
    _must_be_plain(parent, asked)
    section = policy.certification.carry_over
    why = _why_not(base, parent, policy, child_dir)
    if why or section is None:
        return ChildEvaluation(None, None, (why,))
    progress("compare replies to probes")
    apart = distance(parent.model, child, count=section.min_probes, draw=parent.draw)
    if apart > section.max_distance:
        why = f"parent and child are {apart:.4f} apart, at most {section.max_distance:g} are allowed"
        return ChildEvaluation(None, None, (why,))
    bounds, told = comparison_policy(policy), progress("compare with the parent")
    named = {rule.suite for rule in bounds.rules}
    some = {name: suite for name, suite in suites.items() if name in named}
    compared = evaluate(
        parent.model, child, suites=some, policy=bounds, over=base.manifest, progress=told, **asked
    )
    results, shown, reasons = carry_over(parent.certificate.certificate, compared.report, policy)
    if compared.report.verdict is not Verdict.PASS:
        reasons = (f"between parent and child the verdict is {compared.report.verdict}", *reasons)
    if reasons:
        return ChildEvaluation(None, compared, reasons)
    evidence = carried_evidence(
        parent.certificate,
        compared.report,
        shown,
        transform=parent.transform,
        reason=parent.reason.strip(),
        distance=round(apart, 6),
        probes=section.min_probes,
    )
    asked |= {"carried": Carried(results, evidence), "attempt": attempt}
    told = progress("evaluate against the base what is not carried over")
    done = evaluate(base, child, suites=suites, policy=policy, progress=told, **asked)
    return ChildEvaluation(done, compared)


def _why_not(base: Model, parent: Parent, policy: Policy, child_dir: Path) -> str:
    said = parent.certificate.certificate
    why = why_no_parent(said, policy, base.manifest, parent.transform)
    why = why or why_not_made_so(parent.transform, said.tuned, child_dir)
    if parent.model.manifest is None or parent.model.manifest.digest != said.tuned.digest:
        why = why or "the parent's model is not the one that is certified"
    return why


def distance(one: Model, other: Model, *, count: int, draw: random.Random) -> float:
    """
    Return how far apart the probabilities are with which two models begin their replies, in [0, 1].

    Args:
        one: the model that is taken for what is expected.
        other: the one that is compared with it.
        count: how many probes.
        draw: source of chance.

    Raises:
        InputError: a model does not say how likely its tokens are.
    """
    if not isinstance(one, _SaysHowLikely) or not isinstance(other, _SaysHowLikely):
        raise InputError(
            "a model does not say how likely its tokens are",
            hint="compare parent and child on the engine `local`",
        )
    chats = [chat(prompt) for prompt in draw_prompts(count, draw)]
    expected, seen = (model.likely_tokens(chats, steps=_STEPS, top=_TOP) for model in (one, other))
    kept = [
        tuple(s.model_copy(update={"likely": s.likely[: _TOP // 2]}) for s in steps) for steps in expected
    ]
    return sum(map(unlike_steps, kept, seen)) / count


def _must_be_plain(parent: Parent, asked: Mapping[str, Any]) -> None:
    if not parent.reason.strip():
        raise InputError("carrying evidence over needs a reason", hint="give --carry-reason")
    if asked.get("secret") is not None:
        raise InputError(
            "results behind a secret cannot be carried over", hint="evaluate without --parent, on all suites"
        )
