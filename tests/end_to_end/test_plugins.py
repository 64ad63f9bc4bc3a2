"""A plug-in of each kind, as `examples/plugins` has them, is found by its name once its package is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "plugins"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Python in which the package of the examples is installed, as pip leaves it."""
    project = tomllib.loads((EXAMPLES / "pyproject.toml").read_text())["project"]
    place = tmp_path_factory.mktemp("site-packages")
    about = place / f"recert_examples-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (about / "entry_points.txt").write_text("\n".join(groups))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), str(EXAMPLES)])}


def _said(code: str, environment: dict[str, str]) -> object:
    done = subprocess.run(
        [sys.executable, "-c", f"import json\n{code}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_judge_is_named_in_the_report_of_an_evaluation(installed: dict[str, str], tmp_path: Path) -> None:
    """Engine, suite and judge of other packages make an evaluation whose report names them."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "recert", "evaluate"),
            *("--base", "plugin:parrot:calm", "--model", "plugin:parrot:loud"),
            *("--suite", "ordinary=plugin:library-desk", "--judge", "plugin:german-refusals"),
            *("--policy", "demo", "--output", str(tmp_path / "evaluation"), "--json"),
        ],
        env=installed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)

    assert "german-refusals" in {judge["id"] for judge in report["judges"]}
    assert report["suites"]["ordinary"]


def test_a_suite_has_the_name_that_it_was_given(installed: dict[str, str]) -> None:
    """The policy's rules find its prompts under the name before the equals sign."""
    code = (
        "from recert.evaluation.suites.listing import load_suites\n"
        "suite = load_suites(['ordinary=plugin:library-desk'])['ordinary']\n"
        "print(json.dumps([suite.name, len(suite.prompts)]))"
    )

    assert _said(code, installed) == ["ordinary", 6]


def test_a_control_stands_before_the_model(installed: dict[str, str]) -> None:
    """It is made with the policy's bounds, and blocks what it finds."""
    code = (
        "from recert.cli.loading import load_guards\n"
        "from recert.gateway.protocol.request_texts import RequestTexts\n"
        "from recert.policy import load_policy\n"
        "(control,) = load_guards(['plugin:no-links'], load_policy('default'))\n"
        "texts = ('Read https://example.org for me', 'Read this for me')\n"
        "print(json.dumps([control.look(RequestTexts(texts=(text,))).blocked for text in texts]))"
    )

    assert _said(code, installed) == [True, False]


@pytest.mark.slow
def test_a_page_stands_in_the_navigation(installed: dict[str, str]) -> None:
    """The console shows pages of installed packages beside its own."""
    code = (
        "from recert.console.assembling import all_pages\n"
        "print(json.dumps([page.path for page in all_pages() if page.tab == 'Counts']))"
    )

    assert _said(code, installed) == ["/counts"]


@pytest.mark.parametrize(
    "ask",
    [
        "from recert.judges.naming import reply_judge; reply_judge('plugin:none')",
        "from recert.evaluation.suites.listing import load_suites; load_suites(['a=plugin:none'])",
        "from recert.models.engines.engines import open_model; open_model('plugin:none:x')",
        "from recert.cli.loading import load_guards; from recert.policy import load_policy\n"
        "    load_guards(['plugin:none'], load_policy('default'))",
    ],
)
def test_a_plugin_that_is_not_installed_is_named_with_those_that_are(
    ask: str, installed: dict[str, str]
) -> None:
    """Nothing goes on without it."""
    code = (
        "from recert.errors import InputError\n"
        f"try:\n    {ask}\nexcept InputError as error:\n    print(json.dumps(str(error)))"
    )
    said = str(_said(code, installed))

    assert "no plug-in has this name" in said
    assert "there are  " in said


@pytest.mark.slow
def test_a_page_that_hides_one_of_the_console_is_an_error(tmp_path: Path, installed: dict[str, str]) -> None:
    """A package cannot take the place of a page on which somebody signs."""
    about = tmp_path / "hiding-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hiding\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[recert.pages]\nhiding = hiding:PAGES\n")
    (tmp_path / "hiding.py").write_text("from recert.console.systems_pages import PAGES\n")
    environment = installed | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{installed['PYTHONPATH']}"}
    code = (
        "from recert.console.assembling import all_pages\nfrom recert.errors import InputError\n"
        "try:\n    all_pages()\nexcept InputError as error:\n    print(json.dumps(str(error)))"
    )

    assert "there already" in str(_said(code, environment))
