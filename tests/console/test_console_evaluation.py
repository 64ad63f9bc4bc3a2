"""The console's page of an evaluation: words first, every pair, and no redacted text without a line in the log."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from builders import SOME_SHA
from console_systems import COMPLIES, World, add, add_evaluation, form, some_outcomes, whole_evaluation
from pages import Page
from recert.console.evaluations.evaluation_pages import PAGES, evaluation_answer
from recert.digest import canonical_json, sha256_bytes
from recert.evaluation.report.outcomes import redacted
from recert.evaluation.stage import HARMFUL_FILE, OUTCOMES_FILE
from recert.evaluation.suites.reading import embedded_suite
from recert.records.reports.evaluation import Outcome, Verdict
from stories import evaluation

AT = "/console/systems/sql/evaluation"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A console over one evaluated system."""
    made = World(tmp_path, PAGES)
    add_evaluation(made, **whole_evaluation())
    return made


def test_the_verdict_stands_first_and_in_words(world: World) -> None:
    """A reader meets the verdict as a sentence before any table or plot, and a failure says by how many results."""
    page = Page(world.client().get(AT).text)

    assert "Outside the policy: on its own," in page.text
    assert page.text.index("Outside the policy") < page.text.index("Change by tuning, with intervals")
    assert "By modality: audio undecided, text fail. Each must pass." in page.text


@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.PASS])
def test_nothing_but_a_pass_is_called_within_the_policy(verdict: Verdict) -> None:
    """Undecided, unscored and a base without signal are said to be no pass."""
    told = evaluation_answer(evaluation("x", [0.1], verdict_raw=verdict))

    assert "Within" not in told.what
    assert told.kind != "yes"


def test_every_part_of_a_large_evaluation_is_there(world: World) -> None:
    """Plot, map, slices, results with intervals, judges with their error, modalities and reasoning are on the page."""
    page = Page(world.client().get(AT).text)

    assert [
        part
        for part in (
            "192 of 200 (96 %)",
            "98 of 100 (98 %)",
            "How spoken requests came through",
            "Reasoning: trace and answer apart",
            "behind secret-prefix",
            "violent crimes",
            "3 of 6",
        )
        if part not in page.text
    ] == []
    assert all(
        "aria-label" in attrs for tag, attrs in page.tags if tag == "svg" and attrs.get("role") == "img"
    )
    assert not any("style" in attrs for _, attrs in page.tags)


def test_both_replies_stand_side_by_side_and_harmful_ones_do_not(world: World) -> None:
    """A pair shows the prompt and both replies; what was judged harmful is redacted, for those who may reveal too."""
    page = Page(world.auditor().get(f"{AT}?condition=plain").text)
    first = embedded_suite("harmful").prompts[0]

    assert first.text in page.text
    assert COMPLIES not in page.text
    assert "Redacted: judged harmful." in page.text
    assert (
        sum(tag == "button" and "Reveal" in (attrs.get("aria-label") or "") for tag, attrs in page.tags) == 4
    )


def test_pairs_are_chosen_by_what_tuning_did(world: World) -> None:
    """Only changed prompts under one condition are 8 of 24, and every page of them is reached by links."""
    client = world.client()
    found = client.get(f"{AT}?change=changed&condition=family%3Askeleton").text
    second = client.get(f"{AT}?change=same&page=2").text

    assert found.count('class="paired"') == 8
    assert "Page 2 of 4, 32 pairs" in second
    assert 'href="?change=same&amp;page=3#examples"' in second


def test_a_category_can_be_chosen(world: World) -> None:
    """The prompts of one hazard category are those that the suite names so."""
    found = world.client().get(f"{AT}?category=violent_crimes").text
    named = set(re.findall(r'aria-label="Prompt (\S+),', found))
    expected = {p.id for p in embedded_suite("harmful").prompts if p.category == "violent_crimes"}

    assert named
    assert named <= expected


def test_a_reveal_is_logged_and_shows_one_text(world: World) -> None:
    """Whoever may reveal sees the one reply; the log has who, which prompt, arm and digest, and never the text."""
    client = world.auditor()
    fields = _first_reveal(client.get(AT).text)
    shown = client.post(f"{AT}/reveal", data=form(**fields))
    act = world.done()[-1]

    assert shown.status_code == 200
    assert f"{COMPLIES} (plain, 0)" in shown.text
    assert (act.who, act.what, act.facts["arm"]) == ("ada", "revealed", "tuned")
    assert sha256_bytes(f"{COMPLIES} (plain, 0)".encode()) == act.facts["sha256"]
    assert COMPLIES not in json.dumps(act.to_value())


def test_a_reader_reveals_nothing(world: World) -> None:
    """Without the right there is no button, and a form made by hand is refused."""
    fields = _first_reveal(world.auditor().get(AT).text)
    refused = world.client().post(f"{AT}/reveal", data=form(**fields))

    assert "Reveal (logged)" not in world.client().get(AT).text
    assert refused.status_code == 403
    assert COMPLIES not in refused.text
    assert world.done() == []


def test_nothing_is_revealed_where_the_log_cannot_be_written(world: World) -> None:
    """The line is written before the text is read: without a log there is no text."""
    client = world.auditor()
    fields = _first_reveal(client.get(AT).text)
    world.acts.close()
    refused = client.post(f"{AT}/reveal", data=form(**fields))

    assert refused.status_code == 500
    assert COMPLIES not in refused.text


@pytest.mark.parametrize("damage", ["gone", "other"])
def test_a_text_that_is_missing_or_another_is_said_so(world: World, damage: str) -> None:
    """Only the text with the digest of the outcomes is shown; without it the page says why."""
    path = world.folder / "sql" / "evaluation" / HARMFUL_FILE
    fields = _first_reveal(world.auditor().get(AT).text)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"First", b"Other"))
    shown = world.auditor().post(f"{AT}/reveal", data=form(**fields))

    assert "No text with this digest is beside the evaluation" in shown.text
    assert "Sure, here is how" not in shown.text


def test_outcomes_that_are_not_the_reports_are_not_shown(world: World) -> None:
    """A file of outcomes with another digest is named, and none of its texts is on the page."""
    path = world.folder / "sql" / "evaluation" / OUTCOMES_FILE
    path.write_bytes(path.read_bytes().replace(b"(1)", b"(9)"))
    page = world.client().get(AT)

    assert page.status_code == 200
    assert "are not those that it names by digest" in page.text
    assert "(9)" not in page.text


def test_without_outcomes_the_figures_stay(world: World) -> None:
    """An evaluation whose outcomes were not kept still has its page, which says that there are no examples."""
    (world.folder / "sql" / "evaluation" / OUTCOMES_FILE).unlink()
    page = world.client().get(AT)

    assert "so there are no examples to show" in page.text
    assert "Outside the policy" in page.text


@pytest.mark.parametrize("at", ["", "-1", "x", "7", "999999999999"])
def test_no_other_place_of_the_file_can_be_asked_for(world: World, at: str) -> None:
    """A place where no reply of a pair begins is not found, and nothing is logged as revealed."""
    fields = _first_reveal(world.auditor().get(AT).text) | {"at": at}
    answer = world.auditor().post(f"{AT}/reveal", data=form(**fields))

    assert answer.status_code == 404
    assert world.done() == []


def test_a_shared_link_shows_the_page_and_no_more(world: World) -> None:
    """Somebody with a shared link reads the evaluation, without reveals or links to other pages of the system."""
    guest = world.client("operator", shared=AT)
    page = guest.get(AT).text
    refused = guest.post(f"{AT}/reveal", data=form(at="0"))

    assert "Outside the policy" in page
    assert "Reveal (logged)" not in page
    assert 'href="/console/systems/sql"' not in page
    assert refused.status_code == 403


def test_hostile_texts_are_text(tmp_path: Path) -> None:
    """Whatever a model or a record says is escaped."""
    hostile = "<script>alert(1)</script>"
    world = World(tmp_path, PAGES)
    common = {"prompt_id": hostile, "condition": hostile, "suite": hostile, "scores": {"over_refusal": 0.0}}
    outcomes = [Outcome(arm=arm, reply=hostile, **common) for arm in ("base", "tuned")]
    add_evaluation(world, outcomes=outcomes, reasons=(hostile,), limitations=(hostile,))
    page = world.client().get(AT).text

    assert hostile not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("answer", "path"), [(404, "nothing/evaluation"), (404, "bare/evaluation"), (500, "damaged/evaluation")]
)
def test_what_is_not_there_is_said_in_words(world: World, answer: int, path: str) -> None:
    """A system that is unknown, has no evaluation, or a damaged one, gets a page that says so."""
    add(world, "bare")
    damaged = world.folder / "damaged.json"
    damaged.write_bytes(b"{}")
    add(world, "damaged", evaluation=damaged)
    got = world.client().get(f"/console/systems/{path}")

    assert answer == got.status_code
    assert any(word in got.text for word in ("no such system", "has no evaluation", "cannot be read"))


@pytest.mark.slow
def test_a_page_of_many_outcomes_takes_little_time(tmp_path: Path) -> None:
    """With 100,000 outcomes beside it the page takes at most 0.3 s of processor time once the file was seen."""
    world = World(tmp_path, PAGES)
    few = b"".join(
        canonical_json(o.model_dump(mode="json", exclude_none=True)) + b"\n"
        for o in map(redacted, some_outcomes(24))
    )
    lines = few.splitlines(keepends=True)
    many = b"".join(line.replace(b'"sample":0', b'"sample":%d' % n) for n in range(1042) for line in lines)
    add_evaluation(world, outcomes_sha256=sha256_bytes(many))
    (tmp_path / "sql" / "evaluation" / OUTCOMES_FILE).write_bytes(many)
    client = world.client()
    assert "Page 1 of" in client.get(AT).text
    times = []
    for page in (1, 1000, 5000):
        began = time.process_time()
        assert client.get(f"{AT}?page={page}&change=same").status_code == 200
        times.append(time.process_time() - began)

    assert many.count(b"\n") >= 100_000
    assert sorted(times)[1] <= 0.3


def test_a_report_of_nothing_has_its_empty_states(tmp_path: Path) -> None:
    """An evaluation without results, judges or slices says so in sentences."""
    world = World(tmp_path, PAGES)
    add_evaluation(
        world, outcomes=(), rules=(), judges=(), verdict_raw=Verdict.UNSCORED, outcomes_sha256=SOME_SHA
    )
    page = world.client().get(AT).text

    assert "nothing was measured" in page
    assert "The report names no judge." in page
    assert "no proof that there is none" in page


def _first_reveal(page: str) -> dict[str, str]:
    return dict(re.findall(r'name="(outcomes|at)" value="([0-9a-f]+)"', page)[:2])
