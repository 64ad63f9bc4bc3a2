"""Links: nothing is evidence that the right person did not sign, as it is."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attack_reports import make_report
from builders import (
    NOW,
    SOME_SHA,
    make_eval_report,
    make_links,
    make_policy,
    make_screen_report,
    make_tune_report,
    make_watch_report,
)
from recert.certification import Envelope, TrustStore
from recert.certification.signing.envelope import sign
from recert.certification.signing.links import (
    LINK_TYPE,
    STEP_ROLES,
    link_path,
    read_link,
    read_links,
    sign_link,
    sign_link_of,
    step_named,
    why_not_link_of,
    write_link,
)
from recert.certification.signing.materials import step_of, what_went_in
from recert.digest import canonical_json
from recert.errors import InputError, RecordError, SigningKeyError, VerificationError
from recert.records.record import Record
from recert.records.signed.certificate import PAYLOAD_TYPE
from stress_reports import make_stress_report

SCREEN = make_screen_report()
REPORTS: tuple[Record, ...] = (
    SCREEN,
    make_tune_report(screen_report=SCREEN),
    make_eval_report(),
    make_watch_report(serial="s", certificate_sha256=SOME_SHA),
    make_stress_report(),
    make_report(make_policy()),
)
OF_STEPS = pytest.mark.parametrize("report", REPORTS, ids=[step_of(one) for one in REPORTS])


def signed(world: Any, report: Record, role: str = "") -> bytes:
    """Return the link of a report, by the one who may sign it."""
    return sign_link_of(report, world.keys[role or STEP_ROLES[step_of(report)]], now=NOW)


def forged(world: Any, report: Record, role: str) -> bytes:
    """Return the link of a report, signed round `sign_link` by somebody else."""
    payload = Envelope.from_json(signed(world, report)).payload
    return sign(PAYLOAD_TYPE, payload, [world.keys[role]]).to_json()


def reason(world: Any, envelope: bytes, report: Record, **changes: Any) -> str:
    """Return why a link is refused."""
    asked = {"step": step_of(report), "trust": world.trust, "now": NOW} | changes
    with pytest.raises(VerificationError) as caught:
        read_link(envelope, **asked)
    return caught.value.reason


@OF_STEPS
def test_a_link_says_who_ran_the_step_and_what_came_out(world: Any, report: Record) -> None:
    """
    What is read is what was signed, by whom; the report is among the products by its digest.
    """
    step = step_of(report)
    link = read_link(signed(world, report), step=step, trust=world.trust, now=NOW)
    opened = json.loads(Envelope.from_json(signed(world, report)).payload)

    assert link.key_id == world.keys[STEP_ROLES[step]].key_id
    assert link.name == STEP_ROLES[step].title()
    assert link.products[f"{'eval' if step == 'evaluate' else step}-report.json"] == report.digest
    assert (link.materials, link.products) == what_went_in(report)
    assert link.finished_at == NOW
    assert why_not_link_of(link, report) == ""
    assert link.evidence.record_sha256 == report.digest
    assert opened["predicateType"] == LINK_TYPE
    assert step_named(signed(world, report)) == step


@OF_STEPS
def test_another_role_signs_no_link(world: Any, report: Record) -> None:
    """
    Whoever has another role can neither make the link nor be believed when they do.
    """
    for role in {*world.keys} - {STEP_ROLES[step_of(report)]}:
        with pytest.raises(SigningKeyError):
            signed(world, report, role)
        assert reason(world, forged(world, report, role), report) == "link-untrusted"


def test_a_stranger_and_an_expired_key_sign_no_link(world: Any) -> None:
    """
    A key must be in the trust store now.
    """
    report = REPORTS[0]
    key = world.keys["screener"].public
    others = [one.public for role, one in world.keys.items() if role != "screener"]
    expired = key.model_copy(update={"expires_at": NOW + timedelta(days=1)})

    assert reason(world, signed(world, report), report, trust=TrustStore(others)) == "link-untrusted"
    said = reason(
        world, signed(world, report), report, trust=TrustStore([expired]), now=NOW + timedelta(days=2)
    )
    assert said == "link-untrusted"


def test_a_link_is_of_one_step_and_one_report(world: Any) -> None:
    """
    The link of another step is malformed; that of another report of the same step differs.
    """
    for one in REPORTS:
        for other in REPORTS:
            if one is not other:
                assert reason(world, signed(world, one), other) == "link-malformed"
    link = read_link(
        signed(world, make_eval_report(seconds=99.0)), step="evaluate", trust=world.trust, now=NOW
    )

    assert "another report" in why_not_link_of(link, make_eval_report())


@pytest.mark.parametrize("side", ["materials", "products"])
@pytest.mark.parametrize("change", ["gone", "other", "more"])
def test_every_material_and_product_must_be_the_report_s(world: Any, side: str, change: str) -> None:
    """
    One that is left out, changed or added is named.
    """
    report = make_eval_report()
    materials, products = what_went_in(report)
    said = {"materials": dict(materials), "products": dict(products)}
    if change == "more":
        said[side]["tuned/more.bin"] = SOME_SHA
    else:
        for name in list(said[side])[:1]:
            said[side].pop(name)
            said[side] |= {name: "1" * 64} if change == "other" else {}
    envelope = sign_link(
        "evaluate", **said, record_sha256=report.digest, key=world.keys["evaluator"], now=NOW
    )
    link = read_link(envelope, step="evaluate", trust=world.trust, now=NOW)

    assert f"other {side}" in why_not_link_of(link, report)
    assert not world.certify(
        eval_report=make_eval_report(policy=world.policy), links={"evaluate": envelope}
    ).certified


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_flipped_bit_is_accepted(shared_world: Any, data: st.DataObject) -> None:
    """
    A link with any bit changed is refused, or says exactly what it said.
    """
    report = data.draw(st.sampled_from(REPORTS))
    envelope = bytearray(signed(shared_world, report))
    whole = read_link(bytes(envelope), step=step_of(report), trust=shared_world.trust, now=NOW)
    at = data.draw(st.integers(0, len(envelope) - 1))
    envelope[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = read_link(bytes(envelope), step=step_of(report), trust=shared_world.trust, now=NOW)
    except VerificationError as exc:
        assert exc.reason in ("link-malformed", "link-untrusted")
        return

    assert found == whole


def changed(value: dict[str, Any], change: str) -> None:
    """Change the payload of a link in one way."""
    predicate = value["predicate"]
    match change:
        case "no command":
            del predicate["command"]
        case "a command":
            predicate["command"] = ["sh"]
        case "an environment":
            predicate["environment"] = {"HOME": "/"}
        case "a field more":
            value["more"] = 1
        case "a field of the predicate more":
            predicate["more"] = 1
        case "a by-product more":
            predicate["byproducts"]["more"] = ""
        case "another predicate":
            value["predicateType"] = "https://in-toto.io/attestation/link/v0.2"
        case "no product":
            value["subject"] = []
        case "twice":
            value["subject"].append(value["subject"][0])
        case "out of order":
            value["subject"].reverse()
        case "no digest":
            value["subject"][0]["digest"] = {}
        case "another digest":
            value["subject"][0]["digest"]["sha512"] = "0" * 128
        case "a digest in capitals":
            value["subject"][0]["digest"]["sha256"] = "A" * 64
        case "no record":
            predicate["byproducts"]["record_sha256"] = ""
        case "no time":
            predicate["byproducts"]["finished_at"] = "2026-3-1T12:00:00Z"
        case "an unknown step":
            predicate["name"] = "certify"


CHANGES = (
    "no command", "a command", "an environment", "a field more", "a field of the predicate more",
    "a by-product more", "another predicate", "no product", "twice", "out of order", "no digest", "another digest",
    "a digest in capitals", "no record", "no time", "an unknown step",
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_only_the_exact_form_is_a_link(world: Any, change: str) -> None:
    """
    Signed by the right person, and yet no link: a field too few or too many, or in another form.
    """
    report = make_eval_report()
    value = json.loads(Envelope.from_json(signed(world, report)).payload)
    changed(value, change)
    envelope = sign(PAYLOAD_TYPE, canonical_json(value), [world.keys["evaluator"]]).to_json()

    assert reason(world, envelope, report) == "link-malformed"


def test_only_one_signature_and_canonical_json_is_a_link(world: Any) -> None:
    """
    Two signers, white space, another payload type, or no JSON at all: malformed.
    """
    report = make_eval_report()
    opened = Envelope.from_json(signed(world, report))
    keys = [world.keys["evaluator"]]
    spaced = json.dumps(json.loads(opened.payload), indent=1).encode()
    for envelope in (
        opened.signed_by(world.keys["trainer"]).to_json(),
        sign(PAYLOAD_TYPE, spaced, keys).to_json(),
        sign("text/plain", opened.payload, keys).to_json(),
        b"",
        base64.b64encode(opened.to_json()),
        world.envelope,
    ):
        assert reason(world, envelope, report) == "link-malformed"


def test_what_cannot_be_named_is_not_signed(world: Any) -> None:
    """
    Empty names, digests that are none, and records that no step makes.
    """
    asked: dict[str, Any] = {"record_sha256": SOME_SHA, "key": world.keys["evaluator"]}
    for products in ({"": SOME_SHA}, {"a": "0"}, {}):
        with pytest.raises(RecordError):
            sign_link("evaluate", materials={}, products=products, **asked)
    with pytest.raises(InputError):
        what_went_in(make_policy())


def test_a_link_lies_beside_its_report_until_that_is_written_anew(world: Any, tmp_path: Path) -> None:
    """
    A report written again without a key has no link; one of a checkpoint has its own.
    """
    report = make_tune_report()
    path, other = tmp_path / "tune-report.json", tmp_path / "step-5-tune-report.json"
    write_link(path, report, world.keys["trainer"])
    write_link(other, report, world.keys["trainer"])
    found = read_links({"tune": path})
    write_link(path, report, None)

    assert link_path(path, "tune").name == "tune.link.json"
    assert link_path(other, "tune").name == "step-5-tune.link.json"
    assert link_path(tmp_path / "out.json", "watch").name == "watch.link.json"
    assert read_link(found["tune"], step="tune", trust=world.trust, now=NOW).record_sha256 == report.digest
    assert read_links({"tune": path}) == {}
    assert list(read_links({"tune": other})) == ["tune"]


def test_the_chain_can_be_followed_by_names(world: Any) -> None:
    """
    What screening made is what tuning was given, what tuning made is what was evaluated.
    """
    links = make_links(world.keys, *REPORTS[:3])
    screen, tune, evaluation = (
        read_link(links[step], step=step, trust=world.trust, now=NOW)
        for step in ("screen", "tune", "evaluate")
    )

    for name in ("screen-report.json", "accepted-rows"):
        assert screen.products[name] == tune.materials[name]
    made = {name for name in tune.products if name.startswith("tuned/")}
    assert made and all(tune.products[name] == evaluation.materials[name] for name in made)
