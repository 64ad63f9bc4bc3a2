"""What holds for every page of the console, whoever added it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import recert.console
from console_world import ADA, BOB, People
from recert.console.accounts.rights import Right, rights_of
from recert.console.app import HEADERS, ROOT
from recert.console.assembling import all_pages
from recert.console.pages import Page

PAGES = all_pages()
NAMES = [f"{page.method} {page.path}" for page in PAGES]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """A console with an administrator, an approver and a reader."""
    made = People(tmp_path_factory.mktemp("console"))
    made.people.accounts.add("rea", ["reader"], password=made.people.passwords.hashed(ADA))
    yield made
    made.close()


def _path(page: Page) -> str:
    return ROOT + re.sub(r"\{[^}]+\}", "x", page.path)


def test_every_module_with_pages_is_shown() -> None:
    """Pages that somebody wrote and nobody can open would be found by no other test."""
    found = walk_packages(recert.console.__path__, "recert.console.")
    modules = [one.name for one in found if one.name.endswith("_pages")]
    written = [page for name in modules for page in getattr(import_module(name), "PAGES", ())]

    assert {(page.method, page.path) for page in written} == {(page.method, page.path) for page in PAGES}
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_nothing_is_shown_or_done_without_signing_in(world: People, page: Page) -> None:
    """A page leads to the sign-in, and so does a form, which does nothing."""
    answer = world.browser().client.request(page.method, _path(page), data={"csrf": "0" * 64})

    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/console/sign-in")
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_every_form_needs_its_token_and_every_page_its_right(world: People) -> None:
    """Without the token of the session, and for people whose roles do not allow it: 403, for each page."""
    people = {"ada": (ADA, {"administrator"}), "bob": (BOB, {"approver"}), "rea": (ADA, {"reader"})}
    browsers = {name: world.browser() for name in people}
    for name, (password, _) in people.items():
        browsers[name].sign_in(name, password)
    wrong = []
    for page in PAGES:
        for name, (_, roles) in people.items():
            allowed = page.right in rights_of(roles)
            if page.method == "GET" and allowed:
                continue
            token = "0" * 64 if allowed else browsers[name].token
            answer = browsers[name].client.request(page.method, _path(page), data={"csrf": token})
            if answer.status_code != 403:
                wrong.append((page.method, page.path, name, answer.status_code))

    assert wrong == []


def test_only_what_readers_see_can_be_shared() -> None:
    """A shared link opens pages that are read, and sends no form."""
    shared = [page for page in PAGES if page.sharable]

    assert [page.path for page in shared if page.method != "GET" or page.right is not Right.READ] == []


def test_every_page_has_its_template_in_the_frame() -> None:
    """No page has inline script or style, which its own headers would stop."""
    folder = Path(recert.console.__path__[0]).parent / "templates" / "console"
    found = {
        file.name: re.findall(r"<script(?! src=)|<style|\sstyle=|\son[a-z]+=|javascript:", file.read_text())
        for file in folder.glob("*.j2")
    }

    assert {name: marks for name, marks in found.items() if marks} == {}
