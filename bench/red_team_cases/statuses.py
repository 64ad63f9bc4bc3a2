"""The status list: set back, swapped, signed by others, too old, without its entries, and serials that are none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from recert.certification import Presented
from recert.certification.log.memory_file import MemoryFile
from recert.certification.signing.envelope import Envelope, sign
from recert.records.record import now
from recert.records.signed.certificate import (
    STATUS_PAYLOAD_TYPE,
    StatusEntry,
    StatusList,
    VerifiedCertificate,
)
from red_team_cases.attacks import Answer, Way, attack
from red_team_cases.desks import Desk, answer_of, make_key
from red_team_cases.ways import HOLDS

KIND, BY = "status", "status server"


def _entry(desk: Desk, serial: str = "", status: Any = "revoked") -> StatusEntry:
    return StatusEntry(
        serial=serial or desk.certificate.serial, status=status, reason="found harmful", since=now()
    )


def _revoke_and_show(desk: Desk, version: int = 200) -> bytes:
    """Revoke the certificate, show that list to the verifier, and return the list from before."""
    before = desk.status
    assert before is not None
    desk.issue_list(version=version, entries=(_entry(desk),))
    answer = desk.read()
    assert answer.code == "revoked", answer
    return before


@attack(
    KIND,
    HOLDS,
    "the list from before the revocation is put back",
    by=BY,
    finding=3,
    stopped_by="status-rollback",
)
def rollback_after_a_no(desk: Desk) -> None:
    desk.put_list(_revoke_and_show(desk))


@attack(
    KIND,
    HOLDS,
    "the list from before is put back after a yes",
    by=BY,
    finding=3,
    stopped_by="status-rollback",
)
def rollback_after_a_yes(desk: Desk) -> None:
    before = desk.status
    desk.issue_list(version=150)
    assert desk.read().yes
    desk.put_list(before)


@attack(
    KIND,
    HOLDS,
    "the list from before the suspension is put back",
    by=BY,
    finding=3,
    stopped_by="status-rollback",
)
def rollback_of_a_suspension(desk: Desk) -> None:
    before = desk.status
    desk.issue_list(version=101, entries=(_entry(desk, status="suspended"),))
    assert desk.read().code == "suspended"
    desk.put_list(before)


@attack(
    KIND,
    HOLDS,
    "another list of the same version names nobody",
    by=BY,
    finding=3,
    stopped_by="status-equivocation",
)
def equivocation(desk: Desk) -> None:
    _revoke_and_show(desk)
    desk.issue_list(version=200, issued_at=now() - timedelta(minutes=1))


@attack(
    KIND,
    HOLDS,
    "the version leaps by a million, so that no later list counts",
    by=BY,
    finding=3,
    stopped_by="status-fast-forward",
)
def fast_forward(desk: Desk) -> None:
    assert desk.read().yes
    desk.issue_list(version=1_000_000)


@attack(
    KIND,
    HOLDS,
    "another list of the same status key is shown",
    by=BY,
    finding=3,
    stopped_by="status-other-list",
)
def other_list(desk: Desk) -> None:
    _revoke_and_show(desk)
    desk.issue_list(version=300, list_id="ab" * 16)


@attack(KIND, HOLDS, "a list without an id is shown", by=BY, finding=3)
def list_without_id(desk: Desk) -> None:
    desk.issue_list(version=300, list_id=None)


@attack(KIND, HOLDS, "there is no list", by=BY, finding=3, stopped_by="status-missing")
def no_list(desk: Desk) -> None:
    desk.put_list(None)


@attack(KIND, HOLDS, "the list has expired", by=BY, finding=3, stopped_by="status-expired")
def expired_list(desk: Desk) -> None:
    at = now()
    desk.issue_list(issued_at=at - timedelta(hours=20), expires_at=at - timedelta(seconds=1))


@attack(KIND, HOLDS, "the list is of tomorrow", by=BY, finding=3, stopped_by="clock-behind")
def list_of_tomorrow(desk: Desk) -> None:
    at = now()
    desk.issue_list(issued_at=at + timedelta(hours=20), expires_at=at + timedelta(hours=40))


@attack(KIND, HOLDS, "the list holds for ten years under a policy of hours", by=BY, finding=11)
def list_of_ten_years(desk: Desk) -> None:
    desk.issue_list(expires_at=now() + timedelta(days=3650))


@attack(KIND, HOLDS, "the list holds an hour longer than the policy lets it", by=BY, finding=11)
def list_of_an_hour_more(desk: Desk) -> None:
    hours = desk.policy.certification.status_validity_hours + 1
    desk.issue_list(expires_at=now() + timedelta(hours=hours))


for _role in ("evaluator", "approver", "trainer", "screener", "watcher"):

    def _by(desk: Desk, role: str = _role) -> None:
        desk.issue_list(desk.keys[role])

    attack(
        KIND, HOLDS, f"the {_role} signs the list", by="one signer", finding=3, stopped_by="status-untrusted",
        name=f"list of the {_role}",
    )(_by)  # fmt: skip


@attack(KIND, HOLDS, "a stranger signs the list", by=BY, finding=3, stopped_by="status-untrusted")
def list_of_a_stranger(desk: Desk) -> None:
    desk.issue_list(make_key("status", "status"))


def _payload(name: str, says: str, change: Callable[[bytes], bytes], codes: str = "status-malformed") -> None:
    @attack(KIND, HOLDS, says, by="one signer", finding=3, stopped_by=codes, name=name)
    def act(desk: Desk) -> None:
        desk.issue_list(version=300, entries=(_entry(desk),))
        assert desk.status is not None
        payload = change(Envelope.from_json(desk.status).payload)
        desk.put_list(sign(STATUS_PAYLOAD_TYPE, payload, [desk.keys["status"]]).to_json())


_payload("entries named twice", "a second `entries` hides the first", lambda p: p[:-1] + b',"entries":[]}')
_payload(
    "entries by another name",
    "`entries` is called otherwise",
    lambda p: p.replace(b'"entries"', b'"entrees"'),
)
_payload(
    "entries without a serial", "an entry names no serial", lambda p: p.replace(b'"serial"', b'"seriaI"')
)
_payload(
    "a status that is none",
    "an entry says neither revoked nor suspended",
    lambda p: p.replace(b'"revoked"', b'"lifted"'),
)
_payload("blanks in the payload", "the payload is not canonical", lambda p: p.replace(b":", b": "))
_payload("version of zero", "the version is zero", lambda p: p.replace(b'"version":300', b'"version":0'))
_payload(
    "version as text", "the version is a text", lambda p: p.replace(b'"version":300', b'"version":"300"')
)
_payload(
    "version of a float", "the version is a float", lambda p: p.replace(b'"version":300', b'"version":300.0')
)
_payload(
    "version of forty digits",
    "the version has forty digits",
    lambda p: p.replace(b'"version":300', b'"version":' + b"9" * 40),
)
_payload("payload of nothing", "the payload is empty", lambda p: b"")
_payload("payload of null", "the payload is null", lambda p: b"null")


@attack(
    KIND,
    HOLDS,
    "an entry is taken out of the list, and the signature stays",
    by=BY,
    finding=3,
    stopped_by="status-untrusted",
)
def entry_taken_out(desk: Desk) -> None:
    desk.issue_list(version=300, entries=(_entry(desk),))
    assert desk.status is not None
    opened = Envelope.from_json(desk.status)
    said = StatusList.from_json(opened.payload).model_copy(update={"entries": ()})
    desk.put_list(Envelope(opened.payload_type, said.to_json(), opened.signatures).to_json())


@attack(
    KIND,
    HOLDS,
    "the certificate's own envelope goes as the status list",
    by=BY,
    finding=3,
    stopped_by="status-malformed",
)
def certificate_as_list(desk: Desk) -> None:
    desk.put_list(desk.envelope)


@attack(KIND, HOLDS, "a refusal's type stands over the list", by=BY, finding=3, stopped_by="status-malformed")
def list_of_another_type(desk: Desk) -> None:
    assert desk.status is not None
    payload = Envelope.from_json(desk.status).payload
    desk.put_list(sign("application/vnd.recert.refusal+json", payload, [desk.keys["status"]]).to_json())


@attack(
    KIND,
    HOLDS,
    "a serial of the lineage is revoked, and the renewal lives on",
    by="colluders",
    finding=3,
    stopped_by="revoked",
)
def revoked_ancestor(desk: Desk) -> None:
    old = desk.certificate.serial
    desk.forge(serial="cd" * 16, lineage=(old,), supersedes=old)
    desk.issue_list(entries=(_entry(desk, old),))


@attack(KIND, HOLDS, "suspended and revoked: the milder entry counts", by=BY, finding=3, stopped_by="revoked")
def both_entries(desk: Desk) -> None:
    desk.issue_list(entries=(_entry(desk, status="suspended"), _entry(desk)))


# -- a server that serves


def _serve(desk: Desk) -> None:
    desk.bring()
    desk.kept["verifier"] = desk.verifier()
    desk.kept["held"] = desk.kept["verifier"].verify(
        Presented(desk.envelope), base_dir=desk.base, tuned_dir=desk.adapter
    )


def _recheck(desk: Desk) -> Answer:
    verifier, held = desk.kept["verifier"], desk.kept["held"]
    verifier._status = desk.status  # as the function that reads the file gives it
    assert isinstance(held, VerifiedCertificate)
    return answer_of(lambda: verifier.recheck(Presented(desk.envelope, desk.refusals), held))


SERVED = Way("a gateway that serves it looks again", _serve, _recheck, ("sql",))


def _revoked_while_serving(desk: Desk) -> None:
    desk.issue_list(version=200, entries=(_entry(desk),))
    assert _recheck(desk).code == "revoked"


@attack(KIND, SERVED, "revoked while it is served", by=BY, finding=3, stopped_by="revoked")
def revoked_while_served(desk: Desk) -> None:
    _revoked_while_serving(desk)


@attack(
    KIND,
    SERVED,
    "the list from before comes back while it is served",
    by=BY,
    finding=3,
    stopped_by="status-rollback",
)
def rollback_while_served(desk: Desk) -> None:
    before = desk.status
    _revoked_while_serving(desk)
    desk.put_list(before)


@attack(
    KIND, SERVED, "another list comes while it is served", by=BY, finding=3, stopped_by="status-other-list"
)
def other_list_while_served(desk: Desk) -> None:
    _revoked_while_serving(desk)
    desk.issue_list(version=300, list_id="ab" * 16)


@attack(KIND, SERVED, "the list goes away while it is served", by=BY, finding=3, stopped_by="status-missing")
def no_list_while_served(desk: Desk) -> None:
    _revoked_while_serving(desk)
    desk.put_list(None)


@attack(
    KIND, SERVED, "the certificate of other files comes while these are served", by="colluders", finding=4
)
def other_certificate_while_served(desk: Desk) -> None:
    said = desk.certificate
    files = (said.tuned.files[0].model_copy(update={"sha256": "ab" * 32}), *said.tuned.files[1:])
    desk.forge(serial="cd" * 16, tuned=said.tuned.model_copy(update={"files": files}))


# -- after a restart


def _remember(desk: Desk) -> None:
    desk.memory = MemoryFile(desk.folder / "memory.json")
    assert desk.read().yes


RESTARTED = Way("it holds for a verifier that keeps what it saw in a file", _remember, Desk.read, ("sql",))


def _restart(desk: Desk) -> None:
    desk.memory = MemoryFile(desk.folder / "memory.json")


@attack(
    KIND,
    RESTARTED,
    "the list from before is put back, and the server is started again",
    by=BY,
    finding=3,
    stopped_by="status-rollback",
)
def rollback_after_a_restart(desk: Desk) -> None:
    desk.put_list(_revoke_and_show(desk))
    _restart(desk)


@attack(KIND, RESTARTED, "what was seen is removed, and the list from before put back", by="tuner", finding=3)
def memory_removed(desk: Desk) -> None:
    desk.put_list(_revoke_and_show(desk))
    (desk.folder / "memory.json").unlink()
    _restart(desk)


@attack(KIND, RESTARTED, "what was seen is emptied", by="tuner", finding=3)
def memory_emptied(desk: Desk) -> None:
    desk.put_list(_revoke_and_show(desk))
    (desk.folder / "memory.json").write_bytes(b"")
    _restart(desk)


@attack(KIND, RESTARTED, "what was seen is damaged", by="tuner", finding=3)
def memory_damaged(desk: Desk) -> None:
    desk.put_list(_revoke_and_show(desk))
    path = desk.folder / "memory.json"
    path.write_bytes(path.read_bytes().replace(b'"version":200', b'"version":100'))
    _restart(desk)


@attack(KIND, RESTARTED, "the clock is set back to before the revocation", by="tuner", finding=3)
def clock_set_back(desk: Desk) -> None:
    desk.now = now() - timedelta(hours=3)


# -- by the commands of whoever issues the list


def _begin_list(desk: Desk) -> None:
    """Go on from the list that the certificate names, by the issuer's own command, and verify with a memory."""
    desk.bring()
    (desk.folder / "certificate.json").write_bytes(desk.envelope)
    answer = _issue_anew(desk)
    assert answer.yes, answer
    assert _verify_list(desk).yes


def _issue_anew(desk: Desk) -> Answer:
    return desk.run("status status.json --key keys/status.pem --trust keys")


def _verify_list(desk: Desk) -> Answer:
    desk.status = _list(desk)
    return desk.read()


def _list(desk: Desk) -> bytes | None:
    path = desk.folder / "status.json"
    return path.read_bytes() if path.exists() else None


ISSUED_LIST = Way("it holds by a list that its issuer issues anew", _begin_list, _verify_list, ("sql",))


def _revoke(desk: Desk, serial: str) -> Answer:
    """Revoke; where the command says it could not, its issuer knows, and nothing was undone."""
    given = ("--reason", "harm", "--status", "status.json", "--key", "keys/status.pem", "--trust", "keys")
    return desk.run("revoke", serial, *given)


@attack(KIND, ISSUED_LIST, "revoked by its serial", by=BY, finding=3, stopped_by="revoked")
def revoked_by_the_command(desk: Desk) -> None:
    assert _revoke(desk, desk.certificate.serial).yes


@attack(
    KIND,
    ISSUED_LIST,
    "the old list is put in place, and the routine signs it again until it outgrows the revocation",
    by=BY,
    finding=3,
)
def old_list_signed_again(desk: Desk) -> Answer:
    return _old_list_signed_again(desk)


def _old_list_signed_again(desk: Desk, times: int = 3) -> Answer:
    old = _list(desk)
    assert old is not None
    assert _revoke(desk, desk.certificate.serial).yes
    assert _verify_list(desk).code == "revoked"
    (desk.folder / "status.json").write_bytes(old)
    for _ in range(times):
        if not (answer := _issue_anew(desk)).yes:
            return answer
    return _verify_list(desk)


@attack(KIND, ISSUED_LIST, "the list is removed and begun anew with --first", by=BY, finding=3)
def list_begun_anew(desk: Desk) -> Answer:
    assert _revoke(desk, desk.certificate.serial).yes
    assert _verify_list(desk).code == "revoked"
    (desk.folder / "status.json").unlink()
    answer = desk.run("status status.json --first --key keys/status.pem --trust keys")
    return _verify_list(desk) if answer.yes else answer


@attack(KIND, ISSUED_LIST, "a revocation is lifted", by=BY, finding=3)
def revocation_lifted(desk: Desk) -> Answer:
    serial = desk.certificate.serial
    assert _revoke(desk, serial).yes
    answer = desk.run(f"status status.json --key keys/status.pem --trust keys --reinstate {serial}")
    return _verify_list(desk) if answer.yes else answer


@attack(KIND, ISSUED_LIST, "the evaluator's key revokes and reinstates", by="one signer", finding=3)
def list_by_the_evaluator(desk: Desk) -> Answer:
    assert _revoke(desk, desk.certificate.serial).yes
    return desk.run("status status.json --key keys/evaluator.pem --trust keys")


def _serial(name: str, change: Callable[[str], str]) -> None:
    @attack(
        KIND, ISSUED_LIST, f"the issuer types the serial {name}, is told that it is revoked, and it is not", by=BY,
        finding=11, name=f"serial {name}",
    )  # fmt: skip
    def act(desk: Desk) -> Answer:
        answer = _revoke(desk, change(desk.certificate.serial))
        if not answer.yes:
            return answer  # the issuer is told
        return _verify_list(desk)


for _name, _change in (
    ("with a blank behind", lambda s: f"{s} "),
    ("with a blank before", lambda s: f" {s}"),
    ("with a tab", lambda s: f"{s}\t"),
    ("with a line end", lambda s: f"{s}\n"),
    ("in capitals", lambda s: s.upper()),
    ("cut to a prefix", lambda s: s[:12]),
    ("with a digit more", lambda s: f"{s}0"),
    ("with a digit less", lambda s: s[:-1]),
    ("with another digit", lambda s: ("0" if s[0] != "0" else "1") + s[1:]),
    ("with an O for a 0", lambda s: s.replace("0", "O") if "0" in s else f"O{s[1:]}"),
    ("with a mark that is not printed", lambda s: f"\u200b{s}"),
    ("with hyphens", lambda s: "-".join((s[:8], s[8:]))),
    ("with 0x before it", lambda s: f"0x{s}"),
    ("of wide digits", lambda s: "".join(chr(ord(c) + 0xFEE0) for c in s)),
    ("with control characters", lambda s: f"{s}\x1b[2K\x1b[1A"),
    ("of nothing", lambda s: ""),
    ("as a file's name that is not there", lambda s: f"{s}.json"),
):
    _serial(_name, _change)


@attack(
    KIND, ISSUED_LIST, "control characters of a serial reach the terminal of who revokes", by=BY, finding=11
)
def control_characters_reach_the_terminal(desk: Desk) -> Answer:
    answer = _revoke(desk, f"{desk.certificate.serial}\x1b[2K\x1b[1A\x07")
    said = answer.words + answer.defect
    return Answer(
        yes="\x1b" in said or "\x07" in said or (answer.yes and _verify_list(desk).yes), code="could-not"
    )
