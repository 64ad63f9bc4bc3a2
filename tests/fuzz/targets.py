"""What is fuzzed: for each reader and filter, what must hold of any bytes at all. Anything raised is a finding."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from builders import (
    make_eval_report,
    make_policy,
    make_screen_report,
    make_tune_report,
    make_watch_report,
)
from certification.conftest import World, make_world
from fuzz.mutate import blocks_of, mutated
from fuzz.wire import WIRE_WORDS, check_wire, wires
from logs import write_log
from recert.certification import Envelope, Presented, PublicKey, Verifier, read_status, refuse
from recert.certification.log.checking import LogDemand, require_logged
from recert.certification.signing.refusals import require_unrefused
from recert.errors import RecordError, VerificationError
from recert.gateway.guardrail.texts import read_posted
from recert.gateway.input.normalise import fold, fold_leet
from recert.gateway.output.gate import OutputGate
from recert.gateway.output.holdback import HoldBack
from recert.gateway.output.patterns import compile_patterns, scan
from recert.gateway.output.reply_gate import ReplyGate
from recert.gateway.protocol.deltas import Delta, Events, read_deltas, read_whole
from recert.gateway.protocol.errors import BadRequest, HttpError
from recert.gateway.protocol.parse import ChatOptions, ChatRequest, Tool, parse_chat, read_object
from recert.gateway.protocol.values import strings
from recert.models.chat.secret import SecretPrefix
from recert.policy.policy import GatewayPolicy, Policy
from recert.records.live.watching import WatchReport
from recert.records.record import Record
from recert.records.reports.evaluation import EvalReport
from recert.records.reports.screening import ScreenReport
from recert.records.reports.tuning import TuneReport
from recert.records.signed.certificate import Certificate, StatusList
from recert.records.signed.transparency import VerifierMemory
from recert.store.audit.chain import walk
from recert.store.audit.file import read_checkpoint, require_met
from recert.store.audit.log import checkpoint_path
from spellings import spellings
from transparency.conftest import make_logged

EVERYTHING = ("choices", "logprobs", "names", "prefill", "reasoning", "response_format", "stop", "tools")
OPEN = GatewayPolicy(max_new_tokens=100, allow=EVERYTHING)
CLOSED = GatewayPolicy(max_new_tokens=100)
PHRASES = ("make a bomb", "abab", "ab a", "Straße", "napalm")
SECRET = SecretPrefix("q7Zk2Vw9Xc4Rt1Yb8Nm3Lp6")
PATTERNS = compile_patterns(PHRASES)
GUARDED = compile_patterns(PHRASES, SECRET)
_TURN = str.maketrans("abcdefghijklmnopqrstuvwxyz", "nopqrstuvwxyzabcdefghijklm")
_LETTERS = {phrase: sum(map(str.isalpha, phrase)) for phrase in map(fold, PHRASES)}


@dataclass(frozen=True)
class Target:
    """
    One thing that is fuzzed.

    Args:
        check: returns where all is well with a case.
        bases: cases that are fine, to start from.
        words: bits of the language that mutations put in.
        share: of the cases of a run.
    """

    name: str
    check: Callable[[bytes], None]
    bases: Callable[[], Sequence[bytes]]
    words: tuple[bytes, ...] = ()
    share: float = 1.0
    by_number: bool = False
    """True where a case is the number of a mutation, as the bytes themselves depend on keys made at the start."""
    make: Callable[[Random], bytes] | None = field(default=None)
    """Makes a case from nothing, where that is better than changing others."""

    def case(self, chance: Random) -> bytes:
        """Return a new case."""
        if self.by_number:
            return b"%d" % chance.getrandbits(64)
        if self.make is not None and chance.random() < 0.7:
            return self.make(chance)
        bases = self.bases()
        return mutated(chance.choice(bases), chance, words=self.words, others=bases)


def has_phrase(text: str) -> bool:
    """Say, by looking at the whole text, whether a phrase is in it. Written apart from the filter."""
    plain, leet = fold(text), fold_leet(text)
    return any(
        p in plain or (n >= 4 and (fold_leet(p) in leet or p.translate(_TURN) in plain))
        for p, n in _LETTERS.items()
    )


# requests


def check_request(data: bytes) -> None:
    """
    A body is refused with BadRequest, or understood: then the controls know every text that the model gets, a
    narrower policy takes no more of it, and what goes on is understood as the same again.
    """
    try:
        value = read_object(data)
    except BadRequest:
        return
    assert json.loads(data).keys() == value.keys()
    wide, narrow = _parsed(value, OPEN), _parsed(value, CLOSED)
    if narrow is not None:
        assert wide is not None
        assert narrow.wishes == ChatOptions()
        assert (wide.system, wide.messages) == (narrow.system, narrow.messages)
    if wide is None:
        return
    sent = {"messages": [one.to_value() for one in wide.messages], **wide.wishes.to_value()}
    known = "\n".join(wide.texts())
    ids = {call.id for one in wide.messages for call in one.tool_calls} | {
        m.tool_call_id for m in wide.messages
    }
    for text in strings(sent):
        assert text in known or text in _PROTOCOL or text in ids, text
    again = _parsed({"model": wide.model, "temperature": wide.temperature, **sent}, OPEN)
    assert again is not None
    assert (again.messages, again.wishes.to_value()) == (wide.messages, wide.wishes.to_value())


def _parsed(value: dict[str, Any], policy: GatewayPolicy) -> ChatRequest | None:
    try:
        return parse_chat(value, policy)
    except BadRequest:
        return None


_PROTOCOL = frozenset(
    {
        "", "messages", "role", "content", "name", "refusal", "reasoning", "reasoning_content", "tool_calls",
        "tool_call_id", "id", "type", "function", "arguments", "user", "assistant", "tool", "tools", "description",
        "parameters", "strict", "tool_choice", "none", "auto", "required", "parallel_tool_calls", "response_format",
        "json_schema", "json_object", "schema", "stop", "n", "logprobs", "reasoning_effort", "minimal", "low",
        "medium", "high", "xhigh",
    }
)  # fmt: skip
_SCHEMA = {
    "type": "object",
    "properties": {"where": {"type": "string", "enum": ["north"], "description": "a side"}},
}
_CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "\\u0074he map"}'}}
_TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "looks around", "parameters": _SCHEMA},
}
_SIMPLE: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
_FULL: dict[str, Any] = {
    "model": "m",
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 5,
    "temperature": 0.5,
    "top_p": 0.9,
    "seed": 7,
    "user": "someone",
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}],
            "name": "ann",
        },
        {"role": "assistant", "content": None, "tool_calls": [_CALL], "reasoning_content": "I should look."},
        {"role": "tool", "tool_call_id": "c1", "content": "a lake"},
        {"role": "assistant", "content": "So", "refusal": None},
    ],
    "tools": [_TOOL],
    "tool_choice": {"type": "function", "function": {"name": "look"}},
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "place", "schema": {"required": ["lake"]}},
    },
    "stop": ["END"],
    "n": 2,
    "logprobs": True,
    "reasoning_effort": "low",
    "parallel_tool_calls": False,
}
_FIELDS = tuple(
    f'"{name}":'.encode()
    for name in (
        *_FULL,
        "role",
        "content",
        "function",
        "arguments",
        "functions",
        "logit_bias",
        "store",
        "best_of",
    )
)


@cache
def _requests() -> Sequence[bytes]:
    return (
        json.dumps(_SIMPLE).encode(),
        json.dumps(_FULL).encode(),
        json.dumps(_FULL, separators=(",", ":")).encode(),
    )


# what LiteLLM posts


def check_posted(data: bytes) -> None:
    """A guardrail request is refused with BadRequest, or every text of it is among those that are judged."""
    try:
        value = read_object(data)
        posted = read_posted(value)
    except BadRequest:
        return
    judged = "\n".join(posted.pieces())
    for text in (*posted.streamed, *posted.turns):
        assert text in judged, text


@cache
def _posted() -> Sequence[bytes]:
    made = {
        "input_type": "request", "texts": ["Hello", "there"], "model": "m", "images": [],
        "structured_messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "tool_calls": [_CALL]}],
        "tools": [_TOOL], "litellm_call_id": "c", "request_data": {"user_api_key_hash": "h"},
    }  # fmt: skip
    return (json.dumps(made).encode(), json.dumps({**made, "input_type": "response"}).encode())


# what the upstream streams


def _outcome(blocks: Sequence[bytes]) -> tuple[dict[tuple[int, str], str], str]:
    """Return the texts by choice and field of a stream in blocks, and the error's code if it ended with one."""
    events, texts = Events(), dict[tuple[int, str], str]()
    try:
        for block in blocks:
            for delta in read_deltas(events.feed(block)):
                _add(texts, delta)
            if events.done:
                break
    except HttpError as exc:
        return texts, exc.code
    return texts, ""


def _add(texts: dict[tuple[int, str], str], delta: Delta) -> None:
    for name, text in (("content", delta.text), *delta.beside):
        texts[delta.choice, name] = texts.get((delta.choice, name), "") + text
    for part in delta.calls:
        for name, text in (("name", part.name), ("arguments", part.arguments)):
            where = delta.choice, f"{part.place}.{name}"
            texts[where] = texts.get(where, "") + text
    if delta.finish_reason is not None:
        texts[delta.choice, "end"] = delta.finish_reason


def check_stream(data: bytes) -> None:
    """Any bytes of an upstream are read or refused, the same however they were cut; what is read is what is said."""
    whole, code = _outcome([data])
    cut, cut_code = _outcome(blocks_of(data, Random(data)))
    assert code == cut_code
    if not code:
        assert {k: v for k, v in whole.items() if v} == {k: v for k, v in cut.items() if v}
        said = "".join(text for (_, name), text in whole.items() if name == "content")
        assert len(said) == sum(len(text) for text in _said(data))
    try:
        read_whole(data, 2)
    except HttpError:
        return


def _said(data: bytes) -> Iterator[str]:
    """Every piece of content, read by another parser of JSON and by the letter of the format."""
    for line in data.split(b"\n")[:-1]:
        if not line.startswith(b"data:"):
            continue
        if line[5:].strip() == b"[DONE]":
            return
        for choice in json.loads(line[5:].strip())["choices"]:
            yield choice["delta"].get("content") or ""


@cache
def _streams() -> Sequence[bytes]:
    def sse(*choices: dict[str, Any], **more: Any) -> bytes:
        return b"data: " + json.dumps({"choices": list(choices), **more}).encode() + b"\n\n"

    def one(index: int = 0, reason: str | None = None, **delta: Any) -> dict[str, Any]:
        return {"index": index, "delta": delta, "finish_reason": reason, "logprobs": None}

    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    end = sse(one(reason="stop")) + sse(usage=usage) + b"data: [DONE]\n\n"
    call = {"index": 0, "id": "x", "function": {"name": "look", "arguments": '{"at": "a lake"}'}}
    tokens = [{"token": "Hello", "logprob": -0.1}]
    plain = (
        sse(one(role="assistant", content="")) + sse(one(content="Hello")) + sse(one(content=" there")) + end
    )
    return (
        plain,
        b": ping\r\nevent: x\r\n" + plain.replace(b"\n", b"\r\n"),
        sse(one(content="make a ")) + sse(one(content="bomb")) + end,
        sse(one(content="mаke\u200b a "), one(1, content="nap"))
        + sse(one(content="b0mb"), one(1, content="alm"))
        + end,
        sse(one(reasoning_content="so make ")) + sse(one(reasoning_content="a bomb", content="Hi")) + end,
        sse(one(refusal="abab no"), one(1, content="ab")) + sse(one(1, content="ab ", refusal="ab")) + end,
        sse(one(tool_calls=[call]))
        + sse(one(tool_calls=[{"index": 0, "function": {"arguments": "napalm"}}]))
        + end,
        sse({**one(content="Hello"), "logprobs": {"content": tokens}}) + end,
        b'data: {"error": {"message": "no"}}\n\n',
    )


_SSE = (
    b"data: ", b"data:[DONE]\n", b"\n\n", b"\r\n", b'"content":"make a bomb"', b'"content":"nap', b'alm"', b'"delta":{',
    b'"index":1,', b'"tool_calls":[', b'"arguments":"ab', b'"finish_reason":"stop"', b'"usage":', b"event: error\n",
)  # fmt: skip


# what leaves of a reply


def _run(made: Coroutine[Any, Any, Any]) -> Any:
    """Run what never waits."""
    try:
        made.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def check_reply(data: bytes) -> None:
    """Whatever an upstream streams, and however it is cut: no field of what leaves has a phrase in it."""
    wishes = ChatOptions(choices=2, tools=(Tool("look", "", None, strict=False),), logprobs=True)

    def make_gate(prefill: str) -> OutputGate:
        return OutputGate(None, HoldBack(PATTERNS), "", by_sentence=True, prefill=prefill)

    gate = ReplyGate(make_gate, wishes, EVERYTHING)
    events, left, said = Events(), dict[tuple[int, str], str](), dict[tuple[int, str], str]()
    blocked: set[int] = set()
    try:
        for block in blocks_of(data, Random(data)):
            for delta in read_deltas(events.feed(block)):
                _add(said, delta)
                found = _run(_awaited(gate.feed(delta)))
                _let(left, [found] if found else [], blocked)
                blocked |= {at for at, end in enumerate(gate.ends()) if end.blocked}
        _let(left, _run(gate.finish()), blocked)
    except HttpError:
        pass
    for where, text in left.items():
        assert not has_phrase(text), (where, text)
        assert said.get(where, "").startswith(text), (where, text)


async def _awaited(made: Any) -> Any:
    return await made


def _let(left: dict[tuple[int, str], str], steps: Sequence[Any], blocked: set[int]) -> None:
    for step in steps:
        assert step.choice not in blocked or not (step.texts or step.calls), (
            "more of a choice that is blocked"
        )
        for name, text in step.texts.items():
            left[step.choice, name] = left.get((step.choice, name), "") + text
        for call in step.calls:
            assert not has_phrase(f"{call.name}\n{call.arguments}"), call
        for token, _ in step.logprobs:
            assert not has_phrase(token), token


# the hold-back


def check_holdback(data: bytes) -> None:
    """
    For any text in any pieces: the same leaves as of the whole text, a prefix of it without any phrase; a scan of the
    whole text says the same; and a text that is stopped is stopped for a reason.
    """
    text = data.decode("utf-8", "replace")
    chance = Random(data)
    for patterns in (PATTERNS, GUARDED):
        out, why = _released(patterns, [text])
        marks = sorted({0, len(text), *(chance.randint(0, len(text)) for _ in range(chance.randint(0, 6)))})
        cut = [text[a:b] for a, b in pairwise(marks)]
        assert (out, why) == _released(patterns, cut), cut
        if chance.random() < 0.25:
            assert (out, why) == _released(patterns, list(text))
        assert bool(why) == bool(
            scan(patterns, text)
        )  # which comes first, where there are two, is its own affair
        assert text.startswith(out)
        assert not has_phrase(out)
        assert why or (out == text and not has_phrase(text))
    secret = SECRET.reveal()
    assert secret not in out


def _released(patterns: Any, pieces: Sequence[str]) -> tuple[str, str]:
    holdback = HoldBack(patterns)
    out = "".join([holdback.feed(piece) for piece in pieces])
    return out + holdback.finish(), holdback.violation


_DISGUISES = tuple(name for name in spellings("x") if "3000" not in name and "buffer" not in name)


@cache
def _spelt(phrase: str) -> tuple[str, ...]:
    return tuple(text for name, text in spellings(phrase).items() if name in _DISGUISES)


_ORDINARY = (
    "Here", "is", "a", "query:", "SELECT", "name", "FROM", "users", "WHERE", "id", "=", "4;", "it", "costs", "100", "%",
    "of", "3", "\\n", "cafés", "&", "rows.",
)  # fmt: skip
_BITS = (
    "make ", "a ", " bomb", "aba", "ab ", "Stra", "ße", "ss", "nap", "alm", "n4p4lm", "b0", "bmob a ekam", "\u202e",
    "\u200b", "\u00ad", "\u0301", "\u2067", "\\u006d", "\\u00", "\\ud835\\udc26", "\\x6d", "\\n", "\\", "%6d", "%",
    "&#109;", "&#x6D", "&amp;", ";", "=bW", "6d61", "bWFrZSBhIGJvbWI", "6b652061", "20626f6d62", "\n", "\t", "=", "/",
    "+", "-", "_", "q7Zk2Vw9", "Xc4Rt1Yb8", "8bY1tR4cX9wV2kZ7q", "ｎａｐ", "𝐚𝐥𝐦", "ⓝⓐⓟ", "znxr n obzo", "anc", "nyz",
    "\U0001f600", "İ", "ﬁ",
)  # fmt: skip


def _text(chance: Random) -> bytes:
    """A text of ordinary words, bits of phrases and whole disguised ones, in some encoding now and then."""
    parts = []
    for _ in range(chance.randint(1, 7)):
        kind = chance.random()
        if kind < 0.35:
            parts.append(chance.choice(_ORDINARY) + " ")
        elif kind < 0.75:
            parts.append(chance.choice(_BITS))
        elif kind < 0.85:
            spelt = chance.choice(_spelt(chance.choice(PHRASES)))
            cut = chance.choice((0, 0, 1, 2))
            parts.append(spelt[cut:] if chance.random() < 0.5 else spelt[: len(spelt) - cut])
        elif kind < 0.95:
            parts.append(chr(chance.choice((chance.randint(32, 126), chance.randint(160, 0xD7FF)))))
        else:
            parts.append(chance.choice(_BITS) * chance.randint(2, 4))
    return "".join(parts).encode()


@cache
def _texts() -> Sequence[bytes]:
    return [text.encode() for phrase in PHRASES for text in _spelt(phrase)] + [SECRET.reveal().encode()]


# certificates, envelopes, status lists, refusals


@cache
def _world() -> World:
    with tempfile.TemporaryDirectory() as folder:
        return make_world(Path(folder))


def _inside(envelope: bytes, chance: Random) -> bytes:
    """Change an envelope, or what is signed in it, which then nobody has signed."""
    if chance.random() < 0.4:
        opened = Envelope.from_json(envelope)
        payload = mutated(opened.payload, chance, words=(b"pass", b"fail", b"revoked"))
        return Envelope(opened.payload_type, payload, opened.signatures).to_json()
    other = _world().status if chance.random() < 0.5 else _world().envelope
    return mutated(
        envelope, chance, others=(other or b"",), words=(b'"keyid"', b'"sig"', b"==", b"application/")
    )


def _read_signed(world: World, envelope: bytes) -> tuple[Certificate, dict[str, PublicKey]]:
    verifier = Verifier(trust=world.trust, status=world.status, policy=world.policy)
    return verifier.read_signed(Presented(envelope), now=world.now)


def check_certificate(data: bytes) -> None:
    """A changed certificate is refused with VerificationError, or says what the signed one says."""
    world = _world()
    changed = _inside(world.envelope, Random(data))
    try:
        found, signers = _read_signed(world, changed)
    except VerificationError:
        return
    real, everyone = _read_signed(world, world.envelope)
    assert found == real
    assert signers.keys() <= everyone.keys()


def check_status(data: bytes) -> None:
    """A changed status list is refused with VerificationError, or is the one that was signed."""
    world = _world()
    assert world.status is not None
    changed = _inside(world.status, Random(data))
    try:
        found = read_status(changed, trust=world.trust, now=world.now)
    except VerificationError:
        return
    assert found == read_status(world.status, trust=world.trust, now=world.now)


@cache
def _refusal() -> bytes:
    world = _world()
    return refuse(world.envelope, world.keys["approver"], "too early", now=world.now)


def check_refusal(data: bytes) -> None:
    """However a refusal is changed, it is a no: of who refused, or because nobody can read it."""
    world = _world()
    certificate, _ = _read_signed(world, world.envelope)
    try:
        require_unrefused(certificate, [_inside(_refusal(), Random(data))], trust=world.trust, now=world.now)
    except VerificationError:
        return
    raise AssertionError("a changed refusal is a yes")


# proofs of a transparency log


@cache
def _proof() -> tuple[World, str, bytes, VerifierMemory]:
    with tempfile.TemporaryDirectory() as folder:
        logged = make_logged(Path(folder))
        proof = logged.prove().to_json()
        verified = logged.verify(proof)
        return logged.world, verified.certificate.serial, proof, verified.memory


def check_proof(data: bytes) -> None:
    """A changed proof is refused with VerificationError, or shows the same certificate in the same tree."""
    world, serial, proof, whole = _proof()
    words = (b"\\n\\n", b"\\n7\\n", b'"path":[', b'"earlier":[', b'"index":3', "\u2014 ".encode(), b"==")
    changed = LogDemand(mutated(proof, Random(data), others=(proof,), words=words))
    try:
        seen = require_logged(
            world.envelope,
            serial,
            changed,
            policy=None,
            trust=world.trust,
            memory=VerifierMemory(),
            now=world.now,
        )
    except VerificationError:
        return
    for origin, trees in seen.logs.items():
        assert set(trees) <= set(whole.logs[origin])


# records


@cache
def _records() -> tuple[tuple[type[Record], bytes], ...]:
    made: tuple[Record, ...] = (
        make_eval_report(), make_screen_report(), make_tune_report(),
        make_watch_report(serial="s", certificate_sha256="0" * 64), make_policy(),
    )  # fmt: skip
    kinds: tuple[type[Record], ...] = (EvalReport, ScreenReport, TuneReport, WatchReport, Policy)
    signed = Envelope.from_json(_world().status or b"").payload
    return (*((kind, one.to_json()) for kind, one in zip(kinds, made, strict=True)), (StatusList, signed))


@cache
def _record_bytes() -> Sequence[bytes]:
    return [data for _, data in _records()]


def check_record(data: bytes) -> None:
    """Bytes are refused with RecordError when read or written, or are a record that reads back as itself."""
    for kind in (*(kind for kind, _ in _records()), Certificate):
        try:
            found = kind.from_json(data)
            said = found.to_json()
        except RecordError:
            continue
        again = kind.from_json(said)
        assert again == found
        assert again.to_json() == said


# the audit log


@cache
def _log() -> tuple[bytes, tuple[int, str]]:
    with tempfile.TemporaryDirectory() as folder:
        path = write_log(Path(folder) / "audit.jsonl", 5)
        assert checkpoint_path(path).exists()
        return path.read_bytes(), read_checkpoint(path)


def check_log(data: bytes) -> None:
    """A log in which anything was changed up to its checkpoint is refused with RecordError."""
    log, checkpoint = _log()
    changed = mutated(log, Random(data), others=(log,), words=(b"\n", b'"seq":3', b'"prev":', b'"released"'))
    try:
        lines = list(walk(io.BytesIO(changed), "log"))
        digest = lines[checkpoint[0] - 1].sha256 if 0 < checkpoint[0] <= len(lines) else None
        require_met("log", checkpoint, len(lines), digest)
    except RecordError:
        return
    assert changed.startswith(log)


def _numbers() -> Sequence[bytes]:
    return (b"0", b"1", b"2")


TARGETS = {
    target.name: target
    for target in (
        Target("request", check_request, _requests, _FIELDS, 0.2),
        Target("posted", check_posted, _posted, _FIELDS, 0.06),
        Target("stream", check_stream, _streams, _SSE, 0.16),
        Target("reply", check_reply, _streams, _SSE, 0.12),
        Target("holdback", check_holdback, _texts, tuple(bit.encode() for bit in _BITS), 0.21, make=_text),
        Target("certificate", check_certificate, _numbers, share=0.05, by_number=True),
        Target("status", check_status, _numbers, share=0.03, by_number=True),
        Target("refusal", check_refusal, _numbers, share=0.02, by_number=True),
        Target("proof", check_proof, _numbers, share=0.05, by_number=True),
        Target("record", check_record, _record_bytes, (b"null", b"1e400", b'"x":'), 0.05),
        Target("wire", check_wire, wires, WIRE_WORDS, 0.05),
        Target("log", check_log, _numbers, share=0.05, by_number=True),
    )
}
"""By name."""
