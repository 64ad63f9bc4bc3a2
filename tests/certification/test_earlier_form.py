"""Certificates, status lists and keys that an earlier Recert made are read by this one, and say what they said."""

from __future__ import annotations

import json
from pathlib import Path

from builders import BASE_FILES, NOW, TUNED_FILES, write_model
from recert.certification import Envelope, TrustStore, read_unverified, verify
from recert.certification.statement import read_statement, statement_bytes
from recert.digest import canonical_json
from recert.records import Hyperparameters

FOLDER = Path(__file__).parent / "earlier_form"
"""Made by Recert at commit 58d7abd: before refusals, exceptions, ECDSA keys and chains of certificates."""
EARLIER_BASE = {**BASE_FILES, "model.safetensors": b"base weights"}
EARLIER_TUNED = {**TUNED_FILES, "adapter_model.safetensors": b"adapter weights"}


def test_an_earlier_certificate_still_verifies(tmp_path):
    """
    Signed by earlier keys, under an earlier status list, for the same files: the answer is still yes.
    """
    envelope = (FOLDER / "certificate.json").read_bytes()
    verified = verify(
        envelope,
        base_dir=write_model(tmp_path / "base", EARLIER_BASE),
        tuned_dir=write_model(tmp_path / "tuned", EARLIER_TUNED),
        trust=TrustStore.load(FOLDER / "keys.json"),
        status=(FOLDER / "status.json").read_bytes(),
        now=NOW,
    )

    assert verified.certificate.serial == "f5ac976f45f2c46c41c7e1d40f2dc2b0"
    assert [a.role for a in verified.signers] == ["evaluator", "approver"]


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
