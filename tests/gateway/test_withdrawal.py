"""
Everything that ends a certificate ends service within five seconds, running streams included, for that model alone.

One gateway with a model for each cause, and one that must go on throughout.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from certified_folders import Certified
from many_models import Watched, certified, deployment, one_base, refusal, say, vllm
from recert.certification import issue_status, revoke, suspend
from recert.certification.signing.envelope import sign
from recert.certification.signing.statement import statement_bytes
from recert.gateway.serving.server import GatewayServer
from recert.records.record import now
from recert.records.signed.certificate import PAYLOAD_TYPE
from recert.store.audit.log import AuditLog, read_log
from recert.store.files.writing import write_atomic
from recert.workflows.deploy.stage import deploy_models
from vllm_program import digest_of

pytestmark = pytest.mark.slow

STEADY, RENEWED = "steady", "renewed"


@dataclass
class World:
    """The gateway, and the models behind it by name."""

    folder: Path
    server: GatewayServer
    models: dict[str, Certified]


def signing(model: Certified) -> dict[str, object]:
    """What a new status list is signed with."""
    return {"key": model.keys["status"], "trust": model.trusted}


def revoked(model: Certified) -> None:
    """Revoke the certificate."""
    old = model.status.read_bytes()
    new = revoke(old, model.content.serial, "harm was seen", **signing(model), validity_hours=24)  # type: ignore[arg-type]
    write_atomic(model.status, new)


def suspended(model: Certified) -> None:
    """Suspend it."""
    old = model.status.read_bytes()
    new = suspend(old, model.content.serial, "harm was seen", **signing(model), validity_hours=24)  # type: ignore[arg-type]
    write_atomic(model.status, new)


def stale(model: Certified) -> None:
    """Issue a list that nobody follows up: it is too old after two seconds."""
    old = model.status.read_bytes()
    new = issue_status(old, **signing(model), validity_hours=2 / 3600)  # type: ignore[arg-type]
    write_atomic(model.status, new)
    time.sleep(2)


def listless(model: Certified) -> None:
    """Take the status list away."""
    model.status.unlink()


def damaged_list(model: Certified) -> None:
    """Cut the status list in half."""
    write_atomic(model.status, model.status.read_bytes()[:100])


def rolled_back_list(model: Certified) -> None:
    """Put an older list in place of a newer one that was seen."""
    old = model.status.read_bytes()
    new = issue_status(old, **signing(model), validity_hours=24)  # type: ignore[arg-type]
    write_atomic(model.status, new)
    time.sleep(1)
    write_atomic(model.status, old)


def signed_anew(model: Certified, **changes: object) -> None:
    """Put the certificate in place with some changes, signed by the very same people."""
    content = model.content.model_copy(update={"serial": "a" * 32, **changes})
    keys = [model.keys["evaluator"], model.keys["approver"]]
    write_atomic(model.certificate, sign(PAYLOAD_TYPE, statement_bytes(content), keys).to_json())


def expired(model: Certified) -> None:
    """Put a certificate for the same files in place that ends two seconds from now."""
    signed_anew(model, expires_at=now() + timedelta(seconds=2))
    time.sleep(2)


def for_another(model: Certified) -> None:
    """Put a certificate of other weights in place."""
    signed_anew(model, tuned=model.content.base, delta_kind="merged-weights")


def for_another_name(model: Certified) -> None:
    """Put a certificate for the same files, and another name, in place."""
    signed_anew(model, model_name="something-else")


def certificateless(model: Certified) -> None:
    """Take the certificate away."""
    model.certificate.unlink()


def flipped(model: Certified) -> None:
    """Flip a bit of the certified adapter, where it lies."""
    path = model.tuned / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    write_atomic(path, bytes(data))


def flipped_quietly(model: Certified) -> None:
    """Flip a bit in place, and put the file's times back."""
    path = model.tuned / "adapter_model.safetensors"
    about = path.stat()
    with path.open("r+b") as file:
        file.write(b"#")
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def extra(model: Certified) -> None:
    """Add a file to the folder."""
    (model.tuned / "more.safetensors").write_bytes(b"more")


def linked(model: Certified) -> None:
    """Put a link to the very same bytes in place of a file."""
    path = model.tuned / "adapter_model.safetensors"
    path.rename(model.folder / "elsewhere")
    path.symlink_to(model.folder / "elsewhere")


CAUSES: dict[str, tuple[Callable[[Certified], None], set[str]]] = {
    "revoked": (revoked, {"revoked"}),
    "suspended": (suspended, {"suspended"}),
    "stale": (stale, {"status-expired"}),
    "listless": (listless, {"recheck-failed"}),
    "damaged-list": (damaged_list, {"status-malformed"}),
    "rolled-back-list": (rolled_back_list, {"status-rollback"}),
    "expired": (expired, {"expired"}),
    "for-another": (for_another, {"file-differs", "file-missing", "file-renamed"}),
    "for-another-name": (for_another_name, {"system-changed"}),
    "certificateless": (certificateless, {"recheck-failed"}),
    "flipped": (flipped, {"file-differs"}),
    "flipped-quietly": (flipped_quietly, {"file-differs"}),
    "extra": (extra, {"extra-file"}),
    "linked": (linked, {"recheck-failed"}),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A gateway with all of them."""
    folder = tmp_path_factory.mktemp("world")
    models = {name: certified(folder / "models", name) for name in (STEADY, RENEWED, *CAUSES)}
    assert one_base(list(models.values()))
    upstream = vllm(folder)
    with AuditLog(folder / "audit.jsonl") as audit:
        deployments = [deployment(model, upstream) for model in models.values()]
        server = deploy_models(deployments, audit=audit, state=folder / "state")
        with server:
            yield World(folder, server, models)


@pytest.mark.parametrize("cause", CAUSES)
def test_what_ends_a_certificate_ends_its_service_and_no_other(world: World, cause: str) -> None:
    """The stream is cut with the reason within five seconds, later requests get 503, and the neighbour goes on."""
    model = world.models[cause]
    serial = model.content.serial
    end, codes = CAUSES[cause]
    with Watched(world.server, cause) as stream, Watched(world.server, STEADY) as neighbour:
        end(model)
        begun = time.monotonic()
        assert stream.ended.wait(6), "the stream goes on"
        took_s = stream.ended_at - begun
        goes_on = neighbour.runs
    after = refusal(world.server, cause)
    said = say(world.server, STEADY)

    assert took_s < 5
    assert stream.code in codes
    assert stream.serial == serial
    assert after == (503, stream.code)
    assert goes_on
    assert said[1:] == (STEADY, world.models[STEADY].content.serial)


def test_a_renewal_is_taken_up_while_streams_run(world: World) -> None:
    """The stream goes on under the certificate that it began with; the next reply names the new one, and only it."""
    model = world.models[RENEWED]
    before = model.content.serial
    with Watched(world.server, RENEWED) as stream:
        signed_anew(model, serial="b" * 32)
        end = time.monotonic() + 5
        while say(world.server, RENEWED)[2] == before and time.monotonic() < end:
            time.sleep(0.1)
        goes_on = stream.runs

    assert goes_on
    assert stream.serial == before
    assert say(world.server, RENEWED)[2] == "b" * 32


def test_every_model_of_one_base_runs_on_one_engine(world: World) -> None:
    """One process, one copy of the base; each model says that its own adapter was loaded, on that base."""
    started = json.loads((world.folder / "started.json").read_text())
    copies = [path for path in (world.folder / "state" / "copies").glob("*/*") if path.name == "base"]
    steady = world.models[STEADY]
    modules = started["arguments"][started["arguments"].index("--lora-modules") + 1 :]

    assert len(modules) == len(world.models)
    assert len(copies) == 1
    assert say(world.server, STEADY)[0] == f"loaded {digest_of(steady.tuned)} on {digest_of(steady.base)}"


def test_each_exchange_names_one_certificate(world: World) -> None:
    """Every line of the audit log of a model has the serial under which it was answered, and that alone."""
    lines = [line.body for line in read_log(world.folder / "audit.jsonl") if line.kind == "exchange"]
    serials = {line["model_name"]: set[str]() for line in lines}
    for line in lines:
        serials[line["model_name"]].add(line["certificate_serial"])

    assert serials[STEADY] == {world.models[STEADY].content.serial}
    assert {len(found) for name, found in serials.items() if name not in (RENEWED, "expired")} == {1}


def test_status_says_which_are_served_and_why_others_are_not(world: World) -> None:
    """Each model with its own certificate and reason; the gateway as a whole serves."""
    said = httpx.get(world.server.url + "/status").json()
    states = {model["name"]: (model["state"], model["reason"]) for model in said["models"]}
    listed = [model["id"] for model in httpx.get(world.server.url + "/v1/models").json()["data"]]

    assert said["state"] == "serving"
    assert states[STEADY] == ("serving", "")
    assert states["revoked"] == ("stopped", "revoked")
    assert sorted(listed) == sorted([STEADY, RENEWED])
