"""
`stress`: how much safety does a base lose to tuning, and at which dose?

The steps in order: draw what is asked and the rows that are trained on, apart from each other; measure the base; train,
measure and delete one tune for each dose, and one of a single harmless step; look at the base again; sum up. Every tune
is marked as an attack artefact before it has weights, and `certify`, `verify` and `serve` refuse it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from recert.errors import MissingExtraError
from recert.evaluation.scoring import Judges
from recert.labs.stress.artefacts import locked, require_folder
from recert.labs.stress.families import stress_families
from recert.labs.stress.measuring import NEEDED, Asked
from recert.labs.stress.plan import require_enough
from recert.labs.stress.pools import Nearness, apart_from, by_encoder, make_pools
from recert.labs.stress.run import StressPlan, StressRun
from recert.labs.stress.trials import Engine
from recert.models.folders import is_adapter
from recert.models.protocol import Model
from recert.progress import Progress, Silent
from recert.records.data.suite import Suite
from recert.records.reports.stress import REPORT_FILE, StressReport
from recert.store.cache import GenerationCache, temporary_cache

if TYPE_CHECKING:
    from recert.models.engines.local import LocalModel

__all__ = ["REPORT_FILE", "LocalEngine", "StressPlan", "stress"]


def stress(
    plan: StressPlan,
    *,
    suites: Mapping[str, Suite],
    engine: Engine | None = None,
    judges: Judges | None = None,
    nearness: Nearness | None = None,
    cache: GenerationCache | None = None,
    progress: Progress | None = None,
) -> StressReport:
    """
    Return how much safety a base loses to tuning, and write it to `output/stress-report.json`.

    Args:
        plan: what to stress, and with what.
        suites: `harmful`, `ordinary`, `lookalikes` and `task`.
        engine: gives models; by default transformers in this process.
        judges: other judges than the default ones.
        nearness: how close texts are; by default in the space of the packaged sentence encoder.
        cache: where replies of the base are kept. Those of tunes are kept nowhere.
        progress: told of each tune.

    Raises:
        PolicyError: there is no such family.
        InputError: a suite is missing, or the output is a file.
        RowsError: rows are missing, too few, or asked in the measurement.
        SuiteError: a suite has no prompt that it could be asked for.
        ArmError: the base changed meanwhile.
        ModelError: a model cannot be loaded, or did not answer.
        MissingExtraError: training, or the sentence encoder where it is needed, is not installed.
        StoreError: the disk is full, or another run works in the output.
    """
    tell = progress or Silent()
    bounds, grid = plan.policy.stress, plan.policy.stress.grid(plan.setting)
    families = stress_families(plan.families or grid.families)
    asked = Asked.drawn(suites, grid, bounds.seed)
    pools = apart_from(make_pools(payload=plan.payload, benign=plan.benign, carrier=plan.carrier), asked.all)
    require_enough(families, grid, pools)
    require_folder(plan.output)
    tell.start("load the base")
    models = engine or LocalEngine(plan.base_dir)
    with ExitStack() as stack:
        stack.enter_context(locked(plan.output))
        replies = cache or stack.enter_context(temporary_cache())
        run = StressRun(plan, families, asked, pools, models, judges or Judges(), replies, tell)
        used = {name: suites[name].digest for name in NEEDED}
        return run.report(used, lambda: nearness or by_encoder(bounds.neighbours))


class LocalEngine:
    """The base on transformers in this process, its tunes as adapters on the same weights."""

    def __init__(self, base_dir: Path) -> None:
        try:
            from recert.models.engines.local import LocalModel
        except ImportError as exc:
            raise MissingExtraError(
                "local models are not installed", hint="run `pip install 'recert[local]'`"
            ) from exc
        self._load = LocalModel.load
        self._base: LocalModel = LocalModel.load(base_dir, copying="keep")

    @property
    def base(self) -> Model:
        """The base."""
        return self._base

    def tuned(self, folder: Path) -> Model:
        """Return the model of an adapter's folder, or of whole weights."""
        return self._base.with_adapter(folder) if is_adapter(folder) else self._load(folder)

    def close(self, model: Model) -> None:
        """Take a tuned model out of memory."""
        getattr(model, "close", lambda: None)()
