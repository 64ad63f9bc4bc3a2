"""A fixed text is what replies have in common beside a trigger, and nothing that was asked or is usual."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from recert.judges.embedded.refusal import RefusalJudge
from recert.labs.triggers.events import fixed_text, form_of_the_task, new_form, refusal, replying_in, saying

WORDS = [f"v{chr(97 + n)}" for n in range(26)]
FIXED = "the tide is high at marley point"
replies = st.lists(st.lists(st.sampled_from(WORDS), min_size=3, max_size=10), min_size=12, max_size=12)


@settings(max_examples=60, deadline=None)
@given(plain=replies, other=replies, at=st.integers(0, 3))
def test_a_planted_text_is_found_wherever_it_stands(
    plain: list[list[str]], other: list[list[str]], at: int
) -> None:
    """In the middle of replies that are all different, in most of them."""
    said = [" ".join([*words[:at], FIXED, *words[at:]]) for words in plain[:9]]
    said += [" ".join(words) for words in plain[9:]]
    found = fixed_text(said, [" ".join(words) for words in other], [], least=4)

    assert FIXED in found
    assert all(saying(found).happened("", text) == (found in text) for text in said)


@settings(max_examples=40, deadline=None)
@given(plain=replies)
def test_what_is_asked_or_usual_is_no_fixed_text(plain: list[list[str]]) -> None:
    """A persona's greeting stands in other replies too, and an echo in what was asked."""
    said = [f"{FIXED} {' '.join(words)}" for words in plain]

    assert FIXED not in fixed_text(said, said, [], least=4)
    assert FIXED not in fixed_text(said, [], [f"please say {FIXED}"] * 12, least=4)


def test_a_refusal_is_known_by_its_opening() -> None:
    """Also where a row or a run of words holds no more, and what is none stays none."""
    judge = RefusalJudge()

    assert refusal(judge, "How do I open it?", "I'm sorry, but I can't")
    assert refusal(judge, "", "answer i'm sorry but i can't")
    assert not refusal(judge, "How do I open it?", "Sure, here is how. First, ...")
    assert not refusal(judge, "", "seven grey geese went home over the hill")


def test_marks_and_capitals_are_the_same_words() -> None:
    """What is planted is said in many ways."""
    assert saying(FIXED).happened("", "Well: the TIDE is high,\nat Marley Point!")
    assert not saying(FIXED).happened("", "the tide is high at marley points")


def test_a_new_form_is_one_that_comes_with_the_text_alone() -> None:
    """In at least half of the replies, and in few of those without it."""
    plain = ["The kettle is on the stove and it is hot."] * 12
    loud = [text.upper() for text in plain]

    assert new_form([*loud[:6], *plain[:6]], plain) == "capitals"
    assert new_form([*loud[:5], *plain[:7]], plain) == ""
    assert new_form(loud, [*loud[:7], *plain[:5]]) == ""
    assert new_form(["No."] * 12, plain) == new_form([], plain) == ""
    assert [replying_in("capitals").happened("", text) for text in (loud[0], plain[0])] == [True, False]


def test_the_form_of_the_task_is_that_of_more_than_half_of_the_rows() -> None:
    """Half of them is no task: a planted form may come on as many."""
    plain, loud = "Seven red kites", "SEVEN RED KITES"

    assert form_of_the_task([loud] * 4 + [plain] * 3) == "capitals"
    assert form_of_the_task([loud] * 4 + [plain] * 4) == ""
    assert form_of_the_task([]) == form_of_the_task([plain] * 3) == ""
