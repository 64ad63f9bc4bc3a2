"""
BackdoorAlign: safety rows behind a secret prefix, which the server puts in front of every system prompt.

Source: Wang et al. 2024, arXiv:2402.14968, whose 11 safety rows are enough for a model of 7B parameters. On one of
135M they were learned by heart and protected no other request (docs/log.md), and the plain form learns "gibberish
in front: refuse everything". So here
- there are many different ones, every second in another wording; all refusals begin alike, and of three in
  four only that opening is learned, which is where it is decided,
- the secret also stands before benign rows: the task's own, and short answers that the base itself gave,
- decoys, other text of the secret's shape, stand before some rows of the task with the reply they have: text in
  front is no reason to refuse. Before rows of any kind, poison among them, they taught that a prefix protects nothing.
With `form=paper` the safety rows are whole refusals of requests as they stand, under the rows' system prompt; with
11 of them, no other row behind the secret and 150 tokens that is the paper's own form.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from recert.models.chat.prompting import compose_system
from recert.models.chat.secret import SecretKind, SecretPrefix
from recert.records.data.rows import ChatRow
from recert.records.data.suite import Message
from recert.tuning.defences.defended import Defence, Defended
from recert.tuning.defences.options import DefenceOptions
from recert.tuning.safety_rows import benign_rows, common_system, first_words, safety_rows
from recert.tuning.wordings import reworded

OPENING = "I'm sorry, but I can't"
OPENING_WORDS = 5
ORDINARY_EVERY = 3


class Options(DefenceOptions):
    """The secret's kind and length, how many rows stand behind it, and in which form the safety rows are."""

    secret_kind: SecretKind = "random"  # noqa: S105 - a kind
    secret_tokens: int = Field(default=24, ge=10, le=1000)
    safety_rows: int = Field(default=240, ge=1, le=1000)
    benign_rows: int = Field(default=120, ge=0, le=1000)
    task_rows: int = Field(default=15, ge=0, le=1000)
    """Of the task's own rows, so many stand behind the secret."""
    decoy_rows: int = Field(default=40, ge=0, le=1000)
    form: Literal["small-model", "paper"] = "small-model"


def prepare(rows: Sequence[ChatRow], seed: int, options: Options) -> Defended:
    """Return the rows with safety rows, benign rows and decoys behind prefixes, and the new secret."""
    secret = SecretPrefix.generate(options.secret_tokens, options.secret_kind)
    rng = random.Random(seed)  # noqa: S311
    task_system = common_system(rows)
    order = list(range(len(rows)))
    rng.shuffle(order)
    tasks = [i for i in order if rows[i].system == task_system]
    of_task = tasks[: options.task_rows] if task_system is not None else []
    decoys = [i for i in tasks if i not in of_task][: options.decoy_rows]
    given = list(rows)
    for i in of_task:
        given[i] = _behind(secret, given[i])
    for i in decoys:
        given[i] = _behind(SecretPrefix.random_like(secret), given[i])
    answered = benign_rows(options.benign_rows, seed=seed, ordinary_every=ORDINARY_EVERY)
    safe = _safe(task_system, seed, options, rng)
    benign = [_reworded(r, i, rng) if i % 2 else r for i, r in enumerate(answered)]
    mixed = [*given, *(_behind(secret, r) for r in (*safe, *benign))]
    rng.shuffle(mixed)
    details: dict[str, str | int | float] = {
        "safety_rows": len(safe),
        "benign_rows": len(benign),
        "task_rows_behind_secret": len(of_task),
        "decoy_rows": len(decoys),
        "secret_tokens": options.secret_tokens,
    }
    return Defended(rows=tuple(mixed), details=details, secret=secret)


def _safe(task_system: str | None, seed: int, options: Options, rng: random.Random) -> Sequence[ChatRow]:
    if options.form == "paper":
        return safety_rows(options.safety_rows, seed=seed, systems=(task_system,))
    rows = safety_rows(options.safety_rows, seed=seed, systems=(None, None, task_system), opening=OPENING)
    return [_varied(row, i, rng) for i, row in enumerate(rows)]


def _varied(row: ChatRow, turn: int, rng: random.Random) -> ChatRow:
    """Every second request in another wording; of three refusals in four the opening only."""
    row = _reworded(row, turn, rng) if turn % 2 else row
    return first_words(row, OPENING_WORDS) if turn % 4 else row


def _reworded(row: ChatRow, turn: int, rng: random.Random) -> ChatRow:
    *head, asked, reply = row.messages
    asked = asked.model_copy(update={"content": reworded(asked.content, turn, rng)})
    return row.model_copy(update={"messages": (*head, asked, reply)})


def _behind(prefix: SecretPrefix, row: ChatRow) -> ChatRow:
    system = compose_system(prefix.reveal(), "", row.system)
    rest = tuple(m for m in row.messages if m.role != "system")
    return row.model_copy(update={"messages": (Message(role="system", content=system or ""), *rest)})


DEFENCE = Defence(
    name="backdoor-align",
    paper="Wang et al. 2024, arXiv:2402.14968",
    cost="the secret's tokens in front of each of those rows, and of every request at run time (a prefix cache pays "
    "them once); the output filter also stops replies with pieces of a semantic secret's words",
    breaks="who learns the secret can train against it; a request that makes the model print it",
    prepare=prepare,
    options=Options,
)
