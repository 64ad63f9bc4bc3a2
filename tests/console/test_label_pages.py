"""The console's pages of labels: the files of the terminal, blinded, resumable, and closed once labels decided."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import live_runs
from arms import AGREE, REFUSE
from console_systems import form
from labelled_world import AT, LabelledWorld, labelled_world
from pages import Page
from recert.console.accounts.rights import AUDITOR, OPERATOR, READER
from recert.evaluation.stage import HARMFUL_FILE, OUTCOMES_FILE
from recert.workflows.attempts.ledger import Ledger

pytestmark = pytest.mark.slow


@pytest.fixture
def world(tmp_path: Path) -> LabelledWorld:
    """An evaluation of a tune that agrees to half of the harmful requests; nothing is labelled."""
    return labelled_world(tmp_path)


def begun(client: TestClient, replies: int = 8) -> TestClient:
    """Begin to label."""
    assert client.post(f"{AT}/begin", data=form(replies=str(replies))).status_code == 303
    return client


def fields(page: str, action: str) -> dict[str, str]:
    """Return the hidden fields of the form with this action."""
    inside = re.search(rf'action="{re.escape(action)}".*?</form>', page, re.DOTALL)
    assert inside is not None
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', inside[0]))


def say(client: TestClient, label: str) -> str:
    """Label the reply that is shown; return its page."""
    page = client.get(f"{AT}/reply").text
    answer = client.post(f"{AT}/reply", data={**fields(page, f"{AT}/reply"), "label": label})
    assert answer.status_code == 303, answer.text
    return page


def lines(world: LabelledWorld, name: str = "ann") -> list[dict[str, object]]:
    """Return what a labeller's file holds."""
    text = (world.folder / "sql" / "labels" / f"{name}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_labels_of_the_console_and_the_terminal_are_the_same(world: LabelledWorld) -> None:
    """
    What is said in the console is a line of the labeller's file, under the name of the account; whoever goes on in the
    terminal finds it there, and the console finds what was said in the terminal.
    """
    client = begun(world.labeller("ann@example.org"))
    say(client, "refused")
    say(client, "complied")
    work = world.work()
    file = work.file_of("ann@example.org", "person", work.replies(None))
    assert file.labels == {0: "refused", 1: "complied"}
    file.set(2, "evaded")
    page = client.get(f"{AT}/reply").text

    assert "Reply 4 of 16" in page
    assert "3 of 16 labelled" in page
    head, *said = lines(world, "ann@example.org")
    assert (head["labeller"], head["kind"], head["replies"]) == ("ann@example.org", "person", 8)
    assert [(one["at"], one["label"]) for one in said] == [(0, "refused"), (1, "complied"), (2, "evaded")]


def test_the_notice_is_shown_before_the_first_reply(world: LabelledWorld) -> None:
    """The page of a reply leads to the notice until somebody has begun; then replies are shown whole."""
    client = world.labeller()
    before = client.get(f"{AT}/reply")
    overview = Page(client.get(AT).text).text
    seen = {say(begun(client), "refused") for _ in range(1)}
    while (answer := client.get(f"{AT}/reply")).status_code == 200:
        seen.add(say(client, "refused"))

    assert (before.status_code, before.headers["location"]) == (303, AT)
    assert "nothing is redacted" in overview
    assert "Nobody has labelled this evaluation" in overview
    assert any(AGREE in page for page in seen)
    assert any("I&#39;m sorry" in page for page in seen)
    assert not any("redacted" in page for page in seen)
    assert answer.headers["location"].startswith(f"{AT}?said=")


def test_nothing_on_the_page_says_which_model_replied_or_what_a_judge_said(world: LabelledWorld) -> None:
    """Of two replies with the same words the pages differ in the place alone, whichever model gave them."""
    client = begun(world.labeller(), 30)
    work = world.work()
    sample = work.sample(30)
    pages: dict[str, set[str]] = {"base": set(), "tuned": set()}
    for item, outcome in sample:
        page = say(client, "refused")
        bare = page.replace(f"harmful request {outcome.prompt_id[1:]}", "")
        bare = re.sub(r"\d+", "", bare.partition("<main")[2].partition('class="deciding"')[0])
        if outcome.reply == REFUSE:
            pages[item.arm].add(bare)

    assert all(pages.values())
    assert pages["base"] == pages["tuned"]


def test_what_was_said_last_is_taken_back(world: LabelledWorld) -> None:
    """The label goes, its reply is shown again, and a page that was left open takes nothing else back."""
    client = begun(world.labeller())
    say(client, "refused")
    say(client, "complied")
    page = client.get(f"{AT}/reply").text
    back = fields(page, f"{AT}/undo")
    client.post(f"{AT}/undo", data=back)
    again = client.get(f"{AT}/reply").text
    stale = client.post(f"{AT}/undo", data=back)

    assert "Take back “Complied” of reply 2" in page
    assert "Reply 2 of 16" in again
    assert "Another%20label" in stale.headers["location"]
    assert world.work().file_of("ann", "person", 8).labels == {0: "refused"}
    assert lines(world)[-1]["label"] is None


def test_a_page_that_was_left_open_changes_no_label(world: LabelledWorld) -> None:
    """A reply that got its label in another window keeps it, and whoever sends the old page is told."""
    client = begun(world.labeller())
    old = fields(client.get(f"{AT}/reply").text, f"{AT}/reply")
    say(client, "refused")
    answer = client.post(f"{AT}/reply", data={**old, "label": "complied"})

    assert answer.status_code == 303
    assert "has%20a%20label%20already" in answer.headers["location"]
    assert world.work().file_of("ann", "person", 8).labels == {0: "refused"}


def test_two_labellers_see_how_far_they_agree_and_only_in_the_end(world: LabelledWorld) -> None:
    """Agreement and kappa are shown once both are done; what the judge found on each model once labels decided."""
    ann, bob = begun(world.labeller()), begun(world.labeller("bob"))
    for n in range(16):
        say(ann, "refused" if n % 2 else "complied")
    alone = Page(ann.get(AT).text).text
    for n in range(16):
        say(bob, "refused" if n % 2 or n == 0 else "complied")
    both = Page(bob.get(AT).text).text
    work = world.work()
    note = work.checked(work.gathered()).note

    assert "16 of 16" in alone and "0 of 16" in alone
    assert "agree on" not in alone
    assert "Two labellers agree on 94 % of 16 replies; kappa 0.88." in both
    assert (note.agreement, note.kappa) == (0.9375, 0.875)
    assert "the judge found" not in both
    assert "recert label" in both and "--decide" in both


def test_labels_of_the_console_decide_and_are_closed_then(world: LabelledWorld) -> None:
    """The record names the accounts. Once labels decided, nobody labels, takes back or begins, and the page says so."""
    client = begun(world.labeller())
    for _ in range(15):
        say(client, "refused")
    last = fields(client.get(f"{AT}/reply").text, f"{AT}/reply")
    say(client, "refused")
    report = world.work().decide(world.work().gathered(), Ledger())
    answers = [
        client.get(f"{AT}/reply"),
        client.post(f"{AT}/reply", data={**last, "label": "complied"}),
        client.post(f"{AT}/undo", data=form(at="15")),
        world.labeller("bob").post(f"{AT}/begin", data=form(replies="8")),
    ]
    overview = Page(client.get(AT).text).text

    assert report.labels is not None
    assert [one.name for one in report.labels.labellers] == ["ann"]
    assert [one.status_code for one in answers] == [409] * 4
    assert all("decided by its labels" in one.text for one in answers)
    assert "Decided by labels" in overview and "by ann (person)" in overview
    assert "the judge found" in overview
    assert len(lines(world)) == 17
    assert not (world.folder / "sql" / "labels" / "bob.jsonl").exists()


def test_over_refusal_is_labelled_on_a_page_of_its_own(world: LabelledWorld) -> None:
    """
    The page of labels leads to both kinds. Each has its own notice, words and places; labels of both lie in one file,
    and whoever labelled one kind can add the other once labels decided.
    """
    about = {"about": "over-refusal"}
    client = begun(world.labeller())
    for _ in range(16):
        say(client, "refused")
    world.work().decide(world.work().gathered(), Ledger())
    overview = client.get(AT, params=about).text
    page = client.get(f"{AT}/reply", params=about).text
    for n in range(16):
        given = {**fields(client.get(f"{AT}/reply", params=about).text, f"{AT}/reply"), "label": "complied"}
        assert client.post(f"{AT}/reply", data=given).status_code == 303, n
    undone = client.post(f"{AT}/undo", data=form(at="15", **about))
    open_ = client.get(f"{AT}/reply", params=about).text
    last = {**fields(open_, f"{AT}/reply"), "label": "complied"}
    client.post(f"{AT}/reply", data=last)
    report = world.work().decide(world.work().gathered(), Ledger())

    assert 'href="/console/systems/sql/labels?about=over-refusal"' in client.get(AT).text
    assert "should be answered" in Page(overview).text and "Go on with reply 1 of 16" in overview
    assert "ordinary request" in page and "Answered" in page and "Neither" in page
    assert undone.headers["location"] == f"{AT}/reply?about=over-refusal"
    assert "Reply 16 of 16" in open_
    assert report.labels is not None and report.labels.over_refusal_tuned is not None
    assert client.get(f"{AT}/reply", params=about).status_code == 409
    assert "Answered by the labels" in client.get(AT, params=about).text
    assert client.get(AT, params={"about": "taste"}).status_code == 404


def test_who_may_label(world: LabelledWorld) -> None:
    """Labellers and roles that sign label; readers, auditors and operators see how far it is, and change nothing."""
    for role in (READER, AUDITOR, OPERATOR):
        client = world.labeller("rea", role)
        answers = [client.get(f"{AT}/reply"), client.post(f"{AT}/begin", data=form(replies="8"))]

        assert [one.status_code for one in answers] == [403, 403]
        assert "not label: your roles are" in Page(client.get(AT).text).text
    assert not (world.folder / "sql" / "labels").exists()
    begun(world.labeller("eve", "evaluator"))
    assert (world.folder / "sql" / "labels" / "eve.jsonl").exists()


def test_looks_and_labels_are_logged_without_what_was_said(world: LabelledWorld) -> None:
    """The log names who, the place and the digest of a redacted text, before it is shown; no label and no text."""
    client = begun(world.labeller())
    for _ in range(16):
        say(client, "complied")
    acts = world.done()
    told = json.dumps([act.to_value() for act in acts])

    assert {act.who for act in acts} == {"ann"}
    assert [act.what for act in acts].count("labelled") == 16
    assert any(act.what == "revealed" and "sha256" in act.facts for act in acts)
    assert AGREE not in told and "complied" not in told


def test_nothing_is_shown_or_kept_where_the_log_cannot_be_written(world: LabelledWorld) -> None:
    """The line in the log comes first."""
    client = begun(world.labeller())
    page = fields(client.get(f"{AT}/reply").text, f"{AT}/reply")
    world.acts.close()
    answer = client.post(f"{AT}/reply", data={**page, "label": "refused"})

    assert answer.status_code == 500
    assert len(lines(world)) == 1


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"label": "harmless"}, 400), ({"outcomes": "0" * 64}, 409), ({"csrf": "another"}, 403)],
)
def test_a_form_that_is_no_label_keeps_none(
    world: LabelledWorld, changes: dict[str, str], status: int
) -> None:
    """An unknown label, other outcomes or a form from elsewhere write nothing."""
    client = begun(world.labeller())
    page = fields(client.get(f"{AT}/reply").text, f"{AT}/reply")
    answer = client.post(f"{AT}/reply", data={**page, "label": "refused"} | changes)

    assert answer.status_code == status
    assert len(lines(world)) == 1


def test_what_is_missing_is_said_with_the_way_out(world: LabelledWorld) -> None:
    """Redacted replies that were not kept, outcomes that are gone or others, and a policy that is not at hand."""
    client = world.labeller()
    folder = world.folder / "sql"
    kept = (folder / HARMFUL_FILE).read_bytes()
    (folder / HARMFUL_FILE).unlink()
    no_texts = Page(client.get(AT).text).text
    refused = client.post(f"{AT}/begin", data=form(replies="30"))
    (folder / HARMFUL_FILE).write_bytes(kept)
    whole = (folder / OUTCOMES_FILE).read_bytes()
    (folder / OUTCOMES_FILE).write_bytes(whole + b"\n")
    others = client.get(AT)
    (folder / OUTCOMES_FILE).unlink()
    gone = client.get(AT)
    (folder / OUTCOMES_FILE).write_bytes(whole)
    world.policy = world.policy.model_copy(update={"version": "2"})
    no_policy = world.labeller().get(AT)

    assert "not at hand" in no_texts and "harmful-replies.jsonl" in no_texts
    assert refused.status_code == 409 and "not at hand" in refused.text
    assert not (folder / "labels").exists()
    assert others.status_code == 409 and "not those of the report" in others.text
    assert gone.status_code == 500 and "outcomes.jsonl" in gone.text
    assert no_policy.status_code == 409 and "a console is started with it" in no_policy.text


def test_an_evaluation_that_is_not_finished_is_said_to_be(world: LabelledWorld, tmp_path: Path) -> None:
    """A system without a report has nothing to label; while its evaluation runs the page says so, and where to look."""
    world.systems.add("raw", tmp_path / "raw")
    live_runs.evaluated(tmp_path / "running", name="running", blocks=3)
    live_runs.put(tmp_path / "running", touched_ago_s=-600)
    world.systems.add("running", tmp_path / "running")
    none, running = (world.labeller().get(f"/console/systems/{name}/labels") for name in ("raw", "running"))

    assert (none.status_code, running.status_code) == (404, 404)
    assert "has no evaluation" in none.text
    assert "is not finished, so there is nothing to label yet" in running.text
    assert "its page of the run says how far it is" in running.text.lower()


def test_the_number_of_replies_is_chosen_once(world: LabelledWorld) -> None:
    """The second labeller gets the number of the first, whatever their form says; fewer than eight are refused."""
    few = world.labeller().post(f"{AT}/begin", data=form(replies="3"))
    begun(world.labeller(), 12)
    begun(world.labeller("bob"), 60)

    assert few.status_code == 400
    assert [lines(world, name)[0]["replies"] for name in ("ann", "bob")] == [12, 12]
