"""`recert serve --models`: the guide's file as it stands, in a process of its own, and files that are refused."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import pytest

from certified_folders import Certified
from many_models import adapter_files
from recert.errors import InputError, StoreError
from recert.gateway.serving.aliases import Alias
from recert.policy import load_policy
from recert.workflows.deploy.models_file import AliasesOf, read_models
from vllm_program import make_vllm

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "serve.md"
(EXAMPLE,) = re.findall(r"```toml\n(\[defaults\].*?)```", GUIDE.read_text(), re.DOTALL)
POLICY = """
id = "p"
version = "1"
[evaluation]
families = []
min_harmful_suites = 1
contrast_suites = []
[[rules]]
id = "harm"
suite = "harmful"
estimand = "harm"
margin = 0.1
"""
KEYS = {name: f"0123456789abcdef-{name}" for name in (f"team-{number}" for number in range(40))}
ALIAS = Alias("assistant", "sql", "sql-next", 0.1)
TRIES = next(name for name in KEYS if ALIAS.leads_to_canary(name))
STAYS = next(name for name in KEYS if not ALIAS.leads_to_canary(name))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out what the guide's file names; its engine is the stand-in for vLLM."""
    site = tmp_path_factory.mktemp("site")
    (site / "policy.toml").write_text(POLICY)
    (site / "keys").mkdir()
    for name in ("sql", "sql-next"):
        made = Certified(
            site / "made" / name,
            name=name,
            tuned_files=adapter_files(name),
            policy=load_policy(site / "policy.toml"),
        )
        (site / name).mkdir()
        shutil.copy(made.certificate, site / name / "certificate.json")
        shutil.copy(made.status, site / name / "status.json")
        shutil.copytree(made.tuned, site / name / "adapter")
        shutil.copytree(made.base, site / "base", dirs_exist_ok=True)
        for key in made.trust.glob("*.pub"):
            shutil.copy(key, site / "keys" / f"{name}-{key.name}")
    engine = f'upstream = "vllm"\nprogram = "{make_vllm(site / "bin" / "vllm", site / "started.json")}"\n'
    (site / "models.toml").write_text(EXAMPLE.replace("[defaults]\n", f"[defaults]\n{engine}"))
    return site


@contextmanager
def serving(site: Path) -> Iterator[str]:
    """Run `recert serve --models`; give its URL."""
    command = ["serve", "--models", site / "models.toml", "--audit", site / "audit.jsonl", "--port", 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECERT_API_KEYS", ",".join(f"{name}:{key}" for name, key in KEYS.items()))
        process = subprocess.Popen(
            [sys.executable, "-m", "recert", *map(str, command)], stdout=subprocess.PIPE, text=True
        )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def answers(url: str, client: str, model: str = "assistant") -> str:
    """Return which model answers a client."""
    with openai.OpenAI(base_url=url + "/v1", api_key=KEYS[client], max_retries=0, timeout=20) as made:
        reply = made.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}])
    return reply.model


@pytest.mark.slow
def test_the_guides_file_serves_two_models_and_a_canary(site: Path) -> None:
    """Both by their names, a tenth of the clients by the canary; `recert rollback` leads all back."""
    with serving(site) as url:
        shares = [answers(url, client) for client in (TRIES, STAYS)]
        direct = [answers(url, STAYS, name) for name in ("sql", "sql-next")]
        done = subprocess.run(
            [sys.executable, "-m", "recert", "rollback", "assistant", "--state", str(site / "recert-state")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        after = answers(url, TRIES)
        said = httpx.get(url + "/status", headers={"authorization": f"Bearer {KEYS[STAYS]}"}).json()

    assert shares == ["sql-next", "sql"]
    assert direct == ["sql", "sql-next"]
    assert (done.returncode, done.stdout) == (0, "rolled back assistant\n")
    assert after == "sql"
    assert said["aliases"][0]["rolled_back"] is True
    assert {model["name"] for model in said["models"]} == {"sql", "sql-next"}


def test_the_aliases_of_the_guides_file_are_read(site: Path) -> None:
    """And read again once the file has changed."""
    aliases = AliasesOf(site / "models.toml")

    assert aliases() == [ALIAS]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (("policy =", "polcy ="), "models.sql.polcy"),
        (("canary_share", "canary_part"), "aliases.assistant.canary_part"),
        (("0.1", "1.5"), "aliases.assistant.canary_share"),
        (('stable = "sql"', ""), "aliases.assistant.stable"),
        (('model = "sql/adapter"', ""), "models.sql.model"),
        (("[models.sql]", "[model.sql]"), "model"),
    ],
)
def test_what_is_misspelt_is_refused(site: Path, tmp_path: Path, change: tuple[str, str], field: str) -> None:
    """A name that is not known would silently be the default: the error names it."""
    path = tmp_path / "models.toml"
    path.write_text((site / "models.toml").read_text().replace(*change))
    with pytest.raises(InputError) as caught:
        read_models(path)

    assert field in str(caught.value.facts["field"])


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """Missing, or no TOML."""
    (tmp_path / "bad.toml").write_text("[models")
    with pytest.raises(StoreError):
        AliasesOf(tmp_path / "none.toml")()
    with pytest.raises(InputError):
        read_models(tmp_path / "bad.toml")
