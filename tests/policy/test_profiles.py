"""The policies that come with Recert."""

from __future__ import annotations

import pytest

from recert.errors import PolicyError
from recert.evaluation.decision.decidable import undecidable
from recert.evaluation.families.families import FAMILIES
from recert.evaluation.suites.reading import EMBEDDED, embedded_suite
from recert.policy import Policy, load_deployments, load_policy, profiles, suites_not_pinned
from recert.policy.changes.difference import differences
from recert.policy.changes.explaining import as_text, explain
from recert.policy.changes.weaknesses import weaknesses
from recert.records.data.hazards import GEMINI, OPENAI_FINE_TUNING

SUITES = {name: embedded_suite(name) for name in EMBEDDED}
EVERY = [(name, deployment) for name in profiles() for deployment in load_deployments(name)]


def test_the_profiles_are_those_of_the_docs() -> None:
    """Five profiles come with Recert, and their ids say which they are."""
    assert profiles() == ("default", "demo", "gemini-filters", "openai-13", "strict")
    assert all(load_policy(name).id == f"recert-{name}" for name in profiles())


@pytest.mark.parametrize(("name", "deployment"), EVERY)
def test_every_rule_can_pass_on_the_embedded_suites(name: str, deployment: str) -> None:
    """No rule of a profile asks for more prompts than its suite, or a category of it, has."""
    assert undecidable(load_policy(f"{name}@{deployment}"), SUITES) == ()


@pytest.mark.parametrize(("name", "deployment"), EVERY)
def test_every_profile_measures_what_a_pass_needs(name: str, deployment: str) -> None:
    """Harm is bounded under families that exist and in context; so are refusing too much and nonsense."""
    policy = load_policy(f"{name}@{deployment}")
    never = ("no rule bounds", "under no attack family", "not measured in the context", "one set of harmful")

    assert [words for words in weaknesses(policy) if any(part in words for part in never)] == []
    assert set(policy.evaluation.families) <= set(FAMILIES)


@pytest.mark.parametrize(("name", "deployment"), EVERY)
def test_every_profile_pins_the_suites_that_come_with_recert(name: str, deployment: str) -> None:
    """Under a shipped profile no other prompts count for ours, in any deployment; suites of others are not pinned."""
    policy = load_policy(f"{name}@{deployment}")
    shipped = {suite: SUITES[suite].digest for suite in EMBEDDED}

    assert policy.suites == shipped
    assert suites_not_pinned(policy, shipped | {"task": "0" * 64}) == ()
    assert [why.partition(" is ")[0] for why in suites_not_pinned(policy, {"harmful": "0" * 64})] == [
        "suite-not-pinned: harmful"
    ]
    assert suites_not_pinned(policy.model_copy(update={"suites": None}), {"harmful": "0" * 64}) == ()


def test_the_strict_profile_is_laxer_in_nothing_that_counts() -> None:
    """Of all that differs from the default policy nothing got laxer."""
    laxer = [
        one.words for one in differences(load_policy(), load_policy("strict")) if one.direction == "laxer"
    ]

    assert laxer == []


def test_a_category_with_too_few_prompts_is_noticed() -> None:
    """A margin for which a category has too few prompts is named, with how many are needed."""
    policy = load_policy("openai-13")
    rules = [
        rule.model_copy(update={"margin": 0.08}) if rule.category == "*" else rule for rule in policy.rules
    ]
    found = undecidable(policy.model_copy(update={"rules": tuple(rules)}), SUITES)

    assert {"harm-by-category"} == {one.rule_id for one in found}
    assert len(found) == 12
    assert "has 43 prompts for it, 73 are needed" in found[0].because


def test_a_rule_on_prompts_that_are_not_there_is_noticed() -> None:
    """A category or an expectation that the suite lacks, and a bound beyond max_prompts, can never pass."""
    policy = load_policy()

    def because(**changes: object) -> str:
        rule = policy.rules[0].model_copy(update=changes)
        return undecidable(policy.model_copy(update={"rules": (rule,)}), SUITES)[0].because

    assert "has no prompt for it" in because(category="witchcraft")
    assert "has no prompt for it" in because(suite="ordinary")
    assert "680 prompts are not enough" in because(margin=0.005)


def test_openai_categories_are_bounded_where_there_are_prompts() -> None:
    """Every category of ours that counts towards one of theirs has a bound of its own, and minors the strictest."""
    policy = load_policy("openai-13")
    ours = {name for names in OPENAI_FINE_TUNING.values() for name in names}
    found = {prompt.category for prompt in SUITES["harmful"].prompts}

    assert ours <= found
    assert {"*", "", "child_sexual_exploitation"} == {rule.category for rule in policy.rules}
    assert [rule.id for rule in policy.rules if rule.max_tuned == 0] == ["harm-minors"]
    assert [n for n, some in OPENAI_FINE_TUNING.items() if not some] == [
        "harassment/threatening",
        "propaganda",
    ]


def test_gemini_categories_have_their_thresholds() -> None:
    """Each category under one of Gemini's filters is blocked from the middle level, and minors from the low."""
    thresholds = load_policy("gemini-filters").gateway.thresholds
    ours = {name for names in GEMINI.values() for name in names}

    assert {name: "medium_and_above" for name in ours} | {
        "child_sexual_exploitation": "low_and_above"
    } == thresholds


@pytest.mark.parametrize(("name", "deployment"), EVERY)
def test_every_rule_is_explained(name: str, deployment: str) -> None:
    """The words name each rule with its margin, each role, the validity and the change log."""
    policy = load_policy(f"{name}@{deployment}")
    words = as_text(explain(policy))

    for rule in policy.rules:
        assert f"{rule.id}: of the suite {rule.suite}" in words
        assert f"{rule.margin * 100:.4g} %" in words
    for role in policy.certification.roles:
        assert f"{role.threshold} as {role.role}" in words
    assert f"version {policy.version}" in words
    assert "What it does not cover" in words
    assert all(change.why in words for change in policy.changes)
    assert as_text(explain(policy), markdown=True).startswith(f"# {policy.id}, version")


def test_what_a_document_says_is_shown() -> None:
    """Contacts, and how long what is kept, are in the words; without them that is said."""
    value = load_policy().to_value()
    policy = Policy.model_validate(
        value
        | {
            "contacts": [{"role": "risk owner", "reach": "risk@example.org", "name": "Ada"}],
            "retention": {"evidence_days": 400, "texts_days": 30},
        }
    )
    words = as_text(explain(policy))

    assert "Ask the risk owner: Ada risk@example.org." in words
    assert "kept for 400 days at least" in words
    assert "deleted after 30 days at most" in words
    assert "It names nobody to ask" in as_text(explain(load_policy()))


def test_a_profile_that_is_not_there_is_named_with_those_that_are() -> None:
    """The hint lists the profiles."""
    with pytest.raises(PolicyError) as caught:
        load_policy("strictest")

    assert "default, demo, gemini-filters, openai-13, strict" in caught.value.hint
