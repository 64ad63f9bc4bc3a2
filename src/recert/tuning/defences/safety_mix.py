"""
Safety mix: a few harmful requests with refusals among the task rows.

Source: Qi et al. 2023, arXiv:2310.03693 (mixing safety data); Bianchi et al. 2023, arXiv:2309.07875.
Two rows of three carry the task's own system prompt, since erosion is worst in the training context.
Cost: `ROWS` short rows. Known break: rows that an attacker planted outnumber them, and a trigger is not
covered by plain refusals.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from recert.records import ChatRow
from recert.tuning.defences.defended import Defended
from recert.tuning.safety_rows import common_system, safety_rows

ROWS = 36


def defend(rows: Sequence[ChatRow], *, seed: int) -> Defended:
    """Return the rows with `ROWS` safety rows mixed in."""
    context = common_system(rows)
    added = safety_rows(ROWS, seed=seed, systems=(context, None, context))
    mixed = [*rows, *added]
    random.Random(seed).shuffle(mixed)  # noqa: S311
    return Defended(rows=tuple(mixed), details={"safety_rows": len(added)})
