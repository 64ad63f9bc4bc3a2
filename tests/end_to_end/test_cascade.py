"""A cascade from its evaluation to a spoken request: certified for the model's folder, served through its ears."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from arms import SUITES, model
from builders import (
    BASE_FILES,
    EARS_FILES,
    ROLES,
    SOME_SHA,
    TUNED_FILES,
    make_policy,
    safetensors,
    signed_evidence,
    write_model,
)
from evaluation.test_speech import policy as spoken_policy
from gateways import Recheck, ScriptedUpstream, client
from recert.certification import TrustStore, approve, certify, generate_key, issue_status, verify
from recert.errors import GatewayError, VerificationError
from recert.evaluation import evaluate
from recert.gateway.access.keys import ApiKeys
from recert.gateway.audio.transcriber_process import ManagedTranscriber
from recert.gateway.serving.server import GatewayServer
from recert.gateway.stage import prepare
from recert.gateway.upstream.client import UnsafeDeclaredUpstream
from recert.models import ScriptedModel
from recert.models.speech.cascade import CascadeModel
from recert.models.speech.transcribing import read_files
from recert.policy import Policy
from recert.records.data.manifest import Manifest
from recert.records.record import now
from recert.records.signed.certificate import VerifiedCertificate
from recert.store.audit.log import AuditLog
from recert.store.files.clips import ClipStore
from speaking import LetterTranscriber, install_voice
from spoken import clip_part, make_wav, spoken

pytestmark = pytest.mark.slow

STAND_IN = Path(__file__).parents[1] / "transcriber_stand_in.py"
Verify = Callable[[], VerifiedCertificate]


def measured(name: str, folder: Path) -> ScriptedModel:
    """Return a scripted model that says it is a folder's files."""
    made = model(name)
    made.manifest = Manifest.of_folder(folder)
    return made


def certified(at: Path, policy: Policy) -> Verify:
    """Evaluate a cascade by ear, certify it, and return what verifies it by the model's folders alone."""
    base_dir, tuned_dir = write_model(at / "base", BASE_FILES), write_model(at / "tuned", TUNED_FILES)
    hears, clips = (
        LetterTranscriber(ears=read_files(at / "ears").ears("script", {})),
        ClipStore(at / "clips"),
    )
    report = evaluate(
        CascadeModel(hears, measured("base", base_dir), clips=clips),
        CascadeModel(hears, measured("same", tuned_dir), clips=clips),
        suites=SUITES, policy=policy, model_name="cascade", training_context=(), clips=clips,
    ).report  # fmt: skip
    keys = {role: generate_key(at / "keys" / f"{role}.pem", role, role) for role in ROLES}
    trust, made_at = TrustStore.load(at / "keys"), now() - timedelta(minutes=1)
    status = issue_status(None, key=keys["status"], trust=trust, validity_hours=24, now=made_at)
    decision = certify(
        eval_report=report, **signed_evidence(keys, trust, {"eval_report": report}, status), policy=policy,
        base_dir=base_dir, tuned_dir=tuned_dir, evidence_sha256=SOME_SHA,
        signer=keys["evaluator"], approvers=[keys["approver"].public], trainer_key_id=keys["trainer"].key_id,
        now=made_at,
    )  # fmt: skip
    assert decision.envelope is not None, decision.reasons
    envelope = approve(decision.envelope, keys["approver"])
    return lambda: verify(
        envelope, base_dir=base_dir, tuned_dir=tuned_dir, trust=trust, status=status, policy=policy
    )


def served(at: Path, policy: Policy, verified: VerifiedCertificate, url: str, audit: AuditLog) -> Any:
    """Return a gateway whose transcriber runs on the files that lie in `ears` now, and that transcriber."""
    (at / "script.json").write_text(json.dumps({"folder": str(at / "ears")}))
    listens = ManagedTranscriber([sys.executable, str(STAND_IN), "--script", str(at / "script.json")])
    listens.start()
    try:
        server: GatewayServer = prepare(
            verified, recheck=Recheck(verified), policy=policy, audit=audit, keys=ApiKeys(),
            upstream=UnsafeDeclaredUpstream(url), transcriber=listens,
        )  # fmt: skip
    except BaseException:
        listens.end()
        raise
    return server, listens


def test_a_cascade_is_certified_and_served_through_its_ears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By ear it is measured, by its folder verified; one byte of what listens changed, and nothing is served."""
    voice = install_voice(monkeypatch, tmp_path / "plugin")
    bounds = make_policy(gateway={"recheck_s": 0.25, "audio": {}}).gateway
    policy = spoken_policy(voice).model_copy(update={"gateway": bounds})
    ears, asked = write_model(tmp_path / "ears", EARS_FILES), spoken(clip_part(make_wav(0.3)))
    holds = certified(tmp_path, policy)
    with (
        ScriptedUpstream(lambda _: ["Yes."]).running() as upstream,
        AuditLog(tmp_path / "audit.jsonl") as audit,
    ):
        server, listens = served(tmp_path, policy, holds(), upstream.url, audit)
        with server, client(server) as made:
            reply = made.chat.completions.create(model="cascade", messages=asked)  # type: ignore[arg-type]
        listens.end()
        (ears / "tokenizer.json").write_bytes(b"[]")
        still = holds()
        with pytest.raises(GatewayError) as caught:
            served(tmp_path, policy, still, upstream.url, audit)

    assert (reply.choices[0].message.content, upstream.messages[-1]["content"]) == ("Yes.", "good morning")
    assert caught.value.reason == "ears-differ"
    assert caught.value.facts["1"].startswith("file differs: tokenizer.json: certified sha256:")
    (tmp_path / "tuned" / "adapter_model.safetensors").write_bytes(safetensors(b"other"))
    with pytest.raises(VerificationError, match="another tuned model"):
        holds()
