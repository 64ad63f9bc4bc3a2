"""What lies in `deploy/`: parsed, and compared with the commands, settings and routes that there are."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

import vllm_server_stand_in
from certified_folders import Certified
from recert.cli.app import app
from recert.workflows.deploy.models_file import upstream_of

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SOURCE = "\n".join(p.read_text() for p in (ROOT / "src" / "recert").rglob("*.py"))
GATEWAY = "\n".join(p.read_text() for p in (ROOT / "src" / "recert" / "gateway").rglob("*.py"))
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
UNIT = DEPLOY / "systemd" / "recert.service"
WATCH_UNIT = DEPLOY / "systemd" / "recert-watch.service"


def _documents() -> list[dict[str, Any]]:
    return [one for path in KUBERNETES for one in yaml.safe_load_all(path.read_text())]


def _kind(kind: str) -> dict[str, Any]:
    (found,) = [one for one in _documents() if one["kind"] == kind]
    return found


POD = _kind("StatefulSet")["spec"]["template"]["spec"]
CONTAINERS = {one["name"]: one for one in [*POD["initContainers"], *POD["containers"]]}
JOB = _kind("CronJob")["spec"]
WATCH_POD = JOB["jobTemplate"]["spec"]["template"]["spec"]
(WATCHER,) = WATCH_POD["containers"]


def _unit(path: Path = UNIT) -> configparser.SectionProxy:
    text = path.read_text().replace("\\\n", " ")
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser["Service"]


def _storage() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "kserve" / "storage-container.yaml").read_text())
    return found


def _commands() -> Iterator[tuple[str, list[str]]]:
    """Every command line of `recert` under deploy/, with where it stands."""
    for name, container in CONTAINERS.items():
        if "/recert:" in container["image"] and "command" not in container:
            yield name, container["args"]
    yield "watch", WATCHER["args"]
    yield "systemd", shlex.split(_unit()["ExecStart"])[1:]
    yield "systemd watch", shlex.split(_unit(WATCH_UNIT)["ExecStart"])[1:]
    script = _storage()["spec"]["container"]["command"][2]
    yield "kserve", [*shlex.split(script.split("recert ")[1])[:-1], "s3://bucket/model", "/mnt/models"]


def _parsed(arguments: list[str]) -> dict[str, Any]:
    command = typer.main.get_command(app).commands[arguments[0]]  # type: ignore[attr-defined]
    with command.make_context(arguments[0], list(arguments[1:])) as context:
        found: dict[str, Any] = context.params
        return found


@pytest.mark.parametrize(("where", "arguments"), list(_commands()))
def test_every_command_line_is_one(where: str, arguments: list[str]) -> None:
    """Each command and option in the manifests, the unit and the storage container is one that `recert` takes."""
    try:
        _parsed(arguments)
    except click.ClickException as exc:
        pytest.fail(f"{where}: {exc.format_message()}")


def test_every_setting_is_one() -> None:
    """Each variable `RECERT_…` that is set anywhere is read by the source."""
    named = {
        name
        for path in DEPLOY.rglob("*")
        if path.is_file()
        for name in re.findall(r"\bRECERT_[A-Z_]+\b", path.read_text())
    }

    assert named
    assert {name for name in named if f'"{name}"' not in SOURCE} == set()


def test_what_is_mounted_is_what_is_named() -> None:
    """Every path on a command line lies in a volume that its container mounts, and every mount is of a volume."""
    volumes = {one["name"] for one in [*POD["volumes"], *WATCH_POD["volumes"]]} | {"audit"}
    for name, container in {**CONTAINERS, "watch": WATCHER}.items():
        mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
        words = [*container.get("command", ()), *container.get("args", ())]
        paths = {path for word in words for path in re.findall(r"(?<![\w:/])/[\w./-]+", word)}

        assert set(mounts.values()) <= volumes
        assert [p for p in paths if not any(p == m or p.startswith(f"{m}/") for m in mounts)] == [], name


def test_files_of_the_volumes_are_those_that_are_read() -> None:
    """Each file of certificate, trust and secrets that is named is one that the kustomization puts there."""
    kustomization = _kind("Kustomization")
    made = {
        one["name"]: {entry.partition("=")[0] for entry in one.get("files", ())}
        for one in [*kustomization["configMapGenerator"], *kustomization["secretGenerator"]]
    }
    words = " ".join(str(c.get("args", "")) + str(c.get("command", "")) for c in CONTAINERS.values())
    certificate = set(re.findall(r"/certificate/([\w.]+)", words))

    assert certificate <= made["recert-certificate"]
    assert "status.json" in made["recert-certificate"]
    assert all(name.endswith(".pub") for name in made["recert-trust"])
    assert made["recert-secrets"] == {"probes.json"}
    assert {r for r in kustomization["resources"] if not (DEPLOY / "kubernetes" / r).exists()} == set()


def test_nothing_runs_as_root_or_writes_its_image() -> None:
    """Every container is locked: no root, no capability, no new privilege, and a root file system to read only."""
    for pod in (POD, WATCH_POD):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
    for container in [*CONTAINERS.values(), WATCHER]:
        locked = container["securityContext"]
        assert locked["readOnlyRootFilesystem"] is True
        assert locked["allowPrivilegeEscalation"] is False
        assert locked["capabilities"] == {"drop": ["ALL"]}
    writable = {m["name"] for m in CONTAINERS["gateway"]["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"audit", "tmp"}


def test_files_are_certified_before_anything_starts_on_them() -> None:
    """The model server reads copies that the init container made, cannot write them, and is held by the plugin too."""
    attest = _parsed(CONTAINERS["attest"]["args"])
    model = CONTAINERS["model"]
    mounts = {m["mountPath"]: m for m in model["volumeMounts"]}
    settings = {one["name"]: one["value"] for one in model["env"]}

    assert "attest" in [one["name"] for one in POD["initContainers"]]
    assert str(attest["output"]) == "/models"
    assert mounts["/models"]["readOnly"] is True
    assert "/source" not in mounts
    assert {"RECERT_CERTIFICATE", "RECERT_TRUST"} <= set(settings)
    assert not {"RECERT_ATTEST", "RECERT_UNSAFE_ALLOW", "VLLM_PLUGINS"} & set(settings)


@pytest.mark.slow
def test_the_model_server_starts_with_these_arguments(tmp_path: Path) -> None:
    """The plugin accepts vLLM's command line of the manifest (on the stand-in), and serves base and adapter."""
    adapter = Certified(tmp_path, name="support")
    point = "recert = recert.interop.attestation.vllm_plugin:register"
    site = vllm_server_stand_in.write(tmp_path / "site", point)
    places = {"/models/base": str(adapter.base), "/models/tuned": str(adapter.tuned)}
    arguments = [
        re.sub("|".join(places), lambda found: places[found[0]], word) for word in CONTAINERS["model"]["args"]
    ]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("RECERT_", "VLLM_"))}

    done = subprocess.run(
        [sys.executable, "-m", "vllm", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**clean, **adapter.environment, "PYTHONPATH": f"{site}{os.pathsep}{ROOT / 'src'}"},
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert f"reads adapter {adapter.tuned}" in done.stdout


def test_the_model_server_is_reached_through_the_gateway_alone() -> None:
    """It listens on the loopback address, where the gateway asks it; the policy opens the gateway's port alone."""
    words = CONTAINERS["model"]["args"]
    port = next(word.partition("=")[2] for word in words if word.startswith("--port="))
    served = _parsed(CONTAINERS["gateway"]["args"])
    clients, counting = _kind("NetworkPolicy")["spec"]["ingress"]
    upstream = upstream_of(
        served["upstream"], (), "", "", fingerprint=served["fingerprint"], probes=served["probes"]
    )

    assert "--host=127.0.0.1" in words
    assert upstream.url == f"http://127.0.0.1:{port}"  # type: ignore[union-attr]
    assert "ports" not in CONTAINERS["model"]
    assert clients["ports"] == [{"protocol": "TCP", "port": served["port"]}]
    assert counting["ports"] == [{"protocol": "TCP", "port": int(served["metrics"].rpartition(":")[2])}]
    assert clients["from"] != counting["from"]
    assert _kind("NetworkPolicy")["spec"]["egress"] == []
    assert set(_kind("NetworkPolicy")["spec"]["policyTypes"]) == {"Ingress", "Egress"}


def test_selectors_choose_the_pods() -> None:
    """Service, network policy and disruption budget mean the pods of the set, and its replicas outnumber the budget."""
    labels = _kind("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    budget = _kind("PodDisruptionBudget")["spec"]

    assert labels == _kind("StatefulSet")["spec"]["selector"]["matchLabels"]
    assert labels == _kind("Service")["spec"]["selector"]
    assert labels == _kind("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    assert labels == budget["selector"]["matchLabels"]
    assert budget["minAvailable"] < _kind("StatefulSet")["spec"]["replicas"]


def test_what_is_counted_is_scraped_where_it_is() -> None:
    """The annotations name the port that the gateway opens for it and its route."""
    said = _kind("StatefulSet")["spec"]["template"]["metadata"]["annotations"]
    served = _parsed(CONTAINERS["gateway"]["args"])

    assert said["prometheus.io/scrape"] == "true"
    assert served["metrics"] == f"0.0.0.0:{said['prometheus.io/port']}"
    assert f'"{said["prometheus.io/path"]}"' in GATEWAY


def test_probes_ask_routes_that_there_are() -> None:
    """Readiness asks a route of the gateway; a certificate that ended does not start the pod again."""
    gateway = CONTAINERS["gateway"]

    assert f'"{gateway["readinessProbe"]["httpGet"]["path"]}"' in GATEWAY
    assert "httpGet" not in gateway["livenessProbe"]


@pytest.mark.slow
def test_kubernetes_takes_the_manifests() -> None:
    """Every field of every manifest is one that Kubernetes' own schemas know, with a value of its kind."""
    schemas = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    known = [one for one in _documents() if "k8s.io/v1beta1" not in one["apiVersion"]]

    assert len(known) == 6
    for one in known:
        schemas.validate(one, schemas.latest_version(), strict=True)


@pytest.mark.parametrize("name", ["Containerfile", "Containerfile.vllm", "Containerfile.service"])
def test_a_container_file_copies_what_there_is(name: str) -> None:
    """Each line is an instruction, what is copied from the context exists, and the command answers."""
    text = (DEPLOY / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    known = set("FROM WORKDIR COPY RUN ENV USER VOLUME EXPOSE HEALTHCHECK ENTRYPOINT CMD".split())  # noqa: SIM905
    copied = [
        source
        for line in lines
        if line.startswith("COPY") and "--from" not in line
        for source in line.split()[1:-1]
    ]

    assert {line.split()[0] for line in lines} <= known
    assert copied and [source for source in copied if not (ROOT / source).exists()] == []
    assert all(not line.endswith(":latest") for line in lines if line.startswith("FROM"))


def test_the_image_runs_as_nobody_in_particular() -> None:
    """The core's image has no root, one volume, a health check of the gateway's own route and port, and `recert`."""
    text = (DEPLOY / "Containerfile").read_text()
    healthy = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", text)

    assert "\nUSER 10001:10001\n" in text
    assert text.count("\nVOLUME ") == 1
    assert '\nENTRYPOINT ["recert"]\n' in text
    assert healthy and f"\nEXPOSE {healthy[1]}\n" in text
    assert healthy[2] == CONTAINERS["gateway"]["readinessProbe"]["httpGet"]["path"]
    assert not re.search(r"pip install[^\n]*\[", text)


def test_the_storage_container_is_kserves() -> None:
    """It has the name that KServe knows, hands on the words that KServe appends, and fetches the status list."""
    container = _storage()["spec"]["container"]
    settings = {one["name"]: one["value"] for one in container["env"]}

    assert container["name"] == "storage-initializer"
    assert container["command"][2].endswith('exec recert attest-storage "$@"')
    assert len(container["command"]) == 4
    assert settings["RECERT_STATUS"].startswith("/tmp/status/")


def test_the_unit_keeps_its_folders_and_gives_up_the_rest() -> None:
    """What the gateway writes lies in the unit's state folder; all else is read-only, and no privilege is left."""
    unit = _unit()
    served = _parsed(shlex.split(unit["ExecStart"])[1:])

    assert unit["StateDirectory"] == "recert"
    assert {str(served[name]).startswith("/var/lib/recert/") for name in ("audit", "state")} == {True}
    assert str(served["model"]).startswith("/srv/models/")
    assert unit["RestartPreventExitStatus"] == "1"
    assert unit["CapabilityBoundingSet"] == ""
    assert unit["ProtectSystem"] == "strict"


def test_the_watcher_asks_the_gateway_once_at_a_time_and_never_again_until_it_pleases() -> None:
    """It asks the service by its name, is let in, keeps its history on a volume, and a failed run is not repeated."""
    watched = _parsed(WATCHER["args"])
    label = JOB["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    clients = _kind("NetworkPolicy")["spec"]["ingress"][0]["from"]
    mounts = {m["mountPath"]: m for m in WATCHER["volumeMounts"]}
    claims = {
        v["name"]: v["persistentVolumeClaim"]["claimName"]
        for v in WATCH_POD["volumes"]
        if "persistentVolumeClaim" in v
    }

    assert watched["url"] == f"http://{_kind('Service')['metadata']['name']}/v1"
    assert {"podSelector": {"matchLabels": label}} in clients
    assert label != _kind("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert (JOB["concurrencyPolicy"], JOB["jobTemplate"]["spec"]["backoffLimit"]) == ("Forbid", 0)
    assert WATCH_POD["restartPolicy"] == "Never"
    assert (
        claims[mounts[str(watched["history"].parent)]["name"]]
        == _kind("PersistentVolumeClaim")["metadata"]["name"]
    )
    assert watched["begin_history"] is False


def test_the_watch_unit_stops_the_gateway_that_runs_beside_it() -> None:
    """It has the gateway's address, user and state folder, and is no less locked than the gateway."""
    unit, gateway = _unit(WATCH_UNIT), _unit()
    watched, served = (_parsed(shlex.split(one["ExecStart"])[1:]) for one in (unit, gateway))
    locked = {
        name for name in gateway if name.startswith(("Protect", "Private", "Restrict", "Capability", "NoNew"))
    }
    timer = (DEPLOY / "systemd" / "recert-watch.timer").read_text()

    assert watched["url"] == f"http://{served['host']}:{served['port']}/v1"
    assert watched["stop_state"] == served["state"]
    assert (unit["User"], unit["StateDirectory"]) == (gateway["User"], gateway["StateDirectory"])
    assert {name: unit.get(name) for name in locked - {"RestartPreventExitStatus"}} == {
        name: gateway[name] for name in locked - {"RestartPreventExitStatus"}
    }
    assert "\nOnCalendar=hourly\n" in timer and "\nRandomizedDelaySec=" in timer
    assert "Restart" not in unit


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not on this machine")
@pytest.mark.parametrize("path", [UNIT, WATCH_UNIT], ids=["gateway", "watch"])
def test_systemd_takes_the_unit(path: Path) -> None:
    """`systemd-analyze verify` misses nothing but the program itself; the exposure level is at most 1.5."""
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False
    )
    said = [
        line
        for line in verified.stderr.splitlines()
        if "/opt/recert/bin/recert is not executable" not in line
    ]
    secure = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=15", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert said == []
    assert secure.returncode == 0, secure.stdout[-200:]
