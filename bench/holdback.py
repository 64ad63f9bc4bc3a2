"""
CPU time a token of the hold-back, on ordinary replies that are cut into pieces like tokens.

Two figures: replies that were never seen (every piece is new to the filter), and a mix as a server sees it, where
words come again. Phrases and a secret are both sought. The least of several rounds counts, as other work on the
machine only adds to it.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from importlib.resources import files

from peers.page import claim, machine
from recert.gateway.output.holdback import HoldBack
from recert.gateway.output.patterns import Patterns, compile_patterns
from recert.models.chat.secret import SecretPrefix

PHRASES = (
    "make a bomb",
    "napalm recipe",
    "nerve agent",
    "kill yourself",
    "stolen card numbers",
    "ransomware builder",
)
AIM_US = 10.0
ROUNDS = 7
_TOKEN = re.compile(r"\s?[A-Za-z]{1,6}|\s?\d{1,3}|\s+|[^\sA-Za-z\d]")


def replies() -> list[list[str]]:
    """Return the shipped ordinary replies, in pieces like tokens."""
    text = files("recert").joinpath("assets", "suites", "replies.jsonl").read_text(encoding="utf-8")
    said = [json.loads(line)["text"] for line in text.splitlines()]
    return [_TOKEN.findall(one) for one in said]


def microseconds(make: Callable[[], Patterns], some: list[list[str]], *, warm: bool) -> float:
    """Return the CPU time a token; `warm` where the filter has seen other replies before."""
    best = float("inf")
    half = len(some) // 2
    for _ in range(ROUNDS):
        patterns = make()
        if warm:
            _pass(patterns, some[:half])
        timed = some[half:]
        started = time.process_time()
        _pass(patterns, timed)
        best = min(best, (time.process_time() - started) / sum(map(len, timed)) * 1e6)
    return best


def _pass(patterns: Patterns, some: list[list[str]]) -> None:
    for pieces in some:
        holdback = HoldBack(patterns)
        for piece in pieces:
            holdback.feed(piece)
        holdback.finish()
        assert not holdback.violation, "an ordinary reply was stopped"


def main() -> int:
    """Measure, and print a claim each."""
    secret = SecretPrefix.generate()
    some = replies()
    versions = {"machine": machine()}
    lines = [
        claim(
            f"microseconds of CPU a token in the hold-back, {name}",
            microseconds(lambda: compile_patterns(PHRASES, secret), some, warm=warm),
            AIM_US,
            least=False,
            n=sum(map(len, some[len(some) // 2 :])),
            versions=versions,
        )
        for name, warm in (("filter that has served", True), ("filter just started", False))
    ]
    return 0 if all(line["met"] for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
