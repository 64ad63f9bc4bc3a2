"""
Labels for an evaluation in a folder: the sample, what each labeller said, and the report decided anew.

Here too: what labels could decide, told before anybody labels: results that would pass if they said what the judge
says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from recert.digest import sha256_bytes, sha256_file
from recert.errors import InputError, ModelError, RecordError, StoreError
from recert.evaluation.decision.derive import derive
from recert.evaluation.decision.evidence import NO_ANSWER, measure, stratum_of
from recert.evaluation.decision.tracks import LABELLED
from recert.evaluation.labels.files import LABELS_FILE, LABELS_FOLDER, LabellerFile, read_head, read_labels
from recert.evaluation.labels.labelling import (
    HARM_WORDS,
    OVER_WORDS,
    Labelled,
    Pair,
    by_stratum,
    can_grow,
    draw_sample,
    extends,
    items_of,
    place_of,
)
from recert.evaluation.report.outcomes import REDACTED, read_outcomes
from recert.evaluation.stage import HARMFUL_FILE, OUTCOMES_FILE, REPORT_FILE
from recert.evaluation.suites.reading import find_suites
from recert.judges.protocol import JudgeFailed, ReplyJudge
from recert.judges.scoring import score_each
from recert.policy import Policy, Rule, share_under, shipped_policy
from recert.policy.labelled import STRATA, evidence_within
from recert.records.data.suite import Suite
from recert.records.record import now
from recert.records.reports.evaluation import EvalReport, Outcome, RuleResult, Verdict
from recert.records.reports.labels import (
    Label,
    LabelledChange,
    LabelledEstimand,
    LabelledReply,
    Labeller,
    Labels,
    Stratum,
    StratumLabels,
)
from recert.store.files.writing import read_bytes, write_atomic
from recert.workflows.attempts.ledger import Ledger

_UNDECIDED: Final = ("pass", "undecided")
_AS_ANSWERED: Final[Mapping[Stratum, tuple[int, int]]] = {"worse": (1, 0), "better": (0, 1)}
_Where = tuple[str, str, tuple[str, ...]]


class Promises:
    """
    What labels of an evaluation could decide.

    Args:
        report: the evaluation's.
        policy: the one that decided.
        outcomes: all of the evaluation's, in order.
    """

    def __init__(self, report: EvalReport, policy: Policy, outcomes: Iterable[Outcome]) -> None:
        self._report, self._policy = report, policy
        self._same = _shares_of_equal_replies(outcomes)

    def deciding(self, about: LabelledEstimand) -> list[RuleResult]:
        """Return the results that labels can turn into a pass, or leave one."""
        exact = {note.id for note in self._report.judges if note.exact}
        rules = {one.id: one for one in self._policy.rules if not one.judge}
        return [
            one
            for one in self._report.rules
            if one.estimand == about
            and one.planned is not None
            and one.judge not in exact
            and one.rule_id in rules
            and rules[one.rule_id].min_judge_quality > 0
            and (one.verdict in _UNDECIDED or _by_a_weak_judge(one, rules[one.rule_id]))
        ]

    def passing(self, sample: Sequence[Pair], about: LabelledEstimand) -> int:
        """Return how many of them would pass if labels of this sample said what the judge says."""
        at = self._policy.evaluation.refused_at
        counted = Counter[Stratum](stratum_of(measure(*pair, about, at)) for pair in sample)
        labels = tuple(
            StratumLabels(stratum=name, n=n, worse=n * up, better=n * down)
            for name in STRATA
            for n in (counted[name],)
            for up, down in (_AS_ANSWERED.get(name, (0, 0)),)
        )
        return sum(self._passes(one, labels) for one in self.deciding(about))

    def _passes(self, result: RuleResult, labels: tuple[StratumLabels, ...]) -> bool:
        """Whether a result would pass with such labels, all its pairs being answers."""
        worse, better, n = round(result.worse or 0), round(result.better or 0), result.change.n
        both = min(n - worse - better, max(0, round(result.base.point * n) - better))
        same = self._same.get((result.suite, result.condition, result.safeguards), 0.0)
        unlike = 1 - min(1.0, same * n / max(1, n - worse - better))
        strata: dict[Stratum, int] = {"worse": worse, "both": round(both * unlike), "better": better}
        strata["neither"] = round((n - worse - better - both) * unlike)
        assert result.planned is not None
        counts = LabelledChange(strata=strata, same=n - sum(strata.values()), labelled=labels)
        attempt, bounds = self._report.attempt, self._policy.evaluation
        share = share_under(bounds.attempts, attempt.number if attempt is not None else None)
        found = evidence_within(counts, planned=result.planned, policy=bounds, margin=result.margin)
        return found >= 1 / (bounds.alpha * share)


def _shares_of_equal_replies(outcomes: Iterable[Outcome]) -> dict[_Where, float]:
    """Of pairs of two answers, the share of equal ones, wherever replies were asked."""
    seen, same = Counter[_Where](), Counter[_Where]()
    left = iter(outcomes)
    while len(pair := tuple(islice(left, 2))) == 2:
        base, tuned = pair
        if not {base.state, tuned.state} & NO_ANSWER:
            where = (tuned.suite, tuned.condition, tuned.safeguards)
            seen[where] += 1
            same[where] += base.reply == tuned.reply
    return {where: same[where] / many for where, many in seen.items()}


def _by_a_weak_judge(result: RuleResult, rule: Rule) -> bool:
    weak = result.judge_quality is None or result.judge_quality.low < rule.min_judge_quality
    return result.verdict is Verdict.UNSCORED and result.change.n > 0 and weak


SIZES: Final = (60, 100, 200, 300, 400, 600)
"""Usual numbers of replies of each arm."""
_LABELLED: Final = (f"{HARM_WORDS}: ", f"{OVER_WORDS}: ")


@dataclass(frozen=True)
class ToLabel:
    """A reply as a labeller sees it; nothing of it says which model gave it."""

    request: str
    reply: str
    about: LabelledEstimand = "harm"
    """Whether the request should be refused, or answered."""


class Labelling:
    """
    An evaluation whose replies are labelled.

    Args:
        folder: as `recert evaluate` wrote it.
        policy: the one that decided; None for the shipped one with the report's digest.
        suites: prompts by name, beside those that come with Recert and those in the folder.

    Raises:
        InputError: the policy is not at hand, or the evaluation cannot be labelled.
        RecordError: the outcomes are not those of the report.
        StoreError: a file cannot be read.
    """

    def __init__(
        self, folder: Path, *, policy: Policy | None = None, suites: Mapping[str, Suite] | None = None
    ) -> None:
        self.folder = folder
        self.report = EvalReport.from_json(read_bytes(folder / REPORT_FILE, "evaluation report"))
        self._path = folder / OUTCOMES_FILE
        self.policy = _policy_of(self.report, policy)
        self.sha256 = sha256_file(self._path)
        if self.sha256 != self.report.outcomes_sha256:
            facts = {"named": self.report.outcomes_sha256, "on disk": self.sha256}
            raise RecordError("the outcomes are not those of the report", facts=facts)
        if self.policy.evaluation.samples_per_prompt != 1:
            raise InputError(
                "replies drawn several times a prompt cannot be labelled",
                hint="evaluate under a policy with samples_per_prompt = 1",
            )
        self.suites = find_suites(folder, self.report.suites, suites or {})
        missing = sorted(set(self.report.suites) - set(self.suites))
        if missing:
            hint = " ".join(f"--suite {name}=FILE" for name in missing)
            raise InputError(
                "prompts are not at hand",
                facts={"suites": ", ".join(missing)},
                hint=f"restore the folder `suites` of this evaluation, or give {hint}",
            )
        self._pairs = by_stratum(read_outcomes(self._path), self.suites, self.policy.evaluation)
        self.kinds = tuple(one for one in LABELLED if any(self._pairs[one].values()))
        """What replies can be labelled for."""
        if not self.kinds:
            raise InputError(
                "no two different replies to a request in this evaluation were judged: nothing to label",
                hint="labels are about answers of both models that differ, and that a judge of refusals judged",
            )

    def begun(self) -> tuple[dict[str, Any], ...]:
        """How each labeller began, by the first line of their file, with the replies that they have gone on to."""
        found = map(read_head, sorted((self.folder / LABELS_FOLDER).glob("*.jsonl")))
        return tuple(one for one in found if one.get("outcomes_sha256") == self.sha256)

    def replies(self, given: int | None) -> int:
        """
        Return how many replies of each arm to label.

        As given, or as was begun, or the least usual number with which every result on harm that labels are about would
        pass if they said what the judge says, and 600 where none is enough. What was begun can be made larger: labels
        decide by evidence that holds however often somebody looked.
        """
        begun = [one.get("replies") for one in self.begun()]
        known = [one for one in begun if isinstance(one, int)]
        facts = {"begun with": ", ".join(map(str, begun)), "now": given}
        if begun and (len(known) < len(begun) or (given or max(known)) < max(known)):
            raise InputError("labelling was begun with more replies", facts=facts, hint="go on with as many")
        if given is not None and any(given > one and not can_grow(one) for one in known):
            hint = "only a multiple of 20 can be made larger"
            raise InputError("labelling was begun with another number of replies", facts=facts, hint=hint)
        if given is not None or known:
            return given or max(known)
        return self._enough

    @cached_property
    def _enough(self) -> int:
        (about, *_) = self.kinds
        most = self._passing(10**9, about)
        return next((size for size in SIZES if self._passing(size, about) == most), SIZES[-1])

    @cached_property
    def _promises(self) -> Promises:
        return Promises(self.report, self.policy, read_outcomes(self._path))

    def promise(self, replies: int, about: LabelledEstimand = "harm") -> tuple[int, int]:
        """Return how many results would pass if labels said what the judge says, and how many labels are about."""
        return self._passing(replies, about), len(self._promises.deciding(about))

    def _passing(self, replies: int, about: LabelledEstimand) -> int:
        return self._promises.passing(draw_sample(self._pairs[about], replies, self.sha256, about), about)

    def sample(self, replies: int, about: LabelledEstimand = "harm") -> list[tuple[LabelledReply, Outcome]]:
        """Return the replies to be labelled, in the order of showing."""
        drawn = draw_sample(self._pairs[about], replies, self.sha256, about)
        return items_of(drawn, self.sha256, about)

    def shown(self, sample: Sequence[tuple[LabelledReply, Outcome]]) -> list[ToLabel]:
        """
        Return what a labeller sees of each.

        Raises:
            InputError: a redacted reply is not in the file of harmful replies.
        """
        texts = {(name, p.id): p.text for name, suite in self.suites.items() for p in suite.every_prompt}
        path = self.folder / HARMFUL_FILE
        hidden = (
            {sha256_bytes(o.reply.encode()): o.reply for o in read_outcomes(path)} if path.exists() else {}
        )
        out, lacking = [], 0
        for _, one in sample:
            redacted = REDACTED.fullmatch(one.reply)
            reply = hidden.get(redacted[1]) if redacted else one.reply
            lacking += reply is None
            about: LabelledEstimand = "harm" if "harm" in one.scores else "over_refusal"
            out.append(ToLabel(texts[one.suite, one.prompt_id], reply or "", about))
        if lacking:
            raise InputError(
                "replies that are to be labelled are not shown in reports, and not at hand",
                facts={"replies": lacking, "of": len(sample), "looked in": path},
                hint=f"put {HARMFUL_FILE} of this evaluation there; only its owner should be able to read it",
            )
        return out

    def require_open(
        self, replies: int, about: LabelledEstimand = "harm", name: str | None = None
    ) -> dict[int, Label]:
        """
        Return while labels may be given: nobody decided by them, or others are added to those that decided.

        Args:
            replies: of each arm.
            about: what they are labelled for.
            name: who labels; None for anybody.

        Returns:
            The labels of this labeller that decided, by place in the order of showing: they stay as they are.

        Raises:
            InputError: labels decided this evaluation, and these would add none, or are by another labeller of the same
                replies, or those that decided are not at hand.
        """
        if self.report.labels is None:
            return {}
        try:
            decided = read_labels(self.folder, self.report.labels)
        except (RecordError, StoreError) as exc:
            raise self._closed(exc.message) from exc
        assert decided is not None
        said = {place_of(one): one.labels for one in decided.items}
        found = [said.get(place_of(item)) for item, _ in self.sample(replies, about)]
        known = {at: one for at, one in enumerate(found) if one is not None}
        if len(known) == len(found) or replies < decided.replies:
            raise self._closed("all of these replies are labelled")
        if name is None:
            return {}
        if any(name not in one for one in known.values()):
            raise self._closed("others labelled these replies")
        return {at: one[name] for at, one in known.items()}

    def _closed(self, because: str) -> InputError:
        assert self.report.labels is not None
        return InputError(
            "this evaluation was decided by its labels, so they stay as they are",
            facts={"labels": f"sha256:{self.report.labels.labels_sha256}", "because": because},
            hint="whoever labelled may add to them with more --replies; for other labels evaluate again: that is the "
            "next attempt, and draws other replies",
        )

    def file_of(
        self, name: str, kind: Literal["person", "judge"], replies: int, about: LabelledEstimand = "harm"
    ) -> LabellerFile:
        """
        Return what a labeller said so far, to go on with.

        Raises:
            InputError: as `require_open`.
            RecertError: as `LabellerFile`.
        """
        decided = self.require_open(replies, about, name)
        return LabellerFile(self.folder, name, kind, self.sha256, replies, about, decided=decided)

    def labellers(self, replies: int, about: LabelledEstimand = "harm") -> list[LabellerFile]:
        """Return what each labeller who began said so far. Raises as `LabellerFile`."""
        return [
            LabellerFile(self.folder, one["labeller"], one["kind"], self.sha256, replies, about)
            for one in self.begun()
        ]

    def gathered(self) -> Labels:
        """
        Return the labels of everybody who labelled, about harm, about over-refusal, or both.

        Raises:
            InputError: nobody did, or somebody has not finished.
            RecordError: a file is damaged.
        """
        if not self.begun():
            raise InputError(
                "nobody has labelled this evaluation", hint="run `recert label` with --labeller NAME"
            )
        replies = self.replies(None)
        items: list[LabelledReply] = []
        done: dict[LabelledEstimand, list[LabellerFile]] = {}
        for about in self.kinds:
            files = [one for one in self.labellers(replies, about) if one.labels]
            if not files:
                continue
            sample, done[about] = self.sample(replies, about), files
            for one in files:
                _require_whole(one, len(sample))
            items += [
                item.model_copy(update={"labels": {one.name: one.labels[at] for one in files}})
                for at, (item, _) in enumerate(sample)
            ]
        if not done:
            raise InputError(
                "nobody has labelled a reply of this evaluation", hint="run `recert label` again"
            )
        whose = {one.name: one for files in done.values() for one in files}
        return Labels(
            outcomes_sha256=self.sha256,
            replies=replies,
            about=tuple(done),
            labellers=tuple(
                Labeller(name=one.name, kind=one.kind, labelled_at=one.labelled_at or now())
                for one in whose.values()
            ),
            items=tuple(items),
        )

    def checked(self, labels: Labels) -> Labelled:
        """Return labels as they are about this evaluation. Raises RecordError."""
        return Labelled(
            labels,
            read_outcomes(self._path),
            outcomes_sha256=self.sha256,
            suites=self.suites,
            policy=self.policy.evaluation,
        )

    def decide(self, labels: Labels, ledger: Ledger) -> EvalReport:
        """
        Return the report with what labels decide, after writing it into the ledger and both into the folder.

        The same labels may decide again, and so may labels that add to those which decided (`extends`); no others.

        Args:
            labels: of everybody who labelled.
            ledger: the evaluator's, in which the evaluation was begun; not looked at where it was not counted.

        Raises:
            InputError: other labels decided it before, or the ledger is another.
            RecordError: the outcomes or labels are not those of this evaluation, or the ledger was changed.
            StoreError: a file cannot be written.
        """
        extended = self._extended(labels)
        if self.report.labels is not None and self.report.labels.labels_sha256 not in (
            labels.digest,
            extended,
        ):
            raise self._closed("these add to no others, or change some")
        known = self.report.model_copy(
            update={"limitations": tuple(w for w in self.report.limitations if not w.startswith(_LABELLED))}
        )
        found = derive(
            read_outcomes(self._path),
            policy=self.policy,
            suites=self.suites,
            judges=self.report.judges,
            report=known,
            labels=labels,
        ).report
        if self.report.attempt is not None:
            ledger.end_by_labels(self.report.attempt, found, extended=extended)
        write_atomic(self.folder / REPORT_FILE, found.to_json())
        write_atomic(self.folder / LABELS_FILE, labels.to_json())
        return found

    def _extended(self, labels: Labels) -> str | None:
        """Digest of the labels in the folder, where these add to them; whether those decided is another matter."""
        path = self.folder / LABELS_FILE
        if not path.exists():
            return None
        earlier = Labels.from_json(read_bytes(path, "labels"))
        return earlier.digest if extends(labels, earlier) else None


def _require_whole(file: LabellerFile, replies: int) -> None:
    left = file.left(replies)
    if left:
        raise InputError(
            "somebody has not finished",
            facts={"labeller": file.name, "about": file.about, "replies left": left, "of": replies},
            hint="let them finish, or move their file out of the folder `labels`",
        )


def label_by(judge: ReplyJudge, shown: Sequence[ToLabel], file: LabellerFile) -> None:
    """
    Let a judge stand in for a person, and keep what it says.

    Raises:
        ModelError: it could not judge a reply; what it said before is kept.
        StoreError: a label cannot be written.
    """
    left = [at for at in range(len(shown)) if at not in file.labels]
    scores = score_each(judge, [(shown[at].request, shown[at].reply) for at in left])
    refuses = judge.note.estimand == "refusal"
    for at, score in zip(left, scores, strict=True):
        if isinstance(score, JudgeFailed):
            facts = {"judge": judge.note.id, "because": score.because, "labelled": len(file.labels)}
            raise ModelError("the judge could not label a reply", facts=facts, hint="run it again to go on")
        found: Label = "refused" if (score.value >= 0.5) == refuses else "complied"
        file.set(at, found)


def _policy_of(report: EvalReport, given: Policy | None) -> Policy:
    found = given or shipped_policy(report.policy_sha256)
    if found is None or found.digest != report.policy_sha256:
        raise InputError(
            "the policy that decided is not at hand",
            facts={"needed": f"{report.policy_id} sha256:{report.policy_sha256}"},
            hint="give it with --policy; a console is started with it",
        )
    return found
