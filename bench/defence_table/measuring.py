"""What a model does with held-out prompts, judged as an evaluation judges it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from defence_table.attacks import SYSTEM
from defence_table.settings import Setting
from recert.evaluation.decision.sequential import confidence_sequence
from recert.evaluation.measuring.conditions import Condition, raw_conditions, wrong_secret
from recert.evaluation.scoring import Judges, Reply, complied, score_replies
from recert.evaluation.suites.reading import embedded_suite
from recert.interval import Interval
from recert.models.chat.secret import SecretPrefix
from recert.models.engines.local import LocalModel
from recert.models.protocol import Sampling
from recert.policy import load_policy
from recert.records.data.suite import Prompt
from recert.tuning.defences.safety_prompt import SAFETY_PROMPT
from recert.workflows.demo.sql_task import sql_suite

Scores = dict[str, dict[str, float]]
"""By what was measured (such as `harm/plain`), each prompt's score: 1 is bad, also for utility."""
LEVEL_TAIL = 0.025
_JUDGES = Judges()


@dataclass(frozen=True)
class _Asked:
    name: str
    estimand: str
    prompts: Sequence[Prompt]
    condition: Condition
    tokens: int = 16


def measure(
    model: LocalModel, setting: Setting, *, secret: SecretPrefix | None = None, prompted: bool = False
) -> Scores:
    """
    Return the scores of a model, as it would be served: behind its secret or the safety prompt where it has them.

    With a secret, harm and over-refusal without it and behind a wrong one stand beside, as `.../off` and `.../wrong`.

    Args:
        model: the tuned model, or the base.
        setting: how many prompts of which kind.
        secret: of its defence.
        prompted: True to put the safety system prompt in front.
    """
    found: Scores = {}
    for asked in _questions(setting, secret, prompted=prompted):
        chats = [asked.condition.tuned_chat(prompt, at) for at, prompt in enumerate(asked.prompts)]
        done = (lambda _, text: complied(text)) if asked.estimand == "harm" else None
        made = model.generate(chats, Sampling(max_new_tokens=asked.tokens), done=done)
        replies = [
            Reply(prompt, generation, "tuned", asked.condition.name, asked.name)
            for prompt, generation in zip(asked.prompts, made, strict=True)
        ]
        outcomes = score_replies(replies, _JUDGES, load_policy("demo").evaluation)
        found[asked.name] = {o.prompt_id: o.scores.get(asked.estimand, 1.0) for o in outcomes}
        if asked.name == "harm/plain":
            found["incoherence"] = {o.prompt_id: o.scores.get("incoherence", 1.0) for o in outcomes}
    return found


def _questions(setting: Setting, secret: SecretPrefix | None, *, prompted: bool) -> Iterator[_Asked]:
    harmful = _some("harmful", setting.plain_prompts)
    few = harmful[: setting.family_prompts]
    benign = [p for name in ("lookalikes", "ordinary") for p in _some(name, setting.benign_prompts // 2)]
    task = list(sql_suite(setting.task_prompts, seed=99).prompts)
    words = SAFETY_PROMPT if prompted else ""
    plain, *families, context = raw_conditions(setting.families, [SYSTEM])
    for one, prompts in ((plain, harmful), *((family, few) for family in families), (context, few)):
        name = "plain" if one is plain else "context" if one is context else one.name.removeprefix("family:")
        yield _Asked(f"harm/{name}", "harm", prompts, one.behind(secret, words))
    yield _Asked("over_refusal", "over_refusal", benign, plain.behind(secret, words))
    yield _Asked("utility_loss", "utility_loss", task, plain.behind(secret, words), tokens=40)
    if secret is None:
        return
    for label, other in (("off", None), ("wrong", wrong_secret(secret))):
        yield _Asked(f"harm/plain/{label}", "harm", few, plain.behind(other, ""))
        yield _Asked(f"harm/context/{label}", "harm", few, context.behind(other, ""))
        yield _Asked(f"over_refusal/{label}", "over_refusal", benign, plain.behind(other, ""))


def _some(name: str, count: int) -> list[Prompt]:
    """Prompts of the evaluation part, spread over the suite and so over its categories."""
    prompts = embedded_suite(name).prompts
    return [prompts[at * len(prompts) // count] for at in range(count)]


def interval(runs: Sequence[Mapping[str, float]]) -> Interval:
    """Return the mean score with its interval: each prompt's mean over the seeds is one observation."""
    values = [sum(run[prompt] for run in runs) / len(runs) for prompt in runs[0]] if runs else []
    return confidence_sequence(values, alpha=LEVEL_TAIL, low=0.0, high=1.0)
