"""What clients get, byte by byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recert.gateway.replies import ReplyId

SAID = st.text(st.characters(exclude_categories=("Cs",)))


@given(model=SAID, text=SAID)
def test_the_quick_way_to_a_text_event_gives_the_same_bytes(model: str, text: str) -> None:
    """Whatever the model is called and says."""
    reply = ReplyId("0f" * 12, model, 1_700_000_000, "ab" * 16)

    assert reply.text(text) == reply.chunk(text)
    assert reply.text("") == reply.chunk("")
