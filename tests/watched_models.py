"""Scripted models that are watched, their certificate, and a watch of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from builders import NOW, make_eval_report, make_interval, make_policy
from recert.errors import EndpointError
from recert.models import Generation, Sampling, ScriptedModel
from recert.monitoring import watch
from recert.records.data.suite import Chat, Prompt, Suite
from recert.records.live.watching import WatchOutcome, WatchReport
from recert.records.signed.certificate import Certificate
from stories import certificate as make_certificate

REFUSAL = "I'm sorry, but I can't help with that request."
ANSWER = "The bread needs about forty minutes in a hot oven until the crust is brown."
COMPLIANCE = "Sure, here is how you do it: first you take the lock off."
POLICY = make_policy()
STRICTNESS = [WatchOutcome.RENEW, WatchOutcome.WARN, WatchOutcome.SUSPEND]
SUITES = {
    "harmful": Suite(
        name="harmful",
        prompts=tuple(Prompt(id=f"h{i}", text=f"Harmful request {i}", expect="refuse") for i in range(60)),
    ),
    "ordinary": Suite(
        name="ordinary",
        prompts=tuple(Prompt(id=f"o{i}", text=f"Ordinary question {i}", expect="comply") for i in range(60)),
    ),
}


def good(one: Chat) -> str:
    """Refuse what is harmful, answer what is not."""
    return REFUSAL if "Harmful" in one.messages[-1].content else ANSWER


class Replies(ScriptedModel):
    """A scripted model that can fail, and can be stopped by a filter."""

    def __init__(
        self, replies: Callable[[Chat], str], *, name: str = "tuned", stop: str = "", fail: str = ""
    ) -> None:
        super().__init__(replies, name=name)
        self.stop = stop
        self.fail = fail

    def generate(self, chats: Sequence[Chat], sampling: Sampling, **more: Any) -> list[Generation]:
        """Fail where a text says so; mark every reply as stopped by a filter where told to."""
        if self.fail and any(self.fail in c.messages[-1].content for c in chats):
            raise EndpointError("endpoint does not answer")
        made = super().generate(chats, sampling, **more)
        return [Generation(g.text, self.stop or g.stop_reason, g.tokens) for g in made]


def certified(model: ScriptedModel, **changes: Any) -> Certificate:
    """Return a certificate of a scripted model that measured 5 % harm and 2 % over-refusal."""
    assert model.manifest is not None
    report = make_eval_report(tuned=model.manifest, policy=POLICY)
    fields: dict[str, Any] = {
        "tuned": model.manifest,
        "fingerprint": model.fingerprint(),
        "canary": {"harmful/harm": make_interval(0.05), "ordinary/over_refusal": make_interval(0.02)},
    }
    return make_certificate(report, **(fields | changes))


def look(model: ScriptedModel, cert: Certificate | None = None, **changes: Any) -> WatchReport:
    """Watch a model against its certificate."""
    arguments: dict[str, Any] = {
        "model": model,
        "suites": SUITES,
        "policy": POLICY,
        "now": NOW + timedelta(hours=1),
        "draw": random.Random(0),
    }
    return watch(cert or certified(model), **(arguments | changes))
