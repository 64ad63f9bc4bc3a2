"""A sample of expected requests, scored as the gateway will score live ones: of which only counts are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from recert.errors import InputError, RecordError
from recert.gateway.controls import EVERY_CONTROL, INPUT_JUDGE, LEXICON, Controls
from recert.gateway.input.lexicon import LIMITS
from recert.gateway.protocol.errors import BadRequest
from recert.gateway.protocol.parse import ChatRequest, parse_chat, read_object
from recert.gateway.protocol.request_texts import RequestTexts
from recert.judges.embedded.request import EmbeddedRequestJudge
from recert.policy.policy import GatewayPolicy
from recert.records.live.exchange import ControlScore
from recert.records.signed.input_distribution import InputDistribution
from recert.store.files.writing import read_bytes

COUNTED: Final = (LIMITS, LEXICON, INPUT_JUDGE)
"""Controls that say of one request what they would say of it live; the risk of conversations needs their course."""
_JSON_ENDINGS: Final = (".jsonl", ".ndjson")


def read_requests(path: Path, policy: GatewayPolicy) -> list[ChatRequest]:
    """
    Read a sample of requests: `.jsonl` with `prompt` or `messages` on every line, or text with a request a line.

    Args:
        path: the file.
        policy: what the gateway takes.

    Raises:
        StoreError: the file cannot be read.
        InputError: a line is no request that the gateway would take, or there is none.
    """
    requests = []
    for number, line in enumerate(read_bytes(path, "expected requests").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            requests.append(_read(line, policy, is_json=path.suffix in _JSON_ENDINGS))
        except (BadRequest, RecordError, UnicodeDecodeError) as exc:
            raise InputError(
                "a line is no request that the gateway takes",
                facts={"file": path, "line": number, "because": str(exc)},
                hint='write {"prompt": "..."} or {"messages": [...]} on every line of a .jsonl file',
            ) from exc
    if not requests:
        raise InputError("there are no expected requests", facts={"file": path})
    return requests


def _read(line: bytes, policy: GatewayPolicy, *, is_json: bool) -> ChatRequest:
    if is_json:
        value = read_object(line)
        messages = value.get("messages", [{"role": "user", "content": value.get("prompt")}])
    else:
        messages = [{"role": "user", "content": line.decode()}]
    return parse_chat({"model": "expected", "messages": messages}, policy)


def expected_inputs(
    requests: Sequence[ChatRequest], policy: GatewayPolicy, *, progress: Callable[[int], None] | None = None
) -> InputDistribution:
    """
    Return how the policy's own controls score requests, in bins; the embedded judge is the one behind `input-judge`.

    Args:
        requests: what is expected, one at a time: they are no conversation with each other.
        policy: thresholds and phrases.
        progress: called with the number of requests that were scored.

    Raises:
        GatewayError: the controls cannot be made, see `Controls`.
        InputError: the judge scored none of them.
    """
    judge = EmbeddedRequestJudge()
    note = judge.note
    scores = asyncio.run(_scores(requests, policy, judge, progress))
    asked = {s.control for said in scores for s in said}
    found = InputDistribution.of(
        scores, [name for name in COUNTED if name in asked], judge=f"{note.id} {note.version}"
    )
    if not any(sum(one.scores) for one in found.controls if one.control == INPUT_JUDGE):
        raise InputError(
            "the judge scored none of the expected requests",
            facts={"requests": len(requests)},
            hint="give requests that the policy's controls let pass",
        )
    return found


async def _scores(
    requests: Sequence[ChatRequest],
    policy: GatewayPolicy,
    judge: EmbeddedRequestJudge,
    progress: Callable[[int], None] | None,
) -> list[list[ControlScore]]:
    controls = Controls(_alone(policy), secret=None, request_judge=judge, reply_judge=None)
    scores = []
    try:
        for number, request in enumerate(requests, start=1):
            asked = RequestTexts(request.texts(), request.user_turns, f"{number}")
            scores.append(await controls.check_request(asked))
            if progress:
                progress(number)
    finally:
        await controls.close()
    return scores


def _alone(policy: GatewayPolicy) -> GatewayPolicy:
    """The policy without what needs the served model or the course of a conversation."""
    kept = {LEXICON, INPUT_JUDGE, EVERY_CONTROL} if policy.forbidden_phrases else {INPUT_JUDGE, EVERY_CONTROL}
    return policy.model_copy(
        update={
            "trigger_probe": None,
            "conversation": policy.conversation.model_copy(update={"active": False}),
            "shadow": tuple(name for name in policy.shadow if name in kept),
        }
    )
