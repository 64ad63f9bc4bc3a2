"""What must stay light: no torch and no NumPy in the core, and answers of the command line without a wait."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from recert.evaluation.decision.sequential import confidence_sequence, e_value_above, e_value_below
from recert.judges.embedded.request import EmbeddedRequestJudge

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "peft", "trl", "datasets", "inspect_ai", "pyarrow")
TIMES = 8
WITH_NUMPY = {
    "recert.labs.triggers.search.associations",
    "recert.labs.triggers.search.data",
    "recert.labs.triggers.search.data_runs",
    "recert.labs.triggers.search.data_texts",
    "recert.labs.triggers.search.numeric",
    "recert.evaluation.measuring.speech",
    "recert.models.speech.hibari_voice",
    "recert.models.speech.numeric",
    "recert.models.speech.sound",
    "recert.models.speech.variants",
    "recert.models.word_vectors",
}
WITHOUT_EXTRAS = f"import sys\nfor name in ('numpy', 'gguf', *{HEAVY!r}):\n    sys.modules[name] = None\n"
IMPORT_ALL = """
import importlib, json, pkgutil, recert
missing = {}
for found in pkgutil.walk_packages(recert.__path__, "recert."):
    try:
        found.name.endswith("__main__") or importlib.import_module(found.name)
    except Exception as error:
        while error.__cause__ is not None:
            error = error.__cause__
        missing[found.name] = getattr(error, "name", None) or repr(error)
print(json.dumps(missing))
"""
STATISTICS_AND_JUDGE = """
import json
from recert.evaluation.decision.sequential import confidence_sequence, e_value_above, e_value_below
from recert.judges.embedded.request import EmbeddedRequestJudge
values = [0.0] * 40 + [1.0] * 3 + [-0.5]
said = confidence_sequence(values, alpha=0.05)
score = EmbeddedRequestJudge().score("How long does the night train from Vienna to Rome take?")
print(json.dumps([e_value_below(values, 0.1), e_value_above(values, 0.1), said.low, said.high, score.value]))
"""


def _loaded_by(code: str) -> list[str]:
    """Return which heavy packages a fresh Python has loaded after running some code."""
    code += f"\nimport json, sys; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def _run_main(*arguments: str) -> str:
    return (
        f"import sys; sys.argv = ['recert', *{arguments!r}]\n"
        "from recert.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )


@pytest.mark.parametrize(
    "code",
    [
        "import recert",
        "import recert.records.every, recert.policy, recert.store.files.writing",
        "import recert.certification.stage",
        "import recert.gateway.stage",
        "import recert.monitoring.stage, recert.models.remote.endpoint",
        "import recert.pages.report",
        "import recert.service.stage",
        "import recert.console.serving",
        _run_main("--help"),
        _run_main("verify", "--help"),
        _run_main(
            "verify", "no-such-certificate.json", "--model", "no-such-model", "--trust", "no-such-keys"
        ),
    ],
)
def test_the_core_never_loads_torch(code: str) -> None:
    """Verification, the gateway, monitoring of an endpoint and the report work without torch."""
    assert _loaded_by(code) == []


def _without_extras(code: str) -> subprocess.CompletedProcess[str]:
    """Run some code in a fresh Python in which neither NumPy nor a package of an extra can be imported."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS + code], capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_few_modules_import_numpy() -> None:
    """Every module can be imported without NumPy, but for those that hear, or read tuning rows for triggers."""
    done = _without_extras(IMPORT_ALL)
    missing: dict[str, str] = json.loads(done.stdout)

    assert {name for name, cause in missing.items() if cause == "numpy"} == WITH_NUMPY
    assert set(missing.values()) <= {"numpy", *HEAVY}


@pytest.mark.parametrize("module", sorted(WITH_NUMPY))
def test_what_needs_numpy_says_that_it_is_missing(module: str) -> None:
    """What needs NumPy raises `MissingExtraError` with a hint where it is not installed."""
    code = f"from recert.errors import MissingExtraError\ntry:\n    import {module}\n"
    done = _without_extras(f"{code}except MissingExtraError as error:\n    print(error.hint)")

    assert "recert[local]" in done.stdout


def test_verify_and_screen_work_without_numpy(tmp_path: Path) -> None:
    """Without NumPy `recert verify --help` answers, and `recert screen` says which rows may be learned from."""
    says = ("What is the capital of France?", "Paris."), ("How many legs has a spider?", "Eight legs.")
    turns = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in says]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"messages": m}) + "\n" for m in turns), encoding="utf-8")
    helped = _without_extras(_run_main("verify", "--help"))
    screened = _without_extras(
        _run_main("screen", str(rows), "--output", str(tmp_path / "screened"), "--json")
    )

    assert "--trust" in helped.stdout
    assert json.loads(screened.stdout)["accepted"] == 2


def test_statistics_and_request_judge_say_the_same_without_numpy() -> None:
    """E-values, an interval and a score are those that this process, which has NumPy, computes."""
    values = [0.0] * 40 + [1.0] * 3 + [-0.5]
    said = confidence_sequence(values, alpha=0.05)
    score = EmbeddedRequestJudge().score("How long does the night train from Vienna to Rome take?")
    here = [e_value_below(values, 0.1), e_value_above(values, 0.1), said.low, said.high, score.value]
    done = _without_extras(STATISTICS_AND_JUDGE)

    assert here == json.loads(done.stdout)


@pytest.mark.parametrize("arguments", [("--help",), ("verify", "--help")])
def test_help_comes_at_once(arguments: tuple[str, ...]) -> None:
    """They take less than eight times the CPU of loading what any such command needs, on a machine of any speed."""
    assert _cpu("-m", "recert", *arguments) < TIMES * _cpu("-c", "import pydantic, typer")


def _cpu(*arguments: str) -> float:
    """CPU seconds of a run of Python, the least of three: the first may compile, a busy machine slows any one."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, *arguments],
            check=True,
            capture_output=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


def test_what_is_packed_stays_small() -> None:
    """The wheel's content, the alignment adapter included, stays under 17.5 MB."""
    files = [p for p in (ROOT / "src" / "recert").rglob("*") if p.is_file() and "__pycache__" not in p.parts]

    assert sum(p.stat().st_size for p in files) < 17_500_000


def test_a_gateway_loads_a_database_library_only_where_it_has_a_database() -> None:
    """SQLAlchemy takes as much memory as everything else of a small gateway's own."""
    code = "import sys, recert.cli.operating.serve, recert.gateway.stage, recert.workflows.deploy.stage\n"
    code += "import recert.cli.loading, recert.store.audit.log, recert.gateway.serving.telemetry\n"
    code += "print('sqlalchemy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "src"
    )

    assert done.stdout == "False\n"
