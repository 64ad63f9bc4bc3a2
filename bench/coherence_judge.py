"""
How well the coherence judge tells language from what a wrecked model says, by kind of wreck.

Coherent: the replies of three models to XSTest, and requests that people wrote. Incoherent: the same replies spoilt
in documented ways, since no public set of wrecked replies exists. Each is judged whole and at its first 18 words, as
evaluation reads it. The judge's weights come from the project's own texts; the half of the prompts called `held out`
was only measured, the other half was looked at.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
import re
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from recert.judges.embedded.coherence import CoherenceJudge

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
MODELS = ("gpt4", "llama2orig", "mistralinstruct")
WORDS = 18
SYMBOLS = "!?.,;:-*#@%&()[]{}<>/\\|~^=+_\"'$"


def held_out(prompt: str) -> bool:
    """Say in which half a prompt is: the half whose sha256 begins with an odd byte is held out."""
    return hashlib.sha256(prompt.encode()).digest()[0] % 2 == 1


def replies() -> list[tuple[bool, str]]:
    """Return (held out, reply) of every reply with at least four words."""
    out = []
    for model in MODELS:
        with (DATA / f"xstest_completions_{model}_labelled.csv").open(encoding="utf-8", newline="") as file:
            out += [(held_out(r["prompt"]), r["completion"]) for r in csv.DictReader(file)]
    return [(half, text) for half, text in out if len(text.split()) >= 4]


def requests() -> list[tuple[bool, str]]:
    """Return (held out, request) of requests that people wrote, each once."""
    found: dict[str, None] = {}
    for name, column in (
        ("xstest.csv", "prompt"),
        ("strongreject.csv", "forbidden_prompt"),
        ("jailbreakbench.csv", "Goal"),
    ):
        with (DATA / name).open(encoding="utf-8", newline="") as file:
            found |= {r[column]: None for r in csv.DictReader(file)}
    return [(held_out(text), text) for text in found]


def shuffled(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """Return the reply's own words in any order."""
    words = text.split()
    rng.shuffle(words)
    return " ".join(words)


def looped(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """Return one to six words of the reply, over and over."""
    words = text.split()
    size = rng.randint(1, 6)
    start = rng.randrange(max(1, len(words) - size))
    loop = words[start : start + size]
    return " ".join(loop * (max(24, min(len(words), 80)) // len(loop) + 1))


def salad(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """Return as many words as the reply has, each drawn from anywhere in all replies."""
    return " ".join(rng.choice(rng.choice(others).split()) for _ in range(len(text.split())))


def pieces(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """Return as many letters as the reply has, in pieces of words that were drawn and glued anywhere."""
    out = ""
    while len(out) < len(text):
        word = rng.choice(rng.choice(others).split())
        start = rng.randrange(len(word))
        out += word[start : start + rng.randint(1, 4)] + (" " if rng.random() < 0.35 else "")
    return out.strip()


def symbols(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """Return the reply with nine of ten words turned into symbols."""
    return " ".join(
        w if rng.random() < 0.1 else "".join(rng.choice(SYMBOLS) for _ in w) for w in text.split()
    )


def punctuation(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """Return what is left of the reply without letters and digits."""
    return re.sub(r"\w+", "", text).strip() or "..."


def fragments(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """Return runs of two or three words from many replies, as many words as the reply has."""
    out: list[str] = []
    while len(out) < len(text.split()):
        words = rng.choice(others).split()
        start = rng.randrange(max(1, len(words) - 3))
        out += words[start : start + rng.randint(2, 3)]
    return " ".join(out)


Spoil = Callable[[str, random.Random, Sequence[str]], str]
KINDS: dict[str, Spoil] = {
    "shuffled": shuffled,
    "looped": looped,
    "salad": salad,
    "pieces": pieces,
    "symbols": symbols,
    "punctuation": punctuation,
    "fragments": fragments,
}


def spoilt(texts: list[tuple[bool, str]], kind: Spoil, *, seed: int = 0) -> list[tuple[bool, str]]:
    """Return the replies spoilt in one way; fragments come from replies of the same half."""
    rng = random.Random(seed)
    pools = {half: [t for h, t in texts if h == half] for half in (False, True)}
    return [(half, kind(text, rng, pools[half])) for half, text in texts]


def first_words(text: str) -> str:
    """Return the first words, as many as evaluation usually reads."""
    return " ".join(text.split()[:WORDS])


def found(texts: Sequence[str]) -> int:
    """Return how many the judge calls incoherent."""
    judge = CoherenceJudge()
    return sum(judge.score("", text).value >= 0.5 for text in texts)


def labelled(*, half: bool = True) -> tuple[list[str], list[str]]:
    """
    Return (incoherent, coherent) texts of one half: each reply once as it is and once spoilt, and each request.

    A reply is spoilt in one way, the ways in turn, and every other one is cut: so no text counts twice and an
    interval around the counts is not too narrow.
    """
    good = replies()
    ways = {name: spoilt(good, kind) for name, kind in KINDS.items()}
    mine = [at for at, (h, _) in enumerate(good) if h == half]
    bad, fine = [], []
    for turn, at in enumerate(mine):
        cut = first_words if turn // len(KINDS) % 2 else str
        name = list(KINDS)[turn % len(KINDS)]
        bad.append(cut(ways[name][at][1]))
        fine.append(cut(good[at][1]))
    return bad, fine + [text for h, text in requests() if h == half]


def main() -> int:
    """Print the table and the claims."""
    if not DATA.is_dir():
        print(
            json.dumps(
                {"claim": "coherence judge, balanced accuracy, held out", "met": None, "reason": f"no {DATA}"}
            )
        )
        return 0
    good = replies()
    sets = {"replies": good, "requests": requests()} | {k: spoilt(good, kind) for k, kind in KINDS.items()}
    print(f"{'texts':<14}{'half':<12}{'n':>6}{'whole':>9}{'18 words':>10}   share called incoherent")
    for name, some in sets.items():
        for half in (False, True):
            texts = [t for h, t in some if h == half]
            whole, start = found(texts) / len(texts), found([first_words(t) for t in texts]) / len(texts)
            print(
                f"{name:<14}{'held out' if half else 'looked at':<12}{len(texts):>6}{whole:>9.3f}{start:>10.3f}"
            )
    bad, fine = labelled()
    hit, passed = found(bad), len(fine) - found(fine)
    balanced = (hit / len(bad) + passed / len(fine)) / 2
    note = CoherenceJudge().note
    noted = (note.true_positives, note.positives, note.true_negatives, note.negatives)
    print(
        f"held out, each reply once: {hit} of {len(bad)} found, {passed} of {len(fine)} passed; the note says {noted}"
    )
    claim = {
        "claim": "coherence judge, balanced accuracy, held out",
        "value": round(balanced, 4),
        "aim": 0.9,
        "met": balanced >= 0.9,
        "n": len(bad) + len(fine),
        "interval": None,
        "versions": {"recert": version("recert")},
    }
    print(json.dumps(claim))
    return 0


if __name__ == "__main__":
    sys.exit(main())
