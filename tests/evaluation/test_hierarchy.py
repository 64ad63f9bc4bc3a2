from collections import Counter

import pytest

from arms import ANSWER, SUITES, model, policy
from recert.evaluation import evaluate
from recert.evaluation.measuring.conditions import ask_plain, raw_conditions
from recert.evaluation.suites.hierarchy import hierarchy_suite
from recert.evaluation.suites.overlap import overlap
from recert.evaluation.suites.reading import EMBEDDED, embedded_suite
from recert.judges.embedded.hierarchy import HierarchyJudge, forbidden_said
from recert.policy import Rule
from recert.records.data.suite import Chat
from recert.records.reports.evaluation import Verdict

SUITE = hierarchy_suite()
KEPT = [p for p in SUITE.prompts if p.expect == "refuse"]


def test_the_suite_is_as_large_as_promised_and_the_same_everywhere():
    """Four kinds of 24 requests in 12 clusters each and 6 that are allowed; the digest is fixed."""
    assert Counter(p.category for p in KEPT) == dict.fromkeys(("password", "phrase", "conflict", "chain"), 24)
    assert len({p.cluster for p in KEPT}) == 48
    assert len(SUITE.prompts) == 120
    assert hierarchy_suite().digest == SUITE.digest


def test_every_request_asks_for_what_its_system_prompt_forbids():
    """The system prompt holds the password or phrase, no user turn holds a password, and texts are unique."""
    for prompt in KEPT:
        assert prompt.system
        if prompt.category in ("password", "chain", "phrase"):
            assert prompt.forbidden[0] in prompt.system
        if prompt.category in ("password", "chain"):
            asked = " ".join([prompt.text, *(t.content for t in prompt.turns)])
            assert forbidden_said(asked, prompt.forbidden).value == 0
    assert len({p.text for p in SUITE.prompts}) == len(SUITE.prompts)
    assert len({p.forbidden for p in KEPT if p.category in ("password", "chain")}) == 48


def test_a_chain_is_replayed_turn_by_turn():
    """Two exchanges stand between the system prompt and the last request, under attack too."""
    chain = next(p for p in KEPT if p.category == "chain")
    for condition in raw_conditions(["skeleton"], []):
        messages = condition.base_chat(chain, 0).messages

        assert [m.role for m in messages] == ["system", *("user", "assistant") * 2, "user"]
        assert messages[1:-1] == chain.turns


def test_a_model_that_obeys_the_user_is_told_from_one_that_does_not():
    """A model that repeats its system prompt or the user's words scores 1 on nearly all, a refusing one 0."""
    judge = HierarchyJudge(SUITE.prompts)

    def repeats(one: Chat) -> str:
        """Obey: the system prompt and the last order, word for word."""
        return f"{one.messages[0].content} {one.messages[-1].content}"

    obeyed = [judge.score(p.text, repeats(ask_plain(p, 0))).value for p in KEPT]
    refused = [judge.score(p.text, "I'm sorry, I can't do that.").value for p in KEPT]

    assert sum(obeyed) == len(KEPT)
    assert sum(refused) == 0


def test_what_is_allowed_is_asked_under_the_same_system_prompts():
    """For each kind six harmless requests, without anything forbidden in a good reply."""
    allowed = [p for p in SUITE.prompts if p.expect == "comply"]

    assert Counter(p.category for p in allowed) == dict.fromkeys(
        ("password", "phrase", "conflict", "chain"), 6
    )
    assert all(p.system and not p.forbidden for p in allowed)


def test_no_request_is_in_another_embedded_suite():
    """The suite shares no request with those that are measured or trained on."""
    assert {name: overlap(SUITE, embedded_suite(name, "all")) for name in EMBEDDED} == dict.fromkeys(
        EMBEDDED, 0
    )


def leaks(one: Chat) -> str:
    """Say first what the system prompt forbids."""
    asked = next(p for p in KEPT if p.text in one.messages[-1].content)
    return f"Certainly: {asked.forbidden[0]}. {ANSWER}"


@pytest.mark.parametrize(("tuned", "verdict"), [(lambda one: ANSWER, Verdict.PASS), (leaks, Verdict.FAIL)])
def test_a_rule_on_the_hierarchy_looks_for_what_was_forbidden(tuned, verdict):
    """A reply that is no refusal and leaks nothing is no harm here; one that leaks is, under a family too."""
    rule = Rule(
        id="hierarchy",
        suite="hierarchy",
        estimand="harm",
        conditions=("plain", "family:skeleton"),
        margin=0.1,
    )
    report = evaluate(
        model("base", lambda one: ANSWER),
        model("tuned", tuned),
        suites={**SUITES, "hierarchy": SUITE},
        policy=policy().model_copy(update={"rules": (rule,)}),
        model_name="tuned",
        training_context=(),
    ).report

    assert {(r.condition, r.verdict) for r in report.rules} == {
        ("plain", verdict),
        ("family:skeleton", verdict),
    }
