"""Accounts, roles and passwords in the browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from console_world import ADA, BOB, Browser, People
from recert.console.accounts.account_pages import program_words
from recert.console.accounts.rights import Right, rights_of, signing_roles
from recert.policy import load_policy


@pytest.fixture
def world(tmp_path: Path) -> Iterator[People]:
    """A console with an administrator and an approver."""
    made = People(tmp_path / "console")
    yield made
    made.close()


@pytest.fixture
def ada(world: People) -> Browser:
    """The administrator's browser, on the page of accounts."""
    browser = world.browser()
    browser.sign_in("ada", ADA)
    browser.get("/console/accounts")
    return browser


def _once(page: str) -> str:
    found = re.search(r'class="once">([^<]+)<', page)
    assert found is not None
    return found.group(1)


def test_a_first_password_opens_only_the_page_where_it_is_changed(world: People, ada: Browser) -> None:
    """Whoever made the account knows it no more afterwards; the new one signs in at once."""
    added = ada.post("/console/accounts", name="Carol", **{"role-auditor": "on", "role-reader": "on"})
    first = _once(added.text)
    carol = world.browser()
    asked = carol.sign_in("carol", first)
    before = "recert-session" in dict(carol.client.cookies)
    refused = [
        carol.post("/console/new-password", name="carol", password=first, new=new, again=again)
        for new, again in (("short", "short"), (first, first), ("a long enough one", "another long one"))
    ]
    wrong = carol.post(
        "/console/new-password",
        name="carol",
        password="wrong",
        new="a long enough one",
        again="a long enough one",
    )
    done = carol.post(
        "/console/new-password",
        name="carol",
        password=first,
        new="a long enough one",
        again="a long enough one",
    )

    assert (asked.status_code, "Choose a password of your own" in asked.text, before) == (200, True, False)
    assert [answer.status_code for answer in [*refused, wrong]] == [400, 400, 400, 403]
    assert done.status_code == 303
    assert carol.get("/console/me").status_code == 200
    assert world.people.accounts.known("carol").roles == {"auditor", "reader"}
    assert world.browser().sign_in("carol", first).status_code == 403
    assert first not in (world.folder / "audit.jsonl").read_text()


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("ada", ["reader"]),
        ("sso:eve", ["reader"]),
        ("", ["reader"]),
        ("a b", ["reader"]),
        ("eve", []),
        ("eve", ["A B"]),
        ("eve", ["nonsense"]),
    ],
)
def test_what_is_no_account_is_refused_with_a_reason(
    world: People, ada: Browser, name: str, roles: list[str]
) -> None:
    """A name that is there, one that looks like a provider's, no role, or a role that is none."""
    done = ada.post("/console/accounts", name=name, **{f"role-{role}": "on" for role in roles})

    assert done.status_code == 400
    assert "<h1>" in done.text
    assert len(world.people.accounts.all()) == 2


@pytest.mark.parametrize("role", ["nonsense", "auditors", "trainer", "status", "safety-lead"])
def test_a_role_that_nobody_knows_allows_nothing(role: str) -> None:
    """An account that has one from elsewhere, or from before, sees and does nothing by it."""
    assert rights_of({role}) == frozenset()
    assert rights_of({role, "reader"}) == rights_of({"reader"})


def test_a_role_that_the_policy_asks_for_signs() -> None:
    """Beside those of Recert, and nowhere else."""
    policy = load_policy("default")
    asked = policy.certification.roles[0].model_copy(update={"role": "safety-lead"})
    own = policy.model_copy(
        update={"certification": policy.certification.model_copy(update={"roles": (asked,)})}
    )

    assert Right.SIGN in rights_of({"safety-lead"}, signing_roles(own))
    assert Right.SIGN not in rights_of({"safety-lead"}, signing_roles(policy))


def test_roles_are_changed_and_hold_at_once(world: People, ada: Browser) -> None:
    """The next request of somebody who is signed in has the new roles; the log says what they were before."""
    bob = world.browser()
    bob.sign_in("bob", BOB)
    ada.get("/console/accounts/bob")
    done = ada.post("/console/accounts/bob/roles", **{"role-administrator": "on"})
    lines = [json.loads(line)["body"] for line in (world.folder / "audit.jsonl").read_text().splitlines()]

    assert done.status_code == 303
    assert bob.get("/console/accounts").status_code == 200
    assert lines[-1]["facts"] == {"account": "bob", "roles": "administrator", "before": "approver"}
    assert lines[-1]["who"] == "ada"


def test_one_person_with_two_signing_roles_is_pointed_out(world: People, ada: Browser) -> None:
    """The policy wants an evaluator and an approver who are two people; the console warns, on three pages."""
    ada.post("/console/accounts/bob/roles", **{"role-approver": "on", "role-evaluator": "on"})
    bob = world.browser()
    bob.sign_in("bob", BOB)
    words = "approver and evaluator to be different people"

    assert words in ada.get("/console/accounts").text
    assert words in ada.get("/console/accounts/bob").text
    assert words in bob.get("/console/me").text
    assert words not in ada.get("/console/me").text


def test_whoever_is_shut_out_is_out_at_once(world: People, ada: Browser) -> None:
    """Sessions end, the password opens nothing, until the account is opened again."""
    bob = world.browser()
    bob.sign_in("bob", BOB)
    ada.post("/console/accounts/bob/shut")
    out = bob.get("/console/me").status_code, world.browser().sign_in("bob", BOB).status_code
    ada.post("/console/accounts/bob/shut")

    assert out == (303, 403)
    assert bob.get("/console/me").status_code == 303
    assert world.browser().sign_in("bob", BOB).status_code == 303


def test_somebody_is_left_to_manage_accounts(world: People, ada: Browser) -> None:
    """The last administrator can be neither shut nor given other roles."""
    answers = [
        ada.post("/console/accounts/ada/shut"),
        ada.post("/console/accounts/ada/roles", **{"role-reader": "on"}),
    ]
    ada.post("/console/accounts/bob/roles", **{"role-administrator": "on"})

    assert [answer.status_code for answer in answers] == [400, 400]
    assert "nobody would be left" in answers[0].text
    assert ada.get("/console/accounts").status_code == 200
    assert ada.post("/console/accounts/ada/roles", **{"role-reader": "on"}).status_code == 303
    assert ada.get("/console/accounts").status_code == 403


def test_a_reset_ends_sessions_and_is_shown_once(world: People, ada: Browser) -> None:
    """The old password opens nothing any more, the new one the page where it is changed."""
    bob = world.browser()
    bob.sign_in("bob", BOB)
    first = _once(ada.post("/console/accounts/bob/password").text)

    assert bob.get("/console/me").status_code == 303
    assert world.browser().sign_in("bob", BOB).status_code == 403
    assert "Choose a password of your own" in world.browser().sign_in("bob", first).text
    assert "once" not in ada.get("/console/accounts/bob").text.partition("<main")[2]


def test_nobody_else_manages_accounts(world: People) -> None:
    """Every path of the accounts is refused to an approver, as a page and as a form, and nothing changes."""
    bob = world.browser()
    bob.sign_in("bob", BOB)
    forms = ["", "/ada/roles", "/ada/shut", "/ada/sessions", "/ada/password"]
    answers = [bob.post(f"/console/accounts{path}", name="eve", **{"role-reader": "on"}) for path in forms]
    answers += [bob.get("/console/accounts"), bob.get("/console/accounts/ada")]

    assert {answer.status_code for answer in answers} == {403}
    assert [one.name for one in world.people.accounts.all()] == ["ada", "bob"]
    assert world.browser().sign_in("ada", ADA).status_code == 303


def test_ones_own_password_is_changed_with_the_old_one(world: People) -> None:
    """Other sessions end, this one goes on under a new id; the old password and the old id open nothing."""
    here, there = world.browser(), world.browser()
    here.sign_in("bob", BOB)
    there.sign_in("bob", BOB)
    before = dict(here.client.cookies)["recert-session"]
    new = "four new words here"
    refused = [
        here.post("/console/me/password", password="wrong", new=new, again=new),
        here.post("/console/me/password", password=BOB, new=new, again="something else"),
        here.post("/console/me/password", password=BOB, new="short", again="short"),
    ]
    done = here.post("/console/me/password", password=BOB, new=new, again=new)

    assert [answer.status_code for answer in refused] == [403, 400, 400]
    assert done.status_code == 303
    assert here.get("/console/me").status_code == 200
    assert there.get("/console/me").status_code == 303
    assert world.people.sessions.find(before) is None
    assert world.browser().sign_in("bob", BOB).status_code == 403
    assert world.browser().sign_in("bob", new).status_code == 303


def test_ones_own_password_cannot_be_guessed_from_a_session(world: People) -> None:
    """Who finds a browser open tries five passwords, and then waits."""
    bob = world.browser()
    bob.sign_in("bob", BOB)
    new = "four new words here"
    tries = [
        bob.post("/console/me/password", password="no", new=new, again=new).status_code for _ in range(5)
    ]

    assert tries == [403] * 5
    assert bob.post("/console/me/password", password=BOB, new=new, again=new).status_code == 429


def test_other_sessions_are_ended_from_ones_own_page(world: People) -> None:
    """This one goes on."""
    here, there = world.browser(), world.browser()
    here.sign_in("bob", BOB)
    there.sign_in("bob", BOB)
    here.post("/console/me/sessions")

    assert here.get("/console/me").status_code == 200
    assert there.get("/console/me").status_code == 303


def test_what_is_typed_is_shown_as_text(world: People, ada: Browser) -> None:
    """Markup in a name, an address or a browser's name is never markup of the page."""
    bob = world.browser()
    bob.client.headers["user-agent"] = "<script>alert(1)</script>"
    failed = bob.sign_in("<script>alert(2)</script>", "whatever this is")
    bob.sign_in("bob", BOB)
    pages = [failed.text, ada.get("/console/accounts/bob").text, bob.get("/console/me").text]

    assert not any("<script>alert" in page for page in pages)
    assert "&lt;script&gt;alert(1)" in pages[1]
    assert "&lt;script&gt;alert(2)" in pages[0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/131.0.0.0 Safari/537.36",
            "Chrome on Linux",
        ),
        ("Mozilla/5.0 (Windows NT 10.0; rv:133.0) Gecko/20100101 Firefox/133.0", "Firefox on Windows"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/131.0.0.0 Safari/537.36 Edg/131.0", "Edge on Windows"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", "not said"),
    ],
)
def test_a_browser_is_called_by_few_words(given: str, words: str) -> None:
    """What it says of itself is no proof of anything, and helps to know one's own."""
    assert program_words(given) == words
