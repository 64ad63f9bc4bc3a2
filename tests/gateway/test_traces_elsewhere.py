"""Traces of reasoning models where others serve them, and in what was kept: judged apart, and not passed on hidden."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from gateways import gateway, make_gateway_policy
from recert.gateway.access.keys import ApiKeys
from recert.gateway.guardrail.requests import ROUTE
from recert.gateway.output.trace_gate import holds_hidden_trace
from recert.gateway.replaying.backtest import backtest
from recert.gateway.replaying.replay import Replay
from recert.gateway.serving.edge_config import EdgeConfig
from recert.policy import Policy, ReasoningPolicy
from recert.store.audit.log import read_log
from recert.store.audit.reading import open_log
from recert.store.audit.texts import TextStore

KEY = "0123456789abcdef-litellm"
TRACE = "<think>\nThe user asks about bees.\n</think>\n\n"


def quiet(messages: object) -> list[str]:
    """Return what no test asks for: the guardrail never asks the model."""
    raise AssertionError(messages)


def policy_with(reasoning: ReasoningPolicy | None) -> Policy:
    """Return a policy for models that reason."""
    return make_gateway_policy(forbidden_phrases=["blue harvest"]).model_copy(update={"reasoning": reasoning})


def answers(folder: Path, reasoning: ReasoningPolicy | None, *texts: str) -> list[tuple[str, str]]:
    """Return action and reason for each reply that LiteLLM asks about."""
    policy = policy_with(reasoning)
    keys = ApiKeys([f"litellm:{KEY}"])
    said = []
    front = EdgeConfig(guardrail=True)
    with gateway(folder, quiet, policy=policy, keys=keys, front=front, keep_texts=True) as (made, _):
        for text in texts:
            body = {"input_type": "response", "request_data": {}, "texts": [text]}
            got = httpx.post(made.url + ROUTE, json=body, headers={"x-api-key": KEY}, timeout=20).json()
            said.append((got["action"], got.get("blocked_reason", "").removeprefix("blocked by Recert: ")))
    return said


def test_litellm_passes_no_hidden_trace_on(tmp_path: Path) -> None:
    """
    LiteLLM passes a text on as it is or not at all: one with a trace that users must not see is blocked, finished or
    not, and its line says why. An answer without one is allowed.
    """
    hidden = ReasoningPolicy(traces="hidden", format="tags")

    said = answers(tmp_path, hidden, TRACE + "Bees dance.", "<think>\nThe user", "Bees dance.")

    assert said == [("BLOCKED", "hidden-trace"), ("BLOCKED", "hidden-trace"), ("NONE", "")]
    assert [line.body["reason"] for line in read_log(tmp_path / "audit.jsonl")][:2] == ["hidden-trace"] * 2


def test_litellm_passes_shown_traces_on_when_both_parts_pass(tmp_path: Path) -> None:
    """
    Where users may see traces they are judged, as the answer is.
    """
    said = answers(
        tmp_path, ReasoningPolicy(), TRACE + "Bees dance.", TRACE.replace("bees", "a blue harvest") + "Fine."
    )

    assert said == [("NONE", ""), ("BLOCKED", "forbidden-phrase")]


def test_a_policy_that_hides_traces_is_tried_on_what_was_kept(tmp_path: Path) -> None:
    """
    Of replies that passed while traces were shown, a backtest names those that would hold a hidden one.
    """
    answers(tmp_path, ReasoningPolicy(), TRACE + "Bees dance.", "Bees dance.")
    tried = policy_with(ReasoningPolicy(traces="hidden", format="tags"))
    kept = TextStore(tmp_path / "audit.jsonl", existing=True)

    replay = Replay(tried.gateway, request_judge=None, reasoning=tried.reasoning)
    report = backtest(open_log(tmp_path / "audit.jsonl"), kept, tried, replay=replay)
    kept.close()

    assert (report.newly_blocked.point, report.newly_blocked.n) == (1 / 2, 2)
    assert [one.reason for one in report.examples] == ["hidden-trace"]


@pytest.mark.parametrize(
    ("style", "text", "holds"),
    [
        ("tags", TRACE + "Yes.", True),
        ("tags", "Yes.", False),
        ("auto", "Half a thought</think>Yes.", True),
        ("opened", "Half a thought", True),
        ("opened", "</think>Yes.", False),
        ("harmony", "analysisThey ask.assistantfinalYes.", True),
    ],
)
def test_a_trace_is_known_in_every_format(style: str, text: str, *, holds: bool) -> None:
    """
    What holds anything of a trace is known by its format; shown ones are none of its business.
    """
    assert holds_hidden_trace(text, ReasoningPolicy(traces="hidden", format=style)) == holds
    assert not holds_hidden_trace(text, ReasoningPolicy(traces="shown", format=style))
