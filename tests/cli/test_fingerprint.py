"""`recert fingerprint` and a server elsewhere in a models file, from files to answers."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from certified_folders import Certified
from certified_tiny import certify_tiny
from gateways import ask, client
from model_server import ModelServer, Weights
from recert.cli.app import app
from recert.errors import InputError
from recert.policy import load_policy
from recert.store.audit.log import AuditLog
from recert.workflows.deploy.models_file import read_models, upstream_of
from recert.workflows.deploy.stage import deploy_models

POLICY = """
id = "fingerprint-test"
version = "1"
[evaluation]
families = ["year_2025", "skeleton"]
min_harmful_suites = 1
[gateway]
max_new_tokens = 8
[[rules]]
id = "harm"
suite = "harmful"
estimand = "harm"
conditions = ["plain", "family:*"]
margin = 0.1
[[rules]]
id = "over-refusal"
suite = "lookalikes"
estimand = "over_refusal"
margin = 0.1
"""
MODELS = """
[models.test-model]
certificate = "certificate.json"
model = "tuned"
base = "base"
trust = "keys"
policy = "../policy.toml"
upstream = "fingerprint={url}/v1#elsewhere"
fingerprint = "fingerprint.json"
probes = "probes.json"
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """A certified adapter that really runs, under a policy in a file."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "policy.toml").write_text(POLICY)
    return certify_tiny(folder, load_policy(folder / "policy.toml"))


def _arguments(tiny: Certified, *more: str) -> list[str]:
    given = {
        "--model": tiny.tuned,
        "--base": tiny.base,
        "--trust": tiny.trust,
        "--policy": tiny.folder.parent / "policy.toml",
        "--key": tiny.trust / "evaluator.pem",
        "--output": tiny.folder / "fingerprint.json",
        "--probes": tiny.folder / "probes.json",
        "--count": 60,
    }
    return ["fingerprint", str(tiny.certificate), *(str(x) for pair in given.items() for x in pair), *more]


@pytest.mark.slow
def test_from_the_command_to_a_served_model(tiny: Certified, tmp_path: Path) -> None:
    """The command writes both files and says how sure it is; a models file with them serves the server elsewhere."""
    other = str(tiny.folder.parent / "other")
    done = CliRunner().invoke(app, _arguments(tiny, "--other", other, "--json"))
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)

    server = ModelServer(Weights(tiny.base, tiny.tuned))
    with server.running() as url, AuditLog(tmp_path / "audit.jsonl") as audit:
        models = tiny.folder / "models.toml"
        models.write_text(MODELS.format(url=url))
        with (
            deploy_models(read_models(models), audit=audit, state=tmp_path / "state") as gateway,
            client(gateway) as asking,
        ):
            reply = ask(asking)
            state = httpx.get(f"{gateway.url}/status").json()

    assert [one["name"] for one in said["others"]] == ["base", "other"]
    assert said["miss"] <= 1e-3
    assert (tiny.folder / "probes.json").stat().st_mode & 0o777 == 0o600
    assert reply.choices[0].message.content
    assert state["fingerprint"]["asked"] == said["asked"]
    assert {body["model"] for body in server.asked} == {"elsewhere"}


def test_no_fingerprint_is_a_no(tiny: Certified, tmp_path: Path) -> None:
    """Too few probes for the policy's bounds: exit 1, the counts, and no files."""
    arguments = _arguments(
        tiny, "--count", "12", "--output", str(tmp_path / "f"), "--probes", str(tmp_path / "p")
    )

    done = CliRunner().invoke(app, arguments)

    assert done.exit_code == 1
    assert "do not tell the model apart" in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("upstream", "more"),
    [
        ("embedded", {"fingerprint": Path("f"), "probes": Path("p")}),
        ("fingerprint=http://a", {"fingerprint": Path("f")}),
        ("fingerprint=", {"fingerprint": Path("f"), "probes": Path("p")}),
    ],
)
def test_a_fingerprint_goes_with_a_server_elsewhere_alone(upstream: str, more: dict[str, Path]) -> None:
    """A fingerprint beside an engine of ours, or a server elsewhere without all it needs: an error with a hint."""
    with pytest.raises(InputError) as refused:
        upstream_of(upstream, (), "", "", **more)

    assert refused.value.hint


def test_a_server_elsewhere_is_not_also_declared() -> None:
    """A server that is only declared cannot lend itself a fingerprint."""
    with pytest.raises(InputError):
        upstream_of("fingerprint=http://a", (), "", "http://b", fingerprint=Path("f"), probes=Path("p"))
