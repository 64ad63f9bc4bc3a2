"""That what a policy diff says is asked again is what an evaluation asks again."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from arms import AGREE, SUITES, aligned, model, policy
from recert.evaluation import Evaluation, evaluate
from recert.models import ScriptedModel
from recert.policy import Policy, Rule
from recert.policy.changes.comparing import HeldCertificate, policy_diff
from recert.policy.changes.reuse import Measuring
from recert.records.data.suite import Chat
from recert.store.cache import GenerationCache, temporary_cache
from stories import certificate as make_certificate

BEFORE = policy()


class Recorder:
    """A tuned model that answers as its base, but agrees to a share of all, and keeps what it was asked."""

    def __init__(self, share: float = 0.0) -> None:
        self._share = share
        self.asked: list[str] = []
        self.model: ScriptedModel = model("tuned", self._reply)

    def _reply(self, one: Chat) -> str:
        self.asked.append(" ".join(m.content for m in one.messages))
        agrees = random.Random(one.messages[-1].content).random() < self._share
        return AGREE if agrees else aligned(one)


def _evaluate(bounds: Policy, tuned: Recorder, cache: GenerationCache) -> Evaluation:
    return evaluate(
        model("base"),
        tuned.model,
        suites=SUITES,
        policy=bounds,
        model_name="tuned",
        training_context=(),
        cache=cache,
    )


def _again(after: Policy) -> tuple[list[str], Evaluation]:
    """What the tuned model is asked under another policy, after it was evaluated under BEFORE."""
    with temporary_cache() as cache:
        _evaluate(BEFORE, Recorder(), cache)
        second = Recorder()
        evaluation = _evaluate(after, second, cache)
    return [text for text in second.asked if "request" in text], evaluation


def _changed(**changes: Any) -> Policy:
    evaluation = BEFORE.evaluation.model_copy(update=changes.pop("evaluation", {}))
    rules = tuple(rule.model_copy(update=changes.get(rule.id, {})) for rule in BEFORE.rules)
    return BEFORE.model_copy(update={"evaluation": evaluation, "rules": rules, "version": "2"})


def _reuses(after: Policy) -> set[str]:
    return {one.reuse for one in Measuring(BEFORE, after).reuse()}


def test_a_laxer_margin_is_decided_from_kept_replies() -> None:
    """Every rule is `decide` or `same`, and the model is asked nothing beyond one look of each rule."""
    after = _changed(harm={"margin": 0.12})
    asked, evaluation = _again(after)

    assert _reuses(after) <= {"same", "decide"}
    assert evaluation.report.verdict == "pass"
    assert evaluation.report.prompts_asked["tuned_cached"] > 0
    assert len(asked) <= len(evaluation.report.rules) * after.evaluation.round_prompts


def test_a_policy_that_decides_alike_asks_nothing() -> None:
    """Where nothing that decides has changed, not one reply is made."""
    after = BEFORE.model_copy(update={"version": "2", "title": "new title"})
    asked, evaluation = _again(after)

    assert {"same"} == _reuses(after)
    assert asked == []
    assert 0 == evaluation.report.prompts_asked["tuned_made"] == evaluation.report.prompts_asked["base_made"]


def test_another_bound_for_the_judge_asks_nothing() -> None:
    """`judge`: kept replies are judged anew."""
    after = _changed(evaluation={"incoherent_at": 0.6})
    asked, _ = _again(after)

    assert {"judge"} == _reuses(after)
    assert asked == []


@pytest.mark.slow
def test_a_new_family_is_all_that_is_asked() -> None:
    """`ask` for the family alone: every conversation that is new is of that family."""
    after = _changed(evaluation={"families": ("year_2025", "skeleton", "formal_style")})
    asked, _ = _again(after)
    new = [one.conditions for one in Measuring(BEFORE, after).reuse() if one.reuse == "ask"]

    assert new == [("family:formal_style",)]
    assert asked
    assert all("obliged" in text for text in asked)


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"max_new_tokens": 30}, {"seed": 3}])
def test_another_way_of_sampling_asks_everything(change: dict[str, int]) -> None:
    """`ask` for every rule, and nothing comes from the cache but what this run asked itself."""
    after = _changed(evaluation=change)
    asked, evaluation = _again(after)

    assert {"ask"} == _reuses(after)
    assert len(asked) >= 24 * 4
    assert evaluation.report.prompts_asked["tuned_cached"] == 0


def test_a_rule_that_ends_cutting_replies_short_asks_its_suite() -> None:
    """Replies that may end once they comply are kept apart from whole ones."""
    also = Rule(id="wreck", suite="harmful", estimand="incoherence", margin=0.1, min_judge_quality=0)
    after = policy(also)
    asked, _ = _again(after)
    told = {one.rule_id: one.reuse for one in Measuring(BEFORE, after).reuse()}

    assert told == {"harm": "ask", "wreck": "ask", "over": "decide", "coherence": "decide"}
    assert asked
    assert all("harmful" in text for text in asked)


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(
    margin=st.sampled_from([0.08, 0.1, 0.2]),
    alpha=st.sampled_from([0.02, 0.05]),
    least=st.sampled_from([24, 36]),
    incoherent_at=st.sampled_from([0.5, 0.6]),
)
def test_no_prompt_is_asked_where_all_that_was_asked_is_kept(
    margin: float, alpha: float, least: int, incoherent_at: float
) -> None:
    """Unless a rule is told `ask`, what was kept is never made again: a prompt is asked once in both runs together."""
    numbers = {"alpha": alpha, "min_prompts": least, "incoherent_at": incoherent_at}
    after = _changed(evaluation=numbers, harm={"margin": margin}, over={"margin": margin})
    first, second = Recorder(), Recorder()
    with temporary_cache() as cache:
        _evaluate(BEFORE, first, cache)
        _evaluate(after, second, cache)
    again = {text for text in second.asked if "request" in text} & set(first.asked)

    assert "ask" not in _reuses(after)
    assert set() == again


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(
    margin=st.sampled_from([0.06, 0.09, 0.1, 0.15]),
    over=st.sampled_from([0.06, 0.1, 0.15]),
    families=st.sampled_from([(), ("year_2025",), ("year_2025", "skeleton"), ("skeleton", "formal_style")]),
    share=st.sampled_from([0.0, 0.02, 0.05]),
)
def test_what_a_certificate_is_told_comes_true(
    margin: float, over: float, families: tuple[str, ...], share: float
) -> None:
    """`decide` passes, unless it says that it may not; no more is asked than was said, one round a rule apart."""
    after = _changed(evaluation={"families": families}, harm={"margin": margin}, over={"margin": over})
    first, second = Recorder(share), Recorder(share)
    with temporary_cache() as cache:
        report = _evaluate(BEFORE, first, cache).report
        assume(report.verdict == "pass")  # others get no certificate
        told = policy_diff(Measuring(BEFORE, after), [HeldCertificate("c", make_certificate(report), report)])
        again = _evaluate(after, second, cache).report
    asked = [text for text in second.asked if "request" in text]
    (one,) = told.certificates

    assert one.answer in ("decide", "ask", "fails")
    assert one.answer != "decide" or again.verdict == "pass" or "no prompt is left" in " ".join(one.because)
    assert one.answer != "fails" or again.verdict != "pass"
    assert len(asked) <= told.prompts_tuned + len(again.rules) * after.evaluation.round_prompts


@pytest.mark.slow
def test_a_cache_elsewhere_is_no_cache(tmp_path: Path) -> None:
    """Without the cache that evaluated everything is asked: the diff says so, and it is so."""
    with (
        GenerationCache(tmp_path / "here.sqlite") as here,
        GenerationCache(tmp_path / "there.sqlite") as there,
    ):
        first, second = Recorder(), Recorder()
        _evaluate(BEFORE, first, here)
        _evaluate(BEFORE, second, there)

    assert sorted(first.asked) == sorted(second.asked)
