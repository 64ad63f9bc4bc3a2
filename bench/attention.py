"""
What folding heads that share keys and values saves (`recert.models.engines.attention`), against transformers.

The embedded base, in one process, both sides in turn: replies to prompts of one length (no mask), replies to prompts of
several lengths (padded), and readings of the next token behind a beginning that all prompts share. Prints a JSON line
each with the median of the ratios of pairs.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

from recert.models.protocol import Sampling
from recert.records.data.suite import chat

ROUNDS = 7
TOKENS = 16
ROWS = 72
WORDS = ("river", "window", "garden", "market", "letter", "summer")
LONG = "Please tell me in a few plain sentences how one gets from the old harbour to the station by"


def main() -> int:
    """Print the figures."""
    import torch

    from recert.models.embedded import embedded_model
    from recert.models.engines.attention import NAME
    from recert.models.engines.local import LocalModel

    model = LocalModel.load(embedded_model())
    replies = Sampling(max_new_tokens=TOKENS)
    equal = [chat(f"What is a {WORDS[at % len(WORDS)]}?") for at in range(ROWS)]
    padded = [chat(f"What is a {' '.join(WORDS[: 1 + at % len(WORDS)])}?") for at in range(ROWS)]
    shared = [chat(f"{LONG} {word}?") for word in model.words(4 * ROWS)]
    works: dict[str, Callable[[], object]] = {
        "replies to prompts of one length": lambda: model.generate(equal, replies),
        "replies to prompts of several lengths": lambda: model.generate(padded, replies),
        "readings behind what prompts share": lambda: model.opening_odds(
            shared, agreeing=["Sure"], refusing=["Sorry"]
        ),
    }
    for what, work in works.items():
        ratios = []
        for turn in range(ROUNDS + 1):
            seconds = {}
            for side in (NAME, "sdpa") if turn % 2 else ("sdpa", NAME):
                model._weights.model.set_attn_implementation(side)
                began = time.perf_counter()
                work()
                seconds[side] = time.perf_counter() - began
            if turn:  # the first is a warm-up
                ratios.append(seconds["sdpa"] / seconds[NAME])
        ratio = statistics.median(ratios)
        print(
            json.dumps(
                {
                    "claim": f"{what} take no longer with heads that share keys and values folded",
                    "met": ratio >= 1.0,
                    "ratio": round(ratio, 2),
                    "of": [round(one, 2) for one in sorted(ratios)],
                    "threads": torch.get_num_threads(),
                    "versions": {name: version(name) for name in ("torch", "transformers")},
                }
            ),
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
