"""
Fuzz the gateway's readers and filters, and what reads certificates, status lists, records and audit logs.

Each case is made from one that is fine, by changes of bytes and of JSON as JSON, or from bits of phrases and disguises.
What must hold of any case is in `tests/fuzz/targets.py`; whatever raises is a finding. A finding is made smaller, kept
in `tests/fuzz/seeds`, and from then on a test. The same seed gives the same cases, however many work on them.

With `--guided` a part of the cases is chosen by coverage, with Atheris, which is installed under `build/fuzz`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from random import Random

from peers.page import claim, machine

ROOT = Path(__file__).parents[1]
SEEDS = ROOT / "tests" / "fuzz" / "seeds"
ATHERIS, ATHERIS_AT = "atheris==3.0.0", ROOT / "build" / "fuzz"
CASES, SEED, CHUNK = 1_000_000, 20261125, 5_000
MOST_KEPT = 5
_UNITS = re.compile(r"number_of_executed_units:\s*(\d+)")

sys.path.insert(0, str(ROOT / "tests"))


@dataclass(frozen=True)
class Finding:
    """A case that raised, and what."""

    target: str
    case: bytes
    what: str


@dataclass(frozen=True)
class Done:
    """What came of some cases of a target."""

    target: str
    cases: int
    cpu_s: float
    findings: tuple[Finding, ...] = ()


def what_is_raised(check: Callable[[bytes], None], case: bytes) -> str:
    """Return what a case raises, in a line; empty where all is well."""
    try:
        check(case)
    except Exception as exc:  # whatever it is, it is a finding
        return f"{type(exc).__name__}: {str(exc)[:200]}"
    return ""


def try_cases(name: str, seed: int, chunk: int, cases: int) -> Done:
    """Try some cases of a target: always the same for a seed and a chunk."""
    from fuzz.targets import TARGETS

    target, chance = TARGETS[name], Random(f"{seed} {name} {chunk}")
    target.check(target.case(Random(0)))  # whatever is made once is not counted
    findings: list[Finding] = []
    started = time.process_time()
    for _ in range(cases):
        case = target.case(chance)
        what = what_is_raised(target.check, case)
        if what and len(findings) < MOST_KEPT:
            findings.append(Finding(name, smaller(target.check, case, what), what))
    return Done(name, cases, time.process_time() - started, tuple(findings))


def smaller(check: Callable[[bytes], None], case: bytes, what: str) -> bytes:
    """Return a smaller case that raises an error of the same kind."""
    kind = what.partition(":")[0]
    size = len(case) // 2
    while size:
        for at in range(0, len(case), size):
            shorter = case[:at] + case[at + size :]
            if what_is_raised(check, shorter).partition(":")[0] == kind:
                case = shorter
                break
        else:
            size //= 2
    return case


def keep(finding: Finding) -> Path:
    """Keep a finding where the tests find it."""
    SEEDS.mkdir(exist_ok=True)
    path = SEEDS / f"{finding.target}-{sha256(finding.case).hexdigest()[:12]}"
    path.write_bytes(finding.case)
    return path


def run(names: list[str], cases: int, seed: int, workers: int) -> Iterator[Done]:
    """Yield what came of so many cases, shared out among targets as these say."""
    from fuzz.targets import TARGETS

    whole = sum(TARGETS[name].share for name in names)
    todo = [
        (name, seed, chunk, CHUNK)
        for name in names
        for chunk in range(round(cases * TARGETS[name].share / whole / CHUNK + 0.499))
    ]
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(try_cases, *zip(*todo, strict=True))


def run_guided(name: str, cases: int, seed: int) -> Done:
    """Let Atheris choose so many cases of a target, in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, __file__, "--only", name, "--cases", str(cases), "--seed", str(seed)]
        started = time.monotonic()
        done = subprocess.run(
            [*command, "--guide", scratch], capture_output=True, text=True, errors="replace", check=False
        )
        took_s = time.monotonic() - started
        units = _UNITS.search(done.stderr)
        crashes = [path.read_bytes() for path in Path(scratch).glob("crash-*")]
    if units is None and not crashes:
        sys.exit(f"Atheris did not run: {done.stderr[-500:]}")
    findings = tuple(Finding(name, case, done.stderr[-300:]) for case in crashes)
    return Done(name, int(units[1]) if units else 0, took_s, findings)


def guide(name: str, cases: int, seed: int, folder: Path) -> None:
    """Run Atheris on a target; it ends this process."""
    sys.path.insert(0, str(ATHERIS_AT))
    import atheris

    with atheris.instrument_imports(include=["recert.gateway", "recert.certification", "recert.records"]):
        from fuzz.mutate import mutated
        from fuzz.targets import TARGETS

    target = TARGETS[name]
    corpus = folder / "corpus"
    corpus.mkdir()
    for at, base in enumerate(target.bases()):
        (corpus / str(at)).write_bytes(base)

    def change(data: bytes, most: int, number: int) -> bytes:
        chance = Random(number)
        if chance.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        made: bytes = mutated(data, chance, words=target.words, others=target.bases())
        return made[:most]

    options = [f"-runs={cases}", f"-seed={seed}", "-max_len=4096", "-print_final_stats=1", "-verbosity=0"]
    atheris.Setup(
        [sys.argv[0], *options, f"-artifact_prefix={folder}/", str(corpus)],
        target.check,
        custom_mutator=change,
    )
    atheris.Fuzz()


def install_atheris() -> None:
    """Put Atheris under `build/fuzz`, once."""
    if not (ATHERIS_AT / "atheris").exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(ATHERIS_AT), ATHERIS]
        subprocess.run(command, check=True)


def main() -> int:
    """Print a JSON line a claim; 1 where something was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--only", action="append", help="this target; may be repeated")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--guided", action="store_true", help="as many cases again by coverage, with Atheris")
    parser.add_argument("--guide", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.guide:
        guide(given.only[0], given.cases, given.seed, given.guide)
    from fuzz.targets import TARGETS

    names = given.only or list(TARGETS)
    done = list(run(names, given.cases, given.seed, given.workers))
    rows = [("own mutations", name, [one for one in done if one.target == name]) for name in names]
    if given.guided:
        install_atheris()
        for name in (name for name in names if not TARGETS[name].by_number):
            rows.append(
                ("Atheris", name, [run_guided(name, round(given.cases * TARGETS[name].share), given.seed)])
            )
    return report(rows)


def report(rows: list[tuple[str, str, list[Done]]]) -> int:
    """Print what came of all, keep what was found, and return the exit status."""
    print("| cases by | target | cases | a CPU second | findings |\n|---|---|---|---|---|", file=sys.stderr)
    findings = [finding for _, _, done in rows for one in done for finding in one.findings]
    for by, name, done in rows:
        cases, cpu_s = sum(one.cases for one in done), sum(one.cpu_s for one in done)
        found = sum(len(one.findings) for one in done)
        print(f"| {by} | {name} | {cases} | {cases / max(cpu_s, 1e-9):.0f} | {found} |", file=sys.stderr)
    for finding in findings:
        print(f"{keep(finding)}: {finding.what}", file=sys.stderr)
    cases = sum(one.cases for _, _, done in rows for one in done)
    versions = {"recert": version("recert"), "machine": machine()}
    claim("cases that the fuzzer tried", cases, CASES, least=True, n=cases, versions=versions)
    name = "cases in which something did not hold"
    claim(name, len(findings), 0, least=False, n=cases, versions=versions)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
