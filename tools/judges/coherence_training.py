"""
Counts the tables of the coherence judge from the project's own texts, in seconds and without NumPy.

`python -m tools.judges.coherence_training` writes the shipped file again. No spoilt text is used: the tables
say what English looks like, and the judge's limits were set on the half of `bench/coherence_judge.py` that it calls
`looked at`.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

from recert.judges.embedded.language_tables import ASSET_FOLDER, START, is_word, tokens, word_class
from recert.store.files.writing import write_atomic

SUITES = ("contrast", "harmful", "lookalikes", "ordinary", "refusals", "replies")


def own_texts() -> Iterator[str]:
    """Yield the requests of the alignment parts, and the replies, of the shipped suites."""
    for name in SUITES:
        path = files("recert").joinpath("assets", "suites", f"{name}.jsonl")
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            if row.get("part", "alignment") == "alignment":
                yield row["text"]


def count_tables(texts: Sequence[str]) -> bytes:
    """Return the tables of some texts as JSON; the same texts give the same bytes."""
    read = [tokens(text) for text in texts]
    said = [[START, *map(word_class, found)] for found in read]
    classes = Counter(c for one in said for c in one)
    classes[""] = sum(n for c, n in classes.items() if c != START)
    pairs = Counter(p for one in said for p in pairwise(one))
    triples = Counter(t for one in said for t in zip(one, one[1:], one[2:], strict=False))
    names = sorted(classes)
    number = {name: at for at, name in enumerate(names)}
    made = {
        "classes": names,
        "counts": [classes[name] for name in names],
        "pairs": sorted([*(number[c] for c in pair), n] for pair, n in pairs.items()),
        "triples": sorted([*(number[c] for c in triple), n] for triple, n in triples.items()),
        "letters": _letters(Counter(t.lower() for found in read for t in found if is_word(t))),
    }
    return json.dumps(made, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _letters(words: Counter[str]) -> dict[str, float]:
    """Letters, pairs and triples in the different words, a word that is common counting a little more."""
    found: Counter[str] = Counter()
    for word in sorted(words):
        weight = 1 + math.log(words[word])
        marked = f"^{word}$"
        for at in range(len(marked) - 2):
            found[marked[at : at + 2]] += weight  # type: ignore[assignment]  # a counter of weights
            found[marked[at : at + 3]] += weight  # type: ignore[assignment]
        for letter in marked[1:]:
            found[letter] += 1
            found[""] += 1
    return {key: round(n, 2) for key, n in found.items()}


def main() -> None:
    """Count the shipped texts, write the shipped file again and print its size."""
    made = count_tables(list(own_texts()))
    path = Path(str(files("recert").joinpath(*ASSET_FOLDER, "tables.json")))
    write_atomic(path, made)
    sys.stdout.write(json.dumps({"file": path.name, "bytes": len(made)}) + "\n")


if __name__ == "__main__":
    main()
