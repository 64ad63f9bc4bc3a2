"""Signing in with a provider of OpenID Connect, a real one over HTTP, honest and tampered with."""

from __future__ import annotations

import io
import json
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import werkzeug.serving
from joserfc import jwt
from joserfc.jwk import RSAKey

from console_world import ADA, Browser, People
from recert.digest import sha256_bytes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the provider's own
STARTS = "/console/sign-in/elsewhere"
CLAIMS = {"preferred_username": "Grace.H", "email": "grace@example.org", "groups": ["ml-safety", "lunch"]}


class Provider:
    """A provider in a thread. `change` may rewrite what it answers, by path; requests for tokens are kept."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from oidc_provider_mock import app
        self._app = app(require_nonce=True)
        self.change: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
        self.asked: list[dict[str, list[str]]] = []
        self.server = werkzeug.serving.make_server("localhost", 0, self, threaded=True)
        self.issuer = f"http://localhost:{self.server.server_port}"

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        """Answer as the provider does, changed."""
        from werkzeug.test import run_wsgi_app
        from werkzeug.wrappers import Request, Response

        request = Request(environ)
        if request.path == "/oauth2/token":
            sent = request.get_data()
            environ["wsgi.input"] = io.BytesIO(sent)
            self.asked.append(parse_qs(sent.decode()))
        body, status, headers = run_wsgi_app(self._app, environ)
        data = b"".join(body)
        change = self.change.get(request.path)
        if change is not None and status.startswith("200"):
            data = json.dumps(change(json.loads(data))).encode()
            headers["content-length"] = str(len(data))
        return Response(data, status, headers)(environ, start)

    def knows(self, subject: str, **claims: Any) -> None:
        """Put a person in, with claims."""
        answer = httpx2.put(f"{self.issuer}/users/{subject}", json=claims)
        assert answer.status_code == 204

    @contextmanager
    def running(self) -> Iterator[Provider]:
        """Serve while the block runs."""
        thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    """One provider for the tests of this file."""
    with Provider().running() as made:
        yield made


@pytest.fixture
def provider(running: Provider) -> Provider:
    """An honest provider that knows grace."""
    running.change.clear()
    running.asked.clear()
    running.knows("g-1", **CLAIMS)
    return running


@pytest.fixture
def world(tmp_path: Path, provider: Provider) -> Iterator[People]:
    """A console whose people may sign in with the provider."""
    folder = tmp_path / "console"
    folder.mkdir()
    secret = folder / "secret"
    secret.write_text("hush\n")
    secret.chmod(0o600)
    (folder / "console.toml").write_text(
        f'[oidc]\nissuer = "{provider.issuer}"\nclient_id = "recert"\nclient_secret_file = "secret"\n'
        'called = "Example"\n[oidc.roles]\nml-safety = ["evaluator", "reader"]\noperations = ["operator"]\n'
    )
    made = People(folder)
    yield made
    made.close()


def _approved(url: str, subject: str = "g-1") -> str:
    """Sign in at the provider; return where it sends the browser back to."""
    answer = httpx2.post(url, data={"sub": subject})
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


def _signed_in(browser: Browser, subject: str = "g-1", to: str = "") -> Any:
    asked = browser.get(STARTS, params={"to": to})
    assert asked.status_code == 303, asked.text
    back = urlsplit(_approved(asked.headers["location"], subject))
    assert f"{back.scheme}://{back.netloc}" == "http://127.0.0.1"
    return browser.get(f"{back.path}?{back.query}")


def test_groups_become_roles(world: People, provider: Provider) -> None:
    """Whoever the provider vouches for comes to the page they wanted, with the roles of their groups."""
    browser = world.browser()
    done = _signed_in(browser, to="/console/me?x=1")
    account = world.people.accounts.known("sso:grace.h")
    page = browser.get("/console/me").text

    assert (done.status_code, done.headers["location"]) == (303, "/console/me?x=1")
    assert account.roles == {"evaluator", "reader"}
    assert account.issuer == provider.issuer
    assert "sso:grace.h" in page
    assert world.acts() == [("sso:grace.h", "signed-in")]


def test_the_question_has_state_nonce_and_a_challenge_that_the_token_request_meets(
    world: People, provider: Provider
) -> None:
    """PKCE by S256: the digest goes with the browser, the verifier with the client's secret alone."""
    import base64

    browser = world.browser()
    asked = browser.get(STARTS)
    sent = {name: value[0] for name, value in parse_qs(urlsplit(asked.headers["location"]).query).items()}
    back = urlsplit(_approved(asked.headers["location"]))
    browser.get(f"{back.path}?{back.query}")
    verifier = provider.asked[0]["code_verifier"][0]
    digest = bytes.fromhex(sha256_bytes(verifier.encode()))

    assert sent["code_challenge"] == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert sent["code_challenge_method"] == "S256"
    assert (sent["response_type"], sent["redirect_uri"]) == ("code", "http://127.0.0.1/console/sign-in/back")
    assert min(len(sent["state"]), len(sent["nonce"]), len(verifier)) == 43
    assert verifier not in asked.headers["location"]


def test_roles_follow_the_provider_at_each_sign_in(world: People, provider: Provider) -> None:
    """Other groups are other roles; without a group that has a role nobody gets in, old account or not."""
    _signed_in(world.browser())
    provider.knows("g-1", **{**CLAIMS, "groups": ["operations"]})
    _signed_in(world.browser())
    now = world.people.accounts.known("sso:grace.h").roles
    provider.knows("g-1", **{**CLAIMS, "groups": ["lunch"]})
    browser = world.browser()
    refused = _signed_in(browser)

    assert now == {"operator"}
    assert (refused.status_code, "none of your groups has a role here" in refused.text) == (403, True)
    assert browser.get("/console/me").status_code == 303


@pytest.mark.parametrize("groups", [None, [], "admin", {"ml-safety": 1}, [["ml-safety"]], 7])
def test_who_has_no_role_is_refused(world: People, provider: Provider, groups: Any) -> None:
    """Whatever stands where a list of groups should."""
    provider.knows("h-2", preferred_username="hal", groups=groups)
    done = _signed_in(world.browser(), "h-2")

    assert done.status_code == 403
    assert world.acts() == [("", "sign-in-failed")]
    assert world.people.accounts.find("sso:hal") is None


def test_a_person_is_known_by_subject_and_gets_nobody_elses_name(world: People, provider: Provider) -> None:
    """Another person who claims the same name, or that of a local account, is another account."""
    provider.knows("x-9", preferred_username="grace.h", groups=["operations"])
    provider.knows("x-8", preferred_username="ada", groups=["operations"])
    for subject in ("g-1", "x-9", "x-8", "x-9"):
        _signed_in(world.browser(), subject)
    names = [one.name for one in world.people.accounts.all()]

    assert len(names) == 5
    assert names[:2] == ["ada", "bob"]
    assert "sso:ada" in names
    assert sum(name.startswith("sso:grace.h-") for name in names) == 1
    assert world.people.accounts.known("ada").roles == {"administrator"}
    assert world.people.accounts.known("sso:grace.h").roles == {"evaluator", "reader"}


def test_an_account_that_is_shut_stays_shut(world: People) -> None:
    """The provider's word does not open it."""
    browser = world.browser()
    _signed_in(browser)
    world.people.accounts.disable("sso:grace.h")

    assert browser.get("/console/me").status_code == 303
    assert _signed_in(world.browser()).status_code == 403


def _back_of(browser: Browser) -> tuple[str, dict[str, str]]:
    back = urlsplit(_approved(browser.get(STARTS).headers["location"]))
    return back.path, {name: value[0] for name, value in parse_qs(back.query).items()}


@pytest.mark.parametrize(
    "change",
    [
        {"state": "A" * 43},
        {"state": ""},
        {"code": ""},
        {"code": "guessed"},
        {"iss": "https://evil.example"},
        {"state": "ä"},
    ],
)
def test_an_answer_that_was_tampered_with_signs_nobody_in(world: People, change: dict[str, str]) -> None:
    """Another state, code or issuer is refused and logged."""
    browser = world.browser()
    path, given = _back_of(browser)
    done = browser.get(path, params={**given, **change})

    assert done.status_code == 403
    assert browser.get("/console/me").status_code == 303
    assert world.acts() == [("", "sign-in-failed")]


def test_an_answer_is_taken_once_by_the_browser_that_asked(world: People) -> None:
    """Not by another browser, whoever lures it there, not twice, and not after ten minutes."""
    attacker, victim = world.browser(), world.browser()
    path, given = _back_of(attacker)
    lured = victim.get(path, params=given)
    victim.get(STARTS)
    lured_again = victim.get(path, params=given)
    first, second = attacker.get(path, params=given), attacker.get(path, params=given)
    late = world.browser()
    path, given = _back_of(late)
    world.clock.at += 601

    assert (lured.status_code, lured_again.status_code) == (403, 403)
    assert (first.status_code, second.status_code) == (303, 403)
    assert late.get(path, params=given).status_code == 403


def test_a_nonce_of_another_question_is_refused(world: People) -> None:
    """A signed answer to another question, put into this one, signs nobody in."""
    browser = world.browser()
    asked = urlsplit(browser.get(STARTS).headers["location"])
    query = {name: value[0] for name, value in parse_qs(asked.query).items()} | {"nonce": "B" * 43}
    url = httpx2.URL(f"{asked.scheme}://{asked.netloc}{asked.path}").copy_merge_params(query)
    back = urlsplit(_approved(str(url)))
    done = browser.get(f"{back.path}?{back.query}")

    assert (done.status_code, "cannot be trusted" in done.text) == (403, True)


KEY = RSAKey.generate_key(2048, {"kid": "another"}, private=True)


def _resigned(issuer: str, **changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Signed with a key that the provider has not, or with claims that were changed."""

    def change(token: dict[str, Any]) -> dict[str, Any]:
        import base64

        part = token["id_token"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return {**token, "id_token": jwt.encode({"alg": "RS256", "kid": "another"}, claims, KEY)}

    return change


def test_a_token_with_the_right_claims_and_a_known_key_is_taken(world: People, provider: Provider) -> None:
    """So that the refusals below are for what they name: a new key of the provider's is fetched when it is needed."""
    provider.change["/jwks"] = lambda keys: {"keys": [*keys["keys"], KEY.as_dict(private=False)]}
    provider.change["/oauth2/token"] = _resigned(provider.issuer)

    assert _signed_in(world.browser()).status_code == 303


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1_000_000_000},
        {"exp": None},
        {"iss": "https://evil.example"},
        {"aud": "another client"},
        {"aud": ["recert", "another client"]},
        {"aud": "another client", "azp": "recert"},
        {"nonce": None},
        {"nonce": ""},
        {"sub": None},
        {"sub": ""},
        {"iat": 4_000_000_000},
        {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    ],
    ids=lambda changes: ",".join(f"{k}={str(v)[:12]}" for k, v in changes.items()),
)
def test_a_token_whose_claims_do_not_hold_is_refused(
    world: People, provider: Provider, changes: dict[str, Any]
) -> None:
    """Expired, of another issuer, for another client, without or with another nonce, without a subject."""
    provider.change["/jwks"] = lambda keys: {"keys": [*keys["keys"], KEY.as_dict(private=False)]}
    provider.change["/oauth2/token"] = _resigned(provider.issuer, **changes)
    browser = world.browser()
    done = _signed_in(browser)

    assert (done.status_code, "cannot be trusted" in done.text) == (403, True)
    assert browser.get("/console/me").status_code == 303


def _unsigned(token: dict[str, Any]) -> dict[str, Any]:
    import base64

    head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    return {**token, "id_token": f"{head}.{token['id_token'].split('.')[1]}."}


def _with_secret(token: dict[str, Any]) -> dict[str, Any]:
    import base64
    import hashlib
    import hmac

    head = base64.urlsafe_b64encode(b'{"alg":"HS256"}').decode().rstrip("=")
    signed = f"{head}.{token['id_token'].split('.')[1]}"
    mac = base64.urlsafe_b64encode(hmac.digest(b"hush", signed.encode(), hashlib.sha256)).decode().rstrip("=")
    return {**token, "id_token": f"{signed}.{mac}"}


@pytest.mark.parametrize(
    "change",
    [
        _resigned(""),
        _unsigned,
        _with_secret,
        lambda token: {**token, "id_token": token["id_token"][:-8] + "AAAAAAAA"},
        lambda token: {name: value for name, value in token.items() if name != "id_token"},
        lambda token: {**token, "id_token": "not a token"},
        lambda token: {**token, "id_token": None},
        lambda _: {"error": "invalid_grant"},
    ],
    ids=["unknown-key", "none", "hs256", "damaged", "missing", "words", "null", "error"],
)
def test_a_token_that_the_provider_did_not_sign_is_refused(
    world: People, provider: Provider, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """Another key, no signature, the client's secret as a key, damage, or no token at all."""
    provider.change["/oauth2/token"] = change
    browser = world.browser()
    done = _signed_in(browser)

    assert (done.status_code, "cannot be trusted" in done.text) == (403, True)
    assert browser.get("/console/me").status_code == 303


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://evil.example"},
        {"authorization_endpoint": "http://evil.example/authorize"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": None},
    ],
)
def test_a_provider_that_is_another_is_not_asked(
    world: People, provider: Provider, change: dict[str, Any]
) -> None:
    """Its description must be of the issuer that the settings name, and all of it https."""
    provider.change["/.well-known/openid-configuration"] = lambda about: {**about, **change}
    done = world.browser().get(STARTS)

    assert (done.status_code, "location" in done.headers) == (502, False)


def test_groups_may_stand_in_the_user_info_of_the_same_person(world: People, provider: Provider) -> None:
    """Where the token has no groups the provider is asked for them; what it says of another person is not used."""
    provider.change["/jwks"] = lambda keys: {"keys": [*keys["keys"], KEY.as_dict(private=False)]}
    provider.change["/oauth2/token"] = _resigned(provider.issuer, groups=None)
    done = _signed_in(world.browser())
    provider.change["/userinfo"] = lambda about: {**about, "sub": "somebody else"}
    another = _signed_in(world.browser())

    assert (done.status_code, another.status_code) == (303, 403)


def test_a_provider_that_does_not_answer_leaves_the_passwords(world: People, provider: Provider) -> None:
    """The console says so, and local accounts still sign in."""
    provider.change["/.well-known/openid-configuration"] = lambda _: {}
    browser = world.browser()
    asked = browser.get(STARTS)

    assert (asked.status_code, "cannot be asked" in asked.text) == (502, True)
    assert "Sign in with Example" in browser.get("/console/sign-in").text
    assert browser.sign_in("ada", ADA).status_code == 303


def test_local_accounts_can_be_turned_off(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then there is no form for a password, and one that is sent is not looked at. The secret may be a variable."""
    monkeypatch.setenv("RECERT_OIDC_SECRET", "hush")
    folder = tmp_path / "alone"
    folder.mkdir()
    (folder / "console.toml").write_text(
        f'local_accounts = false\n[oidc]\nissuer = "{provider.issuer}"\nclient_id = "recert"\n'
        '[oidc.roles]\nml-safety = ["reader"]\n'
    )
    world = People(folder)
    browser = world.browser()
    page = browser.get("/console/sign-in").text
    done = browser.post("/console/sign-in", name="ada", password=ADA)
    other = _signed_in(world.browser())
    world.close()

    assert "password" not in page
    assert done.status_code == 404
    assert other.status_code == 303
