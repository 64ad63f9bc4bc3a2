"""Certificates that an earlier Recert made are read by this one, say what they said, and count no more."""

from __future__ import annotations

import json
from pathlib import Path

from builders import NOW
from recert.certification import Envelope, Presented, TrustStore, Verifier, read_unverified
from recert.certification.signing.statement import read_statement, statement_bytes
from recert.digest import canonical_json
from recert.records.reports.tuning import Hyperparameters

FOLDER = Path(__file__).parent / "earlier_form"
"""Made by Recert at commit 58d7abd: before refusals, exceptions, ECDSA keys and chains of certificates."""


def test_an_earlier_certificate_is_read_and_refused():
    """
    It names no suites, steps or status list: one that lets these out says too little, whoever signed it.
    """
    envelope = (FOLDER / "certificate.json").read_bytes()
    verifier = Verifier(
        trust=TrustStore.load(FOLDER / "keys.json"), status=(FOLDER / "status.json").read_bytes()
    )
    told = verifier.explain(Presented(envelope), now=NOW)

    assert read_unverified(envelope).serial == "f5ac976f45f2c46c41c7e1d40f2dc2b0"
    assert {one.step: one.reason for one in told if one.answer == "failed"} == {
        "6.13": "evidence-missing",
        "8.7": "status-other-list",
    }


def test_an_earlier_certificate_is_written_as_it_was():
    """
    No field of a later version gets into an earlier payload: what was signed is reproduced byte by byte.
    """
    envelope = (FOLDER / "certificate.json").read_bytes()

    assert statement_bytes(read_unverified(envelope)) == Envelope.from_json(envelope).payload


def test_a_payload_from_before_a_hyperparameter_was_known_is_read():
    """
    Certificates made before tunes had checkpoints or rewards lack those hyperparameters: they are read, and stay so.
    """
    envelope = (FOLDER / "certificate.json").read_bytes()
    value = json.loads(Envelope.from_json(envelope).payload)
    tuned = value["predicate"]["hyperparameters"] = {"method": "lora-sft", "lora_rank": 8, "seed": 3}
    whole = Hyperparameters(**tuned).model_dump(mode="json")
    value["predicate"]["hyperparameters"] = whole
    payload = canonical_json(value)

    assert set(whole).isdisjoint({"learned", "dpo_beta", "checkpoint_every", "rft_beta"})
    assert statement_bytes(read_statement(payload)) == payload
    assert "learned" in Hyperparameters(learned="answer").model_dump(mode="json")
