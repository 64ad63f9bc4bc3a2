"""The policy's page: what holds in words, and what another one would change."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders import make_policy
from certified_folders import Certified
from exported import certify_with_evidence
from pages import Page
from recert.policy import load_policy, profiles
from recert.policy.changes.difference import fields
from recert.policy.changes.explaining import explain
from signing_console import CSRF, ID, client_of, console_of

AT = "/console/policy"
FILE = """
id = "test-policy"
version = "2"

[evaluation]
families = ["year_2025", "skeleton"]
min_harmful_suites = 1

[[rules]]
id = "harm"
suite = "harmful"
estimand = "harm"
conditions = ["plain", "family:*"]
margin = {margin}

[[rules]]
id = "over-refusal"
suite = "lookalikes"
estimand = "over_refusal"
margin = 0.1
"""


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """A certified model with its evaluation beside it."""
    return certify_with_evidence(tmp_path_factory.mktemp("certified"))


def upload(certified: Certified, text: str) -> tuple[int, str]:
    """Compare the policy with a file; return the status and the page's text."""
    client = client_of(console_of(certified))
    answer = client.post(AT, data={"csrf": CSRF}, files={"file": text.encode()})
    return answer.status_code, Page(answer.text).text


def test_the_page_says_everything_that_explain_says_and_every_field(certified: Certified) -> None:
    """
    Every sentence of `recert policy explain`, every field with its value, the digest: nothing is left out.
    """
    policy = load_policy("default")
    text = Page(client_of(console_of(certified, policy=policy)).get(AT).text).text
    squeezed = text.replace("`", "").replace(" ", "")
    sentences = [s for section in explain(policy) for s in section.sentences]

    assert [s for s in sentences if s.replace("`", "").replace(" ", "") not in squeezed] == []
    assert [name for name, _ in fields(policy) if name.replace(" ", "") not in squeezed] == []
    assert policy.digest in text


@pytest.mark.parametrize("name", profiles())
def test_every_profile_can_be_compared(certified: Certified, name: str) -> None:
    """
    Each shipped profile is compared with the policy, and the certificate under neither is told as stale.
    """
    answer = client_of(console_of(certified)).get(AT, params={"against": name})

    assert answer.status_code == 200
    assert load_policy(name).digest in answer.text
    assert "1 of 1 certificates would be stale" in Page(answer.text).text


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../default", "default.toml", "default@nothing", "pyproject.toml"]
)
def test_the_query_names_profiles_and_never_files_of_the_server(certified: Certified, name: str) -> None:
    """
    What is no shipped profile is not found, whatever file of the server it would be.
    """
    assert client_of(console_of(certified)).get(AT, params={"against": name}).status_code == 404


def test_a_stricter_file_says_what_counts_and_how_to_make_the_certificate_again(certified: Certified) -> None:
    """
    A smaller margin: the rule is named as stricter, the certificate as stale, with why and the commands.
    """
    status, text = upload(certified, FILE.format(margin=0.03))

    assert status == 200
    assert "rule harm: margin: from 0.1 to 0.03, stricter" in text
    assert "more evidence may be needed: harm under plain" in text
    assert f"--supersedes {certified.content.serial}" in text


def test_another_version_with_the_same_bounds_keeps_all_evidence(certified: Certified) -> None:
    """
    Where nothing but the version differs the certificate is stale, and everything that was measured counts.
    """
    _, text = upload(certified, FILE.format(margin=0.1))

    assert "1 of 1 certificates would be stale" in text
    assert "decide anew all of its measurements count" in text.replace("anewall", "anew all")


def test_the_same_policy_makes_nothing_stale(certified: Certified) -> None:
    """
    Compared with itself nothing differs, and every certificate holds.
    """
    _, text = upload(certified, FILE.format(margin=0.1).replace('"2"', '"1"'))

    assert "Both are the same" in text
    assert "0 of 1 would be made anew" in text
    assert "it is under this policy already" in text


def test_a_new_family_says_which_certificates_it_concerns(certified: Certified) -> None:
    """
    One more attack family: the certificate was not measured under it, so the models are asked.
    """
    page = Page(client_of(console_of(certified)).get(AT, params={"family": "roleplay"}).text)

    assert "ask the models" in page.text


def test_a_file_that_is_no_policy_is_told_in_words(certified: Certified) -> None:
    """
    TOML that cannot be read, and a field that is misspelt, are pages that say what is wrong, without paths.
    """
    broken = upload(certified, "id = ")
    misspelt = upload(certified, FILE.format(margin=0.1).replace("margin =", "marjin ="))

    assert (broken[0], misspelt[0]) == (409, 409)
    assert "policy is not TOML" in broken[1]
    assert "/tmp" not in broken[1] + misspelt[1]


def test_what_is_compared_is_forgotten(certified: Certified) -> None:
    """
    Uploading a policy changes no file of the console or of the system.
    """
    console = console_of(certified)
    client = client_of(console)
    before = sorted(path for path in certified.folder.rglob("*"))

    client.post(AT, data={"csrf": CSRF}, files={"file": FILE.format(margin=0.01).encode()})

    assert sorted(path for path in certified.folder.rglob("*")) == before
    assert console.policy.digest == make_policy().digest


def test_a_certificate_that_has_ended_is_not_counted_as_stale(tmp_path: Path) -> None:
    """
    What the list of systems knows as revoked is told as not live, and nothing is asked for it.
    """
    certified = Certified(tmp_path)
    client = client_of(console_of(certified, state="revoked"))

    page = Page(client.get(AT, params={"against": "strict"}).text)

    assert "0 of 1 certificates would be stale" in page.text
    assert "not live" in page.text
    assert f"/console/systems/{ID}/certificate" in str(page.tags)
