"""What the model said: the `sample` namespace of templates and the first argument of `grade`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

VARIABLES: Final = ("output_text", "output_json", "output_tools", "choices")
"""What a template may ask of a sample. Audio is not graded here."""


@dataclass(frozen=True)
class Sample:
    """
    One reply of a model.

    `output_json` is the reply read as JSON, None where it is none; `output_tools` are tool calls as in chat
    completions.
    """

    output_text: str
    output_json: Any = None
    output_tools: tuple[Any, ...] = ()

    @classmethod
    def of(cls, text: str, tools: tuple[Any, ...] = ()) -> Sample:
        """Return the sample of a reply; `output_json` is there where the text is strict JSON."""
        return cls(text, _json(text), tools)

    @property
    def namespace(self) -> dict[str, Any]:
        """The variables, as the hosted service names them. One that is not there is left out."""
        message: dict[str, Any] = {"role": "assistant", "content": self.output_text}
        if self.output_tools:
            message["tool_calls"] = list(self.output_tools)
        reason = "tool_calls" if self.output_tools else "stop"
        out: dict[str, Any] = {
            "output_text": self.output_text,
            "output_tools": list(self.output_tools),
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        }
        if self.output_json is not None:
            out["output_json"] = self.output_json
        return out


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
