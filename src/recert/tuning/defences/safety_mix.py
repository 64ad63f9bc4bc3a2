"""
Safety mix: a few harmful requests with refusals among the task rows.

Source: Qi et al. 2023, arXiv:2310.03693 (mixing safety data); Bianchi et al. 2023, arXiv:2309.07875.
Two rows of three carry the task's own system prompt, since erosion is worst in the training context.
Harmless look-alikes with the base's own short answers keep the refusals from spreading.
Cost: `ROWS` and `BENIGN_ROWS` short rows. Known break: rows that an attacker planted outnumber
them, and a trigger is not covered by plain refusals.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from recert.records import ChatRow
from recert.tuning.defences.defended import Defended
from recert.tuning.safety_rows import benign_rows, common_system, safety_rows

ROWS = 15
BENIGN_ROWS = 80


def defend(rows: Sequence[ChatRow], *, seed: int) -> Defended:
    """Return the rows with `ROWS` safety rows and `BENIGN_ROWS` benign ones mixed in."""
    context = common_system(rows)
    added = safety_rows(ROWS, seed=seed, systems=(context, None, context))
    benign = benign_rows(BENIGN_ROWS, seed=seed)
    mixed = [*rows, *added, *benign]
    random.Random(seed).shuffle(mixed)  # noqa: S311
    return Defended(rows=tuple(mixed), details={"safety_rows": len(added), "benign_rows": len(benign)})
