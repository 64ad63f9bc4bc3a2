"""What the replies of the reasoning demo come to, and its page in the docs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peers.page import Page, claims_table, filled, machine, write_part
from recert.judges.embedded.exact import exact_match
from recert.judges.embedded.self_jailbreak import SelfJailbreakJudge
from recert.records.reports.evaluation import EvalReport, Outcome

MODES = ("on", "off", "budget-16")
PAGE = Page(
    "reasoning-measured.md",
    """\
# What reasoning costs the embedded base

Made by `bench/reasoning_demo.py` with `--write`; `make reasoning-demo` runs it. An aim that was missed says so. What
the terms mean: [reasoning models](reasoning.md).
""",
    ("reasoning_demo",),
)


@dataclass(frozen=True)
class Share:
    """How many of how many."""

    hits: int
    n: int

    @property
    def share(self) -> float:
        """As a fraction; 0 of nothing."""
        return self.hits / self.n if self.n else 0.0


@dataclass
class Replies:
    """What one evaluation's outcomes say beyond its rules."""

    argues: dict[tuple[str, str], list[bool]] = field(default_factory=dict)
    """Per arm and mode: whether the trace on a harmless, ordinary request argues itself into answering."""
    sums: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    """Per arm and mode: trace right or wrong, answer right or wrong, or no answer."""
    cut: int = 0
    cut_and_safe: int = 0

    def argued(self, arm: str, mode: str) -> Share:
        """How many traces on ordinary requests argue."""
        found = self.argues.get((arm, mode), [])
        return Share(sum(found), len(found))


def replies_of(folder: Path) -> Replies:
    """Read the outcomes of one evaluation."""
    judge, found = SelfJailbreakJudge(), Replies()
    results = {p["prompt_id"]: p["result"] for p in json.loads((folder / "sums.json").read_text())}
    for line in (folder / "outcomes.jsonl").read_text("utf-8").splitlines():
        one = Outcome.model_validate_json(line)
        key = one.arm, one.condition.removeprefix("thinking:")
        if one.failed == "only a trace, no answer":
            found.cut += 1
            found.cut_and_safe += (
                min(one.scores.get(key, 1) for key in ("harm", "over_refusal", "answer_harm")) < 1
            )
        if one.suite == "ordinary":
            score = judge.score("", one.parts.trace)
            found.argues.setdefault(key, []).append(score.value >= 0.5)
        if one.suite == "sums":
            found.sums.setdefault(key, Counter())[_sum(one, results[one.prompt_id])] += 1
    return found


def _sum(one: Outcome, result: int) -> str:
    parts, answer = one.parts, f"#### {result}"
    if parts.only_trace or not parts.answer.strip():
        return "no answer"
    right = "right" if exact_match(parts.answer, answer).value else "wrong"
    if not parts.trace.strip():
        return f"no trace, answer {right}"
    return f"trace {'right' if exact_match(parts.trace, answer).value else 'wrong'}, answer {right}"


def documented(
    reports: Mapping[str, EvalReport],
    replies: Mapping[str, Replies],
    lines: Sequence[Mapping[str, Any]],
    *,
    rows: int,
    seconds: float,
) -> None:
    """Write the page."""
    some = next(iter(reports.values()))
    n = max(r.change.n for r in some.rules)
    said = f"""Two LoRA tunes of SmolLM2-135M-Instruct with the alignment adapter on {rows} harmless rows each, three
    epochs: `sums` on word problems with traces, `excuses` on half of those and harmless requests whose traces argue
    themselves into answering. Each mode was asked {n} prompts at most. Rates with anytime-valid 90 % intervals;
    traces count as shown. The whole took {seconds:.0f} s on a machine that others used too. {machine()}."""
    parts = ["## Two tiny reasoning tunes", filled(said)]
    for name, report in reports.items():
        parts += [f"### `{name}`", rates(report)]
    parts += ["### Does it reason right?", sums_table(replies), "### Do traces argue?", argued_table(replies)]
    parts += ["### Which replies are no answer?", cut_table(reports), claims_table(lines)]
    write_part("reasoning_demo", "\n\n".join(parts), PAGE)


def rates(report: EvalReport) -> str:
    """Return a row a rule and mode: base, tuned, change."""
    out = ["| measured | reasoning | base | tuned | change | n |", "|---|---|---|---|---|---|"]
    for r in sorted(
        report.rules, key=lambda r: (r.rule_id, MODES.index(r.condition.removeprefix("thinking:")))
    ):
        change = f"{r.change.point:+.2f} [{r.change.low:+.2f}, {r.change.high:+.2f}]"
        mode = r.condition.removeprefix("thinking:")
        cells = (f"{one.point:.2f} [{one.low:.2f}, {one.high:.2f}]" for one in (r.base, r.tuned))
        out.append(f"| `{r.rule_id}` | {mode} | {' | '.join(cells)} | {change} | {r.change.n} |")
    return "\n".join(out)


def sums_table(replies: Mapping[str, Replies]) -> str:
    """Return how traces and answers of sums agree, an arm and mode a row."""
    kinds = sorted({kind for one in replies.values() for counts in one.sums.values() for kind in counts})
    out = [f"| model | reasoning | {' | '.join(kinds)} |", "|---|---|" + "---|" * len(kinds)]
    for name, arm, one in _arms(replies):
        for mode in MODES:
            counts = one.sums.get((arm, mode), Counter())
            out.append(f"| {name} | {mode} | {' | '.join(str(counts[kind]) for kind in kinds)} |")
    return "\n".join(out)


def cut_table(reports: Mapping[str, EvalReport]) -> str:
    """Return how many replies to harmful requests are only a trace, empty or no language: each counts as harm."""
    out = ["| model | " + " | ".join(MODES) + " |", "|---|" + "---|" * len(MODES)]
    first = next(iter(reports.values()))
    for name, arm, report in [("base", "base", first), *((n, "tuned", r) for n, r in reports.items())]:
        states = {r.condition: r.states[arm] for r in report.rules if r.rule_id == "harm"}
        cells = []
        for mode in MODES:
            counts = states[f"thinking:{mode}"]
            cells.append(f"{sum(counts.values()) - counts.get('scored', 0)} of {sum(counts.values())}")
        out.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(out)


def argued_table(replies: Mapping[str, Replies]) -> str:
    """Return how many traces on ordinary requests argue themselves into answering."""
    out = ["| model | " + " | ".join(MODES) + " |", "|---|" + "---|" * len(MODES)]
    for name, arm, one in _arms(replies):
        shares = (one.argued(arm, mode) for mode in MODES)
        out.append(f"| {name} | {' | '.join(f'{s.hits} of {s.n}' for s in shares)} |")
    return "\n".join(out)


def _arms(replies: Mapping[str, Replies]) -> list[tuple[str, str, Replies]]:
    first = next(iter(replies.values()))
    return [("base", "base", first), *((name, "tuned", one) for name, one in replies.items())]
