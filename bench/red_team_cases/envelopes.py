"""Envelopes and JSON: other types and encodings, keys that are there twice, numbers that parsers disagree on."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

from recert.certification import Presented
from recert.certification.signing.envelope import Envelope, sign
from recert.digest import canonical_json
from recert.records.signed.certificate import PAYLOAD_TYPE, STATUS_PAYLOAD_TYPE
from red_team_cases.attacks import Answer, Way, attack
from red_team_cases.desks import Desk, answer_of
from red_team_cases.ways import HOLDS, RE_SIGNED

KIND = "envelopes"


def _forge(desk: Desk) -> None:
    desk.forge()
    desk.kept["said"] = desk.certificate.to_json()


def _otherwise(desk: Desk) -> Answer:
    """Ask; a yes to just what was signed is none that is wrong."""
    found = []
    answer = answer_of(lambda: found.append(desk.verifier().read(Presented(desk.envelope))))
    if answer.yes and desk.kept.get("changed") and found[0].to_json() == desk.kept["said"]:
        return Answer(yes=False, code="says-what-was-signed")
    return answer


DAMAGED = Way("it holds, and says what was signed", _forge, _otherwise, ("sql",))
MALFORMED = "malformed"


# -- the envelope


def _bytes(name: str, says: str, change: Callable[[bytes], bytes], codes: str = MALFORMED) -> None:
    @attack(KIND, RE_SIGNED, says, by="tuner", stopped_by=codes, name=name)
    def act(desk: Desk) -> None:
        desk.envelope = change(desk.envelope)


def _fields(name: str, says: str, change: Callable[[dict[str, Any]], None], codes: str = MALFORMED) -> None:
    def edit(envelope: bytes) -> bytes:
        value = json.loads(envelope)
        change(value)
        return json.dumps(value).encode()

    _bytes(name, says, edit, codes)


for _type in (
    "application/json",
    "application/vnd.in-toto+JSON",
    "application/vnd.in-toto+json ",
    "",
    STATUS_PAYLOAD_TYPE,
    "application/vnd.in-toto+json\x00",
    "application/vnd.in-toto%2Bjson",
):
    _fields(
        f"payload type {_type!a}",
        "another payload type stands over the signed payload",
        lambda v, kind=_type: v.update(payloadType=kind),
    )
_fields("no payload type", "there is no payload type", lambda v: v.pop("payloadType"))
_fields("no payload", "there is no payload", lambda v: v.pop("payload"))
_fields("no signatures", "there are no signatures", lambda v: v.pop("signatures"))
_fields("an empty list of signatures", "nobody signed", lambda v: v.update(signatures=[]))
_fields(
    "signatures as an object",
    "signatures are an object",
    lambda v: v.update(signatures=dict(enumerate(v["signatures"]))),
)
_fields("a field more", "a field stands there that nobody signed", lambda v: v.update(note="trust me"))
_fields(
    "a field more in a signature",
    "a certificate of a key stands beside a signature",
    lambda v: v["signatures"][0].update(cert="x"),
)
_fields("a signature without a key", "a signature names no key", lambda v: v["signatures"][0].pop("keyid"))
_fields("payload of null", "the payload is null", lambda v: v.update(payload=None))
_fields("payload as a list", "the payload is a list", lambda v: v.update(payload=[v["payload"]]))
_fields(
    "key ids in capitals",
    "key ids are written in capitals",
    lambda v: [s.update(keyid=s["keyid"].upper()) for s in v["signatures"]],
    "untrusted-key",
)
_fields(
    "key ids cut short",
    "key ids are cut to 16 digits",
    lambda v: [s.update(keyid=s["keyid"][:16]) for s in v["signatures"]],
    "untrusted-key",
)


def _encode(change: Callable[[str], str]) -> Callable[[dict[str, Any]], None]:
    return lambda v: v.update(payload=change(v["payload"]))


def _spare(text: str) -> str:
    """Another text for the same bytes, where there is one; else a character less."""
    if not text.endswith("="):
        return text[:-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    at = len(text.rstrip("=")) - 1
    return text[:at] + alphabet[alphabet.index(text[at]) + 1] + text[at + 1 :]


_fields(
    "base64 for URLs",
    "the payload is in base64 for URLs",
    _encode(lambda t: t.replace("+", "-").replace("/", "_") if set("+/") & set(t) else "-" + t[1:]),
    "malformed bad-signature",
)
_fields("base64 with a line end", "base64 holds a line end", _encode(lambda t: t[:76] + "\n" + t[76:]))
_fields("base64 with blanks", "base64 holds blanks", _encode(lambda t: t + " "))
_fields(
    "base64 without padding",
    "base64 has no padding, or too much",
    _encode(lambda t: t.rstrip("=") if t.endswith("=") else t + "===="),
)
_fields(
    "base64 with something behind",
    "something stands behind the padding",
    _encode(lambda t: t + "AAAA"),
    "bad-signature malformed",
)
_fields(
    "base64 of other spare bits",
    "spare bits are set",
    _encode(_spare),
    "malformed bad-signature",
)
_fields(
    "base64 of hex",
    "the payload is in hex",
    _encode(lambda t: base64.b64decode(t).hex()),
    "malformed bad-signature",
)
_fields(
    "base64 of wide letters",
    "base64 is of wide letters",
    _encode(lambda t: "".join(chr(ord(c) + 0xFEE0) for c in t)),
)


_bytes("a byte order mark", "a byte order mark stands before it", lambda e: b"\xef\xbb\xbf" + e)
_bytes("in UTF-16", "it is in UTF-16", lambda e: e.decode().encode("utf-16"))
_bytes("something behind it", "something stands behind it", lambda e: e + b"{}")
_bytes("two of them", "two envelopes stand there", lambda e: e + b"\n" + e)
_bytes("in a list", "it stands in a list", lambda e: b"[" + e + b"]")
_bytes("cut short", "its end is cut off", lambda e: e[:-1])
_bytes("empty", "it is empty", lambda e: b"")
_bytes("of zeros", "it is full of zeros", lambda e: bytes(len(e)))
_bytes("of null", "it is null", lambda e: b"null")
_bytes("17 MB", "it is larger than any envelope", lambda e: e[:-1] + b" " * 17_000_000 + e[-1:])
_bytes(
    "payload named twice",
    "a second payload hides the signed one",
    lambda e: e.replace(b'"payload":', b'"payload":"e30=","payload":', 1),
)
_bytes(
    "signatures named twice",
    "signatures are there twice",
    lambda e: e[:-1] + b',"signatures":[{"keyid":"","sig":""}]}',
)
_bytes(
    "a name that is escaped",
    "the payload is named a second time with an escape",
    lambda e: e[:-1] + b',"\\u0070ayload":"e30="}',
)
_bytes(
    "nested a hundred thousand times",
    "it is nested so deep that a parser falls over",
    lambda e: e[:-1] + b',"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
)
_bytes("NaN", "a number is none", lambda e: e[:-1] + b',"a":NaN}')
_bytes("infinity", "a number is infinite", lambda e: e[:-1] + b',"a":Infinity}')
_bytes(
    "a number of a million digits",
    "a number has a million digits",
    lambda e: e[:-1] + b',"a":' + b"9" * 1_000_000 + b"}",
)
_bytes("a lone surrogate", "a text holds half a character", lambda e: e[:-1] + b',"a":"\\ud800"}')
_bytes("a comment", "a comment stands in it", lambda e: b"/* it is fine */" + e)
_bytes("single quotes", "texts are in single quotes", lambda e: e.replace(b'"', b"'"))


@attack(
    KIND,
    RE_SIGNED,
    "signatures of another payload stand under this one",
    by="tuner",
    stopped_by="bad-signature",
)
def signatures_of_another_payload(desk: Desk) -> None:
    honest = Envelope.from_json(desk.envelope)
    changed = desk.certificate.model_copy(update={"model_name": "another"})
    from recert.certification.signing.statement import statement_bytes

    desk.envelope = Envelope(PAYLOAD_TYPE, statement_bytes(changed), honest.signatures).to_json()


@attack(
    KIND,
    RE_SIGNED,
    "a payload signed as a status list goes as a certificate",
    by="one signer",
    stopped_by="bad-signature",
)
def signed_under_another_type(desk: Desk) -> None:
    payload = Envelope.from_json(desk.envelope).payload
    signed = sign(STATUS_PAYLOAD_TYPE, payload, [desk.keys["evaluator"], desk.keys["approver"]])
    desk.envelope = Envelope(PAYLOAD_TYPE, payload, signed.signatures).to_json()


@attack(
    KIND,
    RE_SIGNED,
    "the payload alone is signed, without its type",
    by="one signer",
    stopped_by="bad-signature",
)
def signed_without_a_type(desk: Desk) -> None:
    from recert.certification.signing.envelope import Signature

    payload = Envelope.from_json(desk.envelope).payload
    signatures = tuple(
        Signature(desk.keys[role].key_id, desk.keys[role].sign(payload)) for role in ("evaluator", "approver")
    )
    desk.envelope = Envelope(PAYLOAD_TYPE, payload, signatures).to_json()


# -- what both signers signed, in other forms


def _payload(name: str, says: str, change: Callable[[bytes], bytes], codes: str = MALFORMED) -> None:
    @attack(KIND, RE_SIGNED, says, by="colluders", stopped_by=codes, name=f"signed {name}")
    def act(desk: Desk) -> None:
        payload = change(Envelope.from_json(desk.envelope).payload)
        desk.envelope = sign(PAYLOAD_TYPE, payload, [desk.keys["evaluator"], desk.keys["approver"]]).to_json()


def _predicate(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    def edit(payload: bytes) -> bytes:
        value = json.loads(payload)
        change(value)
        return canonical_json(value)

    return edit


_payload(
    "verdict twice",
    "a second verdict hides the first",
    lambda p: p.replace(b'"verdict_raw":', b'"verdict_raw":"fail","verdict_raw":', 1),
)
_payload(
    "verdict under an escaped name",
    "a second verdict has an escaped name",
    lambda p: p.replace(b'"verdict_raw":', b'"verdict\\u005fraw":"fail","verdict_raw":', 1),
)
_payload("blanks", "it holds blanks", lambda p: p.replace(b'":', b'": ', 1))
_payload("a byte order mark", "a byte order mark stands before it", lambda p: b"\xef\xbb\xbf" + p)
_payload("something behind it", "something stands behind it", lambda p: p + b"\n")
_payload(
    "a float for a count",
    "a count is a float",
    lambda p: p.replace(b'"schema_version":1', b'"schema_version":1.0', 1),
)
_payload(
    "a number with an exponent",
    "a number has an exponent",
    lambda p: p.replace(b'"schema_version":1', b'"schema_version":1e0', 1),
)
_payload("minus zero", "a number is minus zero", lambda p: p.replace(b'"unscored":0', b'"unscored":-0', 1))
_payload("escapes in texts", "a text is escaped", lambda p: p.replace(b'"pass"', b'"p\\u0061ss"', 1))
_payload(
    "another order of fields",
    "fields stand in another order",
    lambda p: json.dumps(dict(reversed(json.loads(p).items()))).encode(),
)
_payload(
    "another predicate",
    "it is of another predicate",
    _predicate(lambda v: v.update(predicateType="https://slsa.dev/provenance/v1")),
)
_payload(
    "another statement",
    "it is another statement",
    _predicate(lambda v: v.update(_type="https://in-toto.io/Statement/v0.1")),
)
_payload("no subjects", "it is about no file", _predicate(lambda v: v.update(subject=[])))
_payload("a subject dropped", "it is about a file less", _predicate(lambda v: v["subject"].pop()))
_payload(
    "a subject more",
    "it is about a file more",
    _predicate(lambda v: v["subject"].append({"name": "tuned/x", "digest": {"sha256": "0" * 64}})),
)
_payload(
    "subjects in another order",
    "subjects stand in another order",
    _predicate(lambda v: v["subject"].reverse()),
)
_payload(
    "a subject by sha1",
    "a subject has a sha1",
    _predicate(lambda v: v["subject"][0].update(digest={"sha1": "0" * 40})),
)
_payload(
    "a field of the statement more",
    "a field stands beside the predicate",
    _predicate(lambda v: v.update(note="x")),
)
_payload(
    "files in another order",
    "files of the manifest stand in another order",
    _predicate(lambda v: v["predicate"]["base"]["files"].reverse()),
)
_payload(
    "a file's name that leads out",
    "a file's name leads out of the folder",
    _predicate(lambda v: v["predicate"]["tuned"]["files"][0].update(name="../../x")),
)
_payload(
    "a file twice",
    "a file is there twice",
    _predicate(lambda v: v["predicate"]["tuned"]["files"].append(v["predicate"]["tuned"]["files"][0])),
)
_payload(
    "a time without an offset",
    "a time has no offset",
    _predicate(lambda v: v["predicate"].update(expires_at=v["predicate"]["expires_at"].rstrip("Z"))),
)
_payload(
    "a time in another form",
    "a time has fractions",
    _predicate(lambda v: v["predicate"].update(expires_at=v["predicate"]["expires_at"].replace("Z", ".0Z"))),
)
_payload("a predicate of null", "there is no predicate", _predicate(lambda v: v.update(predicate=None)))
_payload("a list", "it is a list", lambda p: b"[" + p + b"]")


# -- loops


@attack(KIND, RE_SIGNED, "a field of the certificate is left out, and both sign", by="colluders")
def each_field_left_out(desk: Desk) -> Iterator[str]:
    payload = Envelope.from_json(desk.envelope).payload
    for name in json.loads(payload)["predicate"]:
        if name not in _MAY_LACK:
            desk.envelope = _signed(desk, payload, lambda p, n=name: p.pop(n))
            yield name


_MAY_LACK = frozenset(
    {"templates", "supersedes", "compute_flop", "compute_ratio_to_base", "rows_sha256", "hyperparameters"}
)
"""Fields without which a certificate says less, and nothing that a policy asks for."""


@attack(KIND, RE_SIGNED, "a field of the certificate has another type, and both sign", by="colluders")
def each_field_of_another_type(desk: Desk) -> Iterator[str]:
    payload = Envelope.from_json(desk.envelope).payload
    for name, value in json.loads(payload)["predicate"].items():
        for other in (None, True, -1, "", [], {}, [value], {"x": value}):
            if (
                other == value
                or name.startswith("compute_")
                or (other in (None, "", [], {}) and name in _empty_is_fine())
            ):
                continue
            desk.envelope = _signed(desk, payload, lambda p, n=name, o=other: p.update({n: o}))
            yield f"{name}: {str(other)[:60]}"


def _empty_is_fine() -> set[str]:
    """Fields that say nothing which a policy asks for, and may be empty."""
    return {
        "defence",
        "method",
        "model_name",
        "fingerprint",
        "serial",
        "limitations",
        "invalid_when",
        "canary",
        "lineage",
        "screening",
        "required_roles",
        "required_controls",
        "templates",
    }


def _signed(desk: Desk, payload: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    value = json.loads(payload)
    change(value["predicate"])
    return sign(
        PAYLOAD_TYPE, canonical_json(value), [desk.keys["evaluator"], desk.keys["approver"]]
    ).to_json()


@attack(KIND, DAMAGED, "a byte of the envelope is another one", by="tuner")
def each_byte(desk: Desk) -> Iterator[str]:
    whole, desk.kept["changed"] = desk.envelope, True
    for at in range(0, len(whole), max(1, len(whole) // 400)):
        for bit in (1, 32):
            desk.envelope = whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :]
            yield f"byte {at}, bit {bit}"


@attack(KIND, DAMAGED, "the envelope is cut", by="tuner")
def each_length(desk: Desk) -> Iterator[str]:
    whole, desk.kept["changed"] = desk.envelope, True
    for at in range(0, len(whole), max(1, len(whole) // 200)):
        desk.envelope = whole[:at]
        yield f"at {at}"


@attack(KIND, HOLDS, "a signature is taken away", by="tuner", stopped_by="missing-role")
def each_signature_taken_away(desk: Desk) -> Iterator[str]:
    opened = Envelope.from_json(desk.envelope)
    for place in range(len(opened.signatures)):
        others = opened.signatures[:place] + opened.signatures[place + 1 :]
        desk.envelope = Envelope(opened.payload_type, opened.payload, others).to_json()
        yield f"signature {place}"


@attack(
    KIND,
    RE_SIGNED,
    "the certificate's texts are changed in place, unsigned",
    by="tuner",
    stopped_by="bad-signature",
)
def each_text_changed(desk: Desk) -> Iterator[str]:
    opened = Envelope.from_json(desk.envelope)
    value = json.loads(opened.payload)
    for name, said in value["predicate"].items():
        changed = f"{said}x" if isinstance(said, str) else [said, said]
        payload = canonical_json({**value, "predicate": {**value["predicate"], name: changed}})
        desk.envelope = Envelope(opened.payload_type, payload, opened.signatures).to_json()
        yield name
