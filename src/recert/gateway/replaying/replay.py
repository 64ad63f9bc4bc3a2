"""A stored exchange under another policy: what each control says of it now, and what would come of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from recert.errors import GatewayError
from recert.gateway.audio.hearing import UNSURE, Heard, Words, with_words
from recert.gateway.controls import Controls
from recert.gateway.guardrail.texts import REQUEST, Posted, read_posted
from recert.gateway.input.gate import InputControl
from recert.gateway.output.gate import LEXICON, OUTPUT_JUDGE, OutputGate
from recert.gateway.output.patterns import ECHO
from recert.gateway.output.thresholds import Thresholds
from recert.gateway.output.trace_gate import HIDDEN_TRACE, holds_hidden_trace, text_gate
from recert.gateway.protocol.errors import BadRequest
from recert.gateway.protocol.parse import ChatRequest, parse_chat, read_object
from recert.gateway.protocol.request_texts import RequestTexts
from recert.gateway.replaying.stored import Stored
from recert.judges.protocol import ReplyJudge, RequestJudge, Score
from recert.policy.policy import GatewayPolicy
from recert.policy.sections.gateway_audio import GatewayAudioPolicy
from recert.policy.sections.reasoning import ReasoningPolicy
from recert.records.live.exchange import ControlScore, Exchange

RELEASED: Final = "released"
ALLOWED_INPUT: Final = "allowed-input"
ALLOWED_OUTPUT: Final = "allowed-output"
BLOCKED_INPUT: Final = "blocked-input"
BLOCKED_OUTPUT: Final = "blocked-output"
REFUSED: Final = "refused"
UNDECIDED: Final = "undecided"
BLOCKED: Final = frozenset({BLOCKED_INPUT, BLOCKED_OUTPUT, REFUSED})
NOTHING_FOUND: Final = ControlScore(control=LEXICON, direction="output", score=0.0, blocked=False)
"""What a search of a reply that found nothing would have said: it says nothing."""
PASSED: Final = frozenset({RELEASED, ALLOWED_INPUT, ALLOWED_OUTPUT})
DECIDED: Final = frozenset({*PASSED, BLOCKED_INPUT, BLOCKED_OUTPUT})
"""Decisions of controls: what is compared."""


@dataclass(frozen=True)
class Replayed:
    """
    What would come of a stored exchange.

    `decision` is that of the gateway, or `undecided` where the reply was cut and nothing objects to what there is of
    it. `scores` are those of every control that is asked now, also of those after the first that blocks. `blocking` is
    the control that decides and `reason` its reason; for `refused`, the code of the error.
    """

    decision: str
    scores: tuple[ControlScore, ...] = ()
    blocking: ControlScore | None = None
    reason: str = ""


def objects(score: ControlScore) -> bool:
    """Say whether a control blocked, or in shadow would have."""
    return score.blocked or bool(score.reason)


def first_blocking(scores: Iterable[ControlScore]) -> ControlScore | None:
    """Return the score that blocks, or None."""
    return next((score for score in scores if score.blocked), None)


class Replay:
    """
    Asks a policy's controls about stored exchanges, which must come in the order of their log.

    The risk of conversations is kept as it would have been, by the times of the log. The secret is not needed: replies
    that echoed it stay blocked, and the others do not hold it.

    Args:
        policy: what is tried.
        reasoning: how traces in replies are written, and whether users see them; None: a reply is judged as one text.
        request_judge: scores requests; None for none.
        reply_judge: scores replies; None for none.
        guards: further controls of requests.

    Raises:
        GatewayError: `control-needs-model`: one of the policy's controls asks the served model, which is not here; or
            the controls cannot be made, see `Controls`.
    """

    def __init__(
        self,
        policy: GatewayPolicy,
        *,
        request_judge: RequestJudge | None,
        reply_judge: ReplyJudge | None = None,
        guards: Sequence[InputControl] = (),
        reasoning: ReasoningPolicy | None = None,
    ) -> None:
        if policy.trigger_probe is not None:
            raise GatewayError(
                "control-needs-model",
                "the policy's trigger probe asks the served model, which a log does not hold",
                hint="leave gateway.trigger_probe out to try the rest; put it in shadow to try it on live requests",
            )
        self._policy = policy
        self._reasoning = reasoning
        self._now = 0.0
        self._outgoing = Thresholds(policy, policy.output_harm_score)
        self.controls = Controls(
            policy,
            secret=None,
            request_judge=request_judge,
            reply_judge=reply_judge,
            guards=guards,
            clock=lambda: self._now,
        )

    async def look(self, stored: Stored) -> Replayed | None:
        """Return what would come of an exchange whose request is there; None where nothing here reads that."""
        assert stored.request is not None
        self._now = max(self._now, stored.exchange.received_at.timestamp())
        try:
            spoken = self._policy.audio.max_body_bytes if self._policy.audio and stored.exchange.clips else 0
            if len(stored.request) > max(self._policy.max_body_bytes, spoken):
                raise BadRequest("the body is too large", code="body_too_large")
            value = read_object(stored.request)
            if "messages" in value:
                return await self._look_at_chat(stored, parse_chat(value, self._policy, self._policy.audio))
            return await self._look_at_posted(stored, read_posted(value)) if "input_type" in value else None
        except BadRequest as exc:
            return Replayed(REFUSED, reason=exc.code)

    async def _look_at_posted(self, stored: Stored, posted: Posted) -> Replayed:
        """A guardrail's request or reply: all of it is there."""
        if posted.direction == REQUEST:
            scores = await self.controls.check_request(posted.asked(stored.exchange.client), every=True)
            passed, blocked = ALLOWED_INPUT, BLOCKED_INPUT
        else:
            if self._reasoning and any(holds_hidden_trace(text, self._reasoning) for text in posted.pieces()):
                return Replayed(BLOCKED_OUTPUT, reason=HIDDEN_TRACE)
            scores = await self._judged(posted.question, posted.pieces(), by_sentence=True)
            passed, blocked = ALLOWED_OUTPUT, BLOCKED_OUTPUT
        blocking = first_blocking(scores)
        decision = blocked if blocking else passed
        return Replayed(decision, tuple(scores), blocking, blocking.reason if blocking else "")

    async def _look_at_chat(self, stored: Stored, request: ChatRequest) -> Replayed:
        exchange = stored.exchange
        heard = _heard_before(stored, request, self._policy.audio) if request.clips else None
        if heard is not None and heard.score.blocked:
            if heard.score.reason != UNSURE:  # what was not heard at all could be anything
                return Replayed(UNDECIDED, (heard.score,))
            return Replayed(BLOCKED_INPUT, (heard.score,), heard.score, heard.score.reason)
        request, apart = (heard.request, heard.apart) if heard else (request, ())
        conversation = (exchange.conversation_sha256 or "").encode()
        asked = RequestTexts(request.texts(), request.user_turns, exchange.client, conversation, apart=apart)
        scores = [*([heard.score] if heard else []), *await self.controls.check_request(asked, every=True)]
        blocking = first_blocking(scores)
        if blocking is not None or stored.exchange.decision == BLOCKED_INPUT:
            decision = BLOCKED_INPUT if blocking else RELEASED
            return Replayed(decision, tuple(scores), blocking, blocking.reason if blocking else "")
        return await self._look_at_reply(stored, request, scores)

    async def close(self) -> None:
        """Give back what the controls hold."""
        await self.controls.close()

    async def _look_at_reply(
        self, stored: Stored, request: ChatRequest, scores: list[ControlScore]
    ) -> Replayed:
        exchange = stored.exchange
        if stored.replies is None:
            return Replayed(UNDECIDED, tuple(scores))
        said = await self._judged(
            request.question, stored.replies, by_sentence=exchange.streamed, prefill=request.prefill
        )
        if exchange.decision != RELEASED:
            return self._cut(exchange, scores, said)
        blocking = first_blocking(said)
        decision = BLOCKED_OUTPUT if blocking else RELEASED
        return Replayed(decision, (*scores, *said), blocking, blocking.reason if blocking else "")

    async def _judged(
        self, question: str, texts: Iterable[str], *, by_sentence: bool, prefill: str = ""
    ) -> list[ControlScore]:
        """What controls say of the texts of a reply, each by itself."""

        def make_gate(given: str) -> OutputGate:
            return self.controls.gate(question, by_sentence=by_sentence, prefill=given)

        said: list[ControlScore] = []
        for text in texts:
            gate = text_gate(make_gate, prefill, self._reasoning)
            await gate.feed(text)
            await gate.finish()
            said += gate.scores
        searched = self._policy.forbidden_phrases and all(score.control != LEXICON for score in said)
        return [NOTHING_FOUND, *said] if searched else said

    def _cut(self, exchange: Exchange, scores: list[ControlScore], said: Sequence[ControlScore]) -> Replayed:
        """Of a reply that was cut: only what objects is known."""
        said = [score for score in said if objects(score)]
        again = (self._again(score) for score in exchange.scores)
        said = said or list(filter(None, again))[:1]
        blocking = first_blocking(said)
        decision = BLOCKED_OUTPUT if blocking else UNDECIDED
        return Replayed(decision, (*scores, *said), blocking, blocking.reason if blocking else "")

    def _again(self, before: ControlScore) -> ControlScore | None:
        """What was said of text that never left, under this policy's thresholds; None where that is not known."""
        if before.direction != "output" or not before.blocked:
            return None
        if before.reason == ECHO or before.control not in (LEXICON, OUTPUT_JUDGE):
            return before  # no policy changes what it finds
        if before.control == LEXICON or before.score is None or before.control in self.controls.shadow:
            return None
        names = (before.category,) if before.category else ()
        found = self._outgoing.judge(Score(before.score, categories=names))
        return before if found.blocked else None


def _heard_before(stored: Stored, request: ChatRequest, bounds: GatewayAudioPolicy | None) -> Heard | None:
    """The request with the words that were heard then, under these bounds."""
    if bounds is None:
        return None
    notes = {note.sha256: note for note in stored.exchange.clips or ()}
    said = {
        clip.sha256: Words(stored.words[clip.sha256], note.confidence, note.no_speech)
        if (note := notes.get(clip.sha256)) is not None and clip.sha256 in stored.words
        else None
        for clip in request.clips
    }
    return with_words(request, said, bounds)
