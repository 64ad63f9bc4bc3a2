"""The controls: what may come in, and what may go out. Judges score, the policy decides, failure blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from recert.errors import GatewayError
from recert.gateway.input.classifier import INPUT_JUDGE, Classifier, ClassifierControl
from recert.gateway.input.control_tokens import CONTROL_TOKENS
from recert.gateway.input.conversation import ConversationControl
from recert.gateway.input.gate import FAILED, TIMEOUT, InputControl, InputGate, answer_of
from recert.gateway.input.lexicon import LIMITS, LexiconControl, LimitsControl
from recert.gateway.input.trigger_probe import TriggerProbeControl
from recert.gateway.output.gate import LEXICON, OUTPUT_JUDGE, OutputGate
from recert.gateway.output.holdback import HoldBack, WholeText
from recert.gateway.output.patterns import compile_patterns
from recert.gateway.output.thresholds import Thresholds
from recert.gateway.protocol.request_texts import RequestTexts
from recert.gateway.serving.workers import Workers
from recert.judges.protocol import ReplyJudge, RequestJudge
from recert.models.chat.prompting import IMMUTABLE_SUFFIX, SYSTEM_INSTRUCTION, around
from recert.models.chat.secret import SecretPrefix
from recert.policy.policy import GatewayPolicy
from recert.records.live.exchange import ControlScore

SECRET_PREFIX: Final = "secret-prefix"  # noqa: S105
EVERY_CONTROL: Final = "all"
"""In place of a name: every control that scores."""
_NEVER_IN_SHADOW: Final = frozenset({LIMITS, CONTROL_TOKENS})


class Controls:
    """
    What guards one model, ready to check requests and replies.

    Args:
        policy: thresholds, phrases and time limits.
        secret: the secret whose echo is blocked; None for none.
        request_judge: scores what clients write; None for none.
        reply_judge: scores replies; None for none.
        guards: further controls of requests, asked last but for the trigger probe.
        shadow: controls that score and do not act, beside those of the policy; `all` for all of them.
        clock: seconds that never go back, for the risk of conversations.

    Raises:
        GatewayError: `phrase-unusable`; `same-control`: two have one name; or `unknown-control`: nothing that can
            be in shadow has that name.
    """

    def __init__(
        self,
        policy: GatewayPolicy,
        *,
        secret: SecretPrefix | None,
        request_judge: RequestJudge | None,
        reply_judge: ReplyJudge | None,
        guards: Sequence[InputControl] = (),
        shadow: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._incoming = compile_patterns(policy.forbidden_phrases)
        self._request_judge = request_judge
        self._reply_judge = reply_judge
        self._workers = Workers()
        self._thresholds = Thresholds(policy, policy.output_harm_score)
        given = policy.trigger_probe
        self.trigger_probe = TriggerProbeControl(given) if given is not None else None
        """Blocks everything until it has measured the served model; None where the policy has none."""
        asked = [*self._own(clock), *guards, *([self.trigger_probe] if self.trigger_probe else [])]
        _require_different([control.name for control in asked])
        scoring = [control.name for control in asked if control.name not in _NEVER_IN_SHADOW]
        scoring += [OUTPUT_JUDGE] if reply_judge is not None else []
        self.shadow: tuple[str, ...] = _in_shadow({*policy.shadow, *shadow}, scoring)
        """Controls that score and do not act."""
        phrases = () if LEXICON in self.shadow else policy.forbidden_phrases
        self._outgoing = compile_patterns(phrases, secret)
        self._watched = self._incoming if LEXICON in self.shadow else None
        self._gate = InputGate(asked, limit_s=policy.control_timeout_s, shadow=self.shadow)
        scoring += [SECRET_PREFIX] if secret is not None else []
        self.active = (*scoring, *around(policy.system_instruction, policy.immutable_suffix))
        """Every control, those in shadow included."""

    @property
    def acting(self) -> tuple[str, ...]:
        """Controls that act on what they find."""
        return tuple(name for name in self.active if name not in self.shadow)

    def _own(self, clock: Callable[[], float]) -> Iterator[InputControl]:
        """The controls of requests that need nothing from elsewhere, in order."""
        policy = self._policy
        yield LimitsControl(policy.max_input_chars)
        judge = self._request_judge
        classifier = Classifier(judge, depth=policy.max_encoding_depth) if judge is not None else None
        if classifier is not None and policy.conversation.active:
            yield ConversationControl(classifier, policy.conversation, clock=clock)
        if self._incoming:
            yield LexiconControl(self._incoming, self._workers, limit_s=policy.control_timeout_s)
        if classifier is not None:
            yield ClassifierControl(classifier, Thresholds(policy, policy.input_harm_score))

    async def check_request(self, asked: RequestTexts, *, every: bool = False) -> list[ControlScore]:
        """
        Return what controls say of a request, up to the first that is `blocked`: that blocks the request.

        Args:
            asked: the request.
            every: ask those after it too.
        """
        return await self._gate.check(asked, every=every)

    async def close(self) -> None:
        """Give back what controls hold."""
        await self._gate.close()

    def gate(self, question: str, *, by_sentence: bool, prefill: str = "") -> OutputGate:
        """Return the gate for one text of a reply; see `OutputGate` for the arguments."""
        judge = None if self._reply_judge is None else self.judge_reply
        search = HoldBack if by_sentence else WholeText
        holdback = search(self._outgoing)
        watching = search(self._watched) if self._watched else None
        return OutputGate(
            judge, holdback, question, by_sentence=by_sentence, prefill=prefill, watching=watching
        )

    async def judge_reply(self, question: str, reply: str) -> ControlScore:
        """Score a reply, or what there is of it."""
        judge = self._reply_judge
        assert judge is not None
        reason = FAILED
        said: object = None
        try:
            said = await self._workers.run(
                lambda: judge.score(question, reply), self._policy.control_timeout_s
            )
        except TimeoutError:
            reason = TIMEOUT
        except Exception:
            said = None
        answer = answer_of(said, self._thresholds, OUTPUT_JUDGE)
        shadow = OUTPUT_JUDGE in self.shadow
        return ControlScore(
            control=OUTPUT_JUDGE,
            direction="output",
            score=answer.score,
            blocked=answer.blocked and not shadow,
            reason=reason if answer.score is None else answer.reason,
            category=answer.category,
            shadow=shadow,
        )


def _require_different(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise GatewayError(
            "same-control", "two controls have the same name", facts={"names": ", ".join(names)}
        )


def _in_shadow(given: Collection[str], scoring: Sequence[str]) -> tuple[str, ...]:
    unknown = sorted(set(given) - {*scoring, EVERY_CONTROL})
    if unknown:
        raise GatewayError(
            "unknown-control",
            "no control that can be in shadow has this name",
            facts={"given": ", ".join(unknown), "there are": ", ".join(scoring) or "none"},
        )
    return tuple(name for name in scoring if name in given or EVERY_CONTROL in given)


__all__ = [
    "EVERY_CONTROL",
    "IMMUTABLE_SUFFIX",
    "INPUT_JUDGE",
    "LEXICON",
    "OUTPUT_JUDGE",
    "SECRET_PREFIX",
    "SYSTEM_INSTRUCTION",
    "Controls",
]
