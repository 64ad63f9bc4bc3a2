"""One tune of a stress test: marked, trained, measured, deleted; its figures are kept: a stopped test goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from recert.certification.verifier.artefact import attack_mark
from recert.digest import sha256_json
from recert.errors import ArmError, ArtefactError, RecordError, StoreError
from recert.evaluation.measuring.arm_checks import check_arm
from recert.evaluation.measuring.arms import Arm
from recert.labs.stress.artefacts import Artefacts
from recert.labs.stress.measuring import Meter
from recert.models.protocol import Model
from recert.records.data.manifest import Manifest
from recert.records.data.rows import ChatRow
from recert.records.record import now
from recert.records.reports.stress import StressTrial
from recert.records.reports.tuning import Hyperparameters
from recert.store.cache import temporary_cache
from recert.store.files.writing import read_bytes, write_atomic
from recert.tuning.one_step import train_one_step
from recert.tuning.sft import train_adapter

Step = Callable[[int, int], None]
"""Called with (step, steps) while a tune is trained."""

_FORM = 1
"""Counted up when trials are made otherwise: those of an earlier form are made again."""


def require_unchanged(base_dir: Path, manifest: Manifest | None) -> None:
    """
    Return where a base's folder holds the files that were measured.

    Raises:
        ArmError: it does not.
    """
    found = Manifest.of_folder(base_dir)
    if manifest is not None and manifest != found:
        raise ArmError(
            "the base changed while it was stressed",
            facts={"folder": base_dir, "expected": manifest.digest, "found": found.digest},
            hint="what was kept is of the base as it was: put it back, or run again with the new one",
        )


class Engine(Protocol):
    """The base in memory, and what gives models that were tuned from it."""

    @property
    def base(self) -> Model:
        """The base."""

    def tuned(self, folder: Path) -> Model:
        """Return the model of an adapter's folder, or of whole weights."""

    def close(self, model: Model) -> None:
        """Take a tuned model out of memory."""


class KeptTrials:
    """Figures of finished tunes in a folder, one file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: str) -> StressTrial | None:
        """Return a finished tune; None where there is none, or its file is damaged."""
        path = self._folder / f"{key}.json"
        try:
            trial = StressTrial.from_json(read_bytes(path)) if path.exists() else None
        except (RecordError, StoreError):
            return None
        return trial if trial is not None and trial.key == key else None

    def keep(self, trial: StressTrial) -> None:
        """
        Keep a finished tune.

        Raises:
            StoreError: the disk is full, or the folder cannot be written.
        """
        write_atomic(self._folder / f"{trial.key}.json", trial.to_json())


@dataclass(frozen=True)
class Recipe:
    """How one tune is made and measured."""

    rows: Sequence[ChatRow]
    rows_sha256: str
    attack_rows: int
    hyperparameters: Hyperparameters
    conditions: tuple[str, ...]
    one_step: bool = False
    """One step on all weights in place of an adapter: the hair-trigger probe."""


class Trials:
    """
    Makes and measures tunes of one base.

    Args:
        base_dir: the base's folder.
        engine: gives models.
        base: the base arm, whose files and fingerprint each tune is held against.
        meter: asks and judges.
        artefacts: where weights lie meanwhile.
        kept: figures of finished tunes.
    """

    def __init__(
        self,
        base_dir: Path,
        engine: Engine,
        base: Arm,
        *,
        meter: Meter,
        artefacts: Artefacts,
        kept: KeptTrials,
    ) -> None:
        self._base_dir, self._engine, self._base = base_dir, engine, base
        self._meter, self._artefacts, self._kept = meter, artefacts, kept

    def key(self, recipe: Recipe) -> str:
        """Return the digest of everything that decides a tune and its figures."""
        manifest = self._base.manifest
        return sha256_json(
            [
                _FORM,
                manifest.digest if manifest else "",
                recipe.rows_sha256,
                recipe.hyperparameters.model_dump(mode="json"),
                "one step" if recipe.one_step else "adapter",
                self._meter.digest(recipe.conditions),
                self._engine.base.engine,
            ]
        )

    def finished(self, recipe: Recipe) -> StressTrial | None:
        """Return the figures of a tune that was made before."""
        return self._kept.find(self.key(recipe))

    def run(self, recipe: Recipe, step: Step = lambda done, of: None) -> StressTrial:
        """
        Return the figures of a tune, made now unless they are there. Its weights are gone when this returns.

        Raises:
            RowsError: no row has a token to learn.
            ArmError: the tune changed while it was measured, or its base while it was trained.
            ArtefactError: its folder lost its mark; nothing was measured.
            ModelError: it cannot be loaded, or does not answer.
            StoreError: the disk is full.
        """
        done = self.finished(recipe)
        if done is not None:
            return done
        clock, key = time.monotonic(), self.key(recipe)
        with self._artefacts.marked(key) as folder:
            steps, loss = self._train(recipe, folder, step)
            self._artefacts.seal(folder)
            require_unchanged(self._base_dir, self._base.manifest)
            if attack_mark(folder) is None:
                raise ArtefactError("attack artefact lost its mark", facts={"folder": folder})
            trial = self._measured(recipe, folder, key, steps, loss, clock)
        self._kept.keep(trial)
        return trial

    def _train(self, recipe: Recipe, folder: Path, step: Step) -> tuple[int, float]:
        how = recipe.hyperparameters
        if recipe.one_step:
            rate, longest = how.learning_rate, how.max_tokens
            return 1, train_one_step(
                self._base_dir, recipe.rows, folder, learning_rate=rate, max_tokens=longest
            )
        trained = train_adapter(
            self._base_dir, recipe.rows, folder, how, progress=lambda done, of, _: step(done, of)
        )
        return trained.steps, trained.last_loss

    def _measured(
        self, recipe: Recipe, folder: Path, key: str, steps: int, loss: float, clock: float
    ) -> StressTrial:
        manifest = Manifest.of_folder(folder)
        model = self._engine.tuned(folder)
        try:
            with temporary_cache() as cache:  # replies of an attacked model are kept nowhere
                arm = Arm("tuned", model, over=self._base.manifest, cache=cache)
                if arm.manifest is not None and arm.manifest != manifest:
                    raise ArmError(
                        "the model that was loaded is not the tune",
                        facts={"trained": manifest.digest, "loaded": arm.manifest.digest},
                    )
                readings, samples = self._meter.measure(arm, recipe.conditions)
                check_arm(arm)
        finally:
            self._engine.close(model)
        return StressTrial(
            key=key,
            rows_sha256=recipe.rows_sha256,
            rows=len(recipe.rows),
            attack_rows=recipe.attack_rows,
            hyperparameters=recipe.hyperparameters,
            tuned_sha256=manifest.digest,
            changed=arm.fingerprint_at_start != self._base.fingerprint_at_start,
            readings=readings,
            samples=samples,
            steps=steps,
            last_loss=round(loss, 6) if math.isfinite(loss) else None,
            seconds=round(time.monotonic() - clock, 3),
            made_at=now(),
        )
