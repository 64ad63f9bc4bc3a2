"""Links: missing, of other roles, keys, steps and models, with other materials, in odd forms."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from recert.certification.signing.envelope import Envelope, Signature, sign
from recert.certification.signing.links import read_link, sign_link, why_not_link_of
from recert.certification.signing.materials import what_went_in
from recert.digest import canonical_json
from recert.errors import VerificationError
from recert.records.record import now
from recert.records.signed.certificate import PAYLOAD_TYPE, STEP_ROLES
from red_team_cases.attacks import Answer, Way, attack
from red_team_cases.desks import REPORTS, Desk, answer_of, make_key
from red_team_cases.ways import ISSUED

KIND, FINDING = "links", 7
STEPS = tuple(REPORTS)


def _sign_as(desk: Desk, step: Any, key: Any, **changes: Any) -> None:
    """Let a key sign the step's link in the step's role, whatever its own role is."""
    report = desk.report(step)
    given, made = what_went_in(report)
    pretended = replace(key, public=key.public.model_copy(update={"roles": (STEP_ROLES[step],)}))
    fields: dict[str, Any] = {"materials": given, "products": made, "record_sha256": report.digest}
    desk.link_of(step).write_bytes(sign_link(step, key=pretended, **(fields | changes)))


for _step in STEPS:

    def _missing(desk: Desk, step: str = _step) -> None:
        desk.link_of(step).unlink()

    attack(
        KIND,
        ISSUED,
        f"nobody signed that they ran `{_step}`",
        by="tuner",
        finding=FINDING,
        stopped_by="evidence-unsigned",
        name=f"{_step} without a link",
    )(_missing)

    def _stranger(desk: Desk, step: str = _step) -> None:
        _sign_as(desk, step, make_key("evaluator", "Mallory"))

    attack(
        KIND,
        ISSUED,
        f"a stranger signed `{_step}`",
        by="tuner",
        finding=FINDING,
        stopped_by="link-untrusted",
        name=f"{_step} by a stranger",
    )(_stranger)

    for _role in ("trainer", "approver", "status", "watcher"):
        if STEP_ROLES[_step] == _role:  # type: ignore[index]
            continue

        def _other_role(desk: Desk, step: str = _step, role: str = _role) -> None:
            _sign_as(desk, step, desk.keys[role])

        attack(
            KIND,
            ISSUED,
            f"the {_role} signed `{_step}`",
            by="one signer",
            finding=8,
            stopped_by="link-untrusted",
            name=f"{_step} by the {_role}",
        )(_other_role)

    def _other_step(desk: Desk, step: str = _step) -> None:
        other = next(one for one in STEPS if one != step)
        desk.link_of(step).write_bytes(desk.link_of(other).read_bytes())

    attack(
        KIND,
        ISSUED,
        f"another step's link lies beside the report of `{_step}`",
        by="tuner",
        finding=FINDING,
        stopped_by="link-malformed",
        name=f"{_step} by another step's link",
    )(_other_step)

    def _replayed(desk: Desk, step: str = _step) -> None:
        desk.bring("sql", "poisoned")
        desk.link_of(step).write_bytes(desk.link_of(step, "poisoned").read_bytes())

    attack(
        KIND,
        Way(ISSUED.name, ISSUED.prepare, ISSUED.ask, ("sql", "poisoned")),
        f"the link of another model's `{_step}` lies there",
        by="tuner",
        finding=FINDING,
        stopped_by="link-differs",
        name=f"{_step} by another model's link",
    )(_replayed)

    for _what in ("materials", "products"):

        def _named(desk: Desk, step: str = _step, what: str = _what) -> None:
            given, made = what_went_in(desk.report(step))
            digests = {"materials": given, "products": made}[what]
            first = sorted(digests)[0]
            _sign_as(desk, step, desk.keys[STEP_ROLES[step]], **{what: digests | {first: "ab" * 32}})  # type: ignore[index]

        attack(
            KIND,
            ISSUED,
            f"the link of `{_step}` names other {_what} than its report",
            by="one signer",
            finding=FINDING,
            stopped_by="link-differs",
            name=f"{_step} with other {_what}",
        )(_named)

        def _more(desk: Desk, step: str = _step, what: str = _what) -> None:
            given, made = what_went_in(desk.report(step))
            digests = {"materials": given, "products": made}[what]
            _sign_as(desk, step, desk.keys[STEP_ROLES[step]], **{what: digests | {"more": "ab" * 32}})  # type: ignore[index]

        attack(
            KIND,
            ISSUED,
            f"the link of `{_step}` names one of the {_what} too many",
            by="one signer",
            finding=FINDING,
            stopped_by="link-differs",
            name=f"{_step} with more {_what}",
        )(_more)

    def _record(desk: Desk, step: str = _step) -> None:
        _sign_as(desk, step, desk.keys[STEP_ROLES[step]], record_sha256="ab" * 32)  # type: ignore[index]

    attack(
        KIND,
        ISSUED,
        f"the link of `{_step}` is of another report",
        by="one signer",
        finding=FINDING,
        stopped_by="link-differs",
        name=f"{_step} of another report",
    )(_record)


# -- the link itself, by what reads it


def _read(desk: Desk) -> Answer:
    """Whether the evaluator's link, as it lies there, is of the report, as `certify` asks."""

    def ask() -> None:
        link = read_link(desk.link_of("evaluate").read_bytes(), step="evaluate", trust=desk.trust, now=now())
        if because := why_not_link_of(link, desk.report("evaluate")):
            raise VerificationError("link-differs", because)

    return answer_of(ask)


READ = Way("the link is read and is of its report", lambda desk: desk.bring(), _read, ("sql",))
_ODD = "link-malformed link-untrusted"


def _form(name: str, says: str, change: Callable[[Desk, bytes], bytes], codes: str = _ODD) -> None:
    @attack(KIND, READ, says, by="tuner", finding=FINDING, stopped_by=codes, name=name)
    def act(desk: Desk) -> None:
        path = desk.link_of("evaluate")
        path.write_bytes(change(desk, path.read_bytes()))


def _payload(change: Callable[[bytes], bytes]) -> Callable[[Desk, bytes], bytes]:
    """Change the payload, and let the evaluator sign it again."""

    def edit(desk: Desk, link: bytes) -> bytes:
        return sign(
            PAYLOAD_TYPE, change(Envelope.from_json(link).payload), [desk.keys["evaluator"]]
        ).to_json()

    return edit


def _value(change: Callable[[dict[str, Any]], Any]) -> Callable[[Desk, bytes], bytes]:
    def edit(payload: bytes) -> bytes:
        value = json.loads(payload)
        change(value)
        return canonical_json(value)

    return _payload(edit)


_form(
    "two signatures",
    "two people signed the link",
    lambda d, e: Envelope.from_json(e).signed_by(d.keys["trainer"]).to_json(),
)
_form(
    "no signature",
    "nobody signed the link",
    lambda d, e: e.replace(b'"signatures":[', b'"signatures":[],"x":['),
)
_form(
    "signature of another key",
    "the key id is another one",
    lambda d, e: replace(
        Envelope.from_json(e),
        signatures=(Signature(d.keys["trainer"].key_id, Envelope.from_json(e).signatures[0].value),),
    ).to_json(),
)
_form(
    "payload type",
    "it is signed as something else",
    lambda d, e: sign("application/json", Envelope.from_json(e).payload, [d.keys["evaluator"]]).to_json(),
)
_form(
    "field in the envelope",
    "a field stands in the envelope that nobody signed",
    lambda d, e: e[:-1] + b',"note":"x"}',
)
_form(
    "keys twice in the envelope",
    "the payload is there twice",
    lambda d, e: e.replace(b'"payload":', b'"payload":"e30=","payload":', 1),
)
_form("empty", "the link is empty", lambda d, e: b"")
_form("17 MB", "the link is larger than any", lambda d, e: e[:-1] + b" " * 17_000_000 + b"}")
_form("a certificate", "a certificate goes as a link", lambda d, e: d.envelope)
_form(
    "keys twice in the payload",
    "a digest is there twice",
    _payload(
        lambda p: p.replace(b'"record_sha256":', b'"record_sha256":"' + b"ab" * 32 + b'","record_sha256":', 1)
    ),
)
_form(
    "field in the payload",
    "a field stands in the payload that nobody knows",
    _value(lambda v: v.update(note="x")),
)
_form(
    "field in the predicate",
    "a field stands in the predicate",
    _value(lambda v: v["predicate"].update(note="x")),
)
_form("no subjects", "it made nothing", _value(lambda v: v.update(subject=[])))
_form(
    "subjects in another order",
    "products stand in another order",
    _value(lambda v: v["subject"].reverse() if len(v["subject"]) > 1 else v.update(subject=[])),
)
_form(
    "a material twice",
    "a material is there twice",
    _value(lambda v: v["predicate"]["materials"].append(v["predicate"]["materials"][0])),
)
_form(
    "a digest in capitals",
    "a digest is in capitals",
    _value(
        lambda v: v["predicate"]["byproducts"].update(
            record_sha256=v["predicate"]["byproducts"]["record_sha256"].upper()
            if any(c.isalpha() for c in v["predicate"]["byproducts"]["record_sha256"])
            else "X" * 64
        )
    ),
)
_form(
    "a digest cut short",
    "a digest is cut short",
    _value(lambda v: v["predicate"]["byproducts"].update(record_sha256="ab")),
)
_form(
    "another predicate",
    "it is of another predicate",
    _value(lambda v: v.update(predicateType="https://in-toto.io/attestation/link/v0.2")),
)
_form(
    "another step", "it is of a step that there is not", _value(lambda v: v["predicate"].update(name="bless"))
)
_form(
    "a command",
    "it says which command was run",
    _value(lambda v: v["predicate"].update(command=["rm", "-rf", "/"])),
)
_form(
    "a time that is none",
    "it ended at no time",
    _value(lambda v: v["predicate"]["byproducts"].update(finished_at="2026-13-45T99:99:99Z")),
)
_form(
    "a time with an offset",
    "it ended at a time in another form",
    _value(lambda v: v["predicate"]["byproducts"].update(finished_at="2026-01-01T00:00:00+00:00")),
)
_form("blanks", "the payload holds blanks", _payload(lambda p: p.replace(b'":', b'": ', 1)))
_form("something behind it", "something stands behind the payload", _payload(lambda p: p + b"\n"))


@attack(KIND, READ, "bits of the link are flipped", by="tuner", finding=FINDING)
def bits_of_the_link(desk: Desk) -> Iterator[str]:
    path = desk.link_of("evaluate")
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 200)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        yield f"byte {at}"


@attack(KIND, READ, "the link is cut", by="tuner", finding=FINDING)
def cut_links(desk: Desk) -> Iterator[str]:
    path = desk.link_of("evaluate")
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:at])
        yield f"at {at}"
