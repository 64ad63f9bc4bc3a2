"""
Prompts a second, CPU time and memory of Recert's local engine beside a plain loop and other evaluation tools.

All sides answer the same prompts (the evaluation parts of the embedded suites) on the same model with the same chat
template, greedily, with as many new tokens and threads, each in a process and, for the tools, an environment of its
own. They take turns within a run, so that what else the machine does falls on all alike. Tools get what suits them
best: lm-evaluation-harness the size of batch that is fastest for the plain loop, Inspect its default and, apart from
that, all prompts in one batch; garak's pipeline takes one prompt at a time whatever it is told.

Before anything is timed, completions are compared. On a random model of about 1M parameters everything runs in
float32, and all must be equal. With `--embedded` SmolLM2-135M-Instruct follows: eight prompts in float32 must give
equal replies; the timed passes are in bfloat16, where ties break either way, and say which share is equal.
CPU time and memory against the plain loop are claimed by `decoding.py`, and only shown here.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from peers.environment import NoPeer
from peers.page import claim, claims_table, filled, machine, write_part
from peers.process import Process
from recert import settings
from recert.evaluation.suites.reading import EMBEDDED, embedded_suite

TOKENS = 24
AIM_PROMPTS = 5.0
AIM_BOTH_ARMS = 1.5
EXACT_PROMPTS = 8
CONNECTIONS = 32
PLAIN, OURS, OURS_BOTH, GARAK = "plain loop", "Recert", "Recert, base and adapter", "garak Pipeline"
INSPECT, INSPECT_ONE = f"Inspect hf, {CONNECTIONS} connections", "Inspect hf, one batch"
LM_BASE, LM_TUNED = "lm-eval, base", "lm-eval, adapter"


@dataclass(frozen=True)
class Side:
    """One side: its script, the peer whose environment it runs in, and the arms it answers as."""

    name: str
    script: str
    peer: str = ""
    arms: tuple[str, ...] = ("base",)
    batch: int = 0


@dataclass(frozen=True)
class Setting:
    """A model, and how often it is asked: processes started for each side, and timed passes in each."""

    label: str
    base: Path
    adapter: Path
    dtype: str
    prompts: int
    starts: int
    rounds: int

    def job(self, side: Side) -> dict[str, Any]:
        """Return what a side's process is told."""
        return {
            "folder": str(self.base),
            "adapter": str(self.adapter) if "tuned" in side.arms else None,
            "chats": chats_of(self.prompts),
            "new_tokens": TOKENS,
            "dtype": self.dtype,
            "batch": side.batch,
            "threads": settings.threads(),
        }


@dataclass
class Figures:
    """What was measured of a side, all its arms together; or why there is nothing."""

    seconds: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)
    peak_mb: float = 0.0
    replies: dict[str, list[str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    arms: int = 1
    lost: str = ""


def chats_of(n: int) -> list[list[dict[str, str]]]:
    """Return requests of the embedded suites, one of each suite in turn."""
    texts = zip(*([p.text for p in embedded_suite(name).prompts] for name in EMBEDDED), strict=False)
    return [[{"role": "user", "content": text}] for text in list(chain.from_iterable(texts))[:n]]


def sides_of(batch: int, prompts: int) -> list[Side]:
    """Return all sides, `batch` being the size that is fastest for the plain loop."""
    return [
        Side(PLAIN, "plain_loop.py", batch=batch),
        Side(OURS, "recert_local.py"),
        Side(OURS_BOTH, "recert_local.py", arms=("base", "tuned")),
        Side(INSPECT, "inspect_hf.py", "inspect", batch=CONNECTIONS),
        Side(INSPECT_ONE, "inspect_hf.py", "inspect", batch=prompts),
        Side(GARAK, "garak_pipeline.py", "garak"),
        Side(LM_BASE, "lm_eval_hf.py", "lm-eval", batch=batch),
        Side(LM_TUNED, "lm_eval_hf.py", "lm-eval", arms=("tuned",), batch=batch),
    ]


def best_batch(setting: Setting) -> int:
    """Return the size of batch that is fastest for the plain loop."""
    with tempfile.TemporaryDirectory() as scratch:
        process = Process("plain_loop.py", "", setting.job(Side(PLAIN, "plain_loop.py")), Path(scratch))
        process.close()
    return int(process.facts["batch"])


def attempt(figures: Figures, action: Callable[[], None]) -> None:
    """Do something with a side unless it is lost; it is lost when that fails."""
    if not figures.lost:
        try:
            action()
        except NoPeer as exc:
            figures.lost = str(exc)


def measure(setting: Setting, sides: Sequence[Side]) -> dict[str, Figures]:
    """Return the figures of every side. The first pass of a process is a warm-up, and part of the whole process."""
    found = {side.name: Figures(arms=len(side.arms)) for side in sides}
    with tempfile.TemporaryDirectory() as place:
        for start in range(setting.starts):
            alive: dict[str, Process] = {}

            def begin(side: Side, alive: dict[str, Process] = alive, start: int = start) -> None:
                scratch = Path(place) / f"{sides.index(side)}-{start}"
                scratch.mkdir()
                began = time.perf_counter()
                alive[side.name] = process = Process(side.script, side.peer, setting.job(side), scratch)
                replies = {arm: process.ask(arm)["replies"] for arm in side.arms}
                found[side.name].whole_s.append(time.perf_counter() - began)
                found[side.name].replies = {arm: [r.strip() for r in said] for arm, said in replies.items()}
                found[side.name].versions = process.facts["versions"]

            def again(side: Side, alive: dict[str, Process] = alive) -> None:
                took = [alive[side.name].ask(arm) for arm in side.arms]
                found[side.name].seconds.append(sum(one["wall_s"] for one in took))
                found[side.name].cpu_s.append(sum(one["cpu_s"] for one in took))
                found[side.name].peak_mb = max(found[side.name].peak_mb, *(one["peak_mb"] for one in took))

            for side in sides:
                attempt(found[side.name], lambda side=side: begin(side))
                print(f"{setting.label}: {side.name}: {found[side.name].lost or 'ready'}", file=sys.stderr)
            if start == 0 and setting.dtype == "float32":
                refuse_unequal(found)
            for _ in range(setting.rounds):
                for side in sides:
                    attempt(found[side.name], lambda side=side: again(side))
            for process in alive.values():
                process.close()
    return found


def equal_share(found: Mapping[str, Figures], name: str) -> float:
    """Return the share of replies that are Recert's."""
    ours = found[OURS_BOTH].replies
    pairs = [pair for arm, said in found[name].replies.items() for pair in zip(said, ours[arm], strict=True)]
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else 0.0


def refuse_unequal(found: Mapping[str, Figures]) -> None:
    """Make sure that all sides which are there said the same."""
    shares = {name: equal_share(found, name) for name, figures in found.items() if not figures.lost}
    assert set(shares.values()) == {1.0}, f"completions differ, shares that are equal: {shares}"


def versions_of(found: Mapping[str, Figures]) -> dict[str, str]:
    """Return versions by package; where a tool brings another one than we run on, it is named beside."""
    out = dict(found[OURS].versions if OURS in found else found[OURS_BOTH].versions)
    for name, side in found.items():
        for package, version in side.versions.items():
            if out.setdefault(package, version) != version:
                out[f"{package} of {name}"] = version
    return out


def claims_of(setting: Setting, found: Mapping[str, Figures]) -> list[dict[str, Any]]:
    """Print the claims, and return them."""
    facts = {
        "model": setting.label,
        "prompts": setting.prompts,
        "new_tokens": TOKENS,
        "dtype": setting.dtype,
        "threads": settings.threads(),
    }

    def faster(
        what: str, than: Sequence[str], ours: str, aim: float, *, whole: bool = False
    ) -> dict[str, Any]:
        sides = [found[ours], *(found[name] for name in than)]
        versions = versions_of({ours: found[ours], **{name: found[name] for name in than}})
        lost = next((side.lost for side in sides if side.lost), "")
        name = f"prompts a second over {what}, {setting.label}"
        if lost:
            return claim(name, None, aim, least=True, n=0, versions=versions, **facts, reason=lost)
        took = [side.whole_s if whole else side.seconds for side in sides]
        ratios = [sum(theirs) / own for own, *theirs in zip(*took, strict=True)]
        return claim(
            name,
            statistics.median(ratios),
            aim,
            least=True,
            n=len(ratios),
            interval=(min(ratios), max(ratios)),
            versions=versions,
            **facts,
        )

    both = [LM_BASE, LM_TUNED]
    return [
        faster(INSPECT, [INSPECT], OURS, AIM_PROMPTS),
        faster(INSPECT_ONE, [INSPECT_ONE], OURS, AIM_PROMPTS),
        faster(GARAK, [GARAK], OURS, AIM_PROMPTS),
        faster("lm-eval on base and adapter", both, OURS_BOTH, AIM_BOTH_ARMS),
        faster("lm-eval on base and adapter, start-up included", both, OURS_BOTH, AIM_BOTH_ARMS, whole=True),
    ]


def table(setting: Setting, found: Mapping[str, Figures]) -> str:
    """Return the figures of all sides as a Markdown table."""
    out = [
        "| side | prompts/s | CPU ms a prompt | peak MB | whole process, s | equal to Recert's |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in found.items():
        if one.lost:
            out.append(f"| {name} | {one.lost} | - | - | - | - |")
            continue
        asked = setting.prompts * one.arms
        out.append(
            f"| {name} | {asked / statistics.median(one.seconds):.1f} "
            f"| {statistics.median(one.cpu_s) / asked * 1000:.1f} | {one.peak_mb:.0f} "
            f"| {statistics.median(one.whole_s):.1f} | {equal_share(found, name):.2f} |"
        )
    return "\n".join(out)


def part(
    setting: Setting, found: Mapping[str, Figures], batch: int, lines: Sequence[Mapping[str, Any]]
) -> str:
    """Return what the page says about one model."""
    named = ", ".join(f"{k} {v}" for k, v in versions_of(found).items())
    said = (
        f"{setting.prompts} prompts, {TOKENS} new tokens, greedy, {setting.dtype}, {settings.threads()} threads; "
        f"batches of {batch} for the plain loop and lm-eval. Medians of {setting.starts * setting.rounds} passes in "
        f"turn, after a warm-up; whole processes: medians of {setting.starts}, start-up and a first pass. "
        f"{machine()}. {named}."
    )
    return "\n\n".join([f"### {setting.label}", filled(said), table(setting, found), claims_table(lines)])


def run(setting: Setting) -> str:
    """Measure one model, print its claims, and return what the page says."""
    batch = best_batch(setting)
    found = measure(setting, sides_of(batch, setting.prompts))
    text = part(setting, found, batch, claims_of(setting, found))
    print(text, file=sys.stderr)
    return text


def main() -> int:
    """Print a JSON line a claim."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--embedded", action="store_true", help="measure SmolLM2-135M-Instruct too")
    parser.add_argument(
        "--prompts", type=int, default=96, help="on the small model; the embedded one gets a third"
    )
    parser.add_argument("--write", action="store_true", help="write docs/concepts/evaluation-speed.md")
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from tiny_models import make_adapter, make_base

    with tempfile.TemporaryDirectory() as scratch:
        base = make_base(Path(scratch) / "base", width=128, layers=8)
        adapter = make_adapter(Path(scratch) / "adapter", base)
        small = Setting(
            "random Llama, 1M parameters", base, adapter, "float32", given.prompts, starts=3, rounds=2
        )
        texts = [run(small)]
        if given.embedded:
            from recert.models.embedded import embedded_model

            folder = embedded_model()
            adapter = make_adapter(Path(scratch) / "embedded-adapter", folder)
            large = Setting(
                "SmolLM2-135M-Instruct", folder, adapter, "bfloat16", given.prompts // 3, starts=1, rounds=3
            )
            exact = replace(large, dtype="float32", prompts=EXACT_PROMPTS, rounds=0)
            measure(exact, sides_of(EXACT_PROMPTS, EXACT_PROMPTS))
            texts.append(run(large))
    if given.write:
        intro = "\n\n".join(filled(one) for one in (__doc__ or "").strip().split("\n\n")[1:])
        write_part("evaluation_peers", "\n\n".join(["## Beside other tools", intro, *texts]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
