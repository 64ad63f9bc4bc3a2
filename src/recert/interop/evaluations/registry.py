"""
What Inspect finds by entry point: Recert's suites as tasks, its local models as a provider (the extra `inspect`).

`inspect eval recert/harmful --model recert/out/adapter -M base=embedded:aligned` asks our requests of our model and
scores the replies with our judges. Inspect's engine, cache and statistics are its own: for a decision use
`recert evaluate`. Its logs hold every reply in full, harmful ones too.

Source: inspect-ai 0.3.285, `inspect_ai/_util/entrypoints.py`, `inspect_ai/model/_registry.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from recert.errors import InputError, MissingExtraError, ModelError
from recert.evaluation.measuring.conditions import ask_plain
from recert.evaluation.scoring import Judges, Reply, score_replies
from recert.evaluation.suites.reading import embedded_suite, suite_from_file
from recert.models.protocol import Generation
from recert.policy import EvaluationPolicy
from recert.records.data.suite import Chat, Message, Prompt, Suite

try:
    from inspect_ai import Task, task
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import (
        ChatMessage,
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageTool,
        ChatMessageUser,
        GenerateConfig,
        ModelAPI,
        modelapi,
    )
    from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
    from inspect_ai.solver import TaskState, generate
except ImportError as exc:
    raise MissingExtraError(
        "inspect-ai is not installed", hint="run `pip install 'recert[inspect]'`"
    ) from exc

_MESSAGES: dict[str, Any] = {
    "system": ChatMessageSystem,
    "developer": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
    "tool": ChatMessageTool,
}


@task
def harmful() -> Task:
    """Harmful requests that a model should refuse; `harm` is the share that it complies with."""
    return task_of(embedded_suite("harmful"))


@task
def lookalikes() -> Task:
    """Harmless requests that look harmful; `over_refusal` is the share that is refused."""
    return task_of(embedded_suite("lookalikes"))


@task
def ordinary() -> Task:
    """Ordinary requests; `over_refusal` is the share that is refused."""
    return task_of(embedded_suite("ordinary"))


@task
def prompts(file: str, expect: Literal["refuse", "comply"] = "refuse") -> Task:
    """Prompts of a CSV, JSON or JSONL file."""
    return task_of(suite_from_file(Path(file), expect=expect))


def task_of(suite: Suite) -> Task:
    """
    Return a suite as a task: every prompt asked as it stands, scored on our estimands, greedy.

    Raises:
        InputError: the suite has multiple-choice questions, which are scored by log-probability.
    """
    if any(prompt.choices for prompt in suite.prompts):
        raise InputError("multiple choice is not asked through Inspect", facts={"suite": suite.name})
    policy = EvaluationPolicy()
    tokens = policy.utility_max_new_tokens if any(p.answer for p in suite.prompts) else policy.max_new_tokens
    return Task(
        dataset=MemoryDataset([_sample(prompt) for prompt in suite.prompts], name=suite.name),
        solver=generate(),
        scorer=estimands(),
        config=GenerateConfig(max_tokens=tokens, temperature=0.0),
        version=suite.version,
        metadata={"suite_sha256": suite.digest, "provenance": suite.provenance},
    )


@scorer(metrics={"*": [mean(), stderr()]})
def estimands() -> Scorer:
    """Score a reply as `recert evaluate` does: higher is worse, NaN where a judge failed."""
    judges, policy = Judges(), EvaluationPolicy()

    async def score(state: TaskState, target: Target) -> Score:
        prompt = Prompt.model_validate(state.metadata["prompt"])
        said = Generation(state.output.completion, str(state.output.stop_reason), 0)
        reply = Reply(prompt, said, arm="tuned", condition="plain", suite="")
        (outcome,) = score_replies([reply], judges, policy)
        asked = ["harm" if prompt.expect == "refuse" else "over_refusal", "incoherence"]
        if prompt.answer is not None:
            asked.append("utility_loss")
        return Score(
            value={name: outcome.scores.get(name, float("nan")) for name in asked},
            answer=said.text,
            explanation=outcome.failed,
            metadata={"state": outcome.state},
        )

    return score


def _sample(prompt: Prompt) -> Sample:
    messages = ask_plain(prompt, 0).messages
    return Sample(
        id=prompt.id,
        input=[_MESSAGES[m.role](content=m.content) for m in messages],
        target=prompt.answer or prompt.expect,
        metadata={
            "category": prompt.category,
            "condition": "plain",
            "prompt": prompt.model_dump(mode="json", exclude_none=True),
        },
    )


@modelapi(name="recert")
def provider() -> type[ModelAPI]:
    """Return the provider of local models: `recert/<folder>`, or `recert/embedded:aligned`."""
    from recert.interop.evaluations.inspect_provider import RecertModels

    return RecertModels


def chat_of(messages: list[ChatMessage]) -> Chat:
    """
    Return Inspect's messages as a conversation.

    Raises:
        ModelError: there is something in them that is no text.
    """
    for message in messages:
        if not isinstance(message.content, str) and any(part.type != "text" for part in message.content):
            raise ModelError("local models take text only", facts={"role": message.role})
    return Chat(messages=tuple(Message(role=message.role, content=message.text) for message in messages))
