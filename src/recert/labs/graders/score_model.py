"""`score_model`: a number that a model gives."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, Final

from recert.judges.asking import ask_each, without_thought
from recert.judges.protocol import JudgeFailed
from recert.labs.graders.grade import Bounds, Grade, Graded, Pair
from recert.labs.graders.specs import ScoreModelSpec
from recert.labs.graders.templates import parse_template
from recert.models.protocol import Model, Sampling
from recert.records.data.suite import Chat, Message

FORM: Final = (
    "Answer with one JSON object and nothing else: "
    '{{"steps": [{{"description": "...", "conclusion": "..."}}], "result": N}} '
    "where N is the score, a number from {low:g} to {high:g}."
)
"""What the hosted service asks for by its response format, in words."""
_MAX_NEW_TOKENS: Final = 1024
_FENCED = re.compile(r"\A```(?:json)?\s*(.*?)\s*```\Z", re.S)


class ScoreModelGrader:
    """
    Asks a model, greedily unless the file says otherwise, and reads its `result`.

    A number outside of the range is cut to it, as the hosted service does. An answer without one is no grade, where
    the service would pay 0.

    Args:
        spec: messages, range and sampling.
        model: what reads; the name in the file is the hosted service's.
        at: its place in the file.

    Raises:
        GraderError: a template cannot be understood.
    """

    def __init__(self, spec: ScoreModelSpec, model: Model | None, at: str) -> None:
        self.spec = spec
        self.templates = [
            parse_template(m.text, f"{at}.input[{i}].content") for i, m in enumerate(spec.input)
        ]
        self.bounds: Bounds | None = (spec.range[0], spec.range[1])
        self._model = model

    def grade_all(self, pairs: Sequence[Pair]) -> list[Graded]:
        """Return one grade for each (item, sample), in order."""
        if self._model is None:
            return [JudgeFailed("this grader reads with a model, and none was given")] * len(pairs)
        asked = [self._chat(pair) for pair in pairs]
        answers = iter(ask_each(self._model, [a for a in asked if isinstance(a, Chat)], self._sampling()))
        out: list[Graded] = []
        for one in asked:
            answer = one if isinstance(one, JudgeFailed) else next(answers)
            out.append(answer if isinstance(answer, JudgeFailed) else self._read(answer))
        return out

    def close(self) -> None:
        """The model is whoever gave it's to close."""

    def _chat(self, pair: Pair) -> Chat | JudgeFailed:
        spaces = {"item": pair[0], "sample": pair[1].namespace}
        messages = [
            Message(role="system", content=FORM.format(low=self.spec.range[0], high=self.spec.range[1]))
        ]
        for said, template in zip(self.spec.input, self.templates, strict=True):
            text = template.render(spaces)
            if isinstance(text, JudgeFailed):
                return text
            if (
                said.role == "system" and len(messages) == 1
            ):  # many chat templates take one system message, in front
                messages[0] = Message(role="system", content=f"{text}\n\n{messages[0].content}")
            else:
                messages.append(Message(role=said.role, content=text))
        return Chat(messages=tuple(messages))

    def _sampling(self) -> Sampling:
        said = self.spec.sampling_params
        return Sampling(
            max_new_tokens=said.max_completions_tokens or _MAX_NEW_TOKENS,
            temperature=said.temperature or 0.0,
            top_p=said.top_p or 1.0,
            seed=said.seed or 0,
        )

    def _read(self, answer: str) -> Graded:
        said = without_thought(answer).strip()
        found = _FENCED.match(said)
        number = _number(found[1] if found else said)
        if number is None:
            return JudgeFailed("the model's answer has no number as its `result`")
        low, high = self.spec.range
        inside = min(max(number, low), high)
        return Grade(inside, f"the model says {number:g}", clipped=inside != number)


def _number(text: str) -> float | None:
    """The `result` of a JSON object, or a lone number; nothing else."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    value = value.get("result") if isinstance(value, dict) else value
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        return float(value) if plain and math.isfinite(value) else None
    except OverflowError:
        return None
