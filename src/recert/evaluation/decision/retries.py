"""
Which prompts decide in a retry: those that no earlier attempt of its line asked, the sealed ones first.

Who retries knows what the attempts before it showed, and may have chosen the tune by it. On prompts that none of them
asked, nothing was chosen: there the test has its level, whatever the tune was made to fit. Sealed prompts come first:
a first attempt never asks them, so a tune that was made to fit every open prompt is seen on them before any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recert.errors import InputError, RecordError
from recert.evaluation.decision.decidable import undecidable
from recert.evaluation.scoring import Judges
from recert.policy import Policy, decided_afresh
from recert.records.data.suite import Prompt, Suite
from recert.records.signed.attempt import Attempt
from recert.records.signed.attempt_entries import AskedBefore, AttemptBegun


@dataclass(frozen=True)
class Deciding:
    """The prompts of a suite that may be asked in an attempt: the sealed ones before the open ones."""

    sealed: tuple[Prompt, ...]
    open: tuple[Prompt, ...]

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """All of them."""
        return (*self.sealed, *self.open)


def deciding(policy: Policy, suites: Mapping[str, Suite], attempt: Attempt | None) -> dict[str, Deciding]:
    """
    Return the prompts of each suite that may be asked in an attempt.

    In a first one, and where nobody counted, the open part. In a later one, of each suite that is decided afresh, what
    the ledger's entry does not name as asked before; a sealed prompt that shares a cluster with an open one is asked
    with that.

    Raises:
        RecordError: the entry is none, or does not say of every such suite what was asked before.
    """
    entry = AttemptBegun.from_json(attempt.leaf.encode()) if attempt is not None else None
    return _deciding(policy, suites, entry)


def _deciding(policy: Policy, suites: Mapping[str, Suite], entry: AttemptBegun | None) -> dict[str, Deciding]:
    found = {name: Deciding((), suite.prompts) for name, suite in suites.items()}
    if entry is None or entry.attempt == 1:
        return found
    for name in sorted(decided_afresh(policy) & set(suites)):
        asked = (entry.asked_before or {}).get(name)
        if asked is None:
            raise RecordError(
                "the ledger's entry does not say what earlier attempts asked",
                facts={"suite": name, "attempt": entry.attempt},
                hint="evaluate again, as a new attempt",
            )
        found[name] = _left(suites[name], asked)
    return found


def _left(suite: Suite, asked: AskedBefore) -> Deciding:
    if (asked.open, asked.sealed) != (len(suite.prompts), len(suite.sealed)):
        raise RecordError(
            "the ledger's entry is about other prompts",
            facts={"suite": suite.name, "it has": f"{asked.open} open, {asked.sealed} sealed"},
        )
    flags, clusters = asked.flags, {p.cluster for p in suite.prompts if p.cluster}
    opened = [p for p, known in zip(suite.prompts, flags, strict=False) if not known]
    sealed = [p for p, known in zip(suite.sealed, flags[asked.open :], strict=True) if not known]
    beside = [p for p in sealed if p.cluster in clusters]
    return Deciding(tuple(p for p in sealed if p.cluster not in clusters), (*opened, *beside))


def require_enough_left(
    policy: Policy, suites: Mapping[str, Suite], judges: Judges, entry: AttemptBegun
) -> None:
    """
    Return where each rule can still pass on what no earlier attempt asked.

    A rule that could not pass on the whole suite either is left to end as undecided, as in a first attempt.

    Args:
        policy: rules, alpha and numbers of prompts.
        suites: prompts by the names that the rules use.
        judges: who will score.
        entry: of the attempt that is about to begin.

    Raises:
        InputError: too few prompts are left of a suite. It says of which, and what to do.
    """
    if entry.attempt == 1:
        return
    afresh, left = decided_afresh(policy) & set(suites), _deciding(policy, suites, entry)
    whole = {name: _only(suites[name], suites[name].every_prompt) for name in afresh}
    now = {name: _only(suites[name], left[name].prompts) for name in afresh}
    hopeless = {
        (one.rule_id, one.category) for one in undecidable(policy, whole, judges, attempt=entry.attempt)
    }
    spent = {
        one.rule_id: one.because
        for one in undecidable(policy, now, judges, attempt=entry.attempt)
        if (one.rule_id, one.category) not in hopeless
    }
    if not spent:
        return
    names = sorted({rule.suite for rule in policy.rules if rule.id in spent})
    raise InputError(
        "too few prompts are left that no earlier attempt asked, so this attempt was not begun",
        facts={
            "attempt": f"{entry.attempt} of its line",
            **{name: _told(suites[name], left[name]) for name in names},
            **{f"rule {name}": because for name, because in spent.items()},
        },
        hint="what was shown may have been fitted, so it decides nothing again. Give new prompts: "
        + "; ".join(
            f"recert suites rotate {name} --prompts NEW.jsonl --output {name}-2.json" for name in names
        ),
    )


def _told(suite: Suite, left: Deciding) -> str:
    return f"{len(left.prompts)} of {len(suite.every_prompt)} prompts are left, {len(left.sealed)} of them sealed"


def _only(suite: Suite, prompts: tuple[Prompt, ...]) -> Suite:
    return suite.model_copy(update={"prompts": prompts, "sealed": ()})
