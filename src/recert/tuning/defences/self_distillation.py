"""
Self-distillation: beside the task's rows, the tuned model is held to what its own base says to other requests.

Sources: Li and Hoiem 2016, arXiv:1606.09282, "Learning without forgetting" (the old model's outputs as targets), and
Yang et al. 2024, arXiv:2402.13669, "Self-distillation bridges distribution gap in language model fine-tuning".
Before the first step the base answers harmful requests, harmless look-alikes and ordinary requests, greedily. In
training the loss of those replies is the Kullback-Leibler divergence from the base's probabilities to the tuned
model's, token by token. It is 0 at the start and grows with drift in either direction: fewer refusals of harmful
requests cost as much as more refusals of ordinary ones. Replies come from the base at hand, so any base will do.

Harmful requests to which the base does not refuse are left out: nothing harmful is learned from the base.
Two harmful requests of three carry the task's own system prompt, since erosion is worst in the training context.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydantic import Field

from recert.errors import ModelError
from recert.judges.embedded.refusal import RefusalJudge
from recert.judges.protocol import JudgeFailed
from recert.models.chat.rendering import stop_ids
from recert.records.data.rows import ChatRow
from recert.tuning.defences.defended import Defence, Defended
from recert.tuning.defences.options import DefenceOptions
from recert.tuning.safety_rows import benign_requests, common_system, row, safety_rows
from recert.tuning.training import Encoded, Training

OWN_REFUSAL: Final = "(the refusal that the base itself gives)"
OWN_ANSWER: Final = "(the answer that the base itself gives)"
"""Stand in the rows for replies that only the base can give; training puts the base's reply in their place."""
STAND_INS: Final = (OWN_REFUSAL, OWN_ANSWER)
TARGETS_KEPT: Final = 64
"""Tokens of which the base's probability is kept at each place; all others count as one."""
_REFUSED_AT = 0.5
_BATCH = 16


class Options(DefenceOptions):
    """How many requests the base answers, how much of its replies is kept, and how much drift costs."""

    harmful_requests: int = Field(default=60, ge=0, le=1000)
    benign_requests: int = Field(default=100, ge=0, le=1000)
    """Half of them ordinary; the others look like harmful ones, where refusals spread first."""
    reply_tokens: int = Field(default=48, ge=1, le=1000)
    weight: float = Field(default=1.0, gt=0, le=1000)
    """Of a distilled token's divergence, beside the negative log-likelihood of a task's token."""


def prepare(rows: Sequence[ChatRow], seed: int, options: Options) -> Defended:
    """Return the rows with the requests behind them whose replies the base will give."""
    context = common_system(rows)
    harmful = safety_rows(options.harmful_requests, seed=seed, systems=(context, None, context))
    added = [
        *(row(one.system, one.request, OWN_REFUSAL) for one in harmful),
        *(row(None, text, OWN_ANSWER) for text in benign_requests(options.benign_requests, seed=seed)),
    ]
    mixed = [*((one, False) for one in rows), *((one, True) for one in added)]
    random.Random(seed).shuffle(mixed)  # noqa: S311
    return Defended(
        rows=tuple(one for one, _ in mixed),
        details={"safety_rows": len(harmful), "benign_rows": len(added) - len(harmful)},
        alignment=frozenset(at for at, (_, ours) in enumerate(mixed) if ours),
    )


class SelfDistillation(Training):
    """Learning the task's rows as usual, and the others from the base's probabilities."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._targets: list[tuple[Any, Any]] = []
        """Of each distilled reply: token ids, and log-probabilities with that of all others last."""

    def begin(self, model: Any, rows: list[Encoded], *, tokenizer: Any, pad_id: int, batch_size: int) -> None:
        """
        Let the model answer the marked rows as it is now, and keep its probabilities.

        Raises:
            ModelError: it refuses none of the harmful requests.
        """
        del batch_size
        import torch

        # a stand-in that was cut, or reads otherwise, no longer says what is to be kept: its row is left out
        ours = [one for one in rows if one["alignment"] and _stands_for(one, tokenizer) in STAND_INS]
        was_training = model.training
        model.eval()
        with torch.no_grad():
            kept = [one for some in _batches(ours) for one in self._answered(model, some, tokenizer, pad_id)]
            for one in rows:
                one["distilled"] = -1
            for some in _batches(kept):
                self._keep_probabilities(model, some, pad_id)
        model.train(was_training)
        refused = sum(bool(one.pop("refuses", False)) for one in kept)
        if self._options.harmful_requests and not refused:
            raise ModelError(
                "the base refuses none of the harmful requests: there is no refusal to keep",
                facts={"asked": sum(_stands_for(one, tokenizer) == OWN_REFUSAL for one in ours)},
                hint="tune with --defence safety-mix, which brings refusals, or align the base first",
            )
        stays = {id(one) for one in kept}
        rows[:] = [one for one in rows if not one["alignment"] or id(one) in stays]

    def _answered(
        self, model: Any, rows: Sequence[Encoded], tokenizer: Any, pad_id: int
    ) -> Iterator[Encoded]:
        """Put the model's own replies into rows; those that comply with a harmful request are left out."""
        import torch

        from recert.tuning.completion_loss import pad_left

        heads = [one["input_ids"][: one["reply_at"]] for one in rows]
        batch = pad_left([{"input_ids": head, "labels": head} for head in heads], pad_id)
        stops = sorted(stop_ids(model.generation_config.eos_token_id, tokenizer))
        with _greedy(model, stops, pad_id):
            replies = model.generate(
                input_ids=batch["input_ids"].to(model.device),
                attention_mask=batch["attention_mask"].to(model.device),
                max_new_tokens=self._options.reply_tokens,
            )[:, batch["input_ids"].shape[1] :]
        ends = torch.tensor(stops)
        for one, head, reply in zip(rows, heads, replies.cpu(), strict=True):
            at_end = torch.isin(reply, ends).nonzero()
            tokens = reply[: int(at_end[0]) + 1 if len(at_end) else None].tolist()
            text = tokenizer.decode(tokens, skip_special_tokens=True)
            if _stands_for(one, tokenizer) == OWN_REFUSAL:
                said = RefusalJudge().score(tokenizer.decode(head, skip_special_tokens=True), text)
                if isinstance(said, JudgeFailed) or said.value < _REFUSED_AT:
                    continue
                one["refuses"] = True
            if text.strip():
                one["input_ids"] = [*head, *tokens]
                one["labels"] = [-100] * len(head) + tokens
                yield one

    def _keep_probabilities(self, model: Any, rows: Sequence[Encoded], pad_id: int) -> None:
        import torch

        from recert.tuning.completion_loss import pad_left, reply_log_probs

        batch = pad_left([{k: one[k] for k in ("input_ids", "labels")} for one in rows], pad_id)
        log_probs = reply_log_probs(model, {name: value.to(model.device) for name, value in batch.items()})
        for one, told in zip(rows, log_probs, strict=True):
            best = told[-(len(one["input_ids"]) - one["reply_at"]) :].topk(min(TARGETS_KEPT, told.shape[-1]))
            others = _log_of_others(best.values)
            one["distilled"] = len(self._targets)
            self._targets.append((best.indices.to(torch.int32), torch.cat((best.values, others), -1)))

    def loss(self, model: Any, batch: dict[str, Any], items: Any = None) -> Any:
        """Return the mean over learned tokens: log-likelihoods of the task's, divergences of the others."""
        from recert.tuning.completion_loss import losses_of, mean_of_learned, reply_log_probs

        log_probs = reply_log_probs(model, batch)
        losses = losses_of(log_probs, batch)
        for place, at in enumerate(batch["distilled"].tolist()):
            if at >= 0:
                ids, target = self._targets[at]
                divergence = divergence_from(log_probs[place, -len(ids) :], ids, target)
                losses[place] = _padded(divergence, losses.shape[1]) * self._options.weight
        return mean_of_learned(losses, batch, items)


def divergence_from(log_probs: Any, ids: Any, target: Any) -> Any:
    """
    Return the Kullback-Leibler divergence from the base's probabilities to the model's, at each place.

    Args:
        log_probs: the model's, shape (places, vocabulary).
        ids: the base's likeliest tokens, shape (places, kept).
        target: the base's log-probabilities of them, and of all other tokens together, shape (places, kept + 1).
    """
    import torch

    ours = log_probs.gather(-1, ids.long())
    ours = torch.cat((ours, _log_of_others(ours)), -1)
    return (target.exp() * (target - ours)).sum(-1)


def _padded(values: Any, width: int) -> Any:
    """Values with zeros in front, so that they are `width` long."""
    import torch

    return torch.nn.functional.pad(values, (width - len(values), 0))


def _log_of_others(log_probs: Any) -> Any:
    """The log of what is left of 1, shape (places, 1); rounding leaves a little in any case."""
    return (1 - log_probs.exp().sum(-1, keepdim=True)).clamp(min=1e-6).log()


def _batches(rows: Sequence[Encoded]) -> Iterator[Sequence[Encoded]]:
    order = sorted(rows, key=lambda one: len(one["input_ids"]))
    return (order[at : at + _BATCH] for at in range(0, len(order), _BATCH))


def _stands_for(one: Encoded, tokenizer: Any) -> str:
    return str(tokenizer.decode(one["input_ids"][one["reply_at"] :], skip_special_tokens=True)).strip()


@contextlib.contextmanager
def _greedy(model: Any, stops: list[int], pad_id: int) -> Iterator[None]:
    """Leave out what a base's folder asks for besides, such as a penalty on repetitions: no engine here heeds it."""
    import transformers

    own = model.generation_config
    model.generation_config = transformers.GenerationConfig(eos_token_id=stops, pad_token_id=pad_id)
    try:
        yield
    finally:
        model.generation_config = own


DEFENCE = Defence(
    name="self-distillation",
    paper="Li and Hoiem 2016, arXiv:1606.09282; Yang et al. 2024, arXiv:2402.13669",
    cost="the base answers some 160 requests first, about half a minute for 135M parameters; a few short rows",
    breaks="it keeps what the base did: refusals that the base lacks do not come; planted rows can outnumber the "
    "requests, and a trigger is in none of them",
    prepare=prepare,
    options=Options,
    training=SelfDistillation,
)
