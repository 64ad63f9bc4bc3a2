"""Where somebody is led after signing in."""

from __future__ import annotations

from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recert.console.accounts.redirects import HOME, safe_path

HERE = "https://console.example.org/console/sign-in"
_PARTS = [
    "/",
    "//",
    "\\",
    "console",
    "/console/",
    "..",
    ".",
    "%2e",
    "%2E%2e",
    "%2f",
    "%5c",
    "evil.example",
    "sign-out",
    "me",
]
_MARKS = [
    "\t",
    "\n",
    "\x00",
    "@",
    ":",
    "?",
    "#",
    "https:",
    "javascript:",
    "shared",
    "a=b",
    "ä",
    "\u2028",
    " ",
]
_BITS = st.sampled_from([*_PARTS, *_MARKS])
_PAGE = r"/console/(systems|outcomes)(/[a-z0-9]{1,20}){0,2}(\?[a-z]{1,5}=[A-Za-z0-9%._~-]{0,20})?"
_ELSEWHERE = [
    "https://evil.example/console/",
    "//evil.example/console/",
    "javascript:alert(1)",
    "/",
    "/console",
    "",
]
_NO_PAGES = ["/console/sign-in", "/console/sign-out", "/console/shared/x", "/console/new-password"]
_ODD = ["/console/a/../b", "/console//x", "/console/a#b"]


def _as_a_browser(given_path: str) -> str:
    """What a browser makes of a Location: WHATWG takes tabs and line ends out, `\\` is `/`, `%2e` is a dot."""
    seen = "".join(c for c in given_path.strip() if c not in "\t\r\n").replace("\\", "/")
    head, mark, query = seen.partition("?")
    return urljoin(HERE, head.replace("%2e", ".").replace("%2E", ".") + mark + query)


@given(st.lists(_BITS, max_size=8).map("".join) | st.text(max_size=40))
@example("//evil.example/console/")
@example("/console/..//evil.example")
@example("/console/%2e%2e/%2e%2e//evil.example")
@example("/console/\\evil.example")
@example("/\tconsole/")
def test_whatever_is_asked_for_leads_to_a_page_of_this_console(given_path: str) -> None:
    """Same scheme, same host, under `/console/`, however a browser reads it."""
    led = urlsplit(_as_a_browser(safe_path(given_path)))

    assert (led.scheme, led.netloc) == ("https", "console.example.org")
    assert led.path.startswith("/console/")
    assert unquote(led.path).split("/")[2] not in ("sign-out", "shared")


@given(st.from_regex(_PAGE, fullmatch=True))
def test_a_page_of_the_console_is_led_to_as_it_was_asked_for(given_path: str) -> None:
    """Path and query are kept."""
    assert safe_path(given_path) == given_path


@pytest.mark.parametrize("given_path", _ELSEWHERE + _NO_PAGES + _ODD)
def test_anything_else_leads_to_the_first_page(given_path: str) -> None:
    """Other sites, other paths, and the pages of signing in and out."""
    assert safe_path(given_path) == HOME
