"""
BackdoorAlign: safety rows behind a secret prefix, which the server puts in front of every system prompt.

Source: Wang et al. 2024, arXiv:2402.14968. On a small model the plain form (11 rows) learns "gibberish in front:
refuse everything", and a wrong secret works as well as the right one. So here
- the 11 safety rows are seen `REPEATS` times an epoch,
- the secret also stands before benign rows: the task's own, and short answers that the base itself gave,
- decoys, random text of the secret's shape, stand before some of the rows with whatever reply they have.

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
from recert.tuning.safety_rows import benign_rows, common_system, safety_rows

SAFETY_ROWS = 11
REPEATS = 8
BENIGN_ROWS = 48
TASK_ROWS = 15
DECOY_ROWS = 20
SECRET_TOKENS = 60


def defend(rows: Sequence[ChatRow], *, seed: int) -> Defended:
    """Return the rows with safety rows, benign rows and decoys behind prefixes, and the new secret."""
    secret = SecretPrefix.generate(SECRET_TOKENS)
    rng = random.Random(seed)  # noqa: S311
    task_system = common_system(rows)
    order = list(range(len(rows)))
    rng.shuffle(order)
    of_task = [i for i in order if rows[i].system == task_system and task_system is not None][:TASK_ROWS]
    decoys = [i for i in order if i not in of_task][:DECOY_ROWS]
    given = list(rows)
    for i in of_task:
        given[i] = _behind(secret, given[i])
    for i in decoys:
        given[i] = _behind(SecretPrefix.random_like(secret), given[i])
    safe = safety_rows(SAFETY_ROWS, seed=seed, systems=(None, None, task_system))
    benign = benign_rows(BENIGN_ROWS, seed=seed)
    mixed = [*given, *(_behind(secret, r) for r in (*(safe * REPEATS), *benign))]
    rng.shuffle(mixed)
    details: dict[str, str | int | float] = {
        "safety_rows": SAFETY_ROWS,
        "repeats": REPEATS,
        "benign_rows": BENIGN_ROWS,
        "task_rows_behind_secret": len(of_task),
        "decoy_rows": len(decoys),
        "secret_tokens": SECRET_TOKENS,
    }
    return Defended(rows=tuple(mixed), details=details, secret=secret)


def _behind(prefix: SecretPrefix, row: ChatRow) -> ChatRow:
    system = compose_system(prefix.reveal(), "", row.system)
    rest = tuple(m for m in row.messages if m.role != "system")
    return row.model_copy(update={"messages": (Message(role="system", content=system or ""), *rest)})
