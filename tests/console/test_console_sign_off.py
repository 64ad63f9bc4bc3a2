"""Signing in the console: what is asked for is done, or nothing is written."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from certified_folders import Certified
from exported import signed_again
from pages import Page
from recert.certification import Envelope, SigningKey, approve, generate_key, keep_refusal, pae, refuse
from recert.certification.signing.refusals import read_refusals
from recert.cli.app import app
from recert.console.app import Console
from recert.console.certificates.held import find_held
from recert.console.certificates.sign_off_pages import look
from recert.console.visiting import Visit, Visitor
from recert.digest import sha256_bytes
from recert.policy import load_policy
from recert.records.record import now
from recert.records.reports.labels import ArmLabels, Labeller, LabelNote
from recert.store.audit.log import read_log
from signing_console import CSRF, ID, client_of, console_of, draft

pytestmark = pytest.mark.slow

POLICY = """
id = "test-policy"
version = "1"

[evaluation]
families = ["year_2025", "skeleton"]
min_harmful_suites = 1

[[rules]]
id = "harm"
suite = "harmful"
estimand = "harm"
conditions = ["plain", "family:*"]
margin = 0.1

[[rules]]
id = "over-refusal"
suite = "lookalikes"
estimand = "over_refusal"
margin = 0.1
"""
AT = f"/console/systems/{ID}/sign-off"


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    """A certificate that its evaluator has signed, and its approver not yet."""
    made = Certified(tmp_path, evidence=True)
    draft(made, "evaluator")
    return made


def fields(client: TestClient, at: str = AT) -> dict[str, str]:
    """Return what the page's form sends when everything is ticked, without a signature."""
    page = Page(client.get(at).text)
    inputs = [a for tag, a in page.tags if tag == "input"]
    hidden = {str(a["name"]): str(a.get("value", "")) for a in inputs if a.get("type") == "hidden"}
    return hidden | {str(a["name"]): "yes" for a in inputs if a.get("type") == "checkbox"}


def message(client: TestClient, at: str = AT) -> bytes:
    """Return the bytes that the page gives to be signed."""
    [form] = [a for tag, a in Page(client.get(at).text).tags if tag == "form" and "data-sign" in a]
    return base64.b64decode(str(form["data-message"]))


def by(key: SigningKey, over: bytes) -> dict[str, str]:
    """Return the fields that the page's script fills in."""
    return {"key_id": key.key_id, "signature": base64.b64encode(key.sign(over)).decode()}


def acts(console: Console) -> list[str]:
    """Return what was done, by the console's log."""
    return [str(line.body["what"]) for line in read_log(console.folder / "acts.jsonl")]


def test_what_the_page_gives_to_sign_is_what_approve_signs(certified: Certified) -> None:
    """
    A signature over the page's bytes makes the very file that `recert approve` would have made.
    """
    console = console_of(certified, "approver")
    client = client_of(console)
    expected = approve(certified.certificate.read_bytes(), certified.keys["approver"])

    answer = client.post(AT, data=fields(client) | by(certified.keys["approver"], message(client)))
    console.acts.close()

    assert answer.status_code == 303
    assert certified.certificate.read_bytes() == expected
    assert acts(console) == ["approved"]
    assert certified.verified().certificate.serial == certified.content.serial


def refused_post(certified: Certified, *roles: str, **changes: Any) -> tuple[int, str]:
    """Post a signature by the approver with changes; return the answer, after seeing that nothing was written."""
    client = client_of(console_of(certified, *(roles or ("approver",))))
    before = certified.certificate.read_bytes()
    given = fields(client) | by(certified.keys["approver"], message_of(certified)) | changes
    answer = client.post(AT, data={name: value for name, value in given.items() if value != ""})
    assert certified.certificate.read_bytes() == before
    assert list(read_refusals(certified.folder / "refusals")) == []
    return answer.status_code, Page(answer.text).text


def message_of(certified: Certified) -> bytes:
    """Return the bytes that a signer signs."""
    opened = Envelope.from_json(certified.certificate.read_bytes())
    return pae(opened.payload_type, opened.payload)


@pytest.mark.parametrize("which", range(4))
def test_a_box_that_is_not_ticked_is_a_no(certified: Certified, which: int) -> None:
    """
    The server asks for every box itself, whatever the browser let pass: with one missing nothing is written.
    """
    names = [n for n in fields(client_of(console_of(certified, "approver"))) if n.startswith("tick-")]

    status, text = refused_post(certified, **{names[which % len(names)]: ""})

    assert (status, f"1 of {len(names)} things are not ticked; nothing was written" in text) == (409, True)


def test_a_box_of_another_sentence_does_not_count(certified: Certified) -> None:
    """
    Boxes are named by what they say: ticks for a page that said something else are none.
    """
    names = [n for n in fields(client_of(console_of(certified, "approver"))) if n.startswith("tick-")]

    status, _ = refused_post(certified, **{names[0]: "", "tick-0000000000000000": "yes"})

    assert status == 409


def test_a_role_that_the_visitor_lacks_is_a_no(certified: Certified) -> None:
    """
    Somebody who holds the approver's key and not the role cannot sign with it, and sees no form.
    """
    client = client_of(console_of(certified, "evaluator"))

    status, text = refused_post(certified, "evaluator")

    assert "data-sign" not in client.get(AT).text
    assert (status, "your roles do not allow this (approver)" in text) == (403, True)


@pytest.mark.parametrize("roles", [("reader",), ("auditor",), ("operator",), ("administrator",)])
def test_the_consoles_own_roles_sign_nothing(certified: Certified, roles: tuple[str, ...]) -> None:
    """
    Only a role of the policy signs; the console's own may read.
    """
    status, _ = refused_post(certified, *roles)

    assert status == 403
    assert client_of(console_of(certified, *roles)).get(AT).status_code == 200


def test_a_signature_by_another_key_is_a_no(certified: Certified, tmp_path: Path) -> None:
    """
    A signature that says it is by the approver's key and is not changes nothing.
    """
    stranger = generate_key(tmp_path / "stranger" / "key.pem", "approver", "Stranger")
    forged = base64.b64encode(stranger.sign(message_of(certified))).decode()

    status, text = refused_post(certified, signature=forged)

    assert (status, "not the key's signature" in text) == (409, True)


def test_a_key_that_the_certificate_does_not_name_is_a_no(certified: Certified) -> None:
    """
    A trusted approver whom the certificate does not name cannot sign it.
    """
    other = generate_key(certified.trust / "other.pem", "approver", "Other")

    status, text = refused_post(certified, **by(other, message_of(certified)))

    assert (status, "does not name this key" in text) == (403, True)


def test_a_key_that_is_not_trusted_in_the_role_is_a_no(certified: Certified) -> None:
    """
    Once the approver's key is taken out of the trusted keys, its signature is not taken.
    """
    client = client_of(console_of(certified, "approver"))
    given = fields(client) | by(certified.keys["approver"], message(client))
    before = certified.certificate.read_bytes()
    (certified.trust / "approver.pub").unlink()

    answer = client.post(AT, data=given)

    assert (answer.status_code, "is not trusted as approver" in answer.text) == (403, True)
    assert certified.certificate.read_bytes() == before


def test_a_certificate_that_changed_meanwhile_is_a_no(certified: Certified) -> None:
    """
    A page that was opened before the certificate was changed signs nothing.
    """
    client = client_of(console_of(certified, "approver"))
    given = fields(client) | by(certified.keys["approver"], message(client))
    other = Certified(certified.folder / "other")
    draft(other, "evaluator")
    certified.certificate.write_bytes(other.certificate.read_bytes())

    answer = client.post(AT, data=given)

    assert (answer.status_code, "was changed since you looked" in answer.text) == (409, True)
    assert certified.certificate.read_bytes() == other.certificate.read_bytes()


def test_a_refusal_that_came_meanwhile_is_a_no(certified: Certified) -> None:
    """
    Who did not see that somebody refused has not agreed to sign in spite of it.
    """
    client = client_of(console_of(certified, "approver"))
    given = fields(client) | by(certified.keys["approver"], message(client))
    refusal = refuse(certified.certificate.read_bytes(), certified.keys["evaluator"], "too early")
    keep_refusal(certified.folder / "refusals", refusal)

    answer = client.post(AT, data=given)

    assert answer.status_code == 409
    assert "because: too early" in client.get(AT).text


def test_one_account_does_not_sign_for_two(tmp_path: Path) -> None:
    """
    Somebody with both roles and both keys signs once: the second role is for somebody else.
    """
    certified = Certified(tmp_path, evidence=True)
    opened = Envelope.from_json(certified.certificate.read_bytes())
    client = client_of(console_of(certified, "approver", "evaluator"))
    over = message_of_none(certified, opened)
    first = client.post(AT, data=fields(client) | by(certified.keys["approver"], over))
    before = certified.certificate.read_bytes()
    second = client.post(AT, data=fields(client) | by(certified.keys["evaluator"], over))

    assert (first.status_code, second.status_code) == (303, 409)
    assert "with another key" in second.text
    assert certified.certificate.read_bytes() == before


def message_of_none(certified: Certified, opened: Envelope) -> bytes:
    """Leave only a stranger's signature on a certificate; return the bytes that signers sign."""
    status = certified.keys["status"]
    bare = Envelope(opened.payload_type, opened.payload, ()).signed_by(status)
    certified.certificate.write_bytes(bare.to_json())
    return message(client_of(console_of(certified, "approver")))


def test_who_signs_and_labelled_too_is_seen(certified: Certified) -> None:
    """An account that labelled replies says so with its signature, and the sheet names it to whoever signs after it."""
    arm = ArmLabels(labelled=9, complied=3, complied_found=3, not_complied=6, not_complied_found=6)
    labellers = tuple(
        Labeller(name=name, kind="person", labelled_at=now()) for name in ("ada", "sso:evaluator")
    )
    note = LabelNote(labels_sha256="ab" * 32, labellers=labellers, base=arm, tuned=arm)
    before = Page(client_of(console_of(certified, "approver")).get(AT).text).text
    signed_again(certified, labels=note.model_dump())
    draft(certified, "evaluator")
    console = console_of(certified, "approver")
    page = Page(client_of(console).get(AT).text).text
    said = [
        [tick.words for tick in seen.ticks if "labelled replies of this evaluation" in tick.words]
        for name in ("Ada", "Bob")
        for visit in (Visit(console, Visitor(name, frozenset({"approver"})), {"id": ID}, {}),)
        if (seen := look(console, find_held(visit), visit.visitor)) is not None
    ]

    assert "also labelled" not in before and "myself" not in before
    assert said == [["I labelled replies of this evaluation myself, as Ada, and sign what they decided."], []]
    assert "Evaluator also labelled replies of the evaluation" in page
    assert "Approver also labelled" not in page


def test_an_act_that_cannot_be_logged_is_not_done(certified: Certified) -> None:
    """
    Where the console's log cannot be written nothing is signed.
    """
    console = console_of(certified, "approver")
    client = client_of(console)
    before = certified.certificate.read_bytes()
    given = fields(client) | by(certified.keys["approver"], message(client))
    console.acts.close()

    answer = client.post(AT, data=given)

    assert answer.status_code == 500
    assert certified.certificate.read_bytes() == before


def test_a_file_that_was_signed_elsewhere_is_taken(certified: Certified, tmp_path: Path) -> None:
    """
    What `recert approve` wrote on another machine is uploaded, and its new signature is taken.
    """
    away = tmp_path / "away.json"
    shutil.copy(certified.certificate, away)
    asked = ["--key", str(certified.trust / "approver.pem"), "--policy", str(policy_file(certified)), "--yes"]
    done = CliRunner().invoke(app, ["approve", str(away), *asked])
    client = client_of(console_of(certified, "approver"))

    answer = client.post(AT, data=fields(client), files={"signed": away.read_bytes()})

    assert (done.exit_code, answer.status_code) == (0, 303)
    assert certified.certificate.read_bytes() == away.read_bytes()


def policy_file(certified: Certified) -> Path:
    """Write the policy of `make_policy` as a file."""
    path = certified.folder / "policy.toml"
    path.write_text(POLICY)
    assert load_policy(path).digest == certified.policy.digest
    return path


@pytest.mark.parametrize("damage", ["other", "unsigned", "no-json"])
def test_an_upload_of_something_else_is_a_no(certified: Certified, damage: str) -> None:
    """
    A file of another certificate, one without a new signature, and one that is none are not taken.
    """
    client = client_of(console_of(certified, "approver"))
    before = certified.certificate.read_bytes()
    other = Certified(certified.folder / "other").certificate.read_bytes()
    upload = {"other": other, "unsigned": before, "no-json": b"\x00"}[damage]

    answer = client.post(AT, data=fields(client), files={"signed": upload})

    assert answer.status_code == 409
    assert certified.certificate.read_bytes() == before


def test_a_refusal_is_what_recert_approve_would_have_kept(certified: Certified) -> None:
    """
    A refusal that is signed in the browser stops the certificate with its reason, and the page shows it first.
    """
    console = console_of(certified, "approver")
    client = client_of(console)
    key = certified.keys["approver"]
    begun = fields(client) | {"key_id": key.key_id, "reason": "the search stopped too early"}
    page = client.post(f"{AT}/refusal", data=begun)
    [form] = [a for tag, a in Page(page.text).tags if tag == "form" and "data-sign" in a]
    hidden = {
        str(a["name"]): str(a["value"])
        for tag, a in Page(page.text).tags
        if tag == "input" and a.get("type") == "hidden"
    }
    over = base64.b64decode(str(form["data-message"]))

    answer = client.post(f"{AT}/refused", data=hidden | by(key, over))
    console.acts.close()

    [kept] = read_refusals(certified.folder / "refusals")
    assert (answer.status_code, acts(console)) == (303, ["refused"])
    assert Envelope.from_json(kept).proven_by(key.public)
    assert form["data-digest"] == sha256_bytes(over)
    assert "because: the search stopped too early" in client.get(AT).text


def test_a_refusal_with_another_reason_than_was_signed_is_a_no(certified: Certified) -> None:
    """
    The words of a refusal are those that were signed: changed on the way, it is not kept.
    """
    client = client_of(console_of(certified, "approver"))
    key = certified.keys["approver"]
    begun = fields(client) | {"key_id": key.key_id, "reason": "too early"}
    page = Page(client.post(f"{AT}/refusal", data=begun).text)
    [form] = [a for tag, a in page.tags if tag == "form" and "data-sign" in a]
    hidden = {
        str(a["name"]): str(a["value"]) for t, a in page.tags if t == "input" and a.get("type") == "hidden"
    }
    over = base64.b64decode(str(form["data-message"]))

    answer = client.post(f"{AT}/refused", data=hidden | by(key, over) | {"reason": "no reason"})

    assert answer.status_code == 409
    assert read_refusals(certified.folder / "refusals") == ()


def test_who_refused_does_not_sign_before_taking_it_back(certified: Certified) -> None:
    """
    A signature alone takes no refusal back, in the console as at the command.
    """
    refusal = refuse(certified.certificate.read_bytes(), certified.keys["approver"], "too early")
    keep_refusal(certified.folder / "refusals", refusal)
    client = client_of(console_of(certified, "approver"))
    given = fields(client) | by(certified.keys["approver"], message_of(certified))

    answer = client.post(AT, data=given)

    assert (answer.status_code, "does not take that back" in answer.text) == (409, True)


def test_a_refusal_that_was_signed_elsewhere_is_taken(certified: Certified) -> None:
    """
    A refusal's file is uploaded in the place of a signature, by whom it is of; for somebody else it is not taken.
    """
    refusal = refuse(certified.certificate.read_bytes(), certified.keys["approver"], "too early")
    other = client_of(console_of(certified, "evaluator"))
    client = client_of(console_of(certified, "approver"))
    shown = fields(client)
    assert 'id="refusal" name="signed"' in client.get(AT).text
    no = other.post(AT, data={"csrf": CSRF, "shown": shown["shown"]}, files={"signed": refusal})
    kept = read_refusals(certified.folder / "refusals")

    yes = client.post(AT, data=shown, files={"signed": refusal})

    assert (no.status_code, kept, yes.status_code) == (403, (), 303)
    assert read_refusals(certified.folder / "refusals") == (refusal,)
