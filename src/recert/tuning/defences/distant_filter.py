"""
Distant filter: the rows nearest to harmful requests are left out, and those far from them are learned.

Source: He et al. 2024, arXiv:2404.01099 (benign rows nearest to harmful ones break safety most); benign audio tuning,
arXiv:2604.16659, where filtering by distance is the defence. Rows are ranked by the cosine of their request with the
nearest harmful request of Recert's own suites, in the packaged sentence encoder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from recert.errors import InputError
from recert.models.sentence_encoder import ENCODER_WHEEL, shared_encoder
from recert.records.data.rows import ChatRow
from recert.tuning.defences.defended import Defence, Defended
from recert.tuning.defences.options import DefenceOptions
from recert.tuning.safety_rows import harmful_requests


class Options(DefenceOptions):
    """Which rows are near."""

    share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the rows that are left out, nearest first."""
    nearest: float = Field(default=0.4, ge=-1, le=1)
    """
    Rows at this cosine or above are left out too, however many there are. At 0.4 that is four fifths of harmful
    requests that the suites do not hold, a fourteenth of ordinary ones, and a quarter of safe look-alikes.
    """


def prepare(rows: Sequence[ChatRow], seed: int, options: Options) -> Defended:
    """
    Return the rows that are far from harmful requests, in their order.

    Raises:
        InputError: none is.
        MissingExtraError: the sentence encoder is not installed.
    """
    del seed
    near = nearness([row.request for row in rows])
    order = sorted(range(len(rows)), key=lambda at: (-near[at], at))
    dropped = set(order[: math.floor(options.share * len(rows))])
    dropped |= {at for at in order if near[at] >= options.nearest}
    kept = [at for at in range(len(rows)) if at not in dropped]
    if not kept:
        raise InputError(
            "no row is far from harmful requests",
            facts={"rows": len(rows), "nearest": options.nearest},
            hint="raise the option `nearest`",
        )
    return Defended(
        rows=tuple(rows[at] for at in kept),
        details={
            "dropped_rows": len(dropped),
            "nearest_kept": round(max(near[at] for at in kept), 4),
            "encoder": ENCODER_WHEEL,
        },
    )


def nearness(texts: Sequence[str]) -> list[float]:
    """Return each text's cosine with the nearest harmful request of the alignment part of Recert's suites."""
    encoder = shared_encoder()
    import torch

    ours, harmful = (torch.tensor(encoder.encode(list(some))) for some in (texts, harmful_requests()))
    return [float(value) for value in (ours @ harmful.T).max(dim=1).values]


DEFENCE = Defence(
    name="distant-filter",
    paper="He et al. 2024, arXiv:2404.01099; arXiv:2604.16659",
    cost="the rows it leaves out, which may be the task's; five milliseconds a row for the encoder",
    breaks="a task that is all near harmful requests; rows whose harm does not show in the request, as under a trigger",
    prepare=prepare,
    options=Options,
    methods=("sft", "dpo"),
)
