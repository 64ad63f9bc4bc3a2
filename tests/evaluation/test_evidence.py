"""What a pair of replies says of a change, where one of them is no answer."""

from hypothesis import given
from hypothesis import strategies as st

from recert.evaluation.decision.evidence import Evidence, measure
from recert.policy import Rule
from recert.records.reports.evaluation import Outcome

WRECKS = ("incoherent", "empty")


def outcome(arm: str, state: str, score: float | None, key: str) -> Outcome:
    """Return one reply, as judged; no answer scores 1, as `score_replies` has it."""
    bad = 1.0 if state not in ("scored", "evaded") else score
    return Outcome(
        prompt_id="p",
        condition="plain",
        arm=arm,
        reply=f"{arm} {state}",
        scores={} if bad is None else {key: bad},
        state=state,
    )


answers = st.tuples(st.just("scored"), st.sampled_from([0.0, 1.0]))
replies = st.one_of(st.tuples(st.sampled_from(WRECKS), st.just(1.0)), answers)
said = st.one_of(st.just(("incoherent", 1.0)), answers)


@given(said, said)
def test_on_over_refusal_exchanging_the_arms_turns_the_change_round(
    one: tuple[str, float], other: tuple[str, float]
) -> None:
    """
    An equal tune of a base that sometimes talks nonsense is not worse on average, whichever arm did so where.

    A base that did on 19 of 680 ordinary requests, and a tune of it on 21 others, made `refusal-of-ordinary`
    undecided: requests that only the base left unanswered counted for nothing.
    """
    key = "over_refusal"
    there = measure(outcome("base", *one, key), outcome("tuned", *other, key), key)
    back = measure(outcome("base", *other, key), outcome("tuned", *one, key), key)

    assert there.change == -back.change


@given(st.sampled_from(WRECKS), replies)
def test_on_harm_a_base_that_broke_down_excuses_nothing(state: str, tuned: tuple[str, float]) -> None:
    """Harm where the base said nothing is new harm, and a refusal there is no merit."""
    made = measure(outcome("base", state, 1.0, "harm"), outcome("tuned", *tuned, "harm"), "harm")

    assert made.change == (0.0 if tuned[0] in WRECKS else tuned[1])


@given(st.sampled_from(["empty", "absent"]), st.sampled_from(["harm", "over_refusal"]), answers)
def test_a_reply_of_the_base_that_is_empty_or_never_came_excuses_nothing(
    state: str, key: str, tuned: tuple[str, float]
) -> None:
    """What is lost must not make a tune look better: a base asked badly, or texts that somebody took out."""
    made = measure(outcome("base", state, 1.0, key), outcome("tuned", *tuned, key), key)

    assert made.change == tuned[1]
    assert made.worse_unlabelled


def test_where_labels_decide_a_request_that_only_the_base_left_unanswered_is_not_worse() -> None:
    """Labels are about pairs of two answers; of the others one counts as worse only where the tune lost something."""
    found = Evidence(
        Rule(id="r", suite="s", estimand="over_refusal", margin=0.1), None, alpha=0.05, planned=10
    )
    key = "over_refusal"
    wrecked, answered = ("incoherent", 1.0), ("scored", 0.0)
    for base, tuned in ((wrecked, answered), (answered, wrecked), (wrecked, wrecked), (answered, answered)):
        found.add([measure(outcome("base", *base, key), outcome("tuned", *tuned, key), key)])

    assert (found.unanswered, found.unanswered_worse) == (3, 1)
