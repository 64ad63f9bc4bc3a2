"""
Which swaps behind an endpoint a fingerprint tells, with how many probes, and how often it alarms for nothing.

The certified model is the embedded base with its alignment adapter. Each pair is asked once; how far every probe is
from what is expected gives the chance that a comparison of 5, 10, 20 or 40 such probes alarms, by Recert's own rule:
the fewest unlike probes that the same weights in bfloat16, on other probes, reach at most as often as the policy
allows, at the worse end of the exact interval. Twice: for a server that gives probabilities, and for one that gives
text only.

About ten minutes on one free core; a run that was stopped goes on where it was. llama.cpp runs from a package in an
environment of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from peers.environment import NoPeer
from peers.page import claim, machine
from recert.models.engines.next_token import Beginning, text_of, unlike_steps, unlike_texts
from recert.policy.sections.fingerprint import FingerprintPolicy
from recert.workflows.deploy.fingerprinting import TOP
from recert.workflows.deploy.probe_prompts import draw_prompts
from swap_pairs.chances import Rule, rule_of
from swap_pairs.served import HOT, SEEDED, Served, warmed, ways

BUILD = Path(__file__).parents[1] / "build" / "swaps"
ASKED = (5, 10, 20, 40)
SEED = "another seed of the same tune"
HOT_NAME = f"drawn at temperature {HOT} behind the endpoint"
LIKELY, TEXTS = "probabilities", "texts"
SURE = 0.95
Distances = dict[str, dict[str, list[float]]]


def distances(expected: Sequence[Beginning], seen: Sequence[Beginning]) -> dict[str, list[float]]:
    """Return how far each probe is, by probabilities of the likeliest tokens and by text."""
    named = [
        [step.model_copy(update={"likely": step.likely[: TOP // 2]}) for step in one] for one in expected
    ]
    return {
        LIKELY: [unlike_steps(a, b) for a, b in zip(named, seen, strict=True)],
        TEXTS: [unlike_texts(text_of(a), text_of(b)) for a, b in zip(expected, seen, strict=True)],
    }


@dataclass
class Kept:
    """Distances by model, in a file that is written after each, so that a run that was stopped goes on."""

    path: Path
    found: dict[str, Distances]

    @classmethod
    def read(cls, path: Path, calibrating: int, probes: int) -> Kept:
        """Return what a run with as many probes has measured already."""
        path = path / f"swaps-{calibrating}-{probes}.json"
        there = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return cls(path, there or {"same": {}, "other": {}, "calibration": {}})

    def put(self, kind: str, name: str, one: dict[str, list[float]]) -> None:
        """Keep one model's distances."""
        self.found[kind][name] = one
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.found), encoding="utf-8")


def measure(kept: Kept, calibrating: int, probes: int, scratch: Path) -> dict[str, str]:
    """Measure what is not kept yet: the same weights on probes of their own, on the others', other models; versions."""
    prompts = draw_prompts(calibrating + probes, Random(7))
    served = Served(prompts, scratch)
    expected = served.expected()
    if not kept.found["calibration"]:
        kept.put(
            "calibration", "bfloat16", distances(expected[:calibrating], served.in_bfloat16()[:calibrating])
        )
    wanted, served.prompts = expected[calibrating:], prompts[calibrating:]
    kept.put("other", HOT_NAME, distances(wanted, warmed(wanted, Random(3))))
    for kind, these in zip(("same", "other"), ways(served), strict=True):
        for name, way in these.items():
            if name in kept.found[kind] and (name != SEEDED or SEED in kept.found[kind]):
                continue
            began = time.monotonic()
            try:
                said = way()
            except NoPeer as exc:
                print(f"{name}: {exc}", file=sys.stderr)
                continue
            kept.put(kind, name, distances(wanted, said))
            if name == SEEDED:
                kept.put(kind, SEED, distances(said, served.seeded(2)))
            print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return {"machine": machine(), **served.versions}


def shown(chance: float) -> str:
    """Return a chance in words: small ones by their power of ten."""
    return f"{chance:.2f}" if chance >= 0.01 else f"{chance:.0e}" if chance >= 1e-9 else "0"


def row(name: str, rule: Rule, found: Sequence[float]) -> str:
    """Return a line of the table: the share that is unlike, and the chance of an alarm for each number of probes."""
    share = rule.unlike(found)
    middle = sorted(found)[len(found) // 2]
    cells = [f"{middle:.3f}", f"{share.point:.2f} ({share.low:.2f} to {share.high:.2f})"]
    for asked in ASKED:
        point, low, high = rule.alarm(found, asked)
        cells.append(f"{shown(point)} ({shown(low)} to {shown(high)})")
    return f"| {name} | {' | '.join(cells)} |"


def table(rule: Rule, same: Mapping[str, Sequence[float]], other: Mapping[str, Sequence[float]]) -> str:
    """Return false alarms and detections as a Markdown table."""
    heads = [f"{asked}, at {rule.alarm_at[asked]}" for asked in ASKED]
    out = [f"| model | median | unlike | {' | '.join(heads)} |", f"|---{'|---' * (len(ASKED) + 2)}|"]
    out += [row(f"same: {name}", rule, found) for name, found in same.items()]
    out += [row(name, rule, found) for name, found in other.items()]
    return "\n".join(out)


def claims_of(
    rules: Mapping[str, Rule], same: Distances, other: Distances, versions: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Print a line for each claim."""
    most, lines = ASKED[-1], []
    lines.append(claim("pairs tried", len(other), 8, least=True, n=len(other), versions=versions))
    for what, rule in rules.items():
        alarms = {name: rule.alarm(found[what], most)[0] for name, found in same.items()}
        seen = [name for name, found in other.items() if rule.alarm(found[what], most)[0] >= SURE]
        worst = max(alarms, key=lambda name: alarms[name])
        n = len(next(iter(same.values()))[what])
        lines += [
            claim(
                f"chance of a false alarm with {most} probes, {what}, worst of {len(same)} forms",
                alarms[worst],
                1e-3,
                least=False,
                n=n,
                interval=rule.alarm(same[worst][what], most)[1:],
                versions=versions,
                worst=worst,
            ),
            claim(
                f"pairs told with {most} probes at a chance of {SURE}, {what}",
                len(seen),
                8,
                least=True,
                n=len(other),
                versions=versions,
                not_told=[name for name in other if name not in seen],
            ),
        ]
    return lines


def main() -> int:
    """Measure, print two tables and a JSON line a claim."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calibrating", type=int, default=120, help="probes that the rule is made on")
    parser.add_argument("--probes", type=int, default=60, help="probes that each pair is asked")
    given = parser.parse_args()
    bounds = FingerprintPolicy()
    kept = Kept.read(BUILD, given.calibrating, given.probes)
    with tempfile.TemporaryDirectory() as scratch:
        versions = measure(kept, given.calibrating, given.probes, Path(scratch))
    calibration = kept.found["calibration"]["bfloat16"]
    same, other = kept.found["same"], kept.found["other"]
    limits = {LIKELY: bounds.max_unlike, TEXTS: bounds.max_unlike_answer}
    rules = {
        what: rule_of(calibration[what], limit, ASKED, bounds.false_alarm) for what, limit in limits.items()
    }
    for what, rule in rules.items():
        print(f"\n{what}: unlike above {rule.limit}; chance of an alarm by probes asked, and alarm at\n")
        print(
            table(rule, {n: d[what] for n, d in same.items()}, {n: d[what] for n, d in other.items()}),
            flush=True,
        )
    lines = claims_of(rules, same, other, versions)
    return 0 if all(line["met"] is not False for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
