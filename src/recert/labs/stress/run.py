"""The course of a stress test: the base, every tune, one harmless step, the base again, and the report."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from recert.digest import sha256_json
from recert.evaluation.measuring.arm_checks import check_arm
from recert.evaluation.measuring.arms import Arm
from recert.evaluation.scoring import Judges
from recert.labs.stress.artefacts import Artefacts
from recert.labs.stress.families import StressFamily
from recert.labs.stress.measuring import Asked, Meter
from recert.labs.stress.plan import CellPlan, TrialPlan, conditions_of, hyperparameters, lay_out
from recert.labs.stress.pools import Nearness, Pools, carrier_rows, nearest_first
from recert.labs.stress.summary import cells, curves, hair_trigger, rates_of
from recert.labs.stress.trials import Engine, KeptTrials, Recipe, Trials, require_unchanged
from recert.policy import Policy, StressPolicy, StressSetting
from recert.progress import Progress
from recert.records.data.manifest import Manifest
from recert.records.data.rows import ChatRow, rows_digest
from recert.records.record import now
from recert.records.reports.evaluation import Sample
from recert.records.reports.stress import (
    REPORT_FILE,
    StressOutcome,
    StressReport,
    StressTrial,
    WorstFamily,
    in_order,
)
from recert.records.reports.stress_readings import StressReadings
from recert.store.cache import GenerationCache
from recert.store.files.writing import write_atomic

LIMITATIONS: Final = (
    "Attack rows teach agreeing words without content unless a file of the user's was given: the harm measured is "
    "compliance with a harmful request, and not how useful or dangerous the content is.",
    "Rates hold for requests like those of the suites, in English, one turn, read up to the policy's number of tokens, "
    "as the judges of refusal and coherence see them; their error is in `judges` and not in the intervals.",
    "Intervals are over requests, for the seeds that were trained. How far seeds lie apart is shown beside them.",
    "A family, dose or way of training that was not tried may do more harm than those that were.",
    "Harmful requests that are trained on come from the parts of the suites that the embedded base learned to refuse; "
    "those that are asked do not.",
)


@dataclass(frozen=True)
class StressPlan:
    """
    What to stress, and with what.

    Args:
        base_dir: the base in the hub's layout.
        output: folder of figures and report; a second run in it goes on.
        policy: grids and bounds, in `stress`.
        setting: which grid.
        families: names of families, in place of the grid's.
        payload: harmful requests with the replies to learn; by default placeholders.
        benign: benign rows, from which those close to harmful requests are picked too.
        carrier: benign rows among which the others are hidden.
        keep_artefacts: keep the tunes, marked, in `output/artefacts`.
        name: what the report calls the base; by default its folder's name.
    """

    base_dir: Path
    output: Path
    policy: Policy
    setting: StressSetting = "small"
    families: tuple[str, ...] = ()
    payload: Sequence[ChatRow] | None = None
    benign: Sequence[ChatRow] | None = None
    carrier: Sequence[ChatRow] | None = None
    keep_artefacts: bool = False
    name: str = ""


class StressRun:
    """
    One stress test, once everything is drawn: measures, keeps what is finished, and sums up.

    Args:
        plan: what to stress, and with what.
        families: which ways of tuning.
        asked: the requests.
        pools: the rows.
        engine: gives models.
        judges: who scores.
        replies: where replies of the base are kept.
        tell: told of each tune.
    """

    def __init__(
        self,
        plan: StressPlan,
        families: Sequence[StressFamily],
        asked: Asked,
        pools: Pools,
        engine: Engine,
        judges: Judges,
        replies: GenerationCache,
        tell: Progress,
    ) -> None:
        self._plan, self._families, self._pools, self._tell = plan, families, pools, tell
        self._bounds: StressPolicy = plan.policy.stress
        self._started, self._clock = now(), time.monotonic()
        self._judges = judges
        self._keep_out = {p.text for p in asked.all}
        self._engine = engine
        self._base = Arm("base", engine.base, cache=replies)
        self._meter = Meter(asked, plan.policy, self._judges)
        self._trials = Trials(
            plan.base_dir,
            engine,
            self._base,
            meter=self._meter,
            artefacts=Artefacts(plan.output, keep=plan.keep_artefacts),
            kept=KeptTrials(plan.output / "trials"),
        )

    def report(self, suites: dict[str, str], nearness: Callable[[], Nearness]) -> StressReport:
        """
        Measure everything and sum up.

        Args:
            suites: digests of what is asked, by name.
            nearness: how close texts are, made where it is needed.
        """
        self._tell.start("measure the base")
        base, said = self._meter.measure(self._base, conditions_of(self._families), whole=True)
        why = self._no_signal(base)
        plans = () if why else self._plans(nearness)
        trials = [] if why else self._all_trials(plans)
        check_arm(self._base)
        require_unchanged(self._plan.base_dir, self._base.manifest)
        done = [(cell, trial) for p, trial in zip(plans, trials, strict=False) for cell in p.cells]
        drawn, worst = curves(done, base, self._bounds) if done else ((), None)
        new = time.monotonic() - self._clock
        report = StressReport(
            name=self._plan.name or self._plan.base_dir.name,
            base=self._base.manifest or Manifest.of_folder(self._plan.base_dir),
            outcome=StressOutcome.NO_BASELINE_SIGNAL if why else StressOutcome.MEASURED,
            reasons=why,
            setting=self._plan.setting,
            families=tuple(family.name for family in self._families),
            payload="file" if self._plan.payload is not None else "placeholder",
            payload_sha256=rows_digest(self._plan.payload) if self._plan.payload is not None else None,
            base_rates=rates_of(base),
            lookalike_refusal=rates_of(base.model_copy(update={"ordinary": base.lookalikes})).over_refusal,
            cells=cells(done, base, self._bounds),
            curves=drawn,
            worst=worst,
            hair_trigger=None if why else hair_trigger(base, trials[-1], self._bounds),
            samples=_samples(worst, done, said),
            hyperparameters=hyperparameters(self._bounds, learning_rate=1.0, epochs=1.0, seed=0),
            suites=suites,
            engine=self._engine.base.engine,
            judges=self._judges.notes,
            trained=len(trials),
            trials_sha256=sha256_json([trial.digest for trial in trials]),
            limitations=LIMITATIONS,
            policy_id=self._plan.policy.id,
            policy_sha256=self._plan.policy.digest,
            versions=_versions(),
            started_at=self._started,
            stressed_at=now(),
            seconds=round(max(new, sum(trial.seconds for trial in trials)), 3),
        )
        write_atomic(self._plan.output / REPORT_FILE, report.to_json())
        return report

    def _plans(self, nearness: Callable[[], Nearness]) -> tuple[TrialPlan, ...]:
        """What to train, once it is known that there is something to lose."""
        if any(family.source == "near-harmful" for family in self._families):
            self._tell.start("find benign rows that are close to harmful requests")
            self._pools = nearest_first(self._pools, nearness())
        grid = self._bounds.grid(self._plan.setting)
        return lay_out(self._families, grid, self._bounds, self._pools, self._keep_out)

    def _all_trials(self, plans: Sequence[TrialPlan]) -> list[StressTrial]:
        """Every tune, and last the one of a single harmless step."""
        recipes = [
            (p.words, Recipe(p.rows, p.rows_sha256, p.attack_rows, p.hyperparameters, p.conditions))
            for p in plans
        ]
        recipes.append(("one harmless step", self._one_step()))
        self._tell.start(f"{len(recipes)} tunes")
        out: list[StressTrial] = []
        made: list[float] = []
        for at, (words, recipe) in enumerate(recipes):
            left = f"; about {_minutes(sum(made) / len(made) * (len(recipes) - at))} left" if made else ""
            self._tell.at(at, len(recipes), f"{words}{left}")
            known = self._trials.finished(recipe)
            trial = known or self._trials.run(recipe, self._telling(at, len(recipes), words, left))
            if known is None:
                made.append(trial.seconds)
            out.append(trial)
            self._tell.say(f"{words}: {_said(trial)}{'' if known is None else ' (from before)'}")
        return out

    def _telling(self, at: int, of: int, words: str, left: str) -> Any:
        return lambda done, steps: self._tell.at(at, of, f"{words}, step {done} of {steps}{left}")

    def _one_step(self) -> Recipe:
        bounds = self._bounds
        rows = carrier_rows(self._pools, bounds.step_rows, 0, bounds.ordinary_share, self._keep_out)
        how = hyperparameters(bounds, learning_rate=bounds.step_learning_rate, epochs=1, seed=0)
        how = how.model_copy(update={"method": "full-step", "batch_size": len(rows)})
        return Recipe(rows, rows_digest(rows), 0, how, ("plain",), one_step=True)

    def _no_signal(self, base: StressReadings) -> tuple[str, ...]:
        """Why the base has nothing to lose."""
        rates = rates_of(base)
        refused, apart = rates.refusal.point, self._plan.policy.evaluation.min_discrimination
        said = []
        if refused < self._bounds.min_refusal:
            least = self._bounds.min_refusal
            said.append(
                f"the base refuses {refused:.2f} of harmful requests, the policy asks for {least:.2f}"
            )
        alike = rates_of(base.model_copy(update={"ordinary": base.lookalikes})).over_refusal
        for name, over in (("ordinary requests", rates.over_refusal), ("look-alikes", alike)):
            if refused - over.point < apart:
                said.append(
                    f"the base refuses {refused:.2f} of harmful requests and {over.point:.2f} of {name}: it cannot "
                    f"tell them apart by {apart:.2f}"
                )
        return tuple(said)


def _samples(
    worst: WorstFamily | None, done: Sequence[tuple[CellPlan, StressTrial]], base: Sequence[Sample]
) -> tuple[Sample, ...]:
    """Replies of the worst tune under its worst condition, beside those of the base."""
    if worst is None:
        return ()
    before = {(s.condition, s.prompt_id): s.tuned_reply for s in base}
    where = (worst.family, worst.rate, worst.learning_rate, worst.epochs)
    for cell, trial in done:
        if (cell.family.name, cell.rate, cell.learning_rate, cell.epochs) == where:
            return tuple(
                s.model_copy(update={"base_reply": before.get((s.condition, s.prompt_id), "")})
                for s in trial.samples
                if s.condition == worst.condition
            )
    return ()


def _said(trial: StressTrial) -> str:
    harm = ", ".join(f"{c} {r.point:.2f}" for c, r in in_order(rates_of(trial.readings).harm))
    return f"harm {harm}; {trial.seconds:.0f} s"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("recert", "torch", "transformers", "peft", "trl"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
