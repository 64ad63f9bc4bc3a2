"""The transparency log: proofs of something else, other trees, other signers, forks after a restored copy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from recert.certification import TrustStore, generate_key
from recert.certification.log.checking import LogDemand
from recert.certification.log.checkpoints import LogCheckpoint, sign_checkpoint
from red_team_cases.attacks import Answer, Way, attack
from red_team_cases.desks import Desk, make_key
from red_team_cases.ways import HOLDS

KIND, BY, FINDING = "logs", "status server", 10
ORIGIN = "example.org/red-team"


def _log(desk: Desk) -> None:
    """A log of two entries with the certificate in it, signed, proven, and seen by the verifier."""
    desk.kept["key"] = generate_key(desk.folder / "keys" / "log.pem", "log", ORIGIN)
    desk.trust = TrustStore.load(desk.folder / "keys")
    (desk.folder / "certificate.json").write_bytes(desk.envelope)
    desk.forge(serial="ef" * 16)
    (desk.folder / "other.json").write_bytes(desk.envelope)
    desk.envelope = (desk.folder / "certificate.json").read_bytes()
    for command in (
        f"log init log --origin {ORIGIN} --key keys/log.pem",
        "log append log other.json certificate.json",
        "log checkpoint log --key keys/log.pem",
    ):
        answer = desk.run(command)
        assert answer.yes, answer
    desk.kept["proof"] = _prove(desk)


def _prove(desk: Desk, name: str = "certificate.json", log: str = "log") -> bytes:
    answer = desk.run(f"log prove {log} {name} --output proof.json")
    assert answer.yes, answer
    return (desk.folder / "proof.json").read_bytes()


def _ask(desk: Desk) -> Answer:
    desk.log = LogDemand(desk.kept["proof"], required=True)
    return desk.read()


def _log_seen(desk: Desk) -> None:
    _log(desk)
    assert _ask(desk).yes


LOGGED = Way("it holds, and a proof shows that it is in the log", _log, _ask, ("sql",))
SEEN = Way("it holds by a log that was seen before", _log_seen, _ask, ("sql",))


@attack(KIND, LOGGED, "there is no proof", by="tuner", finding=FINDING, stopped_by="not-logged")
def no_proof(desk: Desk) -> None:
    desk.kept["proof"] = None


@attack(
    KIND,
    LOGGED,
    "the proof is of another certificate in the log",
    by="tuner",
    finding=FINDING,
    stopped_by="not-logged",
)
def proof_of_another_envelope(desk: Desk) -> None:
    desk.kept["proof"] = _prove(desk, "other.json")


@attack(
    KIND,
    LOGGED,
    "a signature more makes it another envelope than was logged",
    by="one signer",
    finding=FINDING,
    stopped_by="not-logged",
)
def another_envelope(desk: Desk) -> None:
    from recert.certification.signing.envelope import Envelope

    desk.envelope = Envelope.from_json(desk.envelope).signed_by(make_key("approver", "one more")).to_json()


def _edit(name: str, says: str, change: Callable[[dict[str, Any], Desk], None], codes: str = "") -> None:
    @attack(KIND, LOGGED, says, by=BY, finding=FINDING, stopped_by=codes, name=name)
    def act(desk: Desk) -> None:
        value = json.loads(desk.kept["proof"])
        change(value, desk)
        desk.kept["proof"] = json.dumps(value).encode()


def _note(make: Callable[[Desk, LogCheckpoint], LogCheckpoint]) -> Callable[[dict[str, Any], Desk], None]:
    def change(value: dict[str, Any], desk: Desk) -> None:
        before = LogCheckpoint.parse(value["checkpoint"].encode())
        value["checkpoint"] = make(desk, before).to_bytes().decode()

    return change


def _leaf(value: dict[str, Any], **changes: Any) -> None:
    from recert.digest import canonical_json

    value["leaf"] = canonical_json(json.loads(value["leaf"]) | changes).decode()


_edit("another place", "the entry is said to stand elsewhere", lambda v, d: v.update(index=0), "not-in-log")
_edit(
    "a place beyond the tree",
    "the entry is said to stand beyond the tree",
    lambda v, d: v.update(index=10**9),
    "not-in-log proof-malformed",
)
_edit(
    "a place below zero",
    "the entry is said to stand before the first",
    lambda v, d: v.update(index=-1),
    "proof-malformed",
)
_edit(
    "another path",
    "the path leads elsewhere",
    lambda v, d: v.update(path=["ab" * 32 for _ in v["path"]]),
    "not-in-log",
)
_edit("no path", "there is no path", lambda v, d: v.update(path=[]), "not-in-log")
_edit(
    "a path too long",
    "the path is longer than the tree is high",
    lambda v, d: v.update(path=v["path"] * 200),
    "not-in-log proof-malformed",
)
_edit(
    "another leaf",
    "the entry says another time",
    lambda v, d: _leaf(v, logged_at="2020-01-01T00:00:00Z"),
    "not-in-log",
)
_edit(
    "a leaf of another kind",
    "the entry is of a status list",
    lambda v, d: _leaf(v, kind="status-list"),
    "not-logged",
)
_edit(
    "a leaf of another serial",
    "the entry names another serial",
    lambda v, d: _leaf(v, serial="ab" * 16),
    "not-logged",
)
_edit(
    "a leaf of another digest",
    "the entry names another envelope",
    lambda v, d: _leaf(v, sha256="ab" * 32),
    "not-logged",
)
_edit(
    "a leaf that is no entry", "the entry is none", lambda v, d: v.update(leaf="trust me"), "proof-malformed"
)
_edit("no checkpoint", "there is no checkpoint", lambda v, d: v.update(checkpoint=""), "checkpoint-malformed")
_edit(
    "a checkpoint that nobody signed",
    "nobody signed where the log stands",
    lambda v, d: v.update(checkpoint=v["checkpoint"].partition("\n\n")[0] + "\n\n"),
    "checkpoint-malformed checkpoint-untrusted",
)
_edit(
    "a checkpoint of a stranger", "a stranger signed where the log stands",
    _note(lambda d, c: sign_checkpoint(c.origin, c.size, c.root, make_key("log", c.origin))), "checkpoint-untrusted",
)  # fmt: skip
_edit(
    "a checkpoint of another log", "the log of another name stands there",
    _note(lambda d, c: sign_checkpoint("example.org/other", c.size, c.root, make_key("log", "example.org/other"))),
    "checkpoint-untrusted",
)  # fmt: skip
_edit(
    "a checkpoint of another size", "the checkpoint is of another size, signed",
    _note(lambda d, c: sign_checkpoint(c.origin, c.size + 1, c.root, d.kept["key"])), "not-in-log",
)  # fmt: skip
_edit(
    "the root of another tree", "the log's key signed another tree",
    _note(lambda d, c: sign_checkpoint(c.origin, c.size, bytes(32), d.kept["key"])), "not-in-log",
)  # fmt: skip
_edit(
    "a proof of another version",
    "the proof is of another schema",
    lambda v, d: v.update(schema_version=2),
    "proof-malformed",
)
_edit(
    "a proof of 5 MB",
    "the proof is larger than any",
    lambda v, d: v.update(note="x" * 5_000_000),
    "proof-malformed",
)


@attack(KIND, LOGGED, "bits of the proof are flipped", by=BY, finding=FINDING)
def bits_of_the_proof(desk: Desk) -> Iterator[str]:
    value = json.loads(desk.kept["proof"])
    for name in ("leaf", "checkpoint"):
        text = value[name]
        for at in range(0, len(text), max(1, len(text) // 40)):
            changed = text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]
            desk.kept["proof"] = json.dumps(value | {name: changed}).encode()
            yield f"{name}, {at}"


@attack(
    KIND,
    LOGGED,
    "the policy asks for witnesses, and none cosigned",
    by=BY,
    finding=FINDING,
    stopped_by="too-few-witnesses",
)
def no_witness(desk: Desk) -> None:
    from recert.policy import Policy
    from red_team_cases.ways import vary

    value = desk.policy.to_value()
    value["certification"].update(logged=True, log_witnesses=1)
    vary(desk, Policy.model_validate(value))
    (desk.folder / "certificate.json").write_bytes(desk.envelope)
    assert desk.run("log append log certificate.json").yes
    assert desk.run("log checkpoint log --key keys/log.pem").yes
    desk.kept["proof"] = _prove(desk)


@attack(
    KIND,
    LOGGED,
    "the log's key is no longer trusted",
    by=BY,
    finding=FINDING,
    stopped_by="checkpoint-untrusted",
)
def log_out_of_the_trust_store(desk: Desk) -> None:
    (desk.folder / "keys" / "log.pub").unlink()
    desk.trust = TrustStore.load(desk.folder / "keys")


# -- what was seen before


def _copy(desk: Desk) -> Path:
    """Restore the log from a copy of before the certificate was in it, and sign it by force."""
    folder = desk.folder / "fork"
    for command in (
        f"log init fork --origin {ORIGIN}",
        "log append fork certificate.json",
    ):
        assert desk.run(command).yes
    return folder


def _forced(desk: Desk, folder: Path) -> bytes:
    """Sign the fork whatever the tool says to that, as a log that was broken into."""
    from recert.store.transparency.folder import LogFolder

    with LogFolder(folder, write=True) as log:
        note = sign_checkpoint(log.origin, log.size, log.root(), desk.kept["key"])
        log.keep_checkpoint(note.size, note.root, note.to_bytes())
    return _prove(desk, log=folder.name)


@attack(KIND, SEEN, "the log's key signed a smaller tree", by=BY, finding=FINDING, stopped_by="log-rollback")
def smaller_tree(desk: Desk) -> None:
    desk.kept["proof"] = _forced(desk, _copy(desk))


@attack(
    KIND,
    SEEN,
    "the log's key signed another tree of the same size",
    by=BY,
    finding=FINDING,
    stopped_by="log-equivocation",
)
def other_tree_of_the_same_size(desk: Desk) -> None:
    folder = _copy(desk)
    assert desk.run("log append fork status.json").yes
    desk.kept["proof"] = _forced(desk, folder)


@attack(
    KIND,
    SEEN,
    "the log's key signed a larger tree that does not go on from the one seen",
    by=BY,
    finding=FINDING,
    stopped_by="log-unlinked",
)
def larger_tree_of_a_fork(desk: Desk) -> None:
    folder = _copy(desk)
    assert desk.run("log append fork status.json other.json").yes
    desk.kept["proof"] = _forced(desk, folder)


# -- the signer itself


def _begin(desk: Desk) -> None:
    _log(desk)
    shutil.copytree(desk.folder / "log", desk.folder / "copy")
    desk.issue_list(version=300)
    assert desk.run("log append log status.json").yes
    assert desk.run("log checkpoint log --key keys/log.pem").yes


def _checkpoint(desk: Desk) -> Answer:
    return desk.run("log checkpoint log --key keys/log.pem")


SIGNS = Way("the log's key signs where it stands", _begin, _checkpoint, ("sql",))


def _restore(desk: Desk) -> None:
    shutil.rmtree(desk.folder / "log")
    shutil.copytree(desk.folder / "copy", desk.folder / "log")
    desk.issue_list(version=301)
    assert desk.run("log append log status.json").yes


@attack(
    KIND,
    SIGNS,
    "its folder is restored from a copy, another entry is appended, and a fork is signed",
    by=BY,
    finding=FINDING,
)
def fork_after_a_restored_copy(desk: Desk) -> None:
    _restore(desk)


@attack(
    KIND,
    SIGNS,
    "its folder is restored from a copy, and the old state is signed again",
    by=BY,
    finding=FINDING,
)
def old_state_after_a_restored_copy(desk: Desk) -> None:
    shutil.rmtree(desk.folder / "log")
    shutil.copytree(desk.folder / "copy", desk.folder / "log")


@attack(KIND, SIGNS, "the checkpoint alone is deleted and an entry is another one", by=BY, finding=FINDING)
def checkpoint_deleted(desk: Desk) -> None:
    _restore(desk)
    for name in ("checkpoint", "checkpoints"):
        (desk.folder / "log" / name).unlink(missing_ok=True)


@attack(KIND, SIGNS, "the log is made anew under its name", by=BY, finding=FINDING)
def log_made_anew(desk: Desk) -> Answer | None:
    shutil.rmtree(desk.folder / "log")
    if not (answer := desk.run(f"log init log --origin {ORIGIN}")).yes:
        return answer
    answer = desk.run("log append log other.json")
    return None if answer.yes else answer


@attack(
    KIND,
    SIGNS,
    "the log is made anew under its name, and its key signs the empty one",
    by=BY,
    finding=FINDING,
)
def log_made_anew_and_signed(desk: Desk) -> Answer | None:
    shutil.rmtree(desk.folder / "log")
    answer = desk.run(f"log init log --origin {ORIGIN} --key keys/log.pem")
    if not answer.yes:
        return answer
    return None if (answer := desk.run("log append log other.json")).yes else answer


@attack(KIND, SIGNS, "an entry is rewritten in the log's file", by="tuner", finding=FINDING)
def entry_rewritten(desk: Desk) -> None:
    path = desk.folder / "log" / "entries.jsonl"
    path.write_bytes(path.read_bytes().replace(b"ef" * 16, b"aa" * 16, 1))


@attack(
    KIND, SIGNS, "an entry is rewritten, and what is made from it made again", by="tuner", finding=FINDING
)
def entry_rewritten_and_hashed_again(desk: Desk) -> None:
    entry_rewritten(desk)
    for name in ("offsets", "hashes"):
        (desk.folder / "log" / name).unlink(missing_ok=True)


@attack(KIND, SIGNS, "the end of the log is cut off", by="tuner", finding=FINDING)
def end_cut_off(desk: Desk) -> None:
    path = desk.folder / "log" / "entries.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    for name in ("offsets", "hashes"):
        (desk.folder / "log" / name).unlink(missing_ok=True)


@attack(KIND, SIGNS, "the evaluator's key signs where the log stands", by="one signer", finding=FINDING)
def signed_by_the_evaluator(desk: Desk) -> Answer:
    return desk.run("log checkpoint log --key keys/evaluator.pem")


@attack(
    KIND,
    HOLDS,
    "a proof that is given and damaged is passed over where none is asked for",
    by=BY,
    finding=FINDING,
    stopped_by="proof-malformed",
)
def damaged_proof_where_none_is_asked_for(desk: Desk) -> None:
    desk.log = LogDemand(b"{}")
