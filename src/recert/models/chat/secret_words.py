"""Words for secrets that read like sentences: five are drawn for each sentence."""

from __future__ import annotations

from typing import Final

ADJECTIVES: Final = (
    "amber", "brittle", "calm", "crimson", "crooked", "dusty", "early", "eager", "faded", "foreign", "frozen", "gentle",
    "golden", "hollow", "humble", "idle", "ivory", "jagged", "lonely", "loyal", "mellow", "modest", "narrow", "nimble",
    "pale", "patient", "polished", "quiet", "rustic", "silver", "sleepy", "solemn", "spare", "steady", "sudden", "tidy",
)  # fmt: skip
NOUNS: Final = (
    "anchor", "baker", "barge", "beacon", "bridge", "cabinet", "candle", "caravan", "carpenter", "chapel", "clerk",
    "compass", "cottage", "engine", "falcon", "ferry", "fiddler", "garden", "glacier", "harbour", "herald", "island",
    "kettle", "ladder", "lantern", "library", "lighthouse", "locksmith", "meadow", "mill", "orchard", "painter",
    "parlour", "pilgrim", "quarry", "river", "sailor", "satchel", "shepherd", "station", "tailor", "teapot", "temple",
    "tower", "trumpet", "valley", "violin", "wagon", "weaver", "willow", "window", "workshop",
)  # fmt: skip
VERBS: Final = (
    "admires", "borrows", "carries", "counts", "crosses", "describes", "draws", "follows", "gathers", "guards",
    "hears", "inspects", "keeps", "leaves", "lends", "measures", "mends", "misses", "names", "notices", "paints",
    "passes", "praises", "remembers", "repairs", "returns", "rings", "seeks", "shelters", "trades", "visits", "watches",
)  # fmt: skip
FORM: Final = ("The", ADJECTIVES, NOUNS, VERBS, "the", ADJECTIVES, NOUNS)
"""A sentence: words as they stand, and lists of which one is drawn. About 27 bits and 9 tokens each."""
