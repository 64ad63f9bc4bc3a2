"""Signing in to the console with a password, staying signed in, and signing out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from console_world import ADA, BOB, People
from recert.console.accounts.password_pages import TOO_MANY, WRONG
from recert.console.app import HEADERS
from recert.store.console.database import digest_of
from recert.store.console.failures import ACCOUNT_MOST, PAIR_MOST, WINDOW_S


@pytest.fixture
def world(tmp_path: Path) -> Iterator[People]:
    """A console with two accounts."""
    made = People(tmp_path / "console")
    yield made
    made.close()


def test_whoever_is_not_signed_in_sees_the_sign_in_page(world: People) -> None:
    """A page leads to the sign-in, and from there to the page that was wanted."""
    browser = world.browser()
    led = browser.get("/console/accounts?x=1")
    browser.get(led.headers["location"])
    done = browser.post("/console/sign-in", name="ada", password=ADA, to="/console/accounts?x=1")

    assert led.headers["location"] == "/console/sign-in?to=%2Fconsole%2Faccounts%3Fx%3D1"
    assert (done.status_code, done.headers["location"]) == (303, "/console/accounts?x=1")
    assert browser.get("/console/accounts").status_code == 200


def test_two_people_have_their_own_rights(world: People) -> None:
    """An approver cannot open the accounts, an administrator can; the log says who signed in."""
    ada, bob = world.browser(), world.browser()
    ada.sign_in("ada", ADA)
    bob.sign_in("Bob ", BOB)
    refused = bob.get("/console/accounts")

    assert ada.get("/console/accounts").status_code == 200
    assert refused.status_code == 403
    assert "your roles do not allow this" in refused.text
    assert world.acts() == [("ada", "signed-in"), ("bob", "signed-in")]


@pytest.mark.parametrize(
    ("name", "password"),
    [("ada", BOB), ("nobody", ADA), ("ada", ""), ("sso:ada", ADA), ("ada", "x" * 100_000)],
)
def test_a_wrong_name_and_a_wrong_password_are_told_alike(world: People, name: str, password: str) -> None:
    """Status, words and the log's kind of line are the same, whether there is such an account or not."""
    browser = world.browser()
    done = browser.sign_in(name, password)
    shown = re.sub(r'value="[^"]*"', "", done.text)
    again = world.browser().sign_in("someone", "else entirely")

    assert done.status_code == 403
    assert WRONG in done.text
    assert re.sub(r'value="[^"]*"', "", again.text) == shown
    assert {what for _, what in world.acts()} == {"sign-in-failed"}
    assert "set-cookie" not in done.headers


def test_a_password_is_hashed_whether_there_is_an_account_or_not(world: People) -> None:
    """As much work is done for a name that is not there, so that the time taken tells nothing."""
    passwords = world.people.passwords
    checked: list[str] = []

    class Counting:
        def verify(self, kept: str, given: bytes) -> bool:
            checked.append(kept.split("$")[1])
            return hasher.verify(kept, given)

    hasher, passwords._hasher = passwords._hasher, Counting()  # type: ignore[assignment]
    for name in ("ada", "nobody"):
        world.browser().sign_in(name, "not the password")

    assert checked == ["argon2id", "argon2id"]


def test_five_wrong_passwords_hold_off_that_account_from_that_address(world: People) -> None:
    """Then the right one is not even looked at for 15 minutes; from elsewhere the account still opens."""
    browser = world.browser(address="192.0.2.1")
    wrong = [browser.sign_in("ada", f"guess number {n}").status_code for n in range(PAIR_MOST)]
    held = browser.sign_in("ada", ADA)
    elsewhere = world.browser(address="192.0.2.2").sign_in("ada", ADA)
    world.clock.at += WINDOW_S + 1

    assert wrong == [403] * PAIR_MOST
    assert (held.status_code, TOO_MANY in held.text) == (429, True)
    assert elsewhere.status_code == 303
    assert browser.sign_in("ada", ADA).status_code == 303


def test_many_addresses_together_hold_off_an_account(world: People) -> None:
    """Guesses from everywhere are counted together, for names that are not there too."""
    for name in ("bob", "nobody"):
        for n in range(ACCOUNT_MOST):
            world.people.failures.begin(name, f"198.51.100.{n}")

    assert world.browser(address="203.0.113.9").sign_in("bob", BOB).status_code == 429
    assert world.browser(address="203.0.113.9").sign_in("nobody", BOB).status_code == 429
    assert world.browser(address="203.0.113.9").sign_in("ada", ADA).status_code == 303


def test_one_address_cannot_try_one_password_on_many_accounts(world: People) -> None:
    """Neighbours in one /64 of IPv6 count as one address."""
    for n in range(30):
        world.people.failures.begin(f"person{n}", f"2001:db8::{n:x}")

    assert world.browser(address="2001:db8::ffff").sign_in("ada", ADA).status_code == 429
    assert world.browser(address="2001:db8:0:1::1").sign_in("ada", ADA).status_code == 303


def test_a_session_is_new_at_each_sign_in_and_only_its_digest_is_kept(world: People) -> None:
    """The id from before ends; none of them is in the database."""
    browser = world.browser()
    ids = []
    for _ in range(2):
        browser.client.cookies.delete("recert-sign-in")
        browser.get("/console/sign-in")
        done = browser.client.get("/console/sign-in")
        if done.status_code == 303:  # signed in: the form is sent all the same, as from another tab
            session = browser.client.cookies.pop("recert-session")
            browser.get("/console/sign-in")
            browser.client.cookies.set("recert-session", session, domain="127.0.0.1")
        browser.post("/console/sign-in", name="ada", password=ADA)
        ids.append(dict(browser.client.cookies)["recert-session"])
    kept = (world.folder / "console.sqlite").read_bytes() + (world.folder / "console.sqlite-wal").read_bytes()

    assert ids[0] != ids[1]
    assert all(len(one) == 43 for one in ids)
    assert world.people.sessions.find(ids[0]) is None
    assert world.people.sessions.find(ids[1]) is not None
    assert not any(one.encode() in kept for one in ids)
    assert digest_of(ids[1]).encode() in kept


@pytest.mark.slow
def test_a_session_ends_when_nobody_asks_and_after_some_hours(world: People) -> None:
    """30 minutes without a request end it, and 12 hours in any case."""
    idle, busy = world.browser(), world.browser()
    idle.sign_in("ada", ADA)
    busy.sign_in("bob", BOB)
    seen = []
    for _ in range(12 * 4):
        world.clock.at += 900
        seen.append(busy.get("/console/me").status_code)

    assert idle.get("/console/me").status_code == 303
    assert seen == [200] * 47 + [303]


def test_a_tab_that_stays_open_keeps_nobody_signed_in(world: People) -> None:
    """What a page fetches by itself is answered, and is no sign that somebody is there."""
    browser = world.browser()
    browser.sign_in("ada", ADA)
    seen = []
    for _ in range(4):
        world.clock.at += 600
        seen.append(browser.get("/console/runs/live").status_code)

    assert seen == [200, 200, 303, 303]


def test_signing_out_ends_the_session_itself(world: People) -> None:
    """Who kept the cookie is not signed in any more."""
    browser = world.browser()
    browser.sign_in("ada", ADA)
    session = dict(browser.client.cookies)["recert-session"]
    done = browser.post("/console/sign-out")

    assert done.headers["location"] == "/console/sign-in"
    assert world.people.sessions.find(session) is None
    assert ("ada", "signed-out") in world.acts()


def test_forms_of_others_are_refused(world: People) -> None:
    """A form without a token, with a wrong one or with another session's changes nothing."""
    ada, bob = world.browser(), world.browser()
    ada.sign_in("ada", ADA)
    bob.sign_in("bob", BOB)
    answers = [
        ada.post("/console/accounts", token=token, name="eve", **{"role-reader": "on"})
        for token in ("", "0" * 64, bob.token, "ä")
    ]
    signed_out = [ada.post("/console/sign-out", token=token).status_code for token in ("", bob.token)]

    assert [answer.status_code for answer in answers] == [403] * 4
    assert signed_out == [403, 403]
    assert [one.name for one in world.people.accounts.all()] == ["ada", "bob"]
    assert ada.get("/console/me").status_code == 200


def test_nobody_can_be_signed_in_by_another_site(world: People) -> None:
    """The sign-in form needs the token that was made for this very browser."""
    attacker, victim = world.browser(), world.browser()
    attacker.get("/console/sign-in")
    victim.get("/console/sign-in")
    done = victim.post("/console/sign-in", token=attacker.token, name="bob", password=BOB)
    without = world.browser().post("/console/sign-in", token=attacker.token, name="bob", password=BOB)

    assert (done.status_code, without.status_code) == (403, 403)
    assert "recert-session" not in dict(victim.client.cookies)


def test_every_answer_has_the_headers(world: People) -> None:
    """Pages, redirects, files, errors, refusals and what is not there."""
    browser = world.browser()
    browser.sign_in("ada", ADA)
    asked = [
        "/",
        "/console",
        "/console/me",
        "/console/nothing",
        "/console/static/console.css",
        "/console/sign-in",
    ]
    answers = [
        browser.get(path) for path in [*asked, "/console/shared/none", "/console/accounts/none", "/nothing"]
    ]
    answers += [browser.post("/console/accounts", token="none"), browser.client.put("/console/me")]

    assert {answer.status_code for answer in answers} >= {200, 303, 403, 404}
    for answer in answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, answer.url


def test_https_makes_cookies_that_only_this_host_can_set(tmp_path: Path) -> None:
    """Then they are `Secure` and `__Host-`; on this machine without https they are not, and all else is the same."""
    world = People(tmp_path / "console", url="https://console.example.org")
    browser = world.browser()
    browser.get("/console/sign-in")
    done = browser.post("/console/sign-in", name="ada", password=ADA)
    world.close()
    set_cookie = done.headers.get_list("set-cookie")[0]

    assert re.fullmatch(
        r"__Host-recert-session=[A-Za-z0-9_-]{43}; HttpOnly; Path=/; SameSite=lax; Secure", set_cookie
    )
    assert "max-age" in done.headers["strict-transport-security"]


def test_too_many_requests_of_one_session_are_told_so(tmp_path: Path) -> None:
    """They get 429 and a page of words; other sessions go on."""
    folder = tmp_path / "console"
    folder.mkdir()
    (folder / "console.toml").write_text("[sessions]\nrequests_per_minute = 10\n")
    world = People(folder)
    ada, bob = world.browser(), world.browser()
    ada.sign_in("ada", ADA)
    bob.sign_in("bob", BOB)
    answers = [ada.get("/console/me") for _ in range(11)]
    seen = bob.get("/console/me").status_code
    world.close()

    assert answers[0].status_code == 200
    assert (answers[-1].status_code, answers[-1].headers["retry-after"]) == (429, "60")
    assert "too many requests" in answers[-1].text
    assert seen == 200


def test_what_an_act_says_is_shown_to_no_link_from_elsewhere(world: People) -> None:
    """Nobody can make the console say something by a link."""
    browser = world.browser()
    browser.sign_in("ada", ADA)
    ours = browser.get("/console/me?said=Done.", headers={"sec-fetch-site": "same-origin"})
    others = browser.get("/console/me?said=Done.", headers={"sec-fetch-site": "cross-site"})

    assert ("Done." in ours.text, "Done." in others.text) == (True, False)


def test_nothing_is_done_where_it_cannot_be_logged(world: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that cannot be written lets nobody in."""
    from recert.errors import StoreError

    def full(*_: object, **__: object) -> None:
        raise StoreError("cannot write the log")

    browser = world.browser()
    browser.get("/console/sign-in")
    monkeypatch.setattr(world.assembled.console.acts._log, "append", full)
    done = browser.post("/console/sign-in", name="ada", password=ADA)

    assert done.status_code == 500
    assert "recert-session" not in dict(browser.client.cookies)
