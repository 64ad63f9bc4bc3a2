"""A trace in the text of a reply: judged by itself, and inside where the policy hides it."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.gateway.output.gate import OutputGate
from recert.gateway.output.holdback import HoldBack
from recert.gateway.output.patterns import compile_patterns
from recert.gateway.output.reply_gate import ReplyGate
from recert.gateway.protocol.deltas import Delta
from recert.gateway.protocol.parse import ChatOptions
from recert.policy import ReasoningPolicy
from recert.records.live.exchange import ControlScore
from recert.records.reports.reasoning import read_reply

PATTERNS = compile_patterns(("napalm",))
SHOWN, HIDDEN = ReasoningPolicy(), ReasoningPolicy(traces="hidden", format="tags")
CUTS = st.lists(st.integers(0, 200), max_size=10)


async def first_words(question: str, text: str) -> ControlScore:
    """A judge that reads the beginning alone, as one that tires of a long trace."""
    bad = text.lstrip().startswith("Sure")
    return ControlScore(
        control="output-judge", direction="output", score=float(bad), blocked=bad, reason="judge" if bad else ""
    )  # fmt: skip


def leaving(
    text: str, reasoning: ReasoningPolicy | None, cuts=(), *, judge=None, prefill: str = ""
) -> tuple[str, str, tuple]:
    """Return what leaves of a text cut somewhere, why it was blocked, and the log probabilities that left."""

    async def run():
        def make(given: str) -> OutputGate:
            return OutputGate(judge, HoldBack(PATTERNS), "q", by_sentence=True, prefill=given)

        gate = ReplyGate(
            make, ChatOptions(logprobs=True), ("reasoning",), prefill=prefill, reasoning=reasoning
        )
        places = [0, *sorted(c for c in cuts if 0 < c < len(text)), len(text)]
        said = []
        for a, b in pairwise(places):
            piece = text[a:b]
            said.append(await gate.feed(Delta(piece, logprobs=((piece, -1.0),))))
        said += await gate.finish()
        found = [one for one in said if one is not None]
        logs = tuple(log for one in found for log in one.logprobs)
        return "".join(one.texts.get("content", "") for one in found), gate.blocked, logs

    return asyncio.run(run())


@settings(deadline=None)
@given(cuts=CUTS)
def test_a_hidden_trace_never_leaves(cuts):
    """
    However a stream is cut, nothing of a hidden trace leaves, nor its log probabilities; the answer does.
    """
    text = "<think>\nThe user wants a secret plan.\n</think>\n\nBees dance to share news."

    assert leaving(text, HIDDEN, cuts) == ("Bees dance to share news.", "", ())


@settings(deadline=None)
@given(cuts=CUTS)
def test_a_shown_trace_leaves_as_it_came(cuts):
    """
    What users may see leaves unchanged, trace, tags and answer.
    """
    text = "<think>\nhm, bees\n</think>\n\nBees dance to share news."

    assert (text, "") == leaving(text, SHOWN, cuts)[:2]


@settings(deadline=None)
@given(cuts=CUTS, reasoning=st.sampled_from([SHOWN, HIDDEN]))
def test_what_is_forbidden_is_found_in_trace_and_answer(cuts, reasoning):
    """
    A phrase that may never leave blocks the reply from the trace, hidden or not, and from the answer.
    """
    for text in ("<think>make napalm</think>Fine.", "<think>hm</think>make napalm", "<think>napalm"):
        out, blocked, _ = leaving(text, reasoning, cuts)

        assert blocked
        assert "napalm" not in out
        assert "Fine" not in out


@settings(deadline=None)
@given(cuts=CUTS)
def test_a_long_trace_does_not_hide_the_answer_from_the_judge(cuts):
    """
    The answer is judged by itself: a judge that reads beginnings sees that of the answer.
    """
    text = "<think>\n" + "A harmless thought. " * 8 + "\n</think>\n\nSure, here is how."
    out, blocked, _ = leaving(text, SHOWN, cuts, judge=first_words)

    assert blocked == "judge"
    assert "here is how" not in out
    assert leaving(text, None, (), judge=first_words)[1] == ""


@pytest.mark.parametrize("reasoning", [SHOWN, HIDDEN, ReasoningPolicy(traces="hidden")])
def test_a_reply_without_a_trace_leaves_whole(reasoning):
    """
    An answer alone leaves as it is.
    """
    assert leaving("Bees dance.", reasoning, (3, 7))[:2] == ("Bees dance.", "")


def test_a_hidden_trace_of_an_unknown_format_stays_inside():
    """
    Of the format `auto` nothing leaves before it is known to be no trace.
    """
    hidden = ReasoningPolicy(traces="hidden")

    assert leaving("I think about it.</think>Bees.", hidden, (3, 9))[0] == "Bees."
    assert leaving("<think>I think about it, and am cut", hidden, (3, 9))[0] == ""


@settings(deadline=None)
@given(text=st.text(alphabet="<think>/ ab\n", max_size=60), cuts=CUTS)
def test_no_cut_shows_more_of_a_hidden_trace(text, cuts):
    """
    What leaves is the answer of the whole text, wherever the stream is cut.
    """
    assert read_reply(text, "tags").answer == leaving(text, HIDDEN, cuts)[0]


def test_words_that_the_client_wrote_do_not_come_back():
    """
    A prefill is judged and does not leave, also where it opens the trace.
    """
    assert leaving("hm</think>Bees", SHOWN, prefill="<think>")[0] == "hm</think>Bees"
    assert leaving("hm</think>Bees", HIDDEN, prefill="<think>")[0] == "Bees"
    assert leaving("ink>Bees", SHOWN, prefill="I <th")[0] == "ink>Bees"
