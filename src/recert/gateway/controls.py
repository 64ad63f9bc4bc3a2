"""The controls: what may come in, and what may go out. Judges score, the policy decides, failure blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from recert.gateway.holdback import HoldBack, compile_patterns, scan
from recert.gateway.normalise import views
from recert.gateway.output_gate import LEXICON, OUTPUT_JUDGE, OutputGate, lexicon_score
from recert.gateway.workers import Workers
from recert.judges.protocol import JudgeFailed, ReplyJudge, RequestJudge, Score
from recert.models.secret import SecretPrefix
from recert.policy.policy import GatewayPolicy
from recert.records import ControlScore

INPUT_JUDGE: Final = "input-judge"
SECRET_PREFIX: Final = "secret-prefix"  # noqa: S105
SYSTEM_INSTRUCTION: Final = "system-instruction"
_LONGEST_INLINE_CHARS: Final = 4_000
"""Longer requests are searched in a thread, so that they do not keep others waiting."""


class Controls:
    """
    What guards one model, ready to check requests and replies.

    Args:
        policy: thresholds, phrases and time limits.
        secret: the secret whose echo is blocked; None for none.
        request_judge: scores what clients write; None for none.
        reply_judge: scores replies; None for none.
    """

    def __init__(
        self,
        policy: GatewayPolicy,
        *,
        secret: SecretPrefix | None,
        request_judge: RequestJudge | None,
        reply_judge: ReplyJudge | None,
    ) -> None:
        self._policy = policy
        self._incoming = compile_patterns(policy.forbidden_phrases)
        self._outgoing = compile_patterns(policy.forbidden_phrases, secret)
        self._request_judge = request_judge
        self._reply_judge = reply_judge
        self._workers = Workers()
        found = {
            LEXICON: bool(policy.forbidden_phrases),
            INPUT_JUDGE: request_judge is not None,
            OUTPUT_JUDGE: reply_judge is not None,
            SECRET_PREFIX: secret is not None,
            SYSTEM_INSTRUCTION: bool(policy.system_instruction),
        }
        self.active: tuple[str, ...] = tuple(name for name, on in found.items() if on)

    async def check_request(self, texts: Sequence[str]) -> list[ControlScore]:
        """Score every text of a request, in every view. Any `blocked` blocks the request."""
        scores = []
        if self._incoming:
            scores.append(await self._look_up(texts))
            if scores[-1].blocked:
                return scores
        judge = self._request_judge
        if judge is not None:
            seen = tuple(dict.fromkeys(view for text in texts for view in views(text)))
            scores.append(
                await self._judge(
                    INPUT_JUDGE, "input", lambda: _worst(judge, seen), self._policy.input_harm_score
                )
            )
        return scores

    async def _look_up(self, texts: Sequence[str]) -> ControlScore:
        def look() -> str:
            return next(filter(None, (scan(self._incoming, text) for text in texts)), "")

        if sum(map(len, texts)) <= _LONGEST_INLINE_CHARS:
            return lexicon_score("input", look())
        try:
            return lexicon_score("input", await self._workers.run(look, self._policy.control_timeout_s))
        except TimeoutError:
            return ControlScore(
                control=LEXICON, direction="input", score=None, blocked=True, reason="control-timeout"
            )

    def gate(self, question: str, *, by_sentence: bool) -> OutputGate:
        """Return the gate for one reply; `by_sentence` for a stream that is released as it comes."""
        judge = None if self._reply_judge is None else self.judge_reply
        return OutputGate(judge, HoldBack(self._outgoing), question, by_sentence=by_sentence)

    async def judge_reply(self, question: str, reply: str) -> ControlScore:
        """Score a reply, or what there is of it."""
        judge = self._reply_judge
        assert judge is not None
        return await self._judge(
            OUTPUT_JUDGE, "output", lambda: judge.score(question, reply), self._policy.output_harm_score
        )

    async def _judge(
        self, control: str, direction: str, ask: Callable[[], Score | JudgeFailed], threshold: float
    ) -> ControlScore:
        reason = "control-failed"
        try:
            said = await self._workers.run(ask, self._policy.control_timeout_s)
        except TimeoutError:
            said, reason = JudgeFailed("no answer in time"), "control-timeout"
        except Exception as exc:
            said = JudgeFailed(type(exc).__name__)
        if not isinstance(said, Score):
            return ControlScore(control=control, direction=direction, score=None, blocked=True, reason=reason)
        blocked = not said.value < threshold
        return ControlScore(
            control=control,
            direction=direction,
            score=said.value,
            blocked=blocked,
            reason=control if blocked else "",
        )


def _worst(judge: RequestJudge, texts: Sequence[str]) -> Score | JudgeFailed:
    worst = Score(0.0)
    for text in texts:
        said = judge.score(text)
        if isinstance(said, JudgeFailed):
            return said
        worst = max(worst, said, key=lambda s: s.value)
    return worst
