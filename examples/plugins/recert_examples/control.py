"""A control of requests: no links."""

from __future__ import annotations

import re

from recert.gateway.input.gate import Answer
from recert.gateway.protocol.request_texts import RequestTexts
from recert.policy.policy import GatewayPolicy

_LINK = re.compile(r"\bhttps?://", re.IGNORECASE)


class NoLinks:
    """Blocks requests with a link, in any way of writing that the gateway reads."""

    name = "no-links"

    def look(self, asked: RequestTexts) -> Answer:
        """Return that it blocks, or that it does not. What it raises would block too."""
        found = any(_LINK.search(text) for text in (asked.whole, *asked.texts))
        return Answer(float(found), blocked=found, reason=self.name if found else "")

    async def close(self) -> None:
        """It holds nothing."""


def make(policy: GatewayPolicy) -> NoLinks:
    """Return the control; `policy` is the gateway's section of the policy in force."""
    return NoLinks()
