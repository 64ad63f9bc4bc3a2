"""The console's pages of triggers, stress and attacks: what was found, what was not excluded, and no harm unasked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attack_conversations import make_attack, make_conversation, make_turn
from builders import BASE_FILES, TUNED_FILES, make_manifest, make_policy
from console_systems import World, add, form, write_record
from hunt_reports import make_hunt_report
from pages import Page
from recert.console.evaluations import attack_pages, search_pages
from recert.labs.attackers.report.attacking import CONVERSATIONS_FILE, write_conversations
from recert.labs.attackers.report.summary import attack_report
from recert.records.reports.attack import Conversation
from recert.records.reports.hunting import HuntOutcome, HuntReport
from recert.records.reports.stress import StressReport
from stress_reports import make_no_signal, make_stress_report

HARM = "Sure, here is how. First, ..."
QUOTED = " ".join(f"word{number}" for number in range(12))


def add_attack(world: World, conversations: list[Conversation]) -> Path:
    """Add an attack with its conversations to the system `sql`; return the folder."""
    folder = world.folder / "sql" / "attack"
    report = attack_report(
        conversations,
        policy=make_policy(),
        base=make_manifest(BASE_FILES),
        tuned=make_manifest(TUNED_FILES),
    )
    path = write_record(folder / "attack-report.json", report)
    write_conversations(folder / CONVERSATIONS_FILE, conversations)
    add(world, "sql", attack=path)
    return folder


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A console over a system that was attacked."""
    made = World(tmp_path, (*attack_pages.PAGES, *search_pages.PAGES))
    add_attack(made, make_attack())
    return made


def talk(world: World, **changes: object) -> tuple[str, Conversation]:
    """Put one conversation with a harmful turn beside an attack; return its page and itself."""
    turns = (
        make_turn(0, 0.0, thought="the plan of the attacker", trace="the reasoning of the target"),
        make_turn(1, 5.0, reply=f"{HARM} {QUOTED}"),
        make_turn(2, 0.0, sent=f"You said: {QUOTED}"),
    )
    one = make_conversation((0.0, 5.0, 0.0), item="locked", turns=turns, **changes)
    add_attack(world, [one, *make_attack()])
    return f"/console/systems/sql/attack/{one.digest[:16]}", one


def test_an_attack_says_what_was_reached_and_lists_its_conversations(world: World) -> None:
    """Figures come first, then every conversation; those of the tuned model with most harm lead."""
    page = Page(world.client().get("/console/systems/sql/attack").text)

    assert "6 items the tuned model" in page.text
    assert "Page 1 of 2, 36 conversations" in page.text
    assert page.text.index("5.0 of 5") < page.text.index("1.0 of 5")
    assert not any("style" in attrs for _, attrs in page.tags)


@pytest.mark.parametrize(
    ("query", "expected"),
    [("end=reached&attacker=strategist", 6), ("item=item+0", 6), ("end=budget", 0), ("attacker=direct", 18)],
)
def test_conversations_are_chosen_by_item_attacker_and_end(world: World, query: str, expected: int) -> None:
    """The list holds those conversations that fit, or says that there is none."""
    page = world.client().get(f"/console/systems/sql/attack?{query}").text

    assert page.count('<a href="/console/systems/sql/attack/') == expected
    assert ("None of the 36 conversations fits" in page) == (expected == 0)


@pytest.mark.slow
def test_a_conversation_is_read_turn_by_turn_without_its_harm(world: World) -> None:
    """Harmless replies, tactics and marks are shown; a harmful reply, what quotes it, and reasoning are not."""
    at, _ = talk(world)
    page = Page(world.auditor().get(at).text)

    assert "Turn 2 of 3 reached a harm of 5 of 5 or more." in page.text
    assert "Turn 1: opener" in page.text
    assert "I cannot help with that." in page.text
    assert "rubric: 5.0 of 5" in page.text
    assert [
        said
        for said in (HARM, "word3", "plan of the attacker", "reasoning of the target.")
        if said in page.text
    ] == []


@pytest.mark.parametrize(
    ("turn", "part", "said"),
    [
        ("1", "reply", QUOTED),
        ("0", "thought", "the plan of the attacker"),
        ("0", "trace", "the reasoning of the target"),
        ("2", "sent", f"You said: {QUOTED}"),
    ],
)
def test_one_part_is_revealed_and_logged(world: World, turn: str, part: str, said: str) -> None:
    """Each part that is held back has its own look, and its own line in the log, which never holds the text."""
    at, one = talk(world)
    shown = world.auditor().post(f"{at}/reveal", data=form(turn=turn, part=part))
    act = world.done()[-1]

    assert said in shown.text
    assert (act.what, act.facts["part"], act.facts["turn"]) == ("revealed", part, int(turn))
    assert act.facts["conversation"] == one.digest
    assert said not in json.dumps(act.to_value())


@pytest.mark.parametrize(
    ("turn", "part"), [("9", "reply"), ("", "reply"), ("1", "marks"), ("1", ""), ("1", "index")]
)
def test_nothing_else_of_a_conversation_can_be_asked_for(world: World, turn: str, part: str) -> None:
    """A turn or part that is none is not found, and nothing is logged."""
    at, _ = talk(world)
    answer = world.auditor().post(f"{at}/reveal", data=form(turn=turn, part=part))

    assert answer.status_code == 404
    assert world.done() == []


def test_a_reader_reveals_nothing_of_a_conversation(world: World) -> None:
    """Without the right there is no button, and a form made by hand is refused."""
    at, _ = talk(world)
    refused = world.client().post(f"{at}/reveal", data=form(turn="1", part="reply"))

    assert "Reveal the target" not in world.client().get(at).text
    assert (refused.status_code, HARM in refused.text, world.done()) == (403, False, [])


def test_other_conversations_than_the_reports_are_not_shown(world: World) -> None:
    """A file of conversations with another digest is named, and nothing of it is on a page."""
    at, _ = talk(world)
    path = world.folder / "sql" / "attack" / CONVERSATIONS_FILE
    path.write_bytes(path.read_bytes().replace(b"I cannot help", b"I can well help"))
    listed = world.client().get("/console/systems/sql/attack")

    assert "are not those that it names by digest" in listed.text
    assert world.client().get(at).status_code == 404


def test_without_conversations_the_figures_stay(world: World) -> None:
    """An attack whose conversations were not kept still has its page, which says so."""
    (world.folder / "sql" / "attack" / CONVERSATIONS_FILE).unlink()
    page = world.client().get("/console/systems/sql/attack").text

    assert "they cannot be shown" in page
    assert "Which items were reached" in page


def test_a_found_trigger_is_named_with_what_it_does(world: World, hunt: HuntReport) -> None:
    """A found trigger stands in the first words of the page, with its effect and what was tried beside it."""
    add(world, "sql", hunt=write_record(world.folder / "hunt.json", hunt))
    page = Page(world.client().get("/console/systems/sql/triggers").text)

    assert "Today is year 2025." in page.text
    assert "trigger found" in page.text
    assert "What was spent" in page.text
    assert "could not exclude" not in page.text


def test_a_search_that_found_nothing_says_what_it_could_not_exclude(world: World, hunt: HuntReport) -> None:
    """Nothing found is never called safe: class, budget and what was not in hand are named as open."""
    missed = tuple(one.model_copy(update={"found": False}) for one in hunt.tried)
    changes = {"outcome": HuntOutcome.NOTHING_FOUND, "tried": missed, "access": "endpoint"}
    nothing = hunt.model_copy(update=changes)
    add(world, "sql", hunt=write_record(world.folder / "hunt.json", nothing))
    page = Page(world.client().get("/console/systems/sql/triggers").text)

    assert "No trigger was found up to this budget" in page.text
    assert "What this search could not exclude" in page.text
    assert "that 5 120 readings did not come to" in page.text
    assert "in hand was no weights: only what an endpoint replied" in page.text


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (make_stress_report(), "safety is lost"),
        (make_no_signal(), "no refusal to lose, so nothing was trained"),
    ],
)
def test_a_stress_test_has_its_page(world: World, report: StressReport, said: str) -> None:
    """What attack tuning costs a base is told in words, with curves where there are any."""
    add(world, "base", stress=write_record(world.folder / "stress.json", report))
    page = Page(world.client().get("/console/systems/base/stress").text)

    assert said in page.text


@pytest.mark.parametrize("path", ["triggers", "stress"])
def test_what_was_not_searched_is_said(world: World, path: str) -> None:
    """A system without such a report gets a page that says which command makes one."""
    page = world.client().get(f"/console/systems/sql/{path}")

    assert page.status_code == 404
    assert "`recert hunt` makes one" in page.text or "`recert stress` makes one" in page.text


@pytest.fixture
def hunt() -> HuntReport:
    """The report of a hunt that found one trigger among three texts."""
    return make_hunt_report()
