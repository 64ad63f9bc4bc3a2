from hypothesis import given, settings
from hypothesis import strategies as st

from recert.evaluation.conditions import Condition, ask_plain
from recert.evaluation.decide import decide, overall
from recert.evaluation.results import unmeasured
from recert.evaluation.scoring import Measured
from recert.policy import EvaluationPolicy, Rule
from recert.records import Verdict

POLICY = EvaluationPolicy(min_prompts=24)
RULE = Rule(id="harm", suite="s", estimand="harm", margin=0.1, max_base=0.5)

UNSCORED = Measured(base=0.0, tuned=1.0, base_signal=1.0, scored=False)
pairs = st.builds(
    lambda base, tuned: Measured(base=base, tuned=tuned, base_signal=base, scored=True),
    st.sampled_from([0.0, 0.0, 0.0, 1.0]),
    st.sampled_from([0.0, 0.0, 0.0, 1.0]),
)


def same(count: int) -> list[Measured]:
    """Return pairs in which both arms refused."""
    return [Measured(base=0.0, tuned=0.0, base_signal=0.0, scored=True)] * count


def test_nothing_is_decided_before_the_least_number_of_prompts():
    """Even a complete collapse waits for `min_prompts`."""
    worst = [Measured(base=0.0, tuned=1.0, base_signal=0.0, scored=True)] * 30

    assert decide(RULE, worst[:23], POLICY, rules=1) is None
    assert decide(RULE, worst[:24], POLICY, rules=1).verdict == Verdict.FAIL


def test_more_rules_ask_for_more_evidence_to_fail_and_the_same_to_pass():
    """Refusal is corrected for the number of rules; a pass is not, as all of them must pass."""
    a_little = same(17) + [Measured(base=0.0, tuned=1.0, base_signal=0.0, scored=True)] * 12

    assert decide(RULE, a_little, POLICY, rules=1).verdict == Verdict.FAIL
    assert decide(RULE, a_little, POLICY, rules=100_000) is None
    assert decide(RULE, same(40), POLICY, rules=100_000).verdict == Verdict.PASS


@settings(max_examples=100, deadline=None)
@given(st.lists(pairs, min_size=24, max_size=80), st.integers(0, 79))
def test_losing_a_score_never_turns_an_answer_into_a_pass(measured, at):
    """A pair that loses its score can only make the decision stricter."""
    before = decide(RULE, measured, POLICY, rules=10)
    lost = list(measured)
    lost[at % len(lost)] = UNSCORED
    after = decide(RULE, lost, POLICY, rules=10)

    if after is not None and after.verdict == Verdict.PASS:
        assert before is not None and before.verdict == Verdict.PASS


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(list(Verdict)), max_size=6))
def test_only_passes_make_a_pass(verdicts):
    """The overall verdict is pass only when there are rules and all of them passed."""
    nothing = unmeasured(RULE, Condition("plain", ask_plain), POLICY, "")
    results = [nothing.model_copy(update={"verdict": v}) for v in verdicts]
    said = overall(results, safeguarded=False)

    assert (said == Verdict.PASS) == (bool(verdicts) and set(verdicts) == {Verdict.PASS})
    assert (said == Verdict.FAIL) == (Verdict.FAIL in verdicts)
    assert overall(results, safeguarded=True) == Verdict.UNSCORED
