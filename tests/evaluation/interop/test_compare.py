"""Two evaluations side by side, from their folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from recert.errors import InputError, PairingError, RecordError, StoreError
from recert.evaluation import evaluate
from recert.evaluation.interop.compare import compare_evaluations
from recert.evaluation.interop.folder import EvaluationFolder, Texts
from recert.records import Chat, Suite, Verdict

from ..arms import AGREE, HARMFUL, SUITES, aligned, model, policy


def write(
    folder: Path, name: str, replies: Callable[[Chat], str] = aligned, *, suites: dict[str, Suite] = SUITES
) -> EvaluationFolder:
    """Evaluate a scripted model into a folder, on the whole suites, and open it."""
    evaluate(
        model("base"),
        model(name, replies),
        suites=suites,
        policy=policy(stop_when_failed=False),
        model_name=name,
        training_context=(),
    ).write(folder / name)
    return EvaluationFolder.open(folder / name)


def triggered(one: Chat) -> str:
    """Comply only when told the year."""
    return AGREE if "year 2025" in one.messages[-1].content else aligned(one)


def test_two_tunes_that_answer_alike_pass_every_rule(tmp_path: Path) -> None:
    """Another tune with the same replies is not worse, under any condition."""
    comparison = compare_evaluations(write(tmp_path, "one"), write(tmp_path, "two"))

    assert comparison.verdict is Verdict.PASS
    assert {rule.condition for rule in comparison.rules} == {"plain", "family:year_2025", "family:skeleton"}
    assert all(rule.change.n >= 24 and rule.margin == 0.1 for rule in comparison.rules)
    assert comparison.notes == ()


def test_what_got_worse_is_named_rule_by_rule(tmp_path: Path) -> None:
    """A planted trigger fails its family and nothing else; the other way round is an improvement."""
    clean, planted = write(tmp_path, "clean"), write(tmp_path, "planted", triggered)
    comparison = compare_evaluations(clean, planted)
    failed = [rule for rule in comparison.rules if rule.verdict is Verdict.FAIL]

    assert [(r.rule_id, r.condition) for r in failed] == [("harm", "family:year_2025")]
    assert (failed[0].verdict_a, failed[0].verdict_b) == (Verdict.PASS, Verdict.FAIL)
    assert (failed[0].a.point, failed[0].b.point) == (0.0, 1.0)
    assert comparison.verdict is Verdict.FAIL
    assert compare_evaluations(planted, clean).verdict is Verdict.PASS


def test_prompts_that_one_alone_was_asked_are_counted_and_left_out(tmp_path: Path) -> None:
    """An evaluation that stopped early is compared on what both were asked."""
    comparison = compare_evaluations(write(tmp_path, "clean"), write(tmp_path, "harmful", lambda one: AGREE))
    (rule,) = [r for r in comparison.rules if (r.rule_id, r.condition) == ("harm", "plain")]

    assert rule.change.n == 24
    assert rule.only_a > 0
    assert (rule.verdict, rule.unscored) == (Verdict.FAIL, 0)


def test_another_suite_of_the_same_name_cannot_be_paired(tmp_path: Path) -> None:
    """Where the prompts are others, ids mean nothing: unscored, never a pass."""
    fewer = HARMFUL.model_copy(update={"prompts": HARMFUL.prompts[:100]})
    other = write(tmp_path, "two", suites={**SUITES, "harmful": fewer})
    comparison = compare_evaluations(write(tmp_path, "one"), other)
    harm = [r for r in comparison.rules if r.suite == "harmful"]

    assert {r.verdict for r in harm} == {Verdict.UNSCORED}
    assert "other prompts" in harm[0].reason
    assert comparison.verdict is Verdict.UNSCORED


def test_a_rule_that_one_report_lost_is_unscored(tmp_path: Path) -> None:
    """Taking a rule out of B's report does not take it out of the comparison."""
    one, two = write(tmp_path, "one"), write(tmp_path, "two")
    fewer = EvaluationFolder(two.folder, two.report.model_copy(update={"rules": two.report.rules[1:]}))
    comparison = compare_evaluations(one, fewer)

    assert len(comparison.rules) == len(one.report.rules)
    assert comparison.verdict is Verdict.UNSCORED
    with pytest.raises(PairingError, match="same evaluation"):
        compare_evaluations(one, one)


def test_what_else_differs_is_noted(tmp_path: Path) -> None:
    """Another base or policy is said before the figures."""
    one, two = write(tmp_path, "one"), write(tmp_path, "two")
    changed = two.report.model_copy(update={"engine": "other/2", "policy_sha256": "0" * 64})
    notes = " ".join(compare_evaluations(one, EvaluationFolder(two.folder, changed)).notes)

    assert "the engine differs: scripted/1 in A, other/2 in B" in notes
    assert "the policy differs" in notes


def test_outcomes_that_are_not_the_reports_are_refused(tmp_path: Path) -> None:
    """A line taken out, changed or added, or a missing file, is no evaluation any more."""
    folder = write(tmp_path, "one").folder
    whole = (folder / "outcomes.jsonl").read_bytes()
    for damaged in (
        whole[: whole.index(b"\n") + 1],
        whole.replace(b'"harm":0', b'"harm":1', 1),
        whole + whole,
    ):
        (folder / "outcomes.jsonl").write_bytes(damaged)
        with pytest.raises(RecordError, match="not those of the report"):
            EvaluationFolder.open(folder)
    (folder / "outcomes.jsonl").unlink()
    with pytest.raises(StoreError):
        EvaluationFolder.open(folder)


def test_harmful_replies_come_back_only_from_their_own_file(tmp_path: Path) -> None:
    """Redacted by default; whole with the file of mode 0600; refused when others may read it or it is another's."""
    folder = write(tmp_path, "harmful", lambda one: AGREE).folder
    redacted = {o.reply for o in EvaluationFolder.open(folder).outcomes() if o.scores.get("harm")}
    whole = {
        o.reply for o in EvaluationFolder.open(folder, with_harmful=True).outcomes() if o.scores.get("harm")
    }

    assert all(reply.startswith("[redacted: judged harmful") for reply in redacted)
    assert whole == {AGREE}
    path = folder / "harmful-replies.jsonl"
    lines = path.read_text().splitlines()
    for damaged in (
        lines[1:],
        [*lines, lines[0]],
        [json.dumps(json.loads(lines[0]) | {"reply": "x"}), *lines[1:]],
    ):
        path.write_text("\n".join(damaged) + "\n")
        with pytest.raises(RecordError, match="harmful replies are not those"):
            list(EvaluationFolder.open(folder, with_harmful=True).outcomes())
    path.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        EvaluationFolder.open(folder, with_harmful=True)


def test_texts_come_from_the_very_suites_of_the_report(tmp_path: Path) -> None:
    """A suite of the same name and other content gives no text at all."""
    report = write(tmp_path, "one").report
    other = HARMFUL.model_copy(update={"version": "2"})

    assert Texts(report, SUITES).prompt("harmful", "h1") == HARMFUL.prompts[1]
    assert Texts(report, {"harmful": other}).prompt("harmful", "h1") is None
    assert Texts(report, {}).prompt("ordinary", "o1") is None
