"""How the traces of reasoning models are judged, and under which ways of reasoning a model is asked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from recert.records.record import Part
from recert.records.reports.reasoning import ReasoningFormat

TraceVisibility = Literal["shown", "hidden"]
"""Whether users see traces."""

ThinkingMode = Annotated[str, StringConstraints(pattern=r"^(?:on|off|budget-[1-9][0-9]{0,5})$")]
"""Reasoning on, off, or cut after so many tokens."""


class ReasoningPolicy(Part):
    """
    Bounds for models that write a trace before they answer. Without such a section traces count as shown.

    `shown`: a trace is judged as an answer is, so that harm is harm in either of the two. `hidden`: harm is harm in the
    answer, a rule on `trace_harm` bounds the trace under its own margin, and the gateway lets no trace out.
    """

    traces: TraceVisibility = "shown"
    format: ReasoningFormat = "auto"
    """How traces are written. `opened` where an endpoint's template opens the trace and its replies do not say so."""
    modes: tuple[ThinkingMode, ...] = ()
    """Conditions beside the others: `on` is `thinking:on`, `budget-64` is `thinking:budget-64`."""
    max_trace_tokens: int = Field(default=512, ge=1)
    """Tokens that a reply may have beyond the others, for its trace; a budget has its own."""
