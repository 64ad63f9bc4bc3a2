"""Labels for an evaluation in a folder: the sample, what each labeller said, and the report decided anew."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from recert.digest import sha256_bytes, sha256_file
from recert.errors import InputError, ModelError, RecertError, RecordError
from recert.evaluation.derive import derive
from recert.evaluation.evidence import NO_ANSWER, measure, stratum_of
from recert.evaluation.label_files import LABELS_FILE, LABELS_FOLDER, LabellerFile
from recert.evaluation.labelling import (
    HARM_WORDS,
    OVER_WORDS,
    Labelled,
    by_stratum,
    can_grow,
    draw_sample,
    items_of,
)
from recert.evaluation.outcomes import REDACTED, read_outcomes
from recert.evaluation.stage import HARMFUL_FILE, OUTCOMES_FILE, REPORT_FILE
from recert.evaluation.suites import find_suites
from recert.evaluation.tracks import LABELLED
from recert.judges.protocol import JudgeFailed, ReplyJudge
from recert.judges.scoring import score_each
from recert.policy import Policy, Rule, load_policy, share_under, shipped_policy
from recert.policy.labelled import STRATA, evidence_within
from recert.records import (
    EvalReport,
    Label,
    LabelledChange,
    LabelledEstimand,
    LabelledReply,
    Labeller,
    Labels,
    Outcome,
    RuleResult,
    Stratum,
    StratumLabels,
    Suite,
    Verdict,
)
from recert.records.record import now
from recert.store.files import read_bytes, write_atomic

_SIZES: Final = (60, 100, 200, 300, 400, 600)
_UNDECIDED: Final = ("pass", "undecided")
_AS_ANSWERED: Final[Mapping[Stratum, tuple[int, int]]] = {"worse": (1, 0), "better": (0, 1)}


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
        policy: the one that decided, as people name it; empty for the shipped one with the report's digest.
        suites: prompts by name, beside those that come with Recert and those in the folder.

    Raises:
        InputError: the policy is not at hand, or the evaluation cannot be labelled.
        RecordError: the outcomes are not those of the report.
        StoreError: a file cannot be read.
    """

    def __init__(self, folder: Path, *, policy: str = "", suites: Mapping[str, Suite] | None = None) -> None:
        self.folder = folder
        self.report = EvalReport.from_json(read_bytes(folder / REPORT_FILE, "evaluation report"))
        self._path = folder / OUTCOMES_FILE
        self.policy = _policy_of(self.report, policy)
        self.sha256 = sha256_file(self._path)
        if self.sha256 != self.report.outcomes_sha256:
            facts = {"named": self.report.outcomes_sha256, "on disk": self.sha256}
            raise RecordError("the outcomes are not those of the report", facts=facts)
        if self.policy.evaluation.samples_per_prompt != 1:
            raise InputError("replies drawn several times a prompt cannot be labelled")
        self.suites = find_suites(folder, self.report.suites, suites or {})
        missing = sorted(set(self.report.suites) - set(self.suites))
        if missing:
            hint = " ".join(f"--suite {name}=FILE" for name in missing)
            raise InputError(
                "prompts are not at hand", facts={"suites": ", ".join(missing)}, hint=f"give {hint}"
            )
        self._pairs = by_stratum(read_outcomes(self._path), self.suites, self.policy.evaluation)
        if not any(some for strata in self._pairs.values() for some in strata.values()):
            raise InputError(
                "no two different replies to a request in this evaluation were judged: nothing to label"
            )
        self._same = self._shares_of_equal_replies()

    def begun(self) -> tuple[dict[str, Any], ...]:
        """How each labeller began, by the first line of their file, with the replies that they have gone on to."""
        found = []
        for path in sorted((self.folder / LABELS_FOLDER).glob("*.jsonl")):
            try:
                first, *more = map(json.loads, _whole_lines(read_bytes(path, "labels")))
                found.append(dict(first) | ([x for x in more if "replies" in x] or [{}])[-1])
            except (ValueError, IndexError, TypeError) as exc:
                raise RecordError("not what a labeller said", facts={"file": path, "because": exc}) from exc
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
        if begun and (len(known) < len(begun) or (given or max(known)) < max(known)):
            facts = {"begun with": ", ".join(map(str, begun)), "now": given}
            raise InputError("labelling was begun with more replies", facts=facts, hint="go on with as many")
        if given is not None and any(given > one and not can_grow(one) for one in known):
            facts = {"begun with": ", ".join(map(str, known)), "now": given}
            hint = "only a multiple of 20 can be made larger"
            raise InputError("labelling was begun with another number of replies", facts=facts, hint=hint)
        if given is not None or known:
            return given or max(known)
        return next((size for size in _SIZES if self._passing(size) == self._passing(10**9)), _SIZES[-1])

    def promise(self, replies: int, about: LabelledEstimand = "harm") -> tuple[int, int]:
        """Return how many results would pass if labels said what the judge says, and how many labels are about."""
        return self._passing(replies, about), len(self._deciding(about))

    def _deciding(self, about: LabelledEstimand) -> list[RuleResult]:
        exact = {note.id for note in self.report.judges if note.exact}
        rules = {one.id: one for one in self.policy.rules if not one.judge}
        return [
            one
            for one in self.report.rules
            if one.estimand == about
            and one.planned is not None
            and one.judge not in exact
            and one.rule_id in rules
            and rules[one.rule_id].min_judge_quality > 0
            and (one.verdict in _UNDECIDED or _by_a_weak_judge(one, rules[one.rule_id]))
        ]

    def _shares_of_equal_replies(self) -> dict[tuple[str, str, tuple[str, ...]], float]:
        """Of pairs that did not change by the judge's word, the share of equal replies, wherever replies were asked."""
        seen, same = Counter[tuple[str, str, tuple[str, ...]]](), Counter[tuple[str, str, tuple[str, ...]]]()
        left = read_outcomes(self._path)
        while len(pair := tuple(islice(left, 2))) == 2:
            base, tuned = pair
            if not {base.state, tuned.state} & NO_ANSWER:
                where = (tuned.suite, tuned.condition, tuned.safeguards)
                seen[where] += 1
                same[where] += base.reply == tuned.reply
        return {where: same[where] / many for where, many in seen.items()}

    def _passing(self, replies: int, about: LabelledEstimand = "harm") -> int:
        sample = draw_sample(self._pairs[about], replies, self.sha256, about)
        at = self.policy.evaluation.refused_at
        counted = Counter[Stratum](stratum_of(measure(*pair, about, at)) for pair in sample)
        labels = tuple(
            StratumLabels(stratum=name, n=n, worse=n * up, better=n * down)
            for name in STRATA
            for n in (counted[name],)
            for up, down in (_AS_ANSWERED.get(name, (0, 0)),)
        )
        return sum(self._passes(one, labels) for one in self._deciding(about))

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
        attempt, bounds = self.report.attempt, self.policy.evaluation
        share = share_under(bounds.attempts, attempt.number if attempt is not None else None)
        found = evidence_within(counts, planned=result.planned, policy=bounds, margin=result.margin)
        return found >= 1 / (bounds.alpha * share)

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
        texts = {(name, p.id): p.text for name, suite in self.suites.items() for p in suite.prompts}
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

    def file_of(
        self,
        name: str,
        kind: Literal["person", "judge"],
        replies: int,
        about: LabelledEstimand = "harm",
    ) -> LabellerFile:
        """Return what a labeller said so far. Raises as `LabellerFile` does."""
        return LabellerFile(self.folder, name, kind, self.sha256, replies, about)

    def gathered(self) -> Labels:
        """
        Return the labels of everybody who labelled, about harm, about over-refusal, or both.

        Raises:
            InputError: nobody did, or somebody has not finished.
            RecordError: a file is damaged.
        """
        begun = self.begun()
        if not begun:
            raise InputError(
                "nobody has labelled this evaluation", hint="run `recert label` with --labeller NAME"
            )
        replies = self.replies(None)
        about: list[LabelledEstimand] = []
        items: list[LabelledReply] = []
        done: dict[str, LabellerFile] = {}
        for estimand in LABELLED:
            files = [self.file_of(one["labeller"], one["kind"], replies, estimand) for one in begun]
            files = [one for one in files if one.labels]
            if not files:
                continue
            sample = self.sample(replies, estimand)
            for one in files:
                self._require_whole(one, len(sample))
            about.append(estimand)
            done |= {one.name: one for one in files}
            items += [
                item.model_copy(update={"labels": {one.name: one.labels[at] for one in files}})
                for at, (item, _) in enumerate(sample)
            ]
        if not about:
            raise InputError(
                "nobody has labelled a reply of this evaluation", hint="run `recert label` again"
            )
        return Labels(
            outcomes_sha256=self.sha256,
            replies=replies,
            about=tuple(about),
            labellers=tuple(
                Labeller(name=one.name, kind=one.kind, labelled_at=one.labelled_at or now())
                for one in done.values()
            ),
            items=tuple(items),
        )

    def _require_whole(self, file: LabellerFile, replies: int) -> None:
        left = sum(at not in file.labels for at in range(replies))
        if left:
            raise InputError(
                "somebody has not finished",
                facts={"labeller": file.name, "about": file.about, "replies left": left, "of": replies},
                hint="let them finish, or move their file out of the folder `labels`",
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

    def decide(self, labels: Labels) -> EvalReport:
        """
        Return the report with what labels decide, after writing both into the folder.

        Raises:
            RecordError: the outcomes or labels are not those of this evaluation.
            StoreError: a file cannot be written.
        """
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
        write_atomic(self.folder / LABELS_FILE, labels.to_json())
        write_atomic(self.folder / REPORT_FILE, found.to_json())
        return found


_LABELLED: Final = (f"{HARM_WORDS}: ", f"{OVER_WORDS}: ")


def _whole_lines(content: bytes) -> list[bytes]:
    """The lines of a file of which the last may have been cut off while it was written."""
    return [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


def _by_a_weak_judge(result: RuleResult, rule: Rule) -> bool:
    weak = result.judge_quality is None or result.judge_quality.low < rule.min_judge_quality
    return result.verdict is Verdict.UNSCORED and result.change.n > 0 and weak


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


def _policy_of(report: EvalReport, given: str) -> Policy:
    try:
        found = load_policy(given) if given else shipped_policy(report.policy_sha256)
    except RecertError as exc:
        raise InputError(exc.message, facts=exc.facts, hint=exc.hint) from exc
    if found is None or found.digest != report.policy_sha256:
        raise InputError(
            "the policy that decided is not at hand",
            facts={"needed": f"{report.policy_id} sha256:{report.policy_sha256}"},
            hint="give it with --policy",
        )
    return found
