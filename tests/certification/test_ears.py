"""What was measured by ear is certified with what listened, or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from builders import make_arms, make_ears, make_eval_report, make_manifest, make_policy, make_rule
from recert.certification import approve, read_unverified
from recert.certification.signing.content import OTHER_EARS
from recert.certification.signing.envelope import sign
from recert.certification.signing.signoff_words import certificate_lines, unknown_fields
from recert.certification.signing.statement import statement_bytes
from recert.certification.verifier.listened import why_not_listened
from recert.errors import VerificationError
from recert.policy import Policy
from recert.records.live.transcriber import EarsManifest
from recert.records.reports.evaluation import EvalReport
from recert.records.signed.certificate import PAYLOAD_TYPE, Certificate

from .conftest import BASE_FILES, TUNED_FILES, World
from .test_spoken import policy, results

EARS = make_ears()
OTHERS = make_ears({"model.bin": b"what hearz"})


def bounds(passes_on: str = "") -> Policy:
    """Return a policy that serves text and audio; with a section of the gateway's where it says what is passed on."""
    gateway = {"audio": {"passes_on": passes_on}} if passes_on else {}
    return policy().model_copy(update={"gateway": make_policy(gateway=gateway).gateway})


def report(policy: Policy, **changes: Any) -> EvalReport:
    """Return an evaluation in text and speech that passes, heard by `EARS`."""
    return make_eval_report(policy=policy, **({"rules": tuple(results()), "ears": EARS} | changes))


def certified(world: World, policy: Policy, **changes: Any) -> World:
    """Return the world with a certificate of a spoken evaluation."""
    there = replace(world, policy=policy)
    decision = there.certify(eval_report=report(policy, **changes))
    assert decision.envelope is not None, decision.reasons
    return replace(there, envelope=approve(decision.envelope, world.keys["approver"]))


def signed(world: World, certificate: Certificate) -> World:
    """Return the world with a certificate that its signers signed whatever it says."""
    keys = [world.keys["evaluator"], world.keys["approver"]]
    return replace(world, envelope=sign(PAYLOAD_TYPE, statement_bytes(certificate), keys).to_json())


@pytest.mark.parametrize("passes_on", ["", "transcript"])
def test_a_cascade_is_certified_with_what_listened(world: World, passes_on: str) -> None:
    """The model's files are those of its folder, and the ears stand beside them, to the last byte."""
    there = certified(world, bounds(passes_on))
    found = there.verify().certificate

    assert found.tuned == make_manifest(TUNED_FILES)
    assert found.base == make_manifest(BASE_FILES)
    assert found.ears == EARS
    assert OTHER_EARS in found.invalid_when


def test_a_certificate_of_text_says_nothing_of_ears(world: World) -> None:
    """Its payload has no such field, and no sentence about it."""
    found = read_unverified(world.envelope)

    assert found.ears is None
    assert b'"ears"' not in statement_bytes(found)
    assert OTHER_EARS not in found.invalid_when
    assert "ears" not in [heading for heading, _ in certificate_lines(found)]


def test_a_signer_reads_what_listened(world: World) -> None:
    """Files, engine and settings are among the lines, and no field of it is unknown."""
    found = certified(world, bounds()).verify().certificate
    (words,) = [words for heading, words in certificate_lines(found) if heading == "ears"]

    assert EARS.digest in words and "3 files" in words and EARS.engine in words and "beam_size 1" in words
    assert list(unknown_fields(found)) == []
    odd = found.model_copy(update={"ears": EarsManifest.model_validate(EARS.to_value() | {"odd": 1})})
    assert list(unknown_fields(odd)) == ["ears.odd"]


@pytest.mark.parametrize(
    ("why", "changes", "passes_on"),
    [
        ("not named by its files", {"ears": None}, ""),
        ("not named by its files", {"ears": None}, "transcript"),
        ("the model hears the clips itself", {}, "clip"),
        ("nothing was measured by ear", {"rules": (make_rule(),)}, ""),
        ("with the same ears", {"arms": "differ"}, ""),
        ("with the same ears", {"arms": "one"}, ""),
        ("other ears than the report names", {"arms": "others"}, ""),
        ("other ears than the report names", {"arms": "none"}, ""),
    ],
)
def test_an_evaluation_by_ear_that_does_not_hold_is_not_certified(
    world: World, why: str, changes: dict[str, Any], passes_on: str
) -> None:
    """What listened is named, was the same for both models, and is what will listen."""
    found = bounds(passes_on)
    base, tuned = make_manifest(BASE_FILES), make_manifest(TUNED_FILES)
    of = {ears: make_arms(base, tuned, ears_of) for ears, ears_of in (("a", EARS), ("b", OTHERS), ("", None))}
    arms = {
        "differ": (of["a"][0], of["b"][1]),
        "one": (of["a"][0], of[""][1]),
        "others": of["b"],
        "none": of[""],
    }
    if "arms" in changes:
        changes = {"arms": arms[changes["arms"]]}
    decision = replace(world, policy=found).certify(eval_report=report(found, **changes))

    assert decision.envelope is None
    assert any(one.startswith("ears: ") and why in one for one in decision.reasons), decision.reasons


@pytest.mark.parametrize("passes_on", ["", "transcript"])
def test_a_certificate_by_ear_that_lost_its_ears_is_refused(world: World, passes_on: str) -> None:
    """Signed all the same, it is no certificate under the policy that serves audio."""
    there = certified(world, bounds(passes_on))
    lost = read_unverified(there.envelope).model_copy(update={"ears": None})

    with pytest.raises(VerificationError) as caught:
        signed(there, lost).verify()

    assert caught.value.reason == "ears"
    assert "cascade:" in caught.value.hint


def test_a_model_that_hears_by_itself_needs_no_transcriber(world: World) -> None:
    """Where clips are passed on, results by ear are of the model's own files; with a transcriber they are refused."""
    there = certified(world, bounds("clip"), ears=None)
    found = there.verify().certificate

    assert found.ears is None
    with pytest.raises(VerificationError) as caught:
        signed(there, found.model_copy(update={"ears": EARS})).verify()
    assert caught.value.reason == "ears"


def test_ears_without_anything_spoken_are_refused_whatever_the_policy(world: World) -> None:
    """A certificate of text to which ears were added would let sound be served that nobody measured."""
    odd = read_unverified(world.envelope).model_copy(update={"ears": EARS})

    for given in (world.policy, world.policy.digest, None):
        with pytest.raises(VerificationError) as caught:
            signed(world, odd).verify(policy=given)
        assert caught.value.reason == "ears"


def test_fewer_facts_give_no_reason_less() -> None:
    """Without ears there are as many reasons as with the right ones, or more; without results likewise."""
    for passes_on in ("", "transcript"):
        found = bounds(passes_on)
        with_all = list(why_not_listened(EARS, results(), found))

        assert with_all == []
        assert list(why_not_listened(None, results(), found)) != []
        assert list(why_not_listened(EARS, [make_rule()], found)) != []
