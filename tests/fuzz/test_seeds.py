"""What fuzzing found stays fixed, and a few thousand fresh cases are tried each time; `make fuzz` tries a million."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from fuzz.targets import TARGETS, Target

SEEDS = sorted((Path(__file__).parent / "seeds").glob("*-*"))
CASES = 300


@pytest.mark.parametrize("seed", SEEDS, ids=[path.name for path in SEEDS])
def test_a_case_that_was_a_finding_is_none_any_more(seed: Path) -> None:
    """What the target promises holds of the case."""
    TARGETS[seed.name.partition("-")[0]].check(seed.read_bytes())


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_what_must_hold_of_any_bytes_holds(target: Target) -> None:
    """Some hundred cases, always the same: what the target promises holds of each."""
    chance = Random(target.name)
    for _ in range(CASES):
        case = target.case(chance)
        try:
            target.check(case)
        except Exception as exc:
            raise AssertionError(f"keep this case in tests/fuzz/seeds: {case!r}") from exc


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_cases_to_start_from_are_fine(target: Target) -> None:
    """Each base of each target holds, so that what changes of it find is found by the change."""
    for base in target.bases():
        target.check(base)
