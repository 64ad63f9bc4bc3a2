"""Envelopes: the encoding that is signed, and what damage can and cannot do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.certification import Envelope, pae, read_status
from recert.digest import canonical_json
from recert.errors import RecordError, VerificationError


def test_the_encoding_is_that_of_dsse():
    """
    The pre-authentication encoding is the one in DSSE's own test vector, with lengths in bytes.
    """
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"

    assert expected == pae("http://example.com/HelloWorld", b"hello world")
    assert pae("", b"") == b"DSSEv1 0  0 "
    assert pae("é", b"\xff") == b"DSSEv1 2 \xc3\xa9 1 \xff"


def test_an_envelope_reads_back(world):
    """
    Reading and writing an envelope gives the same bytes; signing twice leaves one signature.
    """
    envelope = Envelope.from_json(world.envelope)

    assert envelope.to_json() == world.envelope
    assert envelope.signed_by(world.keys["approver"]).to_json() == world.envelope


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value.update(extra=1),
        lambda value: value.update(signatures=[]),
        lambda value: value.update(payload=value["payload"][:-1]),
        lambda value: value.update(payload=value["payload"] + "\n"),
        lambda value: value.update(payload="AB=="),
        lambda value: value["signatures"][0].update(cert="x"),
        lambda value: value["signatures"][0].update(sig="é"),
        lambda value: value["signatures"][0].pop("keyid"),
    ],
)
def test_an_envelope_has_one_form(world, damage):
    """
    Other fields, no signatures or base64 in another form are refused.
    """
    value = json.loads(world.envelope)
    damage(value)

    with pytest.raises(RecordError):
        Envelope.from_json(canonical_json(value))


def test_an_envelope_has_a_size(world):
    """
    What is too large is not even parsed.
    """
    with pytest.raises(RecordError, match="too large"):
        Envelope.from_json(world.envelope + b" " * 2**24)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=250, deadline=None)
def test_one_flipped_bit_never_changes_what_a_certificate_says(shared_world, place, bit):
    """
    A damaged certificate is refused with VerificationError, or says exactly what it said.
    """
    damaged = bytearray(shared_world.envelope)
    damaged[int(place * len(damaged))] ^= 1 << bit
    try:
        said = shared_world.verify(envelope=bytes(damaged))
    except VerificationError:
        return

    assert shared_world.verify().certificate == said.certificate


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_one_flipped_bit_never_changes_what_a_status_list_says(shared_world, place, bit):
    """
    A damaged status list is refused with VerificationError, or says exactly what it said.
    """
    known = {"trust": shared_world.trust, "now": shared_world.now}
    damaged = bytearray(shared_world.status)
    damaged[int(place * len(damaged))] ^= 1 << bit
    try:
        said = read_status(bytes(damaged), **known)
    except VerificationError:
        return

    assert read_status(shared_world.status, **known) == said


@given(start=st.floats(0, 1, exclude_max=True), length=st.integers(1, 400))
@settings(max_examples=100, deadline=None)
def test_a_cut_certificate_is_refused(shared_world, start, length):
    """
    Bytes that were lost, wherever and however many, never leave a certificate.
    """
    at = int(start * len(shared_world.envelope))
    with pytest.raises(VerificationError):
        shared_world.verify(envelope=shared_world.envelope[:at] + shared_world.envelope[at + length :])


def fields_of(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every field and item of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, item in items for path in ((*here, key), *fields_of(item, (*here, key)))]


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_removing_any_field_even_with_new_signatures_is_refused(shared_world, data):
    """
    Without a field the certificate is refused, whether it keeps its signatures or the same people sign anew.

    The few items whose loss leaves a whole certificate (a limitation, a judge) need those people's
    signatures, and the certificate then says something else: it is never the same one.
    """
    envelope = Envelope.from_json(shared_world.envelope)
    value = json.loads(envelope.payload)
    path = data.draw(st.sampled_from(fields_of(value)))
    at = value
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    payload = canonical_json(value)

    with pytest.raises(VerificationError):
        shared_world.verify(envelope=replace(envelope, payload=payload).to_json())
    anew = Envelope(envelope.payload_type, payload, ())
    for role in ("evaluator", "approver"):
        anew = anew.signed_by(shared_world.keys[role])
    try:
        said = shared_world.verify(envelope=anew.to_json())
    except VerificationError:
        return
    assert said.certificate != shared_world.verify().certificate


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_removing_a_signature_never_turns_a_no_into_a_yes(shared_world, data):
    """
    Among any mixture of good, broken and foreign signatures, taking one away gives no new yes.
    """
    world = shared_world
    whole = Envelope.from_json(world.envelope).signed_by(world.keys["trainer"]).signatures
    broken = tuple(replace(s, value=bytes(64)) for s in whole)
    pool = st.sampled_from((*whole, *broken))
    chosen = tuple(data.draw(st.lists(pool, min_size=2, max_size=6)))
    gone = data.draw(st.integers(0, len(chosen) - 1))

    def yes(signatures: tuple[Any, ...]) -> bool:
        changed = replace(Envelope.from_json(world.envelope), signatures=signatures)
        try:
            world.verify(envelope=changed.to_json())
        except VerificationError:
            return False
        return True

    assert yes(chosen) or not yes(chosen[:gone] + chosen[gone + 1 :])
