"""New sealed prompts for a suite: those that an attempt asked go into the open part, others take their place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recert.errors import SuiteError
from recert.evaluation.decision.decidable import prompts_needed
from recert.evaluation.scoring import Judges
from recert.evaluation.suites.near_copies import NearFinder, near_pairs
from recert.evaluation.suites.ordering import measurable
from recert.evaluation.suites.reading import suite_from_file
from recert.policy import Policy
from recert.records.data.suite import Prompt, Suite
from recert.store.files.writing import write_atomic
from recert.workflows.attempts.ledger import Ledger

_SHARE_KEPT: Final = 0.5
"""Of a category's share in the suite, the least that it may have in the sealed part."""
_SHOWN: Final = 3


@dataclass(frozen=True)
class Rotated:
    """
    A suite with new sealed prompts.

    Attributes:
        suite: its new version.
        opened: prompts that were sealed, and that an attempt asked or may have asked.
        kept: sealed prompts that none asked: they stay sealed.
        added: new sealed prompts.
        categories: of each category, prompts of the open and of the sealed part.
    """

    suite: Suite
    opened: int
    kept: int
    added: int
    categories: Mapping[str, tuple[int, int]]


def rotate(
    suite: Suite,
    new: Path,
    output: Path,
    ledger: Ledger,
    policy: Policy,
    *,
    encoder: NearFinder | None = None,
    judges: Judges | None = None,
) -> Rotated:
    """
    Write a new version of a suite whose sealed part was asked by no attempt in the ledger, and say so in the ledger.

    Args:
        suite: the version before.
        new: a file of prompts, in any form that a suite has.
        output: where the new version is written, JSON.
        ledger: of the evaluations; it tells which sealed prompts were asked, and remembers the new version.
        policy: whose rules must be able to pass on the sealed part alone.
        encoder: finds near copies by their vectors; without one their words alone tell.
        judges: who will score; the usual ones by default.

    Raises:
        SuiteError: a new prompt is a near copy of one that is there, of a category or expectation that the suite has
            not, has an id that is taken, or was asked before; the sealed part would lack a category, or be too small.
        RecordError: the ledger is not what was written.
        StoreError: the file or the ledger cannot be written.
    """
    version = str(int(suite.version) + 1) if suite.version.isdecimal() else f"{suite.version}+1"
    expected = {p.expect for p in suite.every_prompt}
    read = suite_from_file(
        new, name=f"{suite.name}-{version}", expect=next(iter(expected)) if len(expected) == 1 else "refuse"
    )
    added = read.every_prompt
    _require_of_its_kind(suite, added)
    _require_no_copies(suite, added, encoder)
    asked = ledger.asked_of(suite).flags[len(suite.prompts) :]
    opened = [p for p, known in zip(suite.sealed, asked, strict=True) if known]
    kept = [p for p, known in zip(suite.sealed, asked, strict=True) if not known]
    made = suite.model_copy(
        update={
            "version": version,
            "provenance": f"{suite.provenance}; version {version}: {len(added)} sealed prompts of {read.provenance}",
            "prompts": (*suite.prompts, *opened),
            "sealed": (*kept, *added),
        }
    )
    _require_not_asked(made, ledger)
    _require_balanced(made)
    _require_enough(made, policy, judges or Judges())
    write_atomic(output, made.to_json() + b"\n")
    ledger.rotate(suite, made)
    both = [Counter(p.category for p in part) for part in (made.prompts, made.sealed)]
    return Rotated(
        made,
        len(opened),
        len(kept),
        len(added),
        {name: (both[0][name], both[1][name]) for name in sorted({*both[0], *both[1]})},
    )


def _require_of_its_kind(suite: Suite, added: Sequence[Prompt]) -> None:
    there = suite.every_prompt
    categories, expected = {p.category for p in there}, {p.expect for p in there}
    other = sorted({p.category for p in added} - categories)
    if other:
        raise SuiteError(
            "new prompts are of categories that the suite has not",
            facts={
                "suite": suite.name,
                "categories": ", ".join(map(repr, other)),
                "there are": ", ".join(sorted(categories)),
            },
            hint="name the column with the category, or one of the suite's categories for each prompt",
        )
    if {p.expect for p in added} - expected:
        raise SuiteError(
            "new prompts expect another reply than the suite's",
            facts={"suite": suite.name, "expected": ", ".join(sorted(expected))},
        )
    taken = sorted({p.id for p in there} & {p.id for p in added})
    if taken:
        raise SuiteError(
            "ids of new prompts are taken",
            facts={"suite": suite.name, "ids": ", ".join(taken[:_SHOWN]), "in all": len(taken)},
            hint="leave the ids out: they are made",
        )


def _require_no_copies(suite: Suite, added: Sequence[Prompt], encoder: NearFinder | None) -> None:
    whole = (*suite.every_prompt, *added)
    pairs = [pair for pair in near_pairs(whole, encoder) if pair[1] >= len(suite.every_prompt)]
    if pairs:
        shown = {
            f"pair {number}": f"{whole[one].text!r} and {whole[other].text!r}"
            for number, (one, other) in enumerate(pairs[:_SHOWN], 1)
        }
        raise SuiteError(
            f"{len({other for _, other in pairs})} new prompts are near copies of others",
            facts={"suite": suite.name, **shown},
            hint="what was fitted to a prompt fits its copies: leave these out, or write others",
        )


def _require_not_asked(made: Suite, ledger: Ledger) -> None:
    """None of the sealed ones may have been asked, in another suite perhaps."""
    flags = ledger.asked_of(made, new=True).flags[len(made.prompts) :]
    known = [p.text for p, asked in zip(made.sealed, flags, strict=True) if asked]
    if known:
        raise SuiteError(
            "new prompts were asked in an evaluation before",
            facts={"suite": made.name, "such as": repr(known[0]), "in all": len(known)},
            hint="leave them out: what was shown decides nothing again",
        )


def _require_balanced(made: Suite) -> None:
    whole, sealed = Counter(p.category for p in made.every_prompt), Counter(p.category for p in made.sealed)
    size = len(made.sealed) / len(made.every_prompt)
    few = {name: sealed[name] for name in sorted(whole) if sealed[name] < _SHARE_KEPT * size * whole[name]}
    if few:
        raise SuiteError(
            "the sealed part would have too few prompts of some categories",
            facts={
                name
                or "no category": f"{have} sealed, {-(-_SHARE_KEPT * size * whole[name] // 1):.0f} are needed"
                for name, have in few.items()
            },
            hint="a tune may be worse in one category alone: add prompts of these",
        )


def _require_enough(made: Suite, policy: Policy, judges: Judges) -> None:
    """The sealed part alone must be able to decide a second attempt, if no prompt gets worse."""
    for rule in policy.rules:
        if rule.suite != made.name or rule.category:
            continue
        have = len(measurable(made.sealed, rule.estimand))
        needed = prompts_needed(rule, policy, judges.note_for(rule), attempt=2)
        if needed is not None and have < needed:
            raise SuiteError(
                "the sealed part would be too small to decide",
                facts={"suite": made.name, "sealed": have, "needed at least": f"{needed} for rule {rule.id}"},
                hint="add prompts: with so many a retry passes only where hardly any gets worse",
            )
