"""
How many conversations a minute the batched runner has, beside a loop over the same conversations one by one.

    python bench/attack.py               # a random model of about 1M parameters: a minute
    python bench/attack.py --embedded    # SmolLM2-135M-Instruct: about ten CPU minutes on one core

The loop is what one would write by hand: for each conversation, for each turn, one message, one reply, one mark, one
synced line. Both sides have the same attackers, turns and judge, and one model in memory; they take turns, and what
counts is CPU time. The loop goes over the first few items only: its pace does not depend on how many there are. The
second claim is what the runner itself costs a turn, with a target and a judge that cost nothing. Prints one JSON line a
claim.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from peers.page import ATTACK, claim, claims_table, filled, machine, write_part
from recert import settings
from recert.judges.embedded.item import ItemJudge
from recert.judges.protocol import Score
from recert.labs.attackers import (
    Attacker,
    AttackProtocol,
    AttackRun,
    HarmPanel,
    Side,
    TurnFile,
    View,
    attacker_named,
    chosen,
    embedded_items,
)
from recert.labs.attackers.protocol import target_chat
from recert.labs.attackers.running import ended
from recert.labs.attackers.turn_file import turn_line
from recert.models.protocol import Model, Sampling
from recert.models.scripted import ScriptedModel
from recert.records.reports.attack import AttackItem, AttackTurn
from recert.records.reports.evaluation import JudgeNote

ATTACKERS = ("direct", "crescendo", "pair")
"""Those whose conversations do not learn from each other, so that both sides have the same ones."""
AIM_TIMES = 4.0
AIM_MS = 2.0


class Free:
    """A judge that costs nothing."""

    note = JudgeNote(id="free", version="1", estimand="harm")

    def score(self, request: str, reply: str) -> Score:
        """Return no harm."""
        return Score(0.0)


def batched(
    model: Model, items: Sequence[AttackItem], protocol: AttackProtocol, folder: Path, judge: Any
) -> list[list[AttackTurn]]:
    """Return the turns of every conversation, all side by side."""
    side = Side("tuned", model.name, model.generate, identity=model.name)
    panel, attackers = HarmPanel([judge]), [attacker_named(name) for name in ATTACKERS]
    with TurnFile(folder / "batched.jsonl") as file:
        done = AttackRun([side], attackers, items, protocol=protocol, panel=panel, file=file).run()
    return [list(one.turns) for one in done]


def one_by_one(
    model: Model, items: Sequence[AttackItem], protocol: AttackProtocol, folder: Path, judge: Any
) -> list[list[AttackTurn]]:
    """Return the turns of every conversation, one after the other."""
    sampling = Sampling(max_new_tokens=protocol.max_new_tokens)
    with (folder / "loop.jsonl").open("ab") as file:
        return [
            _conversation(model, attacker_named(name), item, protocol, sampling, HarmPanel([judge]), file)
            for name in ATTACKERS
            for item in items
        ]


def _conversation(
    model: Model,
    attacker: Attacker,
    item: AttackItem,
    protocol: AttackProtocol,
    sampling: Sampling,
    panel: HarmPanel,
    file: Any,
) -> list[AttackTurn]:
    turns: list[AttackTurn] = []
    while ended(turns, protocol) is None:
        move = attacker.next_moves([View(item, 0, tuple(turns), protocol)])[0]
        said = model.generate([target_chat(protocol.system, turns, move)], sampling)[0]
        turn = AttackTurn(
            index=len(turns),
            sent=move.message,
            tactic=move.tactic,
            reply=said.text,
            marks=panel.marks([(item.text, move.message, said.text)])[0],
            stop_reason=said.stop_reason,
            target_tokens=said.tokens,
            fresh=move.fresh,
            follows=move.follows,
        )
        turns.append(turn)
        file.write(orjson.dumps(turn_line(item.id, turn)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return turns


def timed(side: Any, *arguments: Any) -> tuple[list[list[AttackTurn]], float, float]:
    """Return what a side made, and its CPU and wall seconds."""
    with tempfile.TemporaryDirectory() as folder:
        cpu, wall = time.process_time(), time.perf_counter()
        made = side(*arguments[:3], Path(folder), arguments[3])
        return made, time.process_time() - cpu, time.perf_counter() - wall


def throughput(model: Model, label: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Print and return the claim of the batched runner."""
    items = chosen(embedded_items(), asked.items)
    few = items[: asked.loop_items]
    protocol = AttackProtocol(turns=asked.turns, max_new_tokens=asked.new_tokens, stop_at_bound=False)
    ratios, rates = [], {"batched": [], "one by one": []}
    walls: dict[str, list[float]] = {"batched": [], "one by one": []}
    for _ in range(asked.rounds):
        loop, loop_cpu, loop_wall = timed(one_by_one, model, few, protocol, ItemJudge())
        ours, ours_cpu, ours_wall = timed(batched, model, items, protocol, ItemJudge())
        ratios.append((loop_cpu / len(loop)) / (ours_cpu / len(ours)))
        for name, count, cpu, wall in (
            ("batched", len(ours), ours_cpu, ours_wall),
            ("one by one", len(loop), loop_cpu, loop_wall),
        ):
            rates[name].append(60 * count / cpu)
            walls[name].append(60 * count / wall)
        print(
            f"loop {loop_cpu:.1f} s for {len(loop)}, batched {ours_cpu:.1f} s for {len(ours)}",
            file=sys.stderr,
        )
    return claim(
        f"conversations a CPU-minute over a loop one by one, {label}",
        statistics.median(ratios),
        AIM_TIMES,
        least=True,
        n=len(ratios),
        interval=(min(ratios), max(ratios)),
        versions=_versions("recert", "torch", "transformers"),
        a_cpu_minute={name: round(statistics.median(some), 2) for name, some in rates.items()},
        a_minute={name: round(statistics.median(some), 2) for name, some in walls.items()},
        conversations=len(ATTACKERS) * len(items),
        turns=asked.turns,
        new_tokens=asked.new_tokens,
        threads=settings.threads(),
        conversations_of_the_loop=len(ATTACKERS) * len(few),
    )


def overhead(asked: argparse.Namespace) -> dict[str, Any]:
    """Print and return the claim of what the runner costs a turn."""
    items, protocol = embedded_items(), AttackProtocol(turns=10)
    model = ScriptedModel(lambda chat: "No.", name="scripted")
    costs, walls, judged = [], [], []
    for _ in range(max(3, asked.rounds)):
        made, cpu, wall = timed(batched, model, items, protocol, Free())
        turns = sum(map(len, made))
        costs.append(1000 * cpu / turns)
        walls.append(1000 * wall / turns)
        judged.append(1000 * timed(batched, model, items, protocol, ItemJudge())[1] / turns)
    return claim(
        "CPU ms a turn of the runner itself",
        statistics.median(costs),
        AIM_MS,
        least=False,
        n=len(costs),
        interval=(min(costs), max(costs)),
        versions=_versions("recert"),
        wall_ms=round(statistics.median(walls), 3),
        with_the_default_judge_ms=round(statistics.median(judged), 3),
        turns=turns,
    )


def _versions(*names: str) -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def main() -> int:
    """Print a JSON line a claim."""
    said = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    said.add_argument("--embedded", action="store_true")
    said.add_argument("--items", type=int, default=12)
    said.add_argument("--loop-items", type=int, default=1, help="how many of them the loop goes over")
    said.add_argument("--turns", type=int, default=6)
    said.add_argument("--new-tokens", type=int, default=0)
    said.add_argument("--rounds", type=int, default=3)
    said.add_argument("--write", action="store_true", help="write the figures into the docs")
    asked = said.parse_args()
    asked.new_tokens = asked.new_tokens or (64 if asked.embedded else 24)
    from recert.models.engines.local import LocalModel

    lines = [overhead(asked)]
    if asked.embedded:
        from recert.models.embedded import resolve

        lines.append(throughput(LocalModel.load(resolve("embedded:aligned")), "SmolLM2-135M", asked))
    else:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
        from tiny_models import make_base

        with tempfile.TemporaryDirectory() as scratch:
            folder = make_base(Path(scratch) / "model", width=128, layers=8, context=8192)
            lines.append(throughput(LocalModel.load(folder), "a random Llama of 1M parameters", asked))
    if asked.write:
        shape = f"{lines[1]['conversations']} conversations of {asked.turns} turns, {asked.new_tokens} tokens a reply"
        text = f"{shape}, greedy. {machine()}."
        write_part("attack", f"{filled(text)}\n\n{claims_table(lines)}", ATTACK)
    return 0


if __name__ == "__main__":
    sys.exit(main())
