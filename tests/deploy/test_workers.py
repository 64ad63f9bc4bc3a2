"""The manifest of a tuning service with workers as a Kubernetes Job: parsed, and held to the commands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from recert.certification import generate_key
from recert.certification.signing.keys import load_key
from recert.cli.app import app
from recert.errors import SigningKeyError
from recert.service.api.app import make_app  # the routes that the probe may ask

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "deploy" / "service" / "workers.yaml"
KINDS = {one["kind"]: one for one in yaml.safe_load_all(MANIFEST.read_text())}
PODS = {kind: KINDS[kind]["spec"]["template"]["spec"] for kind in ("Deployment", "Job")}
CONTAINERS = {kind: pod["containers"][0] for kind, pod in PODS.items()}


def parsed(arguments: list[str]) -> dict[str, Any]:
    """Return what a command line of `recert service` says."""
    command: Any = typer.main.get_command(app).commands[arguments[0]]  # type: ignore[attr-defined]
    rest = list(arguments[1:])
    if rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    with command.make_context("service", rest) as context:
        found: dict[str, Any] = context.params
        return found


def test_workers_share_what_the_service_wrote() -> None:
    """The service starts no worker of its own; those of the Job read its folder, and all it names, where it did."""
    served, worked = (parsed(CONTAINERS[kind]["args"]) for kind in ("Deployment", "Job"))
    mounts = {
        kind: {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
        for kind, container in CONTAINERS.items()
    }
    volumes = {kind: {one["name"]: one for one in pod["volumes"]} for kind, pod in PODS.items()}

    assert served["workers"] == 0
    assert served["folder"] == worked["folder"]
    assert served["database"].startswith("postgresql://")
    assert worked["until_idle_s"] > 0
    assert PODS["Deployment"]["initContainers"] == PODS["Job"]["initContainers"]
    for path in (str(served["folder"]), "/source", "/policy", "/signers"):
        service, worker = (volumes[kind][mounts[kind][path]] for kind in ("Deployment", "Job"))
        assert service == worker
    assert KINDS["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]
    assert {one["name"] for one in CONTAINERS["Deployment"]["env"]} == {
        one["name"] for one in CONTAINERS["Job"]["env"]
    }


@pytest.mark.parametrize("kind", PODS)
def test_every_path_is_mounted(kind: str) -> None:
    """Every path on a command line lies in a volume that its container mounts, and every mount is of a volume."""
    container, pod = CONTAINERS[kind], PODS[kind]
    (keys,) = pod["initContainers"]
    mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    early = {one["mountPath"]: one["name"] for one in keys["volumeMounts"]}
    paths = {path for word in container["args"] for path in re.findall(r"(?<==)/[\w./-]+", word)}

    assert paths
    assert set(mounts.values()) | set(early.values()) == {one["name"] for one in pod["volumes"]}
    assert [p for p in paths if not any(p == m or p.startswith(f"{m}/") for m in mounts)] == []


@pytest.mark.parametrize("kind", PODS)
def test_keys_are_for_their_owner_alone(kind: str, tmp_path: Path) -> None:
    """What the first container does to a secret's volume leaves keys that the service accepts, where it looks."""
    (keys,) = PODS[kind]["initContainers"]
    secret, signers = tmp_path / "secret", tmp_path / "signers"
    generate_key(secret / "evaluator.pem", "evaluator", "E")
    (secret / "evaluator.pem").chmod(0o640)  # as a volume with fsGroup
    signers.mkdir()
    program, option, line = keys["command"]
    line = line.replace("/secret", str(secret)).replace("/signers", str(signers))
    with pytest.raises(SigningKeyError):
        load_key(secret / "evaluator.pem")
    subprocess.run([program, option, line], check=True)

    assert load_key(signers / "evaluator.pem").public.roles == ("evaluator",)
    assert "/signers" in {one["mountPath"] for one in CONTAINERS[kind]["volumeMounts"]}
    assert "/secret" not in {one["mountPath"] for one in CONTAINERS[kind]["volumeMounts"]}


@pytest.mark.parametrize("kind", PODS)
def test_nothing_runs_as_root_or_writes_its_image(kind: str) -> None:
    """No root, no capability, no new privilege, and a root file system to read only; no model or key is written."""
    pod, container = PODS[kind], CONTAINERS[kind]
    locked = container["securityContext"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert locked["readOnlyRootFilesystem"] is True
    assert locked["allowPrivilegeEscalation"] is False
    assert locked["capabilities"] == {"drop": ["ALL"]}
    assert {m["name"] for m in container["volumeMounts"] if not m.get("readOnly")} == {"folder", "tmp"}


def test_the_service_is_found_and_probed() -> None:
    """The Service chooses its pods and port, and not the workers; readiness asks a route that there is."""
    labels = KINDS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    port = CONTAINERS["Deployment"]["ports"][0]
    probe = CONTAINERS["Deployment"]["readinessProbe"]["httpGet"]
    routes = {getattr(route, "path", "") for route in make_app(None).routes}  # type: ignore[arg-type]

    assert KINDS["Service"]["spec"]["selector"] == labels
    assert KINDS["Job"]["spec"]["template"]["metadata"]["labels"] != labels
    assert KINDS["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    assert parsed(CONTAINERS["Deployment"]["args"])["port"] == port["containerPort"]
    assert probe["path"] in routes


def test_kubernetes_takes_the_manifest() -> None:
    """Every field is one that Kubernetes' own schemas know, with a value of its kind."""
    schemas = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")

    assert len(KINDS) == 4
    for one in KINDS.values():
        schemas.validate(one, schemas.latest_version(), strict=True)
