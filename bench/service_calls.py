"""Every call that the installed OpenAI client has, asked of a service by the tests: a claim of `service_demo.py`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from peers.page import claim

ROOT = Path(__file__).parents[1]
CALLS = ("test_what_is_offered_is_answered", "test_what_is_not_offered_is_refused")
"""Tests that have one case a call."""


def calls_of_the_client(folder: Path, versions: Mapping[str, str]) -> dict[str, Any]:
    """
    Print and return the claim: calls that are answered otherwise than they should, of all that the client has.

    Args:
        folder: where the tests tell what came of them.
        versions: of what is measured.
    """
    told = folder / "calls.xml"
    asked = ["-q", "-n0", "-p", "no:cacheprovider", "tests/service/test_conformance.py", f"--junitxml={told}"]
    subprocess.run([sys.executable, "-m", "pytest", *asked], cwd=ROOT, stdout=sys.stderr, check=False)
    cases = list(ElementTree.parse(told).iter("testcase")) if told.exists() else []
    calls = [case for case in cases if case.get("name", "").startswith(CALLS)]
    wrong = [
        case.get("name", "") for case in cases for what in ("failure", "error") if case.find(what) is not None
    ]
    return claim(
        "calls of the client that are answered otherwise than they should, of all that it has",
        len(wrong) if calls else 1, 0, least=False, n=len(calls), versions=versions, wrong=wrong,
    )  # fmt: skip
