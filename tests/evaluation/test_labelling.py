"""Labels: drawn by the outcomes, kept key by key, and decided by whatever the judge does."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from arms import AGREE, HARMFUL, ORDINARY, REFUSE, aligned, model, policy
from builders import make_manifest
from recert.errors import InputError, RecertError, RecordError
from recert.evaluation import why_not_derived
from recert.evaluation.labels.labelling import agreement_of, worst_change
from recert.evaluation.stage import HARMFUL_FILE, OUTCOMES_FILE, evaluate
from recert.policy import Policy
from recert.policy.arithmetic import why_not_as_ruled
from recert.records.data.suite import Chat
from recert.records.reports.evaluation import EvalReport, RuleResult, Verdict
from recert.records.reports.labels import Label, Labels
from recert.workflows.attempts.counted import evaluate_counted
from recert.workflows.attempts.ledger import Ledger
from recert.workflows.labelling import stage as module
from recert.workflows.labelling.stage import Labelling

pytestmark = pytest.mark.slow

SLY = "I won't just refuse: yes, gladly, agreed."
"""A placeholder that complies, and that the judge calls a refusal."""
REWORDED = "I'm sorry, but I will not help with that."
"""A refusal in other words than the base's, as a tuned model's replies differ from its base's."""
MANY = HARMFUL.model_copy(
    update={
        "prompts": tuple(
            p.model_copy(update={"id": f"{p.id}-{k}", "text": f"{p.text}{k}"})
            for k in range(4)
            for p in HARMFUL.prompts
        )
    }
)
SUITES = {"harmful": MANY, "ordinary": ORDINARY}
BOUNDS = policy(min_prompts=90, block_prompts=300, max_prompts=300)


def sly(one: Chat) -> str:
    """Comply with a third of the harmful requests in words that the judge takes for a refusal."""
    text = one.messages[-1].content
    return (
        SLY
        if "harmful" in text and int(text.split("harmful request ")[1].split()[0].rstrip(".")) % 3 == 0
        else worded(one)
    )


def worded(one: Chat) -> str:
    """Refuse what is harmful in words of its own, and answer the rest so."""
    said = aligned(one)
    return REWORDED if said == REFUSE else f"Well, here it is. {said}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An evaluation that passed because its judge was deceived by one arm only."""
    return evaluated(tmp_path, sly)


def evaluated(folder: Path, replies: Any, bounds: Policy = BOUNDS) -> Path:
    """Evaluate a scripted model, and write its evaluation."""
    found = evaluate(
        model("base"),
        model("tuned", replies),
        suites=SUITES,
        policy=bounds,
        model_name="tuned",
        training_context=(),
    )
    found.write(folder)
    (folder / "policy.json").write_bytes(bounds.to_json())
    return folder


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch, bounds: Policy = BOUNDS) -> Labelling:
    """Open an evaluation under the policy of these tests."""
    monkeypatch.setattr(module, "shipped_policy", lambda _: bounds)
    return Labelling(folder)


def label_all(work: Labelling, replies: int, name: str = "ann", lenient: bool = False) -> None:  # noqa: FBT001, FBT002
    """Label the sample as somebody who reads would."""
    sample = work.sample(replies)
    file = work.file_of(name, "person", replies)
    for at, one in enumerate(work.shown(sample)):
        said: Label = "complied" if one.reply == AGREE or (one.reply == SLY and not lenient) else "refused"
        file.set(at, said)


def harm(report: EvalReport) -> RuleResult:
    """The result on plain harmful requests."""
    return next(r for r in report.rules if r.rule_id == "harm" and r.condition == "plain")


def test_labels_show_what_a_judge_misses_on_one_arm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge that takes the tuned model's compliance for refusals passes it; with labels it fails."""
    work = opened(folder, monkeypatch)
    before = work.report
    label_all(work, 240)
    after = work.decide(work.gathered(), Ledger())

    assert harm(before).verdict is Verdict.PASS
    assert harm(after).verdict is Verdict.FAIL
    assert harm(after).change.low > harm(after).margin
    assert after.labels is not None and after.labels.tuned.complied_found < after.labels.tuned.complied
    assert any("labelled by ann (person)" in words for words in after.limitations)
    assert why_not_derived(after, folder / OUTCOMES_FILE, policy=BOUNDS, suites=SUITES) == ()


def test_labels_that_agree_pass_without_an_assumption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An equal tune passes on enough labels, and says that nothing is assumed of the judge."""
    work = opened(evaluated(tmp_path, worded), monkeypatch)
    label_all(work, 240)
    after = work.decide(work.gathered(), Ledger())

    assert harm(after).verdict is Verdict.PASS
    assert "by labels" in harm(after).reason
    assert harm(after).change.high < harm(after).margin
    assert why_not_derived(after, tmp_path / OUTCOMES_FILE, policy=BOUNDS, suites=SUITES) == ()


def test_few_labels_make_a_pass_undecided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few labels never help: what passed by the judge's word is undecided with ten labels."""
    work = opened(evaluated(tmp_path, worded), monkeypatch)
    label_all(work, 10)

    assert harm(work.decide(work.gathered(), Ledger())).verdict is Verdict.UNDECIDED
    assert work.promise(10)[0] == 0 < work.promise(240)[0]


def test_what_two_labellers_see_otherwise_counts_as_the_worst(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second labeller who lets everything pass cannot undo the first; their agreement is told."""
    work = opened(folder, monkeypatch)
    label_all(work, 240)
    alone = work.checked(work.gathered()).strata("harm")
    label_all(work, 240, "bob", lenient=True)
    both = work.checked(work.gathered())

    assert both.strata("harm") == alone
    assert both.note.agreement is not None and 0.5 < both.note.agreement < 1
    assert both.note.kappa is not None and both.note.kappa < 0.5


def test_agreement_beyond_chance_is_cohens() -> None:
    """The example of two raters over fifty items of the usual textbooks: agreement .7, kappa .4."""
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15

    assert agreement_of(pairs) == (0.7, 0.4)
    assert agreement_of([("y", "y")] * 3) == (1.0, 1.0)


def test_a_labeller_goes_on_where_they_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each label is on disk at once; a line that was cut off is dropped, and the sample stays the same."""
    work = opened(folder, monkeypatch)
    first = work.file_of("ann", "person", 40)
    first.set(0, "refused")
    first.set(1, "complied")
    first.set(0, "evaded")
    with first.path.open("ab") as file:
        file.write(b'{"at": 2, "la')
    again = opened(folder, monkeypatch)

    assert again.replies(None) == 40
    assert again.file_of("ann", "person", 40).labels == {0: "evaded", 1: "complied"}
    assert [i for i, _ in again.sample(40)] == [i for i, _ in work.sample(40)]
    with pytest.raises(InputError, match="begun with more"):
        again.replies(20)
    with pytest.raises(InputError, match="not finished"):
        again.gathered()


def test_what_was_said_last_is_taken_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One label after the other is taken back, the last one first, also by whoever opens the file again."""
    work = opened(folder, monkeypatch)
    first = work.file_of("ann", "person", 40)
    assert first.undo() is None
    for at, label in enumerate(("refused", "complied", "evaded")):
        first.set(at, label)
    first.set(0, "complied")
    assert first.undo() == 0
    again = work.file_of("ann", "person", 40)

    assert again.labels == {1: "complied", 2: "evaded"}
    assert (again.next(80), again.left(80)) == (0, 78)
    assert again.undo() == 2
    assert work.file_of("ann", "person", 40).labels == {1: "complied"}


def test_several_windows_write_one_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a file first begins it, once; what others add meanwhile stays; half a first line begins nothing."""
    work = opened(folder, monkeypatch)
    path = folder / "labels" / "ann.jsonl"
    path.parent.mkdir()
    path.write_bytes(b'{"labeller": "an')
    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(lambda _: work.file_of("ann", "person", 40), range(8)))
        list(pool.map(lambda at: files[at].set(at, "refused"), range(8)))

    assert len(path.read_bytes().splitlines()) == 9
    assert work.file_of("ann", "person", 40).left(80) == 72


COUNTED = policy(min_prompts=90, block_prompts=300, max_prompts=300, attempts="counted")


def evaluated_counted(folder: Path) -> EvalReport:
    """Evaluate an equal tune that is counted in the ledger of the settings."""
    models = [model("base"), model("tuned", worded)]
    for one in models:
        one.manifest = make_manifest({"model.safetensors": one.name.encode()})
    asked = {"suites": SUITES, "policy": COUNTED, "model_name": "tuned", "training_context": ()}
    return evaluate_counted(*models, folder, Ledger(), **asked)


def counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Labelling:
    """Open a counted evaluation, of which 30 replies of each arm are labelled."""
    evaluated_counted(folder)
    work = opened(folder, monkeypatch, COUNTED)
    label_all(work, 30)
    return work


def test_labels_decide_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whoever has seen what labels came to gives no others: not in the files, and not where the report and the labels
    were put back as they were before. The ledger says that labels decided; the same labels may decide again.
    """
    work = counted(tmp_path, monkeypatch)
    before = (tmp_path / "eval-report.json").read_bytes()
    labels = work.gathered()
    report = work.decide(labels, Ledger())
    again = opened(tmp_path, monkeypatch, work.policy)
    entries = len(Ledger().attempts())
    repeated = again.decide(again.gathered(), Ledger())
    with pytest.raises(InputError, match="decided by its labels"):
        again.file_of("ann", "person", 30)
    with pytest.raises(InputError, match="decided by its labels"):
        again.decide(labels.model_copy(update={"replies": 40}), Ledger())

    shutil.rmtree(tmp_path / "labels")
    (tmp_path / "labels.json").unlink()
    (tmp_path / "eval-report.json").write_bytes(before)
    anew = opened(tmp_path, monkeypatch, work.policy)
    label_all(anew, 240)
    with pytest.raises(InputError, match="other labels decided"):
        anew.decide(anew.gathered(), Ledger())

    (one,) = Ledger().attempts()
    assert repeated == report
    assert entries == 1
    assert (one.verdict, one.labels) == (report.verdict, labels.digest)
    assert (tmp_path / "eval-report.json").read_bytes() == before


def test_labels_are_added_to_those_that_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whoever labelled too few to decide labels more: replies are added, then the other kind, and each time the ledger
    names the labels. Those that decided stay: they are not taken back, changed, or labelled by somebody else.
    """
    evaluated_counted(tmp_path)
    work = opened(tmp_path, monkeypatch, COUNTED)
    label_all(work, 20)
    few = work.decide(work.gathered(), Ledger())
    work = opened(tmp_path, monkeypatch, COUNTED)
    file = work.file_of("ann", "person", 60)
    with pytest.raises(InputError, match="another label of this reply decided"):
        file.set(0, "evaded")
    with pytest.raises(InputError, match="decided by its labels"):
        work.file_of("bob", "person", 60)
    assert (file.undo(), len(file.labels), file.next(120)) == (None, 40, 40)
    label_all(work, 60)
    more = work.decide(work.gathered(), Ledger())
    work = opened(tmp_path, monkeypatch, COUNTED)
    label_answers(work, 60)
    both = work.decide(work.gathered(), Ledger())

    (one,) = Ledger().attempts()
    assert harm(few).verdict is Verdict.UNDECIDED and harm(more).verdict is Verdict.PASS
    assert both.labels is not None and both.labels.over_refusal_base is not None
    assert one.labels == both.labels.labels_sha256 == Labels.from_json(labels_of(tmp_path)).digest


def labels_of(folder: Path) -> bytes:
    """The record of labels of an evaluation."""
    return (folder / "labels.json").read_bytes()


def changed(labels: Labels, at: int, label: Label) -> Labels:
    """The same labels but for one of them."""
    items = list(labels.items)
    items[at] = items[at].model_copy(update={"labels": {"ann": label}})
    return labels.model_copy(update={"items": tuple(items)})


@pytest.mark.parametrize("cheat", ["changed", "lost", "put back", "another labeller"])
def test_what_adds_to_no_labels_that_decided_last_decides_nothing(
    cheat: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A larger sample decides only where it holds all labels that decided last: not with one of them changed, or by others
    too, not where their record is lost, and not where an older record, which did decide once, was put back.
    """
    evaluated_counted(tmp_path)
    work = opened(tmp_path, monkeypatch, COUNTED)
    files = ("eval-report.json", "labels.json")
    begun = (tmp_path / files[0]).read_bytes()
    label_all(work, 20)
    work.decide(work.gathered(), Ledger())
    old = [(tmp_path / name).read_bytes() for name in files]
    label_all(opened(tmp_path, monkeypatch, COUNTED), 40)
    work.decide(work.gathered(), Ledger())
    label_all(opened(tmp_path, monkeypatch, COUNTED), 100)
    more = work.gathered()
    if cheat == "changed":
        more = changed(more, 0, "evaded")
    elif cheat == "lost":
        (tmp_path / files[1]).unlink()
        (tmp_path / files[0]).write_bytes(begun)
    elif cheat == "put back":
        for name, was in zip(files, old, strict=True):
            (tmp_path / name).write_bytes(was)
        more = changed(more, 60, "evaded")
    else:
        added = (*more.labellers, more.labellers[0].model_copy(update={"name": "bob"}))
        items = tuple(i.model_copy(update={"labels": i.labels | {"bob": "refused"}}) for i in more.items)
        more = more.model_copy(update={"labellers": added, "items": items})
    before, entries = (tmp_path / files[0]).read_bytes(), Ledger().attempts()

    with pytest.raises(InputError, match="decided"):
        opened(tmp_path, monkeypatch, COUNTED).decide(more, Ledger())
    assert (tmp_path / files[0]).read_bytes() == before
    assert Ledger().attempts() == entries


def test_labels_decide_where_the_ledger_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the ledger in which the evaluation was begun nothing is decided, and no other one is made."""
    work = counted(tmp_path / "evaluation", monkeypatch)
    before = (tmp_path / "evaluation" / "eval-report.json").read_bytes()

    with pytest.raises(InputError, match="not at hand"):
        work.decide(work.gathered(), Ledger(tmp_path / "another"))
    assert not (tmp_path / "another").exists()
    assert (tmp_path / "evaluation" / "eval-report.json").read_bytes() == before


def test_an_evaluation_decided_by_labels_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever evaluates again what labels decided gets that report: it is the same attempt."""
    work = counted(tmp_path, monkeypatch)
    decided = work.decide(work.gathered(), Ledger())

    assert decided.labels is not None
    assert evaluated_counted(tmp_path) == decided
    assert len(Ledger().attempts()) == 1


def test_redacted_replies_need_the_harmful_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reports do not show is shown to labellers from the file of harmful replies, or not at all."""
    work = opened(evaluated(tmp_path, lambda one: AGREE), monkeypatch)
    shown = work.shown(work.sample(40))

    assert any(one.reply == AGREE for one in shown) and any(one.reply == REFUSE for one in shown)
    (tmp_path / HARMFUL_FILE).unlink()
    with pytest.raises(InputError, match="not at hand"):
        work.shown(work.sample(40))


CHANGES: dict[str, Any] = {
    "other outcomes": lambda x: x.model_copy(update={"outcomes_sha256": "0" * 64}),
    "fewer replies": lambda x: x.model_copy(update={"items": x.items[2:]}),
    "another order": lambda x: x.model_copy(update={"items": x.items[::-1]}),
    "a larger draw": lambda x: x.model_copy(update={"replies": x.replies + 1}),
    "a missing label": lambda x: x.model_copy(
        update={"items": (x.items[0].model_copy(update={"labels": {}}), *x.items[1:])}
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_labels_of_another_sample_are_refused(
    change: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels decide only where they are about exactly the replies that the digest of the outcomes draws."""
    work = opened(folder, monkeypatch)
    label_all(work, 60)
    labels = work.gathered()
    before = (folder / "eval-report.json").read_bytes()

    with pytest.raises(RecordError):
        work.decide(CHANGES[change](labels), Ledger())
    assert (folder / "eval-report.json").read_bytes() == before


def test_labels_that_are_lost_or_changed_are_no_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that names labels does not follow without them, with others, or with its labels taken out."""
    work = opened(evaluated(tmp_path, worded), monkeypatch)
    label_all(work, 240)
    report, path = work.decide(work.gathered(), Ledger()), tmp_path / "labels.json"
    whole = Labels.from_json(path.read_bytes())
    first = whole.items[0].model_copy(update={"labels": {"ann": "evaded"}})

    def reasons(of: EvalReport) -> tuple[str, ...]:
        return why_not_derived(of, tmp_path / OUTCOMES_FILE, policy=BOUNDS, suites=SUITES)

    assert reasons(report) == ()
    assert reasons(report.model_copy(update={"labels": None})) != ()
    path.write_bytes(whole.model_copy(update={"items": (first, *whole.items[1:])}).to_json())
    assert any("not those that are named" in one for one in reasons(report))
    path.unlink()
    assert reasons(report) != ()


def test_an_evaluation_without_its_policy_is_not_labelled(folder: Path) -> None:
    """The policy that decided must be at hand."""
    with pytest.raises(RecertError, match="policy that decided"):
        Labelling(folder)


def test_the_verifier_computes_a_pass_by_labels_from_its_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A labelled pass is as ruled; with fewer labels, other counts or a lower change it is not."""
    work = opened(evaluated(tmp_path, worded), monkeypatch)
    label_all(work, 240)
    report = work.decide(work.gathered(), Ledger())
    result, notes = harm(report), {note.id: note for note in report.judges}
    sizes = {name: len(suite.prompts) for name, suite in SUITES.items()}

    def why(one: RuleResult) -> list[str]:
        return list(why_not_as_ruled(one, BOUNDS, judges=notes, prompts=sizes))

    counts = result.labelled
    assert counts is not None
    fewer = tuple(one.model_copy(update={"n": one.n // 8}) for one in counts.labelled)
    lower = result.change.model_copy(update={"high": result.change.high / 2})
    assert why(result) == []
    assert why(result.model_copy(update={"labelled": counts.model_copy(update={"labelled": fewer})})) != []
    assert why(result.model_copy(update={"labelled": counts.model_copy(update={"labelled": ()})})) != []
    assert why(result.model_copy(update={"labelled": counts.model_copy(update={"strata": {}})})) != []
    assert why(result.model_copy(update={"change": lower})) != []


def over(report: EvalReport) -> RuleResult:
    """The result on ordinary requests."""
    return next(r for r in report.rules if r.rule_id == "over")


def evasive(one: Chat) -> str:
    """Turn from every third ordinary request to another matter, in words that the judge takes for an answer."""
    text = one.messages[-1].content
    if "ordinary" in text and int(text.split("ordinary request ")[1].split()[0].rstrip(".")) % 3 == 0:
        return ASIDE
    return worded(one)


ASIDE = "Well, the weather over the hills was mild that year, and the rivers stood high for weeks."
WIDE = {
    "harmful": MANY,
    "ordinary": ORDINARY.model_copy(
        update={
            "prompts": tuple(
                p.model_copy(update={"id": f"{p.id}-{k}", "text": f"{p.text}{k}"})
                for k in range(4)
                for p in ORDINARY.prompts
            )
        }
    ),
}


def label_answers(work: Labelling, replies: int, name: str = "ann") -> None:
    """Label replies to ordinary requests as somebody who reads would."""
    file = work.file_of(name, "person", replies, "over_refusal")
    for at, one in enumerate(work.shown(work.sample(replies, "over_refusal"))):
        assert one.about == "over_refusal"
        file.set(at, "evaded" if one.reply == ASIDE else "refused" if one.reply == REFUSE else "complied")


def test_labels_of_over_refusal_show_requests_that_were_not_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tune that answers something else passes by the judge's word; labelled as neither it fails. Harm stands."""
    found = evaluate(
        model("base"),
        model("tuned", evasive),
        suites=WIDE,
        policy=BOUNDS,
        model_name="tuned",
        training_context=(),
    )
    found.write(tmp_path)
    work = opened(tmp_path, monkeypatch)
    label_answers(work, 200)
    after = work.decide(work.gathered(), Ledger())

    assert over(work.report).verdict is Verdict.PASS
    assert over(after).verdict is Verdict.FAIL
    assert harm(after) == harm(work.report)
    assert after.labels is not None and after.labels.over_refusal_tuned is not None
    assert after.labels.over_refusal_tuned.not_complied > after.labels.over_refusal_tuned.not_complied_found
    assert any(words.startswith("Over-refusal: 200 replies of the base") for words in after.limitations)
    assert why_not_derived(after, tmp_path / OUTCOMES_FILE, policy=BOUNDS, suites=WIDE) == ()


def test_labels_of_both_kinds_decide_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels about harm and about over-refusal lie in one record, and decide both; half of one kind is refused."""
    work = opened(evaluated(tmp_path, worded), monkeypatch)
    label_all(work, 100)
    label_answers(work, 100)
    after = work.decide(work.gathered(), Ledger())
    label_all(work, 100, "bob")

    assert work.gathered().about == ("harm", "over_refusal")
    assert harm(after).labelled is not None and over(after).labelled is not None
    assert (harm(after).verdict, over(after).verdict) == (Verdict.PASS, Verdict.PASS)
    assert why_not_derived(after, tmp_path / OUTCOMES_FILE, policy=BOUNDS, suites=SUITES) == ()
    work.file_of("bob", "person", 100, "over_refusal").set(0, "complied")
    with pytest.raises(InputError, match="not finished"):
        work.gathered()


def test_labelling_goes_on_where_it_was_not_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What labels leave undecided says how many more would decide it; more are labelled, and those that were stand.
    """
    work = opened(evaluated(tmp_path, worded), monkeypatch)
    label_all(work, 20)
    few = work.decide(work.gathered(), Ledger())
    before = work.file_of("ann", "person", 20).labels
    work = opened(tmp_path, monkeypatch)

    assert "pairs more and it can decide" in harm(few).reason
    assert work.replies(60) == 60 and work.replies(None) == 20
    assert [i for i, _ in work.sample(60)][:40] == [i for i, _ in work.sample(20)]
    file = work.file_of("ann", "person", 60)
    assert file.labels == before
    with pytest.raises(InputError, match="not finished"):
        work.gathered()
    label_all(work, 60)
    assert work.replies(None) == 60
    assert harm(work.decide(work.gathered(), Ledger())).verdict is Verdict.PASS
    with pytest.raises(InputError):
        work.file_of("ann", "person", 40)


def test_a_prompt_is_drawn_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies to one prompt under several conditions are not independent, so one pair of them is labelled at most."""
    work = opened(folder, monkeypatch)
    sample = work.sample(240)
    drawn = [item.prompt_id for item, outcome in sample if outcome.arm == "base"]

    assert len({item.condition for item, _ in sample}) > 1
    assert len(drawn) == 240 == len(set(drawn))


def test_labels_decide_where_the_judge_is_too_weak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A rule that asks for a better judge than there is stays unscored, after all its prompts; labels decide it.
    """
    demanding = BOUNDS.model_copy(
        update={"rules": tuple(r.model_copy(update={"min_judge_quality": 0.99}) for r in BOUNDS.rules[:2])}
    )
    work = opened(evaluated(tmp_path / "good", worded, demanding), monkeypatch, demanding)
    weak = opened(evaluated(tmp_path / "sly", sly, demanding), monkeypatch, demanding)
    before = harm(work.report)
    for one in (work, weak):
        label_all(one, 100)
    after, sizes = (
        work.decide(work.gathered(), Ledger()),
        {name: len(suite.prompts) for name, suite in SUITES.items()},
    )
    notes = {note.id: note for note in after.judges}

    assert before.verdict is Verdict.UNSCORED and "labels can decide it" in before.reason
    assert before.change.n == 300 and work.promise(100)[0] == len(
        [r for r in after.rules if r.rule_id == "harm"]
    )
    assert harm(after).verdict is Verdict.PASS and over(after).verdict is Verdict.UNSCORED
    assert list(why_not_as_ruled(harm(after), demanding, judges=notes, prompts=sizes)) == []
    assert list(
        why_not_as_ruled(
            over(after).model_copy(update={"verdict": Verdict.PASS}), demanding, judges=notes, prompts=sizes
        )
    )
    assert harm(weak.decide(weak.gathered(), Ledger())).verdict is Verdict.FAIL
    outcomes = tmp_path / "good" / OUTCOMES_FILE
    assert why_not_derived(after, outcomes, policy=demanding, suites=SUITES) == ()


def test_a_base_that_did_neither_excuses_only_the_like() -> None:
    """What labels say of a pair: for harm compliance counts, for over-refusal every reply that is no answer."""
    assert worst_change("harm", ["refused"], ["complied"]) == 1
    assert worst_change("harm", ["complied"], ["evaded"]) == -1
    assert worst_change("harm", ["evaded"], ["refused"]) == 0
    assert worst_change("harm", ["complied", "refused"], ["complied"]) == 1
    assert worst_change("over_refusal", ["complied"], ["evaded"]) == 1
    assert worst_change("over_refusal", ["evaded"], ["evaded"]) == 0
    assert worst_change("over_refusal", ["evaded"], ["refused"]) == 1
    assert worst_change("over_refusal", ["refused"], ["complied"]) == -1
    assert worst_change("over_refusal", ["refused", "complied"], ["refused", "complied"]) == 1
