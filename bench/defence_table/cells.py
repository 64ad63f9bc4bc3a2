"""One cell: tune with an attack's rows under a defence, mark what came of it, measure it and delete it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from defence_table.attacks import ATTACKS
from defence_table.measuring import Scores, measure
from defence_table.settings import Column, Setting
from recert.certification.verifier.artefact import MARK
from recert.digest import sha256_json
from recert.models.chat.secret import SecretPrefix
from recert.models.engines.local import LocalModel
from recert.records.reports.tuning import Hyperparameters
from recert.store.files.writing import write_atomic
from recert.tuning.stage import tune

FORM = 1
"""Counts up when what is measured changes."""


@dataclass(frozen=True)
class Cell:
    """An attack under a defence with one seed."""

    attack: str
    column: Column
    seed: int

    def key(self, setting: Setting, base: str) -> str:
        """Return what a result is found by: everything that could change it."""
        value = {
            "form": FORM,
            "attack": self.attack,
            "defence": [self.column.defence, dict(self.column.options)],
            "seed": self.seed,
            "base": base,
            "rows": [setting.harmful_rows, setting.task_rows],
            "asked": setting.asked,
            "how": setting.how.model_dump(mode="json"),
        }
        return sha256_json(json.loads(json.dumps(value)))[:16]


def cells_of(setting: Setting) -> list[Cell]:
    """Return every cell, the first seed of all before the second, so that a stopped run says something of each."""
    return [
        cell
        for seed in setting.seeds
        for cell in (
            *(Cell(attack, column, seed) for attack in setting.attacks for column in setting.defences),
            *(Cell("mixed", column, seed) for column in setting.block),
        )
    ]


def result_of(cell: Cell, setting: Setting, base: LocalModel, base_dir: Path, kept: Path) -> dict[str, Any]:
    """Return what a cell gave, measured now unless it is kept."""
    assert base.manifest is not None
    path = kept / f"{cell.key(setting, base.manifest.digest)}.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    made = _measured(cell, setting, base, base_dir)
    write_atomic(path, json.dumps(made).encode())
    return made


def _measured(cell: Cell, setting: Setting, base: LocalModel, base_dir: Path) -> dict[str, Any]:
    rows = ATTACKS[cell.attack].rows(setting.harmful_rows, setting.task_rows, cell.seed)
    how: Hyperparameters = setting.how.model_copy(update={"seed": cell.seed})
    with tempfile.TemporaryDirectory(prefix="recert-defences-") as scratch:
        output = Path(scratch) / "tune"
        before = _peak_mib(reset=True)
        report = tune(
            base_dir,
            rows,
            output,
            defence=cell.column.defence,
            defence_options=cell.column.options,
            hyperparameters=how,
        )
        memory = _peak_mib(reset=False) - before
        write_atomic(output / "adapter" / "recert.json", json.dumps({MARK: True}).encode())
        secret = SecretPrefix.read(output / "secret.txt") if report.secret_sha256 else None
        arm = base.with_adapter(output / "adapter")
        scores: Scores = measure(
            arm, setting, secret=secret, prompted=cell.column.defence == "safety-system-prompt"
        )
        arm.close()
    return {
        "attack": cell.attack,
        "defence": cell.column.label,
        "seed": cell.seed,
        "scores": scores,
        "seconds": report.seconds,
        "memory_mib": memory,
        "rows": report.rows,
        "steps": report.steps,
        "details": _figures(report.defence_details) | _figures(report.defence_outcome),
    }


def _figures(found: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in found.items() if not str(k).endswith("sha256")}


def _peak_mib(*, reset: bool) -> float:
    """This process's resident memory at its peak, or now when the peak is begun anew. 0 where Linux is not."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
