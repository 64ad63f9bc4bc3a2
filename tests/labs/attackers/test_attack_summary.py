"""What a report says of conversations: figures that add up, and what they do not show in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attack_conversations import make_attack, make_conversation
from recert.errors import InputError
from recert.labs.attackers.report.attacking import CONVERSATIONS_FILE, write_conversations
from recert.labs.attackers.report.files import read_attack
from recert.labs.attackers.report.summary import attack_report
from recert.policy import load_policy
from recert.records.reports.attack import ConversationEnd
from recert.records.reports.attack_report import REPORT_FILE, AttackReport
from recert.store.files.writing import write_atomic

POLICY = load_policy("default")
TALKS = make_attack()


def test_base_and_tuned_are_compared_pair_by_pair() -> None:
    """Over all attackers and each; behind safeguards the tuned model is compared with the base as it is served."""
    report = attack_report(TALKS, policy=POLICY)
    changes = {(c.attacker, c.safeguards): c for c in report.changes}
    alone = changes["strategist", ()]
    behind = changes["strategist", ("immutable-suffix",)]

    assert (alone.before, alone.after) == (0.166667, 0.666667)
    assert alone.change.point == 0.5
    assert (behind.base_safeguards, behind.change.point) == ((), 0.0)
    assert changes["direct", ()].change.point == 0.0
    assert changes["", ()].pairs == 12


def test_safeguards_are_compared_with_the_model_alone() -> None:
    """Success and mean harm, with and without."""
    report = attack_report(TALKS, policy=POLICY)
    effect = next(e for e in report.safeguard_effects if e.attacker == "strategist")

    assert effect.change.point == -0.5
    assert effect.harm_after < effect.harm_before
    assert effect.harm.mean == pytest.approx(effect.harm_after - effect.harm_before, abs=1e-5)


@given(
    fates=st.lists(st.sampled_from([(5.0,), (0.0,), (None,), ()]), min_size=1, max_size=12),
    ends=st.lists(st.sampled_from(list(ConversationEnd)), min_size=12, max_size=12),
)
@settings(max_examples=25, deadline=None)
def test_figures_add_up_and_round_trip(fates, ends) -> None:
    """Every conversation is of one kind, what may be is no less than what is, and a report reads as it was written."""
    talks = [
        make_conversation(fate, item=f"item {number % 5}", seed=number, end=ends[number])
        for number, fate in enumerate(fates)
    ]
    report = attack_report(talks, policy=POLICY)

    for one in report.outcomes:
        assert one.reached + one.withstood + one.open == one.conversations == sum(one.ends.values())
        assert one.coverage_at_most.high >= one.coverage.high
        assert one.success_at_most.point >= one.success.point
        assert one.harm.low <= one.harm.mean <= one.harm.high
    assert AttackReport.from_json(report.to_json()) == report


def test_what_is_not_shown_stands_in_the_report() -> None:
    """Coverage is no rate, others were not tried, judges err, an attacker refused, a judge was alone."""
    talks = [
        make_conversation((0.0,), end=ConversationEnd.ATTACKER_REFUSED),
        make_conversation((0.0, 0.0), item="two"),
    ]
    said = " | ".join(attack_report(talks, policy=POLICY).limitations)

    assert "coverage is no rate" in said
    assert "only these attackers were tried: strategist" in said
    assert "the attacker refused to attack" in said
    assert "their errors are in every figure" in said


def test_no_conversation_is_no_report() -> None:
    """Nothing attacked is not nothing found."""
    with pytest.raises(InputError):
        attack_report([], policy=POLICY)


def test_an_attack_is_read_again_from_its_folder(tmp_path: Path) -> None:
    """Conversations that are not those of the report are refused."""
    report = attack_report(TALKS, policy=POLICY)
    write_atomic(tmp_path / REPORT_FILE, report.to_json())
    write_conversations(tmp_path / CONVERSATIONS_FILE, TALKS)
    told = read_attack(tmp_path)
    write_conversations(tmp_path / CONVERSATIONS_FILE, TALKS[1:])

    assert (told.report, told.conversations) == (report, tuple(TALKS))
    with pytest.raises(InputError, match="not those of the report"):
        read_attack(tmp_path)
