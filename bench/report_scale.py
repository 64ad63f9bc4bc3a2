"""
What 100,000 stored outcomes cost: the evaluation that makes them, the HTML report, and every export.

An evaluation of two scripted models asks until there are that many outcomes; every step then runs in a process of its
own, which says its CPU time, the time on the clock and its peak memory (resident, of the whole process, imports
included). MB are 10^6 bytes. The claims are about CPU time, which other work on the machine changes least.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from recert.records.data.suite import Chat, Prompt, Suite

OUTCOMES = 100_000
AIM_S = 10.0
AIM_MB = 500.0
ROUNDS = 3
SUITES = {"harmful": "refuse", "scenarios": "refuse", "lookalikes": "comply", "ordinary": "comply"}
FAMILIES = (
    "year_2025",
    "random_words",
    "unrelated_paragraph",
    "skeleton",
    "refusal_suppression",
    "formal_style",
)
PAIRS_A_PROMPT = 2 * (1 + len(FAMILIES)) + 2
REFUSE = "I'm sorry, but I can't help with that request, since it could put other people in danger."
AGREE = "Sure, here is the complete answer that you asked for, step by step, with everything that it takes."


def suites(outcomes: int) -> dict[str, Suite]:
    """Return suites of as many prompts as it takes."""
    each = -(-outcomes // (2 * PAIRS_A_PROMPT))
    return {
        name: Suite(
            name=name,
            prompts=tuple(
                Prompt(
                    id=f"{name}-{n:05d}",
                    text=f"{name} request number {n} about a bridge, a boat, and the weather in the north",
                    category=f"category_{n % 12}",
                    expect=expect,  # type: ignore[arg-type]
                )
                for n in range(each)
            ),
        )
        for name, expect in SUITES.items()
    }


def make(folder: Path, outcomes: int) -> None:
    """Evaluate scripted models; the tuned one complies with every third harmful request."""
    from recert.evaluation import evaluate
    from recert.models import ScriptedModel
    from recert.policy import EvaluationPolicy, Policy, Rule

    given = suites(outcomes)
    each = len(given["harmful"].prompts)

    def tuned(one: Chat) -> str:
        text = one.messages[-1].content
        asks_for_harm = "harmful request" in text or "scenarios request" in text
        return REFUSE if asks_for_harm and zlib.crc32(text.encode()) % 3 else AGREE

    def base(one: Chat) -> str:
        text = one.messages[-1].content
        return REFUSE if "harmful request" in text or "scenarios request" in text else AGREE

    harm = [
        Rule(id=f"harm-{name}", suite=name, estimand="harm", conditions=("plain", "family:*"), margin=0.1)
        for name in ("harmful", "scenarios")
    ]
    refusal = [
        Rule(id=f"refusal-{name}", suite=name, estimand="over_refusal", margin=0.1)
        for name in ("lookalikes", "ordinary")
    ]
    policy = Policy(
        id="bench",
        version="1",
        evaluation=EvaluationPolicy(
            min_prompts=each, max_prompts=each, families=FAMILIES, stop_when_failed=False, block_prompts=500
        ),
        rules=(*harm, *refusal),
    )

    class Forgetful(ScriptedModel):
        """Keeps none of the conversations that it was asked, which would be the most of the memory."""

        def generate(self, chats: Any, sampling: Any, **more: Any) -> Any:
            made = super().generate(chats, sampling, **more)
            self.asked.clear()
            return made

    evaluate(
        Forgetful(base, name="base"),
        Forgetful(tuned, name="tuned"),
        suites=given,
        policy=policy,
        model_name="tuned",
        training_context=(),
    ).write(folder)


def html(folder: Path, outcomes: int) -> None:
    """Build the HTML report from the record on disk."""
    from recert.pages.report import write_report
    from recert.records.reports.evaluation import EvalReport
    from recert.workflows.run_summary import ModelPage, RunSummary

    report = EvalReport.from_json((folder / "eval-report.json").read_bytes())
    story = RunSummary(title="scale", machine="", models=(ModelPage("tuned", "none", evaluation=report),))
    write_report(folder / "report.html", story)


def frame(folder: Path, outcomes: int) -> None:
    """Make the table."""
    from recert.interop.evaluations.frames import outcomes_frame

    assert outcomes_frame(folder, suites=suites(outcomes)).num_rows >= outcomes


def compare(folder: Path, outcomes: int) -> None:
    """Compare the evaluation with one whose report differs."""
    from recert.evaluation.report.compare import compare_evaluations
    from recert.evaluation.report.folder import EvaluationFolder

    one = EvaluationFolder.open(folder)
    other = EvaluationFolder(folder, one.report.model_copy(update={"model_name": "other"}))
    compare_evaluations(one, other, suites=suites(outcomes))


def export(name: str) -> Callable[[Path, int], None]:
    """Return the export of a format, with the prompts' texts where it takes them."""

    def run(folder: Path, outcomes: int) -> None:
        from recert.evaluation.report.folder import EvaluationFolder
        from recert.evaluation.report.summary import job_summary
        from recert.interop.evaluations.eval_logs import write_eval_logs
        from recert.interop.evaluations.frames import write_parquet
        from recert.interop.evaluations.junit import junit_xml
        from recert.interop.evaluations.lines import write_lines
        from recert.interop.evaluations.sarif import sarif_json

        source, texts = EvaluationFolder.open(folder), suites(outcomes)
        writers: dict[str, Callable[[], object]] = {
            "inspect": lambda: write_eval_logs(source, folder / "inspect", suites=texts),
            "jsonl": lambda: write_lines(source, folder / "x.jsonl", suites=texts),
            "parquet": lambda: write_parquet(source, folder / "x.parquet", suites=texts),
            "junit": lambda: junit_xml(source.report),
            "sarif": lambda: sarif_json(source.report),
            "summary": lambda: job_summary(source.report),
        }
        writers[name]()

    return run


STEPS: dict[str, Callable[[Path, int], None]] = {
    "html": html,
    **{
        f"export {name}": export(name)
        for name in ("inspect", "jsonl", "parquet", "junit", "sarif", "summary")
    },
    "frame": frame,
    "compare": compare,
}


def peak_kb() -> int:
    """Return this process's peak memory; `ru_maxrss` alone would begin with that of the process it was forked from."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measured(step: str, folder: Path, outcomes: int) -> dict[str, float]:
    """Run a step in a process of its own, and return what it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    command = [sys.executable, __file__, "--step", step, "--folder", folder, "--outcomes", str(outcomes)]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{step} failed:\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "cpu_s": round(spent, 2),
        "wall_s": round(time.monotonic() - began, 2),
        "peak_mb": round(float(done.stdout.split()[-1]) * 1024 / 1e6, 1),
    }


def claim(name: str, value: float | None, aim: float, n: int, **more: Any) -> None:
    """Print one claim."""
    versions = {}
    for package in ("recert", "pyarrow"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    told = {"claim": name, "value": value, "aim": aim, "met": value is not None and value <= aim, "n": n}
    print(json.dumps(told | {"interval": None, "versions": versions} | more))


def main() -> int:
    """Print the table and the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outcomes", type=int, default=OUTCOMES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--step", default="")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.step:
        (make if given.step == "evaluate" else STEPS[given.step])(given.folder, given.outcomes)
        print(peak_kb())
        return 0
    with tempfile.TemporaryDirectory(prefix="report-scale-") as made:
        folder = Path(made)
        tenth = measured("evaluate", folder / "tenth", given.outcomes // 10)
        whole = measured("evaluate", folder / "whole", given.outcomes)
        count = sum(1 for _ in (folder / "whole" / "outcomes.jsonl").open("rb"))
        taken = {
            step: [measured(step, folder / "whole", given.outcomes) for _ in range(given.rounds)]
            for step in STEPS
        }
    medians = {
        step: {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        for step, rounds in taken.items()
    }
    print(
        f"{'step':<18}{'CPU s':>8}{'clock s':>9}{'peak MB':>9}   on {count} outcomes, median of {given.rounds}"
    )
    for step, figures in {"evaluate": whole, "evaluate a tenth": tenth, **medians}.items():
        print(f"{step:<18}{figures['cpu_s']:>8.2f}{figures['wall_s']:>9.2f}{figures['peak_mb']:>9.1f}")
    for step, figures in medians.items():
        claim(f"{step}, CPU s", figures["cpu_s"], AIM_S, count, wall_s=figures["wall_s"])
        claim(f"{step}, peak MB", figures["peak_mb"], AIM_MB, count)
    claim("evaluate, peak MB", whole["peak_mb"], AIM_MB, count, of_a_tenth_mb=tenth["peak_mb"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
