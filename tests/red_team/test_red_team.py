"""The adversarial suite over a small world: a part of its attacks, so that the suite itself keeps working."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from evaluated import suite
from red_team_world import make_red_team_world, scripted_arms

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from red_team import LEAST_ATTACKS, off_aim, run
from red_team_cases import every_attack
from red_team_cases.attacks import ATTACKERS, KINDS, Attack, Way, try_attack, try_control
from red_team_cases.desks import Desk, World, answer_of
from red_team_cases.opening import open_world

IN_MEMORY = ("envelopes", "certificates", "policies", "people", "roots")
BY_COMMANDS = tuple(kind for kind in KINDS if kind not in IN_MEMORY)
EACH = 20
"""Of these kinds every twentieth attack is tried: they run whole commands."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A small world in the demo's layout, with a tune that passed and one that did not."""
    suites = {name: suite(name, harmful=name == "harmful") for name in ("harmful", "lookalikes")}
    folder = make_red_team_world(tmp_path_factory.mktemp("demo"))
    return open_world(folder, arms=scripted_arms, suites=suites)


def _of(kinds: Sequence[str], *, each: int = 1) -> list[Attack]:
    """Attacks of some kinds, but those that ask hundreds of times."""
    found = []
    for kind in kinds:
        mine = [
            a for a in every_attack().values() if a.kind == kind and not inspect.isgeneratorfunction(a.act)
        ]
        found += mine[::each]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "attacks",
    [
        pytest.param(_of(IN_MEMORY, each=3), id="in memory"),
        pytest.param(_of(BY_COMMANDS, each=EACH), id="by commands"),
    ],
)
def test_no_attack_gets_a_yes(world: World, attacks: list[Attack]) -> None:
    """Every set-up gives yes before it is attacked; no attack gets one, breaks the tool, or is stopped elsewhere."""
    told: list[str] = []

    controls, results = run(attacks, world, 0, told.append)

    assert told == []
    assert {name: r.wrong + r.defects for name, r in controls.items() if r.wrong or r.defects} == {}
    assert {a.id: off_aim(a, results[a.id]) for a in attacks if off_aim(a, results[a.id])} == {}
    assert sum(result.n for result in results.values()) > len(attacks) / 2


def test_there_are_attacks_of_every_finding_and_of_every_attacker() -> None:
    """Each of the twelve findings is sampled, with 150 attacks more, by every named attacker and of every kind."""
    attacks = every_attack().values()

    assert len(attacks) >= LEAST_ATTACKS
    assert {a.finding for a in attacks} - {None} == set(range(1, 13))
    assert {a.by for a in attacks} == set(ATTACKERS)
    assert {a.kind for a in attacks} == set(KINDS)


@pytest.mark.slow
def test_a_yes_to_an_attack_is_told(world: World) -> None:
    """An attack that changes nothing gets a yes, and so does the suite's own account of it."""
    holds = Way("it holds", lambda desk: None, Desk.read, ("sql",))
    nothing = Attack("nothing", "status", holds, "tuner", "nothing is done", lambda desk: None)

    assert try_control(holds, world).wrong == []
    assert try_attack(nothing, world).wrong == ["nothing is done"]


def test_a_set_up_that_gives_no_yes_is_void(world: World) -> None:
    """Attacks on a set-up that is refused as it is are not tried, and the suite says so."""
    refused = Way("it is refused", lambda desk: desk.put_list(None), Desk.read, ("sql",))
    attack = next(iter(every_attack().values()))
    every_attack()["void"] = Attack("void", attack.kind, refused, "tuner", "nothing", lambda desk: None)
    told: list[str] = []

    try:
        controls, results = run([every_attack()["void"]], world, 0, told.append)
    finally:
        del every_attack()["void"]

    assert results == {}
    assert controls["it is refused"].wrong
    assert told[0].startswith("VOID: it is refused")


def test_a_tool_that_breaks_is_a_defect(world: World) -> None:
    """A traceback is no refusal."""
    breaks = Way("it breaks", lambda desk: None, lambda desk: answer_of(lambda: 1 / 0))

    result = try_attack(Attack("breaks", "files", breaks, "tuner", "it breaks", lambda desk: None), world)

    assert "ZeroDivisionError" in result.defects[0]
    assert result.wrong == []
