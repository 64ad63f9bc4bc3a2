"""The certificate's page: whether it holds and why, how to get out of trouble, and what an auditor does."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from builders import make_policy
from certified_folders import Certified
from exported import certify_with_evidence
from pages import Page
from recert.certification import generate_key, keep_refusal, refuse, revoke
from recert.certification.log.logged import log_checkpoint, log_envelope
from recert.cli.app import app
from recert.store.transparency.folder import create_log
from signing_console import ID, client_of, console_of, draft

AT = f"/console/systems/{ID}/certificate"


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    """A certified model."""
    return Certified(tmp_path)


def read(certified: Certified, **changes: Any) -> Page:
    """Return the page of its certificate."""
    answer = client_of(console_of(certified, **changes)).get(AT)
    assert answer.status_code == 200
    return Page(answer.text)


def test_an_auditor_who_runs_the_commands_of_the_page_gets_its_answer(
    certified: Certified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The page's command, with the reader's folders in place of capitals, verifies what was taken from the page.
    """
    client = client_of(console_of(certified))
    page = client.get(AT).text
    away = tmp_path / "away"
    away.mkdir()
    for name in ("certificate.json", "status.json"):
        (away / name).write_bytes(client.get(f"{AT}/files/{name}").content)
    monkeypatch.chdir(away)
    command = page.partition("<pre>recert verify")[2].partition("</pre>")[0]
    folders = {"BASE": certified.base, "TUNED": certified.tuned, "KEYS": certified.trust}
    words = [str(folders.get(word, word)) for word in shlex.split(command)]

    done = CliRunner().invoke(app, ["verify", *words])

    assert "It holds, for the files that it names." in Page(page).text
    assert (0, f"valid {certified.content.serial}") == (done.exit_code, done.stdout.partition(" until")[0])


def test_a_stale_certificate_says_so_first_and_how_to_certify_again(certified: Certified) -> None:
    """
    Under a policy that changed since, the page leads with that, and gives the commands that certify again.
    """
    page = read(certified, policy=make_policy(version="2"))

    said = page.text.partition("Verification, step by step")[0]
    assert "It is stale: it is not under the policy that holds now." in said
    assert "Way out: Decide, certify and sign again under this policy" in said
    assert f"--supersedes {certified.content.serial}" in said


def test_a_suspended_certificate_says_why_and_who_lifts_it(certified: Certified) -> None:
    """
    The reason of the status list stands at the top, with the command that lifts the suspension.
    """
    certified.suspend()

    said = read(certified).text.partition("Verification, step by step")[0]

    assert "It is suspended. Because: canary failed." in said
    assert f"--reinstate {certified.content.serial}" in said


def test_what_is_gravest_comes_first(certified: Certified) -> None:
    """
    A certificate that is revoked, stale and has a signature missing is called revoked; the rest follows.
    """
    certified.status.write_bytes(
        revoke(
            certified.status.read_bytes(),
            certified.content.serial,
            "a trigger was found",
            key=certified.keys["status"],
            trust=certified.trusted,
            validity_hours=24,
        )
    )
    draft(certified, "evaluator")

    said = read(certified, policy=make_policy(version="2")).text.partition("Verification, step by step")[0]

    places = [said.index(words) for words in ("It is revoked, for good.", "It is a draft", "It is stale")]
    assert sorted(places) == places


def test_no_list_or_one_that_is_too_old_is_no_yes(certified: Certified) -> None:
    """
    Without a status list the page does not say that a certificate holds, and names the command that makes one.
    """
    certified.status.unlink()

    page = read(certified, status=None)

    assert "There is no status list, so nobody knows whether it was revoked." in page.text
    assert "recert status status.json --key status.pem --trust keys" in page.text
    assert "It holds" not in page.text


def test_a_refusal_is_told_with_its_words(certified: Certified) -> None:
    """
    Who refuses is heard on the page, in their words.
    """
    refusal = refuse(certified.certificate.read_bytes(), certified.keys["approver"], "searched too little")
    keep_refusal(certified.folder / "refusals", refusal)

    said = read(certified).text

    assert "Somebody who must sign refuses. Because: searched too little." in said
    assert "--withdraw" in said


def test_without_trusted_keys_nothing_is_said_to_hold(certified: Certified) -> None:
    """
    A console without trusted keys verifies nothing, and says so instead of guessing.
    """
    page = read(certified, trust=None)

    assert "Nothing was verified here." in page.text
    assert "not checked here" in page.text
    assert "It holds" not in page.text


def test_a_file_that_is_no_certificate_is_a_page_of_words(certified: Certified) -> None:
    """
    A damaged file gets a page that says what is wrong and what to do, not an error.
    """
    certified.certificate.write_bytes(b"{}")
    system = console_of_damaged(certified)

    answer = client_of(system).get(AT)

    assert answer.status_code == 200
    assert "This file is no certificate" in answer.text
    assert "get the file again" in answer.text


def console_of_damaged(certified: Certified) -> Any:
    """Return a console over a certificate's file that cannot be read."""
    damaged = certified.certificate.read_bytes()
    return_to = Certified(certified.folder / "other")
    certified.certificate.write_bytes(return_to.certificate.read_bytes())
    console = console_of(certified)
    certified.certificate.write_bytes(damaged)
    return console


def test_every_file_that_is_offered_can_be_taken(tmp_path: Path) -> None:
    """
    The page's links give the certificate, its list, the report and both bills of materials, as files.
    """
    certified = certify_with_evidence(tmp_path)
    client = client_of(console_of(certified))
    page = Page(client.get(AT).text)
    links = [a["href"] or "" for tag, a in page.tags if tag == "a" and "download" in a]
    some = {link.rpartition("/")[2]: client.get(link) for link in links if not link.endswith(".pdf")}

    assert {"certificate.json", "status.json", "sign-off.html", "cyclonedx.json", "spdx.json"} == set(some)
    assert {200} == {answer.status_code for answer in some.values()}
    assert all("attachment" in answer.headers["content-disposition"] for answer in some.values())
    assert certified.certificate.read_bytes() == some["certificate.json"].content
    assert some["cyclonedx.json"].json()["bomFormat"] == "CycloneDX"


def test_a_draft_gives_no_bill_of_materials(certified: Certified) -> None:
    """
    CycloneDX and SPDX say that a model is certified: of a draft they are not made, by whatever address.
    """
    draft(certified, "evaluator")
    client = client_of(console_of(certified))

    assert "cyclonedx.json" not in client.get(AT).text
    assert client.get(f"{AT}/files/cyclonedx.json").status_code == 409
    assert client.get(f"{AT}/files/../certificate.json").status_code == 404
    assert client.get(f"{AT}/files/keys.pem").status_code == 404


def test_a_shared_link_opens_the_page_and_nothing_beside_it(certified: Certified) -> None:
    """
    A link for an auditor shows the certificate and how to verify it; the files and other pages stay shut.
    """
    client = client_of(console_of(certified, shared=AT))

    assert client.get(AT).status_code == 200
    assert "recert verify" in client.get(AT).text
    assert f"{AT}/files" not in client.get(AT).text
    assert client.get(f"{AT}/files/certificate.json").status_code == 403


def test_a_proof_of_the_transparency_log_is_shown_and_holds_offline(
    certified: Certified, tmp_path: Path
) -> None:
    """
    With a log the page says which entry it is, and the proof that it gives is accepted by `recert log included`.
    """
    key = generate_key(certified.trust / "log.pem", "log", "example.com/log")
    create_log(tmp_path / "log", "example.com/log")
    log_envelope(tmp_path / "log", certified.certificate.read_bytes())
    log_checkpoint(tmp_path / "log", key)
    client = client_of(console_of(certified, transparency_log=tmp_path / "log"))
    proof = tmp_path / "proof.json"
    proof.write_bytes(client.get(f"{AT}/files/log-proof.json").content)

    done = CliRunner().invoke(
        app,
        [
            "log",
            "included",
            str(certified.certificate),
            "--proof",
            str(proof),
            "--trust",
            str(certified.trust),
        ],
    )

    assert "It is entry 0 of a log of 1 entries" in Page(client.get(AT).text).text
    assert done.exit_code == 0


def test_a_certificate_that_is_not_in_the_log_says_so(certified: Certified, tmp_path: Path) -> None:
    """
    Where the log does not hold it, the page says so instead of showing an old proof.
    """
    key = generate_key(certified.trust / "log.pem", "log", "example.com/log")
    create_log(tmp_path / "log", "example.com/log")
    log_checkpoint(tmp_path / "log", key)

    assert (
        "There is no proof: the log does not hold this envelope"
        in read(certified, transparency_log=tmp_path / "log").text
    )


def test_names_in_a_certificate_are_text_on_its_page(tmp_path: Path) -> None:
    """
    A model's name with markup in it is shown, not run.
    """
    certified = Certified(tmp_path, name="<script>alert(1)</script>")

    answer = client_of(console_of(certified)).get(AT)

    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text


def test_what_is_not_there_is_a_page_that_says_so(certified: Certified) -> None:
    """
    An unknown system, and one without a certificate, are answered in words.
    """
    console = console_of(certified)
    client = client_of(console)
    certified.certificate.unlink()

    assert (
        client.get("/console/systems/nothing/certificate").status_code,
        client.get(AT).status_code,
    ) == (404, 404)
    assert "is certified with" in client.get(AT).text
