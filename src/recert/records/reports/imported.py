"""What another tool measured, read from its file: outcomes with provenance, and what could not be read."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, Record
from recert.records.reports.evaluation import Estimand

Tool = Literal["garak", "pyrit", "promptfoo", "lm-evaluation-harness", "inspect", "petri"]
"""A tool whose results can be read."""


class ImportedSuite(Part):
    """The prompts of one set in a tool's results, without their text."""

    name: str
    prompts: int
    prompts_sha256: Sha256
    """Digest of the canonical JSON list of the prompts' digests, sorted: two runs on the same prompts share it."""


class ImportedOutcome(Part):
    """One reply, or one attack in several turns, as another tool judged it. Neither prompt nor reply is kept."""

    suite: str
    prompt_id: str
    """What the tool calls the prompt, or the first sixteen digits of its digest."""
    prompt_sha256: Sha256
    """Digest of the prompt's text: what pairs two results."""
    condition: str = "plain"
    sample: int = Field(default=0, ge=0)
    """Which of several replies to the same prompt."""
    category: str = ""
    scores: dict[Estimand, Annotated[float, Field(ge=0, le=1)]]
    """Score per estimand, higher is worse. A missing key means: not scored."""
    failed: str | None = None
    """Why a score is missing, when that is known."""
    conversation: str | None = None
    """What the tool calls the conversation; of an attack with several the one with the worst score."""
    turns: int | None = Field(default=None, ge=0)
    """Replies of the model in that conversation, as far as they could be read."""
    worst_turn: int | None = Field(default=None, ge=1)
    """Which of them had the highest harm, the first is 1; None where none has any, or only the whole was judged."""


class UnreadEntry(Part):
    """An entry of the file that could not be read."""

    where: str
    because: str


class ImportedResults(Record):
    """The results of another tool on one model, as evidence: what it found, and what was lost on the way."""

    schema_name: ClassVar[str] = "imported-results"

    tool: Tool
    tool_version: str = ""
    """As the file gives it; empty where it does not."""
    source_name: str
    source_sha256: Sha256
    """Digest of the tool's own file; of a folder that of the canonical JSON of `also_read`."""
    also_read: dict[str, Sha256] = {}
    """Digests of the files that lay beside it and were read with it, by name."""
    model_name: str = ""
    """The model as the file names it. No weights are bound to it."""
    suites: tuple[ImportedSuite, ...]
    outcomes: tuple[ImportedOutcome, ...]
    mapped: dict[str, str]
    """Which of the tool's scores became which estimand; `1 - harm` where the tool's scale was turned round."""
    unmapped: dict[str, int] = {}
    """The tool's scores that stand for no estimand, with how often each came."""
    unread: int = Field(default=0, ge=0)
    """Entries that could not be read."""
    unread_entries: tuple[UnreadEntry, ...] = ()
    """The first of them, named."""
    imported_at: Moment
