"""Signing in a real browser: the evaluator has signed, the approver signs with a key's file, and it verifies."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from certified_folders import Certified
from exported import signed_again
from recert.certification import SigningKey, generate_key
from recert.certification.signing.refusals import read_refusals
from recert.cli.app import app
from recert.records.signed.certificate import Approval
from served_console import serving, tab
from signing_console import ID, app_of, console_of, draft

pytestmark = pytest.mark.slow

AT = f"/console/systems/{ID}/sign-off"


def tick_all(page: Any) -> None:
    """Say yes to everything on the page."""
    for box in page.locator("input[type=checkbox]").all():
        box.check()


def verified(certified: Certified) -> int:
    """Return the exit code of `recert verify`."""
    asked = ["--base", str(certified.base), "--model", str(certified.tuned), "--trust", str(certified.trust)]
    return CliRunner().invoke(app, ["verify", str(certified.certificate), *asked]).exit_code


@pytest.mark.parametrize("algorithm", ["ed25519", "ecdsa-p256"])
def test_an_approver_signs_in_the_browser_and_the_certificate_holds(tmp_path: Path, algorithm: Any) -> None:
    """
    The evaluator has signed; the approver ticks all, chooses their key's file and signs. Then `recert verify` accepts
    it, and nothing that the browser sent holds the key.
    """
    certified = Certified(tmp_path, evidence=True)
    ann = generate_key(tmp_path / "keys" / "ann.pem", "approver", "Ann", algorithm=algorithm)
    evaluator, _ = certified.content.approvals
    approver = Approval(role="approver", key_id=ann.key_id, name="Ann")
    signed_again(certified, approvals=[one.model_dump() for one in (evaluator, approver)])
    draft(certified, "evaluator")
    before = verified(certified)
    key = (tmp_path / "keys" / "ann.pem").read_text()
    sent: list[str] = []

    with serving(app_of(console_of(certified, "approver"))) as address, tab() as page:
        page.on("request", lambda request: sent.append(f"{request.url} {request.post_data_buffer or b''!r}"))
        page.goto(address + AT)
        tick_all(page)
        page.locator("[data-key]").set_input_files(tmp_path / "keys" / "ann.pem")
        page.get_by_role("button", name="Sign", exact=True).click()
        page.wait_for_url("**/sign-off?said=*")
        said, answer = page.locator(".said").inner_text(), page.locator("#answer").inner_text()

    secret = key.splitlines()[1]
    assert (before, verified(certified)) == (1, 0)
    assert (said, answer) == ("Signed as approver.", "Everyone has signed")
    assert any("signature" in one for one in sent)
    assert not [one for one in sent if secret in one or "PRIVATE" in one]


def other_key(folder: Path) -> Path:
    """Make a key that the certificate does not name."""
    generate_key(folder / "other.pem", "approver", "Other")
    return folder / "other.pem"


def encrypted(folder: Path) -> Path:
    """Encrypt a key."""
    made = generate_key(folder / "plain.pem", "approver", "Plain")
    assert isinstance(made, SigningKey)
    command = ["openssl", "pkcs8", "-topk8", "-in", folder / "plain.pem", "-out", folder / "locked.pem"]
    subprocess.run([*command, "-passout", "pass:words"], check=True, capture_output=True)
    return folder / "locked.pem"


def public(folder: Path) -> Path:
    """Make a key, and return its public half."""
    generate_key(folder / "half.pem", "approver", "Half")
    return folder / "half.pub"


def test_what_the_browser_cannot_or_may_not_sign_with_is_told_and_changes_nothing(tmp_path: Path) -> None:
    """
    A key that is not named, an encrypted one, a public half and no key at all: each is a sentence, and nothing is sent.
    """
    certified = Certified(tmp_path, evidence=True)
    draft(certified, "evaluator")
    before = certified.certificate.read_bytes()
    told = {}

    with serving(app_of(console_of(certified, "approver"))) as address, tab() as page:
        page.goto(address + AT)
        tick_all(page)
        for name, path in (
            ("none", None),
            ("other", other_key(tmp_path / "a")),
            ("encrypted", encrypted(tmp_path / "b")),
            ("public", public(tmp_path / "c")),
        ):
            if path is not None:
                page.locator("[data-key]").set_input_files(path)
            page.get_by_role("button", name="Sign", exact=True).click()
            page.wait_for_selector("[data-told].bad")
            told[name] = page.locator("[data-told]").inner_text()
            page.evaluate("document.querySelector('[data-told]').className = ''")
        address_now = page.url

    assert "Choose the file of your key first" in told["none"]
    assert "which may not sign here" in told["other"]
    assert "openssl pkcs8 -in KEY.pem" in told["encrypted"]
    assert "holds no private key" in told["public"]
    assert (address_now, certified.certificate.read_bytes()) == (address + AT, before)


def test_a_certificate_that_changed_while_the_page_was_open_is_not_signed(tmp_path: Path) -> None:
    """
    In the browser too: what was signed by then is not what lies there now, and nothing is written.
    """
    certified = Certified(tmp_path, evidence=True)
    draft(certified, "evaluator")
    other = Certified(tmp_path / "other")

    with serving(app_of(console_of(certified, "approver"))) as address, tab() as page:
        page.goto(address + AT)
        tick_all(page)
        page.locator("[data-key]").set_input_files(certified.trust / "approver.pem")
        certified.certificate.write_bytes(draft(other, "evaluator").read_bytes())
        page.get_by_role("button", name="Sign", exact=True).click()
        page.wait_for_selector("h1:has-text('was changed since you looked')")

    assert certified.certificate.read_bytes() == other.certificate.read_bytes()


def test_a_refusal_is_signed_in_the_browser_and_stops_the_certificate(tmp_path: Path) -> None:
    """
    An approver who had signed refuses on the page: the certificate does not verify any more.
    """
    certified = Certified(tmp_path, evidence=True)
    before = verified(certified)

    with serving(app_of(console_of(certified, "approver"))) as address, tab() as page:
        page.goto(address + AT)
        page.locator("#reason").fill("the search stopped too early")
        page.get_by_role("button", name="Go on to sign the refusal").click()
        page.locator("[data-key]").set_input_files(certified.trust / "approver.pem")
        page.get_by_role("button", name="Sign the refusal").click()
        page.wait_for_url("**/sign-off?said=*")
        text = page.locator("main").inner_text()

    assert "Refused by the approver Approver" in text
    assert len(read_refusals(tmp_path / "refusals")) == 1
    assert (before, verified(certified)) == (0, 1)


def test_without_a_script_the_page_says_how_to_sign_elsewhere(tmp_path: Path) -> None:
    """
    Where the browser runs no script there is no field for a key, and the command and the upload are there.
    """
    certified = Certified(tmp_path, evidence=True)
    draft(certified, "evaluator")

    with (
        serving(app_of(console_of(certified, "approver"))) as address,
        tab(java_script_enabled=False) as page,
    ):
        page.goto(address + AT)
        shown = page.locator("[data-key]").is_visible()
        text = page.locator("main").inner_text()
        upload = page.locator("#signed").is_visible()

    assert (shown, upload) == (False, True)
    assert "recert approve certificate.json --key KEY.pem" in text
    assert "This browser cannot sign on this page" in text
