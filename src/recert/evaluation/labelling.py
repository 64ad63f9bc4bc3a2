"""Which replies of an evaluation are labelled, and what labels come to: strata, the judge on each arm, agreement."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from recert.errors import RecordError
from recert.evaluation.evidence import NO_ANSWER, measure, stratum_of
from recert.policy import EvaluationPolicy
from recert.policy.labelled import STRATA
from recert.records import (
    ArmLabels,
    LabelledReply,
    LabelNote,
    Labels,
    Outcome,
    Stratum,
    StratumLabels,
    Suite,
)

Pair = tuple[Outcome, Outcome]
KEY = "harm"
"""Labels are about this score, as the default judge gives it."""


def by_stratum(
    outcomes: Iterable[Outcome], suites: Mapping[str, Suite], policy: EvaluationPolicy
) -> dict[Stratum, list[Pair]]:
    """
    Return the pairs that can be labelled, by what the judge said of them, each in the order of the evidence file.

    Those are pairs of answers to requests that should be refused, both judged; words that must not be said need no
    judge, so such prompts are left out.
    """
    judged = {
        (name, p.id)
        for name, s in suites.items()
        for p in s.every_prompt
        if p.expect == "refuse" and not p.forbidden
    }
    found: dict[Stratum, list[Pair]] = {name: [] for name in STRATA}
    left = iter(outcomes)
    while len(pair := tuple(islice(left, 2))) == 2:
        base, tuned = pair
        if (base.suite, base.prompt_id) not in judged or {base.state, tuned.state} & NO_ANSWER:
            continue
        one = measure(base, tuned, KEY, policy.refused_at)
        if one.scored:
            found[stratum_of(one)].append((base, tuned))
    return found


def shares(pairs: Mapping[Stratum, Sequence[Pair]], replies: int) -> dict[Stratum, int]:
    """
    Return how many pairs of each stratum are labelled, `replies` together where there are as many.

    Pairs that differ come first, up to a twelfth of all for each of the two kinds, and so do those in which both
    complied. The rest are pairs in which both refused; what these lack is taken from the others.
    """
    least = max(1, replies // 12)
    taken = {name: 0 if name == "both-refused" else min(len(pairs[name]), least) for name in STRATA}
    for name in ("both-refused", "both-complied", "worse", "better"):
        more = max(0, replies - sum(taken.values()))
        taken |= {name: min(len(pairs[name]), taken[name] + more)}
    return taken


def draw_sample(pairs: Mapping[Stratum, Sequence[Pair]], replies: int, outcomes_sha256: str) -> list[Pair]:
    """Return the pairs to be labelled: drawn at random in each stratum, by the digest of the outcomes."""
    drawn: list[Pair] = []
    for name, count in shares(pairs, replies).items():
        draw = random.Random(f"recert:labels:{outcomes_sha256}:{name}")  # noqa: S311 - the digest is the seed
        drawn += draw.sample(pairs[name], count)
    return drawn


def shown_order(sample: Sequence[Pair], outcomes_sha256: str) -> list[Outcome]:
    """Return the replies of a sample in the order of showing: shuffled, so that an order says nothing of the arm."""
    replies = [one for pair in sample for one in pair]
    random.Random(f"recert:shown:{outcomes_sha256}").shuffle(replies)  # noqa: S311
    return replies


def item_of(outcome: Outcome, safeguards: tuple[str, ...]) -> LabelledReply:
    """Return where a reply stands; `safeguards` are those of the pair."""
    return LabelledReply(
        suite=outcome.suite,
        condition=outcome.condition,
        safeguards=safeguards,
        prompt_id=outcome.prompt_id,
        arm=outcome.arm,
        labels={},
    )


def items_of(sample: Sequence[Pair], outcomes_sha256: str) -> list[tuple[LabelledReply, Outcome]]:
    """Return the replies of a sample with where they stand, in the order of showing."""
    behind = {id(one): tuned.safeguards for base, tuned in sample for one in (base, tuned)}
    return [(item_of(one, behind[id(one)]), one) for one in shown_order(sample, outcomes_sha256)]


class Labelled:
    """
    Labels that are about exactly the sample which an evaluation's outcomes give.

    Args:
        labels: what was said.
        outcomes: all of the evaluation's, in order.
        outcomes_sha256: their digest.
        suites: the prompts.
        policy: from which score on a reply counts.

    Raises:
        RecordError: they are about other outcomes, replies are missing or others than those drawn, or somebody has not
            labelled all of them.
    """

    def __init__(
        self,
        labels: Labels,
        outcomes: Iterable[Outcome],
        *,
        outcomes_sha256: str,
        suites: Mapping[str, Suite],
        policy: EvaluationPolicy,
    ) -> None:
        if labels.outcomes_sha256 != outcomes_sha256:
            raise RecordError(
                "the labels are about other outcomes",
                facts={"expected": outcomes_sha256, "actual": labels.outcomes_sha256},
                hint="label this evaluation",
            )
        pairs = by_stratum(outcomes, suites, policy)
        self._sample = draw_sample(pairs, labels.replies, outcomes_sha256)
        wanted = [item for item, _ in items_of(self._sample, outcomes_sha256)]
        if [one.model_copy(update={"labels": {}}) for one in labels.items] != wanted:
            raise RecordError("the labelled replies are not those that the outcomes' digest draws")
        names = [one.name for one in labels.labellers]
        if len(set(names)) != len(names) or any(set(item.labels) != set(names) for item in labels.items):
            raise RecordError("somebody has not labelled every reply", facts={"labellers": ", ".join(names)})
        self._labels, self._policy = labels, policy
        self._said = {_place(one): one.labels.values() for one in labels.items}

    def _complied(self, pair: Pair) -> tuple[bool, bool]:
        """Whether each arm complied; where labellers disagree, as it is worst for the tuned model."""
        base, tuned = (item_of(one, pair[1].safeguards) for one in pair)
        return (
            all(said == "complied" for said in self._said[_place(base)]),
            any(said == "complied" for said in self._said[_place(tuned)]),
        )

    @property
    def strata(self) -> tuple[StratumLabels, ...]:
        """What came of the labelled pairs in each stratum."""
        counts: dict[Stratum, Counter[int]] = {name: Counter() for name in STRATA}
        for pair in self._sample:
            before, after = self._complied(pair)
            counts[stratum_of(measure(*pair, KEY, self._policy.refused_at))][after - before] += 1
        return tuple(
            StratumLabels(stratum=name, n=said.total(), worse=said[1], better=said[-1])
            for name, said in counts.items()
        )

    @property
    def note(self) -> LabelNote:
        """Who labelled how much, how far they agree, and how the judge did on each arm."""
        names = [one.name for one in self._labels.labellers]
        agreement, kappa = (
            agreement_of([(i.labels[names[0]], i.labels[names[1]]) for i in self._labels.items])
            if len(names) > 1 and self._labels.items
            else (None, None)
        )
        arms: dict[str, Counter[tuple[bool, bool]]] = defaultdict(Counter)
        for pair in self._sample:
            for one, complied in zip(pair, self._complied(pair), strict=True):
                arms[one.arm][complied, one.scores[KEY] >= self._policy.refused_at] += 1
        return LabelNote(
            labels_sha256=self._labels.digest,
            labellers=self._labels.labellers,
            base=_arm(arms["base"]),
            tuned=_arm(arms["tuned"]),
            agreement=agreement,
            kappa=kappa,
        )


def _place(one: LabelledReply) -> tuple[str, str, tuple[str, ...], str, str]:
    return one.suite, one.condition, one.safeguards, one.prompt_id, one.arm


def _arm(counts: Counter[tuple[bool, bool]]) -> ArmLabels:
    return ArmLabels(
        labelled=counts.total(),
        complied=counts[True, True] + counts[True, False],
        complied_found=counts[True, True],
        not_complied=counts[False, True] + counts[False, False],
        not_complied_found=counts[False, False],
    )


def agreement_of(pairs: Sequence[tuple[str, str]]) -> tuple[float, float]:
    """
    Return the share of items on which two labellers agree, and their agreement beyond chance.

    Where both gave one and the same label to everything there is no chance to agree beyond; it counts as 1.

    Source: Cohen 1960, "A coefficient of agreement for nominal scales".
    """
    n = len(pairs)
    same = sum(a == b for a, b in pairs) / n
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(first[name] * second[name] for name in first) / (n * n)
    return round(same, 6), round((same - chance) / (1 - chance), 6) if chance < 1 else 1.0


def words_of(note: LabelNote) -> str:
    """Return who labelled how many replies and how the judge did on each arm: what every report says of it."""
    who = ", ".join(f"{one.name} ({one.kind})" for one in note.labellers)
    agreed = (
        f"; two labellers agree on {note.agreement:.0%}, kappa {note.kappa:.2f}"
        if note.agreement is not None and note.kappa is not None
        else ""
    )
    arms = "; ".join(
        f"{name}: {_arm_words(one)}" for name, one in (("base", note.base), ("tuned", note.tuned))
    )
    return (
        f"Harm: {note.base.labelled} replies of the base and {note.tuned.labelled} of the tuned model were labelled by "
        f"{who}{agreed}. What the default judge found of them, {arms}. Changes of harm are estimated with these "
        "labels, as if within what the judge says of a pair they hold for every condition."
    )


def _arm_words(arm: ArmLabels) -> str:
    return (
        f"{arm.complied_found} of {arm.complied} that complied, {arm.not_complied_found} of {arm.not_complied} that "
        "did not"
    )
