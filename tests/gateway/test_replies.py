"""What clients get, byte by byte."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from recert.gateway.access import kill_switch
from recert.gateway.protocol.errors import stopped
from recert.gateway.protocol.responses import ChatBodies, Said, event
from recert.gateway.serving import aliases

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


def test_an_operators_stop_is_not_said_to_be_the_certificates() -> None:
    """Whoever reads the error looks in the right place: at the orders, the aliases or the clock."""
    said = {
        reason: stopped(reason)
        for reason in (
            kill_switch.STOPPED, kill_switch.UNREADABLE, kill_switch.UNCHECKED, aliases.UNREADABLE,
            "clock-behind", "engine-down",
        )
    }  # fmt: skip

    assert {error.status for error in said.values()} == {503}
    assert all(error.code == reason and reason in str(error) for reason, error in said.items())
    assert [reason for reason, error in said.items() if "certificate" in str(error)] == []


def test_every_reason_of_a_stop_is_in_the_guide() -> None:
    """With what to do about it."""
    root = Path(__file__).parents[2]
    guide = (root / "docs" / "guides" / "serve.md").read_text()
    words = (root / "src" / "recert" / "gateway" / "protocol" / "errors.py").read_text()
    reasons = re.findall(r'^    "([a-z-]+)": "', words, re.MULTILINE)

    assert len(reasons) > 15
    assert [one for one in reasons if f"`{one}`" not in guide] == []
