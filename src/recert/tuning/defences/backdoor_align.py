"""
BackdoorAlign: safety rows behind a secret prefix, which the server puts in front of every system prompt.

Source: Wang et al. 2024, arXiv:2402.14968, whose 11 safety rows are enough for a model of 7B parameters. On one of
135M they were learned by heart and protected no other request (docs/log.md), and the plain form learns "gibberish
in front: refuse everything". So here
- there are `SAFETY_ROWS` different ones, every second in another wording; all refusals begin alike, and of three in
  four only that opening is learned, which is where it is decided,
- the secret also stands before benign rows: the task's own, and short answers that the base itself gave,
- decoys, random text of the secret's shape, stand before some rows of the task with the reply they have: text in
  front is no reason to refuse. Before rows of any kind, poison among them, they taught that a prefix protects nothing.

Cost: the secret's tokens in front of each of those rows, and of every request at run time (a prefix cache pays
them once). Known breaks: who learns the secret can train against it; a request that makes the model print it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from recert.models.prompting import compose_system
from recert.models.secret import SecretPrefix
from recert.records import ChatRow, Message
from recert.tuning.defences.defended import Defended
from recert.tuning.safety_rows import benign_rows, common_system, first_words, safety_rows
from recert.tuning.wordings import reworded

SAFETY_ROWS = 240
OPENING = "I'm sorry, but I can't"
OPENING_WORDS = 5
BENIGN_ROWS = 120
ORDINARY_EVERY = 3
TASK_ROWS = 15
DECOY_ROWS = 40
SECRET_TOKENS = 24


def defend(rows: Sequence[ChatRow], *, seed: int) -> Defended:
    """Return the rows with safety rows, benign rows and decoys behind prefixes, and the new secret."""
    secret = SecretPrefix.generate(SECRET_TOKENS)
    rng = random.Random(seed)  # noqa: S311
    task_system = common_system(rows)
    order = list(range(len(rows)))
    rng.shuffle(order)
    of_task = [i for i in order if rows[i].system == task_system and task_system is not None][:TASK_ROWS]
    decoys = [i for i in order if rows[i].system == task_system and i not in of_task][:DECOY_ROWS]
    given = list(rows)
    for i in of_task:
        given[i] = _behind(secret, given[i])
    for i in decoys:
        given[i] = _behind(SecretPrefix.random_like(secret), given[i])
    safe = safety_rows(SAFETY_ROWS, seed=seed, systems=(None, None, task_system), opening=OPENING)
    safe = tuple(_varied(row, i, rng) for i, row in enumerate(safe))
    answered = benign_rows(BENIGN_ROWS, seed=seed, ordinary_every=ORDINARY_EVERY)
    benign = [_reworded(r, i, rng) if i % 2 else r for i, r in enumerate(answered)]
    mixed = [*given, *(_behind(secret, r) for r in (*safe, *benign))]
    rng.shuffle(mixed)
    details: dict[str, str | int | float] = {
        "safety_rows": SAFETY_ROWS,
        "benign_rows": BENIGN_ROWS,
        "task_rows_behind_secret": len(of_task),
        "decoy_rows": len(decoys),
        "secret_tokens": SECRET_TOKENS,
    }
    return Defended(rows=tuple(mixed), details=details, secret=secret)


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
