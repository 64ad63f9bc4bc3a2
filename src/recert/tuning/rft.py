"""
Reinforcement tuning with TRL's GRPO: of several replies to a prompt, those that a grader pays better become likelier.

Source: Shao et al. 2024, arXiv:2402.03300 (group relative policy optimisation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from recert.errors import GraderError, InputError
from recert.judges.protocol import JudgeFailed
from recert.models.chat.prompting import text_only
from recert.models.chat.rendering import fit_roles
from recert.records.data.rows import PromptRow, split_reply
from recert.records.reports.tuning import Hyperparameters
from recert.tuning.encoding import refuse_control
from recert.tuning.trainers import Loaded, Told, Trained, arguments, opened, run_trainer

_SOON: Final = 32
"""Grades after which it is looked at how many failed."""


class RewardSource(Protocol):
    """What pays for replies: a grader, and whatever else can."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def sha256(self) -> str:
        """Digest of all that decides what it pays."""

    def rewards(self, pairs: Sequence[tuple[Mapping[str, Any], str]]) -> list[float | JudgeFailed]:
        """Return the reward of each (item, reply), in order, or why there is none."""


@dataclass
class Rewards:
    """What a grader pays, as the trainer asks for it, and what came of it so far."""

    grader: RewardSource
    rows: Sequence[PromptRow]
    max_failed: float
    grades: int = 0
    failed: int = 0
    because: str = ""
    steps: list[float] = field(default_factory=list)

    def of(self, places: Sequence[int], replies: Sequence[str]) -> list[float]:
        """
        Return the reward of each reply.

        A reply that could not be graded is paid like the worst of its prompt: failing must never be the way to be paid.
        Where none of a prompt could be graded all are paid alike, so that nothing is learned from them. Of a reasoning
        model's reply the answer alone is graded, never the trace.

        Args:
            places: which row each reply belongs to.
            replies: what was sampled.

        Raises:
            GraderError: too many grades failed.
        """
        pairs = [
            (self.rows[at].item, split_reply(reply)[1]) for at, reply in zip(places, replies, strict=True)
        ]
        graded = self.grader.rewards(pairs)
        paid: dict[int, list[float]] = {}
        for at, one in zip(places, graded, strict=True):
            if isinstance(one, JudgeFailed):
                self.because = one.because
            else:
                paid.setdefault(at, []).append(one)
        self.grades += len(graded)
        self.failed += sum(isinstance(one, JudgeFailed) for one in graded)
        if self.grades >= _SOON and self.failed > self.max_failed * self.grades:
            raise GraderError(
                "the grader fails too often to be learned from",
                facts={"failed": f"{self.failed} of {self.grades}", "last": self.because},
                hint="run `recert screen --grader` on it",
            )
        return [
            min(paid.get(at, [0.0])) if isinstance(one, JudgeFailed) else one
            for at, one in zip(places, graded, strict=True)
        ]


def train_rewarded(
    base_dir: Path,
    rows: Sequence[PromptRow],
    grader: RewardSource,
    target: Path,
    hyperparameters: Hyperparameters,
    *,
    progress: Told | None = None,
) -> tuple[Trained, Rewards]:
    """
    Train on what a grader pays, and save what was trained, with nothing else, in `target`.

    Checkpoints, where `checkpoint_every` asks for them, stand beside it in `checkpoints/step-N/`. The one that is
    paid best is not assumed to be safe: each is a system of its own.

    Args:
        base_dir: the base in the hub's layout.
        rows: prompts, with the fields that the grader reads.
        grader: pays for replies.
        target: an empty folder.
        hyperparameters: see the record; those that begin with `rft_` count here.
        progress: called with (step, steps, mean reward).

    Raises:
        MissingExtraError: TRL is not installed.
        ModelError: the base cannot be loaded.
        InputError: a batch is no whole number of prompts.
        RowsError: a prompt holds words that the model reads as control.
        GraderError: too many grades failed.
        StoreError: what was trained cannot be written.
    """
    if hyperparameters.batch_size % hyperparameters.rft_samples:
        raise InputError(
            "a batch is no whole number of prompts",
            facts={"batch_size": hyperparameters.batch_size, "samples": hyperparameters.rft_samples},
            hint="give a batch size that is a multiple of the samples for each prompt",
        )
    checkpoints = target.with_name("checkpoints")
    rewards = Rewards(grader, rows, hyperparameters.rft_max_failed)
    with opened(base_dir, hyperparameters) as loaded:
        refuse_control(loaded.tokenizer, rows)
        trainer = _trainer(loaded, rewards, hyperparameters, progress, checkpoints)
        trained = run_trainer(loaded, trainer, target, tokens=0, flop_each=10.0, checkpoints=checkpoints)
        logged = [one for one in trainer.state.log_history if "reward" in one]
        rewards.steps = [round(float(one["reward"]), 6) for one in logged]
        tokens = int(max((one.get("num_tokens", 0) for one in logged), default=0))
    return trained.with_tokens(tokens), rewards


def _trainer(
    loaded: Loaded,
    rewards: Rewards,
    hyperparameters: Hyperparameters,
    progress: Told | None,
    checkpoints: Path,
) -> Any:
    parts = loaded.parts
    callback: Any = parts["transformers"].TrainerCallback

    class Tell(callback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if progress is not None and logs and "reward" in logs:
                progress(state.global_step, state.max_steps, float(logs["reward"]))

    def paid(completions: list[Any], place: list[int], **_: Any) -> list[float]:
        return rewards.of(place, [said[-1]["content"] for said in completions])

    config = parts["trl"].GRPOConfig(
        **arguments(loaded, hyperparameters),
        num_generations=hyperparameters.rft_samples,
        max_completion_length=hyperparameters.rft_reply_tokens,
        temperature=hyperparameters.rft_temperature,
        beta=hyperparameters.rft_beta,
    )
    return parts["trl"].GRPOTrainer(
        model=loaded.model,
        reward_funcs=paid,
        args=config,
        train_dataset=parts["datasets"].Dataset.from_list(
            [
                {
                    "prompt": fit_roles(loaded.tokenizer, text_only(row.messages)),
                    "place": at,
                }
                for at, row in enumerate(rewards.rows)
            ]
        ),
        processing_class=loaded.tokenizer,
        peft_config=loaded.adapter_config(hyperparameters),
        callbacks=[*loaded.callbacks(hyperparameters, None, checkpoints), Tell()],
    )
