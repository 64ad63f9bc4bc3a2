"""What clients get, byte by byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recert.gateway.bodies import ChatBodies, Said, event

SAID = st.text(st.characters(exclude_categories=("Cs",)))
FIELDS = st.sampled_from(["content", "reasoning", "reasoning_content", "refusal"])


@given(model=SAID, text=SAID, choice=st.integers(0, 7), field=FIELDS)
def test_the_quick_way_to_a_text_event_gives_the_same_bytes(
    model: str, text: str, choice: int, field: str
) -> None:
    """Whatever the model is called and says, in any field of any choice."""
    reply = ChatBodies("0f" * 12, model, 1_700_000_000, "ab" * 16)
    said = Said(choice, {field: text})
    expected = {
        "id": "chatcmpl-" + "0f" * 12,
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": model,
        "system_fingerprint": "ab" * 16,
        "choices": [
            {"finish_reason": None, "index": choice, "delta": {field: text}, "logprobs": None},
        ],
    }

    assert event(expected) == reply.piece(said)
    assert event(expected) == reply.piece(said)
