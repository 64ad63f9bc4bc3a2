"""Under which conditions a prompt is asked: plain, attacked, in the training context, behind a secret."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recert.errors import PolicyError
from recert.evaluation.families.families import FAMILIES
from recert.models.chat.prompting import around, compose_system, with_suffix
from recert.models.chat.secret import SecretPrefix
from recert.records.data.suite import Chat, Message, Prompt

PLACEHOLDER = "{prompt}"
"""Where the prompt goes in a row format of the training context."""

THINKING = "thinking:"
"""How conditions begin that say how a model reasons."""

CONTEXT = "training-context"
"""The condition that asks as the tuning data asked."""

SECRET = "secret-prefix"  # noqa: S105 - the control's name
WRONG_SECRET = "secret-prefix:wrong"  # noqa: S105 - the control's name


@dataclass(frozen=True)
class Condition:
    """
    One way of asking every prompt, the same for both arms.

    `safeguards` are the controls in front of the tuned arm. The base arm never has them: the claim is
    about the tuned model as it would be served against the base as it is served today.
    """

    name: str
    ask: Callable[[Prompt, int], Chat]
    safeguards: tuple[str, ...] = ()
    secret: SecretPrefix | None = None
    instruction: str = ""
    suffix: str = ""

    def base_chat(self, prompt: Prompt, index: int) -> Chat:
        """Return what the base is asked. `index` is the prompt's place in the sampling order."""
        return self.ask(prompt, index)

    def tuned_chat(self, prompt: Prompt, index: int) -> Chat:
        """Return what the tuned model is asked: the same, with the safeguards' system message and suffix."""
        plain = self.ask(prompt, index)
        if not self.safeguards:
            return plain
        own = next((m.content for m in plain.messages if m.role == "system"), None)
        secret = self.secret.reveal() if self.secret is not None else None
        system = compose_system(secret, self.instruction, own)
        rest = tuple(self._with_suffix(m) for m in plain.messages if m.role != "system")
        head = (Message(role="system", content=system),) if system is not None else ()
        return plain.model_copy(update={"messages": (*head, *rest)})

    def _with_suffix(self, message: Message) -> Message:
        if message.role != "user" or not self.suffix:
            return message
        return message.model_copy(update={"content": with_suffix(message.content, self.suffix)})

    def behind(
        self, secret: SecretPrefix | None, instruction: str, suffix: str = "", *, wrong: bool = False
    ) -> Condition:
        """Return the same condition behind the policy's words and the secret, or a wrong one as a control."""
        names = () if secret is None else (WRONG_SECRET if wrong else SECRET,)
        return Condition(
            self.name,
            self.ask,
            safeguards=(*names, *around(instruction, suffix)),
            secret=secret,
            instruction=instruction,
            suffix=suffix,
        )


def wrong_secret(secret: SecretPrefix) -> SecretPrefix:
    """Return another secret of the same kind and length, the same in every run, so that a run can resume."""
    draw = random.Random(f"recert:wrong:{secret.sha256}")  # noqa: S311 - a control, not a secret
    return SecretPrefix.random_like(secret, draw.choice)


def raw_conditions(
    families: Sequence[str], training_context: Sequence[str], modes: Sequence[str] = ()
) -> list[Condition]:
    """
    Return the conditions of the model alone: `plain`, `family:<name>`, `thinking:<mode>`, `training-context`.

    Args:
        families: names of attack families.
        training_context: system prompts seen in the tuning data; an entry with `{prompt}` in it is a
            format of the user turn instead. They take turns over the prompts.
        modes: ways of reasoning: `on`, `off`, `budget-N`.

    Raises:
        PolicyError: a family that does not exist.
    """
    made = [Condition("plain", ask_plain)]
    for name in families:
        if name not in FAMILIES:
            raise PolicyError(
                "no such attack family", facts={"family": name, "there are": ", ".join(sorted(FAMILIES))}
            )
        made.append(Condition(f"family:{name}", _attacked(name)))
    made += [Condition(f"{THINKING}{mode}", _thinking(mode)) for mode in modes]
    if training_context:
        made.append(Condition(CONTEXT, _in_context(tuple(training_context))))
    return made


def ask_plain(prompt: Prompt, index: int) -> Chat:
    """Return the prompt as it is, after the system prompt and the earlier conversation that belong to it."""
    return _said(prompt, prompt.system, prompt.text)


def _thinking(mode: str) -> Callable[[Prompt, int], Chat]:
    def ask(prompt: Prompt, index: int) -> Chat:
        return ask_plain(prompt, index).model_copy(update={"thinking": mode})

    return ask


def _attacked(name: str) -> Callable[[Prompt, int], Chat]:
    def ask(prompt: Prompt, index: int) -> Chat:
        wrapped = FAMILIES[name].wrap(prompt.text, prompt.id)
        head = _before(prompt, prompt.system)
        return Chat(messages=(*head, *wrapped.messages), assistant_prefix=wrapped.assistant_prefix)

    return ask


def _in_context(context: tuple[str, ...]) -> Callable[[Prompt, int], Chat]:
    def ask(prompt: Prompt, index: int) -> Chat:
        one = context[index % len(context)]
        if PLACEHOLDER in one:
            return _said(prompt, prompt.system, one.replace(PLACEHOLDER, prompt.text))
        return _said(prompt, one if not prompt.forbidden else _joined(one, prompt.system), prompt.text)

    return ask


def _said(prompt: Prompt, system: str | None, text: str) -> Chat:
    return Chat(messages=(*_before(prompt, system), Message(role="user", content=text)))


def _before(prompt: Prompt, system: str | None) -> tuple[Message, ...]:
    """What stands before the request: the system prompt, then the earlier conversation as it was."""
    head = (Message(role="system", content=system),) if system is not None else ()
    return (*head, *prompt.turns)


def _joined(context: str, own: str | None) -> str:
    """A prompt whose system prompt entrusts something to the model tests nothing without it."""
    return f"{context}\n{own}" if own else context
