"""The embedded engine: a tiny random model, really certified, really verified, really served."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from builders import ROLES, SOME_SHA, make_eval_report, make_screen_report, make_tune_report, signed_evidence
from gateways import ask, ask_stream, client, make_gateway_policy
from recert.certification import (
    SigningKey,
    TrustStore,
    approve,
    certify,
    generate_key,
    issue_status,
    reinstate,
    suspend,
    verify,
)
from recert.errors import GatewayError, VerificationError
from recert.gateway.access.keys import ApiKeys
from recert.gateway.engines.managed_commands import ManagedUpstream
from recert.gateway.engines.managed_engine import ManagedEngine
from recert.gateway.engines.sockets import socket_folder
from recert.gateway.stage import prepare
from recert.policy import Policy
from recert.records.data.manifest import Manifest
from recert.records.record import now
from recert.records.signed.certificate import VerifiedCertificate
from recert.store.audit.log import AuditLog, verify_log
from tiny_models import make_adapter, make_base

pytestmark = pytest.mark.model


@dataclass
class Deployment:
    """Model folders, keys, a certificate and a status list on disk."""

    folder: Path
    policy: Policy
    keys: dict[str, SigningKey]
    trust: TrustStore
    envelope: bytes = b""

    @property
    def adapter(self) -> Path:
        """The adapter's weights."""
        return self.folder / "tuned" / "adapter_model.safetensors"

    def status(self, change: Any = None) -> None:
        """Write the status list, changed by `suspend` or `reinstate`."""
        path = self.folder / "status.json"
        options: dict[str, Any] = {"key": self.keys["status"], "trust": self.trust, "validity_hours": 24}
        old = path.read_bytes() if path.exists() else None
        serial = (
            ""
            if old is None
            else self.verify(status=old).certificate.serial
            if change is suspend
            else self.serial
        )
        self.serial = serial
        if change is suspend:
            new = suspend(old, serial, "canary failed", **options)
        elif change is reinstate:
            assert old is not None
            new = reinstate(old, serial, **options)
        else:
            new = issue_status(old, **options)
        path.write_bytes(new)

    def verify(self, status: bytes | None = None) -> VerifiedCertificate:
        """Verify everything, every byte included."""
        return verify(
            self.envelope,
            base_dir=self.folder / "base",
            tuned_dir=self.folder / "tuned",
            trust=self.trust,
            status=status or (self.folder / "status.json").read_bytes(),
            policy=self.policy,
        )


def make_deployment(folder: Path) -> Deployment:
    """Certify the tiny model under fresh keys."""
    keys = {role: generate_key(folder / "keys" / f"{role}.pem", role, role) for role in ROLES}
    made = Deployment(folder, make_gateway_policy(max_new_tokens=12), keys, TrustStore.load(folder / "keys"))
    base, tuned = Manifest.of_folder(folder / "base"), Manifest.of_folder(folder / "tuned")
    at = now() - timedelta(seconds=1)
    screen = make_screen_report(policy_sha256=made.policy.digest)
    reports = {
        "eval_report": make_eval_report(base=base, tuned=tuned, policy=made.policy),
        "tune_report": make_tune_report(base=base, tuned=tuned, screen_report=screen),
        "screen_report": screen,
    }
    listed = issue_status(None, key=keys["status"], trust=made.trust, validity_hours=24, now=at)
    decision = certify(
        **reports,
        **signed_evidence(keys, made.trust, reports, listed),
        policy=made.policy,
        base_dir=folder / "base",
        tuned_dir=folder / "tuned",
        evidence_sha256=SOME_SHA,
        signer=keys["evaluator"],
        approvers=[keys["approver"].public],
        trainer_key_id=keys["trainer"].key_id,
        now=at,
    )
    assert decision.envelope is not None, decision.reasons
    made.envelope = approve(decision.envelope, keys["approver"])
    (folder / "status.json").write_bytes(listed)
    return made


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the tiny model once."""
    folder = tmp_path_factory.mktemp("tiny")
    make_adapter(folder / "tuned", make_base(folder / "base"))
    return folder


@pytest.fixture
def deployment(tiny: Path, tmp_path: Path) -> Iterator[Deployment]:
    """A certified copy of the tiny model."""
    for name in ("base", "tuned"):
        shutil.copytree(tiny / name, tmp_path / name)
    yield make_deployment(tmp_path)


def flip_one_bit(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def refusal(made: openai.OpenAI, within_s: float = 5) -> str | None:
    """Ask until service is stopped, and return the code. A request that was under way may be cut with 502."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            ask(made, "hello")
        except openai.APIStatusError as exc:
            if exc.status_code == 503:
                return exc.code
        time.sleep(0.1)
    return None


@pytest.mark.slow
def test_the_certified_model_is_served_until_something_changes(deployment: Deployment) -> None:
    """
    The engine answers; killed, it is started once more; a suspension or a flipped bit ends service in 5 s.
    """
    told: list[str] = []
    with AuditLog(deployment.folder / "audit.jsonl") as audit:
        server = prepare(
            deployment.verify(),
            recheck=deployment.verify,
            policy=deployment.policy,
            audit=audit,
            keys=ApiKeys(),
            progress=told.append,
        )
        with server, client(server) as made:
            choice = ask(made, "hello there how are you").choices[0]
            streamed = ask_stream(made, "hello there how are you")
            too_long = refusal_of_long(made)
            label = httpx.get(server.url + "/status").json()["upstream"]

            kill_engine(server.url)
            crashed = refusal(made)
            restarted = wait_until_serving(server.url)
            again = ask(made, "hello there how are you").choices[0].message.content

            deployment.status(suspend)
            suspended = refusal(made)
            deployment.status(reinstate)
            reinstated = wait_until_serving(server.url)

            flip_one_bit(deployment.adapter)
            changed = refusal(made)

    assert 0 < len(choice.message.content.split()) <= 12
    assert (choice.message.content, choice.finish_reason) == streamed
    assert again == choice.message.content
    assert too_long == "context_length_exceeded"
    assert label == "embedded-engine"
    assert told == ["copying what is certified", *["checking base", "checking tuned", "loading"] * 2]
    assert crashed == "engine-down"
    assert restarted
    assert suspended == "suspended"
    assert reinstated
    assert changed in ("file-differs", "files-changed")
    assert verify_log(deployment.folder / "audit.jsonl") > 0


def refusal_of_long(made: openai.OpenAI) -> str | None:
    """Ask something longer than the model's context."""
    try:
        ask(made, "hello " * 400)
    except openai.BadRequestError as exc:
        return exc.code
    return None


def kill_engine(url: str) -> None:
    """Kill the engine, which is this process's only child that runs it."""
    assert httpx.get(url + "/healthz").status_code == 200
    for entry in Path("/proc").iterdir():
        ours = entry.name.isdigit() and f"PPid:\t{os.getpid()}\n" in read(entry / "status")
        if ours and "recert.models.engines.engine" in read(entry / "cmdline"):
            os.kill(int(entry.name), signal.SIGKILL)


def read(path: Path) -> str:
    """Return a file's text, empty when it is gone."""
    try:
        return path.read_text()
    except OSError:
        return ""


def wait_until_serving(url: str, within_s: float = 60) -> bool:
    """Wait until the gateway answers again."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if httpx.get(url + "/healthz").status_code == 200:
            return True
        time.sleep(0.2)
    return False


def test_the_engine_refuses_files_that_changed_since_verification(deployment: Deployment) -> None:
    """Between verification and load one bit flips: it is not copied, and nothing is started."""
    verified = deployment.verify()
    flip_one_bit(deployment.adapter)
    engine = ManagedEngine({"m0": verified}, ManagedUpstream())

    with pytest.raises(VerificationError) as caught:
        engine.start()

    assert caught.value.reason == "file-differs"
    assert engine.down()


@pytest.mark.slow
def test_an_engine_that_cannot_load_is_an_error_with_a_reason(deployment: Deployment) -> None:
    """A model that does not load stops the start; the error says what the engine said."""
    (deployment.folder / "base" / "config.json").write_text("{}")
    base = Manifest.of_folder(deployment.folder / "base")
    from gateways import make_verified

    verified = make_verified(
        deployment.policy,
        folder=deployment.folder,
        base=base,
        tuned=Manifest.of_folder(deployment.folder / "tuned"),
    )
    with pytest.raises(GatewayError) as caught:
        ManagedEngine({"m0": verified}, ManagedUpstream()).start()

    assert caught.value.reason == "engine-refused"
    assert "cannot load the model" in str(caught.value)
    assert "Python frame" not in str(caught.value)  # it exited; it did not crash


def test_a_long_temporary_folder_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket's folder is private, and short enough whatever TMPDIR says; where none is, that is an error."""
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    folder = socket_folder()
    try:
        assert len(str(folder / "engine.sock")) <= 100
        assert folder.stat().st_mode & 0o77 == 0
    finally:
        folder.rmdir()

    monkeypatch.setattr("recert.gateway.engines.sockets._LONGEST_SOCKET_PATH", 5)
    with pytest.raises(GatewayError, match="short enough"):
        socket_folder()
