"""Cookies, tokens and forms that somebody made up: none of them opens anything, and none breaks a page."""

from __future__ import annotations

import string
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console_world import ADA, Browser, People
from recert.store.console.database import digest_of, new_secret
from recert.store.console.sessions import form_token

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_SECRET = st.text(string.ascii_letters + string.digits + "_-", min_size=43, max_size=43)
_SENT = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters=";"), max_size=80)
_NAMES = ["recert-session", "recert-sign-in", "recert-elsewhere", "recert-shared-", "__Host-recert-session"]
_MULTIPART = "multipart/form-data; boundary=x"
_KINDS = ["application/x-www-form-urlencoded", _MULTIPART, f"{_MULTIPART}; charset=none", "text/plain", ""]
_PART = b'--x\r\ncontent-disposition: form-data; name="csrf"\r\n\r\n%s\r\n--x--\r\n'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """A console in which ada is signed in somewhere."""
    made = People(tmp_path_factory.mktemp("console"))
    made.people._strangers.per_minute = made.people.pace.per_minute = 100_000
    made.browser().sign_in("ada", ADA)
    yield made
    made.close()


@pytest.fixture(scope="module")
def ada(world: People) -> Browser:
    """The browser in which she is."""
    browser = world.browser()
    browser.sign_in("ada", ADA)
    return browser


@pytest.mark.slow
@FEW
@given(st.dictionaries(st.sampled_from(_NAMES), _SECRET | _SENT, min_size=1))
def test_a_cookie_that_was_made_up_signs_nobody_in(world: People, cookies: dict[str, str]) -> None:
    """Whatever stands in it, also where it has the form of ours."""
    header = "; ".join(f"{name}={value}" for name, value in cookies.items())
    client = world.browser().client
    answers = [client.get(path, headers={"cookie": header}) for path in ("/console/me", "/console/sign-in")]

    assert [answer.status_code for answer in answers] == [303, 200]
    assert answers[0].headers["location"].startswith("/console/sign-in")


def test_what_the_database_keeps_signs_nobody_in(world: People, ada: Browser) -> None:
    """Neither the digest of a session nor the token of its forms is its id."""
    session = dict(ada.client.cookies)["recert-session"]
    for made_up in (digest_of(session), form_token(session), session[:-1], session + "A", session.swapcase()):
        answer = world.browser().client.get("/console/me", headers={"cookie": f"recert-session={made_up}"})

        assert answer.status_code == 303


@pytest.mark.slow
@FEW
@given(st.text(max_size=70) | st.text("0123456789abcdef", min_size=64, max_size=64))
def test_a_token_that_was_made_up_is_refused(ada: Browser, token: str) -> None:
    """A form with it changes nothing, whatever it is made of."""
    answer = ada.client.post("/console/me/sessions", data={"csrf": token})

    assert answer.status_code == 403


@pytest.mark.slow
@FEW
@given(
    st.binary(max_size=200) | st.binary(max_size=20).map(lambda part: _PART % part), st.sampled_from(_KINDS)
)
def test_a_body_that_is_no_form_is_refused(ada: Browser, body: bytes, kind: str) -> None:
    """With words, and never with a page that broke."""
    for path in ("/console/me/password", "/console/sign-in", "/console/sign-out"):
        answer = ada.client.post(path, content=body, headers={"content-type": kind})

        assert answer.status_code in (400, 403)
        assert "<h1>" in answer.text


def test_a_form_without_a_length_or_too_long_is_refused(ada: Browser) -> None:
    """A megabyte is the most, and is not read further."""
    long = ada.client.post("/console/me/password", content=b"x" * (2**20 + 1))
    open_ended = ada.client.post("/console/me/password", content=iter([b"csrf=1"]))

    assert (long.status_code, open_ended.status_code) == (413, 413)


def test_secrets_have_256_bits_and_are_never_the_same() -> None:
    """43 letters of 6 bits, safe in a cookie and in a path."""
    made = {new_secret() for _ in range(1000)}

    assert len(made) == 1000
    assert {len(one) for one in made} == {43}
    assert all(set(one) <= set(string.ascii_letters + string.digits + "_-") for one in made)
