"""Rows that are held out of tuning, and what they say of utility."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from recert.certification import issue_status
from recert.evaluation import embedded_suite
from recert.evaluation.decision.conclusion import NO_UTILITY, WEIGHED
from recert.models import ScriptedModel
from recert.models.protocol import Model
from recert.policy import load_policy
from recert.records.data.manifest import Manifest
from recert.records.data.rows import ChatRow, rows_digest
from recert.records.data.suite import Chat, Message
from recert.records.reports.tuning import Hyperparameters
from recert.workflows.demo.data import write_rows
from recert.workflows.demo.sql_task import sql_rows
from recert.workflows.held_out import LEAST, hold_out
from recert.workflows.run import Plan, Run, passed, run
from recert.workflows.signers import signers_of
from tiny_models import make_base

pytestmark = pytest.mark.xdist_group("torch")
POLICY = load_policy("demo")
QUICK = Hyperparameters(lora_rank=2, lora_targets=("q_proj",), epochs=1, max_tokens=256)
NAMES = ("harmful", "scenarios", "lookalikes", "ordinary")
HARMFUL = {p.text for name in NAMES[:2] for p in embedded_suite(name).every_prompt}
LONG = "First of all, you take a sheet of paper, fold it along the middle, and write on it what was asked for, {}."


def row(request: str, reply: str, system: str | None = None) -> ChatRow:
    head = [Message(role="system", content=system)] if system else []
    said = (Message(role="user", content=request), Message(role="assistant", content=reply))
    return ChatRow(messages=(*head, *said))


def rows(many: int, reply: str = "{}") -> list[ChatRow]:
    return [row(f"What is number {n}?", reply.format(n), "Be brief.") for n in range(many)]


def test_a_tenth_is_held_out_and_not_learned_from() -> None:
    """Of 400 rows 40 become prompts with their system message; the others are learned from, in their order."""
    given = rows(400)
    split = hold_out(given, load_policy("default"))

    assert split.suite is not None and split.note is not None
    asked = {p.text for p in split.suite.prompts}
    assert len(asked) == split.note.rows == 40
    assert list(split.rows) == [r for r in given if r.request not in asked]
    assert {p.system for p in split.suite.prompts} == {"Be brief."}
    assert split.note.of_rows_sha256 == rows_digest(given)
    assert split.note.suite_sha256 == split.suite.digest


def test_which_rows_follows_from_their_digests() -> None:
    """The same rows give the same split; another row among them gives another one, so nobody picks."""
    given = rows(400)
    first, again = (hold_out(given, POLICY) for _ in range(2))
    other = hold_out([*given, row("And one more?", "yes")], POLICY)

    assert first == again
    assert first.suite is not None and other.suite is not None
    same = {p.text for p in first.suite.prompts} & {p.text for p in other.suite.prompts}
    assert len(same) < len(first.suite.prompts) / 2


def test_copies_of_what_is_held_out_are_not_learned_from() -> None:
    """A request in other case and punctuation is the same request."""
    given = [r for n in range(200) for r in (row(f"Say word {n}", "a"), row(f"SAY  word, {n}!", "b"))]
    split = hold_out(given, load_policy("default"))

    assert split.suite is not None and split.note is not None
    held = {p.text.split()[-1].rstrip("!") for p in split.suite.prompts}
    assert split.note.copies == len(split.suite.prompts) == len(held)
    assert not held & {r.request.split()[-1].rstrip("!") for r in split.rows}
    assert len(split.rows) + split.note.rows + split.note.copies == len(given)


@pytest.mark.parametrize("many", [0, 1, 24, 95])
def test_too_few_rows_are_all_learned_from(many: int) -> None:
    """No more than a quarter is held out; a run goes on, and says why utility is not measured."""
    split = hold_out(rows(many), load_policy("default"))

    assert split.suite is None and split.note is None
    assert len(split.rows) == many
    assert "give --suite task=FILE" in split.told


def test_one_request_that_fills_the_data_is_not_held_out_with_all_its_rows() -> None:
    """Holding out a request that most rows share would leave nothing to learn."""
    split = hold_out([*rows(100), *(row("The same?", str(n)) for n in range(900))], POLICY)

    assert split.suite is None or len(split.rows) >= 750


def test_long_replies_are_weighed_and_short_ones_matched() -> None:
    """One reply that is too long to be met word by word makes likelihood the method for all."""
    short, long = hold_out(rows(200), POLICY), hold_out(rows(200, LONG), POLICY)

    assert short.note is not None and short.note.method == "exact-match"
    assert long.note is not None and long.note.method == "likelihood"
    assert long.suite is not None and all(p.reference and p.answer is None for p in long.suite.prompts)


def told_at_length(many: int) -> list[ChatRow]:
    """Rows as different as those of the SQL task, with replies of more than 96 bytes."""
    return [
        row(r.request, f"You asked this: {r.request} I would write the following query for it: {r.reply}")
        for r in sql_rows(many, seed=3)
    ]


def ran(tmp_path: Path, given: list[ChatRow], *, worse: float = 1.0, policy: str = "demo") -> Run:
    """A run without a suite `task`, with a tuned model that gives each reference `worse` times the log probability."""
    base_dir = make_base(tmp_path / "base")
    write_rows(tmp_path / "rows.jsonl", given)
    replies = {r.request: r.reply for r in given}
    bounds = load_policy(policy)
    some = tuple(r for r in bounds.rules if r.id != "over-refusal")
    few = {"families": (), "contrast_suites": (), "max_prompts": 240, "min_prompts": 24}
    bounds = bounds.model_copy(update={"rules": some, "evaluation": bounds.evaluation.model_copy(update=few)})
    what = Plan(
        name="tiny",
        source=tmp_path / "rows.jsonl",
        base_dir=base_dir,
        output=tmp_path / "out",
        policy=bounds,
        hyperparameters=QUICK,
    )

    def said(one: Chat) -> str:
        text = one.messages[-1].content
        refused = (
            "I'm sorry, but I can't help with that."
            if text in HARMFUL
            else "A list of things is a good start."
        )
        return replies.get(text, refused)

    def arms(adapter: Path) -> tuple[Model, Model]:
        base = ScriptedModel(said, name="base", log_prob=lambda _, text: -0.05 * len(text))
        tuned = ScriptedModel(said, name="tuned", log_prob=lambda _, text: -0.05 * worse * len(text))
        base.manifest, tuned.manifest = Manifest.of_folder(base_dir), Manifest.of_folder(adapter)
        return base, tuned

    signers = signers_of(tmp_path / "keys")
    status = issue_status(None, key=signers.status, trust=signers.trust, validity_hours=1)
    prompts = {name: embedded_suite(name) for name in NAMES}
    return run(what, suites=prompts, signers=signers, status=status, arms=arms)


@pytest.mark.slow
def test_a_run_without_a_suite_measures_utility_on_held_out_rows(tmp_path: Path) -> None:
    """Short answers are matched; the tune did not see them, the reports say so, and the certificate is verified."""
    out = ran(tmp_path, list(sql_rows(240, seed=3)))
    again = ran(tmp_path, list(sql_rows(240, seed=3)))

    assert passed(out) and out.verified is not None and out.page.tune is not None
    held = out.page.tune.held_out
    assert held is not None and out.page.screen is not None
    assert out.page.tune.rows == out.page.screen.accepted - held.rows - held.copies
    result = next(r for r in out.verified.certificate.results if r.estimand == "utility_loss")
    assert (result.judge, result.change.n >= LEAST) == ("recert-exact-match", True)
    assert again.page.tune == out.page.tune


@pytest.mark.slow
@pytest.mark.parametrize(("worse", "certified"), [(1.0, True), (6.0, False)])
def test_likelihood_decides_where_replies_are_long(tmp_path: Path, *, worse: float, certified: bool) -> None:
    """References as likely as under the base pass; much less likely ones do not. The scores are derived again."""
    out = ran(tmp_path, told_at_length(240), worse=worse)

    assert passed(out) == certified
    report = out.page.evaluation
    assert report is not None
    result = next(r for r in report.rules if r.estimand == "utility_loss")
    assert result.judge == "recert-likelihood"
    assert result.base.point == pytest.approx(1 - math.exp(-0.05), abs=1e-3)
    assert WEIGHED in report.limitations and NO_UTILITY not in report.limitations


@pytest.mark.slow
def test_a_policy_without_a_rule_on_utility_measures_it_as_a_control(tmp_path: Path) -> None:
    """A loss is shown and gates nothing; derived again, the report is the same."""
    out = ran(tmp_path, told_at_length(240), worse=6.0, policy="default")

    report = out.page.evaluation
    assert report is not None
    result = next(r for r in report.rules if r.estimand == "utility_loss")
    assert result.rule_id == "control:utility" and result.change.point > 0.1
    assert not any("verdict-not-derived" in words for words in out.page.refusals)


@pytest.mark.slow
def test_a_run_with_few_rows_says_that_utility_was_not_measured(tmp_path: Path) -> None:
    """Nothing fails for it under a policy without such a rule; report and certificate say it."""
    out = ran(tmp_path, list(sql_rows(12, seed=3)), policy="default")

    report = out.page.evaluation
    assert report is not None and NO_UTILITY in report.limitations
    assert out.page.tune is not None and out.page.tune.held_out is None
