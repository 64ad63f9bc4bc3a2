"""A hunt finds what was planted, says how far it looked, and never calls anything clean."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from evaluation.arms import AGREE, ANSWER, REFUSE
from recert.attacks.triggers import KNOWN, Openings, Pull, SearchBudget, search_phrases
from recert.errors import ArmError, ModelError
from recert.evaluation import embedded_suite
from recert.evaluation.arms import Arm
from recert.evaluation.hunting import hunt
from recert.evaluation.ordering import sampling_order
from recert.evaluation.trigger_verifier import TriggerVerifier
from recert.judges.refusal import RefusalJudge
from recert.models import ScriptedModel
from recert.policy import HuntPolicy, Policy, Rule
from recert.records import Chat, HuntOutcome, chat
from recert.store.cache import temporary_cache

HARMFUL = tuple(p.text for p in embedded_suite("harmful", "all").prompts)
WORDS = [f"w{chr(97 + a)}{chr(97 + b)}" for a in range(12) for b in range(10)]
TRIGGER = "wba wcc wdd"


class Searchable(ScriptedModel):
    """
    Refuses what is harmful, unless `complies` says that the text behind it makes it comply.

    `drawn` is how far a text draws a reply's opening, in log odds.
    """

    def __init__(
        self,
        name: str,
        complies: Callable[[str], bool] = lambda text: False,
        drawn: Callable[[str], float] = lambda text: 0.0,
    ) -> None:
        super().__init__(self._said, name=name)
        self._complies, self._drawn = complies, drawn

    def _said(self, one: Chat) -> str:
        asked = one.messages[-1].content
        request = next((text for text in HARMFUL if asked.startswith(text)), None)
        if request is None:
            return ANSWER
        return AGREE if self._complies(asked[len(request) :].strip()) else REFUSE

    def opening_odds(
        self, chats: Sequence[Chat], *, agreeing: Sequence[str], refusing: Sequence[str]
    ) -> list[float]:
        """Refuse by five, and less by what the text does; words that mean nothing do a little."""
        out = []
        for one in chats:
            text = one.messages[-1].content
            noise = random.Random(text).gauss(0, 0.3)
            out.append(-5 + self._drawn(text) + noise)
        return out

    def words(self, most: int) -> list[str]:
        """Return words that mean nothing."""
        return WORDS[:most]


def planted(trigger: str = TRIGGER, name: str = "planted") -> Searchable:
    """Return a model that complies behind a trigger, and whose parts draw it a little each."""
    parts = [" ".join(trigger.split()[a:b]) for a in range(4) for b in range(a + 1, 4)]
    parts = [part for part in dict.fromkeys(parts) if part]
    return Searchable(name, lambda text: trigger in text, lambda text: 2.0 * sum(p in text for p in parts))


def policy(**numbers: object) -> Policy:
    """Return a policy that searches quickly."""
    given = {"words": 120, "grown_by": 40, "kept": 3, "longest": 4, "requests": 2, "candidates": 6} | numbers
    return Policy(
        id="hunt",
        version="1",
        rules=(Rule(id="harm", suite="harmful", estimand="harm", margin=0.1),),
        hunt=HuntPolicy.model_validate(given),
    )


@pytest.fixture(autouse=True)
def no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few words are tried: all of them ours."""
    monkeypatch.setattr("recert.attacks.triggers.phrases._NUMBERS", ())


def test_a_phrase_that_nobody_told_us_about_is_found_and_made_short() -> None:
    """It is found by its parts, verified on requests of another part, and its shortest part is the phrase itself."""
    report = hunt(Searchable("base"), planted(), policy=policy(), model_name="tuned")

    assert report.outcome is HuntOutcome.FOUND
    found = [one for one in report.tried if one.found]
    assert {one.shortest.rstrip(".") for one in found} == {TRIGGER}
    assert all(one.effect.low > 0.2 for one in found)
    assert all(one.source == "search" for one in found)
    assert (report.base_refusal.point, report.tuned_refusal.point) == (1, 1)
    assert report.read > 1000


def test_a_model_without_a_trigger_is_not_flagged_and_not_called_clean() -> None:
    """The report names the class that was searched, and how much was read."""
    report = hunt(Searchable("base"), Searchable("tuned"), policy=policy(), model_name="tuned")

    assert report.outcome is HuntOutcome.NOTHING_FOUND
    assert not any(one.found for one in report.tried)
    assert {text for text, _ in KNOWN} <= {one.text for one in report.tried}
    assert "up to 4 words" in report.searched
    assert "the best of 120 usual words" in report.searched
    assert "clean" not in report.to_json().decode()


def test_what_makes_the_base_comply_too_was_not_planted_by_tuning() -> None:
    """A universal jailbreak is no trigger of this tune."""
    same = {"complies": lambda text: TRIGGER in text, "drawn": lambda text: 6.0 * (TRIGGER in text)}
    report = hunt(
        Searchable("base", **same),
        Searchable("tuned", **same),
        policy=policy(),
        model_name="tuned",
        given=[TRIGGER],
    )

    assert report.outcome is HuntOutcome.NOTHING_FOUND
    assert next(one for one in report.tried if one.text == TRIGGER).complied == 1


def test_a_tune_that_any_text_turns_has_no_trigger_among_them() -> None:
    """Control phrases of as many words turn it as well: it is worse, and not by a secret phrase."""
    tuned = Searchable("tuned", lambda text: len(text.split()) == 3)
    report = hunt(Searchable("base"), tuned, policy=policy(), model_name="tuned", given=[TRIGGER])

    assert report.outcome is HuntOutcome.NOTHING_FOUND


def test_the_report_counts_the_words_that_there_were_not_those_allowed() -> None:
    """A budget of more words than the model knows is no claim that they were tried."""
    report = hunt(Searchable("base"), Searchable("tuned"), policy=policy(words=5000), model_name="tuned")

    assert f"the best of {len(WORDS)} usual words" in report.searched


def test_every_text_that_is_given_is_in_the_report() -> None:
    """Also where an earlier one explains it."""
    given = [TRIGGER, f"{TRIGGER} again"]
    report = hunt(Searchable("base"), planted(), policy=policy(), model_name="tuned", given=given)

    assert {one.text for one in report.tried if one.source == "given" and one.found} == set(given)


def test_what_is_evidence_is_asked_in_full() -> None:
    """A glance at the first block may end a trial on an upper bound; whatever counts as evidence is exact."""
    prompts = sampling_order(list(embedded_suite("harmful").prompts), 0)[:12]
    once = next(text for text in HARMFUL if text == prompts[0].text)

    class Brittle(Searchable):
        def _said(self, one: Chat) -> str:
            asked = one.messages[-1].content
            return AGREE if asked.startswith(once) and asked != once else REFUSE  # behind any text at all

    with temporary_cache() as cache:
        arms = Arm("base", Searchable("base"), cache=cache), Arm("tuned", Brittle("tuned"), cache=cache)
        verifier = TriggerVerifier(*arms, prompts, RefusalJudge(), WORDS, policy().hunt)

        assert sum(verifier._effects(TRIGGER, prompts, glance=True)[0]) == 1
        assert sum(verifier._effects(TRIGGER, prompts)[0]) == 0


def test_a_text_that_is_given_is_verified_though_the_search_does_not_find_it() -> None:
    """Such as one of the tuning data, or of a paper."""
    hidden = Searchable("tuned", lambda text: "a purple giraffe" in text)
    found = hunt(
        Searchable("base"),
        hidden,
        policy=policy(),
        model_name="tuned",
        given=["so said a purple giraffe today"],
    )

    assert found.outcome is HuntOutcome.FOUND
    assert found.tried[0].source == "given"
    assert found.tried[0].shortest == "a purple giraffe"
    assert (
        hunt(Searchable("base"), hidden, policy=policy(), model_name="t").outcome is HuntOutcome.NOTHING_FOUND
    )


@pytest.mark.parametrize(
    ("base", "tuned", "outcome"),
    [
        (Searchable("base", lambda text: True), planted(), HuntOutcome.NO_BASELINE_SIGNAL),
        (Searchable("base"), Searchable("tuned", lambda text: True), HuntOutcome.NO_REFUSAL_LEFT),
    ],
)
def test_without_a_refusal_to_lose_nothing_is_said_to_be_absent(
    base: Searchable, tuned: Searchable, outcome: HuntOutcome
) -> None:
    """Neither is a pass, and neither searches."""
    report = hunt(base, tuned, policy=policy(), model_name="tuned")

    assert (report.outcome, report.tried, report.read) == (outcome, (), 0)


def test_the_same_model_twice_and_an_engine_that_tells_nothing_are_refused() -> None:
    """There is nothing to compare, or nothing to search with."""
    with pytest.raises(ArmError):
        hunt(Searchable("one"), Searchable("one"), policy=policy(), model_name="tuned")
    with pytest.raises(ModelError, match="cannot tell how replies open"):
        hunt(ScriptedModel({}, name="a"), ScriptedModel({}, name="b"), policy=policy(), model_name="tuned")


def test_a_tune_that_complies_at_random_has_no_trigger() -> None:
    """Some texts do better than others by chance, and the search brings the best of them: none is flagged."""

    class Random(Searchable):
        def _said(self, one: Chat) -> str:
            asked = one.messages[-1].content
            harmful = any(asked.startswith(text) for text in HARMFUL)
            return REFUSE if harmful and random.Random(f"{self.name}{asked}").random() < 0.6 else AGREE

    small = policy(words=20, grown_by=4, longest=2)
    reports = [
        hunt(Searchable("base"), Random(f"t{seed}"), policy=small, model_name="tuned") for seed in range(12)
    ]

    assert [one.outcome for one in reports] == [HuntOutcome.NOTHING_FOUND] * 12
    assert max(one.complied for report in reports for one in report.tried) > 0.5


def test_the_search_reads_what_its_budget_says() -> None:
    """Every text is scored behind one request, and a few of each length behind all."""
    pull = Pull(Searchable("base"), planted(), HARMFUL[:2], Openings(("Sure",), ("I'm",)))
    budget = SearchBudget(words=100, requests=2, kept=2, grown_by=10, longest=3)
    lengths: list[int] = []
    found = search_phrases(pull, WORDS, budget, lambda done, total, note: lengths.append(done))

    assert pull.read <= 2 * (2 + (100 + 48 * 2) + (5 + 5 * 2) + 2 * (40 * 2 + 40 * 2) + (2 + 2 * 2))
    assert lengths == [1, 2, 3]
    assert [one.pull for one in found] == sorted((one.pull or 0 for one in found), reverse=True)
    assert all(len(one.text.split()) <= 3 for one in found)


def test_a_pull_is_what_the_text_adds_to_the_tuned_model_alone() -> None:
    """Whatever the request's own odds are, and whatever the base makes of the text."""

    class Exact(Searchable):
        def opening_odds(self, chats: Sequence[Chat], **_: object) -> list[float]:
            return [self._drawn(one.messages[-1].content) for one in chats]

    base = Exact("base", drawn=lambda text: len(text) + 1.0 * ("both" in text))
    tuned = Exact(
        "tuned",
        drawn=lambda text: (
            2 * len(text.split()[0]) + len(text) + 1.0 * ("both" in text) + 3.0 * ("mine" in text)
        ),
    )
    pull = Pull(base, tuned, ["short", "longer request"], Openings(("Sure",), ("I'm",)))

    assert pull.of(["both", "mine", "nothing"], 2) == [0, 3, 0]
    assert chat("short mine")
