"""Whoever removes the folder of a feature removes that feature, and nothing else breaks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ABOVE = ("__main__", "cli", "console", "service", "pages", "interop", "labs")
"""What is not core."""
REMOVABLE = ("labs", "interop", "service", "console")
CORE_TESTS = (
    "tests/records",
    "tests/policy/test_arithmetic.py",
    "tests/evaluation/test_decide.py",
    "tests/certification/test_verify.py",
    "tests/gateway/test_replies.py",
)
IMPORT_CORE = f"""
import importlib, pkgutil, recert
for found in pkgutil.walk_packages(recert.__path__, "recert."):
    if found.name.split(".")[1] not in {ABOVE!r}:
        importlib.import_module(found.name)
print(recert.__file__)
"""


def _python(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(place)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module", params=REMOVABLE)
def without(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A copy of the source in which one folder is missing; large assets are linked."""
    place = tmp_path_factory.mktemp("source")
    source = ROOT / "src" / "recert"
    shutil.copytree(source, place / "recert", ignore=shutil.ignore_patterns("assets", "__pycache__"))
    (place / "recert" / "assets").symlink_to(source / "assets")
    shutil.rmtree(place / "recert" / request.param)
    return request.param, place


def test_the_core_is_whole(without: tuple[str, Path]) -> None:
    """Every module of the core can be imported, and the core's tests pass."""
    _, place = without
    imported = _python(place, "-c", IMPORT_CORE)

    assert imported.stdout.strip() == str(place / "recert" / "__init__.py"), imported.stderr
    tested = _python(place, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *CORE_TESTS)
    assert tested.returncode == 0, tested.stdout


def test_the_command_line_goes_without(without: tuple[str, Path]) -> None:
    """The commands of the stages are there, and one that needs what is missing says so and ends with 2."""
    gone, place = without
    needs = {
        "labs": ("screen", "--grader", "none.json", "--output", "out"),
        "interop": ("import", "README.md", "--output", "out.json"),
        "service": ("service", "worker", "--folder", "out"),
        "console": ("console", "--folder", "out"),
    }
    helped = _python(place, "-m", "recert", "--help")
    refused = _python(place, "-m", "recert", *needs[gone])

    assert helped.returncode == 0, helped.stderr
    for verb in ("screen", "tune", "evaluate", "certify", "verify", "serve", "watch", "run"):
        assert f" {verb} " in helped.stdout
    assert (" hunt " in helped.stdout) is (gone != "labs")
    assert refused.returncode == 2
    assert f"recert.{gone}" in refused.stderr, refused.stderr


def test_a_console_without_labs_or_service_shows_its_other_pages(without: tuple[str, Path]) -> None:
    """Pages about attacks and jobs are missing with what made them, and no other."""
    gone, place = without
    if gone == "console":
        pytest.skip("there is no console")
    code = "import json; from recert.console.assembling import all_pages\n"
    code += "print(json.dumps([page.path for page in all_pages()]))"
    pages = json.loads(_python(place, "-c", code).stdout)
    whole = json.loads(_python(ROOT / "src", "-c", code).stdout)

    assert {page for page in whole if page not in pages and "attack" not in page} == set()
    assert (len(pages) == len(whole)) is (gone != "labs")
