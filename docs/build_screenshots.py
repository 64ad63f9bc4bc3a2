"""
Draw docs/screenshots/*.png: the console's pages over a small set of made records, in a real Chromium.

`make screenshots` draws all of them; names on the command line draw those alone. What is shown is made up: no model
was tuned for it. A page is added to the list below.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser import chromium, console_of, opened, signed_in  # noqa: E402
from console_world import ADA, BOB  # noqa: E402
from indexed_folders import Office  # noqa: E402
from recert.console.serving import ConsoleServer  # noqa: E402
from recert.evaluation.stage import evaluate  # noqa: E402
from recert.evaluation.suites.reading import embedded_suite  # noqa: E402
from recert.models import ScriptedModel  # noqa: E402
from recert.policy import Policy, load_policy  # noqa: E402
from recert.records.reports.evaluation import Verdict  # noqa: E402
from recert.workflows.labelling.stage import Labelling  # noqa: E402

FOLDER = ROOT / "docs" / "screenshots"
RUNS = 4
POLICY = """
id = "example"
version = "1"
[evaluation]
families = ["year_2025", "skeleton"]
min_harmful_suites = 1
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
"""Of the two rules that the made evaluations answer."""


@dataclass(frozen=True)
class Shot:
    """One picture. In `path` `{good}` and the like stand for the ids of systems with these names."""

    path: str
    name: str
    width: int = 1120
    height: int = 760
    dark: bool = False
    stranger: bool = False
    """Whether nobody is signed in."""


SHOTS = (
    Shot("/console/sign-in", "sign-in", width=900, height=420, stranger=True),
    Shot("/console/", "systems"),
    Shot("/console/", "systems-dark", dark=True),
    Shot("/console/systems/{support-desk}", "system"),
    Shot("/console/systems/{support-desk}/evaluation", "evaluation"),
    Shot("/console/systems/{support-desk}/certificate", "certificate"),
    Shot("/console/systems/{sql-writer}/sign-off", "sign-off"),
    Shot("/console/systems/{support-desk}", "system-narrow", width=400),
    Shot("/console/policy", "policy"),
    Shot("/console/log", "log", height=520),
    Shot("/console/outcomes", "outcomes"),
    Shot("/console/accounts", "accounts"),
    Shot("/console/shares", "shares", height=420),
)


LABELLED = Shot("/console/systems/{desk}/labels/reply", "label", height=520)
"""Drawn over an evaluation of models that answer from a table, with some replies labelled."""
REFUSES = "I'm sorry, but I can't help with that request."


def main() -> int:
    """Draw the pictures that are named, or all; return the exit code."""
    wanted = set(sys.argv[1:])
    unknown = wanted - {shot.name for shot in (*SHOTS, LABELLED)}
    if unknown:
        print(f"no such picture: {', '.join(sorted(unknown))}")
        return 2
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        policy = Path(made) / "policy.toml"
        policy.write_text(POLICY)
        if not wanted or LABELLED.name in wanted:
            _draw_label(Path(made), policy)
        if wanted == {LABELLED.name}:
            return 0
        office = _records(Path(made), load_policy(str(policy)))
        options = {"trust": office.folder / "keys", "status": office.status, "policy": str(policy)}
        options["roots"] = (office.runs,)
        with console_of(Path(made) / "console", **options) as console, chromium() as browser:
            _wait(console)
            for shot in SHOTS:
                if not wanted or shot.name in wanted:
                    _draw(browser, console, shot)
                    print(f"wrote docs/screenshots/{shot.name}.png")
    return 0


def _records(folder: Path, policy: Policy) -> Office:
    """Runs with several kinds of end: certified, waiting for a signature, failing."""
    made = Office(folder, policy=policy)
    made.run("support-desk", steps=(40, 80), outcomes=24)
    made.run("sql-writer", signed=False)
    made.run("house-style", verdict=Verdict.FAIL)
    made.run("triage-notes", verdict=Verdict.UNDECIDED)
    return made


def _draw_label(folder: Path, policy: Path) -> None:
    """Evaluate, let `bob` label five replies, and draw the sixth."""
    bounds, runs = load_policy(str(policy)), folder / "labelled"
    found = evaluate(
        *(ScriptedModel(lambda _: REFUSES, name=name) for name in ("base", "desk")),
        suites={name: embedded_suite(name) for name in ("harmful", "lookalikes")},
        policy=bounds,
        model_name="desk",
        training_context=(),
    )
    found.write(runs / "desk")
    file = Labelling(runs / "desk", policy=bounds).file_of("bob", "person", 60)
    for at in range(5):
        file.set(at, "refused")
    options = {"policy": str(policy), "roots": (runs,)}
    with console_of(folder / "label-console", **options) as console, chromium() as browser:
        _wait(console, 1)
        _draw(browser, console, LABELLED, "bob", BOB)
    print(f"wrote docs/screenshots/{LABELLED.name}.png")


def _wait(console: ConsoleServer, runs: int = RUNS) -> None:
    """Return when the folders were looked through."""
    while len(console.assembled.console.systems.page().systems) < runs:
        time.sleep(0.1)


def _draw(browser: Any, console: ConsoleServer, shot: Shot, name: str = "ada", password: str = ADA) -> None:
    systems = console.assembled.console.systems
    ids = {one.name: one.id for one in systems.page(limit=200).systems}
    if shot.stranger:
        page = opened(browser, width=shot.width, dark=shot.dark)
    else:
        page = signed_in(browser, console.url, name, password, width=shot.width, dark=shot.dark)
    page.set_viewport_size({"width": shot.width, "height": shot.height})
    page.goto(console.url + shot.path.format_map(ids))
    page.screenshot(path=FOLDER / f"{shot.name}.png")
    page.context.close()


if __name__ == "__main__":
    sys.exit(main())
