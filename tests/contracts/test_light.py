"""What must stay light: no torch in the core, and answers of the command line without a wait."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "peft", "trl", "datasets")
CPU_S = 0.5


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
        "import recert.records, recert.policy, recert.store.files",
        "import recert.certification.stage",
        "import recert.gateway.stage",
        "import recert.monitoring.stage, recert.models.endpoint",
        "import recert.web.report",
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


@pytest.mark.parametrize("arguments", [("--help",), ("verify", "--help")])
def test_help_comes_at_once(arguments: tuple[str, ...]) -> None:
    """`recert --help` and `recert verify --help` take less than half a second of CPU."""
    spent = []
    for _ in range(3):  # the first may have to compile; a busy machine makes any one of them slow
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "recert", *arguments],
            check=True,
            capture_output=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    assert min(spent) < CPU_S


def test_what_is_packed_stays_small() -> None:
    """The wheel's content, the alignment adapter included, stays under 16 MB."""
    files = [p for p in (ROOT / "src" / "recert").rglob("*") if p.is_file() and "__pycache__" not in p.parts]

    assert sum(p.stat().st_size for p in files) < 16_000_000
