"""Who signs: one person in two roles, strangers, other names, keys that have ended, and keys that are none."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from recert.certification import PublicKey, SigningKey, TrustStore
from recert.certification.signing.algorithms import RAW_BYTES
from recert.certification.signing.envelope import Envelope, Signature, sign
from recert.certification.signing.statement import statement_bytes
from recert.digest import canonical_json, sha256_bytes
from recert.records.record import now
from recert.records.signed.certificate import PAYLOAD_TYPE, Approval
from red_team_cases.attacks import Answer, Way, attack
from red_team_cases.desks import Desk, answer_of, make_key
from red_team_cases.ways import ISSUED, RE_SIGNED

KIND = "people"
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def _staff(desk: Desk, **people: SigningKey) -> None:
    """Trust other keys in these roles, and let them sign in the place of those there were; steps follow."""
    everybody = {role: people.get(role, key) for role, key in desk.keys.items()}
    desk.trust = TrustStore({k.public.key_id: k.public for k in everybody.values()}.values())
    said = desk.certificate
    approvals = tuple(
        Approval(role=a.role, key_id=everybody[a.role].key_id, name=everybody[a.role].public.name)
        for a in said.approvals
    )
    roles = {"evaluate": "evaluator", "tune": "trainer", "screen": "screener", "watch": "watcher"}
    steps = tuple(
        s.model_copy(
            update={"key_id": everybody[roles[s.step]].key_id, "name": everybody[roles[s.step]].public.name}
        )
        for s in said.steps or ()
    )
    said = said.model_copy(
        update={"approvals": approvals, "steps": steps, "trainer_key_id": everybody["trainer"].key_id}
    )
    signers = [everybody[a.role] for a in said.approvals]
    desk.envelope = sign(PAYLOAD_TYPE, statement_bytes(said), signers).to_json()


def _renamed(key: SigningKey, name: str) -> SigningKey:
    return replace(key, public=key.public.model_copy(update={"name": name}))


STAFFED = Way(
    "it holds when other people, each with a key of their own, do all of it",
    lambda desk: _staff(
        desk,
        **{
            role: make_key(role, f"{role} of the night shift")
            for role in ("evaluator", "approver", "trainer")
        },
    ),
    Desk.read,
    ("sql",),
)


@attack(
    KIND, STAFFED, "trainer and approver are one key", by="one signer", finding=8, stopped_by="same-signer"
)
def trainer_approves(desk: Desk) -> None:
    both = make_key("approver trainer", "Ann")
    _staff(desk, approver=both, trainer=both)


@attack(
    KIND, STAFFED, "trainer and evaluator are one key", by="one signer", finding=8, stopped_by="same-signer"
)
def trainer_evaluates(desk: Desk) -> None:
    both = make_key("evaluator trainer", "Ann")
    _staff(desk, evaluator=both, trainer=both)


@attack(
    KIND, STAFFED, "evaluator and approver are one key", by="one signer", finding=8, stopped_by="same-signer"
)
def evaluator_approves(desk: Desk) -> None:
    both = make_key("evaluator approver", "Ann")
    _staff(desk, evaluator=both, approver=both)


def _one_person(
    name: str, first: str, second: str, roles: tuple[str, str], codes: str = "same-signer"
) -> None:
    @attack(
        KIND,
        STAFFED,
        f"one person signs as {roles[0]} and is {roles[1]}, with two keys, {name}",
        by="one signer",
        finding=8,
        stopped_by=codes,
        name=f"one {roles[0]} and {roles[1]} {name}",
    )
    def act(desk: Desk) -> None:
        _staff(desk, **{roles[0]: make_key(roles[0], first), roles[1]: make_key(roles[1], second)})


for _name, _first, _second in (
    ("of one name", "Ann Lee", "Ann Lee"),
    ("in another case", "Ann Lee", "ANN lee"),
    ("with a blank more", "Ann Lee", " Ann  Lee "),
    ("of wide letters", "Ann Lee", "Ａｎｎ Lee"),
    ("with a mark that is not printed", "Ann Lee", "Ann\u200b Lee"),
    ("with a soft hyphen", "Ann Lee", "A\u00adnn Lee"),
    ("written right to left", "Ann Lee", "\u202eAnn Lee"),
    ("decomposed", "Zoë Lee", "Zoe\u0308 Lee"),
    ("with a ligature", "Steffi Lee", "Steﬃ Lee"),
    ("with a no-break space", "Ann Lee", "Ann\u00a0Lee"),
    ("with a Cyrillic letter", "Ann Lee", "Аnn Lee"),
    ("with a Greek letter", "Ann Oak", "Ann Οak"),
):
    _one_person(_name, _first, _second, ("evaluator", "approver"))
_one_person("of one name", "Ann Lee", "Ann Lee", ("approver", "trainer"))
_one_person("of one name", "Ann Lee", "ann lee", ("evaluator", "trainer"))


@attack(
    KIND,
    STAFFED,
    "a throwaway key that nobody trusts trained it",
    by="tuner",
    finding=8,
    stopped_by="untrusted-key",
)
def throwaway_trainer(desk: Desk) -> None:
    _staff(desk, trainer=make_key("trainer", "nobody"))
    desk.trust = TrustStore(key.public for role, key in desk.keys.items() if role != "trainer")


@attack(
    KIND,
    STAFFED,
    "the evaluator's key is trusted as approver only",
    by="one signer",
    finding=8,
    stopped_by="untrusted-key",
)
def roles_swapped(desk: Desk) -> None:
    evaluator, approver = make_key("approver", "Ann"), make_key("evaluator", "Ben")
    _staff(desk, evaluator=evaluator, approver=approver)


for _role in ("status", "screener", "watcher", "trainer"):

    def _acts(desk: Desk, role: str = _role) -> None:
        _staff(desk, approver=make_key(role, "Ann"))

    attack(
        KIND,
        STAFFED,
        f"a key for the role {_role} approves",
        by="one signer",
        finding=8,
        stopped_by="untrusted-key",
        name=f"a {_role} key approves",
    )(_acts)


@attack(
    KIND, STAFFED, "the approver's key has expired", by="one signer", finding=8, stopped_by="untrusted-key"
)
def expired_approver(desk: Desk) -> None:
    _staff(desk, approver=make_key("approver", "Ann", expires_at=now() - timedelta(seconds=5)))


@attack(
    KIND,
    STAFFED,
    "the trainer's key had expired before it was certified",
    by="tuner",
    finding=8,
    stopped_by="untrusted-key",
)
def expired_trainer(desk: Desk) -> None:
    _staff(
        desk, trainer=make_key("trainer", "Ann", expires_at=desk.certificate.certified_at - timedelta(days=1))
    )


for _name, _given in (
    ("another name", "the board"),
    ("no name", ""),
    ("a blank more", "approver "),
    ("another case", "Approver"),
    ("a Cyrillic letter", "аpprover"),
):

    def _called(desk: Desk, given: str = _given) -> None:
        approvals = desk.certificate.approvals
        desk.forge(approvals=(approvals[0], approvals[1].model_copy(update={"name": given})))

    attack(
        KIND,
        RE_SIGNED,
        f"the approver is shown with {_name} than the trust store has",
        by="colluders",
        finding=8,
        stopped_by="untrusted-key",
        name=f"approver with {_name}",
    )(_called)


@attack(
    KIND,
    RE_SIGNED,
    "a stranger's signature stands under the approver's key id",
    by="tuner",
    finding=8,
    stopped_by="bad-signature",
)
def signature_of_a_stranger(desk: Desk) -> None:
    opened = Envelope.from_json(desk.envelope)
    fake = make_key("approver", "approver")
    signed = opened.signed_by(fake).signatures[-1]
    approver = desk.keys["approver"].key_id
    others = tuple(s for s in opened.signatures if s.key_id != approver)
    desk.envelope = replace(opened, signatures=(*others, Signature(approver, signed.value))).to_json()


@attack(
    KIND,
    RE_SIGNED,
    "one signer's signature counts for the other",
    by="one signer",
    finding=8,
    stopped_by="bad-signature missing-role",
)
def signatures_swapped(desk: Desk) -> None:
    opened = Envelope.from_json(desk.envelope)
    one, two = opened.signatures
    desk.envelope = replace(
        opened, signatures=(Signature(one.key_id, two.value), Signature(two.key_id, one.value))
    ).to_json()


for _role in ("evaluator", "approver"):

    def _alone(desk: Desk, role: str = _role) -> None:
        desk.forge(role)

    attack(
        KIND,
        RE_SIGNED,
        f"the {_role} alone signed",
        by="one signer",
        finding=8,
        stopped_by="missing-role",
        name=f"{_role} alone",
    )(_alone)


# -- keys that are none

_P = 2**255 - 19
_LOW = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_LOW_ORDER = {
    "of order 1": 1,
    "of order 2": _P - 1,
    "of order 4": 0,
    "of order 4 with the sign bit": 2**255,
    "of order 8": _LOW,
    "of order 8 with the sign bit": _LOW + 2**255,
    "of order 8 on the other side": _P - _LOW,
    "of order 1 with the sign bit": 1 + 2**255,
    "of order 1 not reduced": _P + 1,
    "of order 2 with the sign bit": _P - 1 + 2**255,
    "of order 4 not reduced": _P,
    "that is no point": 2,
    "of ones": 2**256 - 1,
}


def _as_key(desk: Desk, raw: bytes, algorithm: str = "ed25519") -> Answer:
    """Put a raw key into the trust store as an approver's, and verify."""
    said: dict[str, Any] = {
        "key_id": sha256_bytes(raw),
        "name": "Ann",
        "public_key": base64.b64encode(raw).decode(),
        "roles": ["approver"],
    }
    if algorithm != "ed25519":
        said["algorithm"] = algorithm
    path = desk.folder / "keys" / "ann.pub"
    path.write_bytes(canonical_json(said))
    return answer_of(lambda: TrustStore.load(desk.folder / "keys"))


def _take_key(desk: Desk) -> None:
    desk.kept["load"] = True


def _load_key(desk: Desk) -> Answer:
    return _as_key(desk, base64.b64decode(make_key("approver", "Ann").public.public_key))


TAKEN = Way("a key is taken into the trust store", _take_key, _load_key, ())

for _name, _y in _LOW_ORDER.items():

    def _low(desk: Desk, y: int = _y) -> Answer:
        return _as_key(desk, y.to_bytes(32, "little"))

    attack(
        KIND,
        TAKEN,
        f"an Ed25519 key {_name} is trusted, for which anybody can sign",
        by="tuner",
        finding=8,
        name=f"Ed25519 key {_name}",
    )(_low)


def _p256(desk: Desk) -> tuple[SigningKey, bytes]:
    key = make_key("approver", "Ann", algorithm="ecdsa-p256")
    return key, base64.b64decode(key.public.public_key)


for _name, _make in (
    ("off the curve", lambda raw: raw[:-1] + bytes([raw[-1] ^ 1])),
    ("compressed", lambda raw: bytes([2 + (raw[-1] & 1)]) + raw[1:33]),
    ("of the hybrid form", lambda raw: bytes([6 + (raw[-1] & 1)]) + raw[1:]),
    ("at infinity", lambda raw: b"\0"),
    ("of zeros", lambda raw: b"\4" + bytes(64)),
    ("with coordinates not reduced", lambda raw: b"\4" + (2**256 - 1).to_bytes(32, "big") + raw[33:]),
    ("cut short", lambda raw: raw[:-1]),
    ("too long", lambda raw: raw + b"\0"),
):

    def _odd(desk: Desk, make: Callable[[bytes], bytes] = _make) -> Answer:
        return _as_key(desk, make(_p256(desk)[1]), "ecdsa-p256")

    attack(
        KIND,
        TAKEN,
        f"a key of P-256 {_name} is trusted",
        by="tuner",
        finding=8,
        name=f"P-256 key {_name}",
    )(_odd)


@attack(KIND, TAKEN, "a key's id is that of another key", by="tuner", finding=8)
def key_under_another_id(desk: Desk) -> Answer:
    path = desk.folder / "keys" / "approver.pub"
    said = json.loads(path.read_bytes())
    said["public_key"] = make_key("approver", "x").public.public_key
    path.write_text(json.dumps(said))
    return answer_of(lambda: TrustStore.load(desk.folder / "keys"))


@attack(KIND, TAKEN, "an Ed25519 key is read as one of P-256", by="tuner", finding=8)
def key_of_another_algorithm(desk: Desk) -> Answer:
    assert RAW_BYTES["ed25519"] == 32
    return _as_key(desk, base64.b64decode(make_key("approver", "x").public.public_key), "ecdsa-p256")


@attack(KIND, TAKEN, "one key is there twice, in two roles", by="tuner", finding=8)
def key_twice(desk: Desk) -> Answer:
    path = desk.folder / "keys" / "evaluator.pub"
    said = json.loads(path.read_bytes())
    (desk.folder / "keys" / "second.pub").write_text(
        json.dumps(said | {"roles": ["approver"], "name": "Ben"})
    )
    return answer_of(lambda: TrustStore.load(desk.folder / "keys"))


P256 = Way(
    "it holds with an approver whose key is of P-256",
    lambda desk: _staff(desk, approver=make_key("approver", "Ann", algorithm="ecdsa-p256")),
    Desk.read,
    ("sql",),
)


def _der(name: str, says: str, change: Callable[[bytes], bytes]) -> None:
    @attack(
        KIND,
        P256,
        says,
        by="tuner",
        finding=8,
        stopped_by="bad-signature malformed",
        name=f"P-256 signature {name}",
    )
    def act(desk: Desk) -> None:
        opened = Envelope.from_json(desk.envelope)
        *others, last = opened.signatures
        desk.envelope = replace(
            opened, signatures=(*others, Signature(last.key_id, change(last.value)))
        ).to_json()


def _with(change: Callable[[int, int], tuple[int, int]]) -> Callable[[bytes], bytes]:
    return lambda value: encode_dss_signature(*change(*decode_dss_signature(value)))


_der("with the other s", "a second form of a signature counts", _with(lambda r, s: (r, _ORDER - s)))
_der("with s not reduced", "s is larger than the order", _with(lambda r, s: (r, s + _ORDER)))
_der("with r of zero", "r is zero", _with(lambda r, s: (0, s)))
_der("of zeros", "r and s are zero", _with(lambda r, s: (0, 0)))
_der("with r of the order", "r is the order", _with(lambda r, s: (_ORDER, s)))
_der("with bytes behind it", "bytes stand behind the signature", lambda value: value + b"\0")
_der("that is empty", "the signature has no bytes", lambda value: b"")
_der(
    "raw",
    "r and s stand there as raw numbers",
    lambda v: b"".join(n.to_bytes(32, "big") for n in decode_dss_signature(v)),
)


@attack(
    KIND,
    RE_SIGNED,
    "signatures are put together from pieces of both",
    by="tuner",
    finding=8,
    stopped_by="bad-signature missing-role malformed",
)
def bits_of_signatures(desk: Desk) -> Iterator[str]:
    before = Envelope.from_json(desk.envelope)
    for place in range(2):
        for bit in range(0, 512, 7):
            signatures = list(before.signatures)
            value = bytearray(signatures[place].value)
            value[bit // 8] ^= 1 << (bit % 8)
            signatures[place] = Signature(signatures[place].key_id, bytes(value))
            desk.envelope = replace(before, signatures=tuple(signatures)).to_json()
            yield f"signature {place}, bit {bit}"


# -- when it is issued


@attack(
    KIND,
    ISSUED,
    "the trainer's person has a second key, as approver",
    by="tuner",
    finding=8,
    stopped_by="same-signer",
)
def trainer_with_a_second_key(desk: Desk) -> None:
    _rename(desk, "approver", desk.keys["trainer"].public.name)


@attack(
    KIND,
    ISSUED,
    "evaluator and approver are one person with two keys",
    by="one signer",
    finding=8,
    stopped_by="same-signer",
)
def evaluator_with_a_second_key(desk: Desk) -> None:
    _rename(desk, "approver", f" {desk.keys['evaluator'].public.name.upper()} ")


@attack(
    KIND,
    ISSUED,
    "the trainer's key is no longer in the trust store",
    by="tuner",
    finding=8,
    stopped_by="link-untrusted",
)
def trainer_out_of_the_trust_store(desk: Desk) -> None:
    (desk.folder / "keys" / "trainer.pub").unlink()


@attack(KIND, ISSUED, "the tune's trainer signs for the evaluation too", by="tuner", finding=8)
def trainer_signs_the_evaluation(desk: Desk) -> None:
    desk.change_report("evaluate", model_name="mine")
    path = desk.folder / "keys" / "trainer.pub"
    said = json.loads(path.read_bytes())
    path.write_text(json.dumps(said | {"roles": ["trainer", "evaluator"]}))
    from recert.certification.signing.links import sign_link

    report = desk.report("evaluate")
    both = replace(desk.keys["trainer"], public=PublicKey.model_validate(json.loads(path.read_bytes())))
    from recert.certification.signing.materials import what_went_in

    given, made = what_went_in(report)
    desk.link_of("evaluate").write_bytes(
        sign_link("evaluate", materials=given, products=made, record_sha256=report.digest, key=both)
    )


def _rename(desk: Desk, role: str, name: str) -> None:
    path = desk.folder / "keys" / f"{role}.pub"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"name": name}))
